"""Colors, names, sizes and marks that all figures share."""

import base64
import html
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from lib import params
from lib.figures.formatting import percent, shown

WIDTH = 7.0  # inches
SHOWN = 110  # pixels of a page for an inch: figures are 770 wide
DPI = 2 * SHOWN  # stored, so that they are crisp on screens with two dots a pixel
LARGEST = 250_000  # bytes of a picture in a page

_PALETTE = seaborn.color_palette("colorblind").as_hex()
OURS = _PALETTE[0]
PRINTED = _PALETTE[7]  # gray: what the paper prints, in every figure
INK, FAINT = "#333333", "#cccccc"
GOOD, BAD = _PALETTE[2], _PALETTE[3]
# DAE, the paper's own proposal, shares its color with figures that have one series only.
COLORS = {
    "dae": OURS, "autoencoder": _PALETTE[1], "noise2noise": _PALETTE[2], "median_cnn": _PALETTE[4],
    "median3": _PALETTE[6], "identity": _PALETTE[5], "resnet50": _PALETTE[3],
    "densenet121": _PALETTE[9],
}  # fmt: skip
_STYLE = {
    **seaborn.axes_style("whitegrid"),
    "figure.dpi": DPI,
    "savefig.facecolor": "white",
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
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
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
            png = _png(_reduced(picture))
        width, height = (round(SHOWN * inches) for inches in self.get_size_inches())
        return png, {"alt": self.get_label(), "width": width, "height": height}

    def to_html(self) -> str:
        """The picture as an HTML element, where a notebook's output cannot stand."""
        png, look = self._repr_png_()
        source = base64.b64encode(png).decode()
        return (
            f'<img class="figure" alt="{html.escape(look["alt"])}" width="{look["width"]}" '
            f'src="data:image/png;base64,{source}">'
        )


def _reduced(picture: Image.Image) -> Image.Image:
    """The picture in 256 colors."""
    # For the few colors of most plots the first way is off by a shade at most, and the fastest.
    few = picture.getcolors(1024)
    way = {"method": Image.Quantize.MAXCOVERAGE} if few else {"kmeans": 1}
    return picture.quantize(256, **way, dither=Image.Dither.NONE)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()


def styled(function: Callable[..., Picture]) -> Callable[..., Picture]:
    """Draw in the common style and leave the global one alone."""

    @wraps(function)
    def drawn(*args: Any, **kwargs: Any) -> Picture:
        with matplotlib.rc_context(_STYLE):
            figure = function(*args, **kwargs)
            # Ticks take their style when they are made, which is when they are first drawn.
            figure.draw_without_rendering()
        return figure

    return drawn


def panels(height: float, columns: int = 0, alt: str = "", **options: Any) -> tuple[Picture, Any]:
    """A figure of full width with axes, or an array of axes side by side; height in inches."""
    figure = Picture(figsize=(WIDTH, height), layout="constrained", label=alt)
    axes = figure.subplots(1, columns or 1, squeeze=False, **options)[0]
    return figure, axes if columns else axes[0]


def rows(
    labels: Sequence[str], step: float, room: float = 1.1, alt: str = "", **options: Any
) -> tuple[Picture, Axes]:
    """A figure with a labeled row for each value, from the top down.

    Args:
        labels: of the rows.
        step: height of a row in inches.
        room: height of everything else in inches.
        alt: label of the figure.
        options: of the axes, such as ``xlabel`` and ``xlim``.
    """
    figure, axes = panels(room + step * len(labels), alt=alt)
    name_rows(axes, labels)
    axes.set(**options)
    return figure, axes


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Label the places 0, 1, ... of the y axis from the top down."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    bare(axes)


def bare(axes: Axes) -> None:
    """A y axis of names: no lines, no ticks."""
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def message(text: str) -> Picture:
    """A figure that says why it shows no data."""
    figure = Picture(figsize=(WIDTH, 0.9), label=text)
    figure.text(0.5, 0.5, wrap(text, 80), ha="center", va="center", color="0.4")
    return figure


def in_words(
    table: pd.DataFrame,
    names: Sequence[str],
    values: Sequence[str],
    text: Callable[[float], str] = percent,
) -> str:
    """Values of a table for the alternative text: ``DAE 54.6 %, 67.8 %; Median ...``."""
    return "; ".join(
        f"{', '.join(shown(row[name]) for name in names)} "
        + ", ".join("–" if pd.isna(row[value]) else text(row[value]) for value in values)
        for row in table.to_dict("records")
    )


def color(name: str) -> str:
    """Color of a defense, with or without patch selection, or of a classifier; else that of our
    values.
    """
    return COLORS.get(str(name).removesuffix(params.PATCHES), OURS)


def wrap(text: str, width: int) -> str:
    """Text on several lines; a longer word is hyphenated."""
    text = re.sub(rf"\S{{{width - 1}}}(?=\S\S)", r"\g<0>- ", text)
    return textwrap.fill(text, width, break_on_hyphens=False)


def dots(
    axes: Axes, table: pd.DataFrame, name: str, paints: Iterable[str],
    shift: float = 0.0, scale: float = 1.0, marker: str = "o", hollow: bool = False,
) -> None:  # fmt: skip
    """Values of a column along x with their intervals, one row each; NaN is left out.

    Args:
        axes: where.
        table: column ``name``, and its interval in ``<name>_low, <name>_high`` or ``low, high``.
        paints: a color for each row.
        shift: of all places.
        scale: 100 for shares in percent.
        marker: as in matplotlib.
        hollow: whether marks are white inside.
    """
    bounds = (f"{name}_low", f"{name}_high") if f"{name}_low" in table else ("low", "high")
    numbers = scale * table[[name, *bounds]].to_numpy(float)
    for place, ((value, *ends), paint) in enumerate(zip(numbers, paints, strict=True)):
        axes.plot(ends, [place + shift] * 2, color=paint, lw=2, solid_capstyle="butt")
        axes.plot(value, place + shift, marker, zorder=3, **look(marker, paint, hollow))


def diamonds(axes: Axes, values: pd.Series, shift: float = 0.0, **edge: Any) -> None:
    """Printed values, one a row; NaN is left out. ``edge`` is ``mec`` and ``mew`` if not the
    usual.
    """
    places = np.arange(len(values)) + shift
    axes.plot(values, places, "D", zorder=2.5, **look("D", PRINTED) | edge)


def separators(axes: Axes, groups: pd.DataFrame) -> None:
    """Lines between rows whose values differ."""
    differ = groups.ne(groups.shift()).any(axis=1).to_numpy()
    for place in np.flatnonzero(differ)[1:]:
        axes.axhline(place - 0.5, color=FAINT, lw=1)


def key(
    label: str, marker: str = "o", paint: str = INK, hollow: bool = False, line: str = "-"
) -> Line2D:
    """An entry of a legend for `dots`; see `printed_key` for `diamonds`."""
    width = 1.2 if line == "--" else 2
    mark = look(marker, paint, hollow)
    return Line2D([], [], marker=marker, ls=line, lw=width, color=paint, label=label, **mark)


def look(marker: str, paint: str, hollow: bool = False) -> dict[str, Any]:
    """Size and colors of a mark, as `matplotlib.lines.Line2D` takes them."""
    if hollow:
        return {"ms": 7.5, "mfc": "white", "mec": paint, "mew": 1.8}
    return {"ms": 6.5 if marker == "D" else 7.5, "mfc": paint, "mec": INK, "mew": 0.6}


def printed_key(frame: pd.DataFrame | None = None) -> Line2D:
    """Legend entry of printed values, with the number of their table if the frame knows it."""
    table = getattr(frame, "attrs", {}).get("table")
    where = f" (Table {table})" if table else ""
    return key(f"printed in the paper{where}", "D", PRINTED, line="none")


def below(figure: Picture, handles: list, columns: int = 3) -> None:
    """Legend under the axes."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def note(
    axes: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **more: Any
) -> None:
    """Small text beside a point, moved by so many points of the page."""
    axes.annotate(text, at, shift, textcoords="offset points", **{"fontsize": 9} | more)
