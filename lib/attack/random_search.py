"""Random search, what any search must beat at an equal budget, and Sparse-RS, a stronger one.

Source of Sparse-RS: Croce, Andriushchenko, Singh, Flammarion and Hein, *Sparse-RS: A Versatile
Framework for Query-Efficient Sparse Black-Box Adversarial Attacks* (AAAI 2022), the attack on k
pixels (L0).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.attack.pixel_attack import PixelAttack
from lib.data import counter_rng
from lib.params.errors import check_field

# The schedule of Sparse-RS for L0: `share` is divided by the first number for the candidates up to
# the first end, of 10,000 in all, and so on.
ENDS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)


@dataclass(frozen=True)
class RandomSearch(PixelAttack):
    """Draws every candidate anew, positions and values uniform.

    All else is `PixelAttack`'s: arguments, budget (``population`` candidates at once,
    ``generations`` times after the first), streams, evaluation, what counts and what is returned.
    The first candidates are those of differential evolution on the same stream.
    """

    strategy: str = field(default="rand1", init=False, repr=False)
    mutation: float = field(default=0.5, init=False, repr=False)
    dither: tuple[float, float] = field(default=(0.5, 1.0), init=False, repr=False)
    crossover: float = field(default=0.7, init=False, repr=False)
    initial: str = field(default="uniform", init=False, repr=False)

    def proposed(
        self, members: Tensor, scores: Tensor, keys: Tensor, generation: Tensor, limits: Tensor
    ) -> Tensor:
        draws = counter_rng.bits(keys, generation, self.population, len(limits))
        return counter_rng.below(draws, limits)


@dataclass(frozen=True)
class SparseRS(RandomSearch):
    """Sparse-RS on one or more pixels.

    A candidate is the best one so far with some of its pixels, at least one, put at random places
    in random corners of the color cube. So with one pixel it is random search over corners.

    Differences from the source: ``population`` candidates are drawn from one best and evaluated at
    once, where the source draws one; a new place is drawn among all, where the source excludes the
    places in use; it minimizes the criterion's objective. The schedule is stretched to the budget,
    the source's default. Arguments not named here are as of `PixelAttack`.

    Args:
        share: of the pixels that the first candidates after the initial ones change, 0..1; the
            source's alpha, 0.3 in its untargeted experiments.
    """

    share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "share", 0, 1, ends="(]")

    def first(self, keys: Tensor, limits: Tensor) -> Tensor:
        return self._corners(super().first(keys, limits), limits)

    def proposed(
        self, members: Tensor, scores: Tensor, keys: Tensor, generation: Tensor, limits: Tensor
    ) -> Tensor:
        count, population, genes = members.shape
        best = members[torch.arange(count, device=members.device), scores.argmin(1)].unsqueeze(1)
        draws = counter_rng.bits(keys, generation, population, genes + self.pixels)
        new = self._corners(counter_rng.below(draws[..., :genes], limits), limits)
        order = draws[..., genes:].argsort(2).argsort(2)  # of the pixels, at random
        changed = order < self._changed(generation).view(-1, 1, 1)
        return new.where(changed.repeat_interleave(genes // self.pixels, 2), best)

    def _corners(self, genes: Tensor, limits: Tensor) -> Tensor:
        """The same positions with values 0 and 255 only."""
        is_value = torch.arange(len(limits), device=genes.device) % (len(limits) // self.pixels) > 1
        return (genes // 128 * 255).where(is_value, genes)

    def _changed(self, generation: Tensor) -> Tensor:
        """How many pixels of the best candidate each image's candidates change, int64 (N,)."""
        ends, divisors = (torch.tensor(row, device=generation.device) for row in (ENDS, DIVISORS))
        done = generation * 10_000 // (self.generations + 1)
        share = self.share / divisors[torch.searchsorted(ends, done)]
        return (share * self.pixels).long().clamp(min=1)
