"""The banner of a run, and tables with intervals."""

import math
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pandas as pd
from IPython.display import HTML
from pandas.io.formats.style import Styler

from lib import params
from lib.data import Provenance
from lib.figures import formatting
from lib.figures.style import Picture
from lib.params import Parameters

WARNINGS = {
    "phantom": "Phantoms are synthetic images drawn by this project. They show that the pipeline "
    "works, and say nothing about medical images.",
    "rebuilt": "Real images from an unofficial copy. Sizes, splits or selection differ from the "
    "paper's, so values are not expected to agree.",
    "official": "MedMNIST's official file.",
}
# Columns of names that are ids in files and parameters.
NAMED = {
    "dataset", "data set", "classifier", "defense", "denoiser", "variant", "reference", "row",
    "quantity", "metric", "model",
}  # fmt: skip
# Columns of texts to read: from so many characters in a cell on, at least so wide.
WIDTHS = {30: "13em", 200: "26em"}


def banner(p: Parameters, data: Provenance, classifier: bool = False) -> str:
    """First lines of a page as Markdown: run, data source and its distance from the paper's.

    ``classifier``: whether the page is about one classifier.
    """
    names = [f"**data set** {params.facts(p.dataset).title}"]
    if classifier:
        names.append(f"**classifier** {params.read('classifiers', p.classifier)['title']}")
    note = f" {data.note}" if data.note else ""
    return (
        f"**protocol** `{p.run_name}` · {' · '.join(names)} · **seed** {p.seed} · "
        f"**data source** `{data.source}` (`{data.npz}`, MD5 `{data.md5}`)\n\n"
        f"> {WARNINGS[data.source]}{note}"
    )


def sources(found: Iterable[str]) -> str:
    """What the data sources of a table mean; empty for others."""
    known = sorted(set(found) & WARNINGS.keys())
    return " ".join(f"`{source}`: {WARNINGS[source]}" for source in known)


def interval(value: float, low: float, high: float, digits: int | None = None) -> str:
    """A value with its 95 % interval, ``12.3 (8.1–17.9)``; a dash for NaN.

    ``digits``: decimals; by default as many as keep three figures of the value.
    """
    if math.isnan(value):
        return "–"
    digits = min(6, formatting.decimals(value)) if digits is None else digits
    text = f"{value:.{digits}f}"
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} ({low:.{digits}f}–{high:.{digits}f})"


def intervals(frame: pd.DataFrame, column: str, digits: int | None = None) -> pd.Series:
    """A column as texts with its interval, see `ends` and `interval`."""
    texts = [interval(*row, digits) for row in ends(frame, column)]
    return pd.Series(texts, frame.index, object)


def rates(frame: pd.DataFrame, column: str = "rate", digits: int = 0) -> pd.Series:
    """A column of shares as texts with its interval, ``55 % (50–59)``."""
    texts = [formatting.rate(*row, digits) for row in ends(frame, column)]
    return pd.Series(texts, frame.index, object)


def ends(frame: pd.DataFrame, column: str) -> Iterator[tuple[float, float, float]]:
    """The values of a column, each with the bounds of its interval.

    These are ``<column>_low`` and ``<column>_high``, or else ``low`` and ``high``.

    Raises:
        ValueError: ``low`` and ``high`` do not contain the value, so they are of another column.
    """
    own = f"{column}_low" in frame
    low, high = (f"{column}_low", f"{column}_high") if own else ("low", "high")
    outside = (frame[column] < frame[low] - 1e-9) | (frame[column] > frame[high] + 1e-9)
    if not own and outside.any():
        raise ValueError(f"low and high are not the interval of {column}, which lies outside.")
    return frame[[column, low, high]].itertuples(index=False, name=None)


def table(
    frame: pd.DataFrame, caption: str = "", percent: Iterable[str] = (), digits: int = 3
) -> Styler:
    """A table for a page: no index, shares as %, missing values as a dash, names for ids.

    ``percent`` names columns with shares 0..1; ``digits`` is the precision of other numbers.
    """

    def number(value: object) -> str:
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if isinstance(value, float) and not (value.is_integer() and abs(value) < 1e15):
            return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
        return f"{value:,.0f}" if isinstance(value, int | float) else str(value)

    formats = dict.fromkeys(frame.columns, number)
    formats |= {name: lambda text: formatting.listed(str(text)) for name in NAMED & {*frame}}
    formats |= dict.fromkeys(percent, formatting.percent)
    style = frame.style.hide(axis="index").format(formats, na_rep="–", escape="html")
    if caption:
        style.set_caption(caption)
    for name in frame.columns:
        longest = frame[name].map(lambda value: len(str(value))).max()
        if widths := [width for characters, width in WIDTHS.items() if longest > characters]:
            begin_left(style, name, **{"min-width": widths[-1], "white-space": "normal"})
    if "verdict" in frame:  # the word gets its color from the book's style sheet
        named = "verdict " + frame[["verdict"]].astype(str).map(lambda word: word.replace(" ", "-"))
        style.set_td_classes(named)
    return style.format_index(lambda name: formatting.shown(str(name)), axis="columns")


def begin_left(style: Styler, name: str, **more: str) -> None:
    """Let a column and its heading begin at the left, with more properties if given."""
    look = {"text-align": "left"} | more
    style.set_properties([name], **look)
    heading = [{"selector": "th.col_heading", "props": list(look.items())}]
    style.set_table_styles({name: heading}, overwrite=False)


def folded(shown: Styler | Picture, title: str) -> HTML:
    """A table or a figure that is seen after a click on its title."""
    text = shown.to_html()
    return HTML(f'<details class="fold"><summary>{title}</summary>{text}</details>')


def ours_and_printed(
    ours: pd.DataFrame, printed: pd.DataFrame | None, key: str, columns: Collection[str]
) -> pd.DataFrame:
    """Two rows for each name, ours and the paper's, so that values can be compared.

    Args:
        ours: ``key``, optionally ``n`` and ``exact``, and means with ``_low`` and ``_high``.
        printed: ``key`` and the same columns; ``None`` where the paper has no table.
        key: column of the names.
        columns: the means to show.
    """
    shown = ours[[key, *(name for name in ("n", "seeds", "exact") if name in ours)]].copy()
    shown.insert(1, "values", "ours")
    for name in columns:
        shown[name] = intervals(ours, name)
    if printed is None:
        return shown
    theirs = printed.loc[printed[key].isin(ours[key]), [key, *columns]].assign(values="printed")
    both = pd.concat([shown.astype(object), theirs.astype(object)])
    return both.set_index(key).loc[ours[key].tolist()].reset_index()
