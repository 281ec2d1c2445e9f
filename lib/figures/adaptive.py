"""What is left of a defense when the attacker knows it."""

import pandas as pd
from matplotlib.figure import Figure

from lib.figures.formatting import ATTACKERS, many, percent, shown
from lib.figures.style import below, color, dots, key, message, panels, rows_of, styled

MARKS = {
    "clean": {"marker": "s", "hollow": True}, "oblivious": {"marker": "o"},
    "adaptive": {"marker": "v"},
}  # fmt: skip


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
    for shift, (share, look) in zip((-0.22, 0, 0.22), MARKS.items(), strict=True):
        dots(axes, summary, share, map(color, summary["defense"]), shift, 100, **look)
    rows_of(axes, [shown(name) for name in summary["defense"]])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("images with the right class, %, with 95 % interval")
    axes.set_title(f"n = {many(count, 'image')}")
    below(figure, [key(ATTACKERS[share], paint="0.45", **look) for share, look in MARKS.items()])
    return figure
