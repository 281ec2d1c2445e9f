"""A classifier that evaluates candidates by what their changed pixels change."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.attack.incremental import densenet, resnet
from lib.attack.incremental.plan import Plan
from lib.attack.incremental.windows import Level, Windows
from lib.data import unit
from lib.models.classifiers import Classifier

LAYERS = {"resnet50": resnet.layers, "densenet121": densenet.layers}


def stored_rows(model: Classifier) -> Tensor:
    """Stored row behind each row of the network's input, int64 (input size,); columns likewise."""
    stored = torch.arange(model.image_size, dtype=torch.float32).view(1, 1, -1)
    return F.interpolate(stored, size=model.input_size, mode="nearest").flatten().long()


class Incremental:
    """Logits of candidates, exact up to float rounding.

    The clean image goes through the network once. For a candidate only the windows that its
    pixels reach are computed, layer by layer, until whole maps are less work.

    Args:
        model: in evaluation mode, on its device.
        channels: of the stored images, 1 or 3.
        pixels: changed pixels of a candidate.
        batch: candidates evaluated at once; 0 for what suits a CPU's memory.
        dtype: of weights and activations.
        slots: images in work at the same time.
        switch: see `Plan`.
    """

    def __init__(
        self, model: Classifier, channels: int, pixels: int, batch: int = 0,
        dtype: torch.dtype = torch.float32, slots: int = 1, switch: int | None = None,
    ) -> None:  # fmt: skip
        self.model, self.channels, self.pixels, self.dtype = model, channels, pixels, dtype
        device = model.mean.device
        self.chain = LAYERS[model.architecture](model.network, dtype)
        head = model.network.fc if model.architecture == "resnet50" else model.network.classifier
        # The last layer keeps float32: one pixel of a large image moves the logits by less than a
        # step of bfloat16, and a search that sees equal scores is blind.
        of_head = torch.promote_types(dtype, torch.float32)
        self.head = head.weight.detach().to(of_head), head.bias.detach().to(of_head)
        source = stored_rows(model)
        self.plan = Plan(self.chain, source, pixels, switch)
        self.source = source.to(device)
        self.starts = [start.to(device) for start in self.plan.starts]
        # Every 8-bit value as the network sees it in each input channel, (256, 3).
        values = unit(torch.arange(256, device=device), model.mean.dtype).view(-1, 1, 1, 1)
        self.prepared = model.normalize(values).flatten(1).to(dtype)
        self.resize(batch or self.plan.batch(dtype.itemsize), slots)

    def resize(self, batch: int | None = None, slots: int | None = None) -> None:
        """Other numbers of candidates at once and of images; these must enter again."""
        self.batch, self.slots = batch or self.batch, slots or self.slots
        device, size = self.source.device, self.model.image_size
        self.images = torch.zeros(
            self.slots, size, size, self.channels, dtype=torch.long, device=device
        )
        self.levels = []  # the old ones first make room
        self.levels = self._allocate(device)

    def _allocate(self, device: torch.device) -> list[Level]:
        """Input level of each layer up to the switch; layers of a dense block share one."""
        levels: list[Level] = []
        last = self.plan.switch
        places = [self.batch * self.pixels * size**2 for size in self.plan.sizes]
        for number, layer in enumerate(self.chain[: last + 1]):
            size = self.plan.maps[number]
            if number and self.chain[number - 1].in_place:
                levels.append(levels[-1])
            else:
                shared = number
                while shared < last and self.chain[shared].in_place:
                    shared += 1
                rows = max(places[number : shared + 1])
                levels.append(Level(self.slots, size, layer.channels_in, rows, self.dtype, device))
            if number < last:
                layer.allocate(self.slots, size, places[number])
        return levels

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images into slots and keep their activations.

        One at a time, so that what an image gives does not depend on what it enters with.

        Args:
            slots: int64 (n,).
            images: uint8 (n, C, H, W).
        """
        self.images[slots] = images.permute(0, 2, 3, 1).long()
        for slot, image in zip(slots.split(1), images.split(1), strict=True):
            x = self.model.prepare(unit(image, self.model.mean.dtype))
            x = x.to(self.dtype).permute(0, 2, 3, 1).contiguous()
            for number, layer in enumerate(self.chain[: self.plan.switch]):
                self.levels[number].keep(slot, x)
                x = layer.clean(x, slot)
            self.levels[self.plan.switch].keep(slot, x)

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Logits (N, K), at least float32, of candidates (N, genes) of the images in slots (N,).

        Candidates go through in batches of one size, the last one filled up: what comes out
        for a candidate does not depend on what it is evaluated with.
        """
        count = len(candidates)
        short = -count % self.batch
        if short:
            candidates = torch.cat([candidates, candidates[-1:].expand(short, -1)])
            slots = torch.cat([slots, slots[-1:].expand(short)])
        parts = [
            self._batch(some, genes.view(self.batch, self.pixels, -1))
            for some, genes in zip(
                slots.split(self.batch), candidates.split(self.batch), strict=True
            )
        ]
        found = torch.cat(parts)[:count]
        return found if found.dtype == torch.float64 else found.float()

    def _windows(self, number: int, pixels: Tensor) -> Windows:
        """Windows in front of a layer."""
        return Windows(self.starts[number][pixels[..., :2]], self.plan.sizes[number])

    def _painted(self, slots: Tensor, held: Windows, pixels: Tensor) -> Tensor:
        """What the network sees in windows of its input, (N * P, size, size, 3)."""
        span = torch.arange(held.size, device=slots.device)
        place = self.source[held.start.unsqueeze(3) + span]
        row, col = place[:, :, 0, :, None], place[:, :, 1, None, :]
        values = self.images[slots.view(-1, 1, 1, 1), row, col]
        for pixel in pixels.unbind(1):  # later pixels overwrite earlier ones
            at = pixel.view(-1, 1, 1, 1, pixel.shape[1])
            hit = (row == at[..., 0]) & (col == at[..., 1])
            values = torch.where(hit.unsqueeze(4), at[..., 2:], values)
        values = values.expand(*values.shape[:-1], 3).reshape(-1, 3)
        return self.prepared.gather(0, values).view(-1, held.size, held.size, 3)

    def _batch(self, slots: Tensor, pixels: Tensor) -> Tensor:
        held = self._windows(0, pixels)
        self.levels[0].write(self._painted(slots, held, pixels))
        for number, layer in enumerate(self.chain[: self.plan.switch]):
            out = self._windows(number + 1, pixels)
            maps = layer.windows(self.levels[number], slots, held, out)
            self.levels[number + 1].write(maps)
            held = out
        x = self.levels[self.plan.switch].assemble(slots, held)
        for layer in self.chain[self.plan.switch :]:
            x = layer.whole(x)
        return F.linear(x.mean((1, 2), dtype=self.head[0].dtype), *self.head)
