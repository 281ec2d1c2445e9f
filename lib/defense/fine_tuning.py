"""Is the clean loss of a denoiser its own, or that of a classifier that never saw such images?

The paper's classifier learned from images as they are, and is then given denoised ones. A copy of
it that learns from denoised images for a few epochs more shows how much of the loss comes from
that. Another copy, which learns from the images as they are for as many epochs, is the control.
"""

import copy
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from lib.data import Images
from lib.defense.certified import named
from lib.metrics.classification import right
from lib.models import denoisers, fit_classifier
from lib.models.classifier_training import training_images
from lib.models.classifiers import Classifier, classify
from lib.models.weights import checksums
from lib.params import Parameters
from lib.params.files import fingerprint, read_table, write_table

FILE = "fine_tuning.parquet"
# A trained network learns on at a tenth of the rate that it began with.
SETTINGS: dict[str, Any] = {
    "batch": 64, "optimizer": "adamw", "schedule": "one_cycle", "learning_rate": 1e-4,
    "weight_decay": 0.01,
}  # fmt: skip
NO_STOP = (1.0, 1.0)  # accuracies that are never exceeded


def fine_tuning(model: Classifier, data: Images, p: Parameters, folder: Path) -> pd.DataFrame:
    """Test images before and after the classifier learned from images of each denoiser.

    Args:
        model: the trained classifier of the run folder; it is not changed.
        data: all images.
        p: fine_tuning_epochs, denoiser_names, seed, device, and of classifier_ include_normal,
            precision, threshold and train_limit are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``; `FILE` is written there.

    Returns:
        One row a test image and denoiser: the columns that name the image, ``defense``,
        ``before`` and ``after``, whether it is classified correctly behind the denoiser by the
        classifier as it was, and as it has learned on. ``identity`` is the control, without a
        denoiser.

    Raises:
        InputError: a denoiser is missing or damaged, or as `fit_classifier`.
    """
    names = ["identity", *p.denoiser_names]
    key = fingerprint([
        p.fine_tuning_epochs, SETTINGS, p.seed, p.classifier_train_limit,
        p.classifier_include_normal, p.classifier_precision, p.classifier_threshold,
        data.provenance.md5, checksums(folder, names),
    ])  # fmt: skip
    path, checkpoint = folder / FILE, folder / f".fine_tuning-{key}"
    if path.exists() and (done := read_table(path)).attrs.get("key") == key:
        return done
    parts = [training_images(data, p), data.in_part("val"), data.in_part("test")]
    test, rows = parts[-1], []
    for name in names:
        network = denoisers.load(name, folder.parent / "denoisers", data.facts.channels)
        pictures = [denoisers.restore(network, part.images, p.device) for part in parts]
        tuned = _tuned(model, pictures, parts, p, checkpoint / name)
        task = test.labels.ndim > 1, p.classifier_threshold, p.device
        outcomes = {
            when: right(test.labels, classify(each, pictures[-1], *task))
            for when, each in (("before", model), ("after", tuned))
        }
        rows.append(named(test).assign(defense=name, **outcomes))
    table = pd.concat(rows, ignore_index=True)
    table.attrs["key"] = key
    write_table(path, table)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return table


def _tuned(
    model: nn.Module, pictures: list[Any], parts: list[Images], p: Parameters, checkpoint: Path
) -> nn.Module:
    """A copy of the classifier that has learned from the images of the training part."""
    made = copy.deepcopy(model)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    fit_classifier(
        made, pictures[0], parts[0].labels, pictures[1], parts[1].labels,
        epochs=p.fine_tuning_epochs, stop=NO_STOP, threshold=p.classifier_threshold, seed=p.seed,
        precision=p.classifier_precision, device=p.device, checkpoint=checkpoint,
        label=f"fine-tuning, {checkpoint.name}", **SETTINGS,
    )  # fmt: skip
    return made.eval()
