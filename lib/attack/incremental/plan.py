"""How far a changed pixel reaches behind each layer, and from which layer on whole maps pay."""

import torch
from torch import Tensor

from lib.attack.incremental.layers import Layer

# A value that is gathered takes about as long as so many multiply-adds.
GATHER = 32
# The C library hands larger blocks back to the system at once; getting them again costs more
# than small batches do.
LARGEST_MAP = 32 << 20  # bytes


class Plan:
    """Windows and work of a network, for each stored pixel.

    All windows of a layer have one size, that of the pixel which reaches farthest: the shapes
    that a candidate is evaluated in do not depend on the candidates beside it.

    Args:
        chain: layers of the network.
        source: stored row of each row of the network's input, int64 (S,); columns likewise.
        pixels: changed pixels of a candidate.
        switch: first layer on whole maps; ``None`` for the one with the least work, 0 for the
            dense network.

    Attributes:
        maps: edge of the map in front of each layer, and of the last one.
        sizes: edge of the windows there.
        starts: first row of the window of each stored row, int64 (image size,), likewise.
        switch: first layer on whole maps.
    """

    def __init__(
        self, chain: list[Layer], source: Tensor, pixels: int, switch: int | None = None
    ) -> None:
        self.chain, self.pixels = chain, pixels
        stored = torch.arange(int(source[-1]) + 1)
        low = torch.searchsorted(source, stored)
        high = torch.searchsorted(source, stored, right=True) - 1
        self.maps, self.sizes, self.starts = [], [], []
        self._add(len(source), low, high)
        for layer in chain:
            size = layer.reach.map_size(self.maps[-1])
            low, high = layer.reach.spread(low, high, size)
            self._add(size, low, high)
        if switch is None:
            switch = min(range(len(chain)), key=self.work)
        self.switch = switch

    @property
    def tapped(self) -> int:
        """Layers up to the one that `Tap` predicts from; all of a DenseNet with one block."""
        tapped = (number for number, layer in enumerate(self.chain, 1) if layer.tapped)
        return next(tapped, len(self.chain))

    def _add(self, map_size: int, low: Tensor, high: Tensor) -> None:
        size = int((high - low).max()) + 1
        self.maps.append(map_size)
        self.sizes.append(size)
        self.starts.append(low.clamp(max=map_size - size))

    def layer_work(self, number: int, whole: bool) -> int:
        """Multiply-adds of a layer for one candidate, values gathered counted as ``GATHER``."""
        layer = self.chain[number]
        if whole:
            return layer.work(self.maps[number] ** 2, self.maps[number + 1] ** 2)
        places_in, places_out = self.sizes[number] ** 2, self.sizes[number + 1] ** 2
        moved = layer.moved(layer.reach.input_size(self.sizes[number + 1]) ** 2, places_out)
        return self.pixels * (layer.work(places_in, places_out) + GATHER * moved)

    def work(self, switch: int) -> int:
        """Multiply-adds of one candidate with whole maps from layer ``switch`` on."""
        pasted = GATHER * self.maps[switch] ** 2 * self.chain[switch].channels_in
        return pasted + sum(
            self.layer_work(number, number >= switch) for number in range(len(self.chain))
        )

    def batch(self, value_bytes: int) -> int:
        """The largest batch of candidates whose largest map on a CPU is below ``LARGEST_MAP``."""
        places = [
            self.maps[n + 1] ** 2 if n >= self.switch else self.pixels * self.sizes[n + 1] ** 2
            for n in range(len(self.chain))
        ]
        values = max(
            count * layer.channels_out for count, layer in zip(places, self.chain, strict=True)
        )
        return max(1, min(256, LARGEST_MAP // (values * value_bytes) // 8 * 8))
