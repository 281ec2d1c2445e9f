"""lib.metrics.image_quality against hand calculation, independent code and known properties.

GMSD and FSIM have values of their authors' own MATLAB code, run with GNU Octave on pictures that
ship with scikit-image; beside them stand a value worked out by hand (GMSD) and slow transcriptions
of the published definitions (both). SSIM has a value of independent code on a picture that we have.
"""

import math

import numpy as np
import pandas as pd
import piq
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate, gaussian_filter
from skimage import data
from skimage.transform import resize

from lib import metrics
from lib.metrics import image_quality
from lib.metrics.legacy_fsim import fsim_measures

FUNCTIONS = (image_quality.mse, image_quality.ssim, image_quality.gmsd, image_quality.fsim)


def photograph(size: int, channels: int) -> np.ndarray:
    """Pictures that ship with scikit-image, uint8 (1, size, size, channels)."""
    picture = data.camera() if channels == 1 else data.astronaut()
    small = resize(picture, (size, size), anti_aliasing=True) * 255
    return np.round(small).astype(np.uint8).reshape(1, size, size, channels)


def noisy(image: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def impulses(image: np.ndarray) -> np.ndarray:
    """Every tenth pixel replaced by a gray value that follows from its place."""
    changed = image.copy()
    pixels = changed.reshape(-1, *image.shape[2:])
    places = np.arange(0, len(pixels), 10)
    pixels[places] = (places * 37 % 256).astype(np.uint8).reshape(-1, *[1] * (pixels.ndim - 1))
    return changed


def coarse(image: np.ndarray) -> np.ndarray:
    """Eight gray levels."""
    return (image // 32 * 32).astype(np.uint8)


PICTURES = {
    "camera": (data.camera, 128, 128, 224), "astronaut": (data.astronaut, 0, 100, 224),
    "moon": (data.moon, 0, 0, 64), "chelsea": (data.chelsea, 0, 100, 64),
}  # fmt: skip
# GMSD.m (Xue et al.), on 0.299 R + 0.587 G + 0.114 B, and FeatureSIM.m, version 1.0 (Zhang et al.).
ORIGINAL = [
    ("camera", impulses, 0.18989839, 0.76462138, 0.76462138),
    ("camera", coarse, 0.14683059, 0.86872386, 0.86872386),
    ("astronaut", impulses, 0.19064120, 0.73890296, 0.73658941),
    ("astronaut", coarse, 0.07617353, 0.92259136, 0.91690028),
    ("moon", impulses, 0.19996153, 0.64683259, 0.64683259),
    ("moon", coarse, 0.05643526, 0.88427655, 0.88427655),
    ("chelsea", impulses, 0.12620052, 0.81170686, 0.80621106),
    ("chelsea", coarse, 0.02653016, 0.92423007, 0.92038915),
]


@pytest.mark.parametrize(("name", "change", "gmsd", "fsim", "chromatic"), ORIGINAL)
def test_gmsd_and_fsim_have_the_values_of_the_original_code(name, change, gmsd, fsim, chromatic):
    picture, row, col, size = PICTURES[name]
    image = picture()[row : row + size, col : col + size]
    pair = [each.reshape(1, size, size, -1) for each in (image, change(image))]
    # The original divides by n - 1 places, piq and the definition by n.
    places = (size // 2) ** 2
    assert image_quality.gmsd(*pair)[0] == pytest.approx(gmsd * math.sqrt(1 - 1 / places), rel=2e-6)
    assert image_quality.fsim(*pair)[0] == pytest.approx(fsim, rel=1e-4)
    if image.ndim == 3:
        assert image_quality.fsim_chromatic(*pair)[0] == pytest.approx(chromatic, rel=1e-4)


def test_one_fully_changed_pixel_of_224_by_hand():
    clean = np.zeros((1, 224, 224, 3), np.uint8)
    attacked = clean.copy()
    attacked[0, 100, 17] = 255
    assert image_quality.mse(clean, attacked)[0] == pytest.approx(1 / 50176, rel=1e-12)
    assert image_quality.mse_255(clean, attacked)[0] == pytest.approx(65025 / 50176, rel=1e-12)
    assert image_quality.psnr(clean, attacked)[0] == pytest.approx(
        10 * math.log10(50176), rel=1e-12
    )
    assert image_quality.psnr(clean, attacked)[0] >= 47.0  # audit U1
    attacked[0, 200, 3] = 255
    assert image_quality.psnr(clean, attacked)[0] == pytest.approx(44.0, abs=0.01)


@pytest.mark.parametrize("level", [3, 16, 200, 255])
def test_squares_of_large_errors_do_not_wrap(level):
    clean = np.zeros((1, 28, 28, 1), np.uint8)
    assert image_quality.mse_255(clean, clean + np.uint8(level))[0] == level**2
    assert image_quality.mse_255(clean + np.uint8(level), clean)[0] == level**2


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 3]), size=st.integers(11, 40))
def test_psnr_and_mse_equal_the_definition(seed, channels, size):
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 256, (2, 3, size, size, channels), dtype=np.uint8)
    squares = [((x.astype(float) - y) ** 2).mean() for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(image_quality.mse_255(a, b), squares, rtol=1e-12)
    np.testing.assert_allclose(image_quality.mse(a, b), np.divide(squares, 65025), rtol=1e-12)
    np.testing.assert_allclose(image_quality.psnr(a, b), 10 * np.log10(65025 / np.array(squares)))


@pytest.mark.parametrize("size", [28, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_identity(size, channels, recwarn):
    image = photograph(size, channels)
    table = image_quality.measure(image, image.copy())
    assert list(table.columns) == list(image_quality.COLUMNS)
    assert table.dtypes.eq(np.float64).all()
    assert table["psnr"][0] == np.inf
    assert table["mse"][0] == 0
    assert table["ssim"][0] == pytest.approx(1, abs=1e-12)
    assert table["gmsd"][0] == pytest.approx(0, abs=1e-6)
    assert table["fsim"][0] == pytest.approx(1, abs=1e-6)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


@pytest.mark.parametrize("measure", [metrics.gmsd, metrics.fsim])
def test_measures_do_not_follow_the_callers_autocast(measure):
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), np.uint8)
    plain = measure(image, 255 - image)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(measure(image, 255 - image), plain)


def test_flat_images_have_finite_values():
    black, white = np.zeros((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), 255, np.uint8)
    assert np.isfinite(image_quality.measure(black, white).to_numpy()).all()
    assert image_quality.fsim(black, black)[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_symmetric(channels):
    a = photograph(64, channels)
    b = noisy(a, 12)
    forth, back = image_quality.measure(a, b), image_quality.measure(b, a)
    np.testing.assert_allclose(forth, back, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_more_noise_is_worse_in_every_metric(channels):
    clean = photograph(64, channels)
    table = image_quality.measure(
        clean.repeat(5, axis=0), np.concatenate([noisy(clean, d) for d in (2, 6, 15, 35, 80)])
    )
    for name in ("psnr", "ssim", "fsim"):
        assert table[name].is_monotonic_decreasing, name
    for name in ("mse", "gmsd"):
        assert table[name].is_monotonic_increasing, name


def test_a_value_does_not_depend_on_the_batch(monkeypatch):
    clean = photograph(64, 3).repeat(5, axis=0)
    other = np.concatenate([noisy(clean[:1], d, seed=d) for d in (3, 5, 9, 20, 50)])
    together = image_quality.measure(clean, other)
    monkeypatch.setattr(image_quality, "CHUNK_PIXELS", 2 * 64 * 64)
    in_pairs = image_quality.measure(clean, other)
    alone = image_quality.measure(clean[3:4], other[3:4])
    np.testing.assert_allclose(together, in_pairs, rtol=1e-5)
    np.testing.assert_allclose(together.iloc[3], alone.iloc[0], rtol=1e-5)


@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_piq_and_the_formula(size, channels):
    a = photograph(size, channels)
    b = noisy(a, 15)
    tensors = [torch.tensor(x).permute(0, 3, 1, 2).double() for x in (a, b)]
    of_piq = piq.ssim(*tensors, data_range=255, downsample=False, reduction="none")
    assert image_quality.ssim(a, b)[0] == pytest.approx(of_piq.item(), abs=1e-6)

    def smooth(x):  # an 11 pixel window: radius 5
        return gaussian_filter(x, 1.5, radius=5)[5:-5, 5:-5]

    values = []
    for x, y in zip(a[0].T.astype(float), b[0].T.astype(float), strict=True):
        mx, my = smooth(x), smooth(y)
        vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        top, bottom = (2 * mx * my + c1) * (2 * cov + c2), (mx**2 + my**2 + c1) * (vx + vy + c2)
        values.append((top / bottom).mean())
    assert image_quality.ssim(a, b)[0] == pytest.approx(np.mean(values), abs=1e-9)


def test_ssim_equals_the_value_of_imdiff():
    """Of Image Processing On Line (ipol.im/pub/art/2011/g_lmii), C code by other authors; the value
    is printed in scikit-image's tests. imdiff treats the border otherwise, hence three digits."""
    picture = data.camera()
    noise = np.random.RandomState(5).randn(*picture.shape)  # noqa: NPY002, the original's stream
    other = np.clip(picture + 20.0 * noise, 0, 255).astype(np.uint8)
    found = image_quality.ssim(picture[None], other[None])[0]
    assert found == pytest.approx(0.357959091663361, abs=1e-3)


@pytest.mark.parametrize("peak", [255, 4095])
@pytest.mark.parametrize("channels", [1, 3])
def test_uniform_ssim_is_the_formula_on_each_window(channels, peak):
    a = photograph(16, channels)
    b = noisy(a, 15)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for channel in range(channels):
        for row in range(16 - 6):
            for col in range(16 - 6):
                x, y = (
                    v[0, row : row + 7, col : col + 7, channel].ravel().astype(float)
                    for v in (a, b)
                )
                (vx, cov), (_, vy) = np.cov(x, y)
                means = 2 * x.mean() * y.mean() + c1, x.mean() ** 2 + y.mean() ** 2 + c1
                values.append(means[0] * (2 * cov + c2) / (means[1] * (vx + vy + c2)))
    assert image_quality.ssim_uniform(a, b, peak)[0] == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.parametrize("level", [40, 255])
@pytest.mark.parametrize("constant", [170.0, 0.0026])
def test_gmsd_of_one_bright_block_by_hand(level, constant):
    """A block of 2 x 2 pixels, one pixel after halving, on black: its eight neighbors have a
    gradient, v / 3 beside it and sqrt(2) v / 3 at the corners, black has none."""
    black = np.zeros((1, 28, 28, 1), np.uint8)
    block = black.copy()
    block[0, 12:14, 16:18] = level
    similarity = np.ones(14 * 14)
    similarity[:4] = constant / (level**2 / 9 + constant)
    similarity[4:8] = constant / (2 * level**2 / 9 + constant)
    found = image_quality.gmsd(black, block, constant=constant)[0]
    assert found == pytest.approx(similarity.std(), rel=1e-5)


def luminance(image: np.ndarray) -> np.ndarray:
    """Of YIQ, 0..255, as in the code published with GMSD and FSIM."""
    image = image[0].astype(float)
    return image[..., 0] if image.shape[2] == 1 else image @ [0.299, 0.587, 0.114]


def gradient(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.hypot(correlate(x, kernel, mode="constant"), correlate(x, kernel.T, mode="constant"))


def slow_gmsd(a: np.ndarray, b: np.ndarray, constant: float = 170) -> float:
    """Xue et al. (2014), section III and the code published with it."""
    size = len(luminance(a)) // 2
    kernel = np.array([[1, 0, -1]] * 3) / 3
    ga, gb = (
        gradient(luminance(x).reshape(size, 2, size, 2).mean(axis=(1, 3)), kernel) for x in (a, b)
    )
    return ((2 * ga * gb + constant) / (ga**2 + gb**2 + constant)).std()


def phase_congruency(image: np.ndarray) -> np.ndarray:
    """Kovesi's phase congruency with the constants of FSIM, one filter at a time; even edges."""
    size, epsilon = len(image), 1e-4
    x, y = np.meshgrid(*[np.arange(-size / 2, size / 2) / size] * 2)
    radius, angle = np.fft.ifftshift(np.hypot(x, y)), np.fft.ifftshift(np.arctan2(-y, x))
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    spectrum, energies, amplitudes = np.fft.fft2(image), 0, 0
    for orientation in np.arange(4) * np.pi / 4:
        distance = np.abs(np.angle(np.exp(1j * (angle - orientation))))
        spread = np.exp(-(distance**2) / (2 * (np.pi / 4 / 1.2) ** 2))
        filters = []
        for wavelength in (6, 12, 24, 48):
            radial = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(0.55) ** 2))
            radial *= low_pass
            radial[0, 0] = 0
            filters.append(radial * spread)
        responses = np.array([np.fft.ifft2(spectrum * each) for each in filters])
        mean = responses.sum(axis=0) / (np.abs(responses.sum(axis=0)) + epsilon)
        turned = responses * mean.conj()
        energy = (turned.real - np.abs(turned.imag)).sum(axis=0)
        power = np.median(np.abs(responses[0]) ** 2) / np.log(2) / (filters[0] ** 2).sum()
        waves = np.array([np.fft.ifft2(each).real * size for each in filters])
        squares = (waves**2).sum()
        products = ((waves.sum(axis=0) ** 2).sum() - squares) / 2
        tau = np.sqrt(power * squares + 2 * power * products)
        threshold = tau * (np.sqrt(np.pi / 2) + 2 * np.sqrt(2 - np.pi / 2)) / 1.7
        energies = energies + np.maximum(energy - threshold, 0)
        amplitudes = amplitudes + np.abs(responses).sum(axis=0)
    return energies / amplitudes


def slow_fsim(a: np.ndarray, b: np.ndarray, chromatic: bool = False) -> float:
    """Zhang et al. (2011), equations 3 to 5, and 6 to 8 for color."""
    kernel = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    pa, pb = (phase_congruency(luminance(x)) for x in (a, b))
    ga, gb = (gradient(luminance(x), kernel) for x in (a, b))
    alike = (2 * pa * pb + 0.85) / (pa**2 + pb**2 + 0.85)
    alike *= (2 * ga * gb + 160) / (ga**2 + gb**2 + 160)
    if chromatic:
        for row in ([0.596, -0.274, -0.322], [0.211, -0.523, 0.312]):  # I and Q
            ca, cb = (x[0].astype(float) @ row for x in (a, b))
            alike *= np.abs((2 * ca * cb + 200) / (ca**2 + cb**2 + 200)) ** 0.03
    weight = np.maximum(pa, pb)
    return (alike * weight).sum() / weight.sum()


@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["noise", "pixel", "half black"])
def test_gmsd_and_fsim_equal_slow_transcriptions_of_their_definitions(size, channels, kind):
    a = photograph(size, channels)
    if kind == "half black":
        a[:, :, : size // 2] = 0
    b = noisy(a, 10)
    if kind == "pixel":
        b = a.copy()
        b[0, size // 2, 3] = 255
    assert image_quality.gmsd(a, b)[0] == pytest.approx(slow_gmsd(a, b), abs=2e-4)
    assert image_quality.fsim(a, b)[0] == pytest.approx(slow_fsim(a, b), abs=2e-4)
    for constant in (170 / 255**2, 170 * 255**2):
        slow = slow_gmsd(a, b, constant)
        assert image_quality.gmsd(a, b, constant=constant)[0] == pytest.approx(slow, abs=2e-4)
    if channels == 3:
        assert image_quality.fsim_chromatic(a, b)[0] == pytest.approx(
            slow_fsim(a, b, True), abs=2e-4
        )


def test_chromatic_fsim_sees_color_and_fsim_does_not():
    a = photograph(64, 3)
    gray = np.round(a @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None].repeat(3, 3)
    assert image_quality.fsim(a, gray)[0] > 0.99
    assert image_quality.fsim_chromatic(a, gray)[0] < image_quality.fsim(a, gray)[0] - 0.02
    with refused():
        image_quality.fsim_chromatic(a[..., :1], a[..., :1])


def test_gray_is_the_color_image_with_equal_channels():
    a = photograph(64, 1)
    b = noisy(a, 10)
    gray, color = (
        image_quality.measure(a, b),
        image_quality.measure(a.repeat(3, 3), b.repeat(3, 3)),
    )
    np.testing.assert_allclose(gray, color, rtol=1e-4)


@pytest.mark.parametrize(
    "function",
    [*FUNCTIONS, image_quality.psnr, image_quality.mse_255, image_quality.measure,
     image_quality.ssim_uniform, image_quality.fsim_chromatic],
)  # fmt: skip
def test_bad_input_is_named(function):
    good = np.zeros((2, 28, 28, 3), np.uint8)
    with refused("image", "float32"):
        function(good, good.astype(np.float32))
    with refused((2, 28, 28, 3), (1, 28, 28, 3)):
        function(good, good[:1])
    with refused("reference", (28, 28, 3)):
        function(good[0], good[0])
    with refused("reference", (2, 28, 28, 2)):
        function(good[..., :2], good[..., :2])
    with refused("reference", "int64"):
        function([1], good)
    with refused((2, 0, 28, 3)):
        function(good[:, :0], good[:, :0])
    turned, others = np.random.default_rng(0).integers(0, 256, (2, 2, 28, 28, 3), np.uint8)[
        ..., ::-1
    ]
    expected = function(turned.copy(), others.copy())
    np.testing.assert_array_equal(function(turned, others), expected)  # a view is an image too


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "x"])
def test_constants_are_positive(wrong):
    images = np.zeros((1, 28, 28, 3), np.uint8)
    with refused("constant"):
        image_quality.gmsd(images, images, constant=wrong)
    with refused("peak"):
        image_quality.ssim_uniform(images, images, peak=wrong)


def test_images_too_small_for_the_window_are_named():
    tiny = np.zeros((1, 10, 28, 1), np.uint8)
    with refused("10 x 28"):
        image_quality.ssim(tiny, tiny)
    assert image_quality.ssim_uniform(tiny, tiny)[0] == 1
    with refused("6 x 28"):
        image_quality.ssim_uniform(tiny[:, :6], tiny[:, :6])


@pytest.mark.parametrize("shape", [(0, 16, 16, 3), (0, 16, 16, 1), (0, 16, 16)])
def test_no_images_have_no_measures(shape):
    none = np.empty(shape, np.uint8)
    for metric in (metrics.psnr, metrics.mse, metrics.mse_255, metrics.ssim, metrics.ssim_uniform,
                   metrics.gmsd, metrics.fsim, fsim_measures):  # fmt: skip
        assert metric(none, none).shape == (0,)
    assert list(metrics.measure(none, none).columns) == list(image_quality.COLUMNS)


def test_gray_images_need_no_channel_and_may_be_tensors():
    images, others = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), np.uint8)
    expected = metrics.measure(images[..., None], others[..., None])
    pd.testing.assert_frame_equal(metrics.measure(images, others, "auto"), expected)
    tensors = torch.from_numpy(images), torch.from_numpy(others)
    pd.testing.assert_frame_equal(metrics.measure(*tensors), expected)
