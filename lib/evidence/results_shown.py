"""The tables of `lib.evidence.results_tables` as texts for a page."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pandas as pd
from IPython.display import Markdown

from lib.evidence import confidence
from lib.evidence import results_tables as recorded
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.results_tables import WITHIN
from lib.figures import formatting, tables
from lib.figures.formatting import percent, rate
from lib.figures.tables import ends, rates

SIZE = "image, px"
# Columns of texts, which begin at the left.
TEXTS = {
    "data set", "classifier", "class", "defense", "changed", "reference", "hypothesis",
}  # fmt: skip


def if_any(make: Callable) -> Callable:
    """Decorator: a table without rows stays as it is, because it may have no columns."""

    @wraps(make)
    def made(table: pd.DataFrame, *more: Any) -> pd.DataFrame:
        return make(table, *more) if len(table) else table

    return made


def titled(table: pd.DataFrame, titles: dict[str, str]) -> dict[str, pd.Series]:
    """`rates` of several columns, by title."""
    return {title: rates(table, name) for name, title in titles.items()}


def page(table: pd.DataFrame, caption: str = "", fold: str = ""):
    """A table for a page, seen after a click on ``fold`` if given; a sentence without rows."""
    if not len(table):
        return Markdown("Not recorded yet.")
    table = table.rename(columns={"dataset": "data set"})
    style = tables.table(table, caption)
    # A number and its interval stay on one line.
    style.set_properties([*table.columns.difference(TEXTS)], **{"white-space": "nowrap"})
    for name in table:  # not over the set, whose order differs from process to process
        if name in TEXTS:
            tables.begin_left(style, name)
    return tables.folded(style, fold) if fold else style


def pages(table: pd.DataFrame, caption: str = "") -> list:
    """A table for each size of images: the first one open, the others folded."""
    if not len(table) or SIZE not in table:
        return [page(table, caption)]
    return [
        page(
            of.drop(columns=SIZE).dropna(axis=1, how="all"), f"{caption} {size} px.".strip(),
            f"The same at {size} px" if at else "",
        )
        for at, (size, of) in enumerate(table.groupby(SIZE, sort=False))
    ]  # fmt: skip


def accuracies(found: RecordedRuns) -> pd.DataFrame:
    """Test accuracy of the classifiers, beside the printed one."""
    table = recorded.accuracies(found)
    return pd.DataFrame({
        SIZE: table["size"], "classifier": table["classifier"],
        "training images": table["training_images"], "test images": table["n"],
        "accuracy": rates(table, "accuracy"), "printed": table["printed"].map(percent),
        "majority baseline": table["constant"].map(rate),
    })  # fmt: skip


def precision_recall(found: RecordedRuns) -> pd.DataFrame:
    """Precision, recall and F1 of each class, both classifiers, with the printed ones."""
    table = recorded.nearest(recorded.precision_recall(found))
    if not len(table):
        return table
    shown = table[["classifier", "class", "images"]].copy()
    for name, title in {"precision": "precision", "recall": "recall", "f1": "F1"}.items():
        shown[title] = fixed(table[name], 2)
        shown[f"printed {title}"] = fixed(table[f"printed_{name}"], 2)
    return shown


def by_class(found: RecordedRuns) -> pd.DataFrame:
    """Attack success by class, one and two pixels side by side, beside the printed rates."""
    keys = [*WITHIN, "class"]
    return by_pixels(recorded.success_by_class(found), keys, lambda of, name: of[keys].assign(**{
        name: rates(of), f"n, {name}": of["n"].astype("Int64"),
        f"printed, {name}": of["printed"].map(percent),
    }))  # fmt: skip


def by_pixels(
    table: pd.DataFrame, keys: list[str], texts: Callable[[pd.DataFrame, str], pd.DataFrame]
) -> pd.DataFrame:
    """One row for each key, the columns of one pixel before those of two.

    ``texts`` makes these columns, and the keys, of the rows with a number of pixels and its name.
    """
    shown = table[keys].drop_duplicates(ignore_index=True)
    for pixels, of in table.groupby("pixels"):
        shown = shown.merge(texts(of, formatting.pixels(int(pixels))), "left", on=keys)
    return sized(shown)


def rates_of_runs(success: pd.DataFrame) -> pd.DataFrame:
    """Success of each attack beside the printed rate; of `results_tables.success` with ``dataset``.

    The class-weighted rate has each class as often as the paper's table has it.
    """
    shown = sized(success[["dataset", "size", "classifier", "pixels", "n"]].assign(**{
        "success": rates(success), "class-weighted": rates(success, "matched"),
        "printed": success["printed"].map(percent),
    }))  # fmt: skip
    if success["omitted"].any():
        shown["class left out"] = success["omitted"].replace("", "–")
        same = success["matched_printed"].where(success["omitted"] != "")
        shown["printed without it"] = same.map(percent)
    return shown


def by_size(success: pd.DataFrame, nets: pd.DataFrame) -> pd.DataFrame:
    """Attack success at each size of the images, with accuracy and budget.

    ``success`` is of `results_tables.success` and ``nets`` of `accuracies`, both with ``dataset``.
    """
    keys, order = ["dataset", *WITHIN], ["dataset", "classifier", "pixels", "size"]
    table = success.merge(nets[[*keys, "accuracy", "budget"]], on=keys)
    table = table.sort_values(
        order, key=lambda of: pd.factorize(of)[0] if of.name in order[:2] else of
    )
    shown = table[[*order, "protocol"]].rename(columns={"size": SIZE, "protocol": "run"})
    return shown.assign(**{
        "attack success": rates(table), "n": table["n"],
        "classifier's accuracy": table["accuracy"].map(rate), "queries allowed": table["budget"],
    })  # fmt: skip


@if_any
def by_confidence(table: pd.DataFrame) -> pd.DataFrame:
    """Misled of attacked images at each level, of `lib.evidence.confidence.success` or ``sizes``.

    ``table`` has ``dataset, size, classifier``.
    """
    keys = ["dataset", "size", "classifier"]
    counts = table["successes"].astype(str) + " of " + table["n"].astype(str)
    counts = table[keys].assign(level=table["confidence"], counts=counts)
    shown = counts.pivot(index=keys, columns="level", values="counts")
    shown = shown.reindex(pd.MultiIndex.from_frame(counts[keys].drop_duplicates()))
    levels = [name for name in confidence.LEVELS if name in shown]
    shown = shown[levels].fillna("–").add_suffix(" %").reset_index()
    return sized(shown.rename_axis(columns=None))


@if_any
def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with one setting changed beside the unchanged ones.

    ``table`` is of `lib.evidence.variants.contrasts` or `results_tables.size_contrasts`.
    """
    about = ["size", "base_size"] if "base_size" in table else ["variant"]
    names = {"variant": "changed", "size": SIZE, "base_size": "compared with, px"}
    shown = table[[*about, "dataset", "classifier", "pixels"]].rename(columns=names)
    return shown.assign(**{
        "attack success": rates(table), "n": table["n"], "unchanged": rates(table, "base_rate"),
        "difference, points": [
            "–" if row[0] != row[0] else formatting.gain(*row) for row in ends(table, "difference")
        ],
        "shared images": table["shared"],
    })  # fmt: skip


def times(found: RecordedRuns) -> pd.DataFrame:
    """Minutes of training and attack, with the printed ones."""
    table = recorded.nearest(recorded.times(found))
    names = {1: "training of {}", 2: "attack on {}"}
    return pd.DataFrame({
        "step": [names[len(step)].format(formatting.place(*step)) for step in table["step"]],
        "minutes": [formatting.figures(value, 2) for value in table["minutes"]],
        "printed minutes": fixed(table["printed"], 0, ","), "table": fixed(table["table"], 0),
    })  # fmt: skip


def fixed(values: Iterable[float], digits: int, thousands: str = "") -> list[str]:
    """Numbers with so many decimals, a dash for NaN."""
    return ["–" if value != value else f"{value:{thousands}.{digits}f}" for value in values]


def sized(table: pd.DataFrame) -> pd.DataFrame:
    """Size first, no protocol, and no missing text."""
    table = table.drop(columns="protocol", errors="ignore").rename(columns={"size": SIZE})
    first = [name for name in ("dataset", SIZE) if name in table]
    return table[[*first, *table.columns.difference(first, sort=False)]]


def metric(name: str) -> str:
    """Name of an image measure with its unit."""
    return formatting.shown(name) + (", dB" if name == "psnr" else "")
