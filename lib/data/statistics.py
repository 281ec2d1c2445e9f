"""Counts of a data set: images by class and part, and relatives across parts."""

import numpy as np
import pandas as pd

from lib.data.dataset import PARTS, Images
from lib.data.splits import content


def by_class(data: Images) -> pd.DataFrame:
    """Images of each class, or category of a multi-label set: class, images, train, val, test."""
    rows = [
        {"class": item.name, "images": int((data.category == place).sum())}
        | {part: int(((data.category == place) & (data.part == part)).sum()) for part in PARTS}
        for place, item in enumerate(data.facts.attack_classes)
    ]
    return pd.DataFrame(rows)


def by_label(data: Images) -> pd.DataFrame:
    """Images with each label of a multi-label set: label, images, train, val, test."""
    rows = [
        {"label": item.name, "images": int(data.labels[:, place].sum())}
        | {part: int(data.labels[data.part == part, place].sum()) for part in PARTS}
        for place, item in enumerate(data.facts.classes)
    ]
    return pd.DataFrame(rows)


def overlap(data: Images) -> pd.DataFrame:
    """Images outside the training part that have a relative in it (audit D10).

    Returns:
        part, images, same_patient (missing where no patient is known) and same_pixels.
    """
    same, training = content(data.images), data.part == "train"
    known = data.group[data.group >= 0]
    rows = []
    for part in ("val", "test"):
        here = data.part == part
        patients = np.isin(data.group[here], known[np.isin(known, data.group[training])])
        rows.append(
            {
                "part": part,
                "images": int(here.sum()),
                "same_patient": int(patients.sum()) if len(known) else None,
                "same_pixels": int(np.isin(same[here], same[training]).sum()),
            }
        )
    return pd.DataFrame(rows)
