"""Pictures made of images: tiles at fixed places, circles around pixels, names of decisions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from PIL import Image

from lib.figures.style import WIDTH, Picture
from lib.models.denoisers import check_images
from lib.params.dataset_info import Facts
from lib.params.errors import InputError

DETAIL = 64  # pixels of an image that a small tile shows: keeps a page of tiles near 150 kB
MARK = "#ffe600"  # seen on tissue, skin and gray alike, with a dark rim


def grid(
    rows: int,
    columns: int,
    *,
    left: float = 0.05,
    head: float = 0.3,
    foot: float = 0.05,
    largest: float = 1.4,
    block: int = 0,
    alt: str,
) -> tuple[Picture, np.ndarray]:
    """Square tiles at places fixed in inches, so that no caption moves or clips them.

    Args:
        rows: of tiles.
        columns: of tiles.
        left: room for names of rows.
        head: room for names of columns.
        foot: room for captions under each row.
        largest: edge of a tile at most.
        block: columns of a block; blocks stand apart. 0: no blocks.
        alt: label of the figure.

    Returns:
        Figure and axes (rows, columns), without ticks and frames.
    """
    gap, apart = 0.07, 0.3
    extra = apart * (-(-columns // block) - 1) if block else 0
    tile = min(largest, (WIDTH - left - extra) / columns - gap)
    width = WIDTH  # also where fewer tiles are there: all figures of a page are equally wide
    height = head + rows * (tile + foot) + 0.05
    figure = Picture(figsize=(width, height), label=alt)
    axes = np.empty((rows, columns), dtype=object)
    for row in range(rows):
        for column in range(columns):
            x = left + column * (tile + gap) + (column // block * apart if block else 0)
            y = height - head - row * (tile + foot) - tile
            place = (x / width, y / height, tile / width, tile / height)
            axes[row, column] = figure.add_axes(place)
            axes[row, column].axis("off")
    return figure, axes


def show(axes: Axes, image: np.ndarray, detail: int = DETAIL) -> None:
    """A stored image (H, W, C) with its own pixels as coordinates.

    An image of more than ``detail`` pixels is averaged down to them first: no pixel is skipped.
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


def heading(axes: Axes, text: str, size: float = 9.5) -> None:
    """Name of a column."""
    axes.text(0.5, 1.04, text, transform=axes.transAxes, ha="center", va="bottom", fontsize=size)


def beside(axes: Axes, text: str) -> None:
    """Name of a row, left of its first tile."""
    axes.text(-0.06, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=9.5)


def inside(axes: Axes, text: str, size: float | None = None) -> None:
    """Text in place of an image."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.45",
        fontsize=size,
    )  # fmt: skip


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
    """What a decision has become: the new class, or the labels gained and lost."""
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


def same_images(**images: np.ndarray) -> None:
    """Refuse images that do not belong together.

    Raises:
        InputError: another type than stored images, or shapes that differ.
    """
    first = next(iter(images))
    for name, pictures in images.items():
        check_images(pictures, f"Images to show ({name})")
        if pictures.shape != images[first].shape:
            raise InputError(
                f"Images to show must have one shape: {first} has {images[first].shape}, {name} "
                f"has {pictures.shape}."
            )
