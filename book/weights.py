"""Weights of finished runs for use elsewhere: safetensors, how to load them, and a card each.

``make weights`` writes ``build/weights/<run>/<dataset>/<name>.safetensors`` with ``<name>.json``,
which ``classifier_weights`` and `lib.models.denoisers.load` read beside it, and ``<name>.md``.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from book.markdown import table
from book.say import say
from lib import params
from lib.data.dataset import INFO  # of MedMNIST, and of AbdomenCT
from lib.figures import formatting
from lib.figures.formatting import shown
from lib.metrics.classification import constant_accuracy
from lib.metrics.intervals import rate
from lib.params import DENOISERS
from lib.params.errors import InputError
from lib.params.files import atomic, md5, read_json, sha256, visible, write_json

TARGET = params.ROOT / "build" / "weights"
OWN_LICENSE = "BSD-3-Clause"  # the project's, and that of the images that it draws
LOADED = (
    "architecture", "classes", "image_size", "input_size", "mean", "std", "task", "class_names",
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """A trained network of a run folder."""

    path: Path  # of the safetensors file
    about: dict[str, Any]  # content of the JSON file beside it
    run: dict[str, Any]  # entry of its step in run.json
    dataset: str
    name: str  # of the classifier or denoiser
    below: Path  # <run>/<dataset>/<name>, without an ending

    @property
    def is_classifier(self) -> bool:
        """Whether it is a classifier, else a denoiser."""
        return self.path.stem == "classifier"


def finished(runs: Path, name: str = "*") -> Iterator[Weights]:
    """Trained networks of finished steps; ``name`` is that of a run, or a pattern.

    Raises:
        InputError: a file is not the one that the run has written.
    """
    for path in visible(runs, f"{name}/*/*/*.json"):
        run, dataset, folder = path.relative_to(runs).parts[:3]
        step = "denoisers" if folder == "denoisers" else "classifier"
        if path.stem not in (DENOISERS if step == "denoisers" else ["classifier"]):
            continue
        about, of = read_json(path), path.with_name("run.json")
        steps = read_json(of)["steps"] if of.exists() else {}
        weights = path.with_suffix(".safetensors")
        if step not in steps or not weights.exists():
            continue
        if about.get("weights_md5") not in (None, md5(weights)):
            raise InputError(f"{weights} is not the file that was written here: its MD5 is "
                             f"{md5(weights)}, not {about['weights_md5']}.")  # fmt: skip
        called = path.stem if step == "denoisers" else folder
        yield Weights(weights, about, steps[step], dataset, called, Path(run, dataset, called))


def recorded(weights: Weights, runs: Path, results: Path) -> bool:
    """Whether the record of the same place names these very weights by their MD5."""
    beside = results / weights.path.relative_to(runs).with_suffix(".json")
    return beside.exists() and read_json(beside).get("weights_md5") == md5(weights.path)


def export(weights: Weights, target: Path, record: str) -> Path:
    """Copy weights with the file that says how to load them, and a card; the path of the copy.

    Run and data set have folders below ``target``. ``record`` is the folder of the record that
    rests on the weights, for the card; empty for none.
    """
    path = target / weights.below.with_name(weights.name + ".safetensors")
    with atomic(path) as temporary:
        shutil.copyfile(weights.path, temporary)
    about = weights.about
    if weights.is_classifier:
        about = {name: about[name] for name in LOADED if name in about}
    write_json(path.with_suffix(".json"), about | {"weights_md5": md5(path)})
    with atomic(path.with_suffix(".md")) as temporary:
        temporary.write_text(card(weights, path, record), encoding="utf-8")
    return path


def card(weights: Weights, path: Path, record: str) -> str:
    """What somebody must know before using the weights in a file, as Markdown; see `export`."""
    run, data, facts = weights.run, weights.run["data"], params.facts(weights.dataset)
    size, synthetic = run["parameters"]["data_size"], data["source"] == "phantom"
    title = f"{shown(weights.name)}, {facts.title}, {size} px"
    license = OWN_LICENSE if synthetic else INFO[facts.flag]["license"]
    rows = {
        "file": f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB, state dict in safetensors",
        "SHA-256": f"`{sha256(path)}`",
        "MD5": f"`{md5(path)}`",
        "network": _network(weights),
        "data": f"{facts.title} ({facts.modality}), `{data['npz']}`, MD5 `{data['md5']}`",
        "source of the images": " ".join([f"{data['source']}.", data.get("note", "")]).strip(),
        **_quality(weights),
        "license": f"{license} ({'the project' if synthetic else 'as the images'})",
        "made by": f"step `{run['step']}`, protocol `{run['parameters']['protocol']}`, seed "
        f"{run['seed']}, commit `{run['commit'] or 'none'}`, {run['finished'][:10]}",
        "machine": f"{run['hardware']['processor']}, GPU: {run['hardware']['gpu'] or 'none'}; "
        f"PyTorch {run['versions']['torch']}",
        "record": f"`{record}` rests on these weights" if record else "none rests on these weights",
    }  # fmt: skip
    limits = [
        "Trained for a replication, on few images. The quality above is that of one training with "
        "one seed.",
        "One changed pixel can mislead it; that is what it was made to study."
        if weights.is_classifier else
        "It was trained on added noise, not on attacks, and it changes clean images too.",
        "Images of other cameras, hospitals or sizes were not tested.",
    ]  # fmt: skip
    if synthetic:
        limits.insert(0, "Trained on synthetic images: it knows nothing of medicine.")
    elif data["source"] == "rebuilt":
        limits.insert(0, "Trained on an unofficial copy of the data set, with a split of its own.")
    listed = "\n".join(f"- {each}" for each in limits)
    return (
        f"# {title}\n\n{table(['', ''], [*rows.items()])}\n\n## Intended use\n\nTo repeat and "
        "extend the attacks and defenses of the replication. Not for diagnosis, nor for any "
        f"decision about a patient.\n\n## Limits\n\n{listed}\n\n## Use\n\n{_use(weights, path)}\n"
    )


def _network(weights: Weights) -> str:
    about = weights.about
    if weights.is_classifier:
        return (f"torchvision's `{about['architecture']}`, {about['classes']} outputs, input of "
                f"{about['input_size']} px, start: {about.get('start', 'unknown')}")  # fmt: skip
    return f"`{weights.name}`, {about['parameters']['trainable']:,} parameters, " + (
        "gray images" if about["channels"] == 1 else "color images")  # fmt: skip


def _quality(weights: Weights) -> dict[str, str]:
    """How well it does, as rows of the card."""
    about = weights.about
    if not weights.is_classifier:
        return {
            "training": f"{len(about['history'])} epochs, at most {about['settings']['limit']:,} "
            "images",
            "PSNR on validation images": f"{about['validation_psnr']:.2f} dB; noisy: "
            f"{about['identity_psnr']:.2f} dB",
        }
    rows = {"training": f"{len(about.get('history') or [])} epochs, "
                        f"{about.get('training_images', 0):,} images"}  # fmt: skip
    if test := weights.run.get("test") or about.get("test"):
        share = formatting.rate(*rate(test["correct"], test["images"]), digits=1)
        rows["accuracy on test images"] = (
            f"{share}, 95 % interval, of {test['images']:,}; a constant answer: "
            f"{formatting.percent(constant_accuracy(test))}"
        )
    return rows


def _use(weights: Weights, path: Path) -> str:
    protocol = weights.run["parameters"]["protocol"]
    if weights.is_classifier:
        return (
            "Keep the JSON file beside the weights; it says how images enter the network.\n\n"
            f"```sh\nmake run DATASET={weights.dataset} CLASSIFIER={weights.name} "
            f"PROTOCOL={protocol} classifier_weights=PATH/{path.name}\n```"
        )
    return (
        "Keep the JSON file beside the weights.\n\n```python\nfrom pathlib import Path\n\n"
        "from lib.models import denoisers\n\n"
        f'model = denoisers.load("{weights.name}", Path("PATH"), {weights.about["channels"]})\n'
        "restored = denoisers.restore(model, images)  # uint8 (N, H, W, C)\n```"
    )


def export_all(runs: Path, results: Path, target: Path, name: str = "*", only: bool = False) -> int:
    """`export` all finished weights; how many.

    ``name`` is that of a run, or a pattern; ``only``: leave out those on which no record rests.
    """
    number = 0
    for weights in finished(runs, name):
        known = recorded(weights, runs, results)
        if known or not only:
            folder = results.name / weights.path.relative_to(runs).parent
            export(weights, target, folder.as_posix() if known else "")
            number += 1
    return number


def main(given: dict[str, str]) -> None:
    """``make weights``.

    Raises:
        InputError: no finished run, or a path in place of the name of one.
    """
    p = params.load(**{name: given[name] for name in ("runs", "results") if name in given})
    runs, name = params.ROOT / p.runs, given.get("protocol", "*")
    if "/" in name:
        raise InputError(f"PROTOCOL is {name!r}: it must be the name of a run, such as compact.")
    number = export_all(runs, params.ROOT / p.results, TARGET, name)
    if not number:
        whose = "" if name == "*" else f" of {name}"
        raise InputError(f"{runs} has no finished training{whose}: run one first.")
    say(f"weights: {number} networks in {TARGET.relative_to(params.ROOT)}")
