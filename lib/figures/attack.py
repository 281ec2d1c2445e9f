"""Attacked images, the search, success rates, and vulnerable positions."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.figures import formatting, gallery, style
from lib.figures.formatting import many, percent
from lib.figures.style import INK, OURS, key, styled
from lib.metrics.intervals import CLASS_MEAN, TOTAL
from lib.params.dataset_info import Facts
from lib.params.errors import check_images

NOTHING = "No image was attacked."


@styled
def attacks(
    clean: np.ndarray, adversarial: np.ndarray, records: pd.DataFrame, facts: Facts
) -> Figure:
    """Attacked images: clean, attacked with the changed pixels circled, and magnified.

    Below are the prediction and the true class's confidence before and after; for multi-label sets
    the smallest signed margin, below 0 when a label is on the wrong side.

    Args:
        clean: uint8 (N, H, W, C).
        adversarial: the same images after the attack.
        records: N attack records, in the same order; the first 6 are shown.
        facts: of the data set.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    check_images("Images to show", clean=clean, adversarial=adversarial)
    chosen = list(records.head(6).itertuples())
    if not chosen:
        return style.message(NOTHING)
    blocks, size = min(2, len(chosen)), clean.shape[1]
    texts = [_before_and_after(record, facts) for record in chosen]
    figure, axes = gallery.grid(
        -(-len(chosen) // blocks), 3 * blocks, foot=0.66, block=3,
        alt=f"{many(len(chosen), 'attacked image')} of {facts.title}, changed pixels circled: "
        f"{'; '.join(texts)}.".replace("\n", " "),
    )  # fmt: skip
    for place, record in enumerate(chosen):
        tiles = axes[place // blocks, 3 * (place % blocks) :][:3]
        gallery.show(tiles[0], clean[place])
        gallery.show(tiles[1], adversarial[place])
        gallery.circle(tiles[1], record.rows, record.cols, size)
        gallery.magnify(tiles[2], adversarial[place], record.rows[0], record.cols[0])
        gallery.caption(tiles[1], texts[place])
        if place < blocks:
            gallery.headings(tiles, ("clean", "attacked", "magnified"))
    return figure


def _before_and_after(record, facts: Facts) -> str:
    measure = "margin" if facts.multi_label else "confidence in the true class"
    before = gallery.decision(record.predicted, facts)
    after = gallery.change(record.predicted, record.adversarial, facts)
    became = after if after == "unchanged" or facts.multi_label else f"now {after}"
    numbers = f"{record.p_before:.2f} → {record.p_after:.2f}".replace("-", "−")
    return style.wrap(f"{before}: {became}", 44) + f"\n{measure} {numbers}"


@styled
def convergence(records: pd.DataFrame) -> Figure:
    """Best objective of each attacked image by generation; misclassified images in color.

    ``records`` are attack records; ``best`` holds a value for each generation.
    """
    if not len(records):
        return style.message(NOTHING)
    title, fooled = _title(records), records["success"].to_numpy(bool)
    figure, axes = style.panels(3.6, alt=f"Best objective by generation. {title}.")
    alpha = np.clip(60 / len(records), 0.15, 0.9)  # many lines stay lines
    for best in records["best"][~fooled]:
        axes.plot(best, color="0.6", lw=0.8, alpha=alpha)
    for best in records["best"][fooled]:
        axes.plot(best, color=OURS, lw=1, alpha=max(alpha, 0.25))
        axes.plot(len(best) - 1, best[-1], "o", color=OURS, ms=4.5, mec="white", mew=0.5)
    axes.axhline(0, color=INK, ls="--", lw=1.2)
    axes.set(xlabel="generation", ylabel="best objective (log-odds or margin)", title=title)
    axes.margins(x=0.02)
    style.below(figure, [
        key("misclassified, at the dot", "o", OURS),
        key("not misclassified", "", "0.6"),
        key("misclassified below this line", "", line="--"),
    ])  # fmt: skip
    return figure


@styled
def pixel_map(records: pd.DataFrame, size: int) -> Figure:
    """Positions of the changed pixels: successes filled, failures (best try) hollow.

    ``records`` are attack records, ``size`` is the edge of an image in pixels.
    """
    if not len(records):
        return style.message(NOTHING)
    title, fooled = _title(records), records["success"].to_numpy(bool)
    figure, axes = style.panels(4.4, alt=f"Positions of the changed pixels. {title}.")
    mark = 40 if len(records) <= 150 else 16
    for chosen, face, edge in ((~fooled, "none", "0.6"), (fooled, OURS, "white")):
        pixels = records.loc[chosen, ["cols", "rows"]].explode(["cols", "rows"]).astype(float)
        look = {"facecolors": face, "edgecolors": edge, "lw": 0.9, "clip_on": False}
        axes.scatter(*pixels.to_numpy().T, mark, **look)
    axes.set(
        xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal", xlabel="column, pixels",
        ylabel="row, pixels", title=title,
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(True)
    axes.grid(color="0.95")
    style.below(figure, [
        key("misclassified", "o", OURS, line="none"),
        key("not misclassified: the best try", "o", "0.6", hollow=True, line="none"),
    ], 2)  # fmt: skip
    return figure


@styled
def success_by_class(table: pd.DataFrame, printed: pd.DataFrame | None) -> Figure:
    """Success rates with intervals, beside the printed ones.

    Args:
        table: of `lib.metrics.intervals.rate_table` by ``class``.
        printed: of `lib.evidence.printed.attack_table`; ``None`` if there is none.
    """
    if not len(table) or not table["n"].sum():
        return style.message(NOTHING)
    classes = ~table["class"].isin([TOTAL, CLASS_MEAN])
    names = zip(table["class"], table["n"], strict=True)
    figure, axes = style.rows(
        [f"{style.wrap(name, 26)}, n = {n:,}" for name, n in names], 0.42, xlabel="success rate, %",
        alt=f"Success rate of the attack: {style.in_words(table, ['class'], ['rate'])}.",
    )  # fmt: skip
    style.dots(axes, table, "rate", np.where(classes, OURS, INK), scale=100)
    handles = [key("this run, 95 % interval", "o", OURS)]
    beside = np.full(len(table), np.nan)
    if printed is not None:
        beside = 100 * table["class"].map(printed.set_index("class")["printed_rate"])
        style.diamonds(axes, beside)
        handles.append(style.printed_key(printed))
    for place in np.flatnonzero(table["n"] == 0):
        look = {"transform": axes.get_yaxis_transform(), "color": "0.45", "fontsize": 9}
        axes.text(0.99, place, "no image attacked", ha="right", va="center", **look)
    if not classes.all():
        axes.axhline(classes.sum() - 0.5, color=INK, lw=0.8)
    axes.set_xlim(-1, min(102, max(10, 1.1 * np.nanmax([*100 * table["high"], *beside]))))
    style.below(figure, handles)
    return figure


@styled
def evaluations(records: pd.DataFrame, budget: int) -> Figure:
    """Share of the attacked images that are misclassified within a number of queries.

    ``records`` are attack records, ``budget`` is the number of queries allowed for each image.
    """
    if not len(records):
        return style.message(NOTHING)
    needed, title = successes(records), _title(records)
    if not len(needed):
        return style.message(f"{title} within {budget:,} queries each.")
    half = f"{np.median(needed):,.0f} of {budget:,} queries"
    figure, axes = style.panels(
        3.1, alt=f"Queries until success. {title}, half of these within {half}."
    )
    draw_successes(axes, needed, len(records), budget, color=OURS, lw=2)
    axes.axvline(budget, color=INK, ls="--", lw=1.2)
    style.note(axes, f"budget, {budget:,}", (budget, 0), (-5, 6), ha="right")
    axes.set(
        xscale="log", xlim=(needed[0] / 1.2, budget * 1.15),
        ylim=(0, 115 * len(needed) / len(records)), xlabel="queries of the classifier",
        ylabel="attacked images misclassified, %", title=title,
    )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def successes(records: pd.DataFrame) -> np.ndarray:
    """Queries of the successful attacks, ascending."""
    return np.sort(records.loc[records["success"].astype(bool), "evaluations"])


def draw_successes(axes: Axes, needed: np.ndarray, n: int, last: int, **look: Any) -> None:
    """Share of n images, in percent, that are misclassified within a number of queries.

    ``needed`` are `successes`, at least one; the line ends at ``last`` queries.
    """
    share = 100 * np.arange(len(needed) + 1) / n
    axes.step([needed[0], *needed, last], [*share, share[-1]], where="post", **look)


def _title(records: pd.DataFrame) -> str:
    attack = formatting.attack(*sorted({len(rows) for rows in records["rows"]})).capitalize()
    return f"{attack}: {records['success'].sum():,} of n = {len(records):,} misclassified"


@styled
def vulnerability(
    images: np.ndarray, objective: np.ndarray, fooled: np.ndarray, decisions: list, facts: Facts
) -> Figure:
    """Each image beside its map: dark where the worst color lowers the confidence most.

    Args:
        images: uint8 (N, H, W, C).
        objective: lowest objective of a color at each pixel, (N, H, W).
        fooled: whether a color at that pixel changes the prediction, bool (N, H, W).
        decisions: predictions on the clean images: int, or 0/1 strings.
        facts: of the data set.
    """
    if not len(images):
        return style.message("No image was mapped.")
    shares = [percent(share) for share in fooled.mean((1, 2))]
    figure, axes = gallery.grid(
        -(-len(images) // 2), 2 * min(2, len(images)), foot=0.5, block=2, largest=1.7,
        alt=f"{many(len(images), 'image')} of {facts.title} and what the worst color at each "
        f"pixel does; share of vulnerable positions: {', '.join(shares)}.",
    )  # fmt: skip
    for place, image in enumerate(images):
        tiles = axes[place // 2, 2 * (place % 2) :][:2]
        gallery.show(tiles[0], image)
        gallery.caption(tiles[0], style.wrap(gallery.decision(decisions[place], facts), 24))
        most = np.abs(objective[place]).max()
        marked = np.ma.masked_where(~fooled[place], np.ones_like(objective[place]))
        for values, colors, least, top in (
            (objective[place], "cividis", -most, most), (marked, "autumn", 0, 1)
        ):  # fmt: skip
            tiles[1].imshow(values, cmap=colors, vmin=least, vmax=top, interpolation="nearest")
        gallery.caption(tiles[1], f"{shares[place]} of {fooled[place].size:,} positions")
        if place < 2:
            gallery.headings(tiles, ("image", "vulnerable where marked"))
    return figure
