"""Printed image measures among what our images give when they are measured in other ways."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lib.figures.formatting import many, shown
from lib.figures.style import (
    INK,
    PRINTED,
    WIDTH,
    Picture,
    below,
    color,
    key,
    message,
    rows_of,
    styled,
    wrap,
)

TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "mse": "MSE", "gmsd": "GMSD", "fsim": "FSIM"}
ROW = 0.19  # inches of a line


@styled
def readings(table: pd.DataFrame, number: int) -> Figure:
    """Each printed value, a gray line, among our values by every reading; a column a defense.

    Args:
        table: rows of `lib.evidence.forensics.compare`. The sets of images "as restored" and "at
            the printed PSNR" have a line for each variant together, every other set one of its own.
        number: of the printed table.
    """
    if not len(table) or not table["n"].sum():
        return message("No attack succeeded: there is no restored image to measure.")
    names = list(dict.fromkeys(table["defense"]))
    found = [metric for metric in TITLES if (table["metric"] == metric).any()]
    lines = {m: list(dict.fromkeys(table.loc[table["metric"] == m, "label"])) for m in found}
    reached = table[table["reached"]].groupby("metric")["label"].nunique()
    said = [f"{TITLES[m]} {reached.get(m, 0)} of {len(lines[m])} readings" for m in found]
    figure = Picture(
        figsize=(WIDTH, 0.9 + sum(0.42 + ROW * len(lines[metric]) for metric in found)),
        layout="constrained",
        label=f"Printed values of Table {number} for {many(len(names), 'defense')} among ours. "
        f"Readings that reach a printed value: {', '.join(said)}.",
    )
    grid = figure.subplots(
        len(found), len(names), sharex="row", sharey="row", squeeze=False,
        height_ratios=[len(lines[metric]) + 1 for metric in found],
    )  # fmt: skip
    for metric, row in zip(found, grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            here = table[(table["metric"] == metric) & (table["defense"] == name)]
            axes.axvline(here["printed"].iloc[0], color=PRINTED, lw=2.5, zorder=1)
            for place, label in enumerate(lines[metric]):
                for each in here[here["label"] == label].to_dict("records"):
                    _mark(axes, each, place, color(name), metric == "mse")
            if metric == "mse":
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(numticks=3))
            else:
                axes.locator_params(axis="x", nbins=3)
            axes.tick_params(labelsize=8)
            axes.margins(x=0.06)
        rows_of(row[0], lines[metric])
        row[0].set_ylabel(TITLES[metric], fontweight="bold")
        for axes in row[1:]:
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
    for name, axes in zip(names, grid[0], strict=True):
        axes.set_title(wrap(shown(name), 14), fontsize=9)
    below(
        figure,
        [
            key("at the printed PSNR, or other images", "o", INK),
            key("as restored", "o", INK, hollow=True, line="none"),
            key(f"printed (Table {number})", "", PRINTED),
        ],
    )
    return figure


def _mark(axes: Axes, row: dict, place: int, paint: str, positive: bool) -> None:
    """One value; its range over images is a thin line and the interval of its mean a thick one."""
    numbers = np.array([row[name] for name in ("value", "low", "high", "least", "most")], float)
    if positive:
        numbers = np.where(numbers > 0, numbers, np.nan)
    value, low, high, least, most = numbers
    if np.isnan(value):
        return
    if row["images"] == "as restored":
        axes.plot(value, place, "o", ms=4.5, mfc="white", mec=paint, mew=1.1, zorder=2.5)
        return
    axes.plot([least, most], [place, place], color=paint, lw=0.9, zorder=2)
    axes.plot([low, high], [place, place], color=paint, lw=2.6, solid_capstyle="butt", zorder=2)
    axes.plot(value, place, "o", ms=4.5, mfc=paint, mec=INK, mew=0.5, zorder=3)
