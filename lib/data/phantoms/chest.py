"""Phantoms of frontal chest X-rays: fourteen labels in MedMNIST's order, several at a time."""

import numpy as np

from lib.data.phantoms.canvas import Canvas, soft

(ATELECTASIS, CARDIOMEGALY, EFFUSION, INFILTRATION, MASS, NODULE, PNEUMONIA, PNEUMOTHORAX,
 CONSOLIDATION, EDEMA, EMPHYSEMA, FIBROSIS, PLEURAL, HERNIA) = range(14)  # fmt: skip


class Film(Canvas):
    """A film; arrays are (edge, edge).

    Attributes:
        y, x: coordinates of the body, x from its middle line; ``away`` is the distance from it.
        lung: mask of the lungs, 0..1.
        outer, inner, floor: distance into the lungs from wall, mediastinum and diaphragm.
    """

    def one(self) -> np.ndarray:
        """1 on one side of the film, by chance, and 0 on the other."""
        return soft(self.x * self.rng.choice([-1, 1]), 0.01)

    def spot(self, radius: float, low: float = 0.25, high: float = 0.65) -> np.ndarray:
        """Distance in radii from a place in one lung, slightly out of round."""
        row = self.rng.uniform(low, high)
        column = self.rng.choice([-1, 1]) * self.rng.uniform(0.14, 0.26)
        far = np.hypot((self.y - row) * self.rng.uniform(0.8, 1.25), self.x - column) / radius
        return far * (1 + 0.08 * self.noise(8))


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One film; no label is a normal one."""
    c = Film(rng, edge)
    scale = rng.normal(1, 0.05)
    c.y = y = (c.down - 0.5) * scale + 0.5 + rng.normal(0, 0.02)
    c.x = x = (c.right - 0.5) * scale + rng.normal(0, 0.02) + rng.normal(0, 0.03) * (c.down - 0.5)
    c.away = away = np.abs(x)
    side = np.where(x > 0, 1, 0)  # 1: the patient's left, at the right of the film
    base = c.rng.uniform(0.70, 0.80) + np.float32([-0.02, 0.01]) + c.rng.normal(0, 0.012, 2)
    dome = c.rng.uniform(0.05, 0.09)
    heart = c.rng.uniform(0.85, 1.10)
    if EMPHYSEMA in labels:
        base, dome, heart = base + c.rng.uniform(0.04, 0.09), dome * 0.3, heart * 0.8
    if ATELECTASIS in labels:
        sick = c.rng.integers(2)
        base[sick] -= c.rng.uniform(0.04, 0.10)
    if CARDIOMEGALY in labels:
        heart *= c.rng.uniform(1.30, 1.60)

    _body(c)
    # Signed distance into the lungs: outer wall, mediastinum, diaphragm.
    top = c.rng.uniform(0.10, 0.15)
    part = np.clip((y - top) / (0.75 - top), 0, 1)
    width = c.rng.uniform(0.215, 0.255)
    c.outer = 0.14 + width * np.sqrt(1 - (1 - part) ** 2.4) - away
    c.inner = away - 0.055 - 0.085 * np.exp(-part / 0.07)
    c.floor = base[side] - dome + dome * ((away - 0.17) / 0.14) ** 2 - y
    inside = np.minimum(np.minimum(c.outer, c.inner), np.minimum(c.floor, y - top))
    c.lung = soft(inside, 0.025)
    air = c.rng.uniform(0.50, 0.64) + (0.10 if EMPHYSEMA in labels else 0)
    air = air * (0.85 + 0.15 * soft(c.outer - 0.05, 0.1)) - _markings(c)
    haze = np.zeros_like(c.image)
    for label in sorted(labels):
        if label in SIGNS:
            haze = np.maximum(haze, SIGNS[label](c))
    if ATELECTASIS in labels:
        haze = np.maximum(haze, _plate(c, sick))
    # Haze takes the place of air, so that it is never brighter than the tissue around the lungs.
    c.image -= c.lung * air * (1 - haze)
    if PNEUMOTHORAX in labels:
        _pneumothorax(c)
    _heart(c, heart, c.rng.uniform(0.76, 0.86))
    _bones(c)
    if HERNIA in labels:
        _hernia(c)
    if c.rng.random() < 0.5:
        bubble = c.ellipse((base[1] + 0.06, 0.66), (0.025, 0.05))
        c.paint(0.3 * soft(1 - bubble, 0.5), 0.45)
    c.image += 0.015 * c.noise(4, 3)
    image = np.clip(c.image, 0, 1) ** c.rng.uniform(0.75, 1.35)
    flat = c.rng.uniform(0, 0.25)  # some images have little contrast
    return (image - 0.5) * (1 - flat) + 0.5 + c.rng.normal(0, 0.03)


def _body(c: Film) -> None:
    """Soft tissue before the dark surround: neck, shoulders, flanks."""
    y, away = c.y, c.away
    neck = c.rng.uniform(0.09, 0.12)
    shoulder = 0.02 + c.rng.uniform(0, 0.06)
    reach = neck + 0.42 * soft(y - shoulder - 0.07, 0.20)
    flank = c.rng.uniform(0.43, 0.52)
    reach = np.minimum(reach, np.where(y < 0.35, 0.6, flank + 0.10 * np.exp(-(y - 0.35) / 0.06)))
    tissue = 0.70 + 0.14 * soft(y - 0.75, 0.2) - 0.20 * soft(away - flank + 0.08, 0.16)
    c.image[:] = 0.05 + (tissue - 0.05) * soft(reach - away, 0.03)


def _markings(c: Film) -> np.ndarray:
    """Ribs and vessels over the lungs."""
    y, away = c.y, c.away
    pitch = c.rng.uniform(9.5, 11.5)
    back = np.sin(2 * np.pi * (pitch * (y - 0.55 * (away - 0.1) + 1.6 * (away - 0.12) ** 2)))
    front = np.sin(2 * np.pi * (pitch * 0.75 * (y + 0.9 * away) + c.rng.random()))
    ribs = c.rng.uniform(0.05, 0.10) * soft(back - 0.1, 0.8) + 0.025 * soft(front, 0.9)
    root = np.exp(-((c.inner / 0.09) ** 2) - ((y - 0.46) / 0.13) ** 2)
    vessels = np.clip(c.noise(14, 2), 0, None) * (0.03 + 0.10 * root)
    return ribs + vessels + c.rng.uniform(0.10, 0.20) * root


def _heart(c: Film, size: float, white: float) -> None:
    """Mediastinum, and a heart whose tip points down to the patient's left."""
    y, x = c.y, c.x
    tilt = c.rng.uniform(0.5, 0.8)
    down, right = y - 0.585, x - 0.035 * size
    long = down * np.cos(tilt) + right * np.sin(tilt)
    short = right * np.cos(tilt) - down * np.sin(tilt)
    far = np.hypot(long / (0.155 * size), short / (0.115 * size))
    atrium = np.hypot((y - 0.60) / 0.13, (x + 0.015) / (0.085 * size))
    arch = np.hypot((y - 0.33) / 0.055, (x - 0.035) / 0.05)
    great = soft(0.062 + 0.015 * np.sin(9 * y) - np.abs(x - 0.008), 0.03) * soft(y - 0.20, 0.25)
    shape = np.maximum(soft(1 - far, 0.16), np.maximum(soft(1 - atrium, 0.2), soft(1 - arch, 0.5)))
    c.paint(np.maximum(shape, 0.85 * great), white)


def _bones(c: Film) -> None:
    y, away = c.y, c.away
    spine = soft(0.030 - away, 0.03) * soft(y - 0.02, 0.1)
    c.image += 0.10 * spine * (1 + 0.3 * np.sin(2 * np.pi * 14 * y))
    c.paint(0.5 * soft(0.016 - np.abs(c.x + 0.004), 0.016) * soft(0.34 - y, 0.2), 0.55)
    level, slope = c.rng.uniform(0.17, 0.22), c.rng.uniform(0.15, 0.40)
    bar = 0.011 - np.abs(y - level + slope * (away - 0.05) - 0.5 * (away - 0.15) ** 2)
    c.image += 0.16 * soft(bar, 0.012) * soft(away - 0.035, 0.02) * soft(0.36 - away, 0.1)


def _plate(c: Film, side: int) -> np.ndarray:
    sign = 2 * side - 1
    level, slope = c.rng.uniform(0.55, 0.68), c.rng.normal(0, 0.25)
    line = c.y - level - slope * (c.x * sign - 0.18)
    band = soft(c.rng.uniform(0.016, 0.035) - np.abs(line), 0.025)
    base = 0.45 * soft(line, 0.15)
    return c.rng.uniform(0.55, 0.9) * np.maximum(band, base) * soft(c.x * sign, 0.01)


def _effusion(c: Film) -> np.ndarray:
    level = c.rng.uniform(0.03, 0.20)  # the meniscus climbs the chest wall
    climb = 0.10 * np.exp(-np.clip(c.outer, 0, None) / 0.04)
    return c.rng.uniform(0.85, 1.0) * c.one() * soft(level + climb - c.floor, 0.05)


def _infiltration(c: Film) -> np.ndarray:
    patch = soft(c.noise(7, 2) - c.rng.uniform(-0.2, 0.5), 1.2)
    one = c.one() if c.rng.random() < 0.5 else 1.0
    return c.rng.uniform(0.45, 0.75) * one * patch * soft(c.y - 0.30, 0.2)


def _mass(c: Film) -> np.ndarray:
    return c.rng.uniform(0.75, 1.0) * soft(1 - c.spot(c.rng.uniform(0.055, 0.09)), 0.35)


def _nodule(c: Film) -> np.ndarray:
    haze = np.zeros((c.edge, c.edge), np.float32)
    for _ in range(c.rng.integers(1, 4)):
        far = c.spot(c.rng.uniform(0.022, 0.040))
        haze = np.maximum(haze, c.rng.uniform(0.7, 1.0) * soft(1 - far, 0.4))
    return haze


def _pneumonia(c: Film) -> np.ndarray:
    far = c.spot(c.rng.uniform(0.12, 0.18), 0.45, 0.68)
    return c.rng.uniform(0.5, 0.85) * soft(1.1 - far + 0.25 * c.noise(8), 0.7)


def _consolidation(c: Film) -> np.ndarray:
    fissure = c.rng.uniform(0.40, 0.58) + c.rng.normal(0, 0.2) * c.x
    upper = c.rng.choice([-1, 1], p=[0.7, 0.3])
    return c.rng.uniform(0.65, 0.95) * c.one() * soft(upper * (fissure - c.y), 0.06)


def _edema(c: Film) -> np.ndarray:
    wing = np.exp(-((np.clip(c.inner, 0, None) / c.rng.uniform(0.10, 0.18)) ** 2))
    wing = wing * np.exp(-(((c.y - 0.50) / 0.22) ** 2))
    return c.rng.uniform(0.6, 0.95) * wing * (1 + 0.15 * c.noise(9, 2))


def _fibrosis(c: Film) -> np.ndarray:
    near, second, _ = c.cells(c.y * 34, c.x * 34 + 17)
    net = soft(0.25 - (second - near), 0.4)
    return c.rng.uniform(0.4, 0.7) * net * soft(c.y - c.rng.uniform(0.3, 0.5), 0.3)


def _pleural(c: Film) -> np.ndarray:
    depth = c.rng.uniform(0.02, 0.05) * (1 + 0.25 * c.noise(6))
    return c.rng.uniform(0.6, 0.9) * c.one() * soft(depth - c.outer, 0.02)


SIGNS = {
    EFFUSION: _effusion, INFILTRATION: _infiltration, MASS: _mass, NODULE: _nodule,
    PNEUMONIA: _pneumonia, CONSOLIDATION: _consolidation, EDEMA: _edema, FIBROSIS: _fibrosis,
    PLEURAL: _pleural,
}  # fmt: skip


def _pneumothorax(c: Film) -> None:
    """Air beside a shrunken lung: a dark rim without markings, and the lung's edge."""
    depth = c.rng.uniform(0.05, 0.12) * (1.3 - c.y)
    one = c.one() * c.lung
    c.paint(0.9 * one * soft(depth - c.outer, 0.012), 0.10)
    c.paint(0.5 * one * soft(0.006 - np.abs(c.outer - depth), 0.008), 0.65)


def _hernia(c: Film) -> None:
    """Stomach behind the heart: a round shadow with gas in it."""
    center = (c.rng.uniform(0.62, 0.70), c.rng.uniform(0.50, 0.60))
    radius = c.rng.uniform(0.07, 0.10)
    far = c.ellipse(center, (radius, radius * 1.15))
    c.paint(0.9 * soft(1 - far, 0.12), 0.88)
    gas = soft(0.75 - far, 0.12) * soft(center[0] + 0.02 - c.down, 0.02)
    c.paint(0.9 * gas, 0.40)
