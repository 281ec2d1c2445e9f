"""Patch selection: take from the denoised image only what differs strongly from the input."""

import numpy as np

from lib.errors import InputError


def select_patches(
    images: np.ndarray, restored: np.ndarray, size: int, threshold: float
) -> np.ndarray:
    """Images with the denoiser's output in the patches it changed strongly, and as they were
    elsewhere.

    The patch selection denoiser of Chen et al. (2019), the paper's reference 5, which the paper
    describes (section 2) but does not run: a window scans the denoised image, and where its
    absolute difference from the input exceeds a threshold, the window is taken from the denoised
    image. The original's window, threshold and measure of a window's difference are not in the
    paper. We: a window around every pixel, taken if its middle pixel differs in any channel by
    more than the threshold. An attack on single pixels needs no more, the rest of the image stays
    as it is to the last bit, and no second forward pass is needed.

    Args:
        images: what the denoiser was given, uint8 (N, H, W, C).
        restored: what it made of them, of the same shape.
        size: edge of a window in pixels, odd; 1 takes over single pixels.
        threshold: share 0..1 of the range of values; 0 takes over whatever changed, 1 nothing.

    Raises:
        InputError: arrays of other types or of two shapes, an even size, a threshold outside 0..1.
    """
    from scipy.ndimage import maximum_filter

    if images.dtype != np.uint8 or restored.dtype != np.uint8 or images.shape != restored.shape:
        raise InputError(
            "Patch selection needs two uint8 arrays of one shape, not "
            f"{images.dtype} {images.shape} and {restored.dtype} {restored.shape}."
        )
    if size < 1 or size % 2 == 0:
        raise InputError(f"A patch has an odd edge, so that it has a middle, not {size!r}.")
    if not 0 <= threshold <= 1:
        raise InputError(f"A patch threshold is a share of the range in 0..1, not {threshold!r}.")
    # int16 holds every difference of two 8-bit values.
    strong = (np.abs(images.astype(np.int16) - restored) > 255 * threshold).any(axis=3)
    chosen = maximum_filter(strong, (1, size, size), mode="constant", cval=0)
    return np.where(chosen[..., None], restored, images)
