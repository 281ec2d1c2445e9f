"""How far an image is from another: PSNR, MSE, SSIM, GMSD and FSIM, one value per image.

The paper's section 4.1.2 names the five and leaves out most constants; we take those of the
original definitions and compare stored 8-bit images, so that every number is on one known scale
(decisions EVA04 to EVA08, audit P1 to P3 and F1 to F6). All functions take two uint8 arrays of
one shape (N, H, W, C), C = 1 (gray) or 3 (RGB), and return float64 of shape (N,). The value of an
image does not depend on the other images beside it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.params.errors import InputError

COLUMNS = ("psnr", "mse", "ssim", "gmsd", "fsim")
WINDOW = 11  # of SSIM (EVA06)
UNIFORM = 7  # of the other common SSIM
GMSD_CONSTANT = 170.0  # on 0..255 (EVA07)

# Pixels handled at a time. FSIM holds some 16 complex maps of each image several times over,
# about 1 kB a pixel, so this keeps a call under 300 MB at any image size.
CHUNK_PIXELS = 2**18


def psnr(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE), joint over channels (EVA04).

    Identical images give ``inf``: the caller counts them and leaves them out of a mean.

    Raises:
        InputError: shapes or types do not fit.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / mse_255(reference, image))


def mse(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Mean squared error over pixels and channels of images on 0..1 (EVA05).

    Raises:
        InputError: shapes or types do not fit.
    """
    return mse_255(reference, image) / 255**2


def mse_255(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """`mse` on 0..255, which is 65025 times as large: the other scale of the paper's tables.

    Raises:
        InputError: shapes or types do not fit.
    """
    check(reference, image)
    # Squares are summed as int64: 8-bit arithmetic would wrap (audit P2).
    return np.array(
        [
            np.square(a.astype(np.int64) - b).sum() / a.size
            for a, b in zip(reference, image, strict=True)
        ],
        dtype=np.float64,
    )


def ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Structural similarity of Wang et al. (2004), -1..1, mean over channels.

    Gaussian window of 11 pixels with deviation 1.5, K1 = 0.01, K2 = 0.03, no border pixels
    (EVA06; the paper prints the formula without window and constants).

    Raises:
        InputError: shapes or types do not fit, or an edge is below 11 pixels.
    """
    return _ssim(
        reference, image, WINDOW, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def ssim_uniform(reference: np.ndarray, image: np.ndarray, peak: float = 255) -> np.ndarray:
    """SSIM with a uniform window of 7 pixels and sample covariances, scikit-image's default.

    Stands beside `ssim` where it matters which of the two a paper may have used (audit F6).

    Args:
        reference: clean images, uint8 (N, H, W, C).
        image: restored images of the same shape.
        peak: largest gray value that the constants are made for; 255 is right for 8 bits.

    Raises:
        InputError: shapes or types do not fit, or an edge is below 7 pixels.
    """
    return _ssim(reference, image, UNIFORM, peak=peak)


def gmsd(
    reference: np.ndarray,
    image: np.ndarray,
    device: str | torch.device = "cpu",
    constant: float = GMSD_CONSTANT,
) -> np.ndarray:
    """Gradient magnitude similarity deviation of Xue et al. (2014), 0 for equal images.

    As published: luminance on 0..255, halved by 2 x 2 means, Prewitt gradients, constant 170
    (EVA07; the constants are missing in the paper, whose values fit another one, audit F1).

    Args:
        reference: clean images, uint8 (N, H, W, C).
        image: restored images of the same shape.
        device: where it is computed.
        constant: what keeps the similarity finite, for gradients of images on 0..255.

    Raises:
        InputError: shapes or types do not fit.
    """
    import piq

    # piq brings images to 0..1 and takes the constant on that scale.
    return _in_chunks(piq.gmsd, reference, image, device, t=constant / 255**2)


def fsim(
    reference: np.ndarray, image: np.ndarray, device: str | torch.device = "cpu"
) -> np.ndarray:
    """Feature similarity of Zhang et al. (2011) on luminance, at most 1, 1 for equal images.

    As published: phase congruency with four scales and orientations, T1 = 0.85, T2 = 160 on
    0..255 (EVA08; the paper names no constants, and its values fit no standard code, audit F2).

    Raises:
        InputError: shapes or types do not fit.
    """
    import piq

    return _in_chunks(piq.fsim, reference, image, device, chromatic=False)


def fsim_chromatic(
    reference: np.ndarray, image: np.ndarray, device: str | torch.device = "cpu"
) -> np.ndarray:
    """FSIMc of Zhang et al. (2011): `fsim` times the similarity of color, RGB images only.

    As published: I and Q of YIQ, T3 = T4 = 200, exponent 0.03. Our tables hold `fsim`, which gray
    and color sets share; this is the other reading of the paper's "FSIM" for color.

    Raises:
        InputError: shapes or types do not fit, or the images are gray.
    """
    import piq

    check(reference, image)
    if reference.shape[3] != 3:
        raise InputError("FSIMc compares colors: it needs RGB images (N, H, W, 3), not gray ones.")
    return _in_chunks(piq.fsim, reference, image, device, chromatic=True)


def measure(
    reference: np.ndarray, image: np.ndarray, device: str | torch.device = "cpu"
) -> pd.DataFrame:
    """All five metrics as a table, one row per image, columns as in `COLUMNS`.

    Args:
        reference: clean images, uint8 (N, H, W, C).
        image: restored images of the same shape.
        device: where GMSD and FSIM are computed.

    Raises:
        InputError: shapes or types do not fit.
    """
    return pd.DataFrame(
        {
            "psnr": psnr(reference, image),
            "mse": mse(reference, image),
            "ssim": ssim(reference, image),
            "gmsd": gmsd(reference, image, device),
            "fsim": fsim(reference, image, device),
        }
    )


def _ssim(
    reference: np.ndarray, image: np.ndarray, window: int, peak: float = 255, **options: Any
) -> np.ndarray:
    """scikit-image's SSIM of each pair, K1 = 0.01, K2 = 0.03, mean over channels."""
    from skimage.metrics import structural_similarity

    check(reference, image)
    if min(reference.shape[1:3]) < window:
        raise InputError(
            f"SSIM needs images of {window} x {window} pixels or more, "
            f"not {reference.shape[1]} x {reference.shape[2]}."
        )
    return np.array(
        [
            structural_similarity(
                a, b, win_size=window, K1=0.01, K2=0.03, data_range=peak, channel_axis=-1,
                **options,
            )
            for a, b in zip(reference, image, strict=True)
        ],
        dtype=np.float64,
    )  # fmt: skip


def _in_chunks(
    function: Callable[..., torch.Tensor],
    reference: np.ndarray,
    image: np.ndarray,
    device: str | torch.device,
    **options: float,
) -> np.ndarray:
    """One of piq's functions on (N, C, H, W) tensors of values 0..255, some images at a time."""
    check(reference, image)
    count, height, width, _ = reference.shape
    step = max(1, CHUNK_PIXELS // (height * width))
    values = np.empty(count, dtype=np.float64)
    for start in range(0, count, step):
        part = slice(start, start + step)
        pair = (
            torch.tensor(array[part], device=device).permute(0, 3, 1, 2).float()
            for array in (reference, image)
        )
        result = function(*pair, data_range=255, reduction="none", **options)
        values[part] = result.cpu().numpy()
    return values


def check(reference: np.ndarray, image: np.ndarray) -> None:
    """Refuse anything but two arrays of stored images of one shape, uint8 (N, H, W, 1 or 3).

    Raises:
        InputError: shapes or types do not fit.
    """
    for name, array in (("reference", reference), ("image", image)):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            kind = getattr(array, "dtype", type(array).__name__)
            raise InputError(f"Metrics compare stored 8-bit images: {name} is {kind}, not uint8.")
        if array.ndim != 4 or array.shape[3] not in (1, 3):
            raise InputError(
                f"Metrics need images of shape (N, H, W, 1) or (N, H, W, 3): {name} has "
                f"{array.shape}."
            )
    if reference.shape != image.shape:
        raise InputError(
            f"Metrics need two arrays of one shape: reference has {reference.shape}, "
            f"image {image.shape}."
        )
