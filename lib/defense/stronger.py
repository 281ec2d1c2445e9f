"""Attacks with a larger budget than the paper's: restarts, more pixels.

Each is called as `lib.attack.PixelAttack` is, with a model, images and labels, and returns what it
returns. It begins with the very attack it is made from, so that success never falls with budget.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from lib.attack import Found, LinearMapAttack, PixelAttack, inputs
from lib.attack.criteria import Criterion
from lib.params.errors import InputError, check_field, shortened

SUMS = ("evaluations", "computed", "screened", "generations", "disagreements", "seconds", "best")
PIXELS = ("rows", "cols", "values")


def check_attack(attack: Any, *kinds: type) -> None:
    """Refuse an attack of another kind: of it no stronger one can be made."""
    if not isinstance(attack, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"The attack is {shortened(attack)}: give a {wanted}.")


@dataclass(frozen=True)
class Restarts:
    """An attack repeated with other random numbers until it succeeds; the best run counts.

    Args:
        attack: the first run is this attack itself.
        runs: at most.

    Raises:
        InputError: no run, or another kind of attack.
    """

    attack: PixelAttack
    runs: int = 5

    def __post_init__(self) -> None:
        check_attack(self.attack, PixelAttack)
        check_field(self, "runs", 1, math.inf, whole=True)

    def __call__(self, model: nn.Module, images: Any, labels: Any) -> Found:
        """Attack images; arguments and errors as of `PixelAttack`."""
        found = self.attack(model, images, labels)
        array = inputs.to_attack(images)
        labels = inputs.as_labels(labels, len(array))
        for run in range(1, self.runs):
            left = _standing(found)
            if not len(left):
                break
            again = replace(self.attack, seed=self.attack.seed + run)
            other = again(model, array[left], labels[left])
            found = _joined(found, left, other.table, onward=False)
        return found


@dataclass(frozen=True)
class MorePixels:
    """One pixel, two, four ... until the image is misclassified (greedy).

    Each stage keeps the pixels found so far and searches for as many more, so that success never
    falls with their number. ``rows`` of the table has the pixels that an image took: it is
    misclassified with k pixels where it has succeeded and ``len(rows) <= k``.

    Args:
        attack: the first stage.
        most: pixels in all at most.

    Raises:
        InputError: fewer than the first stage changes, or another kind of attack.
    """

    attack: PixelAttack
    most: int = 64

    def __post_init__(self) -> None:
        check_attack(self.attack, PixelAttack, LinearMapAttack)
        check_field(self, "most", self.attack.pixels, math.inf, whole=True)

    def __call__(self, model: nn.Module, images: Any, labels: Any) -> Found:
        """Attack images; arguments and errors as of `PixelAttack`."""
        found, pixels = self.attack(model, images, labels), self.attack.pixels
        labels = inputs.as_labels(labels, len(images))
        judge = self.attack.criterion
        if not hasattr(judge, "multi_label"):
            judge = _Onward(judge, labels.ndim == 2)
        while 2 * pixels <= self.most and len(left := _standing(found)):
            stage = replace(self.attack, pixels=pixels, criterion=judge)
            other = stage(model, found.images[left], labels[left])
            found = _joined(found, left, other.table, onward=True)
            pixels *= 2
        return found


class _Onward:
    """A user's criterion for images that may have lost their label without meeting it yet."""

    def __init__(self, criterion: Criterion, multi_label: bool) -> None:
        self.criterion, self.multi_label = criterion, multi_label

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.criterion(logits, labels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.criterion, name)


def _standing(found: Found) -> np.ndarray:
    """Positions of attacked images whose attack has not succeeded."""
    return np.flatnonzero(~found.success & ~found.table["skipped"].to_numpy(bool))


def _joined(found: Found, left: np.ndarray, table: pd.DataFrame, onward: bool) -> Found:
    """What was found, with a further run on some of the images where that one got lower.

    Args:
        found: so far.
        left: positions of the images of the further run.
        table: of the further run.
        onward: whether it went on from what was found, else it began anew.
    """
    rows = found.table.to_dict("records")
    for at, new in zip(left, table.to_dict("records"), strict=True):
        old = rows[at]
        rows[at] = old | {name: old[name] + new[name] for name in SUMS}
        if new["success"] or new["p_after"] < old["p_after"]:
            rows[at] |= {name: new[name] for name in ("success", "adversarial", "p_after")}
            rows[at] |= {name: old[name] * onward + new[name] for name in PIXELS}
    return Found.of(pd.DataFrame(rows, columns=list(found.table.columns)), found.clean)
