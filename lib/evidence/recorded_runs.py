"""Finished runs side by side, read from their folders: of a protocol, of a data set, or all."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import params
from lib.defense.restoration import IMAGE
from lib.evidence import printed as paper
from lib.evidence.run_tables import RUN, joined
from lib.metrics.classification import below_constant, constant_accuracy
from lib.params import ATTACKS, DENOISERS
from lib.params.errors import InputError
from lib.params.files import read_json, read_table, visible

PROTOCOLS = ("paper", "sample", "compact")  # nearest to the paper's first
# Tables of an attack, and how their files are called.
_FILES = {"attacks": "{}", "restored": "restoration_{}", "detection": "detection_{}"}


def _none() -> pd.DataFrame:
    return pd.DataFrame(columns=RUN)


@dataclass(frozen=True)
class RecordedRuns:
    """Runs with attacks. Tables have the columns of `RUN`, those of attacks also ``pixels``.

    They are ordered by protocol, nearest to the paper's first, data set and classifier. A table is
    empty where nothing is recorded.
    """

    runs: pd.DataFrame  # one row a run: its images, classifier and settings, see `_run`
    attacks: pd.DataFrame  # attack tables
    restored: pd.DataFrame = field(default_factory=_none)  # with the part of each image
    detection: pd.DataFrame = field(default_factory=_none)  # areas under ROC curves
    denoisers: pd.DataFrame = field(default_factory=_none)  # one row a trained denoiser
    classes: pd.DataFrame = field(default_factory=_none)  # precision, recall, F1, 0..1

    @property
    def datasets(self) -> list[str]:
        """Data sets with a run, in the paper's order."""
        return [name for name in paper.DATASETS if name in {*self.runs["dataset"]}]

    @property
    def dataset(self) -> str:
        """The only data set."""
        (name,) = self.datasets
        return name

    @property
    def protocol(self) -> str:
        """The protocol nearest to the paper's, of those with a run."""
        return self.runs["protocol"].iloc[0]

    @property
    def sizes(self) -> dict[str, int]:
        """Edge of the images of each data set, in the protocol nearest to the paper's."""
        return self.runs.drop_duplicates("dataset").set_index("dataset")["size"].to_dict()

    @property
    def sources(self) -> dict[str, dict[str, str]]:
        """Provenance of the images by ``protocol/data set``."""
        named = self.runs.drop_duplicates(["protocol", "dataset"])
        named = named.set_index(named["protocol"] + "/" + named["dataset"])
        return named[["source", "npz", "md5"]].to_dict("index")

    @property
    def tested(self) -> "RecordedRuns":
        """The same with attacks on images of the test part: models have learned from the others."""
        return replace(self, attacks=tested(self.attacks), restored=tested(self.restored))

    @property
    def useful(self) -> "RecordedRuns":
        """The same without runs whose classifier a constant answer beats."""
        kept = pd.MultiIndex.from_frame(self.runs.loc[~self.runs["weak"], RUN])
        return self._select(lambda of: of[pd.MultiIndex.from_frame(of[RUN]).isin(kept)], RUN)

    @property
    def unrestored(self) -> pd.DataFrame:
        """Rows of ``runs`` whose attacks met no defense, in each data set's nearest protocol."""
        nearest = self.runs.groupby("dataset")["protocol"].transform("first")
        near = self.runs[self.runs["protocol"] == nearest]
        restored = pd.MultiIndex.from_frame(self.restored.reindex(columns=RUN))
        return near[~pd.MultiIndex.from_frame(near[RUN]).isin(restored)]

    def of(self, **values: Any) -> "RecordedRuns":
        """The runs with these values in the columns of `RUN`, such as ``dataset="oct"``."""
        wanted = pd.Series(values)
        return self._select(lambda of: of[(of[wanted.index] == wanted).all(axis=1)], wanted.index)

    def _select(
        self, choose: Callable[[pd.DataFrame], pd.DataFrame], columns: Iterable[str]
    ) -> "RecordedRuns":
        """The same with chosen rows of all tables that have these columns."""
        tables = {each.name: getattr(self, each.name) for each in fields(self)}
        having = {name: of for name, of in tables.items() if {*columns} <= {*of}}
        return replace(self, **{name: choose(of) for name, of in having.items()})


def tested(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of test images: classifiers have learned from the others."""
    return table[table["part"] == "test"] if len(table) else table


def protocols(results: Path) -> list[str]:
    """Protocols with a record, without variants, nearest to the paper's first.

    Raises:
        InputError: nothing is recorded.
    """
    there = {path.parts[len(results.parts)] for path in visible(results, "*/**/run.json")}
    there = [name for name in there & {*params.names("protocols")} if params.base(name) == name]
    if not there:
        raise InputError(f"{results} holds no results: run `make record` after a run.")
    place = {name: at for at, name in enumerate(PROTOCOLS)}
    return sorted(there, key=lambda name: (place.get(name, len(PROTOCOLS)), name))


def datasets(results: Path) -> list[str]:
    """Attacked data sets with a record, in the paper's order."""
    return [
        name
        for name in paper.DATASETS
        if any(visible(results / of / name, "*/run.json") for of in protocols(results))
    ]


def read(
    results: Path, names: Iterable[str] | None = None, datasets: Sequence[str] = paper.DATASETS
) -> RecordedRuns:
    """Read every run with attacks.

    Args:
        results: folder of the record, or of runs.
        names: protocols or variants; None for all protocols, without variants.
        datasets: their names.

    Raises:
        InputError: there is no run with attacks.
    """
    names = protocols(results) if names is None else [*names]
    found: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for protocol in names:
        for dataset in datasets:
            folder = results / protocol / dataset
            nets = sorted(params.names("classifiers"), reverse=True)  # ResNet50 first
            sizes = [_read_run(folder / net, found) for net in nets]
            if not any(sizes):
                continue
            at = {"protocol": protocol, "dataset": dataset, "size": next(filter(None, sizes))}
            for name in DENOISERS:
                if (path := folder / "denoisers" / f"{name}.json").exists():
                    row = at | {"denoiser": name} | _denoiser(read_json(path))
                    found["denoisers"].append(pd.DataFrame([row]))
    if not found["attacks"]:
        raise InputError(
            f"{results} has no run with attacks of {', '.join(names)} on "
            f"{', '.join(datasets)}: run one first."
        )
    return RecordedRuns(**{kind: joined(tables) for kind, tables in found.items()})


def _read_run(folder: Path, found: dict[str, list[pd.DataFrame]]) -> int:
    """Add the tables of a run; the edge of its images, 0 for a folder without attacks."""
    made = {n: name for n, name in ATTACKS.items() if (folder / f"{name}.parquet").exists()}
    if not made:
        return 0
    about, net = read_json(folder / "run.json"), read_json(folder / "classifier.json")
    protocol, dataset, classifier = folder.parts[-3:]
    size = about["parameters"]["data_size"]
    run = dict(zip(RUN, (protocol, dataset, size, classifier), strict=True))
    for pixels, attack in made.items():
        tables = {
            kind: read_table(path).assign(**run, pixels=pixels)
            for kind, name in _FILES.items()
            if (path := folder / f"{name.format(attack)}.parquet").exists()
        }
        if "restored" in tables:
            parts = tables["attacks"][[*IMAGE, "part"]]
            tables["restored"] = tables["restored"].merge(parts, "left")
        for kind, table in tables.items():
            found[kind].append(table)
    found["runs"].append(pd.DataFrame([run | about["data"] | _run(net, about)]))
    if by_class := net.get("test_by_class"):
        found["classes"].append(pd.DataFrame(by_class).assign(**run))
    return size


def _run(net: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    test, values = net.get("test", {}), about["parameters"]
    return {
        "seed": values.get("seed"),
        "budget": values.get("attack_population", 0) * (values.get("attack_generations", 0) + 1),
        "evaluation": values.get("attack_evaluation", "exact"),
        "training_images": net.get("training_images"),
        "optimizer": values.get("classifier_optimizer", ""),
        "start": net.get("start", ""),  # of the weights
        "n": test.get("images"),
        "correct": test.get("correct"),
        "accuracy": test.get("accuracy", np.nan),
        "constant": constant_accuracy(test),
        "weak": below_constant(test),
        "weights": net.get("weights_md5", ""),  # "": not recorded
        "minutes": _minutes(net),
        # Which training of each denoiser restored the images, see `lib.params.runs.training`.
        "restorers": about.get("steps", {}).get("restoration", {}).get("denoisers", {}),
    }


def _denoiser(about: dict[str, Any]) -> dict[str, Any]:
    return {
        "epochs": len(about["history"]),
        "halving": about.get("settings", {}).get("halving", False),
        "psnr": about.get("validation_psnr", np.nan),
        "best_psnr": pd.Series([each.get("validation_psnr") for each in about["history"]]).max(),
        "noisy_psnr": about.get("identity_psnr", np.nan),
        "minutes": _minutes(about),
    }


def _minutes(about: dict[str, Any]) -> float:
    return sum(epoch["seconds"] for epoch in about["history"]) / 60


def unhalved(denoisers: pd.DataFrame) -> dict[str, list[str]]:
    """Denoisers at a constant learning rate, by data set, where that of others was halved.

    ``denoisers`` are of `RecordedRuns`.
    """
    found = {}
    for dataset, of in denoisers.groupby("dataset", sort=False) if len(denoisers) else ():
        halved = of.set_index("denoiser")["halving"].astype(bool)
        if halved.any() and not halved.all():
            found[dataset] = [*halved.index[~halved]]
    return found
