"""The attack: differential evolution over the pixels of many images at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from lib.attack import differential_evolution, inputs
from lib.attack.attack_table import COLUMNS, rebuild
from lib.attack.criteria import Criterion, Misclassification, check_criterion
from lib.attack.evaluators import PRECISIONS, dtype_of
from lib.attack.screening import EVALUATIONS
from lib.attack.search import Search
from lib.data import counter_rng, like
from lib.models.inference import full_precision
from lib.params.errors import InputError, check_field, check_name, check_number

STRATEGIES = ("rand1", "best1bin")
STARTS = ("uniform", "normal")
MOST_GENERATIONS = 1 << 30


@dataclass(frozen=True)
class Generation:
    """What one generation of all images under attack gave.

    Attributes:
        best: lowest objective after each generation so far, by position of the image.
        finished: rows of the images that are done, as in `Found.table`.
    """

    best: dict[int, list[float]]
    finished: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Found:
    """What an attack found.

    Attributes:
        success: bool (N,), whether the stored image, evaluated alone in float32, meets the
            criterion; False for a skipped image.
        images: as attacked, uint8 in the shape and kind given; where an attack failed, with its
            best candidate; a skipped image as it was.
        clean: the images that were given.
        table: one row an image, in their order: ``image`` (position), ``label``, ``skipped`` and
            ``reason``, ``success``, ``predicted`` (decision on the clean image) and
            ``adversarial`` (on the attacked one; several labels as a string of 0 and 1),
            ``p_before`` and ``p_after`` (confidence of the criterion; without such a method its
            objective), ``rows``, ``cols`` and ``values`` of the changed pixels, ``evaluations``
            (candidates judged), ``computed`` (those that went through the network; the others
            were known before or were predicted), ``screened`` (predictions), ``generations``,
            ``disagreements`` (successes of the search that the stored image alone has not),
            ``best`` (lowest objective after each generation), ``seconds``.

    Of all images ``len(table)`` were given and ``(~table.skipped).sum()`` attacked.
    """

    success: np.ndarray
    images: Any
    clean: Any
    table: pd.DataFrame

    @classmethod
    def of(cls, table: pd.DataFrame, images: Any) -> "Found":
        """What a table says was found on images; the attacked ones are rebuilt from it.

        Args:
            table: one row an image, in any order, as those of `PixelAttack.iterate`.
            images: that were attacked.

        Raises:
            InputError: the table is not of these images.
        """
        table = table.sort_values("image", ignore_index=True)
        if table["image"].tolist() != list(range(len(table))):
            raise InputError(
                f"The attack table has {len(table)} rows whose column image is not 0 to "
                f"{len(table) - 1}: give one row for each image."
            )
        changed = like(images, rebuild(inputs.to_attack(images), table))
        return cls(table["success"].to_numpy(bool), changed, images, table)

    def __repr__(self) -> str:
        attacked = int((~self.table["skipped"].astype(bool)).sum())
        return f"<{self.success.sum()} successes on {attacked} of {len(self.table)} images>"


@dataclass(frozen=True)
class PixelAttack:
    """An attack that changes a few pixels (Su, Vargas and Sakurai 2019; the paper, 3.1.1).

    Call it with a model, images and labels, or go through `iterate`. Each image has a random
    stream of its own: what is found does not depend on order, on batches or on what else is
    attacked.

    Args:
        pixels: changed pixels.
        population: candidates of a generation, 4 to 65,536.
        generations: after the initial one; an image is done at its first success.
        strategy: ``rand1``, DE/rand/1 without crossover (ATK04, ATK07), or ``best1bin``.
        mutation: factor F of ``rand1``, above 0, at most 2.
        dither: bounds of F of ``best1bin``, 0..2, drawn each generation.
        crossover: probability of ``best1bin``, 0..1.
        initial: values of the first population, ``uniform``, or ``normal`` around mid-gray;
            positions are uniform.
        criterion: what is minimized and what counts, see `lib.attack.criteria`.
        precision: of the search: ``float32``, ``bfloat16``, ``float16``, or ``auto``, bfloat16
            for images of 64 pixels or fewer where the device computes in it, else float32. Success
            is always judged in float32.
        evaluation: ``exact``: every candidate is computed; ``screened``: most are predicted from
            activations inside the network, see `lib.attack.screening`. Success is always exact.
        batch: candidates evaluated at once, at most 65,536; 0: what the device holds well. Another
            number may round logits otherwise in the last bit.
        seed: of all random numbers.

    Raises:
        InputError: a value outside its range.
    """

    pixels: int = 1
    population: int = 100
    generations: int = 100
    strategy: str = "rand1"
    mutation: float = 0.5
    dither: tuple[float, float] = (0.5, 1.0)
    crossover: float = 0.7
    initial: str = "uniform"
    criterion: Criterion = Misclassification()
    precision: str = "float32"
    evaluation: str = "exact"
    batch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {
            "pixels": (1, counter_rng.MOST // 16), "population": (4, counter_rng.MOST),
            "generations": (0, MOST_GENERATIONS), "batch": (0, counter_rng.MOST),
            "seed": (-(1 << 63), (1 << 63) - 1),
        }  # fmt: skip
        for name, (low, high) in whole.items():
            check_field(self, name, low, high, whole=True)
        for name, known in (
            ("strategy", STRATEGIES), ("initial", STARTS), ("precision", PRECISIONS),
            ("evaluation", tuple(EVALUATIONS)),
        ):  # fmt: skip
            check_name(name, getattr(self, name), known)
        check_field(self, "mutation", 0, 2, ends="(]")
        check_field(self, "crossover", 0, 1)
        if not isinstance(self.dither, tuple | list) or len(self.dither) != 2:
            raise InputError(f"dither is {self.dither!r}: give two factors in 0..2, lower first.")
        high = check_number("dither[1]", self.dither[1], 0, 2)
        low = check_number("dither[0]", self.dither[0], 0, high)
        object.__setattr__(self, "dither", (low, high))
        check_criterion(self.criterion)

    def __call__(self, model: nn.Module, images: Any, labels: Any, keys: Any = None) -> Found:
        """Attack images.

        Args:
            model: in evaluation mode, (N, C, H, W) in 0..1 to logits (N, K). Gray images have one
                channel.
            images: uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch.
            labels: classes, int (N,), or 0/1 labels (N, K).
            keys: random stream of each image, int64 (N,); by default a hash of ``seed`` and of
                the image's bytes.

        Raises:
            InputError: model, images, labels or criterion are not as they must be, or logits are
                not finite.
        """
        rows = list(self.iterate(model, images, labels, keys))
        return Found.of(pd.DataFrame(rows, columns=list(COLUMNS)), images)

    def first(self, keys: Tensor, limits: Tensor) -> Tensor:
        """First candidates, int64 (N, population, genes).

        Args:
            keys: stream of each image, int64 (N,).
            limits: number of values of each gene, int64 (genes,).
        """
        channels = len(limits) // self.pixels - 2
        return differential_evolution.initial_population(
            keys, self.population, limits, channels, self.initial
        )

    def proposed(
        self, members: Tensor, scores: Tensor, keys: Tensor, generation: Tensor, limits: Tensor
    ) -> Tensor:
        """Candidates of a later generation; each replaces its member where it is no worse.

        Args:
            members: int64 (N, population, genes).
            scores: their objectives (N, population).
            keys, limits: as for `first`.
            generation: of the candidates, int64 (N,).
        """
        draws = keys, generation, limits
        if self.strategy == "best1bin":
            return differential_evolution.best1bin(
                members, scores, *draws, self.dither, self.crossover
            )
        return differential_evolution.rand1(members, *draws, self.mutation)

    def iterate(
        self, model: nn.Module, images: Any, labels: Any, keys: Any = None
    ) -> Iterator[dict[str, Any]]:
        """Rows of `Found.table` as images finish; arguments and errors as of a call.

        The search goes on when the next row is asked for, so a loop that stops stops it.
        """
        for generation in self.iterate_generations(model, images, labels, keys):
            yield from generation.finished

    def iterate_generations(
        self, model: nn.Module, images: Any, labels: Any, keys: Any = None
    ) -> Iterator[Generation]:
        """State after each generation; arguments and errors as of a call."""
        array, labels, device = inputs.ready(model, images, labels, self.criterion, self.pixels)
        if keys is None:
            keys = counter_rng.content_keys(self.seed, f"{self.pixels}-pixel attack", array)
        keys = inputs.as_keys(keys, len(array))
        dtype = dtype_of(self.precision, device, max(array.shape[1:3]))
        search = Search(self, model, array, labels, keys, dtype, device)
        while search.unfinished:
            with full_precision(device):
                best, finished = search.step()
            yield Generation(best, finished)
