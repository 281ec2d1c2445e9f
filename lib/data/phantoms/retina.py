"""Phantoms of retinal OCT scans: four classes in MedMNIST's order."""

import numpy as np

from lib.data.phantoms.canvas import Canvas, soft

CNV, DME, DRUSEN, NORMAL = range(4)
# Brightness from the inner surface (0) to the pigment epithelium (1): nerve fibers, ganglion
# cells, inner nuclear, outer plexiform, outer nuclear, ellipsoid zone, pigment epithelium.
DEPTHS = [-0.04, 0.0, 0.10, 0.16, 0.32, 0.38, 0.48, 0.53, 0.58, 0.64, 0.80, 0.84, 0.87, 0.91, 1.0]
LEVELS = [0.05, 0.62, 0.58, 0.42, 0.40, 0.26, 0.26, 0.40, 0.40, 0.20, 0.22, 0.75, 0.75, 0.45, 0.95]


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One scan."""
    c, kind = Canvas(rng, edge), labels[0]
    fovea = c.rng.uniform(0.38, 0.62)
    floor = c.rng.uniform(0.46, 0.66) + c.rng.normal(0, 0.07) * (c.right - 0.5)
    floor = floor + c.rng.normal(-0.10, 0.16) * (c.right - fovea) ** 2 + 0.004 * c.curve(8)
    thickness = c.rng.uniform(0.19, 0.25)
    deep, wide = c.rng.uniform(0.06, 0.10), c.rng.uniform(0.07, 0.11)
    dip = deep * np.exp(-(((c.right - fovea) / wide) ** 2))
    rim = c.rng.uniform(0.0, 0.03) * np.exp(-((np.abs(c.right - fovea) - 0.20) ** 2) / 0.01)
    if kind == DME:
        dip = dip * c.rng.uniform(-1.1, 0.0)
        thickness *= c.rng.uniform(1.1, 1.5)
    roof = floor - thickness - rim + dip + 0.003 * c.curve(10)
    lift, mass = _lift(c, kind, fovea)
    if kind == CNV:
        roof = roof - c.rng.uniform(0.3, 0.8) * lift
    raised = floor - lift
    depth = (c.down - roof) / (raised - roof)
    c.image = np.interp(depth, DEPTHS, LEVELS).astype(np.float32)
    c.image *= 1 + 0.10 * c.noise(12, 2)
    below = soft(c.down - raised, 0.012)
    under = c.down - floor
    glow = c.rng.uniform(0.30, 0.50) * np.exp(-np.clip(under, 0, None) / c.rng.uniform(0.09, 0.16))
    c.paint(below, 0.05 + glow * (1 + 0.25 * c.noise(14, 2)))
    c.paint(soft(c.down - raised, 0.01) * soft(-under, 0.015), mass)
    ridge = np.exp(-(((c.down - raised - 0.008) / 0.013) ** 2))
    c.image = np.maximum(c.image, c.rng.uniform(0.8, 1.0) * ridge)
    if kind == DME:
        _cysts(c, roof, raised, fovea)
    if kind == CNV:
        _fluid(c, raised, lift, depth)
    shadow = 1 - 0.25 * soft(c.curve(18) - 1.2, 0.6)
    c.image = np.where(depth > 0, c.image * shadow, c.image)
    c.image = 0.05 + c.image * c.rng.uniform(0.70, 1.0)
    if c.rng.random() < 0.15:  # straightened scans have white corners, beyond the noise
        line = c.rng.uniform(0.0, 0.10) + c.rng.normal(0, 0.08) * (c.right - 0.5)
        c.paint(soft(line - (c.down if c.rng.random() < 0.5 else 1 - c.down), 0.01), 2.0)
    return c.image


def _lift(c: Canvas, kind: int, fovea: float) -> tuple[np.ndarray, np.ndarray]:
    """How far the pigment epithelium is raised (1, edge), and what fills the space below it."""
    lift = np.zeros((1, c.edge), np.float32)
    if kind == DRUSEN:
        for _ in range(c.rng.integers(3, 9)):
            place, width = c.rng.uniform(0.1, 0.9), c.rng.uniform(0.02, 0.05)
            height = c.rng.uniform(0.035, 0.08)
            lift = np.maximum(lift, height * np.exp(-(((c.right - place) / width) ** 2)))
    if kind == CNV:
        for _ in range(c.rng.integers(1, 3)):
            place, width = fovea + c.rng.normal(0, 0.13), c.rng.uniform(0.07, 0.18)
            height = c.rng.uniform(0.09, 0.20)
            lift = np.maximum(lift, height * np.exp(-(((c.right - place) / width) ** 2)))
        lift = lift * np.clip(1 + 0.25 * c.curve(16), 0.3, None)
    return lift, c.rng.uniform(0.35, 0.65) * (1 + 0.20 * c.noise(14, 2))


def _cysts(c: Canvas, roof: np.ndarray, floor: np.ndarray, fovea: float) -> None:
    """Dark holes in the inner layers, most of them near the fovea."""
    for _ in range(c.rng.integers(4, 10)):
        place = np.clip(fovea + c.rng.normal(0, 0.10), 0.05, 0.95)
        column = int(place * c.edge)
        room = (floor - roof)[0, column]
        row = roof[0, column] + c.rng.uniform(0.30, 0.65) * room
        radii = (room * c.rng.uniform(0.16, 0.30), c.rng.uniform(0.025, 0.06))
        far = c.ellipse((row, place), radii)
        c.paint(c.rng.uniform(0.75, 1.0) * soft(1 - far, 0.3), 0.06)


def _fluid(c: Canvas, raised: np.ndarray, lift: np.ndarray, depth: np.ndarray) -> None:
    """A dark pocket on the slope of the raised epithelium, and haze over the receptors."""
    place = float(c.right[0, lift.argmax()]) + c.rng.choice([-1, 1]) * c.rng.uniform(0.08, 0.18)
    tall, wide = c.rng.uniform(0.0, 0.06), c.rng.uniform(0.05, 0.10)
    height = tall * np.exp(-(((c.right - place) / wide) ** 2))
    pocket = soft(c.down - (raised - height), 0.012) * soft(raised - 0.012 - c.down, 0.012)
    haze = soft(lift - 0.02, 0.03) * soft(depth - 0.7, 0.2) * soft(1 - depth, 0.1)
    c.paint(0.6 * haze, 0.5)
    c.paint(0.9 * pocket, 0.07)
