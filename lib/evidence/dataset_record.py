"""What is recorded of one data set, whatever the protocol: the results pages begin here."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.evidence import printed as paper
from lib.evidence import protocol_runs, variants
from lib.evidence.record import PROTOCOLS
from lib.metrics.classification import constant_accuracy
from lib.params.errors import InputError
from lib.params.files import visible

RUN = ["protocol", "size", "classifier"]


@dataclass(frozen=True)
class DatasetRecord:
    """What is recorded of one data set; tables are empty where nothing is."""

    dataset: str
    runs: pd.DataFrame  # RUN, and data source, file, md5, evaluations allowed, training images
    attacks: pd.DataFrame  # attack tables
    restored: pd.DataFrame  # restoration tables, with the part of each image
    detection: pd.DataFrame
    adaptive: pd.DataFrame
    denoisers: pd.DataFrame  # one row a trained denoiser
    classes: pd.DataFrame  # precision, recall and F1 of each class, 0..1, by RUN

    @property
    def sizes(self) -> list[int]:
        """Edges of the images, of the protocol nearest to the paper's first."""
        return list(dict.fromkeys(self.runs["size"]))

    @property
    def useful(self) -> pd.Series:
        """Whether the classifier of each of ``runs`` beats an answer that never changes."""
        return ~(self.runs["correct"] < self.runs["constant"] * self.runs["n"])

    def of_useful(self) -> "DatasetRecord":
        """The same without the attacks on classifiers that are not `useful`."""
        kept = self.runs.loc[self.useful, RUN]
        tables = {name: getattr(self, name) for name in ("attacks", "restored")}
        return replace(self, **{
            name: table.merge(kept, on=RUN) for name, table in tables.items() if len(table)
        })  # fmt: skip

    @property
    def sources(self) -> dict[str, dict[str, str]]:
        """Provenance of the images by protocol."""
        named = self.runs.drop_duplicates("protocol").set_index("protocol")
        return named[["source", "npz", "md5"]].to_dict("index")


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


def record(results: Path, dataset: str, names: list[str] | None = None) -> DatasetRecord:
    """Read what is recorded of a data set.

    Args:
        results: folder of the record, or of runs.
        dataset: one of the paper's four attacked data sets.
        names: protocols or variants to read; None for all protocols, without variants.

    Raises:
        InputError: nothing is recorded of it.
    """
    every = {}
    for name in names or protocols(results):
        with suppress(InputError):  # nothing of this data set
            every[name] = protocol_runs.read_runs(results / name, [dataset])
    if not every:
        raise InputError(f"{results} holds nothing on {dataset}: run `make record` after a run.")

    def together(kind: str) -> pd.DataFrame:
        tables = [
            getattr(of, kind).assign(protocol=name, size=of.sizes[dataset])
            for name, of in every.items()
            if len(getattr(of, kind))
        ]
        return joined(tables)

    runs, denoisers, classes = [], [], []
    for name, of in every.items():
        at = {"protocol": name, "size": of.sizes[dataset]}
        for (_, net), about in of.classifiers.items():
            run = at | {"classifier": net}
            runs.append(run | of.data[dataset] | _run(about, of.parameters[dataset, net]))
            classes.append(pd.DataFrame(about.get("test_by_class", [])).assign(**run))
        denoisers += [at | {"denoiser": key[1]} | _denoiser(of.denoisers[key])
                      for key in of.denoisers]  # fmt: skip
    tables = map(together, ("records", "restored", "detection", "adaptive"))
    return DatasetRecord(
        dataset, pd.DataFrame(runs), *tables, pd.DataFrame(denoisers), joined(classes)
    )


def of_every_size(results: Path, dataset: str) -> DatasetRecord:
    """What is recorded of a data set, with the variants that change the size of the images."""
    bases = protocols(results)
    names = [*bases, *(name for base in bases for name in variants.of_other_sizes(base))]
    return record(results, dataset, names)


def _minutes(about: dict) -> float:
    return sum(epoch["seconds"] for epoch in about["history"]) / 60


def _run(net: dict, values: dict) -> dict:
    test = net.get("test", {})
    return {
        "budget": values.get("attack_population", 0) * (values.get("attack_generations", 0) + 1),
        "evaluation": values.get("attack_evaluation", "exact"),
        "training_images": net.get("training_images"),
        "n": test.get("images"),
        "correct": test.get("correct"),
        "constant": constant_accuracy(test),
        "minutes": _minutes(net),
    }


def _denoiser(about: dict) -> dict:
    return {
        "epochs": len(about["history"]),
        "halving": about.get("settings", {}).get("halving", False),
        "psnr": about.get("validation_psnr", np.nan),
        "noisy_psnr": about.get("identity_psnr", np.nan),
        "minutes": _minutes(about),
    }


def joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables below one another; empty without any."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
