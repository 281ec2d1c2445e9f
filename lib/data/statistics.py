"""Counts of a data set: images by class and part, and relatives across parts."""

import numpy as np
import pandas as pd

from lib.data.dataset import PARTS, Images
from lib.data.splits import content


def by_class(data: Images) -> pd.DataFrame:
    """Images of each class, or category of a multi-label set: class, images, train, val, test."""
    names = [item.name for item in data.facts.attack_classes]
    return _counted("class", names, data.category[:, None] == range(len(names)), data.part)


def by_label(data: Images) -> pd.DataFrame:
    """Images with each label of a multi-label set: label, images, train, val, test."""
    return _counted("label", [item.name for item in data.facts.classes], data.labels, data.part)


def _counted(what: str, names: list[str], has: np.ndarray, part: np.ndarray) -> pd.DataFrame:
    """Images that have each of the named, ``has`` (N, names), in all and by part."""
    parts = {name: has[part == name].sum(0, dtype=np.int64) for name in PARTS}
    return pd.DataFrame({what: names, "images": has.sum(0, dtype=np.int64), **parts})


def overlap(data: Images) -> pd.DataFrame:
    """Images outside the training part that have a relative in it (audit D10).

    Returns:
        part, images, same_patient (missing where no patient is known) and same_pixels.
    """
    same, training = content(data.images), data.part == "train"
    known, rows = data.group >= 0, []
    for part in ("val", "test"):
        here = data.part == part
        patients = np.isin(data.group[here], data.group[training & known])
        rows.append({
            "part": part, "images": int(here.sum()),
            "same_patient": int(patients.sum()) if known.any() else None,
            "same_pixels": int(np.isin(same[here], same[training]).sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def related(data: Images, part: str = "test") -> list[int]:
    """Patients or lesions of a part's images that the training part has, too; sorted ids."""
    both = np.intersect1d(data.group[data.part == part], data.group[data.part == "train"])
    return both[both >= 0].tolist()
