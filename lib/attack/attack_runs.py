"""The attacks of a run from start to end: which images, the search, the record on disk."""

import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from lib.attack import records
from lib.attack.criteria import criterion_for
from lib.attack.pixel_attack import attack, checkpoint_folder
from lib.classifiers import Classifier, decide, logits
from lib.data import Images
from lib.errors import InputError
from lib.evaluation import right
from lib.params import ATTACKS, Parameters
from lib.records import code, fingerprint, md5, read_table, write_table
from lib.training import pick_device


def attack_runs(
    model: Classifier, data: Images, p: Parameters, folder: Path
) -> tuple[dict[int, pd.DataFrame], dict[int, pd.DataFrame]]:
    """`attack_run` for each number of pixels asked for; images are classified once for all.

    Returns:
        The records and the counts of images, each by number of pixels.
    """
    # One attack alone may need a part of the images only.
    found = cache(lambda: correct(model, data, p)) if len(p.attack_pixels) > 1 else None
    runs = {pixels: attack_run(model, data, pixels, p, folder, found) for pixels in p.attack_pixels}
    return {n: run[0] for n, run in runs.items()}, {n: run[1] for n, run in runs.items()}


def correct(model: Classifier, data: Images, p: Parameters) -> np.ndarray:
    """Whether the classifier is right, bool (N,)."""
    device = pick_device(p.device)
    values = logits(model.to(device), data.images, device)
    return right(data.labels, decide(values, data.facts.multi_label, p.classifier_threshold))


def attack_run(
    model: Classifier,
    data: Images,
    pixels: int,
    p: Parameters,
    folder: Path,
    known: Callable[[], np.ndarray] | None = None,
    shard: tuple[int, int] | None = None,
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
        known: gives `correct` of these images, where several attacks share it; called only if
            there is no finished attack to read back.
        shard: (i, n) as for `lib.attack.attack`: only these images are attacked, and their
            records are left as checkpoints for the call without shard that merges them.

    Returns:
        The records, and for each class the images, the correct ones (in the parts that images
        were taken from) and the attacked ones.

    Raises:
        InputError: the data set has one class only, or no image is classified right.
    """
    facts = data.facts
    if len(facts.classes) < 2:
        raise InputError(f"{data.name} has one class: there is no class to change.")
    criterion = criterion_for(p.attack_criterion, facts.multi_label, p.classifier_threshold)
    name = ATTACKS[pixels]
    limit = getattr(p, f"attack_{name}_images")
    weights = md5(folder / "classifier.safetensors")
    # Attacks with other numbers of pixels and their images are none of this one's business.
    others = (f"attack_{other}_images" for n, other in ATTACKS.items() if n != pixels)
    of_attack = p.key("pixel_attack", "attack_pixels", *others)
    settings = [of_attack, pixels, data.provenance.md5, weights]
    key = fingerprint([code("lib/attack", "lib/streams.py"), *settings])
    path = folder / f"{name}.parquet"
    if path.exists() and (done := read_table(path)).attrs.get("key") == key:
        table = pd.DataFrame(done.attrs["images"])
        _say_which_are_few(table, pixels, limit)
        return done, table
    parts = ("test",) if pixels == 1 else records.PARTS
    rows = np.isin(data.part, parts)
    is_right = known()[rows] if known else correct(model, data.take(rows), p)
    data = data.take(rows)
    positions = records.select(data, is_right, parts, limit, p.seed)
    if not len(positions):
        raise InputError(
            f"The {model.architecture} classifies no image of {data.name} right that could be "
            "attacked: train it longer (classifier_epochs)."
        )
    table = records.availability(data, is_right)
    attacked = pd.Series(data.category[positions]).value_counts()
    table["attacked"] = [int(attacked.get(place, 0)) for place in range(len(table))]
    _say_which_are_few(table, pixels, limit)
    device = pick_device(p.device)
    checkpoint = checkpoint_folder(folder, name, key, alone=shard is None)
    found = attack(
        model.to(device), data, positions, criterion, pixels, p, device, checkpoint,
        shard=shard or (0, 1),
    )  # fmt: skip
    if shard:
        return found, table
    found.attrs |= {"key": key, "images": table.to_dict("list")}
    write_table(path, found)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return read_table(path), table


def _say_which_are_few(table: pd.DataFrame, pixels: int, limit: int) -> None:
    few = table[table["attacked"] < (limit or 1)]
    for row in few.itertuples():
        wanted = limit or "all"
        print(
            f"{pixels}-pixel attack: {wanted} images of {row[1]!r} wanted, {row.attacked} are "
            "classified right and can be attacked.",
            file=sys.stderr,
        )
