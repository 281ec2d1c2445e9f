"""The search over many images at once: a pool that finished images leave and new ones enter."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib import streams
from lib.attack import checks, evolution
from lib.attack.criteria import Criterion
from lib.attack.evaluators import GPU_BATCH, make_evaluator, out_of_memory
from lib.attack.score_cache import Memory
from lib.attack.populations import Pool
from lib.attack.attack_table import COLUMNS, pixels_of
from lib.classifiers import as_text, decide
from lib.data import Images, unit
from lib.params import Parameters
from lib.records import read_table, write_table

CHECKPOINT_SECONDS = 20.0


class Search:
    """Differential evolution on one classifier with one criterion; see `attack`."""

    def __init__(
        self, model: nn.Module, criterion: Criterion, pixels: int, p: Parameters,
        device: torch.device, shape: tuple[int, int, int], most: int,
    ) -> None:  # fmt: skip
        self.model, self.criterion, self.pixels, self.p = model, criterion, pixels, p
        self.device, self.channels, self.most = device, shape[2], most
        self.limits = evolution.bounds(pixels, *shape, device)
        self._prepare(p.attack_batch)

    def _prepare(self, batch: int) -> None:
        """An evaluator for so many candidates at once, and an empty pool."""
        made = None
        while made is None:
            try:
                made = make_evaluator(
                    self.model, self.channels, self.pixels, self.p, batch, self.most
                )
            except torch.OutOfMemoryError:
                batch = out_of_memory(batch or GPU_BATCH)
        self.evaluator = made
        capacity = self.p.attack_population * (self.p.attack_generations + 1)
        self.memory = Memory(self.evaluator.slots, capacity, self.pixels, self.device)

    def enter(self, data: Images, positions: list[int], taken: Tensor) -> Pool:
        """New images with their initial population, not yet evaluated, in slots not ``taken``."""
        chosen = data.take(np.array(positions, dtype=np.int64))
        keys = streams.image_keys(
            self.p.seed,
            f"{self.pixels}-pixel attack",
            data.name,
            chosen.split.tolist(),
            chosen.index.tolist(),
        ).to(self.device)
        images = torch.from_numpy(chosen.images).permute(0, 3, 1, 2).to(self.device)
        members = evolution.initial(
            keys, self.p.attack_population, self.limits, self.channels, self.p.attack_initial
        )
        free = torch.ones(self.evaluator.slots, dtype=torch.bool, device=self.device)
        free[taken] = False
        slot = free.nonzero().flatten()[: len(positions)]
        if positions:
            self.memory.forget(slot)
            self.evaluator.enter(slot, images)
        return Pool(
            position=torch.tensor(positions, device=self.device, dtype=torch.long),
            slot=slot,
            keys=keys,
            images=images,
            labels=torch.from_numpy(chosen.labels).long().to(self.device),
            generation=torch.zeros_like(keys),
            members=members,
            scores=torch.full(members.shape[:2], torch.inf, device=self.device),
            seconds=torch.zeros(len(keys), dtype=torch.float64, device=self.device),
            computed=torch.zeros_like(keys),
            disagreements=torch.zeros_like(keys),
            best=[[] for _ in positions],
        )

    def propose(self, pool: Pool) -> Tensor:
        """Candidates of the next generation, int64 (N, population, genes)."""
        p, limits = self.p, self.limits
        if p.attack_strategy == "best1bin":
            made = evolution.children_of_best(
                pool.members, pool.scores, pool.keys, pool.generation, limits, p.attack_dither,
                p.attack_crossover,
            )  # fmt: skip
        else:
            made = evolution.children(
                pool.members, pool.keys, pool.generation, limits, p.attack_mutation_factor
            )
        return pool.members.where(pool.generation.view(-1, 1, 1) == 0, made)

    def evaluate(self, pool: Pool, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, successes in the search's precision and number evaluated; see `Memory`."""

        def values(rows: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
            if not len(rows):
                return pool.scores.new_zeros(0), pool.labels.new_zeros(0, dtype=torch.bool)
            logits = self._logits(pool, rows, genes)
            checks.finite(logits)
            labels = pool.labels[rows]
            return (
                self.criterion.objective(logits, labels).float(),
                self.criterion.success(logits, labels),
            )

        return self.memory.scored(pool.slot, candidates, values)

    def _logits(self, pool: Pool, rows: Tensor, genes: Tensor) -> Tensor:
        try:
            return self.evaluator.logits(pool.slot[rows], genes)
        except torch.OutOfMemoryError:
            batch = out_of_memory(self.evaluator.batch)
        # The slots stay: only the room for candidates shrinks.
        self.evaluator.resize(batch)
        self.evaluator.enter(pool.slot, pool.images)
        return self._logits(pool, rows, genes)

    def step(self, pool: Pool) -> tuple[Pool, Tensor, Tensor]:
        """One generation of every image.

        Returns:
            The pool, which images are fooled, bool (N,), and by which genes (N, genes): where
            an image is not fooled, its best member so far.
        """
        started = time.monotonic()
        proposed = self.propose(pool)
        score, hit, computed = self.evaluate(pool, proposed)

        # Ties go to the child, so that a population drifts across a plateau instead of freezing.
        better = score <= pool.scores
        pool.members = proposed.where(better.unsqueeze(2), pool.members)
        pool.scores = score.where(better, pool.scores)
        found, place = pool.scores.min(1)
        count = len(found)
        winner = pool.members[torch.arange(count, device=self.device), place]

        fooled = torch.zeros(count, dtype=torch.bool, device=self.device)
        for row in hit.any(1).nonzero().flatten().tolist():
            for member in score[row].where(hit[row], torch.inf).argsort().tolist():
                if not hit[row, member]:
                    break
                # Only the stored image, alone, in float32, decides.
                if self.accept(pool.images[row], proposed[row, member], pool.labels[row]):
                    fooled[row], winner[row] = True, proposed[row, member]
                    found[row] = score[row, member]
                    break
                pool.disagreements[row] += 1
        for history, value in zip(pool.best, found.tolist(), strict=True):
            history.append(value)
        pool.generation = pool.generation + 1
        pool.computed = pool.computed + computed
        share = (computed + 1) / (computed + 1).sum()  # repeats cost next to nothing
        pool.seconds += (time.monotonic() - started) * share
        return pool, fooled, winner

    def alone(self, image: Tensor, genes: Tensor) -> Tensor:
        """Float32 logits (1, K) of one changed image."""
        painted = evolution.paint(image.unsqueeze(0), genes.view(1, 1, -1))
        return self.model(unit(painted))

    def accept(self, image: Tensor, genes: Tensor, label: Tensor) -> bool:
        """Whether the stored image fools the classifier when it is evaluated alone in float32."""
        return self.criterion.success(self.alone(image, genes), label.unsqueeze(0)).item()

    def record(self, data: Images, pool: Pool, row: int, genes: Tensor) -> dict:
        """The finished image in ``row``, changed by ``genes``, as an attack record.

        Its success is that of the stored image alone in float32, also where the search, in its
        own precision, has seen none.
        """
        at, label = int(pool.position[row]), pool.labels[row].unsqueeze(0)
        clean = self.model(unit(pool.images[row].unsqueeze(0)))
        after = self.alone(pool.images[row], genes)

        def decision(logits: Tensor) -> int | str:
            values = logits.float().cpu().numpy()
            return as_text(decide(values, self.criterion.multi_label, self.p.classifier_threshold))[
                0
            ]

        truth = as_text(data.labels[at : at + 1])[0]
        before, now = decision(clean), decision(after)
        changed = now != truth
        if self.criterion.multi_label and "1" in truth:
            changed = any(a == "1" != b for a, b in zip(truth, now, strict=True))
        return {
            "dataset": data.name,
            "split": str(data.split[at]),
            "index": int(data.index[at]),
            "label": truth,
            "predicted": before,
            "adversarial": now,
            "success": self.criterion.success(after, label).item(),
            "p_before": self.criterion.confidence(clean, label).item(),
            "p_after": self.criterion.confidence(after, label).item(),
            **pixels_of(genes.cpu(), pool.images.shape[1]),
            "evaluations": int(pool.generation[row]) * self.p.attack_population,
            "computed": int(pool.computed[row]),
            "generations": int(pool.generation[row]) - 1,
            "seconds": round(float(pool.seconds[row]), 4),
            "seed": self.p.seed,
            "part": str(data.part[at]),
            "category": int(data.category[at]),
            "true_label_changed": changed,
            "disagreements": int(pool.disagreements[row]),
            "best": [round(value, 4) for value in pool.best[row]],
        }


@torch.inference_mode()
def attack(
    model: nn.Module,
    data: Images,
    positions: np.ndarray,
    criterion: Criterion,
    pixels: int,
    p: Parameters,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    shard: tuple[int, int] = (0, 1),
) -> pd.DataFrame:
    """Attack images with one or two pixels.

    DE/rand/1 without crossover (ATK04-08), or ``best1bin`` for comparison with the peers. An
    image is done in the first generation in which a candidate fools the classifier (ATK09) and
    is then replaced by the next one.

    Args:
        model: classifier in evaluation mode on ``device``: (N, C, H, W) in 0..1 to logits.
        data: all images.
        positions: which of them, in this order; all must be classified right.
        criterion: objective and success.
        pixels: changed pixels, 1 or more.
        p: attack_* and seed are used.
        device: of the model.
        checkpoint: folder for finished records; a run that finds records there leaves these
            images out. The caller keys it to the settings and removes it.
        progress: called with each finished record.
        shard: (i, n): only every n-th image from the i-th on (0-based). Several processes with
            the same ``checkpoint`` share the work; a call without shard then merges it.

    Returns:
        Records in the order of ``positions``, columns `lib.attack.attack_table.COLUMNS`.

    Raises:
        InputError: images, labels, pixels or population are not as they must be, the model is
            in training mode, gets an image wrong or gives logits that are not finite.
    """
    first, shards = shard
    positions = np.asarray(positions, dtype=np.int64)[first::shards]
    checks.task(model, data, positions, criterion, pixels, p, device)
    done: dict[tuple[str, int], dict] = {}
    if checkpoint and checkpoint.exists():
        # Names that begin with a dot are what a killed process was writing.
        for path in sorted(checkpoint.glob("[0-9]*.parquet")):
            for record in read_table(path).to_dict("records"):
                done[record["split"], record["index"]] = record
    names = [(str(data.split[i]), int(data.index[i])) for i in positions]
    waiting = [int(i) for i, name in zip(positions, names, strict=True) if name not in done]
    bar = tqdm(
        total=len(names), initial=len(names) - len(waiting), desc=f"{pixels}-pixel attack",
        mininterval=2,
    )  # fmt: skip
    unsaved: list[dict] = []
    saved_at = time.monotonic()

    def save() -> None:
        if checkpoint and unsaved:
            name = f"{first:03d}-{shards:03d}-{len(done):08d}.parquet"
            write_table(checkpoint / name, pd.DataFrame(unsaved))
            unsaved.clear()

    search = pool = None
    while waiting or pool:
        if search is None:
            search = Search(
                model, criterion, pixels, p, device, data.images.shape[1:], len(waiting)
            )
        free = search.evaluator.slots - (len(pool.best) if pool else 0)
        if free and waiting:
            taken = pool.slot if pool else torch.zeros(0, dtype=torch.long, device=device)
            entering = search.enter(data, waiting[:free], taken)
            pool = pool.join(entering) if pool else entering
            waiting = waiting[free:]
        pool, fooled, winner = search.step(pool)
        finished = fooled | (pool.generation > p.attack_generations)
        for row in finished.nonzero().flatten().tolist():
            record = search.record(data, pool, row, winner[row])
            done[record["split"], record["index"]] = record
            unsaved.append(record)
            bar.update()
            if progress:
                progress(record)
        pool = pool.keep(~finished) if not finished.all() else None
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            save()
            saved_at = time.monotonic()
    save()
    bar.close()
    return pd.DataFrame([done[name] for name in names], columns=list(COLUMNS))


def checkpoint_folder(folder: Path, name: str, key: str, alone: bool = True) -> Path:
    """Folder for an attack's checkpoints, keyed to its settings.

    Those of other settings go, unless others may be at work there (not ``alone``).
    """
    wanted = folder / f".{name}-{key}"
    for other in folder.glob(f".{name}-*") if alone else ():
        if other != wanted:
            shutil.rmtree(other)
    return wanted
