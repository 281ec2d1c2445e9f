"""Quality of a classifier: per-class measures, confusion matrix, multi-label measures.

Source: paper, section 4.2.1 and Tables 12-16, 34; decisions CLS09, CLS10. scikit-learn is imported
where it is used, because that takes a second or two.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lib.params.dataset_info import Facts
from lib.params.errors import InputError


def right(labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Whether each image is classified correctly, bool (N,).

    Labels and decisions are class numbers (N,) or 0/1 (N, L), which must all be right (CLS09).

    Raises:
        InputError: they have two shapes.
    """
    labels, decisions = np.asarray(labels), np.asarray(decisions)
    if labels.shape != decisions.shape:
        raise InputError(
            f"Labels of shape {labels.shape} cannot be compared with decisions of shape "
            f"{decisions.shape}: give one class an image (N,), or 0/1 labels (N, L), to both."
        )
    same = labels == decisions
    return same.all(1) if same.ndim == 2 else same


def accuracy(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Share of images classified correctly, see `right`; NaN without images."""
    return _share(right(labels, decisions))


def _share(values: np.ndarray) -> float:
    """Share of true values, NaN without any."""
    return float(values.mean()) if values.size else math.nan


def by_class(labels: np.ndarray, decisions: np.ndarray, facts: Facts) -> pd.DataFrame:
    """Precision, recall and F1 in 0..1 of each class or label, with counts; 0 where undefined."""
    if facts.multi_label:
        images, decided = labels.sum(0, dtype=np.int64), decisions.sum(0, dtype=np.int64)
        correct = (labels & decisions).sum(0, dtype=np.int64)
    else:
        matrix = confusion(labels, decisions, facts)
        images, decided, correct = matrix.sum(1), matrix.sum(0), matrix.diagonal()
    table = pd.DataFrame({"class": [item.name for item in facts.classes], "images": images,
                          "decided": decided, "correct": correct})  # fmt: skip
    for name, of in (("precision", decided), ("recall", images), ("f1", (decided + images) / 2)):
        table[name] = correct / np.maximum(of, 0.5)
    return table


def confusion(labels: np.ndarray, decisions: np.ndarray, facts: Facts) -> np.ndarray:
    """Confusion matrix (classes, classes): row is the true class, column the decision."""
    count = len(facts.classes)
    pairs = np.asarray(labels, np.int64) * count + decisions
    return np.bincount(pairs, minlength=count**2).reshape(count, count)


def summary(labels: np.ndarray, decisions: np.ndarray, scores: np.ndarray, facts: Facts) -> dict:
    """Measures of one part of a data set.

    Labels and decisions are as of `right`, scores are logits (N, classes).

    Returns:
        images, correct, accuracy, and majority_accuracy (always the most frequent class).
        Multi-label adds label_accuracy, all_zero_accuracy and all_zero_label_accuracy (of an output
        that never reports anything; audit K6) and auc by label, ``None`` where a label has no
        positive or no negative image. Shares are NaN without images.
    """
    from sklearn.metrics import roc_auc_score

    same = right(labels, decisions)
    found = {"images": len(labels), "correct": int(same.sum()), "accuracy": _share(same)}
    if not facts.multi_label:
        most = np.bincount(labels, minlength=len(facts.classes)).max()
        return found | {"majority_accuracy": most / len(labels) if len(labels) else math.nan}
    names = [item.name for item in facts.classes]
    return found | {
        "label_accuracy": _share(labels == decisions),
        "all_zero_accuracy": _share(~labels.any(1)),
        "all_zero_label_accuracy": _share(labels == 0),
        "auc": {
            name: float(roc_auc_score(known, score)) if known.any() and not known.all() else None
            for name, known, score in zip(names, labels.T, scores.T, strict=True)
        },
    }


def constant_accuracy(measured: Mapping[str, Any]) -> float:
    """Accuracy of an answer that never changes: the majority class, or no label at all.

    NaN where `summary` has neither.
    """
    return measured.get("majority_accuracy", measured.get("all_zero_accuracy", math.nan))


def below_constant(measured: Mapping[str, Any]) -> bool:
    """Whether a classifier is less accurate than a constant answer; ``measured`` as above."""
    return measured.get("accuracy", math.nan) < constant_accuracy(measured)
