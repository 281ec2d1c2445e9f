"""Phantoms of colon tissue stained with H&E: nine classes in MedMNIST's order."""

import numpy as np

from lib.data.phantoms.canvas import cells, field, grid, noise, paint, soft

# Deviation of the noise: a fixed part, and one that grows with the signal.
NOISE = (0.015, 0.0)
WHITE = np.float32([0.95, 0.93, 0.95])
PINK = np.float32([0.86, 0.56, 0.72])
ROSE = np.float32([0.76, 0.40, 0.60])
LILAC = np.float32([0.74, 0.70, 0.82])
PURPLE = np.float32([0.56, 0.34, 0.58])
NUCLEUS = np.float32([0.33, 0.18, 0.42])


def scene(rng: np.random.Generator, labels: tuple[int, ...], edge: int) -> np.ndarray:
    """One tile.

    Args:
        rng: stream of this image.
        labels: the class, 0..8.
        edge: pixels.

    Returns:
        float32 (edge, edge, 3), about 0..1.
    """
    image = np.empty((edge, edge, 3), np.float32)
    KINDS[labels[0]](rng, image)
    # Stain and light differ between slides: one factor a channel.
    stain = rng.normal(1, 0.07) + rng.normal(0, 0.03, 3)
    return 1 - (1 - image) * stain.astype(np.float32)


def _turned(rng: np.random.Generator, edge: int, wave: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates across and along fibers that run at any angle and wave."""
    down, right = grid(edge)
    angle = rng.uniform(0, np.pi)
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    across = across + wave * np.sin(2 * np.pi * (rng.uniform(0.6, 1.6) * along + rng.random()))
    return across + wave * 0.6 * noise(rng, edge, 3), along


def _nuclei(
    rng: np.random.Generator,
    image: np.ndarray,
    across: np.ndarray,
    along: np.ndarray,
    share: float,
    radius: float = 0.3,
    where: np.ndarray | float = 1.0,
) -> None:
    """Dark spots, one in ``share`` of the unit squares, of about ``radius`` units."""
    near, _, number = cells(rng, across, along)
    sizes = radius * rng.uniform(0.7, 1.25, 1024) * (rng.random(1024) < share)
    shades = rng.uniform(0.75, 1.0, 1024)
    spot = soft(sizes.astype(np.float32)[number] - near, 0.16)
    paint(image, spot * shades.astype(np.float32)[number] * where, NUCLEUS)


def _adipose(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    down, right = grid(edge)
    count = rng.uniform(1.8, 4.0)
    warp = 0.12 * noise(rng, edge, 5)
    near, second, _ = cells(rng, down * count + warp, right * count - warp, 0.9)
    wall = soft(rng.uniform(0.05, 0.14) + 0.03 * noise(rng, edge, 6) - (second - near), 0.08)
    image[:] = WHITE
    paint(image, 0.9 * wall, ROSE * rng.uniform(0.9, 1.1))
    _nuclei(rng, image, down * 22, right * 22, 0.15, 0.35, wall)


def _background(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    tint = WHITE * rng.uniform(0.93, 1.02) + rng.normal(0, 0.012, 3)
    image[:] = tint + (0.012 * noise(rng, edge, 2, 2))[..., None]
    speck = soft(noise(rng, edge, 14) - rng.uniform(2.0, 3.4), 0.4)
    paint(image, 0.5 * speck, PURPLE)


def _debris(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    down, right = grid(edge)
    image[:] = PINK * rng.uniform(0.82, 1.0)
    paint(image, 0.8 * soft(noise(rng, edge, 4, 3), 1.5), PURPLE * rng.uniform(1.0, 1.25))
    image += 0.05 * noise(rng, edge, 28, 2)[..., None]
    crack = soft(0.10 - np.abs(noise(rng, edge, 3, 3)), 0.12) * soft(noise(rng, edge, 2), 1.0)
    paint(image, 0.8 * crack, WHITE)
    _nuclei(rng, image, down * 30, right * 30, rng.uniform(0.15, 0.4), 0.22)


def _lymphocytes(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    down, right = grid(edge)
    image[:] = PINK * 1.04 + (0.02 * noise(rng, edge, 12))[..., None]
    gap = soft(noise(rng, edge, 3, 2) - rng.uniform(0.7, 2.2), 0.5)
    paint(image, gap, WHITE)
    count = rng.uniform(14, 22)
    _nuclei(rng, image, down * count, right * count, rng.uniform(0.8, 1.0), 0.42, 1 - 0.9 * gap)


def _mucus(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    across, along = _turned(rng, edge, rng.uniform(0.03, 0.10))
    pale = rng.uniform(0, 0.6)
    image[:] = LILAC * (1 - pale) + WHITE * pale + (0.03 * noise(rng, edge, 6, 2))[..., None]
    warp = 0.5 * noise(rng, edge, 10, 2)
    coarse = np.abs(field(rng, across * 14 + warp, along * 5) + 0.2)
    fine = np.abs(field(rng, across * 28 + warp, along * 10) - 0.1)
    paint(image, rng.uniform(0.2, 0.5) * soft(0.10 - fine, 0.2), PURPLE)
    paint(image, rng.uniform(0.3, 0.8) * soft(0.05 - coarse, 0.14), PURPLE)
    band = soft(field(rng, across * 5, along * 1.5) - rng.uniform(0.5, 1.0), 0.3)
    paint(image, 0.6 * band, ROSE)


def _fibers(rng: np.random.Generator, image: np.ndarray, muscle: bool) -> None:
    """Smooth muscle: tight, parallel, pink; stroma: loose, wavy, paler, with more nuclei."""
    edge = len(image)
    loose = np.clip(rng.normal(0.2 if muscle else 0.7, 0.16), 0, 1)
    across, along = _turned(rng, edge, 0.012 + 0.045 * loose)
    image[:] = ROSE + (PINK - ROSE) * rng.uniform(0.3, 1.0)
    image += loose * np.float32([-0.06, 0.0, 0.04])
    strand = field(rng, across * 22, along * 3) + 0.6 * field(rng, across * 45, along * 6)
    image += (0.07 * strand)[..., None] * np.float32([0.8, 1.2, 0.9])
    gap = field(rng, across * 9, along * 2) + 0.5 * field(rng, across * 24, along * 4)
    paint(image, (0.35 + 0.5 * loose) * soft(gap - 1.0 + 0.8 * loose, 0.4), WHITE)
    _nuclei(rng, image, across * 26, along * 8, 0.12 + 0.35 * loose, 0.30, 0.9)


def _smooth_muscle(rng: np.random.Generator, image: np.ndarray) -> None:
    _fibers(rng, image, muscle=True)


def _stroma(rng: np.random.Generator, image: np.ndarray) -> None:
    _fibers(rng, image, muscle=False)


def _normal_mucosa(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    down, right = grid(edge)
    image[:] = PINK * rng.uniform(0.9, 1.02) + (0.04 * noise(rng, edge, 10, 2))[..., None]
    _nuclei(rng, image, down * 24, right * 24, 0.45, 0.30, 0.85)
    count = rng.uniform(1.7, 3.0)
    shift = rng.uniform(0, 1, 2)
    warp = 0.06 * noise(rng, edge, 4)
    near, second, _ = cells(rng, down * count + shift[0] + warp, right * count + shift[1], 0.45)
    far = near / np.minimum(rng.uniform(0.42, 0.50), (near + second) / 2 - 0.02)
    paint(image, soft(1 - far, 0.06), PURPLE * 1.1)
    _nuclei(rng, image, down * 20, right * 20, 0.95, 0.42, soft(1 - far, 0.06))
    paint(image, soft(rng.uniform(0.70, 0.78) - far, 0.08), PINK * 1.05)
    vacuole, other, _ = cells(rng, down * count * 5, right * count * 5)
    goblet = soft(0.80 - far, 0.10) * soft(other - vacuole - 0.10, 0.16)
    paint(image, 0.85 * goblet, WHITE)
    paint(image, soft(rng.uniform(0.18, 0.34) - far, 0.10), WHITE)


def _adenocarcinoma(rng: np.random.Generator, image: np.ndarray) -> None:
    edge = len(image)
    across, along = _turned(rng, edge, 0.03)
    image[:] = PURPLE + (PINK - PURPLE) * rng.uniform(0.1, 0.6)
    image += (0.04 * noise(rng, edge, 8, 3))[..., None]
    lumen = soft(noise(rng, edge, 3, 2) - rng.uniform(0.9, 2.2), 0.25)
    count = rng.uniform(9, 13)
    warp = 0.3 * noise(rng, edge, 8)
    _nuclei(rng, image, across * count * 1.4 + warp, along * count * 0.8 - warp, 0.92, 0.42, 0.8)
    image += (0.05 * noise(rng, edge, 24))[..., None]
    paint(image, lumen, WHITE)


KINDS = (
    _adipose, _background, _debris, _lymphocytes, _mucus, _smooth_muscle, _normal_mucosa, _stroma,
    _adenocarcinoma,
)  # fmt: skip
