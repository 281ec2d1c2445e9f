"""Cache of candidate scores; each candidate of an image is evaluated once."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.data import counter_rng

_NONE = torch.iinfo(torch.int64).max
_BITS = 14  # of a row or column
# Candidates kept of one image, 20 bytes each. A search that allows millions of them would fill the
# memory before its first candidate. What no longer fits is evaluated again, an exact score to the
# same value.
MOST = 1 << 17


def keys_of(candidates: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Two int64 numbers (N, M) that tell candidates (N, M, genes) apart.

    Together they are one to one for one and two pixels; for more, different candidates agree
    with a probability of 2**-64.
    """
    parts = candidates.view(*candidates.shape[:2], pixels, -1)
    code = (parts[..., 0] << _BITS) + parts[..., 1]
    for channel in range(2, parts.shape[3]):
        code = (code << 8) + parts[..., channel]
    rest = torch.zeros_like(code[..., 0])
    for pixel in range(1, pixels):
        rest = counter_rng.mix(rest + pixel) + code[..., pixel]
    return counter_rng.mix(code[..., 0]) + rest, code[..., 0]


class ScoreCache:
    """Scores of the candidates evaluated so far, for each slot.

    Once a population has gathered in a few places, differential evolution proposes the same
    candidates again and again.

    Args:
        slots: images in work at the same time.
        capacity: candidates of one image; at most `MOST` are kept.
        pixels: of a candidate.
        device: of all tensors.
    """

    def __init__(self, slots: int, capacity: int, pixels: int, device: torch.device) -> None:
        self.pixels, capacity = pixels, min(capacity, MOST)
        self.keys = torch.full((slots, capacity), _NONE, device=device)
        self.checks = torch.full((slots, capacity), -1, device=device)
        self.scores = torch.zeros(slots, capacity, device=device)

    def clear(self, slots: Tensor) -> None:
        """Empty slots (n,) for new images."""
        self.keys[slots], self.checks[slots] = _NONE, -1

    def scored(
        self, slots: Tensor, candidates: Tensor,
        evaluate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Scores of candidates; those not cached are evaluated and added.

        Args:
            slots: int64 (N,).
            candidates: int64 (N, M, genes).
            evaluate: from row numbers in ``slots`` (n,) and candidates (n, genes) to scores and
                successes (n,).

        Returns:
            Scores (N, M) and successes, bool (N, M), true in the first place of a new candidate
            only.
        """
        keys, checks = keys_of(candidates, self.pixels)
        keys, order = keys.sort(1)
        checks = checks.gather(1, order)
        first = torch.ones_like(keys, dtype=torch.bool)
        first[:, 1:] = (keys[:, 1:] != keys[:, :-1]) | (checks[:, 1:] != checks[:, :-1])
        held = self.keys[slots]
        at = torch.searchsorted(held, keys).clamp(max=held.shape[1] - 1)
        known = (held.gather(1, at) == keys) & (self.checks[slots].gather(1, at) == checks)
        new = first & ~known
        rows, places = new.nonzero(as_tuple=True)
        values, hits = evaluate(rows, candidates[rows, order[rows, places]])
        scores = self.scores[slots].gather(1, at)
        scores[rows, places] = values
        leader = torch.arange(keys.shape[1], device=keys.device).where(first, 0).cummax(1).values
        scores = scores.gather(1, leader)
        success = torch.zeros_like(first)
        success[rows, places] = hits
        self._add(slots, keys.where(new, _NONE), checks, scores)
        back = order.argsort(1)
        return scores.gather(1, back), success.gather(1, back)

    def _add(self, slots: Tensor, keys: Tensor, checks: Tensor, scores: Tensor) -> None:
        capacity = self.keys.shape[1]
        keys, order = torch.cat([self.keys[slots], keys], 1).sort(1)
        self.keys[slots] = keys[:, :capacity]
        for mine, new in ((self.checks, checks), (self.scores, scores)):
            mine[slots] = torch.cat([mine[slots], new], 1).gather(1, order)[:, :capacity]
