"""Screened search: most candidates are predicted, the most promising ones computed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion
from lib.attack.evaluators import ExactScores
from lib.attack.incremental import Incremental, Tap
from lib.params.device import is_out_of_memory
from lib.params.errors import InputError

FIRST, EACH = 20, 5  # candidates computed of the first generation and of each later one
FIT = 60  # computed candidates that predictions are calibrated on
BATCH = {"cpu": 64, "cuda": 1024}  # candidates predicted at once
SLOPES = (0.1, 10.0)  # bounds of the calibration's slope


@dataclass
class Known:
    """What is known of one image's candidates.

    Attributes:
        label: int64 (1,) or (1, K).
        genes: of the last candidates computed, oldest first, int64 (n, genes).
        predicted: their predictions, not calibrated, under the gradient in use (n,).
        exact: their objectives (n,).
        best: genes of the best candidate computed.
        lowest: its objective.
        aimed: `lowest` when the gradient was taken.
        generation: how many generations had new candidates.
    """

    label: Tensor
    genes: Tensor
    predicted: Tensor
    exact: Tensor
    best: Tensor
    lowest: float = float("inf")
    aimed: float = float("inf")
    generation: int = 0

    def add(self, genes: Tensor, predicted: Tensor, exact: Tensor) -> None:
        """Add computed candidates."""
        self.generation += 1
        self.genes = torch.cat([self.genes, genes])[-FIT:]
        self.predicted = torch.cat([self.predicted, predicted])[-FIT:]
        self.exact = torch.cat([self.exact, exact])[-FIT:]
        lowest, place = exact.min(0)
        if lowest < self.lowest:
            self.lowest, self.best = lowest.item(), genes[place]

    def calibrated(self, predicted: Tensor) -> Tensor:
        """Predictions (n,) corrected by a line fitted to the candidates known exactly.

        None is below the best objective known: the best member has always been computed.
        """
        x, y = self.predicted.double(), self.exact.double()
        centered = x - x.mean()
        slope = (centered * y).sum() / centered.square().sum().clamp(min=1e-12)
        found = y.mean() + slope.clamp(*SLOPES) * (predicted.double() - x.mean())
        least = torch.tensor(self.lowest, dtype=torch.float32).nextafter(torch.tensor(torch.inf))
        return found.float().clamp(min=least.item())


class ScreenedScores(ExactScores):
    """Scores led by predictions of a `Tap`: `FIRST` candidates are computed, then `EACH`.

    Those are the candidates of a generation with the lowest predictions. All others keep their
    calibrated prediction as score. Each image has its own gradient and calibration, so nothing
    depends on the images beside it.

    The gradient is the mean of those at the clean image and at the best candidate computed so far.
    It is taken again, if there is a better candidate, in generations 1, 2, 4, 8 and so on. A
    gradient counts as two computed candidates, because it takes about as much work.

    Raises:
        InputError: a model that is not evaluated incrementally.
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, example: Tensor, pixels: int,
        population: int, dtype: torch.dtype, batch: int, most: int,
    ) -> None:  # fmt: skip
        # Few candidates of an image are computed at once: large batches would stay empty on a CPU.
        few = batch or (0 if example.device.type == "cuda" else FIRST)
        super().__init__(model, criterion, example, pixels, FIRST, dtype, few, most)
        self.tap = tap_of(self, batch)
        self.known: dict[int, Known] = {}

    def enter(self, slots: Tensor, pictures: Tensor, labels: Tensor, clean: Tensor) -> None:
        super().enter(slots, pictures, labels, clean)
        self.tap.enter(slots, pictures)
        nothing = clean[0, :0]
        for slot, label in zip(slots.tolist(), labels.split(1), strict=True):
            self.known[slot] = Known(label, slots[:0], nothing, nothing, slots[:0])
            self._aim(slot)

    def __call__(self, slots: Tensor, labels: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
        if not len(slots):
            return torch.zeros(0, device=slots.device), slots.bool()
        predicted = self._predict(slots, genes)
        own = {slot: (slots == slot).nonzero().flatten() for slot in slots.unique().tolist()}
        chosen = {}
        for slot, at in own.items():
            count = EACH if self.known[slot].generation else FIRST
            chosen[slot] = at[predicted[at].argsort(stable=True)[:count]]
        all_chosen = torch.cat(list(chosen.values()))
        exact, hits = super().__call__(slots[all_chosen], labels[all_chosen], genes[all_chosen])
        scores, success = torch.zeros_like(predicted), torch.zeros_like(slots, dtype=torch.bool)
        success[all_chosen] = hits
        for (slot, at), found in zip(
            own.items(), exact.split([len(some) for some in chosen.values()]), strict=True
        ):
            known, some = self.known[slot], chosen[slot]
            known.add(genes[some], predicted[some], found)
            if known.generation.bit_count() == 1 and known.lowest < known.aimed:
                self._aim(slot)
                again = torch.cat([genes[at], known.genes])
                again = self._predict(slots[at[:1]].expand(len(again)), again)
                predicted[at], known.predicted = again.split([len(at), len(known.genes)])
            scores[at] = known.calibrated(predicted[at])
            scores[some] = found
        return scores, success

    def _aim(self, slot: int) -> None:
        """Take the gradient of an image's predictions."""
        known = self.known[slot]
        self.tap.aim(slot, self.criterion, known.label, known.best if known.generation else None)
        known.aimed = known.lowest
        self.counts[slot, 0] += 2

    def _predict(self, slots: Tensor, genes: Tensor) -> Tensor:
        self.counts[:, 1] += slots.bincount(minlength=self.slots)
        try:
            return self.tap.predict(slots, genes).float()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                "There is not enough memory for predictions: set a smaller batch."
            ) from error


def tap_of(scores: ExactScores, batch: int = 0) -> Tap:
    """A tap into the network that computes these scores; ``batch`` predictions at once, 0: as many
    as the device holds well.

    Raises:
        InputError: whole images are evaluated.
    """
    engine = scores.evaluator.evaluator
    if not isinstance(engine, Incremental):
        raise InputError(
            "Predictions need a torchvision ResNet or DenseNet and square images: use "
            "evaluation='exact' for this model."
        )
    return Tap(engine, batch or BATCH.get(engine.source.device.type, BATCH["cpu"]))


EVALUATIONS = {"exact": ExactScores, "screened": ScreenedScores}
