"""Drawing tools of all phantoms: coordinates, smooth random fields, cells and soft edges.

Coordinates are normalized (0..1 across the image), and the random numbers are the same at every
size, so that one scene can be rendered at several sizes.
"""

import math
from functools import cache

import numpy as np
from scipy.ndimage import map_coordinates

SPREAD = 0.479  # deviation of a cubic B-spline surface over a lattice of deviation 1
Color = np.ndarray | list[float] | float


@cache
def grid(edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centers: rows (edge, 1) and columns (1, edge), float32 in 0..1."""
    centers = (np.arange(edge, dtype=np.float32) + 0.5) / edge
    return centers[:, None], centers[None, :]


@cache
def _weights(edge: int, cells: int) -> np.ndarray:
    """Cubic B-spline weights (edge, cells + 3) of a lattice of ``cells`` intervals."""
    place = grid(edge)[0] * cells + 1 - np.arange(cells + 3)
    far = np.abs(place)
    inner = 2 / 3 - far**2 + far**3 / 2
    outer = np.clip(2 - far, 0, None) ** 3 / 6
    return np.where(far < 1, inner, outer).astype(np.float32)


def soft(distance: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """0 below ``-width / 2``, 1 above ``width / 2``, smooth between."""
    part = np.clip(distance / width + 0.5, 0, 1)
    return part * part * (3 - 2 * part)


class Canvas:
    """A gray or RGB image being drawn, and its random stream.

    Attributes:
        image: float32 (edge, edge) or (edge, edge, 3), about 0..1.
        down, right: pixel centers, (edge, 1) and (1, edge) in 0..1.
    """

    def __init__(self, rng: np.random.Generator, edge: int, channels: int = 1) -> None:
        self.rng, self.edge = rng, edge
        self.down, self.right = grid(edge)
        self.image = np.zeros((edge, edge, 3) if channels == 3 else (edge, edge), np.float32)

    def paint(self, alpha: np.ndarray, color: Color) -> None:
        """Lay a color over the image where ``alpha`` (edge, edge) is above 0."""
        alpha = alpha[..., None] if self.image.ndim == 3 else alpha
        self.image += alpha * (np.asarray(color, np.float32) - self.image)

    def noise(self, cells: int, octaves: int = 1) -> np.ndarray:
        """Smooth random field (edge, edge), float32, mean 0 and deviation about 1.

        It has ``cells`` bumps across the image; each further octave has twice the bumps and half
        the height of the one before.
        """
        total = np.zeros((self.edge, self.edge), np.float32)
        for octave in range(octaves):
            weights = _weights(self.edge, cells * 2**octave)
            lattice = self.rng.standard_normal((weights.shape[1],) * 2, dtype=np.float32)
            total += weights @ lattice @ weights.T / 2**octave
        return total / (SPREAD * np.sqrt(sum(0.25**octave for octave in range(octaves))))

    def curve(self, cells: int) -> np.ndarray:
        """Smooth random curve (1, edge), float32, mean 0 and deviation about 1."""
        weights = _weights(self.edge, cells)
        values = self.rng.standard_normal(weights.shape[1], dtype=np.float32)
        return (weights @ values)[None, :] / np.float32(np.sqrt(SPREAD))

    def field(self, across: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Random field in -1..1 over any coordinates, one bump a unit, repeated after 64."""
        lattice = self.rng.uniform(-1, 1, (64, 64)).astype(np.float32)
        places = np.stack(np.broadcast_arrays(across, along))
        whole = np.floor(places)
        part = places - whole
        return map_coordinates(lattice, whole + part**2 * (3 - 2 * part), order=1, mode="grid-wrap")

    def cells(
        self, across: np.ndarray, along: np.ndarray, jitter: float = 0.8
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances to the nearest and second nearest of scattered points, about one a unit square.

        Coordinates (edge, edge) may have any range; the points repeat after 32. With a jitter of 0
        they are a square lattice, with 1 at random in their squares.

        Returns:
            Nearest and second nearest distance in units, and the number of the nearest point
            (0..1023), each (edge, edge).
        """
        offsets = (0.5 + jitter * self.rng.uniform(-0.5, 0.5, (2, 1024))).astype(np.float32)
        across, along = np.broadcast_arrays(across, along)
        row, column = np.floor(across).astype(np.int32), np.floor(along).astype(np.int32)
        i, j = np.mgrid[-1:2, -1:2].reshape(2, 9, 1, 1)  # the squares around
        point = ((row + i) & 31) * 32 + ((column + j) & 31)
        far = (offsets[0][point] + (i - (across - row))) ** 2
        far += (offsets[1][point] + (j - (along - column))) ** 2
        first, second = np.sqrt(np.partition(far, 1, axis=0)[:2])
        return first, second, np.take_along_axis(point, far.argmin(0, keepdims=True), 0)[0]

    def ellipse(
        self, center: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
    ) -> np.ndarray:
        """Distance from the center (row, column) in radii: 1 on the ellipse; (edge, edge)."""
        down, right = self.down - float(center[0]), self.right - float(center[1])
        sine, cosine = math.sin(angle), math.cos(angle)
        tall, wide = float(radii[0]), float(radii[1])
        first = down * (cosine / tall) - right * (sine / tall)
        other = down * (sine / wide) + right * (cosine / wide)
        return np.sqrt(first * first + other * other)
