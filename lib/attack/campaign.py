"""One attack of a run from start to end: which images, the search, the record on disk."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from lib.attack import records
from lib.attack.criteria import criterion_for
from lib.attack.search import attack, checkpoint_folder
from lib.classifiers import Classifier, decide, logits
from lib.data import Images
from lib.errors import InputError
from lib.evaluation import right
from lib.params import ATTACKS, Parameters
from lib.records import code, fingerprint, md5, read_table, write_table
from lib.training import pick_device


def attack_run(
    model: Classifier, data: Images, pixels: int, p: Parameters, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Attack the images that the parameters ask for and write ``<one|two>_pixel.parquet``.

    One pixel: correct test images (ATK01). Two pixels: a number of correct images of each class,
    test images first, filled up from validation and training images, each marked (ATK16).
    Finished images are checkpointed; a killed run goes on with the next ones, and a finished
    attack with the same settings, weights and code is read back.

    Args:
        model: the trained classifier of the run folder.
        data: all images.
        pixels: 1 or 2.
        p: attack_*, classifier_threshold and seed are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``; holds the classifier's weights.

    Returns:
        The records, and for each class the images, the correct ones (in the parts that images
        were taken from) and the attacked ones.

    Raises:
        InputError: the data set has one class only, or no image is classified right.
    """
    facts = data.facts
    if len(facts.classes) < 2:
        raise InputError(f"{data.name} has one class: there is no class to change.")
    device = pick_device(p.device)
    model = model.to(device)
    criterion = criterion_for(p.attack_criterion, facts.multi_label, p.classifier_threshold)
    parts = ("test",) if pixels == 1 else records.PARTS
    data = data.take(np.isin(data.part, parts))
    decisions = decide(
        logits(model, data.images, device), facts.multi_label, p.classifier_threshold
    )
    correct = right(data.labels, decisions)
    limit = p.attack_one_pixel_images if pixels == 1 else p.attack_two_pixel_images
    positions = records.select(data, correct, parts, limit, p.seed)
    if not len(positions):
        raise InputError(
            f"The {model.architecture} classifies no image of {data.name} right that could be "
            "attacked: train it longer (classifier_epochs)."
        )
    table = records.availability(data, correct)
    attacked = pd.Series(data.category[positions]).value_counts()
    table["attacked"] = [int(attacked.get(place, 0)) for place in range(len(table))]
    few = table[table["attacked"] < (limit or 1)]
    for row in few.itertuples():
        wanted = limit or "all"
        print(
            f"{pixels}-pixel attack: {wanted} images of {row[1]!r} wanted, {row.attacked} are "
            "classified right and can be attacked.",
            file=sys.stderr,
        )
    name = ATTACKS[pixels]
    weights = md5(folder / "classifier.safetensors")
    settings = [p.of_step("pixel_attack"), pixels, data.provenance.md5, weights]
    key = fingerprint([code("lib/attack", "lib/streams.py"), *settings])
    path = folder / f"{name}.parquet"
    if not path.exists() or read_table(path).attrs.get("key") != key:
        checkpoint = checkpoint_folder(folder, name, key)
        found = attack(model, data, positions, criterion, pixels, p, device, checkpoint)
        found.attrs["key"] = key
        write_table(path, found)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return read_table(path), table
