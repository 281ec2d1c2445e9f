"""Changed pixels beside the lesions that are marked in an image."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.figures import gallery, style
from lib.figures.formatting import many
from lib.figures.style import BAD, OURS, styled

MOST, COLUMNS = 12, 4  # images shown, and in a row


@styled
def lesions(
    boxes: pd.DataFrame, pixels: pd.DataFrame, size: int, pictures: list[np.ndarray] | None = None
) -> Figure:
    """Boxes of marked lesions, and changed pixels: blue inside a box, red outside.

    Args:
        boxes: ``split, index, label, x, y, width, height``, shares of the edge.
        pixels: of `lib.evidence.lesions.changed`; the first 12 images are shown.
        size: edge of the images in pixels.
        pictures: the clean images, uint8 (H, W, C), in the order of the pixels; None for none.
    """
    groups = list(pixels.groupby(["split", "index"], sort=False))[:MOST]
    if not groups:
        return style.message("No image with a marked lesion was attacked successfully.")
    figure, axes = gallery.grid(
        -(-len(groups) // COLUMNS), COLUMNS, head=0.1, foot=0.3, largest=1.3,
        alt=f"{many(len(groups), 'image')} with marked lesions; {pixels['inside'].sum()} of "
        f"{many(len(pixels), 'changed pixel')} inside one.",
    )  # fmt: skip
    for place, ((split, index), of) in enumerate(groups):
        tile = axes.flat[place]
        if pictures:
            gallery.show(tile, pictures[place], detail=2 * gallery.DETAIL)
        else:
            tile.add_patch(Rectangle((-0.5, -0.5), size, size, fc="0.93", ec="0.7", lw=1))
        own = boxes[(boxes["split"] == split) & (boxes["index"] == index)]
        for box in own.itertuples():
            corner = (box.x * size - 0.5, box.y * size - 0.5)
            look = {"fill": False, "ec": OURS, "lw": 1.6}
            tile.add_patch(Rectangle(corner, box.width * size, box.height * size, **look))
        paint = np.where(of["inside"], OURS, BAD)
        tile.scatter(of["col"], of["row"], 26, color=paint, edgecolor="white", lw=0.8, zorder=3)
        tile.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        gallery.caption(tile, style.wrap(", ".join(dict.fromkeys(own["label"])).lower(), 18))
    return figure
