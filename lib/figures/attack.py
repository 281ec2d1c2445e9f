"""Attacks: the images, the search, and how often it succeeds."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from lib.figures import formatting, gallery
from lib.figures.formatting import many, percent
from lib.figures.style import (
    INK,
    OURS,
    below,
    diamonds,
    key,
    message,
    panels,
    points,
    printed_key,
    rows_of,
    styled,
    wrap,
)
from lib.metrics.intervals import CLASS_MEAN, TOTAL
from lib.params.dataset_info import Facts

CROP = 9  # pixels of the magnified part, the changed one in the middle where the edge allows
NOTHING = "No image was attacked."


@styled
def attacks(
    clean: np.ndarray,
    adversarial: np.ndarray,
    records: pd.DataFrame,
    facts: Facts,
    limit: int = 6,
) -> Figure:
    """Attacked images: clean, attacked with the changed pixels circled, and magnified.

    Under each stand the decision and the true class's confidence before and after; for multi-label
    sets the smallest signed margin, which is below 0 when a label is on the wrong side.

    Args:
        clean: uint8 (N, H, W, C).
        adversarial: the same images after the attack.
        records: N attack records, in the same order.
        facts: of the data set.
        limit: images shown, the first ones.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    gallery.same_images(clean=clean, adversarial=adversarial)
    chosen = list(records.head(limit).itertuples())
    if not chosen:
        return message(NOTHING)
    blocks = min(2, len(chosen))
    rows = -(-len(chosen) // blocks)
    size = clean.shape[1]
    texts = [_before_and_after(record, facts) for record in chosen]
    said = "; ".join(text.replace("\n", " ") for text in texts)
    figure, axes = gallery.grid(
        rows, 3 * blocks, foot=0.66, block=3,
        alt=f"{many(len(chosen), 'attacked image')} of {facts.title}, changed pixels circled: "
        f"{said}.",
    )  # fmt: skip
    for place, record in enumerate(chosen):
        tiles = axes[place // blocks, 3 * (place % blocks) :][:3]
        gallery.show(tiles[0], clean[place])
        gallery.show(tiles[1], adversarial[place])
        gallery.circle(tiles[1], record.rows, record.cols, size)
        row, col = record.rows[0], record.cols[0]
        gallery.show(tiles[2], adversarial[place], detail=size)
        top, left = (int(np.clip(at - CROP // 2, 0, size - CROP)) for at in (row, col))
        tiles[2].set(xlim=(left - 0.5, left + CROP - 0.5), ylim=(top + CROP - 0.5, top - 0.5))
        tiles[2].add_patch(Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, ec="black", lw=3))
        tiles[2].add_patch(
            Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, ec=gallery.MARK, lw=1.4)
        )
        gallery.caption(tiles[1], texts[place])
        if place < blocks:
            for tile, text in zip(tiles, ("clean", "attacked", "magnified"), strict=True):
                gallery.heading(tile, text)
    return figure


def _before_and_after(record, facts: Facts) -> str:
    measure = "margin" if facts.multi_label else "confidence in the true class"
    before = gallery.decision(record.predicted, facts)
    after = gallery.change(record.predicted, record.adversarial, facts)
    became = after if after == "unchanged" or facts.multi_label else f"now {after}"
    numbers = f"{record.p_before:.2f} → {record.p_after:.2f}".replace("-", "−")
    return wrap(f"{before}: {became}", 44) + f"\n{measure} {numbers}"


@styled
def convergence(records: pd.DataFrame) -> Figure:
    """Best objective of each attacked image by generation; fooled images in color.

    Args:
        records: attack records; ``best`` is a list with a value for each generation.
    """
    if not len(records):
        return message(NOTHING)
    fooled = records["success"].to_numpy(bool)
    figure, axes = panels(
        3.6,
        alt=f"Best objective by generation of the {_attack(records)}: "
        f"{fooled.sum():,} of {many(len(records), 'image')} fooled.",
    )
    alpha = np.clip(60 / len(records), 0.15, 0.9)  # many lines stay lines
    for best in records["best"][~fooled]:
        axes.plot(best, color="0.6", lw=0.8, alpha=alpha)
    for best in records["best"][fooled]:
        axes.plot(best, color=OURS, lw=1, alpha=max(alpha, 0.25))
        axes.plot(len(best) - 1, best[-1], "o", color=OURS, ms=4.5, mec="white", mew=0.5)
    axes.axhline(0, color=INK, ls="--", lw=1.2)
    axes.set(xlabel="generation", ylabel="best objective (log-odds or margin)")
    axes.margins(x=0.02)
    axes.set_title(_title(records))
    below(
        figure,
        [
            key("fooled, at the dot", "o", OURS),
            key("not fooled", "", "0.6"),
            key("an image can only fall below this line", "", line="--"),
        ],
    )
    return figure


@styled
def pixel_map(records: pd.DataFrame, size: int) -> Figure:
    """Where the changed pixels lie in the image: successes filled, failures (best try) hollow.

    Args:
        records: attack records.
        size: edge of an image in pixels.
    """
    if not len(records):
        return message(NOTHING)
    fooled = records["success"].to_numpy(bool)
    figure, axes = panels(
        4.4,
        alt=f"Place of the changed pixels of the {_attack(records)}, {fooled.sum():,} of "
        f"{many(len(records), 'image')} fooled.",
    )
    few = len(records) <= 150
    for group, face, edge in (
        (records[~fooled], "none", "0.6"),
        (records[fooled], OURS, "white"),
    ):
        cols = np.concatenate([*map(np.asarray, group["cols"]), []])
        rows = np.concatenate([*map(np.asarray, group["rows"]), []])
        axes.scatter(
            cols, rows, 40 if few else 16, facecolors=face, edgecolors=edge, lw=0.9, clip_on=False
        )
    axes.set(
        xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal", xlabel="column, pixels",
        ylabel="row, pixels", title=_title(records),
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(True)
    axes.grid(color="0.95")
    handles = [
        key("fooled", "o", OURS, line="none"),
        key("not fooled: the best try", "o", "0.6", hollow=True, line="none"),
    ]
    below(figure, handles, 2)
    return figure


@styled
def success_by_class(table: pd.DataFrame, printed: pd.DataFrame | None) -> Figure:
    """Success rates with intervals, beside the printed ones.

    Args:
        table: ``class, n, successes, rate, low, high`` of `lib.metrics.intervals.rate_table`,
            shares 0..1; NaN where n is 0.
        printed: ``class, printed_rate`` of `lib.evidence.printed.attack_table`; ``None`` if there
            is none.
    """
    if not len(table) or not table["n"].sum():
        return message(NOTHING)
    classes = table[~table["class"].isin([TOTAL, CLASS_MEAN])]
    said = [
        f"{row['class']} {percent(row['rate'])} of {row['n']}" for row in table.to_dict("records")
    ]
    figure, axes = panels(
        1.1 + 0.42 * len(table),
        alt=f"Success rate of the attack by class: {', '.join(said)}.",
    )
    places = range(len(table))
    numbers = 100 * table[["rate", "low", "high"]].to_numpy(float)
    paints = [OURS if name in set(classes["class"]) else INK for name in table["class"]]
    points(axes, numbers[:, 0], places, numbers[:, 1], numbers[:, 2], paints)
    handles = [key("this run, 95 % interval", "o", OURS)]
    beside = np.full(len(table), np.nan)
    if printed is not None:
        known = dict(zip(printed["class"], printed["printed_rate"], strict=True))
        beside = np.array([100 * known.get(name, np.nan) for name in table["class"]])
        diamonds(axes, beside, places)
        handles.append(printed_key(printed))
    for place in np.flatnonzero(table["n"] == 0):
        axes.annotate(
            "no image attacked", (0.99, place), xycoords=("axes fraction", "data"), ha="right",
            va="center", color="0.45", fontsize=9,
        )  # fmt: skip
    rows_of(
        axes,
        [
            f"{wrap(name, 26)}, n = {n:,}"
            for name, n in zip(table["class"], table["n"], strict=True)
        ],
    )
    if len(classes) < len(table):
        axes.axhline(len(classes) - 0.5, color=INK, lw=0.8)
    top = np.nanmax([*numbers.ravel(), *beside])
    axes.set_xlim(-1, min(102, max(10, 1.1 * top)))
    axes.set_xlabel("success rate, %")
    below(figure, handles)
    return figure


@styled
def evaluations(records: pd.DataFrame, budget: int) -> Figure:
    """Share of the attacked images that have fallen within a number of evaluations.

    Args:
        records: attack records.
        budget: evaluations allowed for each image.
    """
    if not len(records):
        return message(NOTHING)
    needed = np.sort(records.loc[records["success"].astype(bool), "evaluations"])
    if not len(needed):
        return message(
            f"No success: none of {many(len(records), 'image')} fell within {budget:,} evaluations "
            f"(the {_attack(records)})."
        )
    share = 100 * np.arange(1, len(needed) + 1) / len(records)
    figure, axes = panels(
        3.1,
        alt=f"Evaluations until success of the {_attack(records)}: {len(needed):,} of "
        f"{many(len(records), 'image')} fell, half of these within {np.median(needed):,.0f} of "
        f"{budget:,} evaluations.",
    )
    axes.step([needed[0], *needed, budget], [0, *share, share[-1]], where="post", color=OURS, lw=2)
    axes.axvline(budget, color=INK, ls="--", lw=1.2)
    axes.annotate(
        f"budget, {budget:,}", (budget, 0), (-5, 6), textcoords="offset points", ha="right",
        fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(needed[0] / 1.2, budget * 1.15)
    axes.set_ylim(0, 1.15 * share[-1])
    axes.set(xlabel="evaluations of the classifier", ylabel="attacked images fooled, %")
    axes.set_title(_title(records))
    return figure


def _attack(records: pd.DataFrame) -> str:
    return formatting.attack(*sorted({len(rows) for rows in records["rows"]}))


def _title(records: pd.DataFrame) -> str:
    fooled = int(records["success"].sum())
    return f"{_attack(records).capitalize()}: {fooled:,} of n = {len(records):,} fooled"
