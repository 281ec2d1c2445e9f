"""The figures of the results pages: what is recorded, beside what the paper prints."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lib.figures import style
from lib.figures.attack import draw_successes, successes
from lib.figures.formatting import attack, many, percent, shown
from lib.figures.style import COLORS, INK, color, key, look, styled
from lib.metrics.intervals import TOTAL
from lib.params import PATCHES

NOTHING = "Not recorded yet."
LINES = {1: "-", 2: "--"}  # by number of changed pixels
# Columns to draw defenses over: label, factor, and limits of the axis.
ACROSS = {
    "kept": ("clean prediction retention, %", 100, (-4, 104)),
    "psnr": ("PSNR of the restored image, dB", 1, None),
}
NARROW = {"kept": "clean retention, %", "psnr": "PSNR, dB"}  # labels of narrow axes
TEXT = {"recovered": percent, "kept": percent, "psnr": "{:.1f} dB".format}


@styled
def recovery_over(table: pd.DataFrame, *across: str) -> Figure:
    """Label recovery rate over clean prediction retention or PSNR, a mark for each defense.

    Args:
        table: ``panel, defense, n``, ``recovered`` and the columns of ``across``, each with
            ``_low`` and ``_high``; shares are 0..1, the PSNR of restored images is in dB.
        across: of `ACROSS`; with several of them, the table has one panel.
    """
    if not len(table) or table["recovered"].isna().all():
        return style.message(NOTHING)
    columns = ["recovered", *across]
    words = table.assign(**{column: table[column].map(TEXT[column]) for column in columns})
    labels = ", ".join(ACROSS[column][0].split(",")[0] for column in across)
    panels = [(*of, column) for of in table.groupby("panel", sort=False) for column in across]
    figure, axes = style.panels(
        3.9, len(panels), sharey=True, sharex=len(across) == 1,
        alt=f"Label recovery rate, {labels} of each defense. "
        f"{style.in_words(words, ['panel', 'defense'], columns, str)}.",
    )  # fmt: skip
    narrow = len(panels) > 2
    for part, (name, of, column) in zip(axes, panels, strict=True):
        draw_marks(part, of, column)
        attacks = many(int(of["n"].max()), "attack" if narrow else "successful attack")
        if column == across[0]:
            part.set_title(f"{name}\n{attacks}")
        if narrow:
            part.set_xlabel(NARROW[column])
    axes[0].set_ylabel("label recovery rate, %")
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
        mark = look("o", paint, row["defense"].endswith(PATCHES))
        axes.plot(x, y, "o", zorder=3, clip_on=False, **mark)
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
    panels, nets = table.groupby("pixels"), table["classifier"].unique()
    classes = table["class"].unique()
    whole = table[table["class"] == TOTAL]
    whole = whole.assign(attack=whole["pixels"].map(attack), n=whole["n"].map("n = {}".format))
    figure, axes = style.panels(
        1.1 + 0.4 * len(classes), len(panels), sharey=True, sharex=True,
        alt="Attack success by class beside the printed rates. Over all: "
        f"{style.in_words(whole, ['attack', 'classifier', 'n'], ['rate'])}.",
    )  # fmt: skip
    shifts = np.linspace(-0.17, 0.17, len(nets)) if len(nets) > 1 else [0]
    for part, (pixels, of) in zip(axes, panels, strict=True):
        for net, shift in zip(nets, shifts, strict=True):
            rows = of[of["classifier"] == net].set_index("class").reindex(classes)
            style.dots(part, rows, "rate", [color(net)] * len(classes), shift, 100)
            style.diamonds(part, 100 * rows["printed"], shift, mec=color(net), mew=1.4)
        part.set(title=attack(pixels).capitalize(), xlabel="attack success, %", xlim=(-2, 102))
        style.bare(part)
    style.name_rows(axes[0], [style.wrap(name, 24) for name in classes])
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
    groups = attacks.groupby(["classifier", "pixels"], sort=False)
    lines = [(*names, successes(of), len(of)) for names, of in groups]
    said = [
        f"{shown(name)}, {attack(pixels)}: half of {len(needed)} successes within "
        f"{np.median(needed):,.0f} queries"
        for name, pixels, needed, _ in lines
        if len(needed)
    ]
    figure, (left, right) = style.panels(
        3.7, 2, width_ratios=[1.25, 1],
        alt=f"Queries until success, and places of the changed pixels. {'; '.join(said)}.",
    )  # fmt: skip
    last = attacks["evaluations"].max()
    for name, pixels, needed, n in lines:
        if len(needed):
            line = {"lw": 1.8, "color": color(name), "ls": LINES[pixels]}
            draw_successes(left, needed, n, last, **line)
    left.set(
        title="Convergence", xlabel="queries of the classifier", ylabel="attack success, %",
        xscale="log",
    )  # fmt: skip
    left.set_ylim(bottom=0)
    left.xaxis.set_major_formatter("{x:,.0f}")
    under = average is not None
    if under:
        right.imshow(average.squeeze(), cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
    edge = {"lw": 0.5, "ec": "white"} if under else {"lw": 0, "alpha": 0.7}
    for name, group in places.groupby("classifier", sort=False):
        right.scatter(group["x"], group["y"], 18, color=color(name), **edge)
    square = {"fill": False, "ec": "white" if under else INK, "ls": ":", "lw": 1}
    right.add_patch(Rectangle((0.25, 0.25), 0.5, 0.5, **square))
    right.set(
        title="Changed pixels, average image" if under else "Changed pixels", xlim=(0, 1),
        ylim=(1, 0), aspect="equal", xticks=[], yticks=[],
    )  # fmt: skip
    right.grid(False)
    right.spines[["top", "right"]].set_visible(True)
    style.below(figure, _attack_keys([line[:2] for line in lines], ""), 4 if len(lines) < 4 else 2)
    return figure


@styled
def sizes(table: pd.DataFrame) -> Figure:
    """Attack success over the size of the images, a panel for each data set.

    Args:
        table: ``dataset, classifier, pixels, size, rate, low, high``, shares 0..1.
    """
    if not len(table):
        return style.message(NOTHING)
    panels = table.groupby("dataset", sort=False)
    words = {"attack": table["pixels"].map(attack), "size": table["size"].map("{} px".format)}
    said = style.in_words(
        table.assign(**words), ["dataset", "classifier", "attack", "size"], ["rate"]
    )
    figure, axes = style.panels(
        3.6, len(panels), sharey=True,
        alt=f"Attack success by size of the image. {said}.",
    )  # fmt: skip
    for part, (name, of) in zip(axes, panels, strict=True):
        for (net, pixels), line in of.groupby(["classifier", "pixels"], sort=False):
            line, paint = line.sort_values("size"), color(net)
            ends = 100 * line["low"], 100 * line["high"]
            part.vlines(line["size"], *ends, paint, lw=1.5, alpha=0.5)
            mark = {"marker": "o", "ls": LINES[pixels]} | look("o", paint, pixels == 2)
            part.plot(line["size"], 100 * line["rate"], color=paint, lw=1.6, zorder=3, **mark)
        part.set(title=shown(name), xlabel="edge, pixels", xscale="log", ylim=(-3, 103))
        ticks = sorted(of["size"].unique())
        part.set_xticks(ticks, ticks)
        part.minorticks_off()
        part.margins(x=0.2)
    axes[0].set_ylabel("attack success, %")
    attacks = table[["classifier", "pixels"]].drop_duplicates().itertuples(index=False)
    style.below(figure, _attack_keys(attacks, "o"), 2)
    return figure


def _attack_keys(attacks: Iterable[tuple[str, int]], marker: str) -> list[Line2D]:
    """Legend of attacks by classifier and number of pixels."""
    return [
        key(f"{shown(net)}, {attack(pixels).removesuffix(' attack')}", marker, color(net),
            pixels == 2, LINES[pixels])
        for net, pixels in attacks
    ]  # fmt: skip


@styled
def by_confidence(table: pd.DataFrame, levels: Sequence[str]) -> Figure:
    """Attack success over the classifier's confidence in the correct class, by panel and line.

    Args:
        table: ``panel, line`` (a classifier, or any text), ``confidence``, ``rate, low, high``,
            shares 0..1.
        levels: of ``confidence``, in percent, in order.
    """
    if not len(table):
        return style.message(NOTHING)
    panels, paints = table.groupby("panel", sort=False), line_colors(table["line"])
    percents = table.assign(confidence=table["confidence"] + " %")
    said = style.in_words(percents, ["panel", "line", "confidence"], ["rate"])
    figure, axes = style.panels(
        3.4, len(panels), sharey=True,
        alt=f"Attack success by the classifier's confidence in the correct class. {said}.",
    )  # fmt: skip
    for part, (name, of) in zip(axes, panels, strict=True):
        draw_confidence(part, of, levels, paints)
        part.set_title(name)
    axes[0].set_ylabel("attack success, %")
    style.below(figure, line_keys(paints), 4)
    return figure


def draw_confidence(
    axes: Axes, table: pd.DataFrame, levels: Sequence[str], paints: dict[str, str]
) -> None:  # fmt: skip
    """One panel of `by_confidence`, with the lines that have a color."""
    shifts = np.linspace(-0.15, 0.15, len(paints)) if len(paints) > 1 else [0]
    for (line, paint), shift in zip(paints.items(), shifts, strict=True):
        rows = table[table["line"] == line]
        at = np.array([levels.index(level) for level in rows["confidence"]]) + shift
        axes.vlines(at, 100 * rows["low"], 100 * rows["high"], paint, lw=1.5, alpha=0.5)
        mark = {"marker": "o", "lw": 1.6, "color": paint, "zorder": 3} | look("o", paint)
        axes.plot(at, 100 * rows["rate"], **mark)
    axes.set_xticks(range(len(levels)), levels, fontsize=8.5)
    axes.set(xlabel="confidence, %", xlim=(-0.5, len(levels) - 0.5), ylim=(-4, 104))


def line_colors(lines: Iterable[str]) -> dict[str, str]:
    """A color for each line: its own, or one of a ramp."""
    names = [*dict.fromkeys(lines)]
    ramp = seaborn.color_palette("crest", len(names)).as_hex()
    return {name: COLORS.get(name, paint) for name, paint in zip(names, ramp, strict=True)}


def line_keys(paints: dict[str, str]) -> list[Line2D]:
    """Legend of `draw_confidence`."""
    return [key(shown(line), "o", paint) for line, paint in paints.items()]
