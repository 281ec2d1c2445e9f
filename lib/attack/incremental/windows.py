"""Windows of feature maps that a changed pixel reaches, and where their values are found.

A candidate differs from its clean image in a few pixels. Behind each layer the difference stays
inside one square window for each pixel; everywhere else the clean image's activations hold. The
idea is Krypton's (Nakandala et al. 2019, incremental inference for occlusion maps); gathering all
windows of all candidates in one step is ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reach:
    """How a layer spreads a change (its receptive field): kernel, stride and zero padding."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0

    def map_size(self, size: int) -> int:
        """Edge of the output map for an input map of edge ``size``."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def spread(self, low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """First and last output place that depends on input places ``low`` to ``high``.

        Clipped to the output map of edge ``size``; one place is left where nothing depends.
        """
        first = low + self.padding - self.kernel + self.stride  # rounds the division up
        low = first.div(self.stride, rounding_mode="floor").clamp(0, size - 1)
        high = (high + self.padding).div(self.stride, rounding_mode="floor").clamp(max=size - 1)
        return low, high.maximum(low)

    def spread_size(self, size: int, limit: int) -> int:
        """Edge of a window that holds all places which depend on any input window of ``size``.

        The output map has the edge ``limit``.
        """
        return min(limit, (size + self.kernel - 2) // self.stride + 1)

    def input_size(self, size: int) -> int:
        """Edge of the input window that an output window of edge ``size`` depends on."""
        return (size - 1) * self.stride + self.kernel


@dataclass(frozen=True)
class Windows:
    """Square windows of one map, one for each candidate and changed pixel."""

    start: Tensor  # int64 (N, P, 2): row and column of the first corner
    size: int

    def places(self) -> tuple[Tensor, Tensor]:
        """Rows (N, P, size, 1) and columns (N, P, 1, size) that they cover."""
        place = self.start.unsqueeze(3) + torch.arange(self.size, device=self.start.device)
        return place[:, :, 0, :, None], place[:, :, 1, None, :]

    def before(self, reach: Reach) -> "Windows":
        """Windows of the layer's input that these of its output depend on, padding included."""
        start = self.start * reach.stride - reach.padding
        return Windows(start, reach.input_size(self.size))

    def after(self, reach: Reach, limit: int) -> "Windows":
        """Windows of the layer's output, a map of edge ``limit``, that depend on these."""
        size = reach.spread_size(self.size, limit)
        first = self.start + reach.padding - reach.kernel + reach.stride  # rounds up
        first = first.div(reach.stride, rounding_mode="floor")
        return Windows(first.clamp(0, limit - size), size)


class Level:
    """One feature map of all images in work, as rows of channels in one buffer.

    Row 0 is zero and stands for the padding. Then come the clean maps, one for each slot, then
    the windows of the candidates that are evaluated just now.
    """

    def __init__(
        self, slots: int, size: int, channels: int, rows: int, dtype: torch.dtype,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.size = size
        self.first = 1 + slots * size * size
        self.buffer = torch.zeros(self.first + rows, channels, dtype=dtype, device=device)
        self.clean = self.buffer[1 : self.first].view(slots, size, size, channels)

    def keep(self, slots: Tensor, maps: Tensor) -> None:
        """Store clean maps (n, size, size, c) in slots (n,); missing last channels stay."""
        self.clean[..., : maps.shape[-1]][slots] = maps

    def write(self, maps: Tensor) -> None:
        """Store windows (N * P, size, size, c); missing last channels keep what was there."""
        rows = maps.flatten(0, 2)
        self.buffer[self.first : self.first + len(rows), : rows.shape[1]] = rows

    def windows(self, held: Windows) -> Tensor:
        """The stored windows (N * P, size, size, channels), a view."""
        count = held.start.shape[0] * held.start.shape[1]
        rows = self.buffer[self.first : self.first + count * held.size**2]
        return rows.view(count, held.size, held.size, -1)

    def lookup(self, slot: Tensor, held: Windows, wanted: Windows) -> Tensor:
        """Buffer rows of what windows cover, int64 (N, P, wanted.size, wanted.size).

        Args:
            slot: of each candidate's clean image, int64 (N,).
            held: windows that were written last; where two of them cover a place, both hold the
                same value.
            wanted: windows to read, of the same candidates; they may hang over the map's edge.
        """
        row, col = wanted.places()
        found = (slot.view(-1, 1, 1, 1) * self.size + row) * self.size + col + 1
        count, pixels = held.start.shape[:2]
        window = torch.arange(count, device=slot.device).view(-1, 1, 1, 1) * pixels
        for pixel in range(pixels):
            down = row - held.start[:, pixel, 0].view(-1, 1, 1, 1)
            right = col - held.start[:, pixel, 1].view(-1, 1, 1, 1)
            changed = ((window + pixel) * held.size + down) * held.size + right + self.first
            found = changed.where(within(down, right, held.size), found)
        return found.where(within(row, col, self.size), 0)

    def read(self, found: Tensor) -> Tensor:
        """Maps (N * P, size, size, channels) from `lookup`."""
        rows = self.buffer.index_select(0, found.flatten())
        return rows.view(-1, *found.shape[2:], rows.shape[1])

    def assemble(self, slot: Tensor, held: Windows) -> Tensor:
        """Whole maps (N, size, size, channels) of candidates, windows pasted into clean maps."""
        whole = Windows(held.start.new_zeros(len(slot), 1, 2), self.size)
        return self.read(self.lookup(slot, held, whole))


def within(row: Tensor, col: Tensor, size: int) -> Tensor:
    """Whether rows and columns, which are broadcast, are both in 0 to ``size`` - 1."""
    return ((row >= 0) & (row < size)) & ((col >= 0) & (col < size))
