"""Scores of candidates that a search proposes: their objectives and successes."""

import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion, not_nan
from lib.attack.evaluators import CandidateEvaluator


class ExactScores:
    """Every candidate is computed: its score is its objective.

    Args:
        model: in evaluation mode, on its device.
        criterion: whose objective is the score.
        example: one of the images, uint8 (C, H, W), on the model's device.
        pixels, population, dtype, batch, most: see `lib.attack.evaluators.make_evaluator`.

    Attributes:
        slots: images in work at the same time.
        counts: for each slot, candidates computed by the network and predicted since its image
            entered, int64 (slots, 2).
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, example: Tensor, pixels: int,
        population: int, dtype: torch.dtype, batch: int, most: int,
    ) -> None:  # fmt: skip
        self.criterion = criterion
        self.evaluator = CandidateEvaluator(model, example, pixels, population, dtype, batch, most)
        self.slots = self.evaluator.slots
        self.counts = torch.zeros(self.slots, 2, dtype=torch.long, device=example.device)

    def enter(self, slots: Tensor, pictures: Tensor, labels: Tensor, clean: Tensor) -> None:
        """Put images into slots.

        Args:
            slots: int64 (n,).
            pictures: uint8 (n, C, H, W).
            labels: int64 (n,) or (n, K).
            clean: their float32 logits (n, K).
        """
        self.counts[slots] = 0
        self.evaluator.enter(slots, pictures, clean)

    def __call__(self, slots: Tensor, labels: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
        """Score candidates.

        Args:
            slots: of their images, int64 (n,), those of one image side by side.
            labels: of their images, int64 (n,) or (n, K).
            genes: int64 (n, genes).

        Returns:
            Scores, float32 (n,), lower is better, and successes in the search's precision, bool.
        """
        if not len(slots):
            return torch.zeros(0, device=slots.device), slots.bool()
        objective, success = self.criterion(self.evaluator.logits(slots, genes), labels)
        not_nan(objective)
        self.counts[:, 0] += slots.bincount(minlength=self.slots)
        return objective.float(), success
