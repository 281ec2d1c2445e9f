"""Phantoms of dermatoscopic images: a lesion on skin, seven classes in MedMNIST's order."""

from typing import NamedTuple

import numpy as np

from lib.data.phantoms.canvas import Canvas, soft

TONES = np.float32([[0.87, 0.72, 0.68], [0.86, 0.62, 0.60], [0.80, 0.60, 0.50], [0.82, 0.66, 0.74]])


class Look(NamedTuple):
    """Ranges that the lesions of a class are drawn from."""

    colors: tuple[tuple[float, float, float], tuple[float, float, float]]
    radius: tuple[float, float]  # mean radius, share of the image
    ragged: tuple[float, float]  # deviation of the border from an ellipse, in radii
    blur: tuple[float, float]  # width of the border in radii


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
    """
    c, body = Canvas(rng, edge, 3), Canvas(rng, edge, 3)
    _skin(c)
    typical, look = rng.beta(3.5, 1.0), LOOKS[labels[0]]

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
    far = c.ellipse(center, (radius * longer, radius / longer), rng.uniform(0, np.pi))
    far = far + ragged * c.noise(5, 3)
    body.image[:] = color.astype(np.float32)
    body.image *= 1 + (0.05 * c.noise(14, 2) + 0.10 * (far - 0.6))[..., None]
    SIGNS[labels[0]](body, far, typical)
    c.paint(soft(1 - far, blur) * rng.uniform(0.75, 0.97), body.image)
    _hairs(c)
    depth = rng.uniform(0.15, 0.55) if rng.random() < 0.5 else 0.0
    reach = rng.uniform(0.55, 0.68)
    vignette = soft(c.ellipse((0.5, 0.5), (reach, reach)) - 1, 0.5)
    return c.image * (1 - depth * vignette)[..., None]


def _skin(c: Canvas) -> None:
    tone = c.rng.dirichlet(np.ones(len(TONES))) @ TONES + c.rng.normal(0, 0.025, 3)
    c.image[:] = tone * c.rng.normal(1, 0.04)
    c.image += (0.018 * c.noise(3, 2))[..., None]
    blotch = 0.022 * c.noise(16, 2)
    c.image += blotch[..., None] * np.float32([0.5, 1.0, 1.0])


def _hairs(c: Canvas) -> None:
    for _ in range(c.rng.integers(1, 7) if c.rng.random() < 0.3 else 0):
        angle, bend = c.rng.uniform(0, np.pi), c.rng.normal(0, 0.4)
        y, x = c.down - c.rng.uniform(0.1, 0.9), c.right - c.rng.uniform(0.1, 0.9)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) + bend * along**2
        line = soft(0.004 - np.abs(across), 0.008) * soft(0.45 - np.abs(along), 0.2)
        c.paint(0.75 * line, [0.22, 0.14, 0.12])


def _actinic(c: Canvas, far: np.ndarray, typical: float) -> None:
    c.paint(typical * 0.6 * soft(c.noise(9, 2) - 0.7, 0.8), [0.88, 0.76, 0.66])
    c.paint(0.5 * soft(c.noise(12) - 1.0, 0.6), [0.60, 0.26, 0.22])


def _basal(c: Canvas, far: np.ndarray, typical: float) -> None:
    c.paint(typical * 0.5 * soft(0.6 - far, 0.6), [0.92, 0.74, 0.76])
    vessel = soft(0.16 - np.abs(c.noise(6, 2)), 0.15)
    c.paint(typical * 0.55 * vessel, [0.70, 0.16, 0.20])
    c.paint(0.6 * soft(c.noise(8) - 1.4, 0.5), [0.40, 0.36, 0.46])


def _keratosis(c: Canvas, far: np.ndarray, typical: float) -> None:
    near, _, number = c.cells(c.down * 14, c.right * 14, 1.0)
    size = c.rng.uniform(-0.1, 0.32, 1024).astype(np.float32)[number]
    c.paint(typical * 0.55 * soft(size - near, 0.15), [0.84, 0.76, 0.66])
    furrow = soft(0.25 - np.abs(c.noise(8)), 0.3)
    c.paint(typical * 0.35 * furrow, [0.30, 0.22, 0.18])


def _dermatofibroma(c: Canvas, far: np.ndarray, typical: float) -> None:
    pale = soft(c.rng.uniform(0.25, 0.55) - far + 0.08 * c.noise(12), 0.6)
    c.paint(typical * 0.85 * pale, [0.90, 0.78, 0.76])


def _melanoma(c: Canvas, far: np.ndarray, typical: float) -> None:
    for color, least in (
        ([0.62, 0.38, 0.22], 0.5),
        ([0.13, 0.08, 0.09], 0.4),
        ([0.36, 0.38, 0.48], 0.9),
        ([0.58, 0.20, 0.20], 1.1),
    ):
        patch = soft(c.noise(4, 2) - least - c.rng.normal(0, 0.3), 0.5)
        c.paint(typical * 0.9 * patch, color)


def _nevus(c: Canvas, far: np.ndarray, typical: float) -> None:
    c.paint(c.rng.uniform(0.1, 0.6) * soft(0.5 - far, 0.9), [0.28, 0.15, 0.12])
    near, second, _ = c.cells(c.down * 22, c.right * 22)
    c.paint(c.rng.uniform(0, 0.35) * soft(0.15 - (second - near), 0.2), [0.26, 0.14, 0.10])
    if c.rng.random() < 0.12:  # an atypical nevus has a second color, as a melanoma does
        c.paint(0.8 * soft(c.noise(4, 2) - 0.3, 0.6), [0.20, 0.12, 0.11])


def _vascular(c: Canvas, far: np.ndarray, typical: float) -> None:
    warp = 0.4 * c.field(c.down * 8, c.right * 8)
    near, second, number = c.cells(c.down * 10 + warp, c.right * 10 - warp)
    shade = c.rng.uniform(-0.08, 0.08, 1024).astype(np.float32)[number]
    c.image += shade[..., None] * np.float32([1.0, 0.4, 1.0])
    c.paint(typical * 0.3 * soft(0.15 - (second - near), 0.3), [0.86, 0.50, 0.56])


SIGNS = (_actinic, _basal, _keratosis, _dermatofibroma, _melanoma, _nevus, _vascular)
