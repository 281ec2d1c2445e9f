"""The figures of the results pages: what is recorded, beside what the paper prints."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from lib.figures import style
from lib.figures.attack import draw_successes, successes
from lib.figures.formatting import attack, many, percent, shown
from lib.figures.style import INK, PRINTED, color, key, styled
from lib.metrics.intervals import TOTAL
from lib.params import PATCHES

NOTHING = "Not recorded yet."
LINES = {1: "-", 2: "--"}  # by number of changed pixels
# Columns to draw defenses over: label, factor, and limits of the axis.
ACROSS = {
    "kept": ("clean prediction retention, %", 100, (-4, 104)), "psnr": ("PSNR, dB", 1, None),
}  # fmt: skip


@styled
def tradeoff(table: pd.DataFrame) -> Figure:
    """Label recovery rate over clean prediction retention, a mark for each defense.

    Args:
        table: ``panel, defense, n`` and ``recovered, kept`` with ``_low`` and ``_high``, shares
            0..1.
    """
    return _scatter(table, "kept")


@styled
def quality_and_recovery(table: pd.DataFrame) -> Figure:
    """Label recovery rate over PSNR of the restored images, a mark for each defense.

    Args:
        table: as `tradeoff`, and ``psnr`` with ``_low`` and ``_high``, in dB.
    """
    return _scatter(table, "psnr")


def _scatter(table: pd.DataFrame, across: str) -> Figure:
    if not len(table) or table["recovered"].isna().all():
        return style.message(NOTHING)
    names = list(dict.fromkeys(table["panel"]))
    label, scale, _ = ACROSS[across]
    digits = 0 if scale == 100 else 1
    said = [
        f"{row['panel']}, {shown(row['defense'])}: {scale * row[across]:.{digits}f} and "
        f"{percent(row['recovered'])}"
        for row in table.to_dict("records")
    ]
    figure, axes = style.panels(
        3.7, len(names), sharey=True, sharex=True, squeeze=False,
        alt=f"{label.split(',')[0]} and label recovery rate of each defense. {'; '.join(said)}.",
    )  # fmt: skip
    for part, name in zip(axes[0], names, strict=True):
        of = table[table["panel"] == name]
        draw_marks(part, of, across)
        part.set_title(f"{name}\n{many(int(of['n'].max()), 'attack')}")
        if len(names) > 2:
            part.set_xlabel(label.replace("prediction ", ""))
    axes[0][0].set_ylabel("label recovery rate, %")
    style.below(figure, defense_keys(table["defense"]), 4)
    return figure


@styled
def defenses(table: pd.DataFrame) -> Figure:
    """Label recovery rate over clean prediction retention, and over PSNR; a mark for each defense.

    Args:
        table: as `quality_and_recovery`, of one panel.
    """
    if not len(table) or table["recovered"].isna().all():
        return style.message(NOTHING)
    said = [
        f"{shown(row['defense'])} {percent(row['recovered'])}, {percent(row['kept'])}, "
        f"{row['psnr']:.1f} dB"
        for row in table.to_dict("records")
    ]
    figure, (left, right) = style.panels(
        3.9, 2, sharey=True,
        alt="Label recovery rate, clean prediction retention and PSNR of each defense: "
        f"{'; '.join(said)}.",
    )  # fmt: skip
    draw_marks(left, table)
    left.set_ylabel("label recovery rate, %")
    draw_marks(right, table, "psnr")
    right.set_xlabel("PSNR of the restored image, dB")
    figure.suptitle(
        f"{table['panel'].iloc[0]}: {many(int(table['n'].max()), 'successful attack')}",
        x=0.01, ha="left", fontsize=10.5,
    )  # fmt: skip
    style.below(figure, defense_keys(table["defense"]), 4)
    return figure


def draw_marks(axes: Axes, table: pd.DataFrame, across: str = "kept") -> None:
    """One panel of a scatter of defenses over a column of `ACROSS`, with both intervals."""
    label, scale, limits = ACROSS[across]
    for row in table.to_dict("records"):
        paint = color(row["defense"])
        x, y = scale * row[across], 100 * row["recovered"]
        ends = [scale * row[f"{across}_{end}"] for end in ("low", "high")]
        axes.plot(ends, [y, y], color=paint, lw=1, alpha=0.45)
        ends = [100 * row[f"recovered_{end}"] for end in ("low", "high")]
        axes.plot([x, x], ends, color=paint, lw=1, alpha=0.45)
        hollow = row["defense"].endswith(PATCHES)
        axes.plot(x, y, "o", ms=8, mec=paint if hollow else INK, mew=1.8 if hollow else 0.6,
                  mfc="white" if hollow else paint, zorder=3, clip_on=False)  # fmt: skip
    axes.set(xlabel=label, ylim=(-4, 104))
    if limits:
        axes.set_xlim(limits)


def defense_keys(names: Iterable[str]) -> list[Line2D]:
    """Legend of `draw_marks`."""
    return [
        key(shown(name), "o", color(name), name.endswith(PATCHES), line="none")
        for name in dict.fromkeys(names)
    ]


@styled
def success_by_class(table: pd.DataFrame) -> Figure:
    """Attack success by class, one panel a number of pixels, both classifiers, with printed values.

    Args:
        table: ``classifier, pixels, class, n, rate, low, high, printed``, shares 0..1, of one size
            of images; NaN where n is 0 or nothing is printed.
    """
    if not len(table) or not table["n"].sum():
        return style.message(NOTHING)
    counts, nets = sorted(table["pixels"].unique()), list(dict.fromkeys(table["classifier"]))
    classes = list(dict.fromkeys(table["class"]))
    said = [
        f"{attack(row['pixels'])}, {shown(row['classifier'])}, {row['class']}: "
        f"{percent(row['rate'])} of {row['n']}"
        for row in table.to_dict("records")
        if row["class"] == TOTAL
    ]
    figure, axes = style.panels(
        1.1 + 0.4 * len(classes), len(counts), sharey=True, sharex=True, squeeze=False,
        alt=f"Attack success by class beside the printed rates. Over all: {'; '.join(said)}.",
    )  # fmt: skip
    apart = np.linspace(-0.17, 0.17, len(nets)) if len(nets) > 1 else [0]
    shifts = dict(zip(nets, apart, strict=True))
    for part, pixels in zip(axes[0], counts, strict=True):
        for row in table[table["pixels"] == pixels].to_dict("records"):
            place = classes.index(row["class"]) + shifts[row["classifier"]]
            paint = color(row["classifier"])
            part.plot([100 * row["low"], 100 * row["high"]], [place] * 2, color=paint, lw=2)
            part.plot(100 * row["rate"], place, "o", color=paint, mec=INK, mew=0.6, ms=6.5)
            part.plot(100 * row["printed"], place, "D", color=PRINTED, mec=paint, mew=1.4, ms=5.5)
        part.set_title(attack(int(pixels)).capitalize())
        part.set_xlabel("attack success, %")
        part.set_xlim(-2, 102)
        style.bare(part)
    style.name_rows(axes[0][0], [style.wrap(name, 24) for name in classes])
    handles = [key(f"{shown(name)}, 95 % interval", "o", color(name)) for name in nets]
    style.below(figure, [*handles, style.printed_key()])
    return figure


@styled
def search(
    attacks: pd.DataFrame, places: pd.DataFrame, average: np.ndarray | None = None
) -> Figure:
    """How fast attacks succeed, and where the changed pixels of successful ones lie.

    Args:
        attacks: attack tables with ``classifier, pixels``, of one size of images.
        places: of `lib.evidence.results_tables.positions`, of the same attacks.
        average: mean of the clean images, uint8 (H, W, C), to lie under the places; None for none.
    """
    if not len(attacks):
        return style.message(NOTHING)
    lines = []
    for (classifier, pixels), group in attacks.groupby(["classifier", "pixels"], sort=False):
        lines.append((classifier, pixels, successes(group), len(group)))
    said = [
        f"{shown(name)}, {attack(pixels)}: half of {len(needed)} successes within "
        f"{np.median(needed):,.0f} queries"
        for name, pixels, needed, _ in lines
        if len(needed)
    ]
    figure, axes = style.panels(
        3.7, 2, width_ratios=[1.25, 1],
        alt=f"Queries until success, and places of the changed pixels. {'; '.join(said)}.",
    )  # fmt: skip
    last = attacks["evaluations"].max()
    for name, pixels, needed, n in lines:
        if len(needed):
            look = {"lw": 1.8, "color": color(name), "ls": LINES[pixels]}
            draw_successes(axes[0], needed, n, last, **look)
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes[0].set(xlabel="queries of the classifier", ylabel="attack success, %")
    axes[0].set_title("Convergence")
    axes[0].set_ylim(bottom=0)
    under = average is not None
    if under:
        axes[1].imshow(average.squeeze(), cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
    for name, group in places.groupby("classifier", sort=False):
        edge = {"lw": 0.5, "ec": "white"} if under else {"lw": 0, "alpha": 0.7}
        axes[1].scatter(group["x"], group["y"], 18, color=color(name), **edge)
    square = {"fill": False, "ec": "white" if under else INK, "ls": ":", "lw": 1}
    axes[1].add_patch(Rectangle((0.25, 0.25), 0.5, 0.5, **square))
    axes[1].set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xticks=[], yticks=[])
    axes[1].grid(False)
    axes[1].set_title("Changed pixels, average image" if under else "Changed pixels")
    axes[1].spines[["top", "right"]].set_visible(True)
    handles = [
        key(f"{shown(name)}, {attack(pixels).removesuffix(' attack')}", "", color(name),
            line=LINES[pixels])
        for name, pixels, *_ in lines
    ]  # fmt: skip
    style.below(figure, handles, 4 if len(handles) < 4 else 2)
    return figure


@styled
def sizes(table: pd.DataFrame) -> Figure:
    """Attack success over the size of the images, a panel for each data set.

    Args:
        table: ``dataset, classifier, pixels, size, rate, low, high``, shares 0..1.
    """
    if not len(table):
        return style.message(NOTHING)
    names = list(dict.fromkeys(table["dataset"]))
    said = [
        f"{shown(row['dataset'])}, {shown(row['classifier'])}, {attack(row['pixels'])}, "
        f"{row['size']} px: {percent(row['rate'])}"
        for row in table.to_dict("records")
    ]
    figure, axes = style.panels(
        3.6, len(names), sharey=True, squeeze=False,
        alt=f"Attack success by size of the image. {'; '.join(said)}.",
    )  # fmt: skip
    for part, name in zip(axes[0], names, strict=True):
        of = table[table["dataset"] == name]
        for (net, pixels), line in of.groupby(["classifier", "pixels"], sort=False):
            line = line.sort_values("size")
            paint = color(net)
            part.plot(line["size"], 100 * line["rate"], color=paint, lw=1.6, ls=LINES[pixels])
            for row in line.to_dict("records"):
                ends = [100 * row["low"], 100 * row["high"]]
                part.plot([row["size"]] * 2, ends, color=paint, lw=1.5, alpha=0.5)
                part.plot(row["size"], 100 * row["rate"], "o", ms=6.5, mec=paint, mew=1.5,
                          mfc=paint if pixels == 1 else "white", zorder=3)  # fmt: skip
        part.set_xscale("log")
        ticks = sorted(of["size"].unique())
        part.set_xticks(ticks, [str(tick) for tick in ticks])
        part.minorticks_off()
        part.margins(x=0.2)
        part.set_title(shown(name))
        part.set_xlabel("edge, pixels")
        part.set_ylim(-3, 103)
    axes[0][0].set_ylabel("attack success, %")
    nets = table[["classifier", "pixels"]].drop_duplicates().itertuples(index=False)
    handles = [
        key(f"{shown(net)}, {attack(pixels).removesuffix(' attack')}", "o", color(net),
            pixels == 2, LINES[pixels])
        for net, pixels in nets
    ]  # fmt: skip
    style.below(figure, handles, 2)
    return figure
