"""Phantoms of abdominal CT slices, from the dome of the liver down to the navel: one class."""

from collections.abc import Callable

import numpy as np

from lib.data.phantoms.canvas import Canvas, soft

Organ = Callable[..., np.ndarray]  # row, column, radii, angle -> distance in radii
FAT, MUSCLE, BOWEL, SPLEEN, LIVER, KIDNEY, BONE = 0.25, 0.44, 0.42, 0.52, 0.54, 0.64, 0.95


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One slice, seen from the feet: the liver is at the left."""
    c = Canvas(rng, edge)
    level = c.rng.random()  # 0: dome of the liver, 1: navel
    tall, wide = c.rng.uniform(0.26, 0.34), c.rng.uniform(0.38, 0.45)
    fat = c.rng.uniform(0.03, 0.10)
    middle = (c.rng.normal(0.48, 0.015), c.rng.normal(0.5, 0.01))
    warp = 0.015 * c.noise(3)

    def organ(
        row: float, column: float, radii: tuple[float, float], angle: float = 0.0
    ) -> np.ndarray:
        """Distance in radii from a place given in half axes of the body."""
        center = (middle[0] + row * (tall - fat), middle[1] + column * (wide - fat))
        sizes = (radii[0] * (tall - fat), radii[1] * (wide - fat))
        return c.ellipse(center, sizes, angle) + 4 * warp

    # The body is flatter than an ellipse: one of fourth order, softened by the second.
    body = c.ellipse(middle, (tall, wide)) + 0.5 * warp
    box = (((c.down - middle[0]) / tall) ** 4 + ((c.right - middle[1]) / wide) ** 4) ** 0.25
    body = 0.5 * body + 0.5 * box
    c.image[:] = 0.02
    curved = middle[0] + tall + c.rng.uniform(0.03, 0.07) - 0.35 * (c.right - 0.5) ** 2
    c.paint(0.6 * soft(0.006 - np.abs(c.down - curved), 0.008), 0.45)
    c.paint(soft(1 - body, 0.02), FAT)
    c.paint(0.5 * soft(0.012 - np.abs(1 - body), 0.02), MUSCLE)
    inner = body / (1 - fat / wide)
    c.paint(soft(1 - inner, 0.03), MUSCLE)
    c.paint(soft(0.90 - inner, 0.03), FAT)
    _ribs(c, inner, middle, 0.9 - 0.7 * level)

    within = soft(0.89 - inner, 0.03)
    _bowel(c, within, level)
    texture = 1 + 0.03 * c.noise(20, 2)
    size = 1.0 - 0.75 * soft(level - 0.65, 0.7)
    liver = organ(-0.05, -0.48, (0.75 * size, 0.50 * size), 0.15)
    if level < 0.5:
        left = organ(-0.35, -0.05, (0.35 * size, 0.55 * size), -0.25)
        liver = np.minimum(liver, left)
    c.paint(within * soft(1 - liver, 0.06), LIVER * c.rng.uniform(0.93, 1.12) * texture)
    vessel = soft(0.10 - np.abs(c.noise(6)), 0.1) * soft(0.8 - liver, 0.2)
    c.paint(0.4 * vessel, KIDNEY)
    if level < 0.6:
        spleen = organ(0.10, 0.70, (0.42, 0.22), c.rng.normal(-0.3, 0.1))
        c.paint(within * soft(1 - spleen, 0.08), SPLEEN * c.rng.uniform(0.95, 1.1) * texture)
        stomach = organ(-0.35, 0.42, (0.33, 0.30), c.rng.normal(0.3, 0.2))
        c.paint(within * soft(1 - stomach, 0.08), BOWEL)
        gas = soft(0.85 - stomach, 0.1) * soft(middle[0] - 0.4 * (tall - fat) - c.down, 0.02)
        c.paint(gas * within, 0.03)
    for sign in (-1, 1):
        for row, column, radii in ((0.42, 0.22, (0.20, 0.13)), (0.80, 0.26, (0.22, 0.24))):
            c.paint(soft(1 - organ(row, column * sign, radii), 0.1), MUSCLE * 1.05)
        if 0.25 < level + 0.05 * sign < 0.9:
            _kidney(c, organ, sign)
    _spine(c, organ)
    contrast = c.rng.uniform(0.60, 0.85)
    for column, radius in ((0.05, 0.11), (-0.14, 0.10)):
        vessel = organ(0.20, column, (radius, radius * 0.72))
        c.paint(soft(1 - vessel, 0.15), contrast)
    return c.image * c.rng.uniform(0.92, 1.08)


def _ribs(c: Canvas, inner: np.ndarray, middle: tuple[float, float], share: float) -> None:
    """Cut ribs: bright dashes in the wall, fewer toward the navel."""
    angle = np.arctan2(c.down - middle[0], c.right - middle[1]) * 9 / np.pi
    shown = c.rng.random(18) < share
    number = np.floor(angle).astype(int) % 18
    dash = soft(0.28 - np.abs(angle - np.floor(angle) - 0.5), 0.12)
    c.paint(dash * shown[number] * soft(0.035 - np.abs(inner - 0.93), 0.03), BONE)


def _bowel(c: Canvas, within: np.ndarray, level: float) -> None:
    """Loops in the front half, some with gas (dark) or contrast (bright)."""
    near, _, number = c.cells(c.down * 8, c.right * 8, 0.9)
    share = 0.5 + 0.4 * level
    radius = (c.rng.uniform(0.32, 0.55, 1024) * (c.rng.random(1024) < share)).astype(np.float32)
    filled = c.rng.choice(
        np.float32([BOWEL, BOWEL * 1.15, 0.03, 0.85]), 1024, p=[0.5, 0.3, 0.15, 0.05]
    )
    front = within * soft(0.52 - c.down, 0.1)
    c.paint(front * soft(radius[number] - near, 0.12), BOWEL)
    c.paint(front * soft(radius[number] - 0.10 - near, 0.12), filled[number])


def _kidney(c: Canvas, organ: Organ, sign: int) -> None:
    row, column = c.rng.normal(0.40, 0.04), sign * c.rng.normal(0.50, 0.02)
    kidney = organ(row, column, (0.26, 0.14), 0.45 * sign)
    c.paint(soft(1.25 - kidney, 0.1), FAT)
    c.paint(soft(1 - kidney, 0.1), KIDNEY * c.rng.uniform(0.92, 1.15))
    sinus = organ(row, column - 0.06 * sign, (0.11, 0.07), 0.45 * sign)
    c.paint(soft(1 - sinus, 0.3), FAT * 1.3)


def _spine(c: Canvas, organ: Organ) -> None:
    body = organ(0.48, 0.0, (0.20, 0.155))
    c.paint(soft(1 - body, 0.1), BONE)
    c.paint(0.5 * soft(0.75 - body, 0.2), 0.72)
    for sign in (-1, 1):
        c.paint(soft(1 - organ(0.72, 0.11 * sign, (0.06, 0.13), 0.3 * sign), 0.2), BONE)
    c.paint(soft(1 - organ(0.86, 0.0, (0.18, 0.035)), 0.3), BONE)
    c.paint(soft(1 - organ(0.70, 0.0, (0.075, 0.055)), 0.2), MUSCLE)
