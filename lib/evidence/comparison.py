"""All runs of one protocol side by side, read from their run folders (paper, 4.2.6 to 4.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lib import params
from lib.defense import restoration
from lib.defense.break_even import SAMPLES, break_even_prevalence
from lib.evidence import printed as paper
from lib.figures.tables import WARNINGS
from lib.metrics.intervals import rate, rate_table, standardized
from lib.params import ATTACKS, DENOISERS, Parameters
from lib.params.errors import InputError
from lib.params.files import read_json, read_table

MATCHED = ("matched", "matched_low", "matched_high")


@dataclass
class Collection:
    """What the finished runs of a protocol hold."""

    records: pd.DataFrame  # attack records of all runs, with classifier and pixels
    restored: pd.DataFrame  # restoration rows of all runs, with classifier and pixels
    data: dict[str, dict[str, str]]  # provenance by data set
    sizes: dict[str, int] = field(default_factory=dict)  # edge of the images by data set
    classifiers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    denoisers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    # Rows of the attacks through defenses of all runs, with classifier and pixels.
    adaptive: pd.DataFrame = field(default_factory=pd.DataFrame)
    # By run, which training of each denoiser restored its images; see `lib.params.runs.training`.
    restorers: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    @property
    def tested(self) -> "Collection":
        """The same with images of the test part only.

        The others are those that the classifier and the denoisers have learned from or were chosen
        by: how they fare says nothing of new ones.
        """
        held = {
            name: table[table["part"] == "test"]
            for name in ("records", "restored", "adaptive")
            if len(table := getattr(self, name))
        }
        return replace(self, **held)

    @property
    def datasets(self) -> list[str]:
        """Data sets with a run, in the paper's order."""
        return [name for name in paper.DATASETS if name in self.data]

    def training_minutes(self, classifier: str) -> dict[str, float]:
        """Minutes of training by data set."""
        return {
            dataset: _minutes(about)
            for (dataset, name), about in self.classifiers.items()
            if name == classifier
        }

    def denoiser_minutes(self, dataset: str) -> dict[str, float]:
        """Minutes of training by denoiser."""
        return {
            name: _minutes(about) for (of, name), about in self.denoisers.items() if of == dataset
        }


def _minutes(about: dict[str, Any]) -> float:
    return sum(epoch["seconds"] for epoch in about["history"]) / 60


def collect(folder: Path) -> Collection:
    """Read every finished run below ``runs/<protocol>``.

    Raises:
        InputError: no run has attack records yet.
    """
    records, restored, through, data, sizes = [], [], [], {}, {}
    nets, denoisers, restorers = {}, {}, {}
    for dataset in paper.DATASETS:
        for classifier in sorted(params.names("classifiers"), reverse=True):  # ResNet50 first
            run = folder / dataset / classifier
            for pixels, name in ATTACKS.items():
                if not (run / f"restoration_{name}.parquet").exists():
                    continue
                at = {"classifier": classifier, "pixels": pixels}
                attacks = read_table(run / f"{name}.parquet").assign(**at)
                records.append(attacks)
                of = read_table(run / f"restoration_{name}.parquet").assign(**at)
                restored.append(of.merge(attacks[[*restoration.IMAGE, "part"]], "left"))
                if (knowing := run / f"adaptive_{name}.parquet").exists():
                    through.append(read_table(knowing).assign(**at))
                about = read_json(run / "run.json")
                data[dataset], sizes[dataset] = about["data"], about["parameters"]["data_size"]
                nets[dataset, classifier] = read_json(run / "classifier.json")
                step = about.get("steps", {}).get("restoration", {})
                restorers[dataset, classifier] = step.get("denoisers", {})
        for name in DENOISERS:
            file = folder / dataset / "denoisers" / f"{name}.json"
            if file.exists():
                denoisers[dataset, name] = read_json(file)
    if not records:
        raise InputError(f"{folder} has no finished run with attacks: run one first.")
    return Collection(
        pd.concat(records, ignore_index=True),
        pd.concat(restored, ignore_index=True),
        data,
        sizes,
        nets,
        denoisers,
        pd.concat(through, ignore_index=True) if through else pd.DataFrame(),
        restorers,
    )


def banner(p: Parameters, found: Collection) -> str:
    """First lines of the page: protocol, and the data source of each data set."""
    source = {name: found.data[name]["source"] for name in found.datasets}
    sources = " · ".join(f"{params.facts(name).title} `{source[name]}`" for name in source)
    kinds = sorted(set(source.values()))
    said = "".join(f"\n\n> {WARNINGS[kind]}" for kind in kinds)
    mixed = "\n\n> Data sources are mixed: compare rows of one source only."
    warning = mixed if len(kinds) > 1 else ""
    return f"**protocol** `{p.run_name}` · **data sources** {sources}{said}{warning}"


def rates(found: Collection, pixels: int) -> pd.DataFrame:
    """Success rate of each run beside the paper's.

    With one pixel the paper attacks every image that is right, so that frequent classes decide its
    rate; with two it attacks 100 of each class. We attack equally many of each (ATK01, ATK16).

    Returns:
        dataset, classifier, n, successes, rate, low, high; ``matched, matched_low, matched_high``,
        the rate in the mix of classes that the paper's table has, NaN where the paper has no table
        or one of its classes was not attacked here; printed (NaN where the paper has none).
    """
    printed = paper.totals(1).set_index("dataset")["rate"] if pixels == 1 else None
    both = paper.rates().set_index("dataset")
    rows = []
    chosen = found.records[found.records["pixels"] == pixels]
    for (dataset, classifier), group in chosen.groupby(["dataset", "classifier"], sort=False):
        n, count = len(group), int(group["success"].sum())
        if pixels == 2:
            beside = both.loc[dataset, classifier]
        else:
            beside = printed[dataset] if classifier == "resnet50" else float("nan")
        matched = _matched(group, dataset, classifier, pixels)
        rows.append((dataset, classifier, n, count, *rate(count, n), *matched, beside))
    columns = ["dataset", "classifier", "n", "successes", "rate", "low", "high", *MATCHED]
    return pd.DataFrame(rows, columns=[*columns, "printed"])


def _matched(
    group: pd.DataFrame, dataset: str, classifier: str, pixels: int
) -> tuple[float, float, float]:
    """A run's rate in the paper's mix of classes, with its interval."""
    printed = paper.attack_table(dataset, classifier, pixels)
    if printed is None:
        return (float("nan"),) * 3
    by_class = rate_table(named_classes(group, dataset), "class", "success").set_index("class")
    return standardized(by_class, printed.set_index("class")["printed_n"])


def named_classes(records: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Attack records of a data set with the name of the class of each image in ``class``."""
    names = dict(enumerate(item.name for item in params.facts(dataset).attack_classes))
    return records.assign(**{"class": records["category"].map(names)})


def shares(restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """`restoration.shares` and `break_even_prevalence` of the same rows, one row a defense."""
    pays = break_even_prevalence(restored, samples, seed)
    return restoration.shares(restored).merge(pays, on="defense", how="left")


def recovery(
    found: Collection,
    by: Sequence[str] = ("dataset", "classifier"),
    samples: int = SAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """`shares` by run, or by what else is named.

    Taken are test images only (see `Collection.tested`), with all numbers of pixels together.
    Without any the table is empty.
    """
    tables = []
    for names, group in found.tested.restored.groupby(list(by), sort=False):
        table = shares(group, samples, seed)
        for place, (column, name) in enumerate(zip(by, names, strict=True)):
            table.insert(place, column, name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
