"""Data sets and classifiers: samples, counts, training curves, confusion, areas under curves."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lib.figures import gallery
from lib.figures.formatting import many, percent
from lib.figures.style import (
    COLORS,
    INK,
    OURS,
    PRINTED,
    below,
    key,
    message,
    panels,
    points,
    rows_of,
    styled,
    wrap,
)
from lib.params.dataset_info import Facts
from lib.params.errors import InputError

PARTS = {"train": "training", "val": "validation", "test": "test"}


@styled
def samples(images: np.ndarray, categories: np.ndarray, facts: Facts, per_class: int = 6) -> Figure:
    """The first images of each class, a row for each.

    Args:
        images: uint8 (N, H, W, C).
        categories: int (N,), place in ``facts.attack_classes``; -1: in none of them.
        facts: of the data set.
        per_class: images of a class at most.

    Raises:
        InputError: no stored images, or another number of categories.
    """
    gallery.same_images(images=images)
    if np.shape(categories) != (len(images),):
        raise InputError(
            f"{len(images)} images need one category each, not categories of shape "
            f"{np.shape(categories)}."
        )
    if not len(images):
        return message("No image to show.")
    names = [item.name for item in facts.attack_classes]
    counts = [int((categories == place).sum()) for place in range(len(names))]
    figure, axes = gallery.grid(
        len(names), per_class, left=1.55, head=0.05, largest=0.9,
        alt=f"Sample images of {facts.title}, a row for each class: {_listed(names, counts)}.",
    )  # fmt: skip
    for place, row in enumerate(axes):
        gallery.beside(row[0], f"{wrap(names[place], 17)}\nn = {counts[place]:,}")
        if not counts[place]:
            gallery.inside(row[0], "none")
        for tile, image in zip(row, images[categories == place], strict=False):
            gallery.show(tile, image, detail=48)
    return figure


@styled
def class_counts(ours: pd.DataFrame, printed: pd.DataFrame | None) -> Figure:
    """Shares of the classes in our images, by part, beside the paper's.

    Args:
        ours: ``class, train, val, test`` (images).
        printed: ``class, share`` (0..1), of `lib.evidence.printed.class_counts`; ``None`` if there
            is none.
    """
    parts = ours[list(PARTS)].to_numpy(float)
    total = parts.sum()
    if not total:
        return message("No image to count.")
    counts = parts.sum(1)
    names = ours["class"].tolist()
    figure, axes = panels(
        1.1 + 0.5 * len(names),
        alt=f"Shares of the classes in {many(int(total), 'image')}: "
        + ", ".join(f"{n} {percent(c / total)}" for n, c in zip(names, counts, strict=True))
        + ("." if printed is None else "; beside them the shares printed in the paper."),
    )
    places = np.arange(len(names))
    bar, shift = (0.62, 0) if printed is None else (0.36, 0.19)
    left = np.zeros(len(names))
    handles = []
    for part, alpha in zip(PARTS, (1, 0.6, 0.3), strict=True):
        share = 100 * ours[part].to_numpy(float) / total
        axes.barh(places - shift, share, bar, left=left, color=OURS, alpha=alpha, lw=0)
        handles.append(Patch(color=OURS, alpha=alpha, lw=0, label=f"ours, {PARTS[part]}"))
        left += share
    ends = [(place - shift, value) for place, value in zip(places, left, strict=True)]
    if printed is not None:
        known = dict(zip(printed["class"], printed["share"], strict=True))
        share = np.array([100 * known.get(name, np.nan) for name in names])
        axes.barh(places + shift, share, bar, color=PRINTED)
        table = printed.attrs.get("table")
        about = "printed" + (f" (Table {table})" if table else "")
        handles.append(Patch(color=PRINTED, label=about))
        ends += [(place + shift, v) for place, v in zip(places, share, strict=True) if v == v]
    for place, value in ends:
        axes.annotate(
            f"{value:.1f}", (value, place), (3, 0), textcoords="offset points", va="center",
            fontsize=8.5,
        )  # fmt: skip
    rows_of(axes, [f"{wrap(n, 24)}\nn = {c:,.0f}" for n, c in zip(names, counts, strict=True)])
    axes.set_xlim(0, 1.1 * max(value for _, value in ends))
    axes.set_xlabel("share of all images, %")
    axes.set_title(f"n = {total:,.0f}")
    below(figure, handles, 4)
    return figure


@styled
def history(
    history: list[dict],
    baseline: float | None,
    second: list[dict] | None,
    labels: dict[str, str],
) -> Figure:
    """Loss and accuracy of a classifier by epoch.

    Args:
        history: one dictionary an epoch: ``epoch, loss, train_accuracy, validation_accuracy``
            (0..1), as of `lib.models.classifier_training.fit_classifier`.
        baseline: accuracy (0..1) of always giving the same answer; drawn as a dashed line.
        second: another training to compare with.
        labels: names of the two, under ``history`` and ``second``.
    """
    if not history:
        return message("No epoch of training to show.")
    last = history[-1]
    alt = (
        f"Loss and accuracy over {many(len(history), 'epoch')}: the last training accuracy is "
        f"{percent(last['train_accuracy'])}, validation {percent(last['validation_accuracy'])}"
    )
    if baseline is not None:
        alt += f", always the same answer gives {percent(baseline)}"
    if second:
        alt += f"; {labels['second']} ends at {percent(second[-1]['validation_accuracy'])}"
    figure, (left, right) = panels(3.5, 2, alt + ".")
    handles = [key("validation", "o"), key("training", "s", line=":")]
    for name, found, paint in (
        ("history", history, OURS),
        ("second", second or [], COLORS["autoencoder"]),
    ):
        if not found:
            continue
        epochs = [epoch["epoch"] for epoch in found]
        look = {"color": paint, "ms": 4}
        left.plot(epochs, [epoch["loss"] for epoch in found], "o-", **look)
        for part, mark, width in (("validation", "o-", 1.8), ("train", "s:", 1.2)):
            values = [100 * epoch[f"{part}_accuracy"] for epoch in found]
            right.plot(epochs, values, mark, lw=width, **look)
        handles.append(Patch(color=paint, label=labels[name]))
    if baseline is not None:
        about = f"always the same answer, {percent(baseline)}"
        handles.append(right.axhline(100 * baseline, color=INK, ls="--", lw=1.2, label=about))
    left.set(title="Loss of training", xlabel="epoch", ylabel="loss")
    right.set(title="Accuracy", xlabel="epoch", ylabel="accuracy, %")
    right.set_ylim(0, 102)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    below(figure, handles, 2)
    return figure


@styled
def confusion(matrix: np.ndarray, names: list[str]) -> Figure:
    """Confusion matrix: counts and shares of each row.

    Args:
        matrix: int (K, K), row is the true class, column the decision.
        names: of the K classes.

    Raises:
        InputError: sizes differ.
    """
    import seaborn  # here, because no other figure needs it and its scipy.stats

    matrix = np.asarray(matrix)
    if matrix.shape != (len(names), len(names)):
        raise InputError(f"{len(names)} classes need a square matrix, not shape {matrix.shape}.")
    sums, total = matrix.sum(1), matrix.sum()
    if not total:
        return message("No test image: no confusion to show.")
    share = matrix / np.maximum(sums, 1)[:, None]
    text = [
        [f"{n:,}\n{s:.0%}".replace("%", " %") if n else "0" for n, s in zip(*row, strict=True)]
        for row in zip(matrix, share, strict=True)
    ]
    recall = [f"{n} {percent(share[i, i])}" for i, n in enumerate(names) if sums[i]]
    figure, axes = panels(
        1.5 + 0.52 * len(names),
        alt=f"Confusion matrix of {many(int(total), 'test image')}, {int(matrix.trace()):,} right; "
        f"share right by class: {', '.join(recall)}.",
    )
    seaborn.heatmap(
        share, annot=np.array(text), fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False,
        linewidths=1, linecolor="white", ax=axes, annot_kws={"fontsize": 8.5},
    )  # fmt: skip
    axes.set_yticklabels(
        [f"{wrap(name, 24)}, n = {n:,}" for name, n in zip(names, sums, strict=True)], rotation=0
    )
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(names) > 5 else {}
    axes.set_xticklabels([wrap(name, 19) for name in names], **turned)
    axes.set(ylabel="true class", xlabel="decision")
    axes.set_title(f"Images and share of the row; n = {total:,}, {matrix.trace():,} right")
    return figure


@styled
def label_auc(auc: dict[str, float | None]) -> Figure:
    """Area under the ROC curve of each label.

    Args:
        auc: 0..1 by label; ``None`` where the test images do not allow one.
    """
    known = {name: value for name, value in auc.items() if value is not None}
    if not auc:
        return message("No label, no area under a curve.")
    listed = ", ".join(f"{name} {value:.2f}" for name, value in known.items()) or "none known"
    figure, axes = panels(0.9 + 0.3 * len(auc), alt=f"Area under the ROC curve: {listed}.")
    values = np.array([np.nan if value is None else value for value in auc.values()])
    missing = np.full(len(values), np.nan)
    points(axes, values, range(len(values)), missing, missing, [OURS] * len(values))
    for place, value in enumerate(values):
        known = not np.isnan(value)
        axes.annotate(
            f"{value:.2f}" if known else "undefined: all test images with it, or none",
            (value if known else 0, place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )
    axes.axvline(0.5, color=INK, ls="--", lw=1.2, zorder=0.9)
    rows_of(axes, list(auc))
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("area under the ROC curve, test images")
    below(figure, [key("chance", "", line="--")], 1)
    return figure


def _listed(names: list[str], counts: list[int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in zip(names, counts, strict=True))
