"""Differential evolution on many images at once: finished ones leave and new ones enter."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack import differential_evolution, inputs
from lib.attack.attack_table import pixels_of
from lib.attack.criteria import confidence, decisions, misjudged
from lib.attack.evaluators import CandidateEvaluator
from lib.attack.populations import Populations
from lib.attack.score_cache import ScoreCache
from lib.models.classifiers import as_text
from lib.params.errors import InputError


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
        self.images, self.labels, self.keys = images, labels, keys
        self.dtype, self.device, self.channels = dtype, device, images.shape[3]
        self.limits = differential_evolution.gene_limits(attack.pixels, *images.shape[1:], device)
        self.waiting = list(range(len(images)))
        self.populations: Populations | None = None
        self.evaluator: CandidateEvaluator | None = None

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
        while self.waiting and (self.evaluator is None or len(entering) + used < self.slots):
            place = self.waiting.pop(0)
            picture = torch.tensor(self.images[place]).permute(2, 0, 1).to(self.device)
            label = self.labels[place : place + 1].to(self.device)
            clean = inputs.alone(self.model, picture)
            reason = misjudged(self.criterion, clean, label)
            if reason:
                skipped.append(self._skipped(place, clean, label, reason))
                continue
            if self.evaluator is None:
                self._prepare(picture)
            entering.append((place, picture, label, clean))
        if entering:
            entered = self._enter(entering)
            self.populations = self.populations.join(entered) if self.populations else entered
        return skipped

    def _prepare(self, example: Tensor) -> None:
        """Create the evaluator and an empty cache."""
        attack = self.attack
        self.evaluator = CandidateEvaluator(
            self.model, example, attack.pixels, attack.population, self.dtype, attack.batch,
            len(self.waiting) + 1,
        )  # fmt: skip
        self.slots = self.evaluator.slots
        capacity = attack.population * (attack.generations + 1)
        self.cache = ScoreCache(self.slots, capacity, attack.pixels, self.device)

    def _enter(self, entering: list[tuple[int, Tensor, Tensor, Tensor]]) -> Populations:
        """Populations of new images, not yet evaluated, in free slots."""
        places = [place for place, *_ in entering]
        pictures, labels, clean = (
            torch.cat(parts) if parts[0].ndim < 3 else torch.stack(parts)
            for parts in list(zip(*entering, strict=True))[1:]
        )
        keys = self.keys[places].to(self.device)
        members = self.attack.first(keys, self.limits)
        free = torch.ones(self.slots, dtype=torch.bool, device=self.device)
        if self.populations:
            free[self.populations.slot] = False
        slot = free.nonzero().flatten()[: len(places)]
        self.cache.clear(slot)
        self.evaluator.enter(slot, pictures, clean)
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
            computed=torch.zeros_like(keys),
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
        proposed = self._propose(held)
        score, hit, computed = self._evaluate(held, proposed)

        # Ties go to the child, so that a population drifts across a plateau instead of freezing.
        better = score <= held.scores
        held.members = proposed.where(better.unsqueeze(2), held.members)
        held.scores = score.where(better, held.scores)
        lowest, place = held.scores.min(1)
        count = len(lowest)
        winner = held.members[torch.arange(count, device=self.device), place]

        fooled = torch.zeros(count, dtype=torch.bool, device=self.device)
        for row in hit.any(1).nonzero().flatten().tolist():
            for member in score[row].where(hit[row], torch.inf).argsort().tolist():
                if not hit[row, member]:
                    break
                # Only the stored image, alone, in float32, decides.
                logits = self._alone(held.pictures[row], proposed[row, member])
                if self.criterion(logits, held.labels[row : row + 1])[1].item():
                    fooled[row], winner[row] = True, proposed[row, member]
                    lowest[row] = score[row, member]
                    break
                held.disagreements[row] += 1
        for history, value in zip(held.best, lowest.tolist(), strict=True):
            history.append(value)
        held.generation = held.generation + 1
        held.computed = held.computed + computed
        share = (computed + 1) / (computed + 1).sum()  # repeats cost next to nothing
        held.seconds += (time.monotonic() - started) * share
        return fooled, winner

    def _propose(self, held: Populations) -> Tensor:
        """Candidates of the next generation, int64 (N, population, genes)."""
        made = self.attack.proposed(
            held.members, held.scores, held.keys, held.generation, self.limits
        )
        return held.members.where(held.generation.view(-1, 1, 1) == 0, made)

    def _evaluate(self, held: Populations, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, successes in the search's precision and number evaluated; see `ScoreCache`."""

        def judged(rows: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
            if not len(rows):
                return held.scores.new_zeros(0), held.labels.new_zeros(0, dtype=torch.bool)
            logits = self.evaluator.logits(held.slot[rows], genes)
            objective, success = self.criterion(logits, held.labels[rows])
            if objective.isnan().any():
                raise InputError("The criterion gives an objective that is not a number.")
            return objective.float(), success

        return self.cache.scored(held.slot, candidates, judged)

    # ------------------------------------------------------------ rows of the table

    def _alone(self, picture: Tensor, genes: Tensor) -> Tensor:
        """Float32 logits (1, K) of one changed image."""
        painted = differential_evolution.paint(picture.unsqueeze(0), genes.view(1, 1, -1))
        return inputs.alone(self.model, painted[0])

    def _decision(self, logits: Tensor) -> int | str:
        decided = decisions(self.criterion, logits, self.labels.ndim == 2)
        return as_text(decided.cpu().numpy())[0]

    def _row(self, held: Populations, row: int, genes: Tensor) -> dict[str, Any]:
        """The finished image in ``row``, changed by ``genes``.

        Its success is that of the stored image alone in float32, also where the search, in its
        own precision, has seen none.
        """
        label, clean = held.labels[row : row + 1], held.clean[row : row + 1]
        after = self._alone(held.pictures[row], genes)
        return {
            **self._clean(int(held.image[row]), clean, label),
            "success": self.criterion(after, label)[1].item(),
            "adversarial": self._decision(after),
            "p_after": confidence(self.criterion, after, label).item(),
            **pixels_of(genes.cpu(), self.channels),
            "evaluations": int(held.generation[row]) * self.attack.population,
            "computed": int(held.computed[row]),
            "generations": int(held.generation[row]) - 1,
            "disagreements": int(held.disagreements[row]),
            "best": [round(value, 4) for value in held.best[row]],
            "seconds": round(float(held.seconds[row]), 4),
        }

    def _clean(self, place: int, clean: Tensor, label: Tensor) -> dict[str, Any]:
        """What a row says of the clean image, as if nothing had been changed."""
        decision, before = self._decision(clean), confidence(self.criterion, clean, label).item()
        return {
            "image": place, "label": as_text(label.cpu().numpy())[0], "skipped": False,
            "reason": "", "success": False, "predicted": decision, "adversarial": decision,
            "p_before": before, "p_after": before, "rows": [], "cols": [], "values": [],
            "evaluations": 0, "computed": 0, "generations": 0, "disagreements": 0, "best": [],
            "seconds": 0.0,
        }  # fmt: skip

    def _skipped(self, place: int, clean: Tensor, label: Tensor, reason: str) -> dict[str, Any]:
        return self._clean(place, clean, label) | {"skipped": True, "reason": reason}
