"""Image quality, classification measures and confidence intervals.

Restored images against clean ones:

    from lib.metrics import psnr

    psnr(clean, restored)  # uint8 (N, H, W, C) each; float64 (N,)
"""

from lib.metrics.image_quality import (
    fsim,
    fsim_chromatic,
    gmsd,
    measure,
    mse,
    mse_255,
    psnr,
    ssim,
    ssim_uniform,
)

__all__ = [
    "fsim", "fsim_chromatic", "gmsd", "measure", "mse", "mse_255", "psnr", "ssim", "ssim_uniform",
]  # fmt: skip
