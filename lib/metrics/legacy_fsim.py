"""Reimplementation of the package ``image-similarity-measures``, with its quirks as switches.

The package (github.com/up42/image-similarity-measures, read at version 0.3.6) is what a search for
"FSIM Python" finds, and the audit supposes that it made some of the paper's values (F2). It pins an
old numpy, so it cannot be installed here. With every switch off, `fsim_measures` is the FSIM of
Zhang et al. (2011), as `lib.metrics.image_quality.fsim`, for edges below 384 pixels; larger images
are reduced there.

All functions take and return what those of `lib.metrics.image_quality` do.
"""

from functools import cache

import numpy as np
from scipy import fft, ndimage

from lib.metrics import image_quality

PEAK = 4095  # the package's default in PSNR and SSIM, for satellite images of 12 bits
T1, T2 = 0.85, 160.0  # of FSIM, the latter for gradients on 0..255
SCALES, SHORTEST = 4, 6  # log-Gabor filters, wavelength of the first in pixels, then twice as long
CHUNK_PIXELS = 2**14  # of images whose 24 filter responses are held at a time, some 100 MB


def psnr_measures(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """PSNR in dB with the package's default peak of 4095: 24.1 dB above the right one."""
    return image_quality.psnr(reference, image) + 20 * np.log10(PEAK / 255)


def ssim_measures(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """SSIM with a uniform window of 7 and the package's default peak of 4095: nearer to 1."""
    return image_quality.ssim_uniform(reference, image, peak=PEAK)


def fsim_measures(
    reference: np.ndarray,
    image: np.ndarray,
    *,
    uint16_gradients: bool = True,
    raw_scharr: bool = True,
    phasepack: bool = True,
    by_channel: bool = True,
    reference_peak: float = 255,
    image_peak: float = 255,
) -> np.ndarray:
    """FSIM as the package has it; each switch set to ``False`` is the published way instead.

    Args:
        uint16_gradients: the two slopes are stored as unsigned 16 bits, so that falling slopes
            become 0, and squared in them, so that squares wrap at 65,536 (slopes above 255).
            Published: signed and exact.
        raw_scharr: the gradient's kernel is not divided by 16, although T2 = 160 assumes it, and
            the border is mirrored. Published: divided, zeros around the image.
        phasepack: phase congruency of the package ``phasepack``: six orientations with cosine
            windows, each weighted by the spread of frequencies and divided by its own amplitude,
            then summed to 0..6. Published: four orientations with Gaussian windows, the sum of
            energies over the sum of amplitudes, 0..1, which T1 = 0.85 assumes.
        by_channel: mean over channels. Published: luminance.
        reference_peak: peak value of the clean images as passed to the package; the paper's may
            have been on 0..1.
        image_peak: the same of the restored images; different peaks mix two scales.

    Returns:
        FSIM of each pair, NaN where neither image has a feature (as the package).
    """
    reference, image = image_quality.as_pair(reference, image)
    image_quality.check_edge("FSIM", reference, 2)
    if not len(reference):
        return np.empty(0)
    features = []
    for array, peak in ((reference, reference_peak), (image, image_peak)):
        planes = array.astype(np.float64) * (peak / 255)
        if not by_channel and array.shape[3] == 3:
            planes = planes @ np.array([[0.299], [0.587], [0.114]])
        planes = np.moveaxis(planes, 3, 1)
        flat = planes.reshape(-1, *planes.shape[2:])
        congruency = _phase_congruency(flat, phasepack)
        features.append((congruency, _gradient(flat, uint16_gradients, raw_scharr)))
    (p, g), (q, h) = features
    weight = np.maximum(p, q)
    alike = _similarity(p, q, T1) * _similarity(g, h, T2)
    with np.errstate(invalid="ignore"):
        values = (alike * weight).sum((1, 2)) / weight.sum((1, 2))
    return values.reshape(len(reference), -1).mean(1)


def _similarity(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


def _gradient(planes: np.ndarray, uint16: bool, raw: bool) -> np.ndarray:
    """Scharr gradient magnitude of planes (n, H, W)."""
    smooth, slope = np.array([3.0, 10, 3]), np.array([-1.0, 0, 1])
    kernel = np.outer(smooth, slope) / (1 if raw else 16)
    mode = "mirror" if raw else "constant"
    slopes = [ndimage.correlate(planes, k[None], mode=mode) for k in (kernel, kernel.T)]
    if uint16:
        slopes = [np.clip(np.rint(each), 0, 65535).astype(np.uint16) for each in slopes]
    return np.sqrt((slopes[0] * slopes[0] + slopes[1] * slopes[1]).astype(np.float64))


def _phase_congruency(planes: np.ndarray, phasepack: bool) -> np.ndarray:
    """Phase congruency of planes (n, H, W), of the same shape."""
    step = max(1, CHUNK_PIXELS // planes[0].size)
    parts = [planes[start : start + step] for start in range(0, len(planes), step)]
    return np.concatenate([_congruency_of(part, phasepack) for part in parts])


def _congruency_of(planes: np.ndarray, phasepack: bool) -> np.ndarray:
    """Kovesi's measure: how far the filters of all scales agree in phase, less estimated noise."""
    epsilon = 1e-4
    filters = _filters(*planes.shape[1:], phasepack)
    # (n, orientations, scales, H, W)
    responses = fft.ifft2(fft.fft2(planes)[:, None, None] * filters)
    amplitudes = np.abs(responses)
    total = responses.sum(2, keepdims=True)
    turned = responses * (total / (np.abs(total) + epsilon)).conj()
    energy = (turned.real - np.abs(turned.imag)).sum(2)
    # Noise is Rayleigh distributed; the smallest scale, which sees little else, gives its size.
    median = np.median(amplitudes[:, :, 0], axis=(2, 3))
    if phasepack:
        tau = median / np.sqrt(np.log(4)) * sum(0.5**scale for scale in range(SCALES))
        scaling = 1.0
    else:
        power = median**2 / np.log(2) / np.square(filters[:, 0]).sum((1, 2))
        waves = fft.ifft2(filters).real * np.sqrt(planes[0].size)
        tau = np.sqrt(power * np.square(waves.sum(1)).sum((1, 2)))
        scaling = 1.7
    threshold = tau * (np.sqrt(np.pi / 2) + 2 * np.sqrt(2 - np.pi / 2)) / scaling
    energy = np.maximum(energy - np.maximum(threshold, epsilon)[..., None, None], 0)
    sums = amplitudes.sum(2)
    if not phasepack:
        return energy.sum(1) / (sums.sum(1) + epsilon)
    spread = (sums / (amplitudes.max(2) + epsilon) - 1) / (SCALES - 1)
    weight = 1 / (1 + np.exp(10 * (0.5 - spread)))
    return np.divide(weight * energy, sums, out=np.zeros_like(sums), where=sums > 0).sum(1)


@cache
def _filters(height: int, width: int, phasepack: bool) -> np.ndarray:
    """Log-Gabor filters (orientations, scales, H, W) in the layout of the Fourier transform."""
    y, x = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(-y, x)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1  # its logarithm is taken; the filter is 0 there
    bandwidth = 0.5978 if phasepack else 0.55
    radial = []
    for scale in range(SCALES):
        octave = np.log(radius * SHORTEST * 2**scale)
        radial.append(np.exp(-(octave**2) / (2 * np.log(bandwidth) ** 2)) * low_pass)
        radial[-1][0, 0] = 0
    count = 6 if phasepack else 4
    angular = []
    for direction in np.arange(count) * np.pi / count:
        distance = np.abs(np.angle(np.exp(1j * (angle - direction))))
        if phasepack:
            angular.append((1 + np.cos(np.minimum(distance * count / 2, np.pi))) / 2)
        else:
            angular.append(np.exp(-(distance**2) / (2 * (np.pi / count / 1.2) ** 2)))
    return np.stack(angular)[:, None] * np.stack(radial)


def _frequencies(length: int) -> np.ndarray:
    """Frequencies in cycles a pixel; for odd lengths stretched to +-0.5, as both codes do."""
    return fft.fftfreq(length) * (length / (length - 1) if length % 2 else 1)
