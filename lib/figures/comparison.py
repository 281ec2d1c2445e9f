"""Runs, models and times side by side: the paper's Tables 4, 5 and 43, Figures 25 and 26."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.figures import style
from lib.figures.formatting import figures, many, shown
from lib.figures.style import OURS, PRINTED, color, key, styled


@styled
def minutes(ours: dict[str, float], printed: dict[str, float], title: str) -> Figure:
    """Training or attack times on a logarithmic scale (the paper's Figures 25 and 26).

    Args:
        ours: minutes by data set or denoiser.
        printed: the same in the paper; names that only it has are left out.
        title: what was timed.
    """
    bars = []  # place, minutes, color, whose
    for at, (name, value) in enumerate(ours.items()):
        bars.append((at - 0.2, value, color(name), "this run"))
        if name in printed:
            bars.append((at + 0.2, printed[name], PRINTED, "printed"))
    values = [value for _, value, _, _ in bars if value > 0]
    if not values:
        return style.message(f"{title}: no time to show.")
    names = [shown(name) for name in ours]
    spoken = ", ".join(f"{names[round(at)]} {figures(v)} ({who})" for at, v, _, who in bars)
    start = 10 ** (np.floor(np.log10(min(values))) - 0.3)
    figure, axes = style.rows(
        names, 0.6, 0.9, alt=f"{title}, minutes: {spoken}.", title=title, xscale="log",
        xlabel="minutes, logarithmic", xlim=(start, 30 * max(values)),
    )  # fmt: skip
    for at, value, paint, who in bars:
        bar = axes.barh(at, max(value - start, 0), 0.36, left=start, color=paint)
        axes.bar_label(bar, [f"{figures(value)} min, {who}"], padding=4, fontsize=9)
    axes.xaxis.set_major_formatter("{x:,g}")
    return figure


@styled
def variants(table: pd.DataFrame, metric: str) -> Figure:
    """One metric of the models of an ablation, beside the printed one.

    Args:
        table: ``variant, n, mean, low, high, printed``; NaN where there is none.
        metric: its name with the unit.
    """
    if not len(table) or table["mean"].isna().all():
        return style.message("No variant was measured.")
    values = style.in_words(table, ["variant"], ["mean", "printed"], "{:.4g}".format)
    figure, axes = style.rows(
        [shown(name) for name in table["variant"]], 0.38, xlabel=metric,
        alt=f"{metric}, ours and printed: {values}.",
        title=f"n = {many(int(table['n'].max()), 'test image')}",
    )  # fmt: skip
    style.dots(axes, table, "mean", map(color, table["variant"]))
    style.diamonds(axes, table["printed"])
    axes.margins(x=0.06)
    style.below(figure, [key("this run, 95 % interval", "o", OURS), style.printed_key()])
    return figure
