"""Whether any one changed pixel fools a classifier: all positions and all 256 values, evaluated.

A search that finds nothing proves nothing (Athalye, Carlini and Wagner 2018). A gray image has 255
neighbors a pixel, few enough to try them all: 199,920 at 28 x 28. What is returned holds against
every attack that changes one pixel, whatever it knows. Evaluation is exact but for rounding: where
that could turn a decision the whole network decides, on the one image, in float32.
"""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lib.attack import inputs
from lib.attack.attack_table import COLUMNS as ATTACK_COLUMNS
from lib.attack.criteria import Criterion, Misclassification, decisions, not_nan, skip_reason
from lib.attack.differential_evolution import paint
from lib.attack.evaluators import CandidateEvaluator
from lib.attack.neighbors import Neighbors, bare, through_median
from lib.data import counter_rng, rounded, unit
from lib.models.classifiers import as_text
from lib.models.denoisers import Median3
from lib.models.inference import full_precision
from lib.params.errors import InputError, check_name, check_number

THROUGH = {"bare": bare, "median3": through_median}
FIRST, CHUNK = 512, 8192  # candidates between two states, of the first and at most
SAMPLED = 8  # candidates of a chunk that the whole network evaluates in any case
UNBOUNDED = torch.finfo(torch.float32).max  # every margin was evaluated again
SAFETY = 10  # a margin is near zero within so many times the largest deviation
COLUMNS = (
    *ATTACK_COLUMNS[:4], "predicted", "through", "robust", "complete", "neighbors", "candidates",
    "counterexamples", "rechecked", "deviation", "margin", "row", "col", "value", "seconds",
)  # fmt: skip


def certify_one_pixel(
    model: nn.Module, images: Any, labels: Any, through: str = "bare",
    criterion: Criterion | None = None, count: bool = False, batch: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Try every one-pixel change of gray images.

    Args:
        model: in evaluation mode, (N, 1, H, W) in 0..1 to logits (N, K).
        images: uint8 (N, H, W, 1) or (N, H, W), of numpy or torch.
        labels: classes, int (N,), or 0/1 labels (N, K).
        through: ``bare``, or ``median3`` for the model behind a 3 x 3 median.
        criterion: what counts as fooled, with a ``margin`` that is below zero there; see
            `lib.attack.criteria`.
        count: try all changes and count the counterexamples; else an image is done at its first.
        batch: candidates evaluated at once, at most 65,536; 0: what the device holds well.

    Returns:
        One row an image: ``image`` (position), ``label``, ``skipped`` and ``reason`` (the clean
        image is misclassified), ``predicted``, ``through``; ``robust``: no change fools the model;
        ``complete``: all were tried; ``neighbors``: changes there are, behind the median without
        those that make the same image; ``candidates``: how many were evaluated;
        ``counterexamples`` among them; ``rechecked``: evaluated again by the whole network, alone;
        ``deviation``: the largest difference of a margin between the two evaluations; ``margin``:
        the lowest, as the whole network gives it, and ``row``, ``col``, ``value`` of its change;
        ``seconds``.

    Raises:
        InputError: images in color, a criterion without a margin, and as for `PixelAttack`.
    """
    states = iterate(model, images, labels, through, criterion, count, batch)
    rows = [state for state in states if state["finished"]]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def iterate(
    model: nn.Module, images: Any, labels: Any, through: str = "bare",
    criterion: Criterion | None = None, count: bool = False, batch: int = 0,
    begun: dict[int, dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """States as the work goes on; arguments and errors as of `certify_one_pixel`.

    Args:
        begun: by position of an image, the last state of an interrupted call with the same
            arguments: the work goes on from there, and finished images are left out.

    Yields:
        After each chunk of candidates, or once where there are none, the row of the image so far,
        with ``clear``, the smallest distance of a margin from zero that was not evaluated again,
        and ``finished``. A loop that stops stops the work.
    """
    array = inputs.to_attack(images)
    check_name("value of through", through, THROUGH)
    if array.shape[3] != 1:
        raise InputError(
            "A certificate tries every value of every pixel, and a color pixel has 16.8 million: "
            "give gray images."
        )
    if criterion is None:
        criterion = Misclassification()
    batch = check_number("batch", batch, 0, counter_rng.MOST, whole=True)
    if not hasattr(criterion, "margin"):
        raise InputError(
            f"The criterion {type(criterion).__name__} has no margin: a certificate needs "
            "to know how far a prediction is from changing."
        )
    _, labels, device = inputs.ready(model, array, labels, criterion)
    begun, work = begun or {}, _Work(model, criterion, through, count, batch)
    for place in range(len(array)):
        state = begun.get(place)
        if state and state["finished"]:
            continue
        with full_precision(device):
            picture = torch.tensor(array[place]).permute(2, 0, 1).to(device)
            label = labels[place : place + 1].to(device)
            state = work.begin(place, picture, label, state)
        if state["finished"]:
            yield state
        while not state["finished"]:
            with full_precision(device):
                state = work.chunk(state)
            yield state


class _Work:
    """One image after another; arguments as of `certify_one_pixel`."""

    def __init__(
        self, model: nn.Module, criterion: Criterion, through: str, count: bool, batch: int
    ) -> None:
        self.model, self.criterion, self.through = model, criterion, through
        self.count, self.batch = count, batch
        self.median = Median3(1) if through == "median3" else None
        self.evaluator: CandidateEvaluator | None = None

    def begin(self, place: int, picture: Tensor, label: Tensor, state: dict | None) -> dict:
        """The state of an image before its first chunk, finished if there is none, or as it was."""
        self.picture, self.label = picture, label
        clean = self._whole(None)
        if state is None:
            reason = skip_reason(self.criterion, clean, label)
            decision = decisions(self.criterion, clean, label.ndim == 2)
            state = {
                "image": place, "label": as_text(label.cpu().numpy())[0], "skipped": bool(reason),
                "reason": reason, "predicted": as_text(decision.cpu().numpy())[0],
                "through": self.through, "robust": False, "complete": False, "neighbors": 0,
                "candidates": 0, "counterexamples": 0, "rechecked": 0, "deviation": 0.0,
                "margin": self.criterion.margin(clean, label).item(), "row": -1, "col": -1,
                "value": -1, "seconds": 0.0, "clear": UNBOUNDED,
                "finished": bool(reason),
            }  # fmt: skip
        if state["finished"]:
            return state
        started = monotonic()
        self.held: Neighbors = THROUGH[self.through](picture)
        if not len(self.held.genes):  # a median can undo every change
            return state | {"robust": True, "complete": True, "finished": True}
        if self.evaluator is None:
            self.evaluator = CandidateEvaluator(
                self.model, self.held.picture, self.held.pixels, len(self.held.genes),
                torch.float32, self.batch, 1,
            )  # fmt: skip
        slot = torch.zeros(1, dtype=torch.long, device=picture.device)
        self.evaluator.enter(slot, self.held.picture.unsqueeze(0), clean)
        return state | {
            "neighbors": len(self.held.genes), "seconds": state["seconds"] + monotonic() - started
        }  # fmt: skip

    def chunk(self, state: dict) -> dict:
        """Evaluate the next candidates; the state after them."""
        started = monotonic()
        start = state["candidates"]
        genes = self.held.genes[start : start + min(CHUNK, max(FIRST, start))]
        labels = self.label.expand(len(genes), *self.label.shape[1:])
        values = self.evaluator.logits(labels.new_zeros(len(genes)), genes)
        margins, fooled = self.criterion.margin(values, labels), self.criterion(values, labels)[1]
        not_nan(margins)
        sampled = torch.linspace(0, len(genes) - 1, SAMPLED, device=genes.device).long()
        waiting = {*sampled.tolist(), int(margins.argmin())}
        deviation, known = state["deviation"], set()
        while waiting:
            for row in sorted(waiting):
                alone = self._whole(self.held.changes[start + row])
                exact = self.criterion.margin(alone, self.label)[0]
                deviation = max(deviation, (margins[row] - exact).abs().item())
                margins[row], fooled[row] = exact, self.criterion(alone, self.label)[1][0]
            known |= waiting
            near = margins.abs() <= SAFETY * deviation
            near[margins.argmin()] = True
            waiting = {*near.nonzero().flatten().tolist()} - known
        others = torch.ones_like(fooled)
        others[list(known)] = False
        clear = margins[others].abs().min().item() if others.any() else UNBOUNDED
        lowest = int(margins.argmin())
        state = state | {
            "candidates": start + len(genes),
            "counterexamples": state["counterexamples"] + int(fooled.sum()),
            "rechecked": state["rechecked"] + len(known), "deviation": deviation,
            "clear": min(state["clear"], clear),
        }  # fmt: skip
        if state["row"] < 0 or margins[lowest] < state["margin"]:
            row, col, value = self.held.changes[start + lowest].tolist()
            state |= {"margin": margins[lowest].item(), "row": row, "col": col, "value": value}
        if state["clear"] <= deviation:  # a late candidate deviates more: all are in doubt again
            state |= {"candidates": 0, "counterexamples": 0, "row": -1, "clear": UNBOUNDED}
        complete = state["candidates"] == len(self.held.genes)
        done = complete or (state["counterexamples"] > 0 and not self.count)
        return state | {
            "complete": complete, "finished": done,
            "robust": complete and not state["counterexamples"],
            "seconds": state["seconds"] + monotonic() - started,
        }  # fmt: skip

    def _whole(self, change: Tensor | None) -> Tensor:
        """Float32 logits (1, K) of the image, changed and defended, by the whole model."""
        image = self.picture.unsqueeze(0)
        if change is not None:
            image = paint(image, change.view(1, 1, -1))
        if self.median:
            image = rounded(self.median(unit(image))).to(torch.uint8)
        return inputs.alone(self.model, image[0])
