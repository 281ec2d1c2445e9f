"""What the recorded runs of one protocol found, as tables for a page."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib import attack, data, params
from lib.defense import adaptive, restoration
from lib.evidence import comparison, variants, work
from lib.evidence import printed as paper
from lib.figures import formatting
from lib.figures import tables as report
from lib.params import DENOISERS, Parameters
from lib.params.dataset_info import Facts
from lib.params.errors import InputError
from lib.params.files import read_json, read_table

# The field that says what a step computed in.
PRECISION = {
    "classifier": "classifier_precision", "pixel_attack": "attack_precision",
    "denoisers": "denoiser_precision", "ablation": "denoiser_precision",
}  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """The record of one protocol; a part that was not run is None or empty."""

    folders: pd.DataFrame  # one row a folder: where it came from
    runs: comparison.Collection | None  # attacks and restorations
    classifiers: pd.DataFrame  # one row a trained classifier
    denoisers: pd.DataFrame  # one row a trained denoiser
    ablation: tuple[pd.DataFrame, pd.DataFrame] | None  # metrics of images, models
    # Runs of the variants beside the protocol's own; see `variants.contrasts`.
    contrasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    repeats: tuple[comparison.Collection, ...] = ()  # the runs again with other seeds
    resized: tuple[comparison.Collection, ...] = ()  # the runs again with images of other sizes
    variants: pd.DataFrame = field(default_factory=pd.DataFrame)  # folders of the variants

    @property
    def trainings(self) -> tuple[comparison.Collection, ...]:
        """The runs, and the same with other seeds."""
        return (self.runs, *self.repeats) if self.runs else ()

    @property
    def sources(self) -> list[str]:
        """Data sources in the record."""
        return sorted(set(self.folders["source"]))


def recorded(folder: Path) -> Recorded:
    """Read ``results/<protocol>``.

    Raises:
        InputError: nothing is recorded there.
    """
    about = {path.parent: read_json(path) for path in sorted(folder.glob("**/run.json"))}
    if not about:
        raise InputError(f"{folder} holds no results: run `make record` after a run.")
    collected = variants.collected(folder)
    runs = collected.get(folder.name)  # None: classifiers, denoisers or the ablation alone
    repeats, resized = (
        tuple(collected[name] for name in of(folder.name) if name in collected)
        for of in (variants.repeats, variants.resized)
    )
    return Recorded(
        pd.DataFrame([_folder(path.relative_to(folder), path, run) for path, run in about.items()]),
        runs,
        pd.DataFrame([_classifier(path) for path in about if (path / "classifier.json").exists()]),
        pd.DataFrame(
            [
                _denoiser(path / f"{name}.json")
                for path in about
                for name in DENOISERS
                if (path / f"{name}.json").exists()
            ]
        ),
        _ablation(folder),
        variants.contrasts(collected, folder.name),
        repeats,
        resized,
        pd.DataFrame(
            [
                _folder(path.parent.relative_to(folder.parent), path.parent, read_json(path))
                for name in params.variants(folder.name)
                for path in sorted(folder.with_name(name).glob("**/run.json"))
            ]
        ),
    )


def _ablation(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Metrics of images and models, of the protocol and then of its repeats with further seeds."""
    metrics, models = [], []
    for name in (folder.name, *variants.repeats(folder.name)):
        path = folder.with_name(name) / "abdomen_ct" / "ablation.parquet"
        if not path.exists():
            continue
        seen = {seed for table in models for seed in table["seed"]}
        for tables, file in ((metrics, path), (models, path.with_name("ablation_models.parquet"))):
            table = read_table(file)
            tables.append(table[~table["seed"].isin(seen)])
    if not models:
        return None
    return pd.concat(metrics, ignore_index=True), pd.concat(models, ignore_index=True)


def current(results: Path) -> tuple[Recorded, Parameters] | None:
    """The recorded protocol nearest to the paper's, with its parameters; None without a record."""
    there = {path.parts[len(results.parts)] for path in results.glob("*/**/run.json")}
    name = next((name for name in ("paper", "compact") if name in there), None)
    return None if name is None else (recorded(results / name), params.load(name))


def _folder(name: Path, path: Path, run: dict) -> dict:
    hardware = run["hardware"]
    return {
        "results": str(name),
        "source": run["data"]["source"],
        "file": run["data"]["npz"],
        "MD5": run["data"]["md5"][:8],
        "steps": ", ".join(run["steps"]),
        "minutes": sum(work.minutes(path, step, of) for step, of in run["steps"].items()),
        "precision": " and ".join(
            sorted(
                {
                    step["parameters"][PRECISION[name]]
                    for name, step in run["steps"].items()
                    if name in PRECISION
                }
            )
        ),
        "finished": run["finished"][:10],
        "commit": run["commit"].removesuffix("+"),
        "machine": f"{hardware['processor']}, {formatting.many(hardware['threads'], 'thread')}"
        + (f", {hardware['gpu']}" if hardware["gpu"] else ""),
    }


def _classifier(folder: Path) -> dict:
    about, dataset = read_json(folder / "classifier.json"), folder.parent.name
    printed = paper.classifier_table(folder.name).set_index("dataset")["test_accuracy"]
    return {
        "dataset": dataset,
        "classifier": folder.name,
        "start": about["start"],
        "epochs": len(about["history"]),
        "training images": about["training_images"],
        **{
            name.replace("_", " "): value
            for name, value in about["test"].items()
            if not isinstance(value, dict)  # areas by label are on the classifier's page
        },
        "printed accuracy": printed.get(dataset, float("nan")),
    }


def _denoiser(path: Path) -> dict:
    about = read_json(path)
    return {
        "dataset": path.parent.parent.name,
        "denoiser": path.stem,
        "parameters": about["parameters"]["trainable"],
        "epochs": about["settings"]["epochs"],
        "minutes": about["wall_seconds"] / 60,
        "PSNR, dB": about["validation_psnr"],
        "doing nothing, dB": about["identity_psnr"],
        "gain, dB": about["validation_psnr"] - about["identity_psnr"],
    }


def restored(found: comparison.Collection, p: Parameters) -> pd.DataFrame:
    """PSNR and SSIM of each run and defense beside the paper's, means over successful attacks."""
    tables = []
    keys = ["dataset", "classifier", "pixels"]
    for (dataset, classifier, pixels), group in found.restored.groupby(keys, sort=False):
        ours = restoration.summary(group, p.bootstrap_samples, p.seed)
        table = ours[["defense", "n"]].copy()
        for column, name in enumerate(keys):
            table.insert(
                column, name, {"dataset": dataset, "classifier": classifier}.get(name, pixels)
            )
        printed = paper.denoise_table(dataset, classifier, pixels)
        for metric, title in (("psnr", "PSNR, dB"), ("ssim", "SSIM")):
            table[title] = report.intervals(ours, metric)
            beside = {} if printed is None else printed.set_index("defense")[metric]
            table[f"printed {title}"] = ours["defense"].map(dict(beside)).astype(float)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


Gallery = tuple[str, tuple[np.ndarray, np.ndarray] | None, pd.DataFrame, Facts]
SHOWN = 4  # attacked images of a run in a gallery


def galleries(found: Recorded, p: Parameters) -> Iterator[Gallery]:
    """Successfully attacked images of each run, rebuilt from its record and the data set.

    Args:
        found: the record.
        p: data_root is used.

    Yields:
        A title; clean and adversarial images, uint8 (N, H, W, C), or None where the file that was
        attacked is not at hand, which the title then names; their records; facts of the data set.
    """
    if not found.runs:
        return
    every = found.runs.records[found.runs.records["success"]]
    for dataset, of_set in every.groupby("dataset", sort=False):
        known, about = params.facts(dataset), found.runs.data[dataset]
        try:
            images = data.load(dataset, p.data_root, found.runs.sizes[dataset])
            wrong = images.provenance.md5 != about["md5"]
        except InputError:
            wrong = True
        if wrong:
            yield f"{known.title} (`{about['npz']}`, MD5 `{about['md5']}`)", None, of_set, known
            continue
        for (classifier, pixels), records in of_set.groupby(["classifier", "pixels"], sort=False):
            # Spread over the classes, so that one class does not fill the gallery.
            few = records.groupby("category").head(1).head(SHOWN)
            clean = attack.locate(images, few).images
            name = params.read("classifiers", classifier)["title"]
            title = f"**{known.title}**, {name}, {params.ATTACKS[pixels].replace('_', '-')} attack"
            yield title, (clean, attack.rebuild(clean, few)), few, known


def ablation_effort(folder: Path, models: pd.DataFrame) -> str:
    """How long and on what the recorded ablation was trained, a sentence.

    Args:
        folder: ``results/<protocol>``.
        models: one row a variant and seed.
    """
    about = read_json(folder / "abdomen_ct" / "run.json")["parameters"]
    return (
        f"{formatting.many(about['ablation_epochs'], 'epoch')} on "
        f"{about['ablation_train'] or 'all'} "
        f"training images of {about['ablation_size']} pixels with {about['denoiser_noise']:.0%} "
        f"noise; {formatting.many(models['seed'].nunique(), 'seed')}."
    )


def knowing(found: comparison.Collection) -> pd.DataFrame:
    """Images right through each defense by run; see `adaptive.summary`. Empty without runs."""
    if not len(found.adaptive):
        return pd.DataFrame()
    tables = [
        adaptive.summary(group).assign(**dict(zip(variants.KEYS, key, strict=True)))
        for key, group in found.adaptive.groupby(variants.KEYS, sort=False)
    ]
    return pd.concat(tables, ignore_index=True)


def unnamed(found: comparison.Collection) -> str:
    """Runs that do not name the trained denoisers behind their images, a sentence; empty if all do.

    Args:
        found: the runs of a protocol.
    """
    runs = [
        f"{formatting.shown(dataset)} with {formatting.shown(classifier)}"
        for (dataset, classifier), ids in found.restorers.items()
        if not ids and any(of == dataset for of, _ in found.denoisers)
    ]
    if not runs:
        return ""
    return (
        "Recorded before trainings had ids, so that these very networks restored the images is not "
        f"on record: {', '.join(runs)}."
    )


def banner(protocol: str, found: Recorded) -> str:
    """First lines of the page."""
    meaning = report.sources(found.sources)
    names = params.names("datasets")
    with_runs = [name for name in names if found.folders["results"].str.startswith(name).any()]
    titles = ", ".join(params.facts(name).title for name in with_runs)
    return f"**protocol** `{protocol}` · **recorded runs on** {titles}\n\n> {meaning}"
