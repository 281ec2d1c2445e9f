"""Phantoms of colon tissue stained with H&E: nine classes in MedMNIST's order."""

from functools import partial

import numpy as np

from lib.data.phantoms.canvas import Canvas, soft

WHITE = np.float32([0.95, 0.93, 0.95])
PINK = np.float32([0.86, 0.56, 0.72])
ROSE = np.float32([0.76, 0.40, 0.60])
LILAC = np.float32([0.74, 0.70, 0.82])
PURPLE = np.float32([0.56, 0.34, 0.58])
NUCLEUS = np.float32([0.33, 0.18, 0.42])


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One tile."""
    c = Canvas(rng, edge, 3)
    KINDS[labels[0]](c)
    # Stain and light differ between slides: one factor a channel.
    stain = c.rng.normal(1, 0.07) + c.rng.normal(0, 0.03, 3)
    return 1 - (1 - c.image) * stain.astype(np.float32)


def _turned(c: Canvas, wave: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates across and along fibers that run at any angle and wave."""
    angle = c.rng.uniform(0, np.pi)
    along = c.right * np.cos(angle) + c.down * np.sin(angle)
    across = c.down * np.cos(angle) - c.right * np.sin(angle)
    across = across + wave * np.sin(2 * np.pi * (c.rng.uniform(0.6, 1.6) * along + c.rng.random()))
    return across + wave * 0.6 * c.noise(3), along


def _nuclei(
    c: Canvas, across: np.ndarray, along: np.ndarray, share: float, radius: float = 0.3,
    where: np.ndarray | float = 1.0,
) -> None:  # fmt: skip
    """Dark spots, one in ``share`` of the unit squares, of about ``radius`` units."""
    near, _, number = c.cells(across, along)
    sizes = radius * c.rng.uniform(0.7, 1.25, 1024) * (c.rng.random(1024) < share)
    shades = c.rng.uniform(0.75, 1.0, 1024)
    spot = soft(sizes.astype(np.float32)[number] - near, 0.16)
    c.paint(spot * shades.astype(np.float32)[number] * where, NUCLEUS)


def _adipose(c: Canvas) -> None:
    count = c.rng.uniform(1.8, 4.0)
    warp = 0.12 * c.noise(5)
    near, second, _ = c.cells(c.down * count + warp, c.right * count - warp, 0.9)
    wall = soft(c.rng.uniform(0.05, 0.14) + 0.03 * c.noise(6) - (second - near), 0.08)
    c.image[:] = WHITE
    c.paint(0.9 * wall, ROSE * c.rng.uniform(0.9, 1.1))
    _nuclei(c, c.down * 22, c.right * 22, 0.15, 0.35, wall)


def _background(c: Canvas) -> None:
    tint = WHITE * c.rng.uniform(0.93, 1.02) + c.rng.normal(0, 0.012, 3)
    c.image[:] = tint + (0.012 * c.noise(2, 2))[..., None]
    speck = soft(c.noise(14) - c.rng.uniform(2.0, 3.4), 0.4)
    c.paint(0.5 * speck, PURPLE)


def _debris(c: Canvas) -> None:
    c.image[:] = PINK * c.rng.uniform(0.82, 1.0)
    c.paint(0.8 * soft(c.noise(4, 3), 1.5), PURPLE * c.rng.uniform(1.0, 1.25))
    c.image += 0.05 * c.noise(28, 2)[..., None]
    crack = soft(0.10 - np.abs(c.noise(3, 3)), 0.12) * soft(c.noise(2), 1.0)
    c.paint(0.8 * crack, WHITE)
    _nuclei(c, c.down * 30, c.right * 30, c.rng.uniform(0.15, 0.4), 0.22)


def _lymphocytes(c: Canvas) -> None:
    c.image[:] = PINK * 1.04 + (0.02 * c.noise(12))[..., None]
    gap = soft(c.noise(3, 2) - c.rng.uniform(0.7, 2.2), 0.5)
    c.paint(gap, WHITE)
    count = c.rng.uniform(14, 22)
    _nuclei(c, c.down * count, c.right * count, c.rng.uniform(0.8, 1.0), 0.42, 1 - 0.9 * gap)


def _mucus(c: Canvas) -> None:
    across, along = _turned(c, c.rng.uniform(0.03, 0.10))
    pale = c.rng.uniform(0, 0.6)
    c.image[:] = LILAC * (1 - pale) + WHITE * pale + (0.03 * c.noise(6, 2))[..., None]
    warp = 0.5 * c.noise(10, 2)
    coarse = np.abs(c.field(across * 14 + warp, along * 5) + 0.2)
    fine = np.abs(c.field(across * 28 + warp, along * 10) - 0.1)
    c.paint(c.rng.uniform(0.2, 0.5) * soft(0.10 - fine, 0.2), PURPLE)
    c.paint(c.rng.uniform(0.3, 0.8) * soft(0.05 - coarse, 0.14), PURPLE)
    band = soft(c.field(across * 5, along * 1.5) - c.rng.uniform(0.5, 1.0), 0.3)
    c.paint(0.6 * band, ROSE)


def _fibers(c: Canvas, muscle: bool) -> None:
    """Smooth muscle: tight, parallel, pink; stroma: loose, wavy, paler, with more nuclei."""
    loose = np.clip(c.rng.normal(0.2 if muscle else 0.7, 0.16), 0, 1)
    across, along = _turned(c, 0.012 + 0.045 * loose)
    c.image[:] = ROSE + (PINK - ROSE) * c.rng.uniform(0.3, 1.0)
    c.image += loose * np.float32([-0.06, 0.0, 0.04])
    strand = c.field(across * 22, along * 3) + 0.6 * c.field(across * 45, along * 6)
    c.image += (0.07 * strand)[..., None] * np.float32([0.8, 1.2, 0.9])
    gap = c.field(across * 9, along * 2) + 0.5 * c.field(across * 24, along * 4)
    c.paint((0.35 + 0.5 * loose) * soft(gap - 1.0 + 0.8 * loose, 0.4), WHITE)
    _nuclei(c, across * 26, along * 8, 0.12 + 0.35 * loose, 0.30, 0.9)


def _normal_mucosa(c: Canvas) -> None:
    c.image[:] = PINK * c.rng.uniform(0.9, 1.02) + (0.04 * c.noise(10, 2))[..., None]
    _nuclei(c, c.down * 24, c.right * 24, 0.45, 0.30, 0.85)
    count = c.rng.uniform(1.7, 3.0)
    shift = c.rng.uniform(0, 1, 2)
    warp = 0.06 * c.noise(4)
    near, second, _ = c.cells(c.down * count + shift[0] + warp, c.right * count + shift[1], 0.45)
    far = near / np.minimum(c.rng.uniform(0.42, 0.50), (near + second) / 2 - 0.02)
    c.paint(soft(1 - far, 0.06), PURPLE * 1.1)
    _nuclei(c, c.down * 20, c.right * 20, 0.95, 0.42, soft(1 - far, 0.06))
    c.paint(soft(c.rng.uniform(0.70, 0.78) - far, 0.08), PINK * 1.05)
    vacuole, other, _ = c.cells(c.down * count * 5, c.right * count * 5)
    goblet = soft(0.80 - far, 0.10) * soft(other - vacuole - 0.10, 0.16)
    c.paint(0.85 * goblet, WHITE)
    c.paint(soft(c.rng.uniform(0.18, 0.34) - far, 0.10), WHITE)


def _adenocarcinoma(c: Canvas) -> None:
    across, along = _turned(c, 0.03)
    c.image[:] = PURPLE + (PINK - PURPLE) * c.rng.uniform(0.1, 0.6)
    c.image += (0.04 * c.noise(8, 3))[..., None]
    lumen = soft(c.noise(3, 2) - c.rng.uniform(0.9, 2.2), 0.25)
    count = c.rng.uniform(9, 13)
    warp = 0.3 * c.noise(8)
    _nuclei(c, across * count * 1.4 + warp, along * count * 0.8 - warp, 0.92, 0.42, 0.8)
    c.image += (0.05 * c.noise(24))[..., None]
    c.paint(lumen, WHITE)


KINDS = (
    _adipose, _background, _debris, _lymphocytes, _mucus, partial(_fibers, muscle=True),
    _normal_mucosa, partial(_fibers, muscle=False), _adenocarcinoma,
)  # fmt: skip
