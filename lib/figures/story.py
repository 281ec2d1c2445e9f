"""One image through the whole experiment: clean, attacked, restored, and what is predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lib.figures import gallery, style
from lib.figures.formatting import rate
from lib.figures.gallery import AROUND
from lib.figures.style import BAD, GOOD, WIDTH, Picture, styled, wrap

LENS = 0.42  # edge of the magnified part, as a share of the tile's
ROOM = 0.95  # inches under a tile


@dataclass(frozen=True)
class Scene:
    """A tile of the story.

    Attributes:
        title: above the image.
        image: uint8 (H, W, C).
        label: predicted class.
        correct: whether it is the true class.
        confidence: of the true class, 0..1; None where it is not known.
    """

    title: str
    image: np.ndarray
    label: str
    correct: bool
    confidence: float | None = None


@styled
def story(scenes: Sequence[Scene], row: int, col: int) -> Picture:
    """Images side by side with their predictions; the changed pixel is magnified in the second.

    Args:
        scenes: clean, attacked, and restored images.
        row: of the changed pixel.
        col: its column.
    """
    if not scenes:
        return style.message("No attack succeeded: there is nothing to show.")
    told = "; ".join(
        f"{each.title.lower()}: {each.label}, {'correct' if each.correct else 'wrong'}"
        for each in scenes
    )
    gap, head = 0.22, 0.32
    tile = min((WIDTH - gap * (len(scenes) - 1) - 0.1) / len(scenes), 2.2)
    height = head + tile + ROOM
    figure = Picture(figsize=(WIDTH, height), label=f"One image through the experiment: {told}.")
    for at, scene in enumerate(scenes):
        left, low = 0.05 + at * (tile + gap), height - head - tile
        axes = figure.add_axes((left / WIDTH, low / height, tile / WIDTH, tile / height))
        gallery.show(axes, scene.image, detail=max(scene.image.shape))
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set(visible=True, color=GOOD if scene.correct else BAD, linewidth=2.4)
        axes.set_title(scene.title, loc="center", fontsize=10)
        if at == 1:
            _magnify(axes, scene.image, row, col)
        if at:
            axes.annotate(
                "", (-0.005, 0.5), (-gap / tile + 0.015, 0.5), xycoords="axes fraction",
                arrowprops={"arrowstyle": "-|>", "color": "0.45", "lw": 1.4},
            )  # fmt: skip
        _prediction(axes, scene, round(15 * tile))
    return figure


def _magnify(axes: Axes, image: np.ndarray, row: int, col: int) -> None:
    """The pixels around a changed one, large, in the corner that is farthest from it."""
    height, width = image.shape[:2]
    x, y = (0.0 if col > width / 2 else 1 - LENS), (0.0 if row < height / 2 else 1 - LENS)
    lens = axes.inset_axes((x, y, LENS, LENS))
    top, left = gallery.magnify(lens, image, row, col)
    lens.set(xticks=[], yticks=[])
    lens.grid(False)
    for spine in lens.spines.values():
        spine.set(visible=True, color=gallery.MARK, linewidth=2)
    shown = (left - 0.5, top - 0.5, AROUND, AROUND)
    look = {"edgecolor": gallery.MARK, "alpha": 1, "linewidth": 1.2}
    lines = axes.indicate_inset(shown, lens, **look).connectors
    # Two of four corners are joined; matplotlib takes the wrong ones where rows count downward.
    rising = (x > 0) == (y > 0)  # from the one to the other
    for line, outer in zip(lines, (not rising, rising, rising, not rising), strict=True):
        line.set_visible(outer)


def _prediction(axes: Axes, scene: Scene, width: int) -> None:
    """Predicted class, whether it is correct, and the confidence of the true class as a bar."""
    paint = GOOD if scene.correct else BAD
    label = wrap(scene.label, width - 4)
    gallery.caption(axes, label, line=1, size=9, color=paint, weight="bold")
    mark = "correct" if scene.correct else "wrong"
    if scene.confidence is not None:
        mark += f"; true class {rate(scene.confidence)}"
        below = {"transform": axes.transAxes, "clip_on": False, "lw": 0}
        for share, shade in (1, "0.9"), (scene.confidence, paint):
            axes.add_patch(Rectangle((0, -0.055), share, 0.03, fc=shade, **below))
    gallery.caption(axes, wrap(mark, width), line=2 + label.count("\n"), size=8.5)
