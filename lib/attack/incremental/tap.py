"""The objective of a candidate, predicted from what its pixels change inside the network."""

import torch
from torch import Tensor

from lib.attack.criteria import Criterion, slope
from lib.attack.incremental.network import Incremental, in_batches
from lib.attack.incremental.windows import Windows, within


class Tap:
    """Linear predictions of the objective in the middle of the network.

    The network runs on a candidate up to there: for ResNets to the end of stage 2, for DenseNets,
    where stage 2 would be nearly half of the work, to the end of stage 1. What it changes in these
    activations, times the gradient of the objective with respect to them, predicts how the
    objective changes.

    Args:
        engine: evaluator of the same candidates; its model, images' size and slots are taken over.
        batch: candidates predicted at once.
    """

    def __init__(self, engine: Incremental, batch: int) -> None:
        after = engine.plan.tapped
        switch = min(engine.plan.switch, after)
        # Tensors that are made in inference mode cannot take part in a gradient.
        with torch.inference_mode(False), torch.no_grad():
            self.engine = Incremental(
                engine.model, engine.channels, engine.size, engine.pixels, batch, engine.weights,
                engine.slots, switch,
            )  # fmt: skip
        self.level, self.after = self.engine.levels[switch], after
        self.whole = self.engine.chain[switch:after]  # layers on whole maps before the tap
        self.size = self.engine.plan.maps[after]
        self.channels = self.engine.chain[after - 1].channels_out
        # A row for each place of each slot's map.
        rows = engine.slots * self.size**2
        self.clean = self.level.buffer.new_zeros(rows, self.channels)
        self.gradients = torch.zeros_like(self.clean)
        self.objectives = self.clean.new_zeros(engine.slots)

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images, uint8 (n, C, H, W), into slots, int64 (n,); `aim` each before predictions."""
        self.engine.enter(slots, images)
        for slot in slots.tolist():
            maps = self._through(self.level.clean[slot : slot + 1].clone())
            self._of(self.clean, slot).copy_(maps[0, ..., : self.channels])

    def aim(
        self, slot: int, criterion: Criterion, label: Tensor, candidate: Tensor | None = None
    ) -> None:
        """Take the gradient that predictions for an image are made with.

        Args:
            slot: of the image.
            criterion: whose objective is predicted.
            label: int64 (1,) or (1, K).
            candidate: genes (genes,); the gradient is the mean of the one at the clean image and
                the one at this candidate. None: at the clean image alone.

        Raises:
            InputError: the criterion's objective has no gradient.
        """
        maps = self._through(self.level.clean[slot : slot + 1].clone())
        if candidate is not None:
            slots = torch.full((self.engine.batch,), slot, device=maps.device)
            held = self.engine.write_windows(slots, candidate.expand(len(slots), -1))
            maps = torch.cat([maps, self._through(self.level.assemble(slots, held))[:1]])
        self.objectives[slot], gradient = slope(
            lambda values: self.engine.rest(values, self.after), maps, criterion, label
        )
        self._of(self.gradients, slot).copy_(gradient[..., : self.channels])

    def predict(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Predicted objectives (N,) of candidates (N, genes) of the images in slots (N,).

        With a mean gradient they are right but for a constant that is the image's own.
        """
        return in_batches(self._batch, slots, candidates, self.engine.batch)

    def _through(self, maps: Tensor) -> Tensor:
        """Maps at the tap of maps in front of the layers on whole maps."""
        for layer in self.whole:
            maps = layer.whole(maps)
        return maps

    def _of(self, rows: Tensor, slot: int) -> Tensor:
        """The map of a slot (size, size, channels), a view."""
        return rows.view(-1, self.size, self.size, self.channels)[slot]

    def _batch(self, slots: Tensor, genes: Tensor) -> Tensor:
        held = self.engine.write_windows(slots, genes)
        if self.whole:
            changed = self._through(self.level.assemble(slots, held))
            held = Windows(held.start.new_zeros(len(slots), 1, 2), self.size)
        else:
            changed = self.level.windows(held)
        row, col = held.places()
        rows = (slots.view(-1, 1, 1, 1) * self.size + row) * self.size + col
        changed = changed.view(*rows.shape, -1)[..., : self.channels]
        change = ((changed - self.clean[rows]) * self.gradients[rows]).sum(4)
        # Where windows overlap both hold the same values: they count once.
        for pixel in range(1, held.start.shape[1]):
            for other in range(pixel):
                down = row[:, pixel] - held.start[:, other, 0].view(-1, 1, 1)
                right = col[:, pixel] - held.start[:, other, 1].view(-1, 1, 1)
                change[:, pixel] *= ~within(down, right, held.size)
        return self.objectives[slots] + change.sum((1, 2, 3))
