"""A population search on many images at once: finished ones leave and new ones enter."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack import differential_evolution, inputs
from lib.attack.criteria import skip_reason
from lib.attack.evaluators import ExactScores
from lib.attack.outcome import Outcome
from lib.attack.score_cache import ScoreCache
from lib.attack.screening import EVALUATIONS


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


class Search:
    """The state of one call of an attack; `step` is one generation of every image in work.

    Args:
        attack: settings, a `PixelAttack`.
        model: in evaluation mode.
        images: uint8 (N, H, W, C).
        labels: int64 (N,) or (N, K).
        keys: random stream of each image, int64 (N,).
        dtype: of the search.
        device: of the model.
    """

    def __init__(
        self, attack: Any, model: nn.Module, images: np.ndarray, labels: Tensor,
        keys: Tensor, dtype: torch.dtype, device: torch.device,
    ) -> None:  # fmt: skip
        self.attack, self.model, self.criterion = attack, model, attack.criterion
        self.outcome = Outcome(model, attack.criterion)
        self.images, self.labels, self.keys = images, labels, keys
        self.dtype, self.device = dtype, device
        self.limits = differential_evolution.gene_limits(attack.pixels, *images.shape[1:], device)
        self.waiting = list(range(len(images)))
        self.populations: Populations | None = None
        self.evaluate: ExactScores | None = None

    @property
    def unfinished(self) -> bool:
        """Whether an image is waiting or under attack."""
        return bool(self.waiting or self.populations)

    def step(self) -> tuple[dict[int, list[float]], list[dict[str, Any]]]:
        """Let images enter and take one generation of all in work.

        Returns:
            The lowest objectives of each image so far, and the rows of those that are done.
        """
        finished = self._fill()
        if not self.populations:
            return {}, finished
        fooled, winners = self._generation(self.populations)
        held = self.populations
        best = dict(zip(held.image.tolist(), map(list, held.best), strict=True))
        done = fooled | (held.generation > self.attack.generations)
        for row in done.nonzero().flatten().tolist():
            finished.append(self._row(held, row, winners[row]))
        self.populations = held.keep(~done) if not done.all() else None
        return best, finished

    # ------------------------------------------------------------ entering

    def _fill(self) -> list[dict[str, Any]]:
        """Let waiting images enter while there is room; rows of those that are skipped."""
        skipped, entering = [], []
        used = len(self.populations.best) if self.populations else 0
        while self.waiting and (self.evaluate is None or len(entering) + used < self.slots):
            place = self.waiting.pop(0)
            picture = torch.tensor(self.images[place]).permute(2, 0, 1).to(self.device)
            label = self.labels[place : place + 1].to(self.device)
            clean = inputs.alone(self.model, picture)
            reason = skip_reason(self.criterion, clean, label)
            if reason:
                skipped.append(self.outcome.clean(place, clean, label, reason))
                continue
            if self.evaluate is None:
                self._prepare(picture)
            entering.append((place, picture, label, clean))
        if entering:
            entered = self._enter(entering)
            self.populations = self.populations.join(entered) if self.populations else entered
        return skipped

    def _prepare(self, example: Tensor) -> None:
        """Create the evaluator and an empty cache."""
        attack = self.attack
        self.evaluate = EVALUATIONS[attack.evaluation](
            self.model, self.criterion, example, attack.pixels, attack.population, self.dtype,
            attack.batch, len(self.waiting) + 1,
        )  # fmt: skip
        self.slots = self.evaluate.slots
        capacity = attack.population * (attack.generations + 1)
        self.cache = ScoreCache(self.slots, capacity, attack.pixels, self.device)

    def _enter(self, entering: list[tuple[int, Tensor, Tensor, Tensor]]) -> Populations:
        """Populations of new images, not yet evaluated, in free slots."""
        places, pictures, labels, clean = map(list, zip(*entering, strict=True))
        pictures, labels, clean = torch.stack(pictures), torch.cat(labels), torch.cat(clean)
        keys = self.keys[places].to(self.device)
        members = self.attack.first(keys, self.limits)
        free = torch.ones(self.slots, dtype=torch.bool, device=self.device)
        if self.populations:
            free[self.populations.slot] = False
        slot = free.nonzero().flatten()[: len(places)]
        self.cache.clear(slot)
        self.evaluate.enter(slot, pictures, labels, clean)
        return Populations(
            image=torch.tensor(places, device=self.device),
            slot=slot,
            keys=keys,
            pictures=pictures,
            labels=labels,
            clean=clean,
            generation=torch.zeros_like(keys),
            members=members,
            scores=torch.full(members.shape[:2], torch.inf, device=self.device),
            seconds=torch.zeros(len(keys), dtype=torch.float64, device=self.device),
            disagreements=torch.zeros_like(keys),
            best=[[] for _ in places],
        )

    # ------------------------------------------------------------ one generation

    def _generation(self, held: Populations) -> tuple[Tensor, Tensor]:
        """Propose, evaluate and select, for every image.

        Returns:
            Which images are fooled, bool (N,), and by which genes (N, genes): where an image is
            not fooled, its best member so far.
        """
        started = time.monotonic()
        made = self.attack.proposed(
            held.members, held.scores, held.keys, held.generation, self.limits
        )
        proposed = held.members.where(held.generation.view(-1, 1, 1) == 0, made)
        before = self.evaluate.counts[held.slot].sum(1)
        score, hit = self.cache.scored(
            held.slot, proposed,
            lambda rows, genes: self.evaluate(held.slot[rows], held.labels[rows], genes),
        )  # fmt: skip

        # Ties go to the child, so that a population drifts across a plateau instead of freezing.
        better = score <= held.scores
        held.members = proposed.where(better.unsqueeze(2), held.members)
        held.scores = score.where(better, held.scores)
        lowest, place = held.scores.min(1)
        count = len(lowest)
        winner = held.members[torch.arange(count, device=self.device), place]

        fooled = torch.zeros(count, dtype=torch.bool, device=self.device)
        for row in hit.any(1).nonzero().flatten().tolist():
            member, failed = self.outcome.confirmed(
                held.pictures[row], proposed[row], score[row], hit[row], held.labels[row : row + 1]
            )
            held.disagreements[row] += failed
            if member is not None:
                fooled[row], winner[row] = True, proposed[row, member]
                lowest[row] = score[row, member]
        for history, value in zip(held.best, lowest.tolist(), strict=True):
            history.append(value)
        held.generation = held.generation + 1
        work = 1 + self.evaluate.counts[held.slot].sum(1) - before  # repeats cost next to nothing
        share = work / work.sum()
        held.seconds += (time.monotonic() - started) * share
        return fooled, winner

    def _row(self, held: Populations, row: int, genes: Tensor) -> dict[str, Any]:
        """The finished image in ``row``, changed by ``genes``."""
        label, clean = held.labels[row : row + 1], held.clean[row : row + 1]
        computed, screened = self.evaluate.counts[held.slot[row]].tolist()
        return {
            **self.outcome.clean(int(held.image[row]), clean, label),
            **self.outcome.attacked(held.pictures[row], genes, label),
            "evaluations": int(held.generation[row]) * self.attack.population,
            "computed": computed,
            "screened": screened,
            "generations": int(held.generation[row]) - 1,
            "disagreements": int(held.disagreements[row]),
            "best": [round(value, 4) for value in held.best[row]],
            "seconds": round(float(held.seconds[row]), 4),
        }
