"""Synthetic images: procedural look-alikes of the five data sets, as npz files in MedMNIST's form.

The whole project runs on them without a download or a medical image. Classes, their order and their
proportions are those of ``params/datasets``; the pictures are made up, so results on them say
nothing about medicine.
"""

import zlib
from pathlib import Path

import numpy as np

from lib.data.phantoms import abdomen, chest, retina, skin, tissue
from lib.params import facts
from lib.params.dataset_info import Facts
from lib.params.errors import InputError
from lib.params.files import atomic

# Function that draws a scene, and the deviation of the noise: a fixed part, and one that grows with
# the signal, as speckle does.
DRAWN = {
    "derma": (skin.scene, 0.012, 0.0), "pathology": (tissue.scene, 0.015, 0.0),
    "oct": (retina.scene, 0.012, 0.16), "chest": (chest.scene, 0.012, 0.0),
    "abdomen_ct": (abdomen.scene, 0.018, 0.0),
}  # fmt: skip
# Drawn this many times larger and then averaged, so that fine structures do not alias.
ENLARGED = {28: 3, 64: 2, 128: 1, 224: 1}
FEWEST = {"train": 4, "val": 1, "test": 2}  # images of each class


def generate(dataset: str, size: int, images: int, seed: int) -> dict[str, np.ndarray]:
    """Draw a data set of at least `Facts.fewest_phantoms` images.

    70 % of the images are for training, 10 % for validation, 20 % for testing, stratified by class
    in the proportions of the data set, but with at least 4 images of each class in train, 1 in val
    and 2 in test. In Chest half the images are normal; 60 % of the others have one finding, as in
    NIH's list (30,963 of 51,759), the rest two or three.

    Image k of a class is the same picture whatever the number of images; at another size (28, 64,
    128 or 224 pixels) it is the same scene with other noise.

    Returns:
        For each part ``train``, ``val``, ``test``: ``<part>_images`` uint8 (N, size, size), or (N,
            size, size, 3) for color; ``<part>_labels`` uint8 (N, 1), Chest 0/1 (N, 14);
            ``<part>_groups`` int64 (N,), a made-up patient number: one patient in nine has two
            images, none is in two parts. ``source``: the string "phantom"; ``note``: one sentence.

    Raises:
        InputError: unknown data set, impossible size or seed, too few images.
    """
    known = facts(dataset)
    if size not in ENLARGED:
        raise InputError(f"Image size {size!r} is not one of {', '.join(map(str, ENLARGED))}.")
    if seed < 0:
        raise InputError(f"Seed {seed} is negative: give 0 or more.")
    weights = _weights(known)
    if images < known.fewest_phantoms:
        raise InputError(
            f"{images} phantoms of {dataset} are too few for three parts with every class: "
            f"give at least {known.fewest_phantoms}."
        )
    counts = apportion(images, weights, sum(FEWEST.values()))
    test = apportion(images // 5, counts, FEWEST["test"])
    val = apportion(images // 10, counts, FEWEST["val"])
    # Ranges of numbers within each class; the first image of a class is always tested.
    ranges = {"train": (test + val, counts), "val": (test, test + val), "test": (0 * test, test)}
    order = np.random.default_rng([seed, zlib.crc32(dataset.encode())])
    result, patients = {}, 0
    for part, (begins, ends) in ranges.items():
        indices = np.concatenate([
            np.arange(begin, end) * len(weights) + stratum
            for stratum, (begin, end) in enumerate(zip(begins, ends, strict=True))
        ])  # fmt: skip
        drawn = [draw(dataset, size, int(index), seed) for index in order.permutation(indices)]
        result[f"{part}_images"] = np.stack([image for image, _ in drawn])
        result[f"{part}_labels"] = np.stack([_row(known, labels) for _, labels in drawn])
        groups = np.arange(patients, patients + len(drawn))
        groups[1::10] = groups[0::10][: len(groups[1::10])]
        result[f"{part}_groups"] = groups
        patients += len(drawn)
    result["source"] = np.array("phantom")
    result["note"] = np.array(
        f"Drawn by this project's lib.data.phantoms with seed {seed}; no medical image is in it."
    )
    return result


def write(dataset: str, size: int, images: int, seed: int, root: Path | str) -> Path:
    """`generate` a data set and write it as ``root/<flag>_<size>.npz``, atomically.

    Equal arguments give equal bytes. Returns the path; raises `InputError` as `generate`, or if the
    disk is full.
    """
    arrays = generate(dataset, size, images, seed)
    path = Path(root) / facts(dataset).filename(size)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **arrays)
    return path


def _weights(known: Facts) -> np.ndarray:
    """Counts (strata,) of the classes; of a multi-label set one more, last, for "no label"."""
    counts = [each.count for each in known.classes]
    return np.array(counts + [sum(counts)] if known.multi_label else counts)


def apportion(total: int, weights: np.ndarray, fewest: int) -> np.ndarray:
    """Whole numbers that sum to ``total``, in proportion to ``weights``, none below ``fewest``."""
    shares = np.full(len(weights), float(fewest))
    free = np.ones(len(weights), bool)
    while True:
        left = total - fewest * (~free).sum()
        shares[free] = left * weights[free] / weights[free].sum()
        low = free & (shares < fewest)
        if not low.any():
            break
        shares[low], free = fewest, free & ~low
    whole = np.floor(shares + 1e-9).astype(np.int64)
    largest = np.argsort(whole - shares, kind="stable")[: total - whole.sum()]
    whole[largest] += 1
    return whole


def draw(dataset: str, size: int, index: int, seed: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Picture, uint8, and labels of an index: number in its class times strata, plus the class."""
    known, factor, (scene_of, fixed, relative) = facts(dataset), ENLARGED[size], DRAWN[dataset]
    rng = np.random.default_rng([seed, zlib.crc32(dataset.encode()), index])
    labels = _labels(rng, known, index)
    scene = scene_of(rng, labels, size * factor)
    scene = scene.reshape(size, factor, size, factor, *scene.shape[2:]).mean((1, 3))
    scene = scene + rng.standard_normal(scene.shape, dtype=np.float32) * (fixed + relative * scene)
    return np.rint(np.clip(scene, 0, 1) * 255).astype(np.uint8), labels


def _labels(rng: np.random.Generator, known: Facts, index: int) -> tuple[int, ...]:
    weights = _weights(known)
    number, stratum = divmod(index, len(weights))
    if not known.multi_label:
        return (stratum,)
    if stratum == len(known.classes):
        return ()
    others = weights[:-1].astype(float)
    others[stratum] = 0
    more = (0, 1, 0, 2, 0)[number % 5]  # labels beside the first
    added = rng.choice(len(others), more, replace=False, p=others / others.sum())
    return (stratum, *map(int, added))


def _row(known: Facts, labels: tuple[int, ...]) -> np.ndarray:
    if not known.multi_label:
        return np.array(labels, np.uint8)
    return np.isin(np.arange(len(known.classes)), labels).astype(np.uint8)
