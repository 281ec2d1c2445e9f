"""Denoisers: noise, what they make of it, and how their training goes."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.figures import gallery
from lib.figures.formatting import shown
from lib.figures.style import below, color, message, panels, styled, wrap
from lib.metrics import image_quality
from lib.params.errors import check_images

MIDDLE = 48  # pixels shown of the middle of a larger image


@styled
def noise_examples(clean: np.ndarray, noisy: dict[str, np.ndarray]) -> Figure:
    """Images with more and more noise, a row for each image.

    Args:
        clean: uint8 (N, H, W, C).
        noisy: the same images by level, such as ``"10%"``.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    columns = {f"{level} noise": images for level, images in noisy.items()}
    return _examples(clean, columns, f"Images without and with noise of {', '.join(noisy)}.")


@styled
def denoised_examples(
    clean: np.ndarray, noisy: np.ndarray, restored: dict[str, np.ndarray]
) -> Figure:
    """Clean, noisy and denoised images, a row for each image, with their PSNR.

    Args:
        clean: uint8 (N, H, W, C).
        noisy: the same images with noise.
        restored: the noisy images after each denoiser, by name.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    columns = {"noisy": noisy} | {shown(name): images for name, images in restored.items()}
    check_images("Images to show", clean=clean, **columns)
    said = [
        f"{name} {_decibel(image_quality.psnr(clean, images))}" for name, images in columns.items()
    ]
    return _examples(clean, columns, f"Noisy and denoised images, median PSNR: {', '.join(said)}.")


def _examples(clean: np.ndarray, columns: dict[str, np.ndarray], alt: str) -> Figure:
    """A row for each image, its middle if that is large, and the PSNR of the whole.

    A large image is cut and not averaged down: an average hides the noise.
    """
    check_images("Images to show", clean=clean, **columns)
    if not len(clean):
        return message("No image to show.")
    titles = [wrap(name, 13) for name in ("clean", *columns)]
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = gallery.grid(
        len(clean), 1 + len(columns), head=0.12 + 0.16 * lines, foot=0.24, largest=1.3, alt=alt
    )
    for tile, title in zip(axes[0], titles, strict=True):
        gallery.heading(tile, title)
    for place, row in enumerate(axes):
        gallery.show(row[0], _middle(clean[place]))
        if clean.shape[1] > MIDDLE:
            gallery.caption(row[0], f"{MIDDLE} of {clean.shape[1]} px")
        for tile, images in zip(row[1:], columns.values(), strict=True):
            gallery.show(tile, _middle(images[place]))
            one = slice(place, place + 1)
            gallery.caption(tile, _decibel(image_quality.psnr(clean[one], images[one])))
    return figure


def _decibel(psnr: np.ndarray) -> str:
    """Median of the images as text; infinite where they are identical to the clean ones."""
    middle = np.median(psnr) if psnr.size else np.nan
    return "identical" if np.isinf(middle) else f"{middle:.1f} dB"


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (edge - MIDDLE) // 2) for edge in image.shape[:2])
    return image[top : top + MIDDLE, left : left + MIDDLE]


@styled
def denoiser_history(histories: dict[str, list[dict]]) -> Figure:
    """PSNR of validation images by epoch; the dashed line is that of doing nothing.

    Args:
        histories: of each denoiser, one dictionary an epoch: ``epoch, validation_psnr,
            identity_psnr`` (dB), as of `lib.models.denoiser_training.fit_denoiser`.
    """
    histories = {name: found for name, found in histories.items() if found}
    if not histories:
        return message("No denoiser was trained.")
    nothing = next(iter(histories.values()))[-1]["identity_psnr"]
    said = ", ".join(
        f"{shown(name)} {found[-1]['validation_psnr']:.1f}" for name, found in histories.items()
    )
    figure, axes = panels(
        3.6,
        alt=f"PSNR in dB of noisy validation images after the last epoch: {said}; doing nothing "
        f"{nothing:.1f}.",
    )
    handles = []
    for (name, found), mark in zip(histories.items(), "os^v" * len(histories), strict=False):
        handles += axes.plot(
            [epoch["epoch"] for epoch in found],
            [epoch["validation_psnr"] for epoch in found],
            f"{mark}-", color=color(name), lw=1.8, ms=5, label=shown(name),
        )  # fmt: skip
    about = f"{shown('identity')}, {nothing:.1f} dB"
    handles.append(axes.axhline(nothing, color=color("identity"), ls="--", lw=1.8, label=about))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel="PSNR of validation images, dB")
    below(figure, handles)
    return figure
