"""All runs of one protocol side by side, read from their folders (paper, 4.2.6 to 4.4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lib import params
from lib.defense import restoration
from lib.defense.break_even import SAMPLES, break_even_prevalence
from lib.evidence import printed as paper
from lib.metrics import clusters
from lib.metrics.intervals import NONE, newcombe, rate_table, share, standardized
from lib.metrics.intervals import rate as wilson_rate
from lib.params import ATTACKS, DENOISERS
from lib.params.errors import InputError
from lib.params.files import read_json, read_table

KEYS = ["dataset", "classifier", "pixels"]  # names an attack
MATCHED = ("matched", "matched_low", "matched_high")
PRINTED = ("printed", "printed_n")


@dataclass
class ProtocolRuns:
    """The finished runs of a protocol; all tables have ``classifier`` and ``pixels``."""

    records: pd.DataFrame  # attack records
    restored: pd.DataFrame  # restoration rows
    data: dict[str, dict[str, str]]  # provenance by data set
    sizes: dict[str, int] = field(default_factory=dict)  # edge of the images by data set
    classifiers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    denoisers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    adaptive: pd.DataFrame = field(default_factory=pd.DataFrame)  # rows of adaptive attacks
    detection: pd.DataFrame = field(default_factory=pd.DataFrame)  # areas under ROC curves
    parameters: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # by run
    # By run, which training of each denoiser restored its images; see `lib.params.runs.training`.
    restorers: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    @property
    def tested(self) -> "ProtocolRuns":
        """The same with images of the test part only: models have learned from the others."""
        return self.select(lambda table: table[table["part"] == "test"])

    def select(self, choose: Callable[[pd.DataFrame], pd.DataFrame]) -> "ProtocolRuns":
        """The same with chosen rows of the tables of images."""
        tables = {name: getattr(self, name) for name in ("records", "restored", "adaptive")}
        return replace(self, **{n: choose(table) for n, table in tables.items() if len(table)})

    @property
    def datasets(self) -> list[str]:
        """Data sets with a run, in the paper's order."""
        return [name for name in paper.DATASETS if name in self.data]


def training_minutes(models: dict[tuple[str, str], dict[str, Any]], name: str) -> dict[str, float]:
    """Training minutes of models of `ProtocolRuns` that are of a data set or called a name."""
    return {key[key[0] == name]: minutes(about) for key, about in models.items() if name in key}


def minutes(about: dict[str, Any]) -> float:
    """Minutes of a training."""
    return sum(epoch["seconds"] for epoch in about["history"]) / 60


def read_runs(folder: Path, datasets: Sequence[str] = paper.DATASETS) -> ProtocolRuns:
    """Read every run with attacks below ``runs/<protocol>`` or ``results/<protocol>``.

    Raises:
        InputError: no run has attack records yet.
    """
    tables: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("records", "restored", "detection", "adaptive")
    }
    runs = ProtocolRuns(pd.DataFrame(), pd.DataFrame(), {})
    for dataset in datasets:
        for classifier in sorted(params.names("classifiers"), reverse=True):  # ResNet50 first
            run = folder / dataset / classifier
            for pixels, name in ATTACKS.items():
                if not (run / f"{name}.parquet").exists():
                    continue
                at = {"classifier": classifier, "pixels": pixels}
                attacks = read_table(run / f"{name}.parquet").assign(**at)
                tables["records"].append(attacks)
                if (path := run / f"restoration_{name}.parquet").exists():
                    parts = attacks[[*restoration.IMAGE, "part"]]
                    tables["restored"].append(read_table(path).assign(**at).merge(parts, "left"))
                for kind in ("detection", "adaptive"):
                    if (path := run / f"{kind}_{name}.parquet").exists():
                        tables[kind].append(read_table(path).assign(**{"dataset": dataset} | at))
                about = read_json(run / "run.json")
                runs.data[dataset] = about["data"]
                runs.sizes[dataset] = about["parameters"]["data_size"]
                runs.parameters[dataset, classifier] = about["parameters"]
                runs.classifiers[dataset, classifier] = read_json(run / "classifier.json")
                step = about.get("steps", {}).get("restoration", {})
                runs.restorers[dataset, classifier] = step.get("denoisers", {})
        for name in DENOISERS:
            if (path := folder / dataset / "denoisers" / f"{name}.json").exists():
                runs.denoisers[dataset, name] = read_json(path)
    if not tables["records"]:
        raise InputError(f"{folder} has no run with attacks: run one first.")
    return replace(runs, **{
        name: pd.concat(found, ignore_index=True) for name, found in tables.items() if found
    })  # fmt: skip


def success_rate(records: pd.DataFrame) -> dict[str, float]:
    """Success rate of one run with one number of pixels, beside the paper's.

    With one pixel the paper attacks every correctly classified image, so that frequent classes
    dominate its rate; with two it attacks 100 of each class. We attack equally many of each (ATK01,
    ATK16).

    Returns:
        ``n, successes, rate, low, high``; `MATCHED`, the rate with classes weighted as in the
        paper's table, NaN where there is no such table or one of its classes was not attacked here;
        `PRINTED`, NaN where there is none.
    """
    dataset, classifier, pixels = records[KEYS].iloc[0]
    rate = share(records["success"], clusters.of(records))
    matched, printed = NONE, (float("nan"),) * 2
    if pixels == 2:
        printed = paper.rates().set_index("dataset").loc[dataset, [classifier, "n"]]
    elif classifier == "resnet50":
        printed = paper.totals(1).set_index("dataset").loc[dataset, ["rate", "n"]]
    if (table := paper.attack_table(dataset, classifier, pixels)) is not None:
        weights = table.set_index("class")["printed_n"]
        matched = standardized(success_by_class(records).set_index("class"), weights)
    names = ("rate", "low", "high", *MATCHED, *PRINTED)
    return {
        "n": len(records), "successes": int(records["success"].sum()),
        **dict(zip(names, (*rate, *matched, *printed), strict=True)),
    }  # fmt: skip


def agrees(ours: Sequence[float], printed: float, printed_n: float) -> bool:
    """Whether a rate of ours does not differ from a printed one, by the interval of the difference.

    Both are of a sample of images, so both have an interval (Newcombe 1998).

    Args:
        ours: rate, lower and upper 95 % bound, 0..1.
        printed: rate, 0..1.
        printed_n: images behind it.
    """
    _, low, high = newcombe(ours, wilson_rate(round(printed * printed_n), int(printed_n)))
    return bool(low <= 0 <= high)


def success_by_class(records: pd.DataFrame) -> pd.DataFrame:
    """Success rate of each class of one run, and of all, as `lib.metrics.intervals.rate_table`.

    ``class`` has the classes in the paper's order, also those without an attacked image.
    """
    names = [item.name for item in params.facts(records["dataset"].iloc[0]).attack_classes]
    named = records.assign(**{"class": records["category"].map(dict(enumerate(names)))})
    return rate_table(named, "class", "success", names, clusters.of(records))


def shares(restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """`restoration.shares` and `break_even_prevalence` of the same rows, one row a defense."""
    pays = break_even_prevalence(restored, samples, seed)
    return restoration.shares(restored).merge(pays, on="defense", how="left")
