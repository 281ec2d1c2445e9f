"""DenseNets, on whole maps and on windows.

Batch norm and ReLU come before the convolutions here: the second norm of a dense layer folds into
the convolution before it, the first stays as a scale and a shift.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.attack.incremental.layers import (
    Convolutions,
    Layer,
    NotIncremental,
    Stem,
    conv,
    fold,
    normal,
    pooling,
)
from lib.attack.incremental.windows import Level, Reach, Windows


class Norm(Layer):
    """Batch norm and ReLU."""

    reach = Reach()

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        norm = normal(norm)
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        self.scale, self.shift = scale.detach().to(dtype), shift.detach().to(dtype)
        self.channels_in = self.channels_out = self.work_in = len(scale)

    def maps(self, x: Tensor, padding: int = 0) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).relu_()


class DenseLayer(Convolutions):
    """One layer of a dense block (Huang et al. 2017): adds channels to those that it reads.

    All layers of a block work in maps with room for the channels of the whole block, so that
    nothing is concatenated.
    """

    reach = Reach(3, 1, 1)
    in_place = True

    def __init__(self, layer: nn.Module, block_channels: int, dtype: torch.dtype) -> None:
        self.norm = Norm(layer.norm1, dtype)
        self.first = fold(layer.conv1, layer.norm2, dtype)
        self.second = fold(layer.conv2, None, dtype)
        self.narrow, self.used = self.first[0].shape[:2]
        self.end = self.used + self.second[0].shape[0]
        self.channels_in = self.channels_out = block_channels
        self.work_in, self.work_out = self.first[0].numel(), self.second[0].numel()

    def _first(self, x: Tensor) -> Tensor:
        return conv(self.norm.maps(x[..., : self.used]), *self.first).relu_()

    def whole(self, x: Tensor, slots: Tensor | None = None) -> Tensor:
        if x.shape[-1] < self.channels_in:  # the first layer makes room for the block
            x = F.pad(x, (0, self.channels_in - x.shape[-1]))
        inner = self.kept(self._first(x), slots)
        x[..., self.used : self.end] = conv(inner, *self.second, padding=1)
        return x

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        self.inner.write(self._first(level.windows(held)))
        found = level.lookup(slot, held, out.before(self.reach))
        new = conv(self.inner.read(found), *self.second)
        maps = level.read(found[:, :, 1:-1, 1:-1])
        maps[..., self.used : self.end] = new
        return maps

    def moved(self, places_in: int, places_out: int) -> int:
        return places_in * self.narrow + 2 * places_out * self.channels_in


class Transition(Layer):
    """Norm, ReLU, 1x1 convolution and 2x2 mean.

    The mean is taken before the convolution: both are linear, and a quarter of the work is left.
    """

    reach = Reach(2, 2, 0)

    def __init__(self, transition: nn.Module, dtype: torch.dtype) -> None:
        self.norm = Norm(transition.norm, dtype)
        self.kernel = fold(transition.conv, None, dtype)
        self.channels_out, self.channels_in = self.kernel[0].shape[:2]
        self.work_in, self.work_out = self.channels_in, self.kernel[0].numel()

    def maps(self, x: Tensor, padding: int) -> Tensor:
        x = F.avg_pool2d(self.norm.maps(x).permute(0, 3, 1, 2), 2)
        return conv(x.permute(0, 2, 3, 1), *self.kernel)


def layers(network: nn.Module, dtype: torch.dtype) -> list[Layer]:
    """A DenseNet of torchvision up to its last map.

    Raises:
        NotIncremental: it has other parts than torchvision's.
    """
    found: list[Layer] = []
    for name, part in network.features.named_children():
        if name == "conv0":
            stem = Stem(part, network.features.norm0, dtype)
            found += [stem, *pooling(network.features.pool0, stem.channels_out)]
        elif name.startswith("denseblock"):
            block = list(part.values())
            channels = block[-1].norm1.num_features + block[-1].conv2.out_channels
            found += [DenseLayer(layer, channels, dtype) for layer in block]
        elif name.startswith("transition"):
            found.append(Transition(part, dtype))
            found[-1].tapped = name == "transition1"
        elif name == "norm5":
            found.append(Norm(part, dtype))
        elif name not in ("norm0", "relu0", "pool0"):
            raise NotIncremental(f"the network has a part {name} that torchvision's has not.")
    return found
