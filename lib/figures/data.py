"""Data sets and classifiers: samples, counts, training, confusion, areas under curves; times."""

import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lib.figures import gallery, style
from lib.figures.formatting import figures, many, percent, shown
from lib.figures.style import COLORS, INK, OURS, PRINTED, color, key, styled, wrap
from lib.params.dataset_info import Facts
from lib.params.errors import InputError, check_images

PARTS = {"train": "training", "val": "validation", "test": "test"}


@styled
def samples(images: np.ndarray, categories: np.ndarray, facts: Facts, per_class: int = 6) -> Figure:
    """The first images of each class, a row for each.

    Args:
        images: uint8 (N, H, W, C).
        categories: int (N,), index into ``facts.attack_classes``; -1: none of them.
        facts: of the data set.
        per_class: images of a class at most.

    Raises:
        InputError: no stored images, or another number of categories.
    """
    check_images("Images to show", images=images)
    if np.shape(categories) != (len(images),):
        raise InputError(
            f"{len(images)} images need one category each, not categories of shape "
            f"{np.shape(categories)}."
        )
    if not len(images):
        return style.message("No image to show.")
    names = [item.name for item in facts.attack_classes]
    counts = [int((categories == place).sum()) for place in range(len(names))]
    listed = ", ".join(f"{name} ({count:,})" for name, count in zip(names, counts, strict=True))
    figure, axes = gallery.grid(
        len(names), per_class, left=1.55, head=0.05, largest=0.9,
        alt=f"Sample images of {facts.title}, a row for each class: {listed}.",
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
        printed: of `lib.evidence.printed.class_counts`; ``None`` if there is none.
    """
    parts = ours.set_index("class")[list(PARTS)].astype(float)
    counts, total = parts.sum(axis=1), parts.to_numpy().sum()
    if not total:
        return style.message("No image to count.")
    spoken = ", ".join(f"{name} {percent(count / total)}" for name, count in counts.items())
    figure, axes = style.rows(
        [f"{wrap(name, 24)}\nn = {count:,.0f}" for name, count in counts.items()], 0.5,
        xlabel="share of all images, %", title=f"n = {total:,.0f}",
        alt=f"Shares of the classes in {many(int(total), 'image')}: {spoken}.",
    )  # fmt: skip
    places, left, handles = np.arange(len(counts)), np.zeros(len(counts)), []
    bar, shift = (0.62, 0) if printed is None else (0.36, 0.19)
    for (part, label), alpha in zip(PARTS.items(), (1, 0.6, 0.3), strict=True):
        share = 100 * parts[part].to_numpy() / total
        look = {"color": OURS, "alpha": alpha, "lw": 0}
        bars = axes.barh(places - shift, share, bar, left=left, **look)
        handles.append(Patch(label=f"ours, {label}", **look))
        left += share
    axes.bar_label(bars, [f"{value:.1f}" for value in left], padding=3, fontsize=8.5)
    share = np.zeros(1)
    if printed is not None:
        share = 100 * ours["class"].map(printed.set_index("class")["share"]).to_numpy(float)
        bars = axes.barh(places + shift, share, bar, color=PRINTED)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8.5)
        handles.append(Patch(color=PRINTED, label=style.printed_key(printed).get_label()))
    axes.set_xlim(0, 1.1 * np.nanmax([*left, *share]))
    style.below(figure, handles, 4)
    return figure


@styled
def history(
    history: list[dict], baseline: float, second: list[dict] | None, labels: dict[str, str]
) -> Figure:
    """Loss and accuracy of a classifier by epoch.

    Args:
        history: of `lib.models.classifier_training.fit_classifier`.
        baseline: accuracy (0..1) of a constant answer; drawn as a dashed line.
        second: another training to compare with.
        labels: names of the two, under ``history`` and ``second``.
    """
    if not history:
        return style.message("No epoch of training to show.")
    trainings = [("history", history, OURS)]
    trainings += [("second", second, COLORS["autoencoder"])] if second else []
    last = "; ".join(
        f"{labels[name]} {percent(epochs[-1]['validation_accuracy'])}"
        for name, epochs, _ in trainings
    )
    alt = f"Loss and accuracy over {many(len(history), 'epoch')}; last validation accuracy: {last}."
    figure, (left, right) = style.panels(3.5, 2, alt)
    handles = [key("validation", "o"), key("training", "s", line=":")]
    for name, epochs, paint in trainings:
        of = pd.DataFrame(epochs)
        look = {"color": paint, "ms": 4}
        left.plot(of["epoch"], of["loss"], "o-", **look)
        right.plot(of["epoch"], 100 * of["validation_accuracy"], "o-", lw=1.8, **look)
        right.plot(of["epoch"], 100 * of["train_accuracy"], "s:", lw=1.2, **look)
        handles.append(Patch(color=paint, label=labels[name]))
    about = f"constant answer, {percent(baseline)}"
    handles.append(right.axhline(100 * baseline, color=INK, ls="--", lw=1.2, label=about))
    left.set(title="Training loss", xlabel="epoch", ylabel="loss")
    right.set(title="Accuracy", xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    style.below(figure, handles, 2)
    return figure


@styled
def confusion(matrix: np.ndarray, names: list[str]) -> Figure:
    """Confusion matrix: counts and shares of each row.

    Args:
        matrix: int (K, K), row is the true class, column the prediction.
        names: of the K classes.

    Raises:
        InputError: sizes differ.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(names), len(names)):
        raise InputError(f"{len(names)} classes need a square matrix, not shape {matrix.shape}.")
    sums, total, correct = matrix.sum(1), matrix.sum(), matrix.trace()
    if not total:
        return style.message("No test image to show.")
    share = matrix / np.maximum(sums, 1)[:, None]
    text = [
        [f"{n:,}\n{100 * s:.0f} %" if n else "0" for n, s in zip(*row, strict=True)]
        for row in zip(matrix, share, strict=True)
    ]
    recall = [f"{name} {percent(share[i, i])}" for i, name in enumerate(names) if sums[i]]
    figure, axes = style.panels(
        1.5 + 0.52 * len(names),
        alt=f"Confusion matrix of {many(int(total), 'test image')}, {correct:,} classified "
        f"correctly; recall by class: {', '.join(recall)}.",
    )
    seaborn.heatmap(
        share, annot=np.array(text), fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False,
        linewidths=1, linecolor="white", ax=axes, annot_kws={"fontsize": 8.5},
    )  # fmt: skip
    labels = [f"{wrap(name, 24)}, n = {n:,}" for name, n in zip(names, sums, strict=True)]
    axes.set_yticklabels(labels, rotation=0)
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(names) > 5 else {}
    axes.set_xticklabels([wrap(name, 19) for name in names], **turned)
    axes.set(
        ylabel="true class", xlabel="prediction",
        title=f"Images and share of the row; n = {total:,}, {correct:,} correct",
    )  # fmt: skip
    return figure


@styled
def label_auc(auc: dict[str, float | None]) -> Figure:
    """Area under the ROC curve, 0..1, of each label; ``None`` where the test images do not allow
    one.
    """
    if not auc:
        return style.message("No label to show.")
    values = pd.Series(auc, dtype=float)
    texts = values.map("{:.2f}".format).where(values.notna(), "undefined: a single class")
    figure, axes = style.rows(
        list(auc), 0.3, 0.9, xlim=(0, 1.05), xlabel="area under the ROC curve, test images",
        alt=f"Area under the ROC curve: {', '.join(f'{n} {text}' for n, text in texts.items())}.",
    )  # fmt: skip
    axes.plot(values, range(len(values)), "o", **style.look("o", OURS))
    box = {"fc": "white", "ec": "none", "pad": 0.8}
    for place, (value, text) in enumerate(zip(values.fillna(0), texts, strict=True)):
        style.note(axes, text, (value, place), (8, 0), va="center", fontsize=8.5, bbox=box)
    axes.axvline(0.5, color=INK, ls="--", lw=1.2, zorder=0.9)
    style.below(figure, [key("chance", "", line="--")], 1)
    return figure


@styled
def minutes(ours: dict[str, float], printed: dict[str, float], title: str) -> Figure:
    """Training or attack times on a logarithmic scale (the paper's Figures 25 and 26).

    Args:
        ours: minutes by data set or denoiser.
        printed: the same in the paper; names that only it has are left out.
        title: what was timed.
    """
    bars = []  # place, minutes, color, whose
    for at, (name, value) in enumerate(ours.items()):
        bars.append((at - 0.2, value, color(name), "this run"))
        if name in printed:
            bars.append((at + 0.2, printed[name], PRINTED, "printed"))
    values = [value for _, value, _, _ in bars if value > 0]
    if not values:
        return style.message(f"{title}: no time to show.")
    names = [shown(name) for name in ours]
    spoken = ", ".join(f"{names[round(at)]} {figures(v)} ({who})" for at, v, _, who in bars)
    start = 10 ** (np.floor(np.log10(min(values))) - 0.3)
    figure, axes = style.rows(
        names, 0.6, 0.9, alt=f"{title}, minutes: {spoken}.", title=title, xscale="log",
        xlabel="minutes, logarithmic", xlim=(start, 30 * max(values)),
    )  # fmt: skip
    for at, value, paint, who in bars:
        bar = axes.barh(at, max(value - start, 0), 0.36, left=start, color=paint)
        axes.bar_label(bar, [f"{figures(value)} min, {who}"], padding=4, fontsize=9)
    axes.xaxis.set_major_formatter("{x:,g}")
    return figure
