"""Layers of torchvision's networks with batch norm folded in, on whole maps and on windows of them.

Maps are (n, rows, columns, channels), so that a place's channels lie together and a window is a set
of rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lib.attack.incremental.windows import Level, Reach, Windows

Kernel = tuple[Tensor, Tensor | None]  # weight (out, in, k, k) and bias (out,)


class NotIncremental(Exception):
    """A model cannot be evaluated incrementally; the message says why, '' for what never is."""


def normal(norm: nn.Module) -> nn.BatchNorm2d:
    """A batch norm that uses its statistics.

    Raises:
        NotIncremental: another layer.
    """
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.weight is None:
        raise NotIncremental(f"the network has {type(norm).__name__} where torchvision's has none.")
    return norm


def fold(conv: nn.Module, norm: nn.Module | None, dtype: torch.dtype) -> Kernel:
    """Weight and bias of a convolution and the batch norm behind it, as `conv` takes them.

    Raises:
        NotIncremental: another layer, or a dilated one.
    """
    if (
        type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or conv.dilation != (1, 1)
        or conv.kernel_size[0] != conv.kernel_size[1]
    ):  # fmt: skip
        raise NotIncremental(f"the network has {conv} where torchvision's has none.")
    weight, bias = conv.weight, conv.bias
    if norm is not None:
        norm = normal(norm)
        weight, bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    return weight, None if bias is None else bias.detach().to(dtype)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, **how: int) -> Tensor:
    """2-D convolution of maps (n, rows, columns, channels)."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, **how).permute(0, 2, 3, 1)


class Layer:
    """One step of a network. ``reach`` says how it spreads a change."""

    reach: Reach
    channels_in: int
    channels_out: int
    work_in = 0  # multiply-adds for each place of the input
    work_out = 0  # and for each place of the output
    in_place = False  # whether the output lies in the input's maps
    tapped = False  # whether `Tap` predicts from its output

    def maps(self, x: Tensor, padding: int) -> Tensor:
        """Output of input maps, or of windows, which hold their padding."""
        raise NotImplementedError

    def whole(self, x: Tensor, slots: Tensor | None = None) -> Tensor:
        """Output maps of input maps; keeps what windows of the images in slots will need."""
        return self.maps(x, self.reach.padding)

    def allocate(self, slots: int, size: int, count: int, window: int) -> None:
        """Room for inner maps; most layers need none.

        A batch has ``count`` windows; ``size`` is the edge of the input maps, ``window`` that of
        the windows there.
        """

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        """The output windows ``out``; the input windows ``held`` lie in ``level``."""
        return self.maps(level.read(level.lookup(slot, held, out.before(self.reach))), 0)

    def work(self, places_in: int, places_out: int) -> int:
        """Multiply-adds for maps or windows with so many places."""
        return places_in * self.work_in + places_out * self.work_out

    def moved(self, places_in: int, places_out: int) -> int:
        """Values gathered for output windows of so many places, which read ``places_in``."""
        return places_in * self.channels_in


class Convolutions(Layer):
    """Convolutions in a row: what the first one gives is kept in inner maps."""

    first: Kernel
    reach_first = Reach()

    def allocate(self, slots: int, size: int, count: int, window: int) -> None:
        weight, size = self.first[0], self.reach_first.map_size(size)
        rows = count * self.reach_first.spread_size(window, size) ** 2
        self.inner = Level(slots, size, len(weight), rows, weight.dtype, weight.device)

    def kept(self, inner: Tensor, slots: Tensor | None) -> Tensor:
        """Inner maps, stored if they are those of the images in slots."""
        if slots is not None:
            self.inner.keep(slots, inner)
        return inner


class Stem(Layer):
    """Convolution, batch norm, ReLU: the first layer of both kinds of networks."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.Module, dtype: torch.dtype) -> None:
        self.kernel = fold(convolution, norm, dtype)
        self.channels_out, self.channels_in = self.kernel[0].shape[:2]
        self.work_out = self.kernel[0].numel()
        edge = convolution.kernel_size[0]
        if convolution.padding != (edge // 2,) * 2 or convolution.groups != 1:
            raise NotIncremental(f"the network begins with {convolution}.")
        self.reach = Reach(edge, convolution.stride[0], edge // 2)

    def maps(self, x: Tensor, padding: int) -> Tensor:
        return conv(x, *self.kernel, stride=self.reach.stride, padding=padding).relu_()


class MaxPool(Layer):
    """3x3 maximum of stride 2. Its input is never negative, so that zero padding is neutral."""

    reach = Reach(3, 2, 1)

    def __init__(self, channels: int) -> None:
        self.channels_in = self.channels_out = channels
        self.work_out = 9 * channels

    def maps(self, x: Tensor, padding: int) -> Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, padding).permute(0, 2, 3, 1)


def pooling(module: nn.Module, channels: int) -> list[Layer]:
    """Torchvision's pooling behind the stem, or nothing where it was taken out.

    Raises:
        NotIncremental: another layer.
    """
    if type(module) is nn.Identity:
        return []
    if repr(module) != repr(nn.MaxPool2d(3, 2, 1)):
        raise NotIncremental(f"the network pools with {module}.")
    return [MaxPool(channels)]
