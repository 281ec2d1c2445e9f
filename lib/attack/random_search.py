"""Random search: what any search must beat at an equal budget."""

from dataclasses import dataclass, field

from torch import Tensor

from lib.attack.pixel_attack import PixelAttack
from lib.data import counter_rng


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
