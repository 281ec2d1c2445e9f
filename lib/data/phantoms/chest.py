"""Phantoms of frontal chest films: fourteen labels in MedMNIST's order, several at a time."""

from dataclasses import dataclass

import numpy as np

from lib.data.phantoms.canvas import cells, ellipse, grid, noise, paint, soft

# Deviation of the noise: a fixed part, and one that grows with the signal.
NOISE = (0.012, 0.0)
(ATELECTASIS, CARDIOMEGALY, EFFUSION, INFILTRATION, MASS, NODULE, PNEUMONIA, PNEUMOTHORAX,
 CONSOLIDATION, EDEMA, EMPHYSEMA, FIBROSIS, PLEURAL, HERNIA) = range(14)  # fmt: skip


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One film.

    Args:
        rng: stream of this image.
        labels: the findings, each 0..13; none for a normal film.
        edge: pixels.

    Returns:
        float32 (edge, edge), about 0..1.
    """
    down, right = grid(edge)
    scale = rng.normal(1, 0.05)
    y = (down - 0.5) * scale + 0.5 + rng.normal(0, 0.02)
    x = (right - 0.5) * scale + rng.normal(0, 0.02) + rng.normal(0, 0.03) * (down - 0.5)
    away = np.abs(x)
    side = np.where(x > 0, 1, 0)  # 1: the patient's left, at the right of the film
    base = rng.uniform(0.70, 0.80) + np.float32([-0.02, 0.01]) + rng.normal(0, 0.012, 2)
    dome = rng.uniform(0.05, 0.09)
    heart = rng.uniform(0.85, 1.10)
    if EMPHYSEMA in labels:
        base, dome, heart = base + rng.uniform(0.04, 0.09), dome * 0.3, heart * 0.8
    if ATELECTASIS in labels:
        sick = rng.integers(2)
        base[sick] -= rng.uniform(0.04, 0.10)
    if CARDIOMEGALY in labels:
        heart *= rng.uniform(1.30, 1.60)

    image = _body(rng, y, away)
    # Signed distance into the lungs: outer wall, mediastinum, diaphragm.
    top = rng.uniform(0.10, 0.15)
    part = np.clip((y - top) / (0.75 - top), 0, 1)
    width = rng.uniform(0.215, 0.255)
    outer = 0.14 + width * np.sqrt(1 - (1 - part) ** 2.4) - away
    inner = away - 0.055 - 0.085 * np.exp(-part / 0.07)
    floor = base[side] - dome + dome * ((away - 0.17) / 0.14) ** 2 - y
    inside = np.minimum(np.minimum(outer, inner), np.minimum(floor, y - top))
    lung = soft(inside, 0.025)
    air = rng.uniform(0.50, 0.64) + (0.10 if EMPHYSEMA in labels else 0)
    film = _Lungs(rng, y, x, lung, outer, inner, floor)
    air = air * (0.85 + 0.15 * soft(outer - 0.05, 0.1)) - _markings(rng, edge, y, away, inner)
    haze = np.zeros_like(image)
    for label in sorted(labels):
        if label in SIGNS:
            haze = np.maximum(haze, SIGNS[label](film))
    if ATELECTASIS in labels:
        haze = np.maximum(haze, _plate(film, sick))
    # Haze takes the place of air, so that it is never brighter than the tissue around the lungs.
    image -= lung * air * (1 - haze)
    if PNEUMOTHORAX in labels:
        _pneumothorax(film, image)
    white = rng.uniform(0.76, 0.86)
    _heart(rng, image, y, x, heart, white)
    _bones(rng, image, y, x, away)
    if HERNIA in labels:
        _hernia(rng, image, edge)
    if rng.random() < 0.5:
        bubble = ellipse(edge, (base[1] + 0.06, 0.66), (0.025, 0.05))
        paint(image, 0.3 * soft(1 - bubble, 0.5), 0.45)
    image += 0.015 * noise(rng, edge, 4, 3)
    image = np.clip(image, 0, 1) ** rng.uniform(0.75, 1.35)
    flat = rng.uniform(0, 0.25)  # some films have little contrast
    return (image - 0.5) * (1 - flat) + 0.5 + rng.normal(0, 0.03)


def _body(rng: np.random.Generator, y: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Soft tissue before the dark surround: neck, shoulders, flanks."""
    neck = rng.uniform(0.09, 0.12)
    shoulder = 0.02 + rng.uniform(0, 0.06)
    reach = neck + 0.42 * soft(y - shoulder - 0.07, 0.20)
    flank = rng.uniform(0.43, 0.52)
    reach = np.minimum(reach, np.where(y < 0.35, 0.6, flank + 0.10 * np.exp(-(y - 0.35) / 0.06)))
    tissue = 0.70 + 0.14 * soft(y - 0.75, 0.2) - 0.20 * soft(away - flank + 0.08, 0.16)
    return (0.05 + (tissue - 0.05) * soft(reach - away, 0.03)).astype(np.float32)


def _markings(
    rng: np.random.Generator, edge: int, y: np.ndarray, away: np.ndarray, inner: np.ndarray
) -> np.ndarray:
    """Ribs and vessels over the lungs."""
    pitch = rng.uniform(9.5, 11.5)
    back = np.sin(2 * np.pi * (pitch * (y - 0.55 * (away - 0.1) + 1.6 * (away - 0.12) ** 2)))
    front = np.sin(2 * np.pi * (pitch * 0.75 * (y + 0.9 * away) + rng.random()))
    ribs = rng.uniform(0.05, 0.10) * soft(back - 0.1, 0.8) + 0.025 * soft(front, 0.9)
    root = np.exp(-((inner / 0.09) ** 2) - ((y - 0.46) / 0.13) ** 2)
    vessels = np.clip(noise(rng, edge, 14, 2), 0, None) * (0.03 + 0.10 * root)
    return ribs + vessels + rng.uniform(0.10, 0.20) * root


def _heart(
    rng: np.random.Generator,
    image: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    size: float,
    white: float,
) -> None:
    """Mediastinum, and a heart whose tip points down to the patient's left."""
    tilt = rng.uniform(0.5, 0.8)
    down, right = y - 0.585, x - 0.035 * size
    long = down * np.cos(tilt) + right * np.sin(tilt)
    short = right * np.cos(tilt) - down * np.sin(tilt)
    far = np.hypot(long / (0.155 * size), short / (0.115 * size))
    atrium = np.hypot((y - 0.60) / 0.13, (x + 0.015) / (0.085 * size))
    arch = np.hypot((y - 0.33) / 0.055, (x - 0.035) / 0.05)
    great = soft(0.062 + 0.015 * np.sin(9 * y) - np.abs(x - 0.008), 0.03) * soft(y - 0.20, 0.25)
    shape = np.maximum(soft(1 - far, 0.16), np.maximum(soft(1 - atrium, 0.2), soft(1 - arch, 0.5)))
    paint(image, np.maximum(shape, 0.85 * great), white)


def _bones(
    rng: np.random.Generator, image: np.ndarray, y: np.ndarray, x: np.ndarray, away: np.ndarray
) -> None:
    spine = soft(0.030 - away, 0.03) * soft(y - 0.02, 0.1)
    image += 0.10 * spine * (1 + 0.3 * np.sin(2 * np.pi * 14 * y))
    paint(image, 0.5 * soft(0.016 - np.abs(x + 0.004), 0.016) * soft(0.34 - y, 0.2), 0.55)
    level, slope = rng.uniform(0.17, 0.22), rng.uniform(0.15, 0.40)
    bar = 0.011 - np.abs(y - level + slope * (away - 0.05) - 0.5 * (away - 0.15) ** 2)
    image += 0.16 * soft(bar, 0.012) * soft(away - 0.035, 0.02) * soft(0.36 - away, 0.1)


@dataclass(frozen=True)
class _Lungs:
    """Where a sign can be drawn: coordinates, mask and signed distances, each (edge, edge)."""

    rng: np.random.Generator
    y: np.ndarray
    x: np.ndarray
    lung: np.ndarray
    outer: np.ndarray
    inner: np.ndarray
    floor: np.ndarray

    @property
    def edge(self) -> int:
        """Pixels."""
        return len(self.lung)

    def one(self) -> np.ndarray:
        """1 on one side of the film, by chance, and 0 on the other."""
        return soft(self.x * self.rng.choice([-1, 1]), 0.01)

    def spot(self, radius: float, low: float = 0.25, high: float = 0.65) -> np.ndarray:
        """Distance in radii from a place in one lung, slightly out of round."""
        row = self.rng.uniform(low, high)
        column = self.rng.choice([-1, 1]) * self.rng.uniform(0.14, 0.26)
        far = np.hypot((self.y - row) * self.rng.uniform(0.8, 1.25), self.x - column) / radius
        return far * (1 + 0.08 * noise(self.rng, self.edge, 8))


def _plate(film: _Lungs, side: int) -> np.ndarray:
    sign = 2 * side - 1
    level, slope = film.rng.uniform(0.55, 0.68), film.rng.normal(0, 0.25)
    line = film.y - level - slope * (film.x * sign - 0.18)
    band = soft(film.rng.uniform(0.016, 0.035) - np.abs(line), 0.025)
    base = 0.45 * soft(line, 0.15)
    return film.rng.uniform(0.55, 0.9) * np.maximum(band, base) * soft(film.x * sign, 0.01)


def _effusion(film: _Lungs) -> np.ndarray:
    level = film.rng.uniform(0.03, 0.20)  # the meniscus climbs the chest wall
    climb = 0.10 * np.exp(-np.clip(film.outer, 0, None) / 0.04)
    return film.rng.uniform(0.85, 1.0) * film.one() * soft(level + climb - film.floor, 0.05)


def _infiltration(film: _Lungs) -> np.ndarray:
    patch = soft(noise(film.rng, film.edge, 7, 2) - film.rng.uniform(-0.2, 0.5), 1.2)
    one = film.one() if film.rng.random() < 0.5 else 1.0
    return film.rng.uniform(0.45, 0.75) * one * patch * soft(film.y - 0.30, 0.2)


def _mass(film: _Lungs) -> np.ndarray:
    return film.rng.uniform(0.75, 1.0) * soft(1 - film.spot(film.rng.uniform(0.055, 0.09)), 0.35)


def _nodule(film: _Lungs) -> np.ndarray:
    haze = np.zeros((film.edge, film.edge), np.float32)
    for _ in range(film.rng.integers(1, 4)):
        far = film.spot(film.rng.uniform(0.022, 0.040))
        haze = np.maximum(haze, film.rng.uniform(0.7, 1.0) * soft(1 - far, 0.4))
    return haze


def _pneumonia(film: _Lungs) -> np.ndarray:
    far = film.spot(film.rng.uniform(0.12, 0.18), 0.45, 0.68)
    return film.rng.uniform(0.5, 0.85) * soft(1.1 - far + 0.25 * noise(film.rng, film.edge, 8), 0.7)


def _consolidation(film: _Lungs) -> np.ndarray:
    fissure = film.rng.uniform(0.40, 0.58) + film.rng.normal(0, 0.2) * film.x
    upper = film.rng.choice([-1, 1], p=[0.7, 0.3])
    return film.rng.uniform(0.65, 0.95) * film.one() * soft(upper * (fissure - film.y), 0.06)


def _edema(film: _Lungs) -> np.ndarray:
    wing = np.exp(-((np.clip(film.inner, 0, None) / film.rng.uniform(0.10, 0.18)) ** 2))
    wing = wing * np.exp(-(((film.y - 0.50) / 0.22) ** 2))
    return film.rng.uniform(0.6, 0.95) * wing * (1 + 0.15 * noise(film.rng, film.edge, 9, 2))


def _fibrosis(film: _Lungs) -> np.ndarray:
    near, second, _ = cells(film.rng, film.y * 34, film.x * 34 + 17)
    net = soft(0.25 - (second - near), 0.4)
    return film.rng.uniform(0.4, 0.7) * net * soft(film.y - film.rng.uniform(0.3, 0.5), 0.3)


def _pleural(film: _Lungs) -> np.ndarray:
    depth = film.rng.uniform(0.02, 0.05) * (1 + 0.25 * noise(film.rng, film.edge, 6))
    return film.rng.uniform(0.6, 0.9) * film.one() * soft(depth - film.outer, 0.02)


SIGNS = {
    EFFUSION: _effusion,
    INFILTRATION: _infiltration,
    MASS: _mass,
    NODULE: _nodule,
    PNEUMONIA: _pneumonia,
    CONSOLIDATION: _consolidation,
    EDEMA: _edema,
    FIBROSIS: _fibrosis,
    PLEURAL: _pleural,
}


def _pneumothorax(film: _Lungs, image: np.ndarray) -> None:
    """Air beside a shrunken lung: a dark rim without markings, and the lung's edge."""
    depth = film.rng.uniform(0.05, 0.12) * (1.3 - film.y)
    one = film.one() * film.lung
    paint(image, 0.9 * one * soft(depth - film.outer, 0.012), 0.10)
    paint(image, 0.5 * one * soft(0.006 - np.abs(film.outer - depth), 0.008), 0.65)


def _hernia(rng: np.random.Generator, image: np.ndarray, edge: int) -> None:
    """Stomach behind the heart: a round shadow with gas in it."""
    center = (rng.uniform(0.62, 0.70), rng.uniform(0.50, 0.60))
    radius = rng.uniform(0.07, 0.10)
    far = ellipse(edge, center, (radius, radius * 1.15))
    paint(image, 0.9 * soft(1 - far, 0.12), 0.88)
    gas = soft(0.75 - far, 0.12) * soft(center[0] + 0.02 - grid(edge)[0], 0.02)
    paint(image, 0.9 * gas, 0.40)
