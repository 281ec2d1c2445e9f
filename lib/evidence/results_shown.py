"""The tables of `lib.evidence.results_tables` as texts for a page."""

from collections.abc import Iterable

import pandas as pd
from IPython.display import Markdown

from lib.evidence import results_tables as recorded
from lib.evidence.dataset_record import RUN, DatasetRecord
from lib.figures import formatting, tables
from lib.figures.formatting import rate
from lib.params import ATTACKS

SIZE = "image, px"
# Columns of texts, which begin at the left.
TEXTS = {
    "data set", "dataset", "classifier", "class", "defense", "changed", "reference", "hypothesis",
}  # fmt: skip


def rates(table: pd.DataFrame, name: str = "rate") -> list[str]:
    """A share with its interval as texts, ``55 % (50–59)``.

    Args:
        table: ``name``, and its interval in ``<name>_low, <name>_high`` or ``low, high``.
        name: of the column.
    """
    own = f"{name}_low" in table
    ends = (f"{name}_low", f"{name}_high") if own else ("low", "high")
    return [rate(*row) for row in table[[name, *ends]].itertuples(index=False)]


def page(table: pd.DataFrame, caption: str = "", fold: str = ""):
    """A table for a page, or a sentence where it has no rows.

    Args:
        table: of texts.
        caption: above the table.
        fold: what is asked for by a click; empty: the table stands open.
    """
    if not len(table):
        return Markdown("Not recorded yet.")
    style = tables.table(table, caption)
    # A number and its interval stay on one line.
    style.set_properties([*table.columns.difference(TEXTS)], **{"white-space": "nowrap"})
    left = {"text-align": "left"}
    for name in TEXTS & set(table.columns):
        style.set_properties([name], **left)
        heading = [{"selector": "th.col_heading", "props": list(left.items())}]
        style.set_table_styles({name: heading}, overwrite=False)
    return tables.folded(style, fold) if fold else style


def pages(table: pd.DataFrame, caption: str = "") -> list:
    """A table for each size of images: the first one open, the others folded.

    Args:
        table: of texts, with a column `SIZE` if there are several sizes.
        caption: above each.
    """
    if not len(table) or SIZE not in table:
        return [page(table, caption)]
    return [
        page(
            of.drop(columns=SIZE).dropna(axis=1, how="all"), f"{caption} {size} px.".strip(),
            f"The same at {size} px" if at else "",
        )
        for at, (size, of) in enumerate(table.groupby(SIZE, sort=False))
    ]  # fmt: skip


def accuracies(found: DatasetRecord) -> pd.DataFrame:
    """Test accuracy of the classifiers, beside the printed one."""
    table = recorded.accuracies(found)
    return pd.DataFrame(
        {
            SIZE: table["size"],
            "classifier": table["classifier"],
            "training images": table["training_images"],
            "test images": table["n"],
            "accuracy": rates(table, "accuracy"),
            "printed": table["printed"].map(printed_share),
            "majority baseline": table["constant"].map(rate),
        }
    )


def precision_recall(found: DatasetRecord) -> pd.DataFrame:
    """Precision, recall and F1 of each class, both classifiers, with the printed ones."""
    table = recorded.nearest(recorded.precision_recall(found))
    if not len(table):
        return table
    shown = table[["classifier", "class", "images"]].copy()
    for name in ("precision", "recall", "f1"):
        shown[name.replace("f1", "F1")] = fixed(table[name], 2)
        shown[f"printed {name.replace('f1', 'F1')}"] = fixed(table[f"printed_{name}"], 2)
    return shown


def by_class(found: DatasetRecord) -> pd.DataFrame:
    """Attack success by class, one and two pixels side by side, beside the printed rates."""
    return _beside(recorded.success_by_class(found), [*RUN, "class"])


def rates_of_runs(success: pd.DataFrame) -> pd.DataFrame:
    """Success of each run beside the printed rate, as a row for each attack.

    The class-weighted rate has each class as often as the paper's table has it.

    Args:
        success: of `results_tables.success`, with ``dataset``.
    """
    shown = success[["dataset", "size", "classifier", "pixels", "n"]].copy()
    shown["success"] = rates(success)
    shown["class-weighted"] = rates(success, "matched")
    shown["printed"] = success["printed"].map(printed_share)
    return sized(shown)


def _beside(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row a key, the columns of one pixel before those of two."""
    shown = table[keys].drop_duplicates().reset_index(drop=True)
    for pixels in sorted(ATTACKS):
        of = table[table["pixels"] == pixels]
        if not len(of):
            continue
        name = formatting.pixels(pixels)
        texts = of[keys].assign(**{name: rates(of), f"n, {name}": of["n"]})
        texts[f"printed, {name}"] = of["printed"].map(printed_share)
        shown = shown.merge(texts, "left", on=keys)
        shown[f"n, {name}"] = shown[f"n, {name}"].astype("Int64")
    return sized(shown)


def by_size(success: pd.DataFrame, nets: pd.DataFrame) -> pd.DataFrame:
    """Attack success at each size of the images, with accuracy and budget.

    Args:
        success: of `results_tables.success`, with ``dataset``.
        nets: of `results_tables.accuracies`, likewise.
    """
    keys = ["dataset", *RUN]
    table = success.merge(nets[[*keys, "accuracy", "budget"]], on=keys)
    order = ["dataset", "classifier", "pixels", "size"]
    places = table[order].copy()
    for name in order[:2]:
        places[name] = pd.Categorical(table[name], table[name].unique()).codes
    table = table.loc[places.sort_values(order).index]
    shown = table[[*order, "protocol"]].rename(columns={"size": SIZE, "protocol": "run"})
    shown["attack success"] = rates(table)
    shown["n"] = table["n"]
    shown["classifier's accuracy"] = table["accuracy"].map(rate)
    shown["queries allowed"] = table["budget"]
    return shown


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with one setting changed beside the unchanged ones.

    Args:
        table: of `lib.evidence.variants.contrasts` or `results_tables.size_contrasts`.
    """
    if not len(table):
        return table
    by_size = "base_size" in table
    about = ["size", "base_size"] if by_size else ["variant"]
    shown = table[[*about, "dataset", "classifier", "pixels"]].rename(
        columns={"variant": "changed", "size": SIZE, "base_size": "compared with, px"}
    )
    shown["attack success"] = rates(table)
    shown["n"] = table["n"]
    shown["unchanged"] = rates(table, "base_rate")
    ends = table[["difference", "difference_low", "difference_high"]].mul(100)
    shown["difference, points"] = [
        "–" if a != a else f"{a:+.0f} ({b:+.0f} to {c:+.0f})"
        for a, b, c in ends.itertuples(index=False)
    ]
    shown["shared images"] = table["shared"]
    return shown


def times(found: DatasetRecord) -> pd.DataFrame:
    """Minutes of training and attack, with the printed ones."""
    table = recorded.nearest(recorded.times(found))
    names = {1: "training of {}", 2: "attack on {}"}
    steps = [names[len(step)].format(formatting.place(*step)) for step in table["step"]]
    return pd.DataFrame(
        {
            "step": steps,
            "minutes": [formatting.figures(value, 2) for value in table["minutes"]],
            "printed minutes": [
                "–" if value != value else f"{value:,.0f}" for value in table["printed"]
            ],
            "table": [("–" if number != number else f"{number:.0f}") for number in table["table"]],
        }
    )


def printed_share(share: float) -> str:
    """A printed share with the first decimal, as small ones differ in it."""
    return "–" if share != share else f"{100 * share:.1f} %"


def fixed(values: Iterable[float], digits: int) -> list[str]:
    """Numbers with so many decimals, a dash for NaN."""
    return ["–" if value != value else f"{value:.{digits}f}" for value in values]


def estimate(value: float, low: float, high: float, digits: int) -> str:
    """A number with its interval, ``40.5 (39.9–41.0)``; a dash for NaN."""
    (text,) = fixed([value], digits)
    return text if low != low else f"{text} ({low:.{digits}f}–{high:.{digits}f})"


def sized(table: pd.DataFrame) -> pd.DataFrame:
    """Size first, no protocol, and no missing text."""
    table = table.drop(columns="protocol", errors="ignore").rename(columns={"size": SIZE})
    if SIZE in table:
        table.insert(0, SIZE, table.pop(SIZE))
    if "dataset" in table:
        table.insert(0, "dataset", table.pop("dataset"))
    return table


def metric(name: str) -> str:
    """Name of an image measure with its unit."""
    return formatting.shown(name) + (", dB" if name == "psnr" else "")
