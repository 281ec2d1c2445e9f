"""What a reader can move without a kernel: HTML for ``book/_static/interactive.js``.

Where the script is missing, as in JupyterLab, the pictures stand side by side.
"""

import base64
import io
import json
from collections.abc import Iterable
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from PIL import Image

from lib.figures import gallery
from lib.figures.formatting import shown
from lib.figures.style import COLORS
from lib.params.dataset_info import Facts
from lib.params.errors import InputError


def sliders(before: np.ndarray, after: np.ndarray, captions: Iterable[str]) -> HTML:
    """Pairs of images with a slider that moves the border between them.

    Args:
        before: uint8 (N, H, W, C).
        after: the same images after a change.
        captions: what stands under each pair, also its description.

    Raises:
        InputError: no stored images, or shapes that differ.
    """
    gallery.same_images(before=before, after=after)
    figures = [
        f'<figure class="compare"><div class="pair">{picture(one, "before: " + caption)}'
        f"{picture(other, 'after: ' + caption)}</div><figcaption>{escape(caption)}</figcaption>"
        "</figure>"
        for one, other, caption in zip(before, after, captions, strict=True)
    ]
    return HTML(f'<div class="compares">{"".join(figures)}</div>')


def probes(
    images: np.ndarray,
    confidences: np.ndarray,
    colors: np.ndarray,
    labels: np.ndarray,
    facts: Facts,
    captions: Iterable[str],
) -> HTML:
    """Images to probe: what the worst color at each pixel does to the true class.

    Args:
        images: uint8 (N, H, W, C), square.
        confidences: of the true class under the worst color at each pixel, (N, H, W) in 0..1.
        colors: that color, uint8 (N, H, W, C).
        labels: true classes (N,).
        facts: of the data set; single-label, as a margin has no share to show.
        captions: what stands under each.

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
            "size": height,
            "channels": channels,
            "image": _bytes(image),
            "worst": _bytes((255 * shares).round().astype(np.uint8)),
            "color": _bytes(worst),
            "unit": "confidence",
            "truth": facts.classes[label].name,
        }
        figures.append(
            f'<figure class="probe">{picture(image, caption)}'
            f"<figcaption>{escape(caption)}</figcaption>{_script(content)}</figure>"
        )
    return HTML(f'<div class="probes">{"".join(figures)}</div>')


def chart(table: pd.DataFrame, group: str, x: str = "printed, %", y: str = "ours, %") -> HTML:
    """Shares of ours over printed ones with intervals, to point at and to filter.

    Args:
        table: ``printed, ours, low, high`` (shares 0..1), ``n``, ``label`` and the column
            ``group``.
        group: column of data sets or classifiers that the marks are colored and filtered by.
        x: name of the axis of the printed values.
        y: name of the axis of ours.
    """
    names = list(dict.fromkeys(table[group]))
    paints = [COLORS[key] for key in ("resnet50", "dae", "noise2noise", "median_cnn")]
    content = {
        "points": [
            {
                "x": round(100 * row["printed"], 2),
                **{
                    to: round(100 * row[of], 1)
                    for to, of in (("y", "ours"), ("low", "low"), ("high", "high"))
                },
                "n": int(row["n"]),
                "label": str(row["label"]),
                "group": shown(row[group]),
            }
            for row in table.to_dict("records")
        ],
        "groups": [
            {"name": shown(name), "color": paints[place % len(paints)]}
            for place, name in enumerate(names)
        ],
        "x": x,
        "y": y,
    }
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
