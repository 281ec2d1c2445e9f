"""Each printed number beside ours, with our interval and whether it holds the printed one."""

from collections.abc import Iterator

import pandas as pd

from lib import params
from lib.defense import restoration
from lib.evidence import ablation, comparison
from lib.evidence import printed as paper
from lib.evidence.findings import Recorded
from lib.figures import formatting, tables
from lib.metrics.intervals import rate_table, wilson
from lib.models.denoisers import build
from lib.models.denoisers.base import parameter_counts
from lib.params import Parameters

COLUMNS = (
    "table", "row", "quantity", "printed", "ours", "low", "high", "difference", "holds", "n",
    "source", "protocol",
)  # fmt: skip
# Half a unit of the last printed digit: a printed number stands for all that round to it.
ROUNDING = {"psnr": 0.005, "ssim": 0.005, "gmsd": 0.005, "fsim": 0.005, "mse": 5e-5}
SHARE = 0.00005
RATES = ("success rate", "test accuracy")


def compare(found: Recorded, p: Parameters) -> pd.DataFrame:
    """One row for each printed number that the recorded runs have a counterpart of.

    Returns:
        `COLUMNS`. Shares are 0..1, PSNR in dB, MSE on 0..1. ``holds`` says whether the interval
        ``low..high``, widened by half a printed unit, holds ``printed``. MSE of rows whose printed
        value is on neither or another scale (audit P1) is left out.
    """
    rows = [*_sizes()]
    rows += [*_classifiers(found)] if len(found.classifiers) else []
    rows += [*_rates(found), *_restored(found, p)] if found.runs else []
    rows += [*_ablation(found, p)] if found.ablation else []
    table = pd.DataFrame(rows)
    table = table.sort_values("table", kind="stable", ignore_index=True)
    table["difference"] = table["ours"] - table["printed"]
    low, high = table["low"] - table["slack"], table["high"] + table["slack"]
    table["holds"] = (low <= table["printed"]) & (table["printed"] <= high)
    return table.assign(protocol=p.protocol)[list(COLUMNS)]


def shown(compared: pd.DataFrame) -> pd.DataFrame:
    """`compare` for readers: of which data set and classifier each row is, shares in percent."""
    places = [
        formatting.place(*(name for name in paper.place(number)[1:] if name))
        for number in compared["table"]
    ]
    rates = compared["quantity"].isin(RATES)
    numbers = ["printed", "ours", "low", "high", "difference"]
    scaled = compared[numbers].mul(rates.map({True: 100.0, False: 1.0}), axis=0)
    table = compared[["table", "row", "quantity"]].copy()
    table.insert(1, "of", places)
    table["quantity"] += rates.map({True: ", %", False: ""})
    table["printed"] = scaled["printed"]
    table["ours"] = tables.intervals(scaled, "ours")
    table["difference"] = scaled["difference"]
    return table.join(compared[["holds", "n", "source"]])


def success_rates(compared: pd.DataFrame) -> pd.DataFrame:
    """Success rates as `lib.figures.interactive.chart` takes them, with ``group`` and ``label``.

    Args:
        compared: of `compare`.
    """
    rates = compared[compared["quantity"] == "success rate"]
    datasets = rates["table"].map(paper.place).str[1]
    return rates.assign(
        group=datasets.fillna(rates["row"].str.split(",").str[0]),
        label="Table " + rates["table"].astype(str) + ", " + rates["row"],
    )


def _row(table, row, quantity, printed, ours, low, high, n, source, slack) -> dict:
    return locals()


def _sizes() -> Iterator[dict]:
    """Tables 1 and 2: parameters of the baseline, which need no data."""
    for number, channels in ((1, 1), (2, 3)):
        printed = paper.printed(number).set_index("layer_type")["parameters"]
        total = printed["Total parameters"]
        ours = sum(parameter_counts(build("autoencoder", channels)).values())
        yield _row(number, "all layers", "parameters", total, ours, ours, ours, 1, "code", 0)


def _classifiers(found: Recorded) -> Iterator[dict]:
    for row in found.classifiers.to_dict("records"):
        number = 12 if row["classifier"] == "resnet50" else 34
        interval = wilson(row["correct"], row["images"])
        yield _row(
            number, row["dataset"], "test accuracy", row["printed accuracy"], row["accuracy"],
            *interval, row["images"], _source(found, row["dataset"]), SHARE,
        )  # fmt: skip


def _source(found: Recorded, dataset: str) -> str:
    of = found.folders[found.folders["results"].str.split("/").str[0] == dataset]
    return " and ".join(sorted(set(of["source"])))


def _rates(found: Recorded) -> Iterator[dict]:
    """Tables of success rates by class, and the totals."""
    keys = ["dataset", "classifier", "pixels"]
    overall = {
        pixels: comparison.rates(found.runs, pixels).set_index(keys[:2])
        for pixels in params.ATTACKS
    }
    for (dataset, classifier, pixels), group in found.runs.records.groupby(keys, sort=False):
        numbers = paper.TABLES.get((dataset, classifier, pixels), {})
        if "attack" not in numbers:
            continue
        source = _source(found, dataset)
        printed = paper.attack_table(dataset, classifier, pixels).set_index("class")
        named = comparison.named_classes(group, dataset)
        for row in rate_table(named, "class", "success").to_dict("records"):
            if row["class"] in printed.index and row["n"]:
                yield _row(
                    numbers["attack"], row["class"], "success rate",
                    printed.loc[row["class"], "printed_rate"], row["rate"], row["low"],
                    row["high"], row["n"], source, SHARE,
                )  # fmt: skip
        ours = overall[pixels].loc[dataset, classifier]
        totals = {32: pixels == 1, 33: pixels == 2 and classifier == "resnet50", 43: pixels == 2}
        for number in (number for number, there in totals.items() if there):
            if number == 43:
                of = paper.rates().set_index("dataset").loc[dataset, classifier]
            else:
                of = paper.totals(pixels).set_index("dataset").loc[dataset, "rate"]
            if ours["matched"] == ours["matched"]:  # else a class of the table was not attacked
                yield _row(
                    number, f"{dataset}, {classifier}, same mix of classes", "success rate", of,
                    *ours[[*comparison.MATCHED]], ours["n"], source, SHARE,
                )  # fmt: skip


def _restored(found: Recorded, p: Parameters) -> Iterator[dict]:
    """Tables of image quality after the four denoisers."""
    keys = ["dataset", "classifier", "pixels"]
    for (dataset, classifier, pixels), group in found.runs.restored.groupby(keys, sort=False):
        printed = paper.denoise_table(dataset, classifier, pixels)
        if printed is not None:
            number = paper.TABLES[dataset, classifier, pixels]["denoise"]
            ours = restoration.summary(group, p.bootstrap_samples, p.seed)
            yield from _metrics(number, printed, ours, "defense", _source(found, dataset))


def _ablation(found: Recorded, p: Parameters) -> Iterator[dict]:
    means = ablation.summary(found.ablation[0], p)
    source = _source(found, "abdomen_ct")
    of_table = {4: paper.ablation().assign(variant=ablation.MODULES),
                5: paper.depth().assign(variant=list(ablation.DEPTHS))}  # fmt: skip
    for number, printed in of_table.items():
        yield from _metrics(number, printed, means, "variant", source)
    validation = paper.printed(3).set_index("series").loc[["test", "proposed_dae"]]
    printed = validation.assign(variant=["original", "proposed"], psnr=validation["psnr_db"])
    yield from _metrics(3, printed, means, "variant", source)


def _metrics(
    number: int, printed: pd.DataFrame, ours: pd.DataFrame, key: str, source: str
) -> Iterator[dict]:
    by_name = ours.set_index(key)
    for row in printed.to_dict("records"):
        if row[key] not in by_name.index or not by_name.loc[row[key], "n"]:
            continue
        mine = by_name.loc[row[key]]
        for metric in (name for name in ROUNDING if name in row):
            if metric == "mse" and row.get("mse_scale") != 1:
                continue
            yield _row(
                number, row[key], metric, row[metric], mine[metric], mine[f"{metric}_low"],
                mine[f"{metric}_high"], int(mine["n"]), source, ROUNDING[metric],
            )  # fmt: skip
