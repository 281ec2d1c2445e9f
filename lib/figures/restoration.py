"""What the defenses give back of attacked images: the pictures, their class, their quality."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lib.figures import gallery
from lib.figures.formatting import many, percent, shown
from lib.figures.style import (
    BAD,
    GOOD,
    below,
    color,
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
from lib.params import PATCHES
from lib.params.dataset_info import Facts

AMPLIFIED = 4  # how much brighter differences are shown than they are


@styled
def restorations(
    clean: np.ndarray,
    adversarial: np.ndarray,
    restored: dict[str, np.ndarray],
    records: pd.DataFrame,
    classes: dict[str, list],
    confidences: dict[str, list[float]],
    facts: Facts,
    limit: int = 4,
) -> Figure:
    """Attacked images before and after each defense, with decision and confidence under each.

    The confidence is that of the true class, also where another one was decided.

    Below each row of images are their differences from the clean one, `AMPLIFIED`. The identity
    gives the attacked image itself and gets no column.

    Args:
        clean: uint8 (N, H, W, C).
        adversarial: the same images after the attack.
        restored: the attacked images after each defense, by name.
        records: N attack records, in the same order.
        classes: N decisions on the images of ``restored``, by the same names; int, or 0/1 strings.
        confidences: of the true class, or smallest margins of a multi-label set, likewise.
        facts: of the data set.
        limit: images shown, the first ones.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    restored = {name: images for name, images in restored.items() if name != "identity"}
    gallery.same_images(clean=clean, adversarial=adversarial, **restored)
    chosen = list(records.head(limit).itertuples())
    if not chosen:
        return message("No attack succeeded: there is nothing to restore.")
    measure = "margin" if facts.multi_label else "true"
    back = {
        name: sum(classes[name][place] == record.predicted for place, record in enumerate(chosen))
        for name in restored
    }
    said = ", ".join(f"{shown(name)} {count}" for name, count in back.items())
    figure, axes = gallery.grid(
        2 * len(chosen), 2 + len(restored), head=0.62, foot=0.8, largest=1.3,
        alt=f"{many(len(chosen), 'attacked image')} of {facts.title} before and after each "
        f"defense, and the differences from the clean ones; class recovered: {said}.",
    )  # fmt: skip
    for tile, name in zip(axes[0], ("clean", "attacked", *map(shown, restored)), strict=True):
        gallery.heading(tile, wrap(name.replace(" (proposed)", ""), 12), size=8.5)
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
            now, sure = classes[name][place], confidences[name][place]
            if now == record.predicted:
                gallery.caption(tile, "recovered", size=8, color=GOOD, weight="bold")
                gallery.caption(tile, f"{measure} {sure:.2f}", line=1, size=8)
            else:
                gallery.caption(tile, "not", size=8, color=BAD, weight="bold")
                text = f"{gallery.change(record.predicted, now, facts)}, {measure} {sure:.2f}"
                gallery.caption(tile, wrap(text, 12), line=1, size=8)
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
    """Classes recovered on attacked images and kept on clean ones, by defense.

    Args:
        summary: ``defense, images, n`` and ``recovered, kept`` with ``_low`` and ``_high`` of
            `lib.defense.restoration.summary` or `shares`, shares 0..1; NaN where there is no image.
    """
    if not len(summary) or not summary["images"].sum():
        return message("No image was attacked: there is nothing to recover or to keep.")
    fooled, images = int(summary["n"].max()), int(summary["images"].max())
    said = [
        f"{shown(row['defense'])} {percent(row['recovered'])} and {percent(row['kept'])}"
        for row in summary.to_dict("records")
    ]
    figure, axes = panels(
        1.2 + 0.48 * len(summary),
        alt=f"Class recovered on {many(fooled, 'fooled image')} and kept on "
        f"{many(images, 'clean image')}: {', '.join(said)}.",
    )
    _shares(axes, summary)
    rows_of(axes, [shown(name) for name in summary["defense"]])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("images, %, with 95 % interval")
    axes.set_title(
        f"{many(fooled, 'image')} fooled of n = {images:,}"
        + ("" if fooled else ": nothing to recover")
    )
    below(figure, _keys("recovered, fooled images", "kept, all attacked images, clean"))
    return figure


@styled
def recovery_by_dataset(table: pd.DataFrame) -> Figure:
    """Classes recovered and kept by each defense, one panel a data set: the front page's figure.

    Args:
        table: ``dataset, defense, images, n`` and ``recovered, kept`` with ``_low`` and ``_high``
            of `book.front.recovery`, shares 0..1; NaN where there is no image.
    """
    if not len(table):
        return message("No run on real images is recorded yet.")
    datasets, names = (list(dict.fromkeys(table[key])) for key in ("dataset", "defense"))
    said = [
        f"{shown(row['dataset'])}, {shown(row['defense'])}: {percent(row['recovered'])} and "
        f"{percent(row['kept'])}"
        for row in table.to_dict("records")
    ]
    figure, panel = panels(
        1.4 + 0.28 * len(names), len(datasets), sharey=True, squeeze=False,
        alt=f"Class recovered on fooled images, and kept on clean ones. {'; '.join(said)}.",
    )  # fmt: skip
    for axes, dataset in zip(panel[0], datasets, strict=True):
        of = table[table["dataset"] == dataset].set_index("defense").reindex(names)
        _shares(axes, of.reset_index())
        axes.set_xlim(-7, 107)
        axes.set_title(f"{shown(dataset)}\nn = {int(of['n'].max()):,}")
        axes.set_xlabel("images, %")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    rows_of(panel[0][0], [shown(name) for name in names])
    below(
        figure, _keys("class recovered, fooled images, 95 % interval", "class kept, clean images")
    )
    return figure


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    """Recovered and kept share of each row of ``table``, in percent, from the top down."""
    paints, places = [color(name) for name in table["defense"]], np.arange(len(table))
    for share, shift, marker, hollow in (
        ("recovered", -0.14, "o", False),
        ("kept", 0.14, "s", True),
    ):
        numbers = 100 * table[[share, f"{share}_low", f"{share}_high"]].to_numpy(float)
        points(axes, numbers[:, 0], places + shift, *numbers[:, 1:].T, paints, marker, hollow)


def _keys(recovered: str, kept: str) -> list[Line2D]:
    """Legend of `_shares`: what each share is called, with the images it is of."""
    return [
        key(recovered, "o", "0.45"),
        key(kept, "s", "0.45", hollow=True),
    ]


@styled
def quality(summary: pd.DataFrame, printed: pd.DataFrame | None) -> Figure:
    """PSNR and SSIM of restored images by defense, beside the printed ones.

    Args:
        summary: ``defense, n, exact, psnr, ssim`` with ``_low`` and ``_high`` of
            `lib.defense.restoration.summary`; PSNR in dB, NaN where all images are restored
            exactly.
        printed: ``defense, psnr, ssim`` of `lib.evidence.printed.denoise_table`; ``None`` if there
            is none.
    """
    if not len(summary) or not summary["n"].sum():
        return message("No attack succeeded: there is no restored image to measure.")
    names = summary["defense"].tolist()
    count = int(summary["n"].max())
    said = [
        f"{shown(row['defense'])} "
        + ("all exact" if np.isnan(row["psnr"]) else f"{row['psnr']:.1f} dB")
        + f" and {row['ssim']:.3f}"
        for row in summary.to_dict("records")
    ]
    figure, panel = panels(
        1.2 + 0.42 * len(names), 2, sharey=True,
        alt=f"PSNR and SSIM of {many(count, 'restored image')}: {', '.join(said)}.",
    )  # fmt: skip
    places = range(len(names))
    handles = [key("this run, 95 % interval", "o", "0.45")]
    for axes, metric, label in zip(panel, ("psnr", "ssim"), ("PSNR, dB", "SSIM"), strict=True):
        numbers = summary[[metric, f"{metric}_low", f"{metric}_high"]].to_numpy(float)
        points(axes, numbers[:, 0], places, *numbers[:, 1:].T, [color(name) for name in names])
        if printed is not None:
            known = dict(zip(printed["defense"], printed[metric], strict=True))
            diamonds(axes, [known.get(name, np.nan) for name in names], places)
        axes.set_xlabel(label)
        axes.margins(x=0.08)
    for place in np.flatnonzero(summary["psnr"].isna()):
        panel[0].annotate(
            "all exact", (0.5, place), xycoords=("axes fraction", "data"), ha="center",
            va="center", fontsize=9,
        )  # fmt: skip
    rows_of(panel[0], [shown(name) for name in names])
    panel[1].grid(False, axis="y")
    panel[1].tick_params(axis="y", length=0)
    panel[0].set_title(f"n = {many(count, 'fooled image')}")
    if printed is not None:
        handles.append(printed_key(printed))
    below(figure, handles)
    return figure


@styled
def detection(curves: dict[str, tuple[np.ndarray, np.ndarray]], summary: pd.DataFrame) -> Figure:
    """ROC curves: attacked images told from clean ones by what each defense changes.

    Doing nothing changes nothing and is the diagonal, chance.

    Args:
        curves: by defense, as of `lib.defense.detection.curves`.
        summary: ``defense, n, auc, auc_low, auc_high`` of the same images and score, of
            `lib.defense.detection.summary`.
    """
    if not curves:
        return message("No attack succeeded: there is no attacked image to detect.")
    areas = summary.set_index("defense")
    count = int(summary["n"].max())
    said = ", ".join(f"{shown(name)} {areas.loc[name, 'auc']:.2f}" for name in curves)
    figure, axes = panels(
        4.4, alt=f"ROC curves of {many(count, 'attacked image')} and the same clean; area: {said}."
    )
    for name, (false, true) in curves.items():
        axes.plot(
            100 * false, 100 * true, color=color(name), lw=1.8,
            ls="--" if name.endswith(PATCHES) else "-",
            label=f"{shown(name)}, {areas.loc[name, 'auc']:.2f}",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.set(
        xlim=(-2, 102), ylim=(-2, 102), xlabel="clean images called attacked, %",
        ylabel="attacked images found, %", title=f"n = {many(count, 'fooled image')}, and clean",
    )  # fmt: skip
    figure.legend(loc="outside right upper", title="area under the curve")
    return figure
