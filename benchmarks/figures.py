"""The engine: windows that grow, where the work is, rates, and what a search finds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from benchmarks.engine import Growth
from lib.figures import style
from lib.figures.formatting import many, place, shown
from lib.figures.style import BAD, COLORS, FAINT, INK, OURS, WIDTH, Picture, key, styled

PEER = COLORS["autoencoder"]
PLAIN_BAR = "#888888"
PLACES = ("input", "stem", "stage 1", "stage 2", "stage 3", "stage 4")
SMALLEST = 1e-4  # of the largest difference; what is smaller has the palest color
CHANGE = LinearSegmentedColormap.from_list("change", ["#cfe5f2", OURS, "#002f4a"])
NOT_MEASURED = "No speed was measured."


@styled
def growth(found: Growth) -> Figure:
    """How the change of one pixel spreads: maps with their windows, and all layers' edges."""
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
    for column, (title, n, change, corner) in enumerate(rows):
        axes = figure.add_subplot(grid[0, column])
        _map(axes, change, corner, int(layers["window"][n]))
        axes.set_title(title, loc="center")
        about = "whole map" if layers["whole"][n] else f"window {layers['window'][n]}"
        axes.set_xlabel(f"map {layers['map'][n]}\n{about}", fontsize=9)
    axes = figure.add_subplot(grid[1, :])
    places = np.arange(len(layers))
    paints = np.where(layers["whole"], PLAIN_BAR, OURS)
    axes.bar(places, layers["map"] - 0.5, 0.86, 0.5, color=FAINT)
    axes.bar(places, layers["window"] - 0.5, 0.86, 0.5, color=paints)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(
        xlim=(-0.6, len(layers) - 0.4), ylim=(0.5, 1.3 * layers["map"].max()), title=name,
        ylabel="edge, logarithmic",
    )  # fmt: skip
    axes.grid(False, axis="x")
    bounds = np.array([-1, *found.shown[1:]])  # a name in the middle of its part; input with stem
    axes.set_xticks((bounds[:-1] + 1 + bounds[1:]) / 2, PLACES[1:], fontsize=9)
    if layers["whole"].any():
        axes.axvline(int(layers["whole"].argmax()) - 0.5, color=INK, ls="--", lw=1.2)
    handles = [
        Patch(color=FAINT, label="map"),
        Patch(color=OURS, label="window, computed"),
        Patch(color=PLAIN_BAR, label="window, whole map computed"),
        Line2D([], [], color=INK, ls="--", lw=1.2, label="whole maps from here"),
    ]
    style.below(figure, handles, 2)
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
    """Multiply-adds of a candidate by stage, of `benchmarks.engine.profile`."""
    reach = found["windows"] + found["gathered"]
    spoken = style.in_words(found, ["stage"], ["windows", "whole"], "{:,.0f}".format)
    figure, axes = style.rows(
        list(found["stage"]), 0.38, title=title, xlabel="million multiply-adds per candidate",
        xlim=(0, 1.12 * max(found["whole"].max(), reach.max())),
        alt=f"{title}: million multiply-adds with windows and whole: {spoken}.",
    )  # fmt: skip
    places = np.arange(len(found))
    axes.barh(places - 0.19, found["whole"], 0.36, color=PLAIN_BAR)
    axes.barh(places + 0.19, found["windows"], 0.36, color=OURS)
    axes.barh(places + 0.19, found["gathered"], 0.36, left=found["windows"], color=PEER)
    for values, shift in ((found["whole"], -0.19), (reach, 0.19)):
        for at, value in enumerate(values):
            text = f"{value:,.0f}" if value >= 1 else "< 1"
            style.note(axes, text, (value, at + shift), (4, 0), va="center")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    style.below(figure, [
        Patch(color=PLAIN_BAR, label="whole maps"),
        Patch(color=OURS, label="windows, then whole maps"),
        Patch(color=PEER, label="copying into windows"),
    ])  # fmt: skip
    return figure


@styled
def throughput(rates: pd.DataFrame, model: str, device: str) -> Figure:
    """Speed of every method over the plain network; ``rates`` is the table ``attack``."""
    chosen = rates[(rates["model"] == model) & (rates["device"] == device)]
    if not len(chosen):
        return style.message(NOT_MEASURED)
    bars, at = [], 0.0
    for (size, pixels), group in chosen.groupby(["size", "pixels"], sort=False):
        bars.append((at, f"{size} px, {many(pixels, 'pixel')}", None))  # a heading
        bars += [
            (at + n, f"{row.method}, {row.dtype}", row)
            for n, row in enumerate(group.itertuples(), start=1)
        ]
        at = bars[-1][0] + 1.3
    spoken = ", ".join(
        f"{row.method} {row.size} px {row.dtype} {row.pixels} px: {row.ratio_to_plain_dense:.2f}"
        for row in chosen.itertuples()
    )
    figure, axes = style.panels(
        0.8 + 0.215 * at, alt=f"{shown(model)} on {device}, times the plain network: {spoken}."
    )
    for y, label, row in bars:
        if row is not None:
            ratio = row.ratio_to_plain_dense
            paint = {"ours": OURS, "plai": PLAIN_BAR}.get(label[:4], PEER)
            axes.barh(y, ratio, 0.78, color=paint)
            text = f"{ratio:.2f}x, {row.candidates_per_second:,.0f} /s"
            style.note(axes, text, (ratio, y), (4, 0), va="center")
    axes.axvline(1, color=FAINT, lw=1.2, zorder=0)
    axes.set_yticks([y for y, _, _ in bars], [label for _, label, _ in bars], fontsize=9)
    for tick, (_, _, row) in zip(axes.get_yticklabels(), bars, strict=True):
        tick.set_fontweight("normal" if row is not None else "bold")
    style.bare(axes)
    axes.set(
        xlim=(0, 1.35 * chosen["ratio_to_plain_dense"].max()), ylim=(at - 0.6, -0.7),
        xlabel="times the plain network in float32; beside the bars: candidates/s",
        title=f"{shown(model)}, {device}",
    )  # fmt: skip
    return figure


@styled
def peers(found: pd.DataFrame) -> Figure:
    """Success rates of the table ``peers``, ours and others with equal budgets."""
    if not len(found):
        return style.message("No other program was measured.")
    case = ["dataset", "model", "pixels"]
    found = found.sort_values(case, kind="stable", ignore_index=True)
    labels = [
        f"{place(*names)}: {method}, n = {n:,}"
        for *names, method, n in found[[*case, "method", "images"]].itertuples(index=False)
    ]
    spoken = style.in_words(found.assign(label=labels), ["label"], ["rate"])
    figure, axes = style.rows(
        labels, 0.32, xlim=(-2, 102), xlabel="success rate, %", alt=f"Success rates: {spoken}."
    )
    paints = np.where(found["method"].str.startswith("ours"), OURS, PEER)
    style.dots(axes, found, "rate", paints, scale=100)
    style.separators(axes, found[case])
    style.below(figure, [key("ours, 95 % interval", "o", OURS), key("other programs", "o", PEER)])
    return figure


@styled
def vulnerable(found: pd.DataFrame) -> Figure:
    """Share of positions at which some color changes the prediction, of the table ``recall``."""
    if not len(found):
        return style.message("No image was mapped.")
    found = found.sort_values("share_vulnerable", kind="stable", ignore_index=True)
    share = found["share_vulnerable"].to_numpy(float)
    success, mapped = found["search_success"].to_numpy(bool), share > 0
    figure, axes = style.panels(
        3.4,
        alt=f"{many(len(found), 'image')}, {mapped.sum()} with a vulnerable position; the search "
        f"succeeded on {(success & mapped).sum()} of these and {(success & ~mapped).sum()} of the "
        "others.",
    )
    floor = 0.5 / found["positions"].max()  # below one position: where no position is vulnerable
    places, shares = np.arange(len(found)) + 1, np.maximum(share, floor)
    axes.plot(places[success], shares[success], "o", ms=6, mfc=OURS, mec=INK, mew=0.5)
    axes.plot(places[~success], shares[~success], "o", ms=6, mfc="white", mec=BAD, mew=1.4)
    label = "image, sorted"
    if not mapped.all():
        axes.axhline(1.5 * floor, color=FAINT, lw=1)
        label += ", below the line: none"
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", ylim=(0.7 * floor, 1.5), xlabel=label, ylabel="vulnerable positions")
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{100 * value:g} %" if value > 1.5 * floor else ""
    )
    style.below(figure, [
        key("search succeeded", "o", OURS, line="none"),
        key("search failed", "o", BAD, hollow=True, line="none"),
    ])  # fmt: skip
    return figure
