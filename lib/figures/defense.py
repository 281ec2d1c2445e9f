"""Defenses: restored images, label recovery, image quality, detection."""

from operator import eq

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.figures import gallery, style
from lib.figures.formatting import many, shown
from lib.figures.style import BAD, GOOD, color, key, styled, wrap
from lib.params import PATCHES
from lib.params.dataset_info import Facts
from lib.params.errors import check_images

AMPLIFIED = 4  # how much brighter differences are shown than they are


@styled
def restorations(
    clean: np.ndarray, adversarial: np.ndarray, restored: dict[str, np.ndarray],
    records: pd.DataFrame, classes: dict[str, list], confidences: dict[str, list[float]],
    facts: Facts,
) -> Figure:  # fmt: skip
    """Attacked images before and after each defense, with prediction and confidence below each.

    The confidence is that of the true class. Below each row of images are their differences from
    the clean one, `AMPLIFIED`. The identity is the attacked image and gets no column.

    Args:
        clean: uint8 (N, H, W, C).
        adversarial: the same images after the attack.
        restored: the attacked images after each defense, by name.
        records: N attack records, in the same order; the first 4 are shown.
        classes: by defense, N predictions on the restored images; int or 0/1 strings.
        confidences: by defense, of the true class, or smallest margins of a multi-label set.
        facts: of the data set.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    restored = {name: images for name, images in restored.items() if name != "identity"}
    check_images("Images to show", clean=clean, adversarial=adversarial, **restored)
    chosen = list(records.head(4).itertuples())
    if not chosen:
        return style.message("No attack succeeded: there is nothing to restore.")
    measure = "margin" if facts.multi_label else "true"
    before = [record.predicted for record in chosen]
    recovered = ", ".join(
        f"{shown(name)} {sum(map(eq, classes[name], before))}" for name in restored
    )
    figure, axes = gallery.grid(
        2 * len(chosen), 2 + len(restored), head=0.62, foot=0.8, largest=1.3,
        alt=f"{many(len(chosen), 'attacked image')} of {facts.title} before and after each "
        f"defense, and the differences from the clean ones; correct class recovered: {recovered}.",
    )  # fmt: skip
    names = ("clean", "attacked", *map(shown, restored))
    names = [wrap(name.replace(" (proposed)", ""), 12) for name in names]
    gallery.headings(axes[0], names, size=8.5)
    for place, (row, record) in enumerate(zip(axes[::2], chosen, strict=True)):
        gallery.show(row[0], clean[place])
        before = f"{gallery.decision(record.predicted, facts)}, {measure} {record.p_before:.2f}"
        gallery.caption(row[0], wrap(before, 12), size=8)
        gallery.show(row[1], adversarial[place])
        gallery.circle(row[1], record.rows, record.cols, clean.shape[1])
        after = gallery.change(record.predicted, record.adversarial, facts)
        gallery.caption(row[1], wrap(f"{after}, {measure} {record.p_after:.2f}", 12), size=8)
        for tile, name in zip(row[2:], restored, strict=True):
            gallery.show(tile, restored[name][place])
            now, text = classes[name][place], f"{measure} {confidences[name][place]:.2f}"
            good = now == record.predicted
            word, paint = ("recovered", GOOD) if good else ("not", BAD)
            gallery.caption(tile, word, size=8, color=paint, weight="bold")
            change = "" if good else f"{gallery.change(record.predicted, now, facts)}, "
            gallery.caption(tile, wrap(change + text, 12), line=1, size=8)
        shown_images = (adversarial[place], *(images[place] for images in restored.values()))
        _differences(axes[2 * place + 1], clean[place], shown_images)
    return figure


def _differences(row: np.ndarray, clean: np.ndarray, images: tuple[np.ndarray, ...]) -> None:
    """The largest channel's absolute difference of each image, with its mean and largest value."""
    gallery.inside(row[0], f"difference\nfrom clean,\n{AMPLIFIED} times", size=8)
    for tile, image in zip(row[1:], images, strict=True):
        apart = np.abs(image.astype(int) - clean).max(2, keepdims=True)
        gallery.show(tile, np.minimum(AMPLIFIED * apart, 255).astype(np.uint8))
        # Else the tile of a picture that is far from the clean one is white on white.
        edge = {"fill": False, "ec": "0.6", "lw": 0.8, "clip_on": False}
        tile.add_patch(Rectangle((0, 0), 1, 1, transform=tile.transAxes, **edge))
        gallery.caption(tile, f"mean {apart.mean():.1f}\nlargest {apart.max()}", size=8)


@styled
def recovery(summary: pd.DataFrame) -> Figure:
    """Label recovery rate on attacked images and prediction retention on clean ones, by defense.

    ``summary`` is of `lib.defense.restoration.summary` or `shares`.
    """
    if not len(summary) or not summary["images"].sum():
        return style.message("No image was attacked: there is nothing to recover.")
    attacked, clean = int(summary["n"].max()), int(summary["images"].max())
    spoken = style.in_words(summary, ["defense"], ["recovered", "kept"])
    figure, axes = style.rows(
        [shown(name) for name in summary["defense"]], 0.48, 1.2,
        xlim=(-2, 102), xlabel="images, %, with 95 % interval",
        title=f"{many(attacked, 'image')} misclassified of n = {clean:,}"
        + ("" if attacked else ": nothing to recover"),
        alt=f"Label recovery rate of {many(attacked, 'attacked image')} and clean prediction "
        f"retention of {many(clean, 'image')}: {spoken}.",
    )  # fmt: skip
    paints = [color(name) for name in summary["defense"]]
    style.dots(axes, summary, "recovered", paints, -0.14, 100)
    style.dots(axes, summary, "kept", paints, 0.14, 100, marker="s", hollow=True)
    style.below(figure, [
        key("label recovery rate, misclassified images", "o", "0.45"),
        key("clean prediction retention", "s", "0.45", hollow=True),
    ])  # fmt: skip
    return figure


@styled
def quality(summary: pd.DataFrame, printed: pd.DataFrame | None) -> Figure:
    """PSNR and SSIM of restored images by defense, beside the printed ones.

    Args:
        summary: of `lib.defense.restoration.summary`; PSNR is NaN where all are restored exactly.
        printed: of `lib.evidence.printed.denoise_table`; ``None`` if there is none.
    """
    if not len(summary) or not summary["n"].sum():
        return style.message("No attack succeeded: there is no restored image to measure.")
    names, count = summary["defense"].tolist(), int(summary["n"].max())
    values = style.in_words(summary, ["defense"], ["psnr", "ssim"], "{:.4g}".format)
    figure, panel = style.panels(
        1.2 + 0.42 * len(names), 2, sharey=True,
        alt=f"PSNR in dB and SSIM of {many(count, 'restored image')}: {values}.",
    )  # fmt: skip
    for axes, metric, label in zip(panel, ("psnr", "ssim"), ("PSNR, dB", "SSIM"), strict=True):
        style.dots(axes, summary, metric, map(color, names))
        if printed is not None:
            style.diamonds(axes, summary["defense"].map(printed.set_index("defense")[metric]))
        axes.set_xlabel(label)
        axes.margins(x=0.08)
        style.bare(axes)
    for place in np.flatnonzero(summary["psnr"].isna()):
        across = {"transform": panel[0].get_yaxis_transform(), "fontsize": 9}
        panel[0].text(0.5, place, "all exact", ha="center", va="center", **across)
    style.name_rows(panel[0], [shown(name) for name in names])
    panel[0].set_title(f"n = {many(count, 'misclassified image')}")
    handles = [key("this run, 95 % interval", "o", "0.45")]
    style.below(figure, handles + ([] if printed is None else [style.printed_key(printed)]))
    return figure


@styled
def detection(curves: dict[str, tuple[np.ndarray, np.ndarray]], summary: pd.DataFrame) -> Figure:
    """ROC curves of detecting attacked images by what each defense changes.

    No defense changes nothing and is the diagonal, chance.

    Args:
        curves: of `lib.defense.detection.curves`.
        summary: of `lib.defense.detection.summary`, of the same images and score.
    """
    if not curves:
        return style.message("No attack succeeded: there is no attacked image to detect.")
    areas = summary.set_index("defense")["auc"]
    count = many(int(summary["n"].max()), "misclassified image")
    labels = {name: f"{shown(name)}, {areas[name]:.2f}" for name in curves}
    figure, axes = style.panels(
        4.4, alt=f"ROC curves of {count} against clean ones; area: {'; '.join(labels.values())}."
    )
    for name, (false, true) in curves.items():
        line = "--" if name.endswith(PATCHES) else "-"
        look = {"color": color(name), "lw": 1.8, "ls": line, "label": labels[name]}
        axes.plot(100 * false, 100 * true, **look)
    axes.set(
        xlim=(-2, 102), ylim=(-2, 102), xlabel="false positive rate, % of clean images",
        ylabel="true positive rate, % of attacked images", title=f"n = {count}, attacked and clean",
        aspect="equal",
    )  # fmt: skip
    figure.legend(loc="outside right upper", title="area under the curve")
    return figure


@styled
def attackers(shares: pd.DataFrame) -> Figure:
    """Images classified correctly: clean, and after the worst attacker of each budget.

    Args:
        shares: rows ``defense, family, budget, n``, ``correct`` with ``correct_low, correct_high``,
            shares 0..1; family is empty for the clean images, else ``pixels`` or ``linf``.
    """
    if not len(shares):
        return style.message("No image was attacked.")
    budgets = {"": "clean", "pixels": "{} pixel{}", "linf": "all by {}/255"}
    places = {name: place for place, name in enumerate([*shares["defense"].unique(), *budgets])}
    shares = shares.sort_values(["defense", "family"], key=lambda names: names.map(places))
    named = shares[["defense", "family", "budget"]].itertuples(index=False)
    labels = [
        f"{shown(name)}, {budgets[family].format(count, 's' * (count > 1))}"
        for name, family, count in named
    ]
    said = style.in_words(shares.assign(label=labels), ["label"], ["correct"])
    figure, axes = style.rows(
        labels, 0.26, xlim=(-2, 102), xlabel="classified correctly, %, with 95 % interval",
        title=f"n = {many(int(shares['n'].max()), 'attack')}",
        alt=f"Images classified correctly, clean and after the strongest attack. {said}.",
    )  # fmt: skip
    style.dots(axes, shares, "correct", map(color, shares["defense"]), scale=100)
    style.separators(axes, shares[["defense"]])
    return figure
