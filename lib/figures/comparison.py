"""Runs, models and times side by side: the paper's Tables 4, 5 and 43, Figures 25 and 26."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lib.figures.formatting import figures, many, percent, shown
from lib.figures.style import (
    FAINT,
    OURS,
    PRINTED,
    below,
    color,
    diamonds,
    key,
    message,
    panels,
    points,
    printed_key,
    rows_of,
    styled,
)


@styled
def rates(table: pd.DataFrame) -> Figure:
    """Success rates over data sets and classifiers (the paper's Tables 32 and 43).

    Args:
        table: ``dataset, classifier, n, rate, low, high, matched, matched_low, matched_high,
            printed`` of `lib.evidence.comparison.rates`, shares 0..1, NaN where there is none.
    """
    if not len(table) or not table["n"].sum():
        return message("No image was attacked.")
    names = list(dict.fromkeys(table["classifier"]))
    said = [
        f"{shown(row['dataset'])} {shown(row['classifier'])} {percent(row['rate'])} of {row['n']}"
        + ("" if np.isnan(row["matched"]) else f", in the paper's mix {percent(row['matched'])}")
        + ("" if np.isnan(row["printed"]) else f" (printed {percent(row['printed'])})")
        for row in table.to_dict("records")
    ]
    figure, axes = panels(
        1.1 + 0.45 * len(table), alt=f"Success rates by data set and classifier: {', '.join(said)}."
    )
    numbers = 100 * table[["rate", "low", "high", "printed"]].to_numpy(float)
    mixed = 100 * table[["matched", "matched_low", "matched_high"]].to_numpy(float)
    places = np.arange(len(table))
    paints = [color(name) for name in table["classifier"]]
    points(axes, numbers[:, 0], places - 0.13, numbers[:, 1], numbers[:, 2], paints)
    points(axes, mixed[:, 0], places + 0.17, mixed[:, 1], mixed[:, 2], paints, "s", hollow=True)
    diamonds(axes, numbers[:, 3], places)
    rows_of(
        axes,
        [
            f"{shown(row['dataset'])}, {shown(row['classifier'])}, n = {row['n']:,}"
            for row in table.to_dict("records")
        ],
    )
    for place in np.flatnonzero(table["dataset"].ne(table["dataset"].shift()))[1:]:
        axes.axhline(place - 0.5, color=FAINT, lw=1)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("success rate, %")
    handles = [key(f"{shown(name)}, 95 % interval", "o", color(name)) for name in names]
    if not np.isnan(mixed).all():
        handles.append(key("in the paper's mix of classes", "s", hollow=True))
    below(figure, [*handles, printed_key()])
    return figure


@styled
def minutes(ours: dict[str, float], printed: dict[str, float], title: str) -> Figure:
    """Times on a logarithmic scale (the paper's Figures 25 and 26).

    Args:
        ours: minutes by data set or denoiser.
        printed: the same in the paper; names that only it has are left out.
        title: what was timed.
    """
    printed = {shown(name): value for name, value in printed.items()}
    bars = []  # label, minutes, color
    for name, value in ours.items():
        bars.append((shown(name), value, color(name), "this run"))
        if shown(name) in printed:
            bars.append((shown(name), printed[shown(name)], PRINTED, "printed"))
    if not any(value > 0 for _, value, _, _ in bars):
        return message(f"{title}: no time to show.")
    said = ", ".join(f"{name} {figures(value)} ({who})" for name, value, _, who in bars)
    names = list(dict.fromkeys(name for name, *_ in bars))
    figure, axes = panels(0.9 + 0.6 * len(names), alt=f"{title}, minutes: {said}.")
    least = min(value for _, value, _, _ in bars if value > 0)
    start = 10 ** (np.floor(np.log10(least)) - 0.3)
    for name, value, paint, who in bars:
        place = names.index(name) + (0.2 if who == "printed" else -0.2)
        axes.barh(place, max(value - start, 0), 0.36, left=start, color=paint)
        axes.annotate(
            f"{figures(value)} min, {who}", (max(value, start), place), (4, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(start, 30 * max(value for _, value, _, _ in bars))
    rows_of(axes, names)
    axes.set_xlabel("minutes, logarithmic")
    axes.set_title(title)
    return figure


@styled
def variants(table: pd.DataFrame, metric: str) -> Figure:
    """One measure of the models of an ablation, beside the printed one.

    Args:
        table: ``variant, n, mean, low, high, printed``; NaN where there is none.
        metric: its name with the unit, for the axis.
    """
    if not len(table) or table["mean"].isna().all():
        return message("No variant was measured.")
    said = [
        f"{shown(row['variant'])} {row['mean']:.4g}"
        + ("" if np.isnan(row["printed"]) else f" (printed {row['printed']:.4g})")
        for row in table.to_dict("records")
    ]
    figure, axes = panels(1.1 + 0.38 * len(table), alt=f"{metric}: {', '.join(said)}.")
    places = range(len(table))
    numbers = table[["mean", "low", "high"]].to_numpy(float)
    paints = [color(name) for name in table["variant"]]
    points(axes, numbers[:, 0], places, *numbers[:, 1:].T, paints)
    diamonds(axes, table["printed"], places)
    rows_of(axes, [shown(name) for name in table["variant"]])
    axes.margins(x=0.06)
    axes.set_xlabel(metric)
    axes.set_title(f"n = {many(int(table['n'].max()), 'test image')}")
    below(figure, [key("this run, 95 % interval", "o", OURS), printed_key()])
    return figure
