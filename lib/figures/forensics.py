"""Printed image measures among what our images give when they are measured in other ways."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from lib.figures import style
from lib.figures.formatting import shown
from lib.figures.style import INK, PRINTED, WIDTH, Picture, color, key, styled

TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "mse": "MSE", "gmsd": "GMSD", "fsim": "FSIM"}
ROW = 0.19  # inches of a line


@styled
def readings(table: pd.DataFrame, number: int) -> Figure:
    """Each printed value, a gray line, among our values by every reading; a column for each
    defense.

    Args:
        table: rows of `lib.evidence.forensics.compare`. The sets of images "as restored" and "at
            the printed PSNR" share one line for each variant, every other set has a line of its
            own.
        number: of the printed table.
    """
    if not len(table) or not table["n"].sum():
        return style.message("No attack succeeded: there is no restored image to measure.")
    names = list(dict.fromkeys(table["defense"]))
    by_metric = {metric: table[table["metric"] == metric] for metric in TITLES}
    lines = {m: list(dict.fromkeys(of["label"])) for m, of in by_metric.items() if len(of)}
    reached = [
        f"{TITLES[m]} {by_metric[m].query('reached')['label'].nunique()} of {len(labels)}"
        for m, labels in lines.items()
    ]
    figure = Picture(
        figsize=(WIDTH, 0.9 + sum(0.42 + ROW * len(labels) for labels in lines.values())),
        layout="constrained",
        label=f"Printed values of Table {number} and ours, for {', '.join(map(shown, names))}. "
        f"Readings that reach a printed value: {', '.join(reached)}.",
    )
    grid = figure.subplots(
        len(lines), len(names), sharex="row", sharey="row", squeeze=False,
        height_ratios=[len(labels) + 1 for labels in lines.values()],
    )  # fmt: skip
    for (metric, labels), row in zip(lines.items(), grid, strict=True):
        for name, axes in zip(names, row, strict=True):
            here = by_metric[metric][by_metric[metric]["defense"] == name]
            axes.axvline(here["printed"].iloc[0], color=PRINTED, lw=2.5, zorder=1)
            for each in here.to_dict("records"):
                _mark(axes, each, labels.index(each["label"]), color(name))
            if metric == "mse":
                axes.set_xscale("log", nonpositive="mask")
                axes.xaxis.set_major_locator(LogLocator(numticks=3))
            else:
                axes.locator_params(axis="x", nbins=3)
            axes.tick_params(labelsize=8)
            axes.margins(x=0.06)
            style.bare(axes)
        style.name_rows(row[0], labels)
        row[0].set_ylabel(TITLES[metric], fontweight="bold")
    for name, axes in zip(names, grid[0], strict=True):
        axes.set_title(style.wrap(shown(name), 14), fontsize=9)
    style.below(figure, [
        key("at the printed PSNR, or other images", "o", INK),
        key("as restored", "o", INK, hollow=True, line="none"),
        key(f"printed (Table {number})", "", PRINTED),
    ])  # fmt: skip
    return figure


def _mark(axes: Axes, row: dict, place: int, paint: str) -> None:
    """One value; a thin line is its range over images, a thick one the interval of its mean."""
    if row["images"] == "as restored":
        axes.plot(row["value"], place, "o", ms=4.5, mfc="white", mec=paint, mew=1.1, zorder=2.5)
        return
    for ends, width in (("least", "most"), 0.9), (("low", "high"), 2.6):
        bounds = [row[end] for end in ends]
        axes.plot(bounds, [place, place], color=paint, lw=width, solid_capstyle="butt")
    axes.plot(row["value"], place, "o", ms=4.5, mfc=paint, mec=INK, mew=0.5, zorder=3)
