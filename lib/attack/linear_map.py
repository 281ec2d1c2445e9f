"""Linear map search: predict every position from the gradient, compute the best.

A white-box attack: it needs the network's gradient, which differential evolution does not. Report
it apart from the paper's attack.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lib.attack import inputs
from lib.attack.attack_table import COLUMNS
from lib.attack.criteria import (
    Criterion,
    Misclassification,
    check_criterion,
    skip_reason,
    slope,
)
from lib.attack.differential_evolution import paint
from lib.attack.evaluators import PRECISIONS, ExactScores, dtype_of
from lib.attack.incremental import Incremental
from lib.attack.outcome import Outcome
from lib.attack.pixel_attack import Found
from lib.attack.screening import tap_of
from lib.attack.vulnerability import color_grid
from lib.data import unit
from lib.models.inference import full_precision
from lib.params.errors import check_field, check_name

FIRST = 128  # predictions of the coarsest map
KEPT = 64  # candidates around which is predicted where a whole map would be too much
BATCH = 16  # candidates computed before the search looks whether one of them succeeds
STEPS = (64, 32, 16, 8, 4)  # of a value while it is polished


@dataclass(frozen=True)
class LinearMapAttack:
    """Change pixels where a linear prediction says that it counts most.

    Maps of predictions for extreme values (0 and 255 in each channel) get finer step by step. After
    each map the most promising candidates are computed. At the end the values of the best candidate
    are polished by coordinate search. With several pixels the next one is sought on the image that
    the best one has changed. Nothing is random. The search stops at the first success.

    Args:
        pixels: changed pixels.
        evaluations: candidates computed for each pixel before values are polished, rounded up to
            as many for each map.
        predictions: candidates predicted in the finest whole map, the coarsest one in any case;
            behind that, only around the best candidates.
        criterion: what is minimized and what counts, see `lib.attack.criteria`.
        precision: of what is computed, as for `PixelAttack`. Success is always judged in float32.

    Raises:
        InputError: a value outside its range.
    """

    pixels: int = 1
    evaluations: int = 100
    predictions: int = 8192
    criterion: Criterion = Misclassification()
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("pixels", "evaluations", "predictions"):
            check_field(self, name, 1, math.inf, whole=True)
        check_criterion(self.criterion)
        check_name("precision", self.precision, PRECISIONS)

    def __call__(self, model: nn.Module, images: Any, labels: Any) -> Found:
        """Attack images.

        Args:
            model: in evaluation mode. For a torchvision ResNet or DenseNet, as for incremental
                evaluation (`lib.attack.incremental`), predictions are made in the middle of the
                network; for any other model with a gradient, such as a defense and a classifier
                as one, at its input.
            images: uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch.
            labels: classes, int (N,), or 0/1 labels (N, K).

        Returns:
            As `PixelAttack`. ``evaluations`` counts computed and predicted candidates;
            ``generations`` is 0; a gradient counts as two computed candidates.

        Raises:
            InputError: as for `PixelAttack`, or a model without a gradient.
        """
        rows = list(self.iterate(model, images, labels))
        return Found.of(pd.DataFrame(rows, columns=list(COLUMNS)), images)

    def iterate(self, model: nn.Module, images: Any, labels: Any) -> Iterator[dict[str, Any]]:
        """Rows of `Found.table`, one image after the other; arguments and errors as of a call."""
        array, labels, device = inputs.ready(model, images, labels, self.criterion, self.pixels)
        if not len(array):
            return
        pictures, labels = torch.tensor(array).permute(0, 3, 1, 2), labels.to(device)
        with full_precision(device):
            search = _Search(self, Outcome(model, self.criterion), pictures[0].to(device))
        for place in range(len(array)):
            with full_precision(device):
                row = search.attack(place, pictures[place].to(device), labels[place : place + 1])
            yield row


class _Search:
    """The search on one image after the other."""

    def __init__(self, attack: LinearMapAttack, outcome: Outcome, example: Tensor) -> None:
        self.settings, self.outcome, self.criterion = attack, outcome, attack.criterion
        device = example.device
        dtype = dtype_of(attack.precision, device, max(example.shape[1:]))
        self.scores = ExactScores(
            outcome.model, attack.criterion, example, 1, BATCH, dtype, BATCH, 1
        )
        incremental = isinstance(self.scores.evaluator.evaluator, Incremental)
        self.tap = tap_of(self.scores) if incremental else InputGradient(outcome.model)
        self.colors = color_grid(example.shape[0], 2).to(device)
        self.slot = torch.zeros(1, dtype=torch.long, device=device)

    def attack(self, place: int, picture: Tensor, label: Tensor) -> dict[str, Any]:
        """The row of an image, uint8 (C, H, W)."""
        clean = inputs.alone(self.outcome.model, picture)
        if reason := skip_reason(self.criterion, clean, label):
            return self.outcome.clean(place, clean, label, reason)
        started = time.monotonic()
        self.picture, self.label = picture, label
        self.fixed = self.slot[:0]  # genes of the pixels before
        self.disagreements, self.fooled, spent, history = 0, False, 0, []
        for _ in range(self.settings.pixels):
            logits = self.outcome.alone(picture, self.fixed) if len(self.fixed) else clean
            genes, lowest = self._pixel(logits)
            spent = spent + self.scores.counts[0]
            self.fixed = torch.cat([self.fixed, genes])
            history.append(round(lowest, 4))
            if self.fooled:
                break
        computed, screened = spent.tolist()
        return {
            **self.outcome.clean(place, clean, label),
            **self.outcome.attacked(picture, self.fixed, label),
            "evaluations": computed + screened,
            "computed": computed,
            "screened": screened,
            "disagreements": self.disagreements,
            "best": history,
            "seconds": round(time.monotonic() - started, 4),
        }

    def _pixel(self, logits: Tensor) -> tuple[Tensor, float]:
        """Genes and objective of the best next pixel; ``logits`` (1, K) of the image so far."""
        painted = self.picture.unsqueeze(0)
        if len(self.fixed):
            painted = paint(painted, self.fixed.view(1, 1, -1))
        self.scores.enter(self.slot, painted, self.label, logits)
        self.tap.enter(self.slot, painted)
        self.best, self.lowest = None, float("inf")
        height, width = painted.shape[2:]

        def count(step: int) -> int:
            """Candidates of the map that takes each ``step``-th row and column."""
            return max(1, height // step) * max(1, width // step) * len(self.colors)

        step = 1
        while count(step) > FIRST:
            step *= 2
        share = -(-self.settings.evaluations // step.bit_length())
        tried = torch.zeros(height, width, dtype=torch.bool, device=painted.device)
        genes = self.slot.new_zeros(0, 2 + len(self.colors[0]))
        predicted = torch.zeros(0, device=painted.device)
        done = predicted.bool()
        while step and not self.fooled:
            # Older predictions are under another gradient; their order is good enough.
            self.tap.aim(0, self.criterion, self.label, self.best)
            self.scores.counts[0, 0] += 2
            grid = torch.zeros_like(tried)
            if not len(genes) or count(step) <= self.settings.predictions:
                grid[min(step // 2, height - 1) :: step, min(step // 2, width - 1) :: step] = True
            else:
                for row, col in genes[predicted.argsort()[:KEPT], :2].tolist():
                    for down in (-step, 0, step):
                        for right in (-step, 0, step):
                            if 0 <= row + down < height and 0 <= col + right < width:
                                grid[row + down, col + right] = True
            places = (grid & ~tried).nonzero().repeat_interleave(len(self.colors), 0)
            colors = self.colors.repeat(len(places) // len(self.colors), 1)
            new = torch.cat([places, colors], 1)
            tried |= grid
            genes = torch.cat([genes, new])
            predicted = torch.cat([predicted, self._predict(new)])
            done = torch.cat([done, done.new_zeros(len(new))])
            order = predicted.where(~done, torch.inf).argsort(stable=True)[:share]
            order = order[~done[order]]
            done[order] = True
            self._compute(genes[order])
            step //= 2
        if not self.fooled:
            self._polish()
        return self.best, self.lowest

    def _predict(self, genes: Tensor) -> Tensor:
        if not len(genes):
            return torch.zeros(0, device=genes.device)
        self.scores.counts[0, 1] += len(genes)
        return self.tap.predict(self.slot.expand(len(genes)), genes)

    def _compute(self, genes: Tensor) -> bool:
        """Compute candidates (n, genes) until one fools; whether the best one is among them."""
        better = False
        for some in genes.split(BATCH):
            labels = self.label.expand(len(some), *self.label.shape[1:])
            objective, hit = self.scores(self.slot.expand(len(some)), labels, some)
            lowest, place = objective.min(0)
            if lowest < self.lowest:
                self.best, self.lowest, better = some[place], lowest.item(), True
            whole = torch.cat([self.fixed.expand(len(some), -1), some], 1)
            member, failed = self.outcome.confirmed(self.picture, whole, objective, hit, self.label)
            self.disagreements += failed
            if member is not None:
                self.best, self.lowest = some[member], objective[member].item()
                self.fooled = True
                return True
        return better

    def _polish(self) -> None:
        """Coordinate search over the values of the best candidate, in ever smaller steps."""
        for step in STEPS:
            better = True
            while better and not self.fooled:
                near = self.best.repeat(2 * (len(self.best) - 2), 1)
                for n in range(len(near)):
                    near[n, 2 + n // 2] += step if n % 2 else -step
                near[:, 2:].clamp_(0, 255)
                better = self._compute(near[(near != self.best).any(1)])


class InputGradient:
    """The objective predicted from the gradient at the image, for any model that has one.

    Called as `lib.attack.incremental.Tap`, which predicts better, but knows only torchvision's
    ResNets and DenseNets. One image at a time is in work, in slot 0; candidates change one pixel.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Take an image, uint8 (1, C, H, W)."""
        self.images = images

    def aim(
        self, slot: int, criterion: Criterion, label: Tensor, candidate: Tensor | None = None
    ) -> None:
        """Take the gradient of predictions; arguments and errors as of `Tap.aim`."""
        images = self.images
        if candidate is not None:
            images = torch.cat([images, paint(images, candidate.view(1, 1, -1))])
        objective, gradient = slope(
            lambda values: self.model(values).float(), unit(images), criterion, label
        )
        self.objective, self.gradients = objective.float(), gradient.unsqueeze(0)

    def predict(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Predicted objectives (N,) of candidates (N, 2 + C) of the image in slots (N,)."""
        row, col = candidates[:, 0], candidates[:, 1]
        change = (candidates[:, 2:] - self.images[slots, :, row, col].long()) / 255
        return self.objective + (change * self.gradients[slots, :, row, col]).sum(1)
