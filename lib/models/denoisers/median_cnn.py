"""The CNN with median layers, MedianDenoise (the paper's reference 23), and its median layer."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lib.models.denoisers.base import Denoiser
from lib.params.errors import InputError, check_number

FEATURES = 64  # of each convolution but the last
CHUNK_VALUES = 2**18  # filtered at a time on a CPU, so that the work stays in its cache
CHUNK_VALUES_GPU = 2**22  # and on a GPU, where few large steps are faster


def _sort(values: list[Tensor]) -> list[Tensor]:
    """Sorted along the list, element by element (odd-even transposition sort)."""
    values = list(values)
    for turn in range(len(values)):
        for i in range(turn % 2, len(values) - 1, 2):
            low, high = values[i], values[i + 1]
            values[i], values[i + 1] = torch.minimum(low, high), torch.maximum(low, high)
    return values


def _shifts(padded: Tensor, kernel: int, dim: int) -> list[Tensor]:
    length = padded.shape[dim] - kernel + 1
    return [padded.narrow(dim, start, length) for start in range(kernel)]


def _median(padded: Tensor, kernel: int) -> Tensor:
    """Median of each ``kernel`` x ``kernel`` window of a tensor (N, C, H, W).

    Windows share their sorted columns. Once the columns and then the rows of a window are sorted,
    the value in row i and column j is not below (i + 1)(j + 1) - 1 others and not above
    (k - i)(k - j) - 1 others. Few places are left where the median can be, as many above as below
    are ruled out, and the median of the rest is that of the window.
    """
    half = kernel * kernel // 2 + 1
    candidates = []
    for i, row in enumerate(_sort(_shifts(padded, kernel, -2))):
        for j, values in enumerate(_sort(_shifts(row, kernel, -1))):
            if (i + 1) * (j + 1) <= half and (kernel - i) * (kernel - j) <= half:
                candidates.append(values)
    return _sort(candidates)[len(candidates) // 2]


class _MedianFilter(torch.autograd.Function):
    """Median filter whose memory does not grow with the window: only input and output are kept, and
    the positions of the median are found again in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int) -> Tensor:
        output, padded = torch.empty_like(x), _pad(x, kernel)
        for images, rows, reach in _parts(x, kernel):
            output[images, :, rows] = _median(padded[images, :, reach], kernel)
        ctx.save_for_backward(x, output)
        ctx.kernel = kernel
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, output = ctx.saved_tensors
        with torch.enable_grad():
            source = x.detach().requires_grad_()
            padded = _pad(source, ctx.kernel)
        total = torch.zeros_like(padded)
        for images, rows, reach in _parts(x, ctx.kernel):
            _spread(
                padded.detach()[images, :, reach], output[images, :, rows],
                gradient[images, :, rows], total[images, :, reach], ctx.kernel,
            )  # fmt: skip
        (found,) = torch.autograd.grad(padded, source, total)
        return torch.empty_like(x).copy_(found), None


def _spread(padded: Tensor, middle: Tensor, given: Tensor, total: Tensor, kernel: int) -> None:
    """Add to ``total``, the gradient at the padded input: each window's gradient goes to its
    median, split among equal values."""
    windows = [w for row in _shifts(padded, kernel, -2) for w in _shifts(row, kernel, -1)]
    equal = [window == middle for window in windows]
    share = given / sum(mask.to(given.dtype) for mask in equal)
    places = [w for row in _shifts(total, kernel, -2) for w in _shifts(row, kernel, -1)]
    for place, mask in zip(places, equal, strict=True):
        place.addcmul_(mask.to(given.dtype), share)


def _pad(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, (kernel // 2,) * 4, mode="reflect")


def _parts(x: Tensor, kernel: int) -> Iterator[tuple[slice, slice, slice]]:
    """Images and rows of a tensor (N, C, H, W) that are filtered at a time, one each at least, and
    the rows of the padded tensor that their windows cover."""
    count, channels, height, width = x.shape
    limit = CHUNK_VALUES_GPU if x.is_cuda else CHUNK_VALUES
    some = max(1, limit // (channels * height * width))
    step = max(1, limit // (some * channels * width))
    for first, top in product(range(0, count, some), range(0, height, step)):
        rows = slice(top, min(top + step, height))
        yield slice(first, first + some), rows, slice(top, rows.stop + kernel - 1)


class MedianLayer(nn.Module):
    """Median filter of each channel separately (the paper's 3.1.2 (4)); the window's edge is odd.

    Equal to ``scipy.ndimage.median_filter`` with mode ``mirror``: the border is reflected without
    repeating its pixels. The public code leaves channels unfiltered where a loop rebinds its
    variable (audit F3), and pads with zeros; hence this tested layer (MED03). The gradient of a
    window goes to its median; equal values share it.

    Raises:
        InputError: an even or negative edge.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        if check_number("kernel", kernel, 1, math.inf, whole=True) % 2 == 0:
            raise InputError(f"The window of a median has an odd edge, not {kernel!r}.")
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """Filtered (N, C, H, W).

        Raises:
            InputError: height or width do not exceed half the window.
        """
        if min(x.shape[2:]) <= self.kernel // 2:
            raise InputError(
                f"A median of {self.kernel} x {self.kernel} needs images of more than "
                f"{self.kernel // 2} pixels an edge, not {x.shape[2]} x {x.shape[3]}."
            )
        return _MedianFilter.apply(x, self.kernel)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}"


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalization and ReLU, added to the input (Figure 7b).

    The last normalization starts at zero, so that a new block gives its input back, as Goyal et
    al. (2017), *Accurate, Large Minibatch SGD*, start their residual networks (MED05).
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.BatchNorm2d(FEATURES), nn.ReLU(),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.BatchNorm2d(FEATURES),
        )  # fmt: skip
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class MedianCNN(Denoiser):
    """The CNN with median layers of Liang et al. (2021).

    The paper (3.1.2 (4)): two median layers, then residual blocks of 64 features with median layers
    between them in the first half; windows of 3 x 3 or 5 x 5 as examples, number of blocks missing,
    and we did not have Figure 7. We: 16 blocks with a median after each of the first eight (MED01);
    the public code has up to 32 stages, which at 224 pixels would have needed several times the
    power of the paper's card in single precision for the times it prints (audit T6). Windows are
    5 x 5 at the input, as in the public code, and 3 x 3 inside, where 64 channels make the larger
    one too expensive (MED02). The output is linear, as there.

    Args:
        channels: 1 (gray) or 3 (RGB).
        blocks: residual blocks.
        median: ``False`` makes every median layer the identity, as the public code does in effect
            (audit F3); the weights of both forms are interchangeable.
    """

    def __init__(self, channels: int, blocks: int = 16, median: bool = True) -> None:
        super().__init__(channels)
        blocks = check_number("blocks", blocks, 0, math.inf, whole=True)

        def filtering(kernel: int) -> nn.Module:
            return MedianLayer(kernel) if median else nn.Identity()

        layers: list[nn.Module] = [
            filtering(5), filtering(5), nn.Conv2d(channels, FEATURES, 3, padding=1), nn.ReLU(),
        ]  # fmt: skip
        for block in range(blocks):
            layers.append(ResidualBlock())
            if block < blocks // 2:
                layers.append(filtering(3))
        layers.append(nn.Conv2d(FEATURES, channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def denoise(self, images: Tensor) -> Tensor:
        return self.layers(images)
