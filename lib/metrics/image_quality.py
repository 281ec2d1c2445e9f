"""Difference of an image from a reference: PSNR, MSE, SSIM, GMSD and FSIM, one value per image.

The paper (4.1.2) names the five and omits most constants. We take those of the original definitions
and compare stored 8-bit images, so that every number is on one known scale (decisions EVA04 to
EVA08, audit P1 to P3 and F1 to F6). All functions take a reference and an image, uint8 of one shape
(N, H, W, 1 or 3) or (N, H, W), of numpy or torch, and return float64 (N,). They raise `InputError`
for other types or shapes, and images without pixels. The other images of a batch do not change a
value beyond float32 rounding.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.data import as_images
from lib.params.device import no_tf32, pick_device
from lib.params.errors import InputError, check_number

COMPARED = "Images to compare"
COLUMNS = ("psnr", "mse", "ssim", "gmsd", "fsim")
WINDOW = 11  # of SSIM (EVA06)
UNIFORM = 7  # of the other common SSIM
GMSD_CONSTANT = 170.0  # on 0..255 (EVA07)

# Pixels handled at a time. FSIM holds some 16 complex maps of each image several times over,
# about 1 kB a pixel, so this keeps a call under 300 MB at any image size.
CHUNK_PIXELS = 2**18


def psnr(reference: Any, image: Any) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE), joint over channels (EVA04).

    Identical images give ``inf``; callers count them separately and omit them from a mean.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / mse_255(reference, image))


def mse(reference: Any, image: Any) -> np.ndarray:
    """Mean squared error over pixels and channels of images on 0..1 (EVA05)."""
    return mse_255(reference, image) / 255**2


def mse_255(reference: Any, image: Any) -> np.ndarray:
    """`mse` on 0..255, which is 65025 times as large: the other scale of the paper's tables."""
    reference, image = as_pair(reference, image)
    # Squares are summed as int64: 8-bit arithmetic would wrap (audit P2).
    pairs = zip(reference, image, strict=True)
    return np.array([np.square(a.astype(np.int64) - b).mean() for a, b in pairs], dtype=np.float64)


def ssim(reference: Any, image: Any) -> np.ndarray:
    """Structural similarity of Wang et al. (2004), -1..1, mean over channels.

    Gaussian window of 11 pixels with standard deviation 1.5, K1 = 0.01, K2 = 0.03, no border pixels
    (EVA06; the paper prints the formula without window and constants).

    Raises:
        InputError: an edge is below 11 pixels.
    """
    return _ssim(
        reference, image, WINDOW, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def ssim_uniform(reference: Any, image: Any, peak: float = 255) -> np.ndarray:
    """SSIM with a uniform window of 7 pixels and sample covariances, scikit-image's default.

    A paper that names no window may have used either (audit F6). ``peak`` is the largest gray
    value in the constants; 255 is right for 8 bits.

    Raises:
        InputError: an edge is below 7 pixels, or the peak not above 0.
    """
    check_number("peak", peak, 0, math.inf, ends="()")
    return _ssim(reference, image, UNIFORM, peak=peak)


def gmsd(
    reference: Any, image: Any, device: str | torch.device = "cpu", constant: float = GMSD_CONSTANT
) -> np.ndarray:
    """Gradient magnitude similarity deviation of Xue et al. (2014), 0 for equal images.

    As published: luminance on 0..255, halved by 2 x 2 means, Prewitt gradients, constant 170
    (EVA07; the paper refers to the source, and its values fit another constant, audit F1). The
    constant stabilizes the similarity, for gradients of images on 0..255.

    Raises:
        InputError: the constant is not above 0.
    """
    check_number("constant", constant, 0, math.inf, ends="()")
    # piq brings images to 0..1 and takes the constant on that scale.
    return _of_piq("gmsd", as_pair(reference, image), device, t=constant / 255**2)


def fsim(reference: Any, image: Any, device: str | torch.device = "cpu") -> np.ndarray:
    """Feature similarity of Zhang et al. (2011) on luminance, at most 1, 1 for equal images.

    As published: phase congruency with four scales and orientations, T1 = 0.85, T2 = 160 on
    0..255 (EVA08; the paper refers to the source, and its values fit no standard code, audit F2).

    Raises:
        InputError: an edge of one pixel.
    """
    pair = as_pair(reference, image)
    check_edge("FSIM", pair[0], 2)
    return _of_piq("fsim", pair, device, chromatic=False)


def fsim_chromatic(reference: Any, image: Any, device: str | torch.device = "cpu") -> np.ndarray:
    """FSIMc of Zhang et al. (2011): `fsim` times the similarity of color, RGB images only.

    As published: I and Q of YIQ, T3 = T4 = 200, exponent 0.03. Our tables hold `fsim`, which exists
    for gray and color; this is the other reading of the paper's "FSIM" for color.

    Raises:
        InputError: the images are gray.
    """
    pair = as_pair(reference, image)
    if pair[0].shape[3] != 3:
        raise InputError("FSIMc compares colors: it needs RGB images (N, H, W, 3), not gray ones.")
    return _of_piq("fsim", pair, device, chromatic=True)


def measure(reference: Any, image: Any, device: str | torch.device = "cpu") -> pd.DataFrame:
    """All five metrics as a table, one row per image, columns as in `COLUMNS`.

    ``device``: where GMSD and FSIM are computed.
    """
    values = [metric(reference, image) for metric in (psnr, mse, ssim)]
    values += [metric(reference, image, device) for metric in (gmsd, fsim)]
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def as_pair(reference: Any, image: Any) -> tuple[np.ndarray, ...]:
    """Both as contiguous uint8 (N, H, W, C); without pixels they are refused, too."""
    both = as_images(COMPARED, reference=reference, image=image)
    if 0 in both[0].shape[1:]:
        raise InputError(f"{COMPARED} must have pixels, not the shape {both[0].shape}.")
    return tuple(map(np.ascontiguousarray, both))


def check_edge(measure: str, images: np.ndarray, least: int) -> None:
    """Raise InputError where an edge of images (N, H, W, C) is too short for a measure."""
    _, height, width, _ = images.shape
    if min(height, width) < least:
        raise InputError(
            f"{measure} needs images of {least} x {least} pixels or more, not {height} x {width}."
        )


def _ssim(reference: Any, image: Any, window: int, peak: float = 255, **options: Any) -> np.ndarray:
    """scikit-image's SSIM of each pair, K1 = 0.01, K2 = 0.03, mean over channels."""
    from skimage.metrics import structural_similarity

    reference, image = as_pair(reference, image)
    check_edge("SSIM", reference, window)
    options |= {"win_size": window, "K1": 0.01, "K2": 0.03, "data_range": peak}
    pairs = zip(reference, image, strict=True)
    values = [structural_similarity(a, b, channel_axis=-1, **options) for a, b in pairs]
    return np.array(values, dtype=np.float64)


def _of_piq(
    name: str, pair: tuple[np.ndarray, ...], device: str | torch.device, **options: float
) -> np.ndarray:
    """One of piq's functions on (N, C, H, W) tensors of values 0..255, some images at a time."""
    import piq

    count, height, width, _ = pair[0].shape
    device = pick_device(device)
    step = max(1, CHUNK_PIXELS // (height * width))
    values = np.empty(count, dtype=np.float64)
    with no_tf32(), torch.autocast(device.type, enabled=False):
        for start in range(0, count, step):
            part = slice(start, start + step)
            both = (
                torch.tensor(array[part], device=device).permute(0, 3, 1, 2).float()
                for array in pair
            )
            result = getattr(piq, name)(*both, data_range=255, reduction="none", **options)
            values[part] = result.cpu().numpy()
    return values
