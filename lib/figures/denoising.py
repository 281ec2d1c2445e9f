"""Denoisers: noise, denoised images, training, and the ablation's variants."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.figures import gallery, style
from lib.figures.formatting import many, shown
from lib.figures.style import OURS, color, key, styled
from lib.metrics import image_quality
from lib.params.errors import check_images

MIDDLE = 48  # pixels shown of the middle of a larger image


@styled
def noise_examples(clean: np.ndarray, noisy: dict[str, np.ndarray]) -> Figure:
    """Images with more and more noise, a row for each image.

    ``clean`` are images, uint8 (N, H, W, C); ``noisy`` the same by level, such as ``"10%"``. Raises
    `InputError` for other types or shapes.
    """
    return _examples(clean, {f"{level} noise": images for level, images in noisy.items()})


@styled
def denoised_examples(
    clean: np.ndarray, noisy: np.ndarray, restored: dict[str, np.ndarray]
) -> Figure:
    """Clean, noisy and denoised images, a row for each image, with their PSNR.

    All are uint8 (N, H, W, C); ``restored`` are the noisy images after each denoiser, by name.
    Raises `InputError` for other types or shapes.
    """
    denoised = {shown(name): images for name, images in restored.items()}
    return _examples(clean, {"noisy": noisy} | denoised)


def _examples(clean: np.ndarray, columns: dict[str, np.ndarray]) -> Figure:
    """A row for each image, cropped to its middle if large, and the PSNR of the whole.

    A large image is cropped, because averaging would hide the noise.
    """
    check_images("Images to show", clean=clean, **columns)
    if not len(clean):
        return style.message("No image to show.")
    psnr = {name: image_quality.psnr(clean, images) for name, images in columns.items()}
    titles = [style.wrap(name, 13) for name in ("clean", *columns)]
    lines = 1 + max(title.count("\n") for title in titles)
    spoken = ", ".join(f"{name} {_decibel(np.median(values))}" for name, values in psnr.items())
    figure, axes = gallery.grid(
        len(clean), 1 + len(columns), head=0.12 + 0.16 * lines, foot=0.24, largest=1.3,
        alt=f"Clean images beside noisy and restored ones, with their median PSNR: {spoken}.",
    )  # fmt: skip
    gallery.headings(axes[0], titles)
    for place, row in enumerate(axes):
        gallery.show(row[0], _middle(clean[place]))
        if clean.shape[1] > MIDDLE:
            gallery.caption(row[0], f"{MIDDLE} of {clean.shape[1]} px")
        for tile, (name, images) in zip(row[1:], columns.items(), strict=True):
            gallery.show(tile, _middle(images[place]))
            gallery.caption(tile, _decibel(psnr[name][place]))
    return figure


def _decibel(psnr: float) -> str:
    return "identical" if np.isinf(psnr) else f"{psnr:.1f} dB"


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (edge - MIDDLE) // 2) for edge in image.shape[:2])
    return image[top : top + MIDDLE, left : left + MIDDLE]


@styled
def denoiser_history(histories: dict[str, list[dict]]) -> Figure:
    """PSNR of validation images by epoch; the dashed line is that of the noisy images.

    ``histories`` are of `lib.models.denoiser_training.fit_denoiser`, by denoiser.
    """
    histories = {name: epochs for name, epochs in histories.items() if epochs}
    if not histories:
        return style.message("No denoiser was trained.")
    noisy = next(iter(histories.values()))[-1]["identity_psnr"]
    last = {name: epochs[-1]["validation_psnr"] for name, epochs in histories.items()}
    spoken = ", ".join(f"{shown(name)} {value:.1f}" for name, value in last.items())
    alt = f"PSNR in dB of validation images after the last epoch: {spoken}; noisy {noisy:.1f}."
    figure, axes = style.panels(3.6, alt=alt)
    for (name, epochs), mark in zip(histories.items(), "os^v" * len(histories), strict=False):
        x, y = ([epoch[column] for epoch in epochs] for column in ("epoch", "validation_psnr"))
        axes.plot(x, y, f"{mark}-", color=color(name), lw=1.8, ms=5, label=shown(name))
    about = f"noisy images, {noisy:.1f} dB"
    axes.axhline(noisy, color=color("identity"), ls="--", lw=1.8, label=about)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel="PSNR of validation images, dB")
    style.below(figure, axes.get_lines())
    return figure


@styled
def variants(table: pd.DataFrame, metric: str) -> Figure:
    """One metric of the models of an ablation, beside the printed one.

    Args:
        table: ``variant, n, mean, low, high, printed``; NaN where there is none.
        metric: its name with the unit.
    """
    if not len(table) or table["mean"].isna().all():
        return style.message("No variant was measured.")
    values = style.in_words(table, ["variant"], ["mean", "printed"], "{:.4g}".format)
    figure, axes = style.rows(
        [shown(name) for name in table["variant"]], 0.38, xlabel=metric,
        alt=f"{metric}, ours and printed: {values}.",
        title=f"n = {many(int(table['n'].max()), 'test image')}",
    )  # fmt: skip
    style.dots(axes, table, "mean", map(color, table["variant"]))
    style.diamonds(axes, table["printed"])
    axes.margins(x=0.06)
    style.below(figure, [key("this run, 95 % interval", "o", OURS), style.printed_key()])
    return figure
