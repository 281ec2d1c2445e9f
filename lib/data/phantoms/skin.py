"""Phantoms of dermatoscopic images: a lesion on skin, seven classes in MedMNIST's order."""

from dataclasses import dataclass

import numpy as np

from lib.data.phantoms.canvas import cells, ellipse, field, grid, noise, paint, soft

# Deviation of the noise: a fixed part, and one that grows with the signal.
NOISE = (0.012, 0.0)
TONES = np.float32([[0.87, 0.72, 0.68], [0.86, 0.62, 0.60], [0.80, 0.60, 0.50], [0.82, 0.66, 0.74]])


@dataclass(frozen=True)
class Look:
    """Ranges that a class's outline is drawn from.

    Attributes:
        colors: first and second color of the lesion.
        radius: mean radius, share of the image.
        ragged: how far the border strays from an ellipse, in radii.
        blur: width of the border in radii.
    """

    colors: tuple[tuple[float, float, float], tuple[float, float, float]]
    radius: tuple[float, float]
    ragged: tuple[float, float]
    blur: tuple[float, float]


LOOKS = (
    Look(((0.74, 0.42, 0.38), (0.66, 0.45, 0.34)), (0.20, 0.34), (0.20, 0.34), (0.45, 0.80)),
    Look(((0.83, 0.50, 0.56), (0.72, 0.36, 0.42)), (0.13, 0.26), (0.08, 0.20), (0.25, 0.50)),
    Look(((0.62, 0.49, 0.39), (0.49, 0.38, 0.34)), (0.18, 0.32), (0.10, 0.24), (0.08, 0.18)),
    Look(((0.60, 0.38, 0.36), (0.68, 0.44, 0.46)), (0.13, 0.24), (0.04, 0.12), (0.40, 0.60)),
    Look(((0.32, 0.18, 0.15), (0.50, 0.29, 0.20)), (0.22, 0.38), (0.22, 0.40), (0.10, 0.28)),
    Look(((0.52, 0.31, 0.23), (0.42, 0.24, 0.18)), (0.12, 0.27), (0.03, 0.14), (0.15, 0.45)),
    Look(((0.66, 0.10, 0.20), (0.48, 0.10, 0.32)), (0.09, 0.26), (0.04, 0.16), (0.10, 0.25)),
)
NEVUS = 5


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One lesion.

    Every lesion lies between the typical look of its class and a plain brown spot, most near the
    former, so that the classes overlap.

    Args:
        rng: stream of this image.
        labels: the class, 0..6.
        edge: pixels.

    Returns:
        float32 (edge, edge, 3), about 0..1.
    """
    kind = labels[0]
    image = _skin(rng, edge)
    typical = rng.beta(3.5, 1.0)
    look = LOOKS[kind]

    def drawn(name: str) -> float:
        own, plain = (rng.uniform(*getattr(each, name)) for each in (look, LOOKS[NEVUS]))
        return plain + typical * (own - plain)

    radius, ragged, blur = drawn("radius"), drawn("ragged"), drawn("blur")
    shade = rng.uniform(0, 1)
    own, plain = (
        np.float32(each.colors[0]) * (1 - shade) + np.float32(each.colors[1]) * shade
        for each in (look, LOOKS[NEVUS])
    )
    color = (plain + typical * (own - plain)) * rng.normal(1, 0.09) + rng.normal(0, 0.01, 3)
    center = tuple(rng.normal(0.5, 0.05, 2))
    longer = rng.uniform(1.0, 1.25 + ragged)
    far = ellipse(edge, center, (radius * longer, radius / longer), rng.uniform(0, np.pi))
    far = far + ragged * noise(rng, edge, 5, 3)
    inside = soft(1 - far, blur)
    body = np.broadcast_to(color.astype(np.float32), image.shape).copy()
    body *= 1 + (0.05 * noise(rng, edge, 14, 2) + 0.10 * (far - 0.6))[..., None]
    SIGNS[kind](rng, body, far, typical)
    paint(image, inside * rng.uniform(0.75, 0.97), body)
    return _vignette(rng, _hairs(rng, image), edge)


def _skin(rng: np.random.Generator, edge: int) -> np.ndarray:
    tone = rng.dirichlet(np.ones(len(TONES))) @ TONES + rng.normal(0, 0.025, 3)
    image = np.empty((edge, edge, 3), np.float32)
    image[:] = tone * rng.normal(1, 0.04)
    image += (0.018 * noise(rng, edge, 3, 2))[..., None]
    blotch = 0.022 * noise(rng, edge, 16, 2)
    image += blotch[..., None] * np.float32([0.5, 1.0, 1.0])
    return image


def _hairs(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    down, right = grid(len(image))
    count = rng.integers(1, 7) if rng.random() < 0.3 else 0
    for _ in range(count):
        angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.4)
        y, x = down - rng.uniform(0.1, 0.9), right - rng.uniform(0.1, 0.9)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) + bend * along**2
        line = soft(0.004 - np.abs(across), 0.008) * soft(0.45 - np.abs(along), 0.2)
        paint(image, 0.75 * line, [0.22, 0.14, 0.12])
    return image


def _vignette(rng: np.random.Generator, image: np.ndarray, edge: int) -> np.ndarray:
    depth = rng.uniform(0.15, 0.55) if rng.random() < 0.5 else 0.0
    reach = rng.uniform(0.55, 0.68)
    return image * (1 - depth * soft(ellipse(edge, (0.5, 0.5), (reach, reach)) - 1, 0.5))[..., None]


def _actinic(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    paint(body, typical * 0.6 * soft(noise(rng, edge, 9, 2) - 0.7, 0.8), [0.88, 0.76, 0.66])
    paint(body, 0.5 * soft(noise(rng, edge, 12) - 1.0, 0.6), [0.60, 0.26, 0.22])


def _basal(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    paint(body, typical * 0.5 * soft(0.6 - far, 0.6), [0.92, 0.74, 0.76])
    vessel = soft(0.16 - np.abs(noise(rng, edge, 6, 2)), 0.15)
    paint(body, typical * 0.55 * vessel, [0.70, 0.16, 0.20])
    paint(body, 0.6 * soft(noise(rng, edge, 8) - 1.4, 0.5), [0.40, 0.36, 0.46])


def _keratosis(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    down, right = grid(edge)
    near, _, number = cells(rng, down * 14, right * 14, 1.0)
    size = rng.uniform(-0.1, 0.32, 1024).astype(np.float32)[number]
    paint(body, typical * 0.55 * soft(size - near, 0.15), [0.84, 0.76, 0.66])
    furrow = soft(0.25 - np.abs(noise(rng, edge, 8)), 0.3)
    paint(body, typical * 0.35 * furrow, [0.30, 0.22, 0.18])


def _dermatofibroma(
    rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float
) -> None:
    edge = len(body)
    pale = soft(rng.uniform(0.25, 0.55) - far + 0.08 * noise(rng, edge, 12), 0.6)
    paint(body, typical * 0.85 * pale, [0.90, 0.78, 0.76])


def _melanoma(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    for color, least in (
        ([0.62, 0.38, 0.22], 0.5),
        ([0.13, 0.08, 0.09], 0.4),
        ([0.36, 0.38, 0.48], 0.9),
        ([0.58, 0.20, 0.20], 1.1),
    ):
        patch = soft(noise(rng, edge, 4, 2) - least - rng.normal(0, 0.3), 0.5)
        paint(body, typical * 0.9 * patch, color)


def _nevus(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    paint(body, rng.uniform(0.1, 0.6) * soft(0.5 - far, 0.9), [0.28, 0.15, 0.12])
    down, right = grid(edge)
    near, second, _ = cells(rng, down * 22, right * 22)
    paint(body, rng.uniform(0, 0.35) * soft(0.15 - (second - near), 0.2), [0.26, 0.14, 0.10])
    if rng.random() < 0.12:  # an atypical nevus has a second color, as a melanoma does
        paint(body, 0.8 * soft(noise(rng, edge, 4, 2) - 0.3, 0.6), [0.20, 0.12, 0.11])


def _vascular(rng: np.random.Generator, body: np.ndarray, far: np.ndarray, typical: float) -> None:
    edge = len(body)
    down, right = grid(edge)
    warp = 0.4 * field(rng, down * 8, right * 8)
    near, second, number = cells(rng, down * 10 + warp, right * 10 - warp)
    shade = rng.uniform(-0.08, 0.08, 1024).astype(np.float32)[number]
    body += shade[..., None] * np.float32([1.0, 0.4, 1.0])
    paint(body, typical * 0.3 * soft(0.15 - (second - near), 0.3), [0.86, 0.50, 0.56])


SIGNS = (_actinic, _basal, _keratosis, _dermatofibroma, _melanoma, _nevus, _vascular)
