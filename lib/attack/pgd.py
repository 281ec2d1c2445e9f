"""Projected gradient descent in the L-infinity ball (Madry et al. 2018), for any criterion.

Libraries have it for one label an image; here what is minimized is a criterion, so that images may
have several labels.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lib.attack import inputs
from lib.attack.criteria import (
    Criterion,
    Misclassification,
    check_criterion,
    confidence,
    skip_reason,
    slope,
)
from lib.attack.outcome import Outcome
from lib.attack.pixel_attack import Found
from lib.data import counter_rng, like, rounded, unit
from lib.models.inference import full_precision
from lib.params.errors import check_field

# Of its tables: those of `lib.attack.Found` but what is said of a few pixels, a search or its time.
COLUMNS = (
    "image", "label", "skipped", "reason", "success", "predicted", "adversarial", "p_before",
    "p_after", "evaluations",
)  # fmt: skip


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent on the criterion's objective, called as `PixelAttack` is.

    Success is that of the stored image, alone, in float32. The first success is kept, else the
    image of the lowest confidence. ``evaluations`` leaves out gradients, one for each.

    Args:
        epsilon: largest change of a stored value, whole, 1 to 255.
        steps: gradient steps of each start.
        step: length of a step in 255ths, at most 255; 0 for ``2.5 * epsilon / steps`` (Madry et
            al.).
        starts: the first is the image itself, the others are uniform in the ball.
        criterion: what is minimized and what counts, see `lib.attack.criteria`.
        seed: of the starts.

    Raises:
        InputError: a value outside its range.
    """

    epsilon: int = 8
    steps: int = 40
    step: float = 0.0
    starts: int = 2
    criterion: Criterion = Misclassification()
    seed: int = 0

    def __post_init__(self) -> None:
        check_field(self, "epsilon", 1, 255, whole=True)
        check_field(self, "steps", 1, math.inf, whole=True)
        check_field(self, "step", 0, 255)
        check_field(self, "starts", 1, math.inf, whole=True)
        check_field(self, "seed", -(1 << 63), (1 << 63) - 1, whole=True)
        check_criterion(self.criterion)

    def __call__(self, model: nn.Module, images: Any, labels: Any) -> Found:
        """Attack images one after the other; arguments as of `PixelAttack`.

        Returns:
            As `PixelAttack`, with the columns of `COLUMNS` in its table.

        Raises:
            InputError: as for `PixelAttack`, or a model without a gradient.
        """
        array, targets, device = inputs.ready(model, images, labels, self.criterion)
        keys = counter_rng.content_keys(self.seed, "pgd", array)
        rows, made = [], array.copy()
        for place in range(len(array)):
            label = targets[place : place + 1].to(device)
            picture = torch.tensor(array[place : place + 1]).permute(0, 3, 1, 2).to(device)
            key = keys[place : place + 1].to(device)
            with full_precision(device):
                row, found = self._one(model, place, picture, label, key)
            made[place] = found.permute(1, 2, 0).cpu().numpy()
            rows.append(row)
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        return Found(table["success"].to_numpy(bool), like(images, made), images, table)

    def _one(
        self, model: nn.Module, place: int, picture: Tensor, label: Tensor, key: Tensor
    ) -> tuple[dict[str, Any], Tensor]:
        """Row and attacked image, uint8 (C, H, W), of one image (1, C, H, W)."""
        clean, best = inputs.alone(model, picture[0]), picture[0]
        outcome = Outcome(model, self.criterion)
        if reason := skip_reason(self.criterion, clean, label):
            return outcome.clean(place, clean, label, reason), best
        row = outcome.clean(place, clean, label)
        for start in range(self.starts):
            for candidate in self._descend(model, picture, label, key, start):
                row["evaluations"] += 1
                logits = inputs.alone(model, candidate)
                fooled = bool(self.criterion(logits, label)[1].item())
                after = confidence(self.criterion, logits, label).item()
                if fooled or after < row["p_after"]:
                    decided = outcome.decision(logits, label)
                    row |= {"success": fooled, "p_after": after, "adversarial": decided}
                    best = candidate
                if fooled:
                    return row, best
        return row, best

    def _descend(self, model: nn.Module, picture: Tensor, label: Tensor, key: Tensor, start: int):
        """Stored images, uint8 (C, H, W), after each step of one start."""
        clean, radius = unit(picture), self.epsilon / 255
        length = (self.step or 2.5 * self.epsilon / self.steps) / 255
        at = clean.clone()
        if start:
            count, most = clean.numel(), counter_rng.MOST - 1  # draws of a member
            draws = counter_rng.bits(
                key, key.new_full((1,), start), -(-count // most), min(count, most)
            )
            draws = draws.flatten()[:count].view_as(clean)
            at = at + radius * (2 * draws.float() / 2**31 - 1)
        for _ in range(self.steps):
            at = at.clamp(clean - radius, clean + radius).clamp(0, 1)
            _, gradient = slope(lambda values: model(values).float(), at, self.criterion, label)
            at = at - length * gradient.sign()
            held = at.clamp(clean - radius, clean + radius).clamp(0, 1)
            yield rounded(held)[0].to(torch.uint8)
