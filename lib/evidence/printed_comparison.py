"""Each printed number beside ours, with our interval and whether it contains the printed one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from medmnist.info import INFO

from lib import params
from lib.defense import restoration
from lib.evidence import ablation
from lib.evidence import printed as paper
from lib.evidence.rates import (
    FEWEST,
    KEYS,
    MATCHED,
    MATCHED_PRINTED,
    agrees,
    success_by_class,
    success_rate,
)
from lib.evidence.record import Record
from lib.figures import formatting, tables
from lib.metrics.intervals import wilson
from lib.models.denoisers import build
from lib.models.denoisers.base import parameter_counts
from lib.params import Parameters

COLUMNS = [
    "table", "row", "quantity", "printed", "ours", "low", "high", "n", "source", "holds",
]  # fmt: skip
SHARE = 0.00005  # half a unit of the last printed digit of a share
MEASURES = ("psnr", "ssim", "gmsd", "fsim", "mse")
RATES = ("success rate", "test accuracy")
EXACT = ("parameters", "images", "classes")  # quantities without an interval
MEDMNIST = "MedMNIST"  # source of the counts that MedMNIST publishes


def compare(record: Record, p: Parameters) -> pd.DataFrame:
    """One row for each printed number that has a counterpart in the record.

    Returns:
        `COLUMNS`. Shares are 0..1, PSNR in dB, MSE on 0..1. ``holds``, whether ours agrees with
        ``printed``: the interval ``low..high``, widened by half a printed unit, contains it; for
        success rates see `lib.evidence.rates.agrees`. Rows whose printed MSE is not on 0..1
        (audit P1) have no MSE here.
    """
    rows = [*_sizes(), *_counts(record), *_classifiers(record)]
    rows += [*_rates(record), *_restored(record, p)] if record.runs else []
    rows += [*_ablation(record, p)] if record.ablation else []
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("table", kind="stable", ignore_index=True)


def nearest(records: list[tuple[Record, Parameters]]) -> pd.DataFrame:
    """`compare` over several protocols: each value of the first that has it.

    Also ``size``, of the images; missing where none were needed.
    """
    tables = []
    for record, p in records:
        found = compare(record, p)
        names = [paper.place(row.table)[1] or row.row.split(",")[0] for row in found.itertuples()]
        sizes = [record.sizes.get(name, p.data_size) for name in names]
        sizes = np.where(found["table"].isin(paper.ABLATIONS), p.ablation_size, sizes)
        sizes = pd.Series(sizes, found.index, dtype="Int64").mask(found["quantity"].isin(EXACT))
        tables.append(found.assign(size=sizes))
    every = pd.concat(tables, ignore_index=True).drop_duplicates(["table", "row", "quantity"])
    return every.sort_values("table", kind="stable", ignore_index=True)


def shown(compared: pd.DataFrame) -> pd.DataFrame:
    """`compare` for readers: with data set and classifier of each row, and shares in percent."""
    compared = compared.assign(difference=compared["ours"] - compared["printed"])
    places = [filter(None, paper.place(number)[1:]) for number in compared["table"]]
    shares = compared["quantity"].isin(RATES)
    numbers = ["printed", "ours", "low", "high", "difference"]
    scaled = compared[numbers].mul(shares.map({True: 100.0, False: 1.0}), axis=0)
    table = compared[["table", "row", "quantity"]].copy()
    table.insert(1, "data set, classifier", [formatting.place(*names) for names in places])
    table["quantity"] += shares.map({True: ", %", False: ""})
    exact = compared["quantity"].isin(EXACT)
    table["printed"] = [
        f"{value:,.0f}" if whole else f"{value:.{paper.decimals(quantity, value)}f}"
        for value, whole, quantity in zip(
            scaled["printed"], exact, compared["quantity"], strict=True
        )
    ]
    counts = scaled["ours"].map("{:,.0f}".format)
    table["ours"] = counts.where(exact, tables.intervals(scaled, "ours"))
    table["difference"] = scaled["difference"]
    table["agrees"] = compared["holds"]
    return table.join(compared[["n", *(["size"] if "size" in compared else [])]])


def _sizes() -> Iterator[tuple[Any, ...]]:
    """Tables 1 and 2: parameters of the baseline, which need no data."""
    for number, channels in ((1, 1), (2, 3)):
        printed = paper.printed(number).set_index("layer_type")["parameters"]
        ours = sum(parameter_counts(build("autoencoder", channels)).values())
        total = printed["Total parameters"]
        yield number, "all layers", "parameters", total, ours, ours, ours, 1, "code", ours == total


def published(dataset: str) -> tuple[int, int]:
    """Images and classes of an original data set, as MedMNIST publishes them."""
    facts = params.facts(dataset)
    about = INFO[facts.flag]
    return sum(about["n_samples"][part] for part in facts.source_parts), len(about["label"])


def _counts(record: Record) -> Iterator[tuple[Any, ...]]:
    """Table 6, and Tables 7 to 10 where we hold all images of the data set."""
    for row in paper.overview().to_dict("records"):
        images, classes = published(row["dataset"])
        for name, ours in (("images", images), ("classes", classes)):
            same = ours == row[name]
            yield 6, row["dataset"], name, row[name], ours, ours, ours, images, MEDMNIST, same
    for dataset, group in record.counts.groupby("dataset") if len(record.counts) else ():
        printed, total = paper.class_counts(dataset), int(group["images"].sum())
        if printed is None or total != published(dataset)[0]:
            continue
        for row in group.merge(printed).to_dict("records"):
            ours, theirs, number = row["images"], row["count"], printed.attrs["table"]
            counts = theirs, ours, ours, ours, total
            yield number, row["class"], "images", *counts, row["source"], ours == theirs


def _classifiers(record: Record) -> Iterator[tuple[Any, ...]]:
    for row in record.classifiers.to_dict("records"):
        number = 12 if row["classifier"] == "resnet50" else 34
        ours = row["accuracy"], *wilson(row["correct"], row["images"])
        theirs = row["printed accuracy"]
        yield (
            number, row["dataset"], "test accuracy", theirs, *ours, row["images"],
            _source(record, row["dataset"]), _contains(ours[1:], theirs, SHARE),
        )  # fmt: skip


def _contains(interval: Sequence[float], printed: float, slack: float) -> bool:
    """Whether an interval contains a printed value, which was rounded by ``slack`` at most."""
    low, high = interval
    return low - slack <= printed <= high + slack


def _source(record: Record, dataset: str) -> str:
    folders = record.folders[record.folders["results"].str.split("/").str[0] == dataset]
    return " and ".join(sorted(set(folders["source"])))


def _rates(record: Record) -> Iterator[tuple[Any, ...]]:
    """Tables of success rates by class, and the totals, on test images."""
    attacks = record.runs.tested.attacks.groupby(KEYS, sort=False)
    for (dataset, classifier, pixels), group in attacks:
        if (printed := paper.attack_table(dataset, classifier, pixels)) is None:
            continue
        source, printed = _source(record, dataset), printed.set_index("class")
        for row in success_by_class(group).to_dict("records"):
            if row["class"] in printed.index and row["n"] >= FEWEST:
                ours = [row[name] for name in ("rate", "low", "high")]
                theirs = printed.loc[row["class"], ["printed_rate", "printed_n"]]
                yield (
                    printed.attrs["table"], row["class"], "success rate", theirs.iloc[0], *ours,
                    row["n"], source, agrees(ours, *theirs),
                )  # fmt: skip
        run = success_rate(group)
        if run["matched"] != run["matched"]:  # too few images of the table's classes
            continue
        ours, label = [run[name] for name in MATCHED], f"{dataset}, {classifier}, class-weighted"
        if run["omitted"]:
            label += f" without {run['omitted']}"
        totals = [(paper.totals(pixels), "rate")] if classifier == "resnet50" else []
        totals += [(paper.rates(), classifier)] if pixels == 2 else []
        for table, column in totals:
            theirs = table.set_index("dataset").loc[dataset, [column, "n"]].tolist()
            if run["omitted"]:
                theirs = [run[name] for name in MATCHED_PRINTED]
            yield (
                table.attrs["table"], label, "success rate", theirs[0], *ours, run["n"], source,
                agrees(ours, *theirs),
            )  # fmt: skip


def _restored(record: Record, p: Parameters) -> Iterator[tuple[Any, ...]]:
    """Tables of image quality after the four denoisers."""
    restored = record.runs.restored
    for key, group in restored.groupby(KEYS, sort=False) if len(restored) else ():
        if (printed := paper.denoise_table(*key)) is not None:
            ours = restoration.summary(group, p.bootstrap_samples, p.seed)
            yield from _metrics(printed, ours, "defense", _source(record, key[0]))


def _ablation(record: Record, p: Parameters) -> Iterator[tuple[Any, ...]]:
    """Tables 3 to 5."""
    means = ablation.summary(record.ablation[0], p)
    for number in (4, 5, 3):
        yield from _metrics(paper.ablation(number), means, "variant", _source(record, "abdomen_ct"))


def _metrics(
    printed: pd.DataFrame, ours: pd.DataFrame, key: str, source: str
) -> Iterator[tuple[Any, ...]]:
    by_name = ours[ours["n"] > 0].set_index(key)
    for row in printed.to_dict("records"):
        if row[key] not in by_name.index:
            continue
        mean = by_name.loc[row[key]]
        for metric in (name for name in MEASURES if name in row):
            if metric == "mse" and row.get("mse_scale") != 1:
                continue
            interval = mean[f"{metric}_low"], mean[f"{metric}_high"]
            same = _contains(interval, row[metric], paper.half_digit(metric, row[metric]))
            values = mean[metric], *interval, int(mean["n"])
            yield printed.attrs["table"], row[key], metric, row[metric], *values, source, same
