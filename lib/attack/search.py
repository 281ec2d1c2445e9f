"""The search over many images at once: a pool that finished images leave and new ones enter."""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib import streams
from lib.attack import evolution
from lib.attack.criteria import Criterion
from lib.attack.records import COLUMNS, pixels_of
from lib.classifiers import as_text, decide
from lib.data import Images
from lib.errors import InputError
from lib.params import Parameters
from lib.records import read_table, write_table

CHECKPOINT_SECONDS = 20.0


@dataclass
class Evaluator:
    """Logits of candidates, at most ``batch`` at a time, in the search's precision.

    On a GPU without enough memory the batch is halved once, said aloud; results do not change.
    """

    model: nn.Module
    batch: int
    precision: str
    device: torch.device
    halved: bool = field(default=False, init=False)

    def __call__(self, images: Tensor) -> Tensor:
        """Float32 logits (N, K) of uint8 images (N, C, H, W) on the device."""
        bf16 = self.precision == "bfloat16"
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                parts = [
                    self.model((part.float() / 255).contiguous(memory_format=torch.channels_last))
                    for part in images.split(self.batch)
                ]
            return torch.cat(parts).float()
        except torch.OutOfMemoryError:
            if self.halved or self.batch < 2:
                raise InputError(
                    f"The GPU's memory does not hold {self.batch} candidates: lower attack_batch."
                ) from None
            self.batch, self.halved = self.batch // 2, True
            print(f"GPU out of memory: going on with batches of {self.batch}.", file=sys.stderr)
            torch.cuda.empty_cache()
            return self(images)


@dataclass
class Pool:
    """State of the images under attack; every field has one row an image."""

    position: Tensor  # in the list of images
    keys: Tensor
    images: Tensor  # uint8 (N, C, H, W)
    labels: Tensor
    generation: Tensor  # of the next candidates; 0 is the initial population
    members: Tensor  # int64 (N, population, genes)
    scores: Tensor  # objective of each member, float32 (N, population)
    seconds: Tensor
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


class Search:
    """Differential evolution on one classifier with one criterion; see `attack`."""

    def __init__(
        self, model: nn.Module, criterion: Criterion, pixels: int, p: Parameters,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.model, self.criterion, self.pixels, self.p = model, criterion, pixels, p
        self.device = device
        self.evaluate = Evaluator(model, p.attack_batch, p.attack_precision, device)

    def enter(self, data: Images, positions: list[int], limits: Tensor) -> Pool:
        """New images with their initial population, not yet evaluated."""
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
            keys, self.p.attack_population, limits, images.shape[1], self.p.attack_initial
        )
        return Pool(
            position=torch.tensor(positions, device=self.device),
            keys=keys,
            images=images,
            labels=torch.from_numpy(chosen.labels).long().to(self.device),
            generation=torch.zeros_like(keys),
            members=members,
            scores=torch.full(members.shape[:2], torch.inf, device=self.device),
            seconds=torch.zeros(len(keys), dtype=torch.float64, device=self.device),
            disagreements=torch.zeros_like(keys),
            best=[[] for _ in positions],
        )

    def step(self, pool: Pool, limits: Tensor) -> tuple[Pool, Tensor, Tensor]:
        """One generation of every image.

        Returns:
            The pool, which images are fooled, bool (N,), and by which genes (N, genes): where
            an image is not fooled, its best member so far.
        """
        started = time.monotonic()
        count, population, genes = pool.members.shape
        proposed = evolution.children(
            pool.members, pool.keys, pool.generation, limits, self.p.attack_mutation_factor
        )
        proposed = pool.members.where(pool.generation.view(-1, 1, 1) == 0, proposed)
        logits = self.evaluate(evolution.paint(pool.images, proposed))
        labels = pool.labels.repeat_interleave(population, 0)
        score = self.criterion.objective(logits, labels).view(count, population)
        hit = self.criterion.success(logits, labels).view(count, population)

        # Ties go to the child, so that a population drifts across a plateau instead of freezing.
        better = score <= pool.scores
        pool.members = proposed.where(better.unsqueeze(2), pool.members)
        pool.scores = score.where(better, pool.scores)
        found, place = pool.scores.min(1)
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
        pool.seconds += (time.monotonic() - started) / count
        return pool, fooled, winner

    def alone(self, image: Tensor, genes: Tensor) -> Tensor:
        """Float32 logits (1, K) of one changed image."""
        painted = evolution.paint(image.unsqueeze(0), genes.view(1, 1, -1))
        return self.model(painted.float() / 255)

    def accept(self, image: Tensor, genes: Tensor, label: Tensor) -> bool:
        """Whether the stored image fools the classifier when it is evaluated alone in float32."""
        return self.criterion.success(self.alone(image, genes), label.unsqueeze(0)).item()

    def record(self, data: Images, pool: Pool, row: int, fooled: bool, genes: Tensor) -> dict:
        """The finished image in ``row`` as an attack record."""
        at, label = int(pool.position[row]), pool.labels[row].unsqueeze(0)
        clean = self.model(pool.images[row].unsqueeze(0).float() / 255)
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
            "success": fooled,
            "p_before": self.criterion.confidence(clean, label).item(),
            "p_after": self.criterion.confidence(after, label).item(),
            **pixels_of(genes.cpu(), pool.images.shape[1]),
            "evaluations": int(pool.generation[row]) * self.p.attack_population,
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
) -> pd.DataFrame:
    """Attack images with one or two pixels.

    DE/rand/1 without crossover (ATK04-08); an image is done in the first generation in which a
    candidate fools the classifier (ATK09) and is then replaced by the next one.

    Args:
        model: classifier in evaluation mode on ``device``: (N, C, H, W) in 0..1 to logits.
        data: all images.
        positions: which of them, in this order; all must be classified right.
        criterion: objective and success.
        pixels: changed pixels, 1 or 2.
        p: attack_* and seed are used.
        device: of the model.
        checkpoint: folder for finished records; a run that finds records there leaves these
            images out. The caller keys it to the settings and removes it.
        progress: called with each finished record.

    Returns:
        Records in the order of ``positions``, columns `lib.attack.records.COLUMNS`.
    """
    done: dict[tuple[str, int], dict] = {}
    if checkpoint and checkpoint.exists():
        for path in sorted(checkpoint.glob("*.parquet")):
            for record in read_table(path).to_dict("records"):
                done[record["split"], record["index"]] = record
    names = [(str(data.split[i]), int(data.index[i])) for i in positions]
    waiting = [int(i) for i, name in zip(positions, names, strict=True) if name not in done]
    _, height, width, channels = data.images.shape
    limits = evolution.bounds(pixels, height, width, channels, device)
    search = Search(model, criterion, pixels, p, device)
    room = max(1, p.attack_batch // p.attack_population)
    bar = tqdm(total=len(names), initial=len(done), desc=f"{pixels}-pixel attack", mininterval=2)
    pool, unsaved, saved_at = search.enter(data, [], limits), [], time.monotonic()
    while waiting or len(pool.best):
        free = room - len(pool.best)
        if free and waiting:
            pool = pool.join(search.enter(data, waiting[:free], limits))
            waiting = waiting[free:]
        pool, fooled, winner = search.step(pool, limits)
        finished = fooled | (pool.generation > p.attack_generations)
        for row in finished.nonzero().flatten().tolist():
            record = search.record(data, pool, row, bool(fooled[row]), winner[row])
            done[record["split"], record["index"]] = record
            unsaved.append(record)
            bar.update()
            if progress:
                progress(record)
        pool = pool.keep(~finished)
        if checkpoint and unsaved and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            write_table(checkpoint / f"{len(done):08d}.parquet", pd.DataFrame(unsaved))
            unsaved, saved_at = [], time.monotonic()
    bar.close()
    return pd.DataFrame([done[name] for name in names], columns=list(COLUMNS))


def checkpoint_folder(folder: Path, name: str, key: str) -> Path:
    """Folder for an attack's checkpoints, keyed to its settings; those of other settings go."""
    wanted = folder / f".{name}-{key}"
    for other in folder.glob(f".{name}-*"):
        if other != wanted:
            shutil.rmtree(other)
    return wanted
