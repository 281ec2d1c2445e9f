"""What becomes of an image, as a row of `lib.attack.Found.table`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib.attack import differential_evolution, inputs
from lib.attack.attack_table import pixels_of
from lib.attack.criteria import Criterion, confidence, decisions
from lib.models.classifiers import as_text


@dataclass(frozen=True)
class Outcome:
    """Judges stored images alone in float32 and puts that into rows."""

    model: nn.Module
    criterion: Criterion

    def alone(self, picture: Tensor, genes: Tensor) -> Tensor:
        """Float32 logits (1, K) of an image, uint8 (C, H, W), changed by ``genes`` (genes,)."""
        painted = differential_evolution.paint(picture.unsqueeze(0), genes.view(1, 1, -1))
        return inputs.alone(self.model, painted[0])

    def confirmed(
        self, picture: Tensor, candidates: Tensor, objective: Tensor, hit: Tensor, label: Tensor
    ) -> tuple[int | None, int]:
        """The best candidate that a search calls a success and that is one, stored and alone.

        Args:
            picture: uint8 (C, H, W).
            candidates: int64 (n, genes).
            objective: of the candidates (n,).
            hit: bool (n,), which of them the search calls successes.
            label: int64 (1,) or (1, K).

        Returns:
            Its position, None if there is none, and how many better ones are no success.
        """
        order = objective.where(hit, torch.inf).argsort()
        failed = 0
        for place in order[hit[order]].tolist():
            logits = self.alone(picture, candidates[place])
            if self.criterion(logits, label)[1].item():
                return place, failed
            failed += 1
        return None, failed

    def clean(self, place: int, logits: Tensor, label: Tensor, skipped: str = "") -> dict[str, Any]:
        """A whole row of the image at ``place``, as if nothing had been changed.

        Its logits are float32 (1, K). ``skipped`` says why it is not attacked, '' if it is.
        """
        decision = self.decision(logits, label)
        before = confidence(self.criterion, logits, label).item()
        return {
            "image": place, "label": as_text(label.cpu().numpy())[0], "skipped": bool(skipped),
            "reason": skipped, "success": False, "predicted": decision, "adversarial": decision,
            "p_before": before, "p_after": before, "rows": [], "cols": [], "values": [],
            "evaluations": 0, "computed": 0, "screened": 0, "generations": 0, "disagreements": 0,
            "best": [], "seconds": 0.0,
        }  # fmt: skip

    def attacked(self, picture: Tensor, genes: Tensor, label: Tensor) -> dict[str, Any]:
        """What the stored image, changed by ``genes``, is alone in float32.

        It succeeds also where the search, in its own precision, has seen no success.
        """
        after = self.alone(picture, genes)
        return {
            "success": self.criterion(after, label)[1].item(),
            "adversarial": self.decision(after, label),
            "p_after": confidence(self.criterion, after, label).item(),
            **pixels_of(genes.cpu(), len(picture)),
        }

    def decision(self, logits: Tensor, label: Tensor) -> int | str:
        """Class or labels of an image, float32 logits (1, K), as tables hold its label."""
        return as_text(decisions(self.criterion, logits, label.ndim == 2).cpu().numpy())[0]
