"""What the search minimizes and what counts as success, as objects.

The paper does not say what a non-targeted attack minimizes (ATK10), nor anything of Chest's 14
labels (ATK11). The usual choice is the probability of the true class. We search on logits: the
order of candidates is the same, but a probability that rounds to 1 in float32 leaves the search
without a slope.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.params.errors import InputError, unknown


@dataclass(frozen=True)
class ClassChange:
    """Single-label: the most likely class is no longer the true one."""

    multi_label = False

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Log-odds (N,) of the true class from logits (N, K), classes (N,); lower is better."""
        true = logits.gather(1, labels.view(-1, 1)).squeeze(1)
        others = logits.scatter(1, labels.view(-1, 1), float("-inf"))
        return true - others.logsumexp(1)

    def success(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether the class has changed, bool (N,)."""
        return logits.argmax(1) != labels

    def confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Probability of the true class, 0..1, (N,)."""
        return logits.softmax(1).gather(1, labels.view(-1, 1)).squeeze(1)


@dataclass(frozen=True)
class AnyLabelChange:
    """Multi-label: any label crosses the threshold; the paper's reading for Chest (4.2.5)."""

    threshold: float = 0.5
    multi_label = True

    def _watched(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool)

    def _margins(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Distance of each logit from the threshold, positive on the right side, (N, L)."""
        edge = torch.logit(torch.tensor(self.threshold, dtype=torch.float64)).item()
        side = (labels * 2 - 1).to(logits.dtype)
        return (side * (logits - edge)).where(self._watched(labels), torch.inf)

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smallest margin over the watched labels, (N,), from logits and labels (N, L)."""
        return self._margins(logits, labels).amin(1)

    def success(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Whether a watched label is on the wrong side, bool (N,)."""
        edge = torch.logit(torch.tensor(self.threshold, dtype=torch.float64)).item()
        wrong = (logits > edge) != labels.bool()
        return (wrong & self._watched(labels)).any(1)

    def confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smallest signed margin of the sigmoids from the threshold, -1..1, (N,)."""
        side = (labels * 2 - 1).to(logits.dtype)
        margins = side * (logits.sigmoid() - self.threshold)
        return margins.where(self._watched(labels), torch.inf).amin(1)


@dataclass(frozen=True)
class TrueLabelChange(AnyLabelChange):
    """Multi-label: a label that the image truly has is lost; an image without any gains one."""

    def _watched(self, labels: Tensor) -> Tensor:
        return labels.bool() | ~labels.bool().any(1, keepdim=True)


Criterion = ClassChange | AnyLabelChange


def criterion_for(name: str, multi_label: bool, threshold: float = 0.5) -> Criterion:
    """Criterion by its parameter name.

    Args:
        name: ``auto``, ``class``, ``any_label`` or ``true_label``.
        multi_label: task of the data set; must fit the criterion.
        threshold: on each sigmoid.

    Raises:
        InputError: unknown, or of the other task.
    """
    if name == "auto":
        name = "any_label" if multi_label else "class"
    known = {
        "class": ClassChange(),
        "any_label": AnyLabelChange(threshold),
        "true_label": TrueLabelChange(threshold),
    }
    if name not in known:
        raise unknown("criterion", name, [*known, "auto"])
    if known[name].multi_label != multi_label:
        task = "multi-label" if multi_label else "single-label"
        raise InputError(f"Criterion {name!r} does not fit a {task} data set: take 'auto'.")
    return known[name]
