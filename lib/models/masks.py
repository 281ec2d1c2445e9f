"""Square masks over images, and what hidden pixels are filled with (Xiang et al. 2022).

Double masking classifies images under such masks; a classifier can be trained under them.
"""

import math

import torch
from torch import Tensor

from lib.params.errors import InputError, check_number

GRAY = 0.5  # of a pixel with no visible one in its row or column


def check_mask(mask: int, patch: int = 1) -> tuple[int, int]:
    """Edges of a mask and of the patch that fits under it, whole numbers of Python from 1."""
    mask = check_number("mask", mask, 1, math.inf, whole=True)
    return mask, check_number("patch", patch, 1, mask, whole=True)


def mask_corners(height: int, width: int, mask: int, patch: int = 1) -> list[tuple[int, int]]:
    """Top left corners of square masks such that every patch lies wholly under one of them.

    All edges are in pixels; a patch of 1 is a single pixel. Corners are ``mask - patch + 1``
    pixels apart, the last ones end at the border of the image.

    Raises:
        InputError: a mask smaller than the patch or larger than the image.
    """
    mask, patch = check_mask(mask, patch)
    if mask > min(height, width):
        raise InputError(f"A mask of {mask} pixels is larger than images of {height} x {width}.")
    step = mask - patch + 1
    tops, lefts = ([*range(0, edge - mask, step), edge - mask] for edge in (height, width))
    return [(top, left) for top in tops for left in lefts]


def inpaint(images: Tensor, hidden: Tensor) -> Tensor:
    """Fill the pixels ``hidden``, bool (N, H, W), of finite images (N, C, H, W).

    Each gets the nearest visible values above, below, left and right, weighted by their inverse
    distance. Hidden values are never looked at.
    """
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for axis in (1, 2):
        for backward in (False, True):
            turn = (lambda x, at: x.flip(at)) if backward else (lambda x, at: x)
            seen = turn(~hidden, axis)
            place = torch.arange(seen.shape[axis], device=images.device)
            place = place.view(-1, 1) if axis == 1 else place
            nearest = place.where(seen, -1).cummax(axis).values
            index = nearest.clamp(min=0).unsqueeze(1).expand_as(images)
            values = turn(images, axis + 1).gather(axis + 1, index)
            weight = (nearest >= 0) / (place - nearest).clamp(min=1).to(images.dtype)
            total = total + turn(values * weight.unsqueeze(1), axis + 1)
            weights = weights + turn(weight, axis).unsqueeze(1)
    filled = torch.where(weights > 0, total / weights.clamp(min=1e-6), GRAY)
    return torch.where(hidden.unsqueeze(1), filled, images)


def masks_of(height: int, width: int, mask: int, patch: int = 1) -> Tensor:
    """The masks at `mask_corners`, bool (M, H, W), true where one hides; arguments as there."""
    corners = mask_corners(height, width, mask, patch)
    masks = torch.zeros(len(corners), height, width, dtype=torch.bool)
    for each, (top, left) in zip(masks, corners, strict=True):
        each[top : top + mask, left : left + mask] = True
    return masks


def under_two(images: Tensor, mask: int, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in 0..1 with two masks each, drawn from `masks_of`, filled by `inpaint`.

    The two may be the same one, so that images under a single mask occur too. The generator is on
    the CPU. Errors are those of `mask_corners`.
    """
    masks = masks_of(*images.shape[2:], mask)
    chosen = torch.randint(len(masks), (2, len(images)), generator=generator)
    return inpaint(images, (masks[chosen[0]] | masks[chosen[1]]).to(images.device))
