"""Figures that react without a kernel: HTML for ``book/_static/interactive.js``.

Without the script, as in JupyterLab, the pictures stand side by side.
"""

import base64
import io
import json
from collections.abc import Iterable
from html import escape
from itertools import cycle

import numpy as np
import pandas as pd
from IPython.display import HTML
from PIL import Image

from lib.figures.formatting import shown
from lib.figures.style import COLORS
from lib.params.dataset_info import Facts
from lib.params.errors import InputError, check_images


def sliders(before: np.ndarray, after: np.ndarray, captions: Iterable[str]) -> HTML:
    """Pairs of images with a slider that moves the border between them.

    ``before`` and ``after`` are uint8 (N, H, W, C); ``captions`` describe the pairs. Raises
    `InputError` for other types or shapes.
    """
    check_images("Images to show", before=before, after=after)
    return _figures("compare", (
        (f'<div class="pair">{picture(one, "before: " + caption)}'
         f'{picture(other, "after: " + caption)}</div>', caption, "")
        for one, other, caption in zip(before, after, captions, strict=True)
    ))  # fmt: skip


def probes(
    images: np.ndarray, confidences: np.ndarray, colors: np.ndarray, labels: np.ndarray,
    facts: Facts, captions: Iterable[str],
) -> HTML:  # fmt: skip
    """Images to probe: what the worst color at each pixel does to the true class.

    Args:
        images: uint8 (N, H, W, C), square.
        confidences: of the true class under the worst color at each pixel, (N, H, W) in 0..1.
        colors: that color, uint8 (N, H, W, C).
        labels: true classes (N,).
        facts: of the data set; single-label, as a margin has no share to show.
        captions: under each.

    Raises:
        InputError: a multi-label set, or images that are not square.
    """
    if facts.multi_label:
        raise InputError(f"{facts.title} has margins instead of shares: there is no probe of it.")
    height, width, channels = images.shape[1:]
    if height != width:
        raise InputError(f"A probe needs a square image, not {height} x {width}.")
    figures = []
    for image, shares, worst, label, caption in zip(
        images, confidences, colors, labels, captions, strict=True
    ):
        content = {
            "size": height, "channels": channels, "image": _bytes(image),
            "worst": _bytes((255 * shares).round().astype(np.uint8)), "color": _bytes(worst),
            "unit": "confidence", "truth": facts.classes[label].name,
        }  # fmt: skip
        figures.append((picture(image, caption), caption, _script(content)))
    return _figures("probe", figures)


def _figures(kind: str, parts: Iterable[tuple[str, str, str]]) -> HTML:
    """Elements of one kind, each from its picture, caption and script."""
    figures = [
        f'<figure class="{kind}">{shown}<figcaption>{escape(caption)}</figcaption>{script}</figure>'
        for shown, caption, script in parts
    ]
    return HTML(f'<div class="{kind}s">{"".join(figures)}</div>')


def chart(table: pd.DataFrame, group: str) -> HTML:
    """Our shares over the printed ones with intervals, to point at and to filter.

    Args:
        table: ``printed, ours, low, high`` (shares 0..1), ``n``, ``label`` and the column
            ``group``.
        group: column of data sets or classifiers that colors and filters the marks.
    """
    paints = cycle(COLORS[key] for key in ("resnet50", "dae", "noise2noise", "median_cnn"))
    names = table[group].map(shown)
    points = pd.DataFrame({
        "x": (100 * table["printed"]).round(2), "y": (100 * table["ours"]).round(1),
        "low": (100 * table["low"]).round(1), "high": (100 * table["high"]).round(1),
        "n": table["n"].astype(int), "label": table["label"], "group": names,
    })  # fmt: skip
    content = {
        "points": points.to_dict("records"),
        "groups": [{"name": n, "color": next(paints)} for n in names.unique()],
        "x": "printed, %", "y": "ours, %",
    }  # fmt: skip
    return HTML(f'<div class="chart">{_script(content)}</div>')


def picture(image: np.ndarray, alt: str, style: str = "") -> str:
    """A stored image, uint8 (H, W, C), as an element of HTML that needs no file."""
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    looks = f' style="{style}"' if style else ""
    return f'<img alt="{escape(alt)}"{looks} src="data:image/png;base64,{text}">'


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.uint8)).decode()


def _script(content: dict) -> str:
    text = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'
