"""Attack success as printed and as found here, joined by lines."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from lib.figures import style
from lib.figures.formatting import shown
from lib.figures.style import BAD, GOOD, PRINTED, key, look, styled
from lib.params import PRINTED_SIZE

OTHER = "#8a8a8a"  # its line
NOTHING = "Not recorded yet."


@styled
def slopes(table: pd.DataFrame) -> Figure:
    """Attack success as printed and as found here, a line for each data set.

    Args:
        table: ``panel, dataset, size``, ``printed`` and ``rate, low, high``, shares 0..1, and
            whether the two ``agrees``; rows without a printed value are left out.
    """
    table = table[table["printed"].notna()]
    if not len(table):
        return style.message(NOTHING)
    panels = table.groupby("panel", sort=False)
    said = style.in_words(table, ["panel", "dataset"], ["printed", "rate"])
    figure, axes = style.panels(
        3.4, len(panels), sharey=True,
        alt=f"Attack success, first printed and then found here. {said}.",
    )  # fmt: skip
    for part, (name, of) in zip(axes, panels, strict=True):
        _draw(part, of)
        part.set_title(style.wrap(name, 24))
    axes[0].set_ylabel("attack success, %")
    style.below(figure, _keys(table))
    return figure


def _keys(table: pd.DataFrame) -> list[Line2D]:
    """Legend of the marks that `_draw` makes."""
    same = table["size"] == PRINTED_SIZE
    agrees, other = table.loc[same, "agrees"].astype(bool), table[~same].drop_duplicates("dataset")
    names = {"agrees with the printed rate": GOOD} if agrees.any() else {}
    if not agrees.all():
        names["differs" if names else "differs from the printed rate"] = BAD
    for row in other.itertuples():
        names[f"* {shown(row.dataset)}: {row.size} px, not comparable"] = OTHER
    return [key(name, "o", paint, line="none") for name, paint in names.items()]


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    """One panel of `slopes`; a line is green where ours agrees with the printed rate, gray where
    the images have another size.
    """
    shares = 100 * table[["printed", "rate", "low", "high"]].to_numpy(float)
    paints = np.where(table["size"] != PRINTED_SIZE, OTHER, np.where(table["agrees"], GOOD, BAD))
    for (printed, rate, low, high), paint in zip(shares, paints, strict=True):
        axes.plot([0, 1], [printed, rate], color=paint, lw=1.6)
        axes.plot([1, 1], [low, high], color=paint, lw=3, alpha=0.35, solid_capstyle="butt")
        axes.plot(0, printed, "D", **look("D", PRINTED))
        axes.plot(1, rate, "o", **look("o", paint))
    names = [
        f"{shown(row.dataset)}{'' if row.size == PRINTED_SIZE else '*'} {100 * row.rate:.0f} %"
        for row in table.itertuples(index=False)
    ]
    for place, name in zip(_spread(shares[:, 1]), names, strict=True):
        # It stands within the axes' right half.
        style.note(axes, name, (1, place), (8, 0), va="center", fontsize=8.5, in_layout=False)
    for place, share in zip(_spread(shares[:, 0]), shares[:, 0], strict=True):
        text = f"{share:.1f}" if share < 10 else f"{share:.0f}"
        style.note(axes, text, (0, place), (-8, 0), va="center", ha="right")
    axes.set_xticks([0, 1], ["printed", "here"])
    axes.set_xlim(-0.6, 3.0)
    axes.set_ylim(-4, 104)
    axes.grid(False, axis="x")


def _spread(values: np.ndarray, least: float = 9.0) -> np.ndarray:
    """The places of labels nearest to the values that are at least so far apart."""
    order, steps = np.argsort(values), least * np.arange(len(values))
    places = np.empty(len(values))
    places[order] = isotonic_regression(values[order] - steps).x + steps
    return places
