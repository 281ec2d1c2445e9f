"""State of the images that are under attack at the same time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Pool:
    """State of the images under attack; every field has one row an image."""

    position: Tensor  # in the list of images
    slot: Tensor  # of the evaluator and of the memory
    keys: Tensor
    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor
    generation: Tensor  # of the next candidates; 0 is the initial population
    members: Tensor  # int64 (N, population, genes)
    scores: Tensor  # objective of each member, float32 (N, population)
    seconds: Tensor
    computed: Tensor  # candidates that went through the network
    disagreements: Tensor
    best: list[list[float]]

    def keep(self, rows: Tensor) -> "Pool":
        """Only these rows, given as bool (N,)."""
        values = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        best = [history for history, keep in zip(self.best, rows.tolist(), strict=True) if keep]
        return Pool(**values, best=best)

    def join(self, other: "Pool") -> "Pool":
        """Both pools' rows."""
        values = {
            name: torch.cat([value, getattr(other, name)])
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return Pool(**values, best=self.best + other.best)
