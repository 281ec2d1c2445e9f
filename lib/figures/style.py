"""Colors, names, sizes and the few marks that all figures share."""

import io
import textwrap
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lib import params

WIDTH = 7.0  # inches
SHOWN = 110  # pixels of a page for an inch: figures are 770 wide
DPI = 2 * SHOWN  # stored, so that they are crisp on screens with two dots a pixel
LARGEST = 250_000  # bytes of a picture in a page

# seaborn's palette "colorblind" and, below, its style "whitegrid". They are written out because
# seaborn brings scipy.stats, which would take longer to import than a page's figures to draw.
_PALETTE = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
OURS = _PALETTE[0]
PRINTED = _PALETTE[7]  # gray: what the paper prints, in every figure
INK, FAINT = "#333333", "#cccccc"
GOOD, BAD = _PALETTE[2], _PALETTE[3]
# DAE, the paper's own proposal, shares its color with figures that have one series only.
COLORS = {
    "dae": OURS,
    "autoencoder": _PALETTE[1],
    "noise2noise": _PALETTE[2],
    "median_cnn": _PALETTE[4],
    "median3": _PALETTE[6],
    "identity": _PALETTE[5],
    "resnet50": _PALETTE[3],
    "densenet121": _PALETTE[9],
}
_WHITEGRID = {
    "axes.axisbelow": True,
    "axes.edgecolor": ".8",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelcolor": ".15",
    "axes.spines.bottom": True,
    "axes.spines.left": True,
    "axes.spines.right": True,
    "axes.spines.top": True,
    "figure.facecolor": "white",
    "grid.color": ".8",
    "grid.linestyle": "-",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "text.color": ".15",
    "xtick.bottom": False,
    "xtick.color": ".15",
    "xtick.direction": "out",
    "xtick.top": False,
    "ytick.color": ".15",
    "ytick.direction": "out",
    "ytick.left": False,
    "ytick.right": False,
}
_STYLE = _WHITEGRID | {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters everywhere
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.edgecolor": "0.6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Picture(Figure):
    """A figure that notebooks show as a PNG of twice the resolution, its label as ``alt``.

    A plain `Figure` is shown as text unless some pyplot figure was made before. Plots, and
    pictures above `LARGEST`, are stored with 256 colors, a third of the size.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        with matplotlib.rc_context(_STYLE):
            canvas = FigureCanvasAgg(self)
            canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        png = _png(picture) if any(axes.images for axes in self.axes) else b""
        if not png or len(png) > LARGEST:
            png = _png(picture.quantize(256, kmeans=1, dither=Image.Dither.NONE))
        width, height = (round(SHOWN * inches) for inches in self.get_size_inches())
        return png, {"alt": self.get_label(), "width": width, "height": height}


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


P = ParamSpec("P")


def styled(function: Callable[P, Picture]) -> Callable[P, Picture]:
    """Draw in the common style and leave the global one alone."""

    @wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Picture:
        with matplotlib.rc_context(_STYLE):
            figure = function(*args, **kwargs)
            # Ticks take their style when they are made, which is when they are first drawn.
            figure.draw_without_rendering()
        return figure

    return drawn


def panels(height: float, columns: int = 1, alt: str = "", **options: Any) -> tuple[Picture, Any]:
    """A figure of full width with one or more axes side by side; height in inches."""
    figure = Picture(figsize=(WIDTH, height), layout="constrained", label=alt)
    return figure, figure.subplots(1, columns, **options)


def message(text: str) -> Picture:
    """A figure that says why there is nothing to see."""
    figure = Picture(figsize=(WIDTH, 0.9), label=text)
    figure.text(0.5, 0.5, wrap(text, 80), ha="center", va="center", color="0.4")
    return figure


def color(name: str) -> str:
    """Fixed color of a defense or classifier; that of our values for anything else.

    A denoiser keeps its color with patch selection: the mark or the line tells them apart.
    """
    return COLORS.get(str(name).removesuffix(params.PATCHES), OURS)


def wrap(text: str, width: int) -> str:
    """Text on several lines; a longer word is hyphenated."""
    words = []
    for word in text.split(" "):
        while len(word) > width:
            words.append(word[: width - 1] + "-")
            word = word[width - 1 :]
        words.append(word)
    return textwrap.fill(" ".join(words), width, break_on_hyphens=False)


def points(
    axes: Axes,
    values: Iterable[float],
    places: Iterable[float],
    lows: Iterable[float],
    highs: Iterable[float],
    colors: Iterable[str],
    marker: str = "o",
    hollow: bool = False,
) -> None:
    """Values along x with their intervals; what is NaN is left out."""
    for value, place, low, high, paint in zip(values, places, lows, highs, colors, strict=True):
        if np.isnan(value):
            continue
        if not (np.isnan(low) or np.isnan(high)):
            axes.plot([low, high], [place, place], color=paint, lw=2, solid_capstyle="butt")
        face = "white" if hollow else paint
        edge = paint if hollow else INK
        axes.plot(
            value, place, marker, ms=7.5, mfc=face, mec=edge, mew=1.8 if hollow else 0.6, zorder=3
        )


def diamonds(axes: Axes, values: Iterable[float], places: Iterable[float]) -> None:
    """Printed values; NaN is left out."""
    axes.plot(list(values), list(places), "D", ms=6.5, mfc=PRINTED, mec=INK, mew=0.6, zorder=2.5)


def key(
    label: str, marker: str = "o", paint: str = INK, hollow: bool = False, line: str = "-"
) -> Line2D:
    """An entry of a legend for `points`; see `printed_key` for `diamonds`."""
    return Line2D(
        [], [], marker=marker, ls=line, lw=1.2 if line == "--" else 2, color=paint,
        ms=6.5 if marker == "D" else 7.5, mfc="white" if hollow else paint,
        mec=paint if hollow else INK, mew=1.8 if hollow else 0.6, label=label,
    )  # fmt: skip


def printed_key(frame: Any = None) -> Line2D:
    """Legend entry of printed values, with the number of their table if the frame knows it."""
    table = getattr(frame, "attrs", {}).get("table")
    where = f" (Table {table})" if table else ""
    return key(f"printed in the paper{where}", "D", PRINTED, line="none")


def below(figure: Picture, handles: list, columns: int = 3) -> None:
    """Legend under the axes."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def rows_of(axes: Axes, labels: list[str]) -> None:
    """Label the places 0, 1, ... of the y axis from the top down."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
