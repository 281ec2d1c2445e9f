"""Patch selection: use the denoiser's output only where it differs strongly from its input."""

import math
from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.data import as_images, like
from lib.metrics.classification import right
from lib.metrics.intervals import columns, share
from lib.models.classifiers import classify
from lib.models.denoisers import restore
from lib.models.inference import Device, Network
from lib.params.errors import InputError, check_number, check_numbers


def select_patches(
    images: np.ndarray, restored: np.ndarray, size: int, threshold: float
) -> np.ndarray:
    """The denoiser's output in the patches that it changed strongly, its input elsewhere.

    The patch selection denoiser of Chen et al. (2019), the paper's reference 5, which the paper
    describes (section 2) but does not run: a window scans the denoised image, and is used where its
    absolute difference from the input exceeds a threshold. The paper does not state the original's
    window, threshold and measure of difference. We: a window around every pixel, used if its middle
    pixel differs in any channel by more than the threshold. This suffices against attacks on single
    pixels, leaves the rest of the image unchanged to the last bit, and needs no second forward
    pass.

    Args:
        images: input of the denoiser, uint8 (N, H, W, C).
        restored: its output, of the same shape.
        size: edge of a window in pixels, odd; 1 selects single pixels.
        threshold: share 0..1 of the range of values; 0 selects whatever changed, 1 nothing.

    Raises:
        InputError: arrays of other types or of two shapes, or as `check_patches`.
    """
    pair = as_images("Images of patch selection", images=images, restored=restored)
    size, threshold = check_patches(size, threshold)
    given, made = (
        torch.from_numpy(np.ascontiguousarray(values)).permute(0, 3, 1, 2).float()
        for values in pair
    )
    mixed = blend(given, made, size, threshold).to(torch.uint8)
    return like(images, mixed.permute(0, 2, 3, 1).contiguous().numpy())


def check_patches(size: int, threshold: float) -> tuple[int, float]:
    """Size, an odd whole number from 1, and threshold in 0..1 as numbers of Python."""
    size = check_number("size of a patch", size, 1, math.inf, whole=True)
    if size % 2 == 0:
        raise InputError(f"size of a patch is {size}: give an odd number, so that it has a middle.")
    return size, check_number("threshold of a patch", threshold, 0, 1)


def blend(given: Tensor, restored: Tensor, size: int, threshold: float) -> Tensor:
    """`select_patches` on tensors of 8-bit values, float (N, C, H, W) in 0..255."""
    strong = ((given - restored).abs() > 255 * threshold).any(1, keepdim=True)
    chosen = F.max_pool2d(strong.float(), size, stride=1, padding=size // 2) > 0
    return torch.where(chosen, restored, given)


def scan_patches(
    model: Network, denoiser: Network, clean: np.ndarray, attacked: np.ndarray,
    sizes: Iterable[int] = (1, 3, 5), thresholds: Iterable[float] = (0.05, 0.1, 0.25, 0.5),
    threshold: float | None = None, device: Device = None,
) -> pd.DataFrame:  # fmt: skip
    """What each window and threshold of patch selection restores, to choose them by.

    Choose on validation images: on test images the choice itself would be part of the result.

    Args:
        model: the classifier.
        denoiser: network or filter whose output patches are taken from.
        clean: images before the attack, uint8 (N, H, W, C), all classified correctly.
        attacked: the same images misclassified.
        sizes: edges of windows, odd.
        thresholds: shares 0..1 of the range.
        threshold: of a multi-label classifier's sigmoids; None for one class an image.
        device: where it runs; None for where the networks are.

    Returns:
        One row a size and threshold, and one with the whole restored image (``size`` 0): ``n``,
        ``recovered``, the share of attacked images that get their decision back, and ``kept``, the
        share of clean images that keep theirs, each with a Wilson interval.

    Raises:
        InputError: as `select_patches`, `lib.models.restore` and `lib.models.classify`.
    """
    as_images("Images of a scan", clean=clean, attacked=attacked)
    sizes = check_numbers("sizes", sizes, 1, math.inf, whole=True)
    thresholds = check_numbers("thresholds", thresholds, 0, 1)
    settings = [check_patches(*setting) for setting in product(sizes, thresholds)]
    task = (False, 0.5) if threshold is None else (True, threshold)
    given = {"recovered": attacked, "kept": clean}
    restored = {name: restore(denoiser, images, device) for name, images in given.items()}
    before, rows = classify(model, clean, *task, device), []
    for size, level in [(0, 0.0), *settings]:
        row = {"size": size, "threshold": level, "n": len(clean)}
        for name, made in restored.items():
            if size:
                made = select_patches(given[name], made, size, level)
            same = right(before, classify(model, made, *task, device))
            row |= columns(name, share(same))
        rows.append(row)
    return pd.DataFrame(rows)
