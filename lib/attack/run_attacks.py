"""The attacks of a run from start to end: which images, the search, the table on disk."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from lib.attack import attack_table
from lib.attack.criteria import criterion_for
from lib.attack.linear_map import LinearMapAttack
from lib.attack.pixel_attack import PixelAttack
from lib.attack.vulnerability import VulnerabilityMap
from lib.data import Images, counter_rng
from lib.metrics.classification import right
from lib.models.classifiers import Classifier, classify
from lib.params import ATTACKS, Parameters
from lib.params.dataset_info import Facts
from lib.params.device import pick_device
from lib.params.errors import InputError
from lib.params.files import fingerprint, md5, read_table, visible, write_table

UNKNOWN = -1  # not classified yet


def attack_of(p: Parameters, pixels: int, multi_label: bool, **other: Any) -> PixelAttack:
    """The attack that parameters describe.

    Args:
        p: attack_*, classifier_threshold and seed are used.
        pixels: changed pixels.
        multi_label: task of the data set.
        other: settings of `PixelAttack` that come before the parameters.
    """
    settings = {
        "population": p.attack_population,
        "generations": p.attack_generations,
        "strategy": p.attack_strategy,
        "mutation": p.attack_mutation_factor,
        "dither": tuple(p.attack_dither),
        "crossover": p.attack_crossover,
        "initial": p.attack_initial,
        "criterion": criterion_for(p.attack_criterion, multi_label, p.classifier_threshold),
        "precision": p.attack_precision,
        "evaluation": p.attack_evaluation,
        "batch": p.attack_batch,
        "seed": p.seed,
    }
    return PixelAttack(pixels, **settings | other)


def vulnerability_map_of(p: Parameters, facts: Facts) -> VulnerabilityMap:
    """The map that parameters describe.

    A gray image has one value a pixel, so it gets as many values as a color image has colors.

    Args:
        p: vulnerability_levels, attack_criterion, attack_precision, attack_batch and
            classifier_threshold are used.
        facts: of the data set.
    """
    return VulnerabilityMap(
        p.vulnerability_levels ** (3 if facts.channels == 1 else 1),
        criterion_for(p.attack_criterion, facts.multi_label, p.classifier_threshold),
        p.attack_precision,
        p.attack_batch,
    )


def stream_keys(data: Images, pixels: int, seed: int) -> np.ndarray:
    """Random stream of each image, int64 (N,); it hangs on split and row, not on the file."""
    return counter_rng.image_keys(
        seed, f"{pixels}-pixel attack", data.name, data.split.tolist(), data.index.tolist()
    ).numpy()


def attack_images(
    attack: PixelAttack | LinearMapAttack,
    model: nn.Module,
    data: Images,
    positions: np.ndarray,
    checkpoint: Path | None = None,
    shard: tuple[int, int] = (0, 1),
    save_every: float = 20.0,
) -> pd.DataFrame:
    """Attack images of a data set and keep finished rows, so that a killed run goes on.

    Args:
        attack: what to do.
        model: in evaluation mode, on its device.
        data: all images.
        positions: which of them, in this order.
        checkpoint: folder for finished rows; images that have one there are not attacked again.
            The caller keys it to the settings and removes it.
        shard: (i, n): only every n-th image from the i-th on (0-based). Several processes with
            the same ``checkpoint`` share the work; a call without shard then merges it.
        save_every: seconds between checkpoints.

    Returns:
        One row an image, in the order of ``positions``: `lib.attack.attack_table.KEPT`, and
        ``skipped`` and ``reason``.
    """
    first, shards = shard
    positions = np.asarray(positions, dtype=np.int64)[first::shards]
    done: dict[tuple[str, int], dict] = {}
    if checkpoint:
        # Names that begin with a dot are what a killed process was writing.
        for path in visible(checkpoint, "[0-9]*.parquet"):
            for row in read_table(path).to_dict("records"):
                done[row["split"], row["index"]] = row
    names = [(str(data.split[i]), int(data.index[i])) for i in positions]
    waiting = [i for i, name in zip(positions, names, strict=True) if name not in done]
    chosen = data.take(np.array(waiting, dtype=np.int64))
    bar = tqdm(
        total=len(names), initial=len(names) - len(waiting),
        desc=f"{attack.pixels}-pixel attack", mininterval=2,
    )  # fmt: skip
    unsaved: list[dict] = []
    saved_at = time.monotonic()

    def save() -> None:
        if checkpoint and unsaved:
            name = f"{first:03d}-{shards:03d}-{len(done):08d}.parquet"
            write_table(checkpoint / name, pd.DataFrame(unsaved))
            unsaved.clear()

    given = model, chosen.images, chosen.labels
    if hasattr(attack, "seed"):  # a map search draws nothing
        given += (stream_keys(chosen, attack.pixels, attack.seed),)
    for row in attack.iterate(*given):
        at = row.pop("image")
        row |= {
            "dataset": data.name,
            "split": str(chosen.split[at]),
            "index": int(chosen.index[at]),
            "seed": getattr(attack, "seed", 0),
            "part": str(chosen.part[at]),
            "category": int(chosen.category[at]),
            "group": int(chosen.group[at]),
            "true_label_changed": attack_table.true_label_changed(row["label"], row["adversarial"]),
        }
        done[row["split"], row["index"]] = row
        unsaved.append(row)
        bar.update()
        if time.monotonic() - saved_at > save_every:
            save()
            saved_at = time.monotonic()
    save()
    bar.close()
    columns = [*attack_table.KEPT, "skipped", "reason"]
    return pd.DataFrame([done[name] for name in names], columns=columns)


def attack_runs(
    model: Classifier, data: Images, p: Parameters, folder: Path
) -> tuple[dict[int, pd.DataFrame], dict[int, pd.DataFrame]]:
    """`attack_run` for each number of pixels asked for; an image is classified once for all.

    Returns:
        The attack tables and the counts of images, each by number of pixels.
    """
    known = unclassified(data)
    runs = {pixels: attack_run(model, data, pixels, p, folder, known) for pixels in p.attack_pixels}
    return {n: run[0] for n, run in runs.items()}, {n: run[1] for n, run in runs.items()}


def unclassified(data: Images) -> np.ndarray:
    """int8 (N,): whether the classifier is right about each image is still `UNKNOWN`."""
    return np.full(len(data.labels), UNKNOWN, np.int8)


def correct(model: Classifier, data: Images, p: Parameters) -> np.ndarray:
    """Whether the classifier is right, bool (N,)."""
    task = data.facts.multi_label, p.classifier_threshold
    return right(data.labels, classify(model, data.images, *task, p.device))


def _classify_needed(
    model: Classifier, data: Images, p: Parameters, parts: Sequence[str], limit: int,
    known: np.ndarray,
) -> None:  # fmt: skip
    """Classify images until each class has as many correct ones as are attacked.

    Most images are in the training part, and few of them are needed, or none.

    Args:
        model, data, p: as for `attack_run`.
        parts: parts to take images from, in this order.
        limit: correct images of each class; 0: all images are classified.
        known: int8 (N,), whether the classifier is right, or `UNKNOWN`; filled in.
    """
    for place, part in enumerate(parts):
        needed = (data.part == part) & (known == UNKNOWN)
        if limit and place:
            able = data.category[np.isin(data.part, parts) & (known == 1)]
            classes = range(len(data.facts.attack_classes))
            few = [category for category in classes if (able == category).sum() < limit]
            needed &= np.isin(data.category, few)
        if needed.any():
            known[needed] = correct(model, data.take(needed), p)


def attack_run(
    model: Classifier,
    data: Images,
    pixels: int,
    p: Parameters,
    folder: Path,
    known: np.ndarray | None = None,
    shard: tuple[int, int] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Attack the images that the parameters ask for and write ``<one|two>_pixel.parquet``.

    One pixel: correct test images (ATK01). Two pixels: a number of correct images of each class,
    test images first, filled up from validation and training images, each marked (ATK16).
    Finished images are checkpointed; a killed run goes on with the next ones, and a finished
    attack with the same settings and weights is read back.

    Args:
        model: the trained classifier of the run folder.
        data: all images.
        pixels: 1 or 2.
        p: attack_*, classifier_threshold and seed are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``; holds the classifier's weights.
        known: of `_classify_needed`, which adds to it, where several attacks share it.
        shard: (i, n) as for `attack_images`: only these images are attacked, and their rows are
            left as checkpoints for the call without shard that merges them.

    Returns:
        The attack table, and for each class the images of each part, the correct ones among
        those that had to be classified, in the test part all, and the attacked ones; of a shard its
        rows alone.

    Raises:
        InputError: the data set has one class only, or no image is classified right.
    """
    if len(data.facts.classes) < 2:
        raise InputError(f"{data.name} has one class: an attack needs two or more.")
    attack = attack_of(p, pixels, data.facts.multi_label)
    name = ATTACKS[pixels]
    limit = getattr(p, f"attack_{name}_images")
    weights = md5(folder / "classifier.safetensors")
    # Attacks with other numbers of pixels and their images do not concern this one.
    others = (f"attack_{other}_images" for n, other in ATTACKS.items() if n != pixels)
    of_attack = p.key("pixel_attack", "attack_pixels", *others)
    key = fingerprint([of_attack, pixels, data.provenance.md5, weights])
    path = folder / f"{name}.parquet"
    if path.exists() and (done := read_table(path)).attrs.get("key") == key:
        table = pd.DataFrame(done.attrs["images"])
        _say_which_are_few(table, pixels, limit)
        return done, table
    parts = ("test",) if pixels == 1 else attack_table.PARTS
    known = unclassified(data) if known is None else known
    _classify_needed(model, data, p, parts, limit, known)
    rows = np.isin(data.part, parts)
    is_right, data = known[rows] == 1, data.take(rows)
    positions = attack_table.select(data, is_right, parts, limit, p.seed)
    if not len(positions):
        raise InputError(
            f"The {model.architecture} classifies no image of {data.name} correctly, so there is "
            "none to attack: train it longer (classifier_epochs)."
        )
    model = model.to(pick_device(p.device))
    checkpoint = folder / f".{name}-{key}"
    found = attack_images(attack, model, data, positions, checkpoint, shard or (0, 1))
    # Alone an image may be classified otherwise than in the batch above.
    found = found[~found["skipped"].astype(bool)].reset_index(drop=True)
    found = found[list(attack_table.KEPT)]
    if shard:
        return found, pd.DataFrame()
    table = attack_table.availability(data, is_right)
    attacked = found["category"].value_counts()
    table["attacked"] = [int(attacked.get(place, 0)) for place in range(len(table))]
    _say_which_are_few(table, pixels, limit)
    found.attrs |= {"key": key, "images": table.to_dict("list")}
    write_table(path, found)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return read_table(path), table


def _say_which_are_few(table: pd.DataFrame, pixels: int, limit: int) -> None:
    few = table[table["attacked"] < (limit or 1)]
    for row in few.itertuples():
        wanted = limit or "all"
        print(
            f"{pixels}-pixel attack: {row.attacked} images of {row[1]!r} instead of {wanted}; no "
            "more are classified correctly.",
            file=sys.stderr,
        )
