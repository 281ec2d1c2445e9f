"""The record of one protocol, read as tables."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lib import params
from lib.evidence import printed as paper
from lib.evidence import published_lists, training_times, variants
from lib.evidence.recorded_runs import PROTOCOLS, RecordedRuns
from lib.figures.formatting import many
from lib.params import Parameters
from lib.params.errors import InputError
from lib.params.files import read_json, read_table, visible

# The field that holds the precision of a step.
PRECISION = {
    "classifier": "classifier_precision", "pixel_attack": "attack_precision",
    "denoisers": "denoiser_precision", "ablation": "denoiser_precision",
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The record of one protocol; a part that was not run is None or empty."""

    folders: pd.DataFrame  # one row a folder, with its provenance
    runs: RecordedRuns | None  # attacks and restorations
    classifiers: pd.DataFrame  # one row a trained classifier
    ablation: tuple[pd.DataFrame, pd.DataFrame] | None  # metrics of images, models
    # Runs of the variants beside the protocol's own; see `variants.contrasts`.
    contrasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    # See `variants.denoisers_trained_otherwise`.
    retrained: pd.DataFrame = field(default_factory=pd.DataFrame)
    repeats: tuple[RecordedRuns, ...] = ()  # the runs again with other seeds
    resized: tuple[RecordedRuns, ...] = ()  # the runs again with images of other sizes
    variants: pd.DataFrame = field(default_factory=pd.DataFrame)  # folders of the variants
    counts: pd.DataFrame = field(default_factory=pd.DataFrame)  # images by data set and class
    times: pd.DataFrame = field(default_factory=training_times.none)  # of `training_times.read`

    @property
    def trainings(self) -> tuple[RecordedRuns, ...]:
        """The runs, and the same with other seeds."""
        return (self.runs, *self.repeats) if self.runs else ()

    @property
    def sizes(self) -> dict[str, int]:
        """Edge of the attacked images by data set."""
        return self.runs.sizes if self.runs else {}

    @property
    def sources(self) -> list[str]:
        """Data sources in the record."""
        return sorted(set(self.folders["source"]))


def read(folder: Path) -> Record:
    """Read ``results/<protocol>``.

    Raises:
        InputError: nothing is recorded there.
    """
    about = _runs_in(folder)
    if not about:
        raise InputError(f"{folder} holds no results: run `make record` after a run.")
    names = params.variants(folder.name)
    every = variants.read_each(folder.parent, [folder.name, *names])
    repeats, resized = (
        tuple(every[name] for name in select(folder.name) if name in every)
        for select in (variants.repeats, variants.resized)
    )
    of_variants = [
        _folder(path, folder.parent, run)
        for name in names
        for path, run in _runs_in(folder.with_name(name)).items()
    ]
    return Record(
        folders=pd.DataFrame([_folder(path, folder, run) for path, run in about.items()]),
        runs=every.get(folder.name),  # None: classifiers, denoisers or the ablation alone
        classifiers=pd.DataFrame(
            [_classifier(path) for path in about if (path / "classifier.json").exists()]
        ),
        ablation=_ablation(folder),
        contrasts=variants.contrasts(every, folder.name),
        retrained=variants.denoisers_trained_otherwise(every, folder.name),
        repeats=repeats,
        resized=resized,
        variants=pd.DataFrame(of_variants),
        counts=pd.concat([_counts(about), published_lists.read(folder.parent)]),
        times=training_times.read(folder.parent),
    )


def _runs_in(folder: Path) -> dict[Path, dict[str, Any]]:
    """Content of ``run.json`` by its folder."""
    return {path.parent: read_json(path) for path in visible(folder, "**/run.json")}


def _ablation(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Metrics of images and models, of the protocol and then of its repeats with further seeds."""
    metrics, models, seen = [], [], set()
    for name in (folder.name, *variants.repeats(folder.name)):
        path = folder.with_name(name) / "abdomen_ct" / "ablation.parquet"
        if not path.exists():
            continue
        both = read_table(path), read_table(path.with_name("ablation_models.parquet"))
        for found, table in zip((metrics, models), both, strict=True):
            found.append(table[~table["seed"].isin(seen)])
        seen |= set(both[1]["seed"])
    if not models:
        return None
    return pd.concat(metrics, ignore_index=True), pd.concat(models, ignore_index=True)


def _counts(about: dict[Path, dict[str, Any]]) -> pd.DataFrame:
    """``dataset, class, images, source`` of the files whose classes were counted."""
    rows = []
    for path, run in about.items():
        step = run["steps"].get("datasets", {})
        at = {"dataset": path.name, "source": run["data"]["source"]}
        rows += [{**row, **at} for row in step.get("counts", [])]
    return pd.DataFrame(rows, columns=["dataset", "class", "images", "source"])


def every(results: Path) -> list[tuple[Record, Parameters]]:
    """All recorded protocols with their parameters, nearest to the paper's first."""
    names = [name for name in PROTOCOLS if visible(results / name, "**/run.json")]
    return [(read(results / name), params.load(name)) for name in names]


def step_minutes(folder: Path, step: str, run: dict[str, Any]) -> float:
    """Minutes of one step: of its last execution or, if longer, of the results it wrote.

    A step reads finished results back where settings and data are the same, and then takes seconds.
    ``run`` is its entry in the ``run.json`` of the folder.
    """
    seconds = 0.0
    if step == "classifier" and (folder / "classifier.json").exists():
        history = read_json(folder / "classifier.json")["history"]
        seconds = sum(epoch["seconds"] for epoch in history)
    elif step == "pixel_attack":
        seconds = sum(attack["seconds"] for attack in run.get("attacks", {}).values())
    elif step == "denoisers":
        paths = (path for path in visible(folder, "*.json") if path.name != "run.json")
        seconds = sum(read_json(path)["wall_seconds"] for path in paths)
    elif step == "ablation" and (folder / "ablation_models.parquet").exists():
        seconds = float(read_table(folder / "ablation_models.parquet")["seconds"].sum())
    return max(seconds, run["wall_seconds"]) / 60


def _folder(path: Path, base: Path, run: dict[str, Any]) -> dict[str, Any]:
    hardware, steps = run["hardware"], run["steps"]
    precision = {steps[name]["parameters"][PRECISION[name]] for name in steps if name in PRECISION}
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ""
    return {
        "results": path.relative_to(base).as_posix(), "source": run["data"]["source"],
        "file": run["data"]["npz"], "MD5": run["data"]["md5"][:8], "steps": ", ".join(steps),
        "minutes": sum(step_minutes(path, name, step) for name, step in steps.items()),
        "precision": " and ".join(sorted(precision)), "finished": run["finished"][:10],
        "commit": run["commit"].removesuffix("+"),
        "machine": f"{hardware['processor']}, {many(hardware['threads'], 'thread')}{gpu}",
    }  # fmt: skip


def _classifier(folder: Path) -> dict[str, Any]:
    about, dataset = read_json(folder / "classifier.json"), folder.parent.name
    printed = paper.classifier_table(folder.name).set_index("dataset")["test_accuracy"]
    return {
        "dataset": dataset, "classifier": folder.name,
        **{name: about["test"][name] for name in ("images", "correct", "accuracy")},
        "printed accuracy": printed.get(dataset, float("nan")),
    }  # fmt: skip
