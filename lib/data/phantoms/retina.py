"""Phantoms of retinal OCT scans: four classes in MedMNIST's order."""

import numpy as np

from lib.data.phantoms.canvas import curve, ellipse, grid, noise, paint, soft

# Deviation of the noise: a fixed part, and one that grows with the signal, as speckle does.
NOISE = (0.012, 0.16)
CNV, DME, DRUSEN, NORMAL = range(4)
# Brightness from the inner surface (0) to the pigment epithelium (1): nerve fibers, ganglion
# cells, inner nuclear, outer plexiform, outer nuclear, ellipsoid zone, pigment epithelium.
DEPTHS = [-0.04, 0.0, 0.10, 0.16, 0.32, 0.38, 0.48, 0.53, 0.58, 0.64, 0.80, 0.84, 0.87, 0.91, 1.0]
LEVELS = [0.05, 0.62, 0.58, 0.42, 0.40, 0.26, 0.26, 0.40, 0.40, 0.20, 0.22, 0.75, 0.75, 0.45, 0.95]


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One scan.

    Args:
        rng: stream of this image.
        labels: the class, 0..3.
        edge: pixels.

    Returns:
        float32 (edge, edge), about 0..1.
    """
    kind = labels[0]
    down, right = grid(edge)
    fovea = rng.uniform(0.38, 0.62)
    floor = rng.uniform(0.46, 0.66) + rng.normal(0, 0.07) * (right - 0.5)
    floor = floor + rng.normal(-0.10, 0.16) * (right - fovea) ** 2 + 0.004 * curve(rng, edge, 8)
    thickness = rng.uniform(0.19, 0.25)
    dip = rng.uniform(0.06, 0.10) * np.exp(-(((right - fovea) / rng.uniform(0.07, 0.11)) ** 2))
    rim = rng.uniform(0.0, 0.03) * np.exp(-((np.abs(right - fovea) - 0.20) ** 2) / 0.01)
    if kind == DME:
        dip = dip * rng.uniform(-1.1, 0.0)
        thickness *= rng.uniform(1.1, 1.5)
    roof = floor - thickness - rim + dip + 0.003 * curve(rng, edge, 10)
    lift, mass = _lift(rng, kind, edge, fovea)
    if kind == CNV:
        roof = roof - rng.uniform(0.3, 0.8) * lift
    raised = floor - lift
    depth = (down - roof) / (raised - roof)
    image = np.interp(depth, DEPTHS, LEVELS).astype(np.float32)
    image *= 1 + 0.10 * noise(rng, edge, 12, 2)
    below = soft(down - raised, 0.012)
    under = down - floor
    glow = rng.uniform(0.30, 0.50) * np.exp(-np.clip(under, 0, None) / rng.uniform(0.09, 0.16))
    paint(image, below, 0.05 + glow * (1 + 0.25 * noise(rng, edge, 14, 2)))
    paint(image, soft(down - raised, 0.01) * soft(-under, 0.015), mass)
    ridge = np.exp(-(((down - raised - 0.008) / 0.013) ** 2))
    image = np.maximum(image, rng.uniform(0.8, 1.0) * ridge)
    if kind == DME:
        _cysts(rng, image, roof, raised, fovea)
    if kind == CNV:
        _fluid(rng, image, raised, lift, depth)
    shadow = 1 - 0.25 * soft(curve(rng, edge, 18) - 1.2, 0.6)
    image = np.where(depth > 0, image * shadow, image)
    image = 0.05 + image * rng.uniform(0.70, 1.0)
    if rng.random() < 0.15:  # straightened scans have white corners, beyond the noise
        line = rng.uniform(0.0, 0.10) + rng.normal(0, 0.08) * (right - 0.5)
        paint(image, soft(line - (down if rng.random() < 0.5 else 1 - down), 0.01), 2.0)
    return image


def _lift(
    rng: np.random.Generator, kind: int, edge: int, fovea: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far the pigment epithelium is raised (1, edge), and what fills the space below it."""
    _, right = grid(edge)
    lift = np.zeros((1, edge), np.float32)
    if kind == DRUSEN:
        for _ in range(rng.integers(3, 9)):
            place, width = rng.uniform(0.1, 0.9), rng.uniform(0.02, 0.05)
            height = rng.uniform(0.035, 0.08)
            lift = np.maximum(lift, height * np.exp(-(((right - place) / width) ** 2)))
    if kind == CNV:
        for _ in range(rng.integers(1, 3)):
            place, width = fovea + rng.normal(0, 0.13), rng.uniform(0.07, 0.18)
            height = rng.uniform(0.09, 0.20)
            lift = np.maximum(lift, height * np.exp(-(((right - place) / width) ** 2)))
        lift = lift * np.clip(1 + 0.25 * curve(rng, edge, 16), 0.3, None)
    return lift, rng.uniform(0.35, 0.65) * (1 + 0.20 * noise(rng, edge, 14, 2))


def _cysts(
    rng: np.random.Generator, image: np.ndarray, roof: np.ndarray, floor: np.ndarray, fovea: float
) -> None:
    """Dark holes in the inner layers, most of them near the fovea."""
    edge = len(image)
    for _ in range(rng.integers(4, 10)):
        place = np.clip(fovea + rng.normal(0, 0.10), 0.05, 0.95)
        column = int(place * edge)
        room = (floor - roof)[0, column]
        row = roof[0, column] + rng.uniform(0.30, 0.65) * room
        radii = (room * rng.uniform(0.16, 0.30), rng.uniform(0.025, 0.06))
        far = ellipse(edge, (row, place), radii)
        paint(image, rng.uniform(0.75, 1.0) * soft(1 - far, 0.3), 0.06)


def _fluid(
    rng: np.random.Generator,
    image: np.ndarray,
    raised: np.ndarray,
    lift: np.ndarray,
    depth: np.ndarray,
) -> None:
    """A dark pocket on the slope of the raised epithelium, and haze over the receptors."""
    edge = len(image)
    down, right = grid(edge)
    place = float(right[0, lift.argmax()]) + rng.choice([-1, 1]) * rng.uniform(0.08, 0.18)
    height = rng.uniform(0.0, 0.06) * np.exp(-(((right - place) / rng.uniform(0.05, 0.10)) ** 2))
    pocket = soft(down - (raised - height), 0.012) * soft(raised - 0.012 - down, 0.012)
    haze = soft(lift - 0.02, 0.03) * soft(depth - 0.7, 0.2) * soft(1 - depth, 0.1)
    paint(image, 0.6 * haze, 0.5)
    paint(image, 0.9 * pocket, 0.07)
