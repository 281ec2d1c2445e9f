"""What is left of a defense when the attacker knows it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.figures.formatting import ATTACKERS, many, percent, shown
from lib.figures.style import below, color, key, message, panels, points, rows_of, styled

MARKS = {"clean": ("s", True), "oblivious": ("o", False), "adaptive": ("v", False)}


@styled
def adaptive(summary: pd.DataFrame) -> Figure:
    """Images that are right through each defense: clean, and after either attacker.

    Args:
        summary: ``defense, n`` and ``clean, oblivious, adaptive`` with ``_low`` and ``_high`` of
            `lib.defense.adaptive.summary`, shares 0..1.
    """
    if not len(summary) or not summary["n"].sum():
        return message("No image was attacked through a defense.")
    count = int(summary["n"].max())
    said = [
        f"{shown(row['defense'])} {', '.join(percent(row[share]) for share in MARKS)}"
        for row in summary.to_dict("records")
    ]
    figure, axes = panels(
        1.3 + 0.5 * len(summary),
        alt=f"Share of {many(count, 'image')} that are right through each defense: clean, attacked "
        f"without knowing it, attacked knowing it. {'; '.join(said)}.",
    )
    paints, places = [color(name) for name in summary["defense"]], np.arange(len(summary))
    for shift, (share, (marker, hollow)) in zip((-0.22, 0, 0.22), MARKS.items(), strict=True):
        numbers = 100 * summary[[share, f"{share}_low", f"{share}_high"]].to_numpy(float)
        points(axes, numbers[:, 0], places + shift, *numbers[:, 1:].T, paints, marker, hollow)
    rows_of(axes, [shown(name) for name in summary["defense"]])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("images with the right class, %, with 95 % interval")
    axes.set_title(f"n = {many(count, 'image')}")
    below(
        figure,
        [
            key(label, marker, "0.45", hollow)
            for label, (marker, hollow) in zip(ATTACKERS.values(), MARKS.values(), strict=True)
        ],
    )
    return figure
