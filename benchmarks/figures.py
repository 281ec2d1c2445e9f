"""The engine: windows that grow, where the work is, rates, and what a search finds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.engine import Growth
from lib.figures.formatting import many, percent, shown
from lib.figures.style import (
    BAD,
    COLORS,
    FAINT,
    INK,
    OURS,
    WIDTH,
    Picture,
    below,
    key,
    message,
    panels,
    points,
    rows_of,
    styled,
)

PEER = COLORS["autoencoder"]
PLAIN_BAR = "#888888"
PLACES = ("input", "stem", "stage 1", "stage 2", "stage 3", "stage 4")
SMALLEST = 1e-4  # of the largest difference; what is smaller has the palest color
CHANGE = LinearSegmentedColormap.from_list("change", ["#cfe5f2", OURS, "#002f4a"])
NOT_MEASURED = "No rate was measured."


@styled
def growth(found: Growth) -> Figure:
    """How the change of one pixel spreads: maps with their windows, and all layers' edges.

    Args:
        found: of `benchmarks.engine.growth`.
    """
    layers, name = found.layers, shown(found.classifier)
    sizes = ", ".join(
        f"{place} {layers['window'][n]} of {layers['map'][n]}"
        for place, n in zip(PLACES, found.shown, strict=True)
    )
    figure = Picture(
        figsize=(WIDTH, 4.6), layout="constrained",
        label=f"{name}: edge of the window that one changed pixel reaches, of the map: {sizes}.",
    )  # fmt: skip
    grid = figure.add_gridspec(2, len(PLACES), height_ratios=[1, 1.7])
    rows = zip(PLACES, found.shown, found.differences, found.corners, strict=True)
    for column, (place, n, change, corner) in enumerate(rows):
        axes = figure.add_subplot(grid[0, column])
        _map(axes, change, corner, int(layers["window"][n]))
        axes.set_title(place, loc="center")
        about = "whole map" if layers["whole"][n] else f"window {layers['window'][n]}"
        axes.set_xlabel(f"map {layers['map'][n]}\n{about}", fontsize=9)
    axes = figure.add_subplot(grid[1, :])
    places = np.arange(len(layers))
    paints = np.where(layers["whole"], PLAIN_BAR, OURS)
    axes.bar(places, layers["map"] - 0.5, 0.86, 0.5, color=FAINT)
    axes.bar(places, layers["window"] - 0.5, 0.86, 0.5, color=paints)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0.5, 1.3 * layers["map"].max())
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.grid(False, axis="x")
    bounds = np.array([-1, *found.shown[1:]])  # a name in the middle of its part; input with stem
    axes.set_xticks((bounds[:-1] + 1 + bounds[1:]) / 2, PLACES[1:], fontsize=9)
    axes.set_ylabel("edge, logarithmic")
    axes.set_title(name)
    if layers["whole"].any():
        axes.axvline(int(layers["whole"].argmax()) - 0.5, color=INK, ls="--", lw=1.2)
    handles = [
        Patch(color=FAINT, label="map"),
        Patch(color=OURS, label="window, computed"),
        Patch(color=PLAIN_BAR, label="window, whole map computed"),
        Line2D([], [], color=INK, ls="--", lw=1.2, label="whole maps from here"),
    ]
    below(figure, handles, 2)
    return figure


def _map(axes: Axes, change: np.ndarray, corner: tuple[int, int], window: int) -> None:
    """One map in gray, what differs in color, the window outlined."""
    size, largest = len(change), change.max()
    axes.set_facecolor(FAINT)
    axes.grid(False)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=[], yticks=[], aspect=1)
    if largest > 0:
        # Rounding differs between places of a batch in some libraries: no difference of ours.
        seen = np.ma.masked_less_equal(change, 1e-9 * largest)
        norm = LogNorm(SMALLEST * largest, largest, clip=True)
        axes.imshow(seen, cmap=CHANGE, norm=norm, interpolation="nearest")
    # Outside of what it frames, so that a window of one place is seen.
    margin = 0.5 + 0.01 * size
    edge = window + 2 * margin - 1
    start = (corner[1] - margin, corner[0] - margin)
    axes.add_patch(Rectangle(start, edge, edge, fill=False, ec=BAD, lw=1.4, clip_on=False))


@styled
def work(found: pd.DataFrame, title: str) -> Figure:
    """Multiply-adds of a candidate by stage, on whole maps and as planned.

    Args:
        found: of `benchmarks.engine.profile`.
        title: network, size and pixels.
    """
    said = ", ".join(
        f"{row.stage} {row.windows:,.0f} of {row.whole:,.0f}" for row in found.itertuples()
    )
    figure, axes = panels(3.0, alt=f"{title}: million multiply-adds with windows: {said}.")
    places = np.arange(len(found))
    axes.barh(places - 0.19, found["whole"], 0.36, color=PLAIN_BAR)
    axes.barh(places + 0.19, found["windows"], 0.36, color=OURS)
    axes.barh(places + 0.19, found["gathered"], 0.36, left=found["windows"], color=PEER)
    reach = found["windows"] + found["gathered"]
    for place, (whole, both) in enumerate(zip(found["whole"], reach, strict=True)):
        for value, shift in ((whole, -0.19), (both, 0.19)):
            axes.annotate(
                f"{value:,.0f}" if value >= 1 else "< 1", (value, place + shift), (4, 0),
                textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
    rows_of(axes, list(found["stage"]))
    axes.set_xlim(0, 1.12 * max(found["whole"].max(), reach.max()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("million multiply-adds of a candidate")
    axes.set_title(title)
    handles = [
        Patch(color=PLAIN_BAR, label="whole maps"),
        Patch(color=OURS, label="windows, then whole maps"),
        Patch(color=PEER, label="gathering, as the plan counts it"),
    ]
    below(figure, handles)
    return figure


@styled
def throughput(rates: pd.DataFrame, model: str, device: str) -> Figure:
    """Speed of every method over the plain network on one model and device.

    Args:
        rates: the table ``attack`` of `benchmarks.measured`.
        model: classifier.
        device: ``cpu`` or ``cuda``.
    """
    chosen = rates[(rates["model"] == model) & (rates["device"] == device)]
    if not len(chosen):
        return message(NOT_MEASURED)
    bars, places, at = [], [], 0.0
    for (size, pixels), group in chosen.groupby(["size", "pixels"], sort=False):
        bars.append((at, f"{size} px, {many(pixels, 'pixel')}", None))  # a heading
        for row in group.itertuples():
            at += 1
            bars.append((at, f"{row.method}, {row.dtype}", row))
        at += 1.3
    said = ", ".join(
        f"{row.method} {row.size} px {row.dtype} {row.pixels} px: {row.ratio_to_plain_dense:.2f}"
        for row in chosen.itertuples()
    )
    figure, axes = panels(
        0.8 + 0.215 * at, alt=f"{shown(model)} on {device}, times the plain network: {said}."
    )
    for place, label, row in bars:
        places.append(place)
        if row is None:
            continue
        paint = OURS if label.startswith("ours") else PEER
        paint = PLAIN_BAR if label.startswith("plain") else paint
        axes.barh(place, row.ratio_to_plain_dense, 0.78, color=paint)
        axes.annotate(
            f"{row.ratio_to_plain_dense:.2f}x, {row.candidates_per_second:,.0f} /s",
            (row.ratio_to_plain_dense, place), (4, 0), textcoords="offset points", va="center",
            fontsize=9,
        )  # fmt: skip
    axes.axvline(1, color=FAINT, lw=1.2, zorder=0)
    axes.set_yticks(places, [label for _, label, _ in bars], fontsize=9)
    for tick, (_, _, row) in zip(axes.get_yticklabels(), bars, strict=True):
        tick.set_fontweight("normal" if row is not None else "bold")
    axes.set_ylim(at - 0.6, -0.7)
    axes.set_xlim(0, 1.35 * chosen["ratio_to_plain_dense"].max())
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times the plain network in float32; candidates a second beside the bars")
    axes.set_title(f"{shown(model)}, {device}")
    return figure


@styled
def peers(found: pd.DataFrame) -> Figure:
    """Success rates of ours and of the peers with equal budgets, with their intervals.

    Args:
        found: the table ``peers`` of `benchmarks.measured`.
    """
    if not len(found):
        return message("No peer was measured.")
    found = found.sort_values(["dataset", "model", "pixels"], kind="stable")
    rows = found.to_dict("records")
    labels = [
        f"{shown(row['dataset'])}, {shown(row['model'])}, {many(row['pixels'], 'pixel')}: "
        f"{row['method']}, n = {row['images']:,}"
        for row in rows
    ]
    said = [f"{label} {percent(row['rate'])}" for label, row in zip(labels, rows, strict=True)]
    figure, axes = panels(1.1 + 0.32 * len(rows), alt=f"Success rates: {'; '.join(said)}.")
    numbers = 100 * found[["rate", "low", "high"]].to_numpy(float)
    paints = [OURS if row["method"].startswith("ours") else PEER for row in rows]
    points(axes, numbers[:, 0], range(len(rows)), numbers[:, 1], numbers[:, 2], paints)
    rows_of(axes, labels)
    case = found[["dataset", "model", "pixels"]].reset_index(drop=True)
    for place in np.flatnonzero(case.ne(case.shift()).any(axis=1))[1:]:
        axes.axhline(place - 0.5, color=FAINT, lw=1)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("success rate, %")
    below(figure, [key("ours, 95 % interval", "o", OURS), key("peers", "o", PEER)])
    return figure


@styled
def vulnerable(found: pd.DataFrame) -> Figure:
    """Share of positions at which some color fools the classifier, image by image.

    Args:
        found: the table ``recall`` of `benchmarks.measured`.
    """
    if not len(found):
        return message("No image was mapped.")
    found = found.sort_values("share_vulnerable", kind="stable", ignore_index=True)
    share = found["share_vulnerable"].to_numpy(float)
    fooled = found["search_success"].to_numpy(bool)
    mapped = int((share > 0).sum())
    figure, axes = panels(
        3.4,
        alt=f"{many(len(found), 'image')}, {mapped} with a vulnerable position; the search fooled "
        f"{int((fooled & (share > 0)).sum())} of these and "
        f"{int((fooled & (share == 0)).sum())} of the others.",
    )
    floor = 0.5 / found["positions"].max()  # below one position: where no position is vulnerable
    places, shares = np.arange(len(found)) + 1, np.maximum(share, floor)
    axes.plot(places[fooled], shares[fooled], "o", ms=6, mfc=OURS, mec=INK, mew=0.5)
    axes.plot(places[~fooled], shares[~fooled], "o", ms=6, mfc="white", mec=BAD, mew=1.4)
    if mapped < len(found):
        axes.axhline(1.5 * floor, color=FAINT, lw=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yscale("log")
    axes.set_ylim(0.7 * floor, 1.5)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:g} %" if value > 1.5 * floor else "")
    )
    axes.set_xlabel("image, sorted" + (", below the line: none" if mapped < len(found) else ""))
    axes.set_ylabel("vulnerable positions")
    handles = [
        key("fooled by the search", "o", OURS, line="none"),
        key("not fooled", "o", BAD, hollow=True, line="none"),
    ]
    below(figure, handles)
    return figure
