"""Figures made of images: tiles at fixed places, circled pixels, names of decisions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from lib.figures.style import WIDTH, Picture
from lib.params.dataset_info import Facts

DETAIL = 64  # pixels of an image that a small tile shows: keeps a page of tiles near 150 kB
AROUND = 9  # pixels of an image in its magnified part, along an edge
MARK = "#ffe600"  # seen on tissue, skin and gray alike, with a dark rim


def grid(
    rows: int, columns: int, *, left: float = 0.05, head: float = 0.3, foot: float = 0.05,
    largest: float = 1.4, block: int = 0, alt: str,
) -> tuple[Picture, np.ndarray]:  # fmt: skip
    """Square tiles at places fixed in inches, so that no caption moves or clips them.

    Args:
        rows, columns: of tiles.
        left, head, foot: inches for row names, column names, and the captions of each row.
        largest: edge of a tile at most, inches.
        block: columns of a block; blocks stand apart. 0: no blocks.
        alt: label of the figure.

    Returns:
        Figure and axes (rows, columns), without ticks and frames.
    """
    gap, apart, block = 0.07, 0.3, block or columns
    tile = min(largest, (WIDTH - left - apart * ((columns - 1) // block)) / columns - gap)
    height = head + rows * (tile + foot) + 0.05
    figure = Picture(figsize=(WIDTH, height), label=alt)  # as wide with fewer tiles too
    axes = np.empty((rows, columns), dtype=object)
    for row, column in np.ndindex(rows, columns):
        x = left + column * (tile + gap) + column // block * apart
        y = height - head - row * (tile + foot) - tile
        place = (x / WIDTH, y / height, tile / WIDTH, tile / height)
        axes[row, column] = figure.add_axes(place)
        axes[row, column].axis("off")
    return figure, axes


def show(axes: Axes, image: np.ndarray, detail: int = DETAIL) -> None:
    """Show a stored image (H, W, C) with its own pixels as coordinates.

    An image larger than ``detail`` pixels is averaged down first.
    """
    height, width = image.shape[:2]
    picture = image.squeeze(2) if image.shape[2] == 1 else image
    if max(height, width) > detail:
        scale = detail / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    axes.imshow(
        picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )  # fmt: skip


def circle(axes: Axes, rows: list[int], cols: list[int], size: int) -> None:
    """Mark pixels of an image of ``size`` pixels."""
    for row, col in zip(rows, cols, strict=True):
        ring = Circle((col, row), max(1.5, size * 0.07), fill=False, ec=MARK, lw=1.6)
        ring.set_path_effects([withStroke(linewidth=3.2, foreground="black")])
        axes.add_patch(ring)


def magnify(axes: Axes, image: np.ndarray, row: int, col: int) -> tuple[int, int]:
    """Show `AROUND` pixels of an image around a framed one, in the middle where the edge allows.

    Returns:
        Row and column of the first pixel shown.
    """
    edges = zip((row, col), image.shape, strict=False)
    top, left = (int(np.clip(at - AROUND // 2, 0, edge - AROUND)) for at, edge in edges)
    show(axes, image[top : top + AROUND, left : left + AROUND])
    for paint, width in (("black", 3), (MARK, 1.4)):
        frame = {"fill": False, "ec": paint, "lw": width}
        axes.add_patch(Rectangle((col - left - 0.5, row - top - 0.5), 1, 1, **frame))
    return top, left


def headings(tiles: Iterable[Axes], texts: Iterable[str], size: float = 9.5) -> None:
    """Names of columns, over their first tiles."""
    for axes, text in zip(tiles, texts, strict=True):
        _write(axes, 0.5, 1.04, text, va="bottom", fontsize=size)


def beside(axes: Axes, text: str) -> None:
    """Name of a row, left of its first tile."""
    _write(axes, -0.06, 0.5, text, ha="right", fontsize=9.5)


def inside(axes: Axes, text: str, size: float | None = None) -> None:
    """Text in place of an image."""
    _write(axes, 0.5, 0.5, text, color="0.45", fontsize=size)


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    axes.text(x, y, text, transform=axes.transAxes, **{"ha": "center", "va": "center"} | look)


def caption(axes: Axes, text: str, line: int = 0, size: float = 9, **look: str) -> None:
    """Text under a tile, from a given line on."""
    axes.annotate(
        text, (0.5, 0), (0, -3 - line * size * 1.35), xycoords="axes fraction",
        textcoords="offset points", ha="center", va="top", fontsize=size, linespacing=1.15, **look,
    )  # fmt: skip


def decision(value: int | str, facts: Facts) -> str:
    """A class number, or the 0/1 string of all labels, in words."""
    if not isinstance(value, str):
        return facts.classes[int(value)].name
    return _list([item.name for item, on in zip(facts.classes, value, strict=True) if on == "1"])


def change(before: int | str, after: int | str, facts: Facts) -> str:
    """What a prediction has become: the new class, or the labels gained and lost."""
    if before == after:
        return "unchanged"
    if not isinstance(after, str):
        return decision(after, facts)
    pairs = list(zip(facts.classes, str(before), after, strict=True))
    gained = [item.name for item, old, new in pairs if old < new]
    lost = [item.name for item, old, new in pairs if old > new]
    parts = [f"gained {_list(gained)}"] * bool(gained) + [f"lost {_list(lost)}"] * bool(lost)
    return ", ".join(parts)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more if names else "no finding"
