"""A classifier that evaluates candidates by what their changed pixels change."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.attack.differential_evolution import gene_limits, initial_population, paint
from lib.attack.incremental import densenet, resnet
from lib.attack.incremental.layers import Layer, NotIncremental
from lib.attack.incremental.plan import Plan
from lib.attack.incremental.windows import Level, Windows
from lib.data import unit
from lib.models.classifiers import Classifier
from lib.params.device import is_out_of_memory
from lib.params.errors import first_line

# What torchvision's networks are made of up to the last layer.
PARTS = {
    nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.Identity,
}  # fmt: skip
CHECKED = 4  # candidates that are compared with the whole network
TOLERANCE = 1e-3  # of a logit, relative to the largest


@cache
def kinds() -> dict[type, tuple[Callable, str]]:
    """What makes the layers of each kind of network, and the name of its last layer."""
    # Takes longer than torch itself: who attacks no network does without it.
    from torchvision.models import DenseNet, ResNet

    return {ResNet: (resnet.layers, "fc"), DenseNet: (densenet.layers, "classifier")}


def layers_of(network: nn.Module, dtype: torch.dtype) -> list[Layer]:
    """The layers of a torchvision network up to its last map.

    Raises:
        NotIncremental: it has other parts than torchvision's.
    """
    return kinds()[type(network)][0](network, dtype)


def split(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What a model does with an image, and the torchvision network behind it.

    Raises:
        NotIncremental: there is no such network.
    """
    front, network = [], model
    while type(network) is nn.Sequential and len(network):
        front += network[:-1]
        network = network[-1]
    # A subclass may do anything.
    if type(network) not in kinds():
        raise NotIncremental
    return nn.Sequential(*front).eval(), network


def in_batches(
    evaluate: Callable[[Tensor, Tensor], Tensor], slots: Tensor, candidates: Tensor, batch: int
) -> Tensor:
    """What a function gives for candidates (N, genes) of the images in slots (N,).

    They go through in batches of one size, the last one filled up: what comes out for a candidate
    does not depend on what it is evaluated with.
    """
    count, short = len(candidates), -len(candidates) % batch
    candidates = torch.cat([candidates, candidates[-1:].expand(short, -1)])
    slots = torch.cat([slots, slots[-1:].expand(short)])
    batches = zip(slots.split(batch), candidates.split(batch), strict=True)
    return torch.cat([evaluate(some, genes) for some, genes in batches])[:count]


def stored_rows(size: int, input_size: int) -> Tensor:
    """Stored row behind each row of an input that was enlarged by nearest neighbor, int64 (S,)."""
    stored = torch.arange(size, dtype=torch.float32).view(1, 1, -1)
    return F.interpolate(stored, size=input_size, mode="nearest").flatten().long()


class Incremental:
    """Logits of candidates, exact up to float rounding.

    The clean image goes through the network once. For a candidate only the windows that its
    pixels reach are computed, layer by layer, until whole maps are less work.

    Args:
        model: in evaluation mode, on its device: a torchvision ResNet or DenseNet, also behind
            modules in an ``nn.Sequential`` that treat each pixel alone, or a `Classifier`.
        channels: of the stored images, 1 or 3.
        size: edge of the stored images.
        pixels: changed pixels of a candidate.
        batch: candidates evaluated at once; 0 for what suits a CPU's memory.
        dtype: of weights and activations.
        slots: images in work at the same time.
        switch: see `Plan`.

    Raises:
        NotIncremental: another model.
    """

    def __init__(
        self, model: nn.Module, channels: int, size: int, pixels: int, batch: int = 0,
        dtype: torch.dtype = torch.float32, slots: int = 1, switch: int | None = None,
    ) -> None:  # fmt: skip
        self.model, self.channels, self.size, self.pixels = model, channels, size, pixels
        self.dtype = dtype
        if type(model) is Classifier:
            self.front, single, network = model.prepare, model.normalize, model.network
            source = stored_rows(size, model.input_size)
        else:
            self.front, network = split(model)
            single = self.front
            source = torch.arange(size)
        layers, head = kinds()[type(network)]
        body = (part for name, part in network.named_children() if name != head)
        leaves = (leaf for part in body for leaf in part.modules() if not [*leaf.children()])
        if strange := {type(leaf).__name__ for leaf in leaves if type(leaf) not in PARTS}:
            raise NotIncremental(f"the network has parts of another kind: {sorted(strange)}.")
        self.chain = layers(network, dtype)
        # The last layer keeps float32: one pixel of a large image moves the logits by less than a
        # step of bfloat16, and a search that sees equal scores is blind.
        self.head = getattr(network, head)
        weight = next(network.parameters())
        self.weights = weight.dtype
        self.plan = Plan(self.chain, source, pixels, switch)
        self.source = source.to(weight.device)
        self.starts = [start.to(weight.device) for start in self.plan.starts]
        # Every 8-bit value as the network sees it in each input channel, (256, channels).
        values = unit(torch.arange(256, device=weight.device), self.weights).view(-1, 1, 1, 1)
        self.inputs = self.chain[0].channels_in
        self.prepared = single(values.repeat(1, channels, 1, 1)).flatten(1).to(dtype)
        if self.prepared.shape != (256, self.inputs) or channels not in (1, self.inputs):
            raise NotIncremental("what is in front of the network mixes channels or pixels.")
        self.resize(batch or self.plan.batch(dtype.itemsize), slots)

    @classmethod
    def of(
        cls, model: nn.Module, example: Tensor, pixels: int, batch: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> "Incremental":  # fmt: skip
        """An evaluator that was compared with the whole model, which may be any.

        They are compared on ``example``, an image, uint8 (C, H, W), on the model's device.

        Raises:
            NotIncremental: none could be made, or it gives other logits than the model.
        """
        channels, height, width = example.shape
        if type(model) is not Classifier:
            split(model)  # nobody expects it of other models: they get no reason
        if height != width:
            raise NotIncremental(f"the images are not square, but {height} x {width}.")
        try:
            made = cls(model, channels, height, pixels, CHECKED)
            made.compare(example)
            if dtype == torch.float32:
                made.resize(batch or made.plan.batch(dtype.itemsize))
                return made
            return cls(model, channels, height, pixels, batch, dtype)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise NotIncremental(
                "the network, or what is in front of it, is not as expected "
                f"({first_line(error).rstrip('.')})."
            ) from error

    def compare(self, example: Tensor) -> None:
        """Compare with the whole model on random candidates of an image, uint8 (C, H, W).

        Raises:
            NotIncremental: the logits differ.
        """
        image, device = example.unsqueeze(0), example.device
        slot = torch.zeros(1, dtype=torch.long, device=device)
        self.enter(slot, image)
        expected = self.front(unit(image, self.weights)).permute(0, 2, 3, 1)
        seen = self.images[:, self.source][:, :, self.source].expand(-1, -1, -1, self.inputs)
        seen = self.prepared.gather(0, seen.reshape(-1, self.inputs)).view_as(seen)
        if expected.shape != seen.shape or not torch.allclose(expected, seen, 1e-5, 1e-6):
            raise NotIncremental("what is in front of the network mixes channels or pixels.")
        limits = gene_limits(self.pixels, self.size, self.size, self.channels, device)
        candidates = initial_population(slot, CHECKED, limits, self.channels, "uniform")
        expected = self.model(unit(paint(image, candidates)))
        found = self.logits(slot.expand(CHECKED), candidates[0])
        if expected.shape != found.shape:
            raise NotIncremental("the model gives other logits than its network.")
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        if not difference <= TOLERANCE:
            raise NotIncremental(
                f"the model's logits differ from those of its network by {difference:.1e}."
            )

    def resize(self, batch: int | None = None, slots: int | None = None) -> None:
        """Other numbers of candidates at once and of images; these must enter again."""
        self.batch, self.slots = batch or self.batch, slots or self.slots
        self.levels = []  # the old ones first make room
        shape = (self.slots, self.size, self.size, self.channels)
        self.images = torch.zeros(shape, dtype=torch.long, device=self.source.device)
        self.levels = self._allocate(self.source.device)

    def _allocate(self, device: torch.device) -> list[Level]:
        """Input level of each layer up to the switch; layers of a dense block share one."""
        levels: list[Level] = []
        last, count = self.plan.switch, self.batch * self.pixels
        places = [count * size**2 for size in self.plan.sizes]
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
                layer.allocate(self.slots, size, count, self.plan.sizes[number])
        return levels

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images, uint8 (n, C, H, W), into slots, int64 (n,), and keep their activations.

        One at a time, so that what an image gives does not depend on what it enters with.
        """
        self.images[slots] = images.permute(0, 2, 3, 1).long()
        for slot, image in zip(slots.split(1), images.split(1), strict=True):
            x = self.front(unit(image, self.weights))
            x = x.to(self.dtype).permute(0, 2, 3, 1).contiguous()
            for number, layer in enumerate(self.chain[: self.plan.switch]):
                self.levels[number].keep(slot, x)
                x = layer.whole(x, slot)
            self.levels[self.plan.switch].keep(slot, x)

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Logits (N, K), at least float32, of candidates (N, genes) of the images in slots (N,)."""
        found = in_batches(self._batch, slots, candidates, self.batch)
        return found if found.dtype == torch.float64 else found.float()

    def _windows(self, number: int, pixels: Tensor) -> Windows:
        """Windows in front of a layer."""
        return Windows(self.starts[number][pixels[..., :2]], self.plan.sizes[number])

    def _painted(self, slots: Tensor, held: Windows, pixels: Tensor) -> Tensor:
        """What the network sees in windows of its input, (N * P, size, size, channels)."""
        row, col = (self.source[place] for place in held.places())
        values = self.images[slots.view(-1, 1, 1, 1), row, col]
        for pixel in pixels.unbind(1):  # later pixels overwrite earlier ones
            at = pixel.view(-1, 1, 1, 1, pixel.shape[1])
            hit = (row == at[..., 0]) & (col == at[..., 1])
            values = torch.where(hit.unsqueeze(4), at[..., 2:], values)
        values = values.expand(*values.shape[:-1], self.inputs).reshape(-1, self.inputs)
        return self.prepared.gather(0, values).view(-1, held.size, held.size, self.inputs)

    def write_windows(self, slots: Tensor, genes: Tensor) -> Windows:
        """Write one batch's windows into the level in front of the first layer on whole maps.

        Returned is where they lie; candidates are int64 (batch, genes), their slots (batch,).
        """
        pixels = genes.view(len(genes), self.pixels, -1)
        held = self._windows(0, pixels)
        self.levels[0].write(self._painted(slots, held, pixels))
        for number, layer in enumerate(self.chain[: self.plan.switch]):
            out = self._windows(number + 1, pixels)
            maps = layer.windows(self.levels[number], slots, held, out)
            self.levels[number + 1].write(maps)
            held = out
        return held

    def _batch(self, slots: Tensor, genes: Tensor) -> Tensor:
        held = self.write_windows(slots, genes)
        switch = self.plan.switch
        return self.rest(self.levels[switch].assemble(slots, held), switch)

    def rest(self, x: Tensor, first: int) -> Tensor:
        """Logits (n, K) of whole maps in front of layer ``first``, (n, size, size, channels)."""
        for layer in self.chain[first:]:
            x = layer.whole(x)
        # At least in the dtype of the weights, in which the last layer computes.
        return self.head(x.mean((1, 2), dtype=self.weights))
