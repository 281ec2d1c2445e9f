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
from lib.evidence.run_tables import joined
from lib.metrics.classification import below_constant, constant_accuracy
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

    def of_useful(self) -> "DatasetRecord":
        """The same without the attacks on classifiers that a constant answer beats."""
        kept = self.runs.loc[~self.runs["weak"], RUN]
        tables = {name: getattr(self, name) for name in ("attacks", "restored")}
        return replace(self, **{n: of.merge(kept, on=RUN) for n, of in tables.items() if len(of)})

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
    """Read what is recorded of one of the paper's four data sets.

    Args:
        results: folder of the record, or of runs.
        dataset: its name.
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
    found: dict[str, list[pd.DataFrame]] = {}
    for name, of in every.items():
        at = {"protocol": name, "size": of.sizes[dataset]}
        nets = [
            (at | {"classifier": net}, about, of.parameters[dataset, net])
            for (_, net), about in of.classifiers.items()
        ]
        tables = {
            "runs": pd.DataFrame([run | of.data[dataset] | _run(*about) for run, *about in nets]),
            "attacks": of.records.assign(**at), "restored": of.restored.assign(**at),
            "detection": of.detection.assign(**at), "adaptive": of.adaptive.assign(**at),
            "denoisers": pd.DataFrame([
                at | {"denoiser": key[1]} | _denoiser(about) for key, about in of.denoisers.items()
            ]),
            "classes": joined([
                pd.DataFrame(about.get("test_by_class", [])).assign(**run) for run, about, _ in nets
            ]),
        }  # fmt: skip
        for kind, table in tables.items():
            found.setdefault(kind, []).extend([table] if len(table) else [])
    return DatasetRecord(dataset, **{kind: joined(tables) for kind, tables in found.items()})


def of_every_size(results: Path, dataset: str) -> DatasetRecord:
    """What is recorded of a data set, with the variants that change the size of the images."""
    bases = protocols(results)
    names = [*bases, *(name for base in bases for name in variants.of_other_sizes(base))]
    return record(results, dataset, names)


def _run(net: dict, values: dict) -> dict:
    test = net.get("test", {})
    return {
        "budget": values.get("attack_population", 0) * (values.get("attack_generations", 0) + 1),
        "evaluation": values.get("attack_evaluation", "exact"),
        "training_images": net.get("training_images"),
        "n": test.get("images"),
        "correct": test.get("correct"),
        "constant": constant_accuracy(test),
        "weak": below_constant(test),
        "minutes": protocol_runs.minutes(net),
    }


def _denoiser(about: dict) -> dict:
    return {
        "epochs": len(about["history"]),
        "halving": about.get("settings", {}).get("halving", False),
        "psnr": about.get("validation_psnr", np.nan),
        "noisy_psnr": about.get("identity_psnr", np.nan),
        "minutes": protocol_runs.minutes(about),
    }
