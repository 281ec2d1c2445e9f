"""All images that differ from a gray image in one pixel, bare or through a 3 x 3 median.

Behind the median one pixel can produce few images: each output is the median of nine values, so
that as one of them runs through 0..255 it is held between two of the others.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

VALUES = 256
# Black and white first, then halves, quarters and so on: a counterexample is found early.
ORDER = sorted(range(VALUES), key=lambda v: (v not in (0, 255), int(f"{v:08b}"[::-1], 2)))


@dataclass(frozen=True)
class Neighbors:
    """The different images that one changed pixel makes of an image, as the classifier sees them.

    Attributes:
        picture: the unchanged image as the classifier sees it, uint8 (1, H, W).
        genes: what differs from it, int64 (M, 3 * pixels): row, column and value of each pixel.
        changes: a change of the image that does this, int64 (M, 3): row, column and value.
        pixels: how many pixels differ at most: 1, or 9 behind a median.
    """

    picture: Tensor
    genes: Tensor
    changes: Tensor
    pixels: int


def bare(picture: Tensor) -> Neighbors:
    """The 255 H W images that differ from an image, uint8 (1, H, W), in one pixel."""
    axes = (torch.arange(edge, device=picture.device) for edge in picture.shape[1:])
    order = torch.tensor(ORDER, device=picture.device)
    changes = torch.cartesian_prod(order, *axes)[:, [1, 2, 0]]
    own = picture[0, changes[:, 0], changes[:, 1]]
    changes = changes[changes[:, 2] != own]
    return Neighbors(picture, changes, changes, 1)


def through_median(picture: Tensor) -> Neighbors:
    """The different images that a 3 x 3 median makes of those of `bare`, without repetitions.

    Args:
        picture: uint8 (1, H, W), at least 2 x 2; its border is mirrored.
    """
    height, width = picture.shape[1:]
    device, flat = picture.device, picture.flatten().short()
    # Of each output the nine places that it is the median of.
    places = torch.arange(height * width, device=device).view(1, 1, height, width)
    windows = F.pad(places.double(), (1, 1, 1, 1), mode="reflect")
    windows = F.unfold(windows, 3)[0].T.long()
    clean = flat[windows].median(1).values
    order = torch.tensor(ORDER, device=device)
    rank = order.argsort()
    values = torch.arange(VALUES, dtype=torch.int16, device=device)
    steps = torch.arange(-1, 2, device=device)
    genes, changes = [], []
    for row in range(height):
        rows = (row + steps).clamp(0, height - 1)
        cols = (torch.arange(width, device=device).view(-1, 1) + steps).clamp(0, width - 1)
        out = (rows.view(1, 3, 1) * width + cols.view(-1, 1, 3)).flatten(1)  # (W, 9)
        mine = row * width + torch.arange(width, device=device).view(-1, 1, 1)
        read = flat[windows[out]].unsqueeze(2)  # (W, 9, 1, 9)
        is_mine = (windows[out] == mine).unsqueeze(2)
        made = values.view(1, 1, -1, 1).where(is_mine, read).median(3).values  # (W, 9, 256)
        # As the value grows no output falls: equal images are next to each other.
        new = torch.ones(width, VALUES, dtype=torch.long, device=device)
        new[:, 1:] = (made[:, :, 1:] != made[:, :, :-1]).any(1)
        kind = new.cumsum(1) - 1
        first = torch.full_like(kind, VALUES)
        first.scatter_reduce_(1, kind, rank.expand(width, -1), "amin")
        col, at = (first < VALUES).nonzero(as_tuple=True)
        value = order[first[col, at]]
        seen, clean_there = made[col, :, value], clean[out[col]]
        differs = (seen != clean_there).any(1)
        col, value, seen, places = col[differs], value[differs], seen[differs], out[col[differs]]
        pixel = torch.stack([places // width, places % width, seen.long()], 2)
        genes.append(pixel.flatten(1))
        changes.append(torch.stack([torch.full_like(col, row), col, value], 1))
    genes, changes = torch.cat(genes), torch.cat(changes)
    # Two positions can make the same image: compare what differs, in one order.
    pixel = genes.view(-1, 9, 3)
    same = pixel[..., 2] == clean[pixel[..., 0] * width + pixel[..., 1]]
    code = ((pixel[..., 0] * width + pixel[..., 1]) * VALUES + pixel[..., 2]).masked_fill(same, -1)
    earliest = rank[changes[:, 2]].argsort(stable=True)
    code = code[earliest].sort(1).values
    code[:, 1:].masked_fill_(code[:, 1:] == code[:, :-1], -1)  # at the border a place comes twice
    code = code.sort(1).values.cpu().numpy()
    kept = np.sort(np.unique(code, axis=0, return_index=True)[1])
    chosen = earliest[torch.from_numpy(kept).to(device)]
    seen = clean.view(1, height, width).to(torch.uint8)
    return Neighbors(seen, genes[chosen], changes[chosen], 9)
