"""Layers of the two networks with batch norm folded in, on whole maps and on windows of them.

Maps are (n, rows, columns, channels), so that a place's channels lie together and a window is a set
of rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lib.attack.incremental.windows import Level, Reach, Windows


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None) -> tuple[Tensor, Tensor | None]:
    """Weight (out, in, k, k) and bias (out,) of a convolution and the batch norm behind it."""
    if norm is None:
        return conv.weight.detach(), conv.bias
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight,
        norm.bias,
    )  # fmt: skip
    return weight.detach(), bias.detach()


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) that a batch norm in evaluation mode applies."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale.detach(), (norm.bias - norm.running_mean * scale).detach()


def placed(
    kernel: tuple[Tensor, Tensor | None], dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias in the dtype and memory order that `conv` works in."""
    weight, bias = kernel
    weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
    return weight, None if bias is None else bias.to(dtype)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, **how: int) -> Tensor:
    """2-D convolution of maps (n, rows, columns, channels)."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, **how).permute(0, 2, 3, 1)


class Layer:
    """One step of a network. ``reach`` says how it spreads a change."""

    reach: Reach
    channels_in: int
    channels_out: int
    in_place = False  # whether the output lies in the input's maps

    def whole(self, x: Tensor) -> Tensor:
        """Output maps of input maps."""
        raise NotImplementedError

    def allocate(self, slots: int, size: int, rows: int) -> None:
        """Room for inner maps of edge ``size`` and ``rows`` rows of windows; most need none."""

    def clean(self, x: Tensor, slots: Tensor) -> Tensor:
        """`whole`, and keep what windows of these images will need."""
        return self.whole(x)

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        """The output windows ``out``; the input windows ``held`` lie in ``level``."""
        return self.valid(level.read(level.lookup(slot, held, out.before(self.reach))))

    def valid(self, x: Tensor) -> Tensor:
        """Output windows of input windows that hold their padding."""
        raise NotImplementedError

    def work(self, places_in: int, places_out: int) -> int:
        """Multiply-adds for maps or windows with so many places."""
        raise NotImplementedError

    def moved(self, places_in: int, places_out: int) -> int:
        """Values gathered for output windows of so many places, which read ``places_in``."""
        return places_in * self.channels_in


class Stem(Layer):
    """7x7 convolution of stride 2, batch norm, ReLU: the first layer of both networks."""

    reach = Reach(7, 2, 3)
    channels_in, channels_out = 3, 64

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype) -> None:
        self.kernel = placed(fold(convolution, norm), dtype)

    def whole(self, x: Tensor) -> Tensor:
        return conv(x, *self.kernel, stride=2, padding=3).relu_()

    def valid(self, x: Tensor) -> Tensor:
        return conv(x, *self.kernel, stride=2).relu_()

    def work(self, places_in: int, places_out: int) -> int:
        return places_out * self.kernel[0].numel()


class MaxPool(Layer):
    """3x3 maximum of stride 2. Its input is never negative, so that zero padding is neutral."""

    reach = Reach(3, 2, 1)
    channels_in = channels_out = 64

    def whole(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)

    def valid(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2).permute(0, 2, 3, 1)

    def work(self, places_in: int, places_out: int) -> int:
        return 9 * 64 * places_out
