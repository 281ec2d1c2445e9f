"""ResNet50's blocks, on whole maps and on windows."""

import torch
import torchvision
from torch import Tensor, nn

from lib.attack.incremental.layers import Layer, MaxPool, Stem, conv, fold, placed
from lib.attack.incremental.windows import Level, Reach, Windows


class Bottleneck(Layer):
    """1x1, 3x3 and 1x1 convolution beside a shortcut (He et al. 2016), batch norm folded."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        self.stride = block.conv2.stride[0]
        self.reach = Reach(3, self.stride, 1)
        self.first = placed(fold(block.conv1, block.bn1), dtype)
        self.second = placed(fold(block.conv2, block.bn2), dtype)
        self.third = placed(fold(block.conv3, block.bn3), dtype)
        self.shortcut = None
        if block.downsample is not None:
            self.shortcut = placed(fold(*block.downsample), dtype)
        self.narrow, self.channels_in = self.first[0].shape[:2]
        self.channels_out = self.third[0].shape[0]

    def allocate(self, slots: int, size: int, rows: int) -> None:
        self.inner = Level(
            slots, size, self.narrow, rows, self.first[0].dtype, self.first[0].device
        )

    def _sum(self, x: Tensor, beside: Tensor) -> Tensor:
        """ReLU of the third convolution of ``x`` and the shortcut of ``beside``."""
        if self.shortcut:
            beside = conv(beside, *self.shortcut)
        return conv(x, *self.third).add_(beside).relu_()

    def clean(self, x: Tensor, slots: Tensor | None) -> Tensor:
        inner = conv(x, *self.first).relu_()
        if slots is not None:
            self.inner.keep(slots, inner)
        middle = conv(inner, *self.second, stride=self.stride, padding=1).relu_()
        return self._sum(middle, x[:, :: self.stride, :: self.stride])

    def whole(self, x: Tensor) -> Tensor:
        return self.clean(x, None)

    def windows(self, level: Level, slot: Tensor, held: Windows, out: Windows) -> Tensor:
        self.inner.write(conv(level.windows(held), *self.first).relu_())
        found = level.lookup(slot, held, out.before(self.reach))
        middle = conv(self.inner.read(found), *self.second, stride=self.stride).relu_()
        center = found[:, :, 1 : -1 : self.stride, 1 : -1 : self.stride]
        return self._sum(middle, level.read(center))

    def work(self, places_in: int, places_out: int) -> int:
        behind = [self.second, self.third] + [self.shortcut] * (self.shortcut is not None)
        behind = sum(weight.numel() for weight, _ in behind)
        return places_in * self.first[0].numel() + places_out * behind

    def moved(self, places_in: int, places_out: int) -> int:
        return places_in * self.narrow + places_out * self.channels_in


def layers(network: torchvision.models.ResNet, dtype: torch.dtype) -> list[Layer]:
    """torchvision's ResNet50 up to its last map."""
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    blocks = [Bottleneck(block, dtype) for stage in stages for block in stage]
    return [Stem(network.conv1, network.bn1, dtype), MaxPool(), *blocks]
