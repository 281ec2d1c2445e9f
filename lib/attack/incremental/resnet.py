"""ResNets of basic blocks and of bottlenecks, on whole maps and on windows."""

import torch
from torch import Tensor, nn

from lib.attack.incremental.layers import (
    Convolutions,
    Kernel,
    Layer,
    NotIncremental,
    Stem,
    conv,
    fold,
    pooling,
)
from lib.attack.incremental.windows import Level, Reach, Windows

WITHIN = Reach(3, 1, 1)  # of a 3x3 convolution that keeps the map's size


def numbers(*kernels: Kernel | None) -> int:
    """Numbers in the weights of kernels."""
    return sum(kernel[0].numel() for kernel in kernels if kernel)


class Block(Convolutions):
    """Convolutions beside a shortcut (He et al. 2016), batch norm folded."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self.first = fold(block.conv1, block.bn1, dtype)
        self.second = fold(block.conv2, block.bn2, dtype)
        self.narrow, self.channels_in = self.first[0].shape[:2]
        self.shortcut = None
        if block.downsample is not None:
            convolution, norm = block.downsample
            self.shortcut = fold(convolution, norm, dtype)

    def _sum(self, x: Tensor, beside: Tensor) -> Tensor:
        """ReLU of the last convolution's output and the shortcut of ``beside``."""
        if self.shortcut:
            beside = conv(beside, *self.shortcut)
        return x.add_(beside).relu_()


class Basic(Block):
    """Two 3x3 convolutions."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(block, dtype)
        self.stride = block.conv1.stride[0]
        self.reach_first = Reach(3, self.stride, 1)
        self.reach = Reach(2 * self.stride + 3, self.stride, self.stride + 1)
        self.channels_out = self.narrow
        self.work_out = numbers(self.first, self.second, self.shortcut)

    def whole(self, x: Tensor, slots: Tensor | None = None) -> Tensor:
        inner = conv(x, *self.first, stride=self.stride, padding=1).relu_()
        last = conv(self.kept(inner, slots), *self.second, padding=1)
        return self._sum(last, x[:, :: self.stride, :: self.stride])

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        inner = held.after(self.reach_first, self.inner.size)
        x = level.read(level.lookup(slot, held, inner.before(self.reach_first)))
        self.inner.write(conv(x, *self.first, stride=self.stride).relu_())
        x = self.inner.read(self.inner.lookup(slot, inner, out.before(WITHIN)))
        found = level.lookup(slot, held, out.before(Reach(1, self.stride)))
        beside = level.read(found[:, :, :: self.stride, :: self.stride])
        return self._sum(conv(x, *self.second), beside)

    def moved(self, places_in: int, places_out: int) -> int:
        return (places_in + places_out) * self.channels_in + places_out * self.channels_out


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolution.

    The 3x3 convolution may have groups (ResNeXt) or more channels (wide ResNets).
    """

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(block, dtype)
        self.third = fold(block.conv3, block.bn3, dtype)
        self.stride = block.conv2.stride[0]
        self.how = {"stride": self.stride, "groups": block.conv2.groups}
        self.reach = Reach(3, self.stride, 1)
        self.channels_out = len(self.third[0])
        self.work_in = numbers(self.first)
        self.work_out = numbers(self.second, self.third, self.shortcut)

    def whole(self, x: Tensor, slots: Tensor | None = None) -> Tensor:
        inner = self.kept(conv(x, *self.first).relu_(), slots)
        middle = conv(inner, *self.second, padding=1, **self.how).relu_()
        return self._sum(conv(middle, *self.third), x[:, :: self.stride, :: self.stride])

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        self.inner.write(conv(level.windows(held), *self.first).relu_())
        found = level.lookup(slot, held, out.before(self.reach))
        middle = conv(self.inner.read(found), *self.second, **self.how).relu_()
        center = found[:, :, 1 : -1 : self.stride, 1 : -1 : self.stride]
        return self._sum(conv(middle, *self.third), level.read(center))

    def moved(self, places_in: int, places_out: int) -> int:
        return places_in * self.narrow + places_out * self.channels_in


def layers(network: nn.Module, dtype: torch.dtype) -> list[Layer]:
    """A ResNet of torchvision up to its last map.

    Raises:
        NotIncremental: it has other parts than torchvision's.
    """
    from torchvision.models import resnet  # as in `lib.attack.incremental.network`

    blocks = {resnet.BasicBlock: Basic, resnet.Bottleneck: Bottleneck}
    stem = Stem(network.conv1, network.bn1, dtype)
    found: list[Layer] = [stem, *pooling(network.maxpool, stem.channels_out)]
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    for stage in stages:
        for block in stage:
            if type(block) not in blocks:
                raise NotIncremental(f"the network has blocks of {type(block).__name__}.")
            found.append(blocks[type(block)](block, dtype))
        found[-1].tapped = stage is network.layer2
    return found
