"""State of the images that are under attack at the same time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Populations:
    """One population for each image under attack; every field has one row an image."""

    image: Tensor  # position in the list of images
    slot: Tensor  # of the evaluator and of the cache
    keys: Tensor
    pictures: Tensor  # uint8 (N, C, H, W)
    labels: Tensor
    clean: Tensor  # float32 logits of the clean image (N, K)
    generation: Tensor  # of the next candidates; 0 is the initial population
    members: Tensor  # int64 (N, population, genes)
    scores: Tensor  # objective of each member, float32 (N, population)
    seconds: Tensor
    disagreements: Tensor  # successes of the search that the stored image alone has not
    best: list[list[float]]  # lowest objective after each generation

    def keep(self, rows: Tensor) -> "Populations":
        """Only these rows, given as bool (N,)."""
        values = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        best = [history for history, keep in zip(self.best, rows.tolist(), strict=True) if keep]
        return Populations(**values, best=best)

    def join(self, other: "Populations") -> "Populations":
        """Both objects' rows."""
        values = {
            name: torch.cat([value, getattr(other, name)])
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return Populations(**values, best=self.best + other.best)
