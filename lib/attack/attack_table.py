"""Which images are attacked, the columns of attack tables, and images rebuilt from their rows."""

import numpy as np
import pandas as pd
import torch

from lib.data import Images, counter_rng
from lib.params.errors import InputError

# Of what an attack returns; see `lib.attack.Found`.
COLUMNS = (
    "image", "label", "skipped", "reason", "success", "predicted", "adversarial", "p_before",
    "p_after", "rows", "cols", "values", "evaluations", "computed", "screened", "generations",
    "disagreements", "best", "seconds",
)  # fmt: skip
# Of the table that a run keeps.
KEPT = (
    "dataset", "split", "index", "label", "predicted", "adversarial", "success", "p_before",
    "p_after", "rows", "cols", "values", "evaluations", "generations", "seconds", "seed",
    "part", "category", "group", "true_label_changed", "disagreements", "best", "computed",
)  # fmt: skip
PARTS = ("test", "val", "train")


def select(data: Images, correct: np.ndarray, parts: tuple[str, ...], limit: int, seed: int):
    """Positions of the correctly classified images to attack, ``limit`` for each class.

    The order within a class is a hash of seed and row, test images first. It does not depend on
    the classifier, so two classifiers get the same images where both are right (ATK18), and a
    larger limit only adds images (audit C5).

    Args:
        data: all images.
        correct: bool (N,), whether the classifier is right.
        parts: parts to take from, in this order (ATK01: test; ATK16: test, val, train).
        limit: images of each class; 0: all.
        seed: of the run.

    Returns:
        int64 positions in ``data``, by class and then in order of preference.
    """
    keys = counter_rng.image_keys(
        seed, "selection", data.name, data.split.tolist(), data.index.tolist()
    ).numpy()
    rank = np.array([parts.index(part) if part in parts else -1 for part in data.part])
    chosen = []
    for category in range(len(data.facts.attack_classes)):
        able = np.flatnonzero(correct & (data.category == category) & (rank >= 0))
        order = able[np.lexsort((keys[able], rank[able]))]
        chosen.append(order[: limit or None])
    return np.concatenate(chosen)


def availability(data: Images, correct: np.ndarray) -> pd.DataFrame:
    """Images and correctly classified images of each class in each part."""
    rows = []
    for category, item in enumerate(data.facts.attack_classes):
        row = {"class": item.name}
        for part in PARTS:
            here = (data.category == category) & (data.part == part)
            row[f"{part}_images"], row[f"{part}_correct"] = here.sum(), (here & correct).sum()
        rows.append(row)
    return pd.DataFrame(rows)


def rebuild(clean: np.ndarray, records: pd.DataFrame) -> np.ndarray:
    """Attacked images from their clean ones: the pixels of each row are written in order.

    Args:
        clean: uint8 (N, H, W, C), in the order of ``records``.
        records: attack table of N rows; ``rows``, ``cols`` and ``values`` are used.

    Returns:
        uint8 (N, H, W, C).

    Raises:
        InputError: different lengths, or a pixel outside the image.
    """
    if len(clean) != len(records):
        raise InputError(
            f"There are {len(clean)} images for {len(records)} attack records: give one each."
        )
    images = clean.copy()
    for place, record in enumerate(records.itertuples()):
        image = images[place]
        for row, col, value in zip(record.rows, record.cols, record.values, strict=True):
            if not (0 <= row < image.shape[0] and 0 <= col < image.shape[1]):
                raise InputError(
                    f"Row {place} of the attack table changes pixel ({row}, {col}) of an image of "
                    f"{image.shape[0]} x {image.shape[1]}: the table is of other images."
                )
            image[row, col] = value
    return images


def true_label_changed(label: int | str, adversarial: int | str) -> bool:
    """Whether an attack took a label that the image truly has, or any of an image without one."""
    if isinstance(label, str) and "1" in label:
        return any(a == "1" != b for a, b in zip(label, adversarial, strict=True))
    return label != adversarial


def pixels_of(genes: torch.Tensor, channels: int) -> dict[str, list]:
    """One candidate, int64 (genes,), as the record's rows, cols and values."""
    pixels = genes.view(-1, 2 + channels).tolist()
    return {
        "rows": [pixel[0] for pixel in pixels],
        "cols": [pixel[1] for pixel in pixels],
        "values": [pixel[2:] for pixel in pixels],
    }


def positions(data: Images, records: pd.DataFrame) -> np.ndarray:
    """Positions in ``data`` of the images that records name, int64 (N,).

    Raises:
        InputError: a record's image is not in the data set.
    """
    place = {pair: i for i, pair in enumerate(zip(data.split, data.index.tolist(), strict=True))}
    try:
        wanted = [place[pair] for pair in zip(records["split"], records["index"], strict=True)]
    except KeyError as error:
        raise InputError(
            f"{data.provenance.npz} has no image {error.args[0]}, which an attack record names: "
            "the records were made on other data."
        ) from None
    return np.array(wanted, dtype=np.int64)


def locate(data: Images, records: pd.DataFrame) -> Images:
    """The clean images of records, in their order; errors as of `positions`."""
    return data.take(positions(data, records))
