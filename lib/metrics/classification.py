"""Quality of a classifier: per-class measures, confusion matrix, and the multi-label views.

Source: paper, section 4.2.1 and Tables 12-16, 34; decisions CLS09, CLS10. scikit-learn is imported
where it is used: it costs a second or two, and attacks need only `right`.
"""

import numpy as np
import pandas as pd

from lib.params.dataset_info import Facts


def right(labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Whether each image is decided right, bool (N,).

    Args:
        labels: (N,) class numbers or (N, L) 0/1; then the whole vector must be right (CLS09).
        decisions: of the same shape.
    """
    same = labels == decisions
    return same.all(1) if same.ndim == 2 else same


def accuracy(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Share of images decided right, see `right`."""
    return float(right(labels, decisions).mean())


def by_class(labels: np.ndarray, decisions: np.ndarray, facts: Facts) -> pd.DataFrame:
    """Precision, recall and F1 in 0..1 of each class or label, with counts.

    A class that is never decided has precision 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    numbers = None if facts.multi_label else range(len(facts.classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, decisions, labels=numbers, zero_division=0
    )
    if facts.multi_label:
        correct, decided = (labels & decisions).sum(0), decisions.sum(0)
    else:
        matrix = confusion(labels, decisions, facts)
        correct, decided = matrix.diagonal(), matrix.sum(0)
    return pd.DataFrame(
        {
            "class": [item.name for item in facts.classes],
            "images": support,
            "decided": decided,
            "correct": correct,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def confusion(labels: np.ndarray, decisions: np.ndarray, facts: Facts) -> np.ndarray:
    """Confusion matrix (classes, classes): row is the true class, column the decision."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, decisions, labels=range(len(facts.classes)))


def summary(labels: np.ndarray, decisions: np.ndarray, scores: np.ndarray, facts: Facts) -> dict:
    """The figures of one part of a data set.

    Args:
        labels: (N,) or (N, L).
        decisions: like ``labels``.
        scores: logits (N, classes).
        facts: of the data set.

    Returns:
        images, correct, accuracy, and majority_accuracy (always the most frequent class).
        Multi-label adds label_accuracy, all_zero_accuracy and all_zero_label_accuracy (what an
        output that never reports anything would reach; audit K6) and auc by label, ``None``
        where a label has no positive or no negative image.
    """
    found = {
        "images": len(labels),
        "correct": int(right(labels, decisions).sum()),
        "accuracy": accuracy(labels, decisions),
    }
    if not facts.multi_label:
        found["majority_accuracy"] = float(np.bincount(labels).max() / len(labels))
        return found
    from sklearn.metrics import roc_auc_score

    both = labels.any(0) & ~labels.all(0)
    found["label_accuracy"] = float((labels == decisions).mean())
    found["all_zero_accuracy"] = float((~labels.any(1)).mean())
    found["all_zero_label_accuracy"] = float((labels == 0).mean())
    found["auc"] = {
        item.name: float(roc_auc_score(labels[:, i], scores[:, i])) if both[i] else None
        for i, item in enumerate(facts.classes)
    }
    return found
