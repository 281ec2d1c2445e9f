"""What the search minimizes and what counts as success.

A criterion is called with logits and labels and returns both. One's own can be any object that
can be called so, also a plain function.

The paper does not say what a non-targeted attack minimizes (ATK10), nor anything of Chest's 14
labels (ATK11). The usual choice is the probability of the true class. We search on logits: the
order of candidates is the same, but a probability that rounds to 1 in float32 leaves the search
without a slope.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lib.models.classifiers import threshold_logit
from lib.params.errors import InputError, check_field, check_name


class Criterion(Protocol):
    """What the search minimizes and what counts as success."""

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Judge candidates.

        Args:
            logits: float32 (N, K).
            labels: int64 (N,), or 0/1 (N, K) if images have several labels.

        Returns:
            The objective, float (N,), lower is better, and the successes, bool (N,).
        """


@dataclass(frozen=True)
class Misclassification:
    """Single-label: the most likely class is no longer the true one."""

    multi_label = False

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of the true class, and whether another class is more likely."""
        true = logits.gather(1, labels.view(-1, 1)).squeeze(1)
        others = logits.scatter(1, labels.view(-1, 1), float("-inf"))
        return true - others.logsumexp(1), logits.argmax(1) != labels

    def margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logit of the true class less the largest other one, (N,); below zero: fooled."""
        true = logits.gather(1, labels.view(-1, 1)).squeeze(1)
        return true - logits.scatter(1, labels.view(-1, 1), float("-inf")).amax(1)

    def confidence(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Probability of the true class, 0..1, (N,)."""
        return logits.softmax(1).gather(1, labels.view(-1, 1)).squeeze(1)


@dataclass(frozen=True)
class AnyLabelChange:
    """Multi-label: any label crosses the threshold; the paper's reading for Chest (4.2.5).

    Args:
        threshold: on each sigmoid, between 0 and 1; a label counts above it.

    Raises:
        InputError: another threshold.
    """

    threshold: float = 0.5
    multi_label = True

    def __post_init__(self) -> None:
        check_field(self, "threshold", 0, 1, ends="()")

    def _watched(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool)

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest margin over the watched labels, and whether one is on the wrong side."""
        side, watched = (labels * 2 - 1).to(logits.dtype), self._watched(labels)
        margins = (side * (logits - threshold_logit(self.threshold))).where(watched, torch.inf)
        wrong = (logits > threshold_logit(self.threshold)) != labels.bool()
        return margins.amin(1), (wrong & watched).any(1)

    def margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The objective: the distance of the nearest watched logit from its edge, (N,)."""
        return self(logits, labels)[0]

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


def check_criterion(criterion: Criterion) -> None:
    """Refuse what cannot be called with logits and labels, as a class instead of its object."""
    if not callable(criterion) or isinstance(criterion, type):
        raise InputError(
            f"The criterion {criterion!r} cannot judge: give an object or a function that takes "
            "logits and labels and returns objective and success."
        )


def confidence(criterion: Criterion, logits: Tensor, labels: Tensor) -> Tensor:
    """What a criterion calls confidence, (N,); without such a method the objective."""
    if hasattr(criterion, "confidence"):
        return criterion.confidence(logits, labels)
    return criterion(logits, labels)[0]


def decisions(criterion: Criterion, logits: Tensor, multi_label: bool) -> Tensor:
    """Classes (N,), or 0/1 labels (N, K) at the criterion's own threshold, 0.5 if it has none."""
    if not multi_label:
        return logits.argmax(1)
    return (logits > threshold_logit(getattr(criterion, "threshold", 0.5))).long()


def not_nan(objective: Tensor) -> None:
    """Raise InputError where an objective of a criterion is not a number."""
    if objective.isnan().any():
        raise InputError("The criterion gives an objective that is not a number.")


def skip_reason(criterion: Criterion, logits: Tensor, labels: Tensor) -> str:
    """Why a clean image is not attacked, '' if it is.

    Our own criteria say themselves whether the model is right, so far as they watch the labels.
    With any other the decision must be the label too. The image is one: logits are (1, K), its
    label is int64 (1,) or (1, K).
    """
    if criterion(logits, labels)[1].item():
        ours = hasattr(criterion, "multi_label")
        return "misclassified" if ours else "meets the criterion before the attack"
    decided = decisions(criterion, logits, labels.ndim == 2)
    if not hasattr(criterion, "multi_label") and not torch.equal(decided, labels):
        return "misclassified"
    return ""


def criterion_for(name: str, multi_label: bool, threshold: float = 0.5) -> Criterion:
    """Criterion by its parameter name.

    Args:
        name: ``auto``, ``class``, ``any_label`` or ``true_label``.
        multi_label: task of the data set; must fit the criterion.
        threshold: on each sigmoid.

    Raises:
        InputError: unknown, or of the other task.
    """
    known = {
        "auto": AnyLabelChange(threshold) if multi_label else Misclassification(),
        "class": Misclassification(),
        "any_label": AnyLabelChange(threshold),
        "true_label": TrueLabelChange(threshold),
    }
    check_name("criterion", name, known)
    if known[name].multi_label != multi_label:
        task = "multi-label" if multi_label else "single-label"
        raise InputError(f"Criterion {name!r} does not fit a {task} data set: use 'auto'.")
    return known[name]


def slope(
    forward: Callable[[Tensor], Tensor], values: Tensor, criterion: Criterion, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Objective at the first of several values, and the mean of its gradients at all of them.

    Args:
        forward: values (n, ...) to logits (n, K); may write into the values it is given.
        values: where the gradient is taken, float.
        criterion: whose objective.
        label: of all values, int64 (1,) or (1, K).

    Raises:
        InputError: the objective has no gradient.
    """
    # Tensors that are made in inference mode cannot take part in a gradient.
    with torch.inference_mode(False), torch.enable_grad():
        values, label = values.clone().requires_grad_(), label.clone()
        logits = forward(values.clone())
        objective, _ = criterion(logits, label.expand(len(values), *label.shape[1:]))
        gradient = None
        if objective.requires_grad:
            (gradient,) = torch.autograd.grad(objective.sum(), values, allow_unused=True)
    if gradient is None:
        raise InputError(
            f"The criterion {type(criterion).__name__} gives an objective without a gradient on "
            "this model: give a criterion and a model that have one."
        )
    return objective[0].detach(), gradient.mean(0)
