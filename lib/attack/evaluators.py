"""Logits of candidates: by the whole network, or by what the changed pixels change."""

import copy
import sys
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.attack import evolution
from lib.attack.incremental import Incremental
from lib.data import unit
from lib.models.classifiers import Classifier
from lib.params import Parameters
from lib.params.errors import InputError

GPU_BATCH = 1024  # candidates at once where the user sets none; halved if memory lacks
SMALLEST_BATCH = 64
IMAGES = 8  # in work at least, so that a batch fills up although candidates repeat


class Evaluator(Protocol):
    """Logits of candidates of the images that were put into slots."""

    slots: int
    batch: int

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images, uint8 (n, C, H, W), into slots, int64 (n,)."""

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Logits (N, K) of candidates (N, genes) of the images in slots (N,)."""

    def resize(self, batch: int) -> None:
        """Another number of candidates at once; images must enter again."""


class Plain:
    """The whole network on painted images, for any model.

    Args:
        model: (N, C, H, W) in 0..1 to logits.
        slots: images in work at the same time.
        batch: candidates evaluated at once.
        dtype: float32 or bfloat16 (autocast).
    """

    def __init__(self, model: nn.Module, slots: int, batch: int, dtype: torch.dtype) -> None:
        self.model, self.slots, self.batch, self.dtype = model, slots, batch, dtype
        self.images: Tensor | None = None

    def enter(self, slots: Tensor, images: Tensor) -> None:
        if self.images is None:
            self.images = images.new_zeros(self.slots, *images.shape[1:])
        self.images[slots] = images

    def resize(self, batch: int) -> None:
        self.batch = batch

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        low = self.dtype != torch.float32
        parts = []
        with torch.autocast(slots.device.type, self.dtype if low else None, enabled=low):
            for some, genes in zip(
                slots.split(self.batch), candidates.split(self.batch), strict=True
            ):
                painted = unit(evolution.paint(self.images[some], genes.unsqueeze(1)))
                parts.append(self.model(painted.contiguous(memory_format=torch.channels_last)))
        return torch.cat(parts).float()


class Half(Plain):
    """The whole network of a `Classifier` in half precision, compiled: what suits a GPU.

    Batches have one size, the last one filled up, as in `Incremental`. The mean over the last map
    and the last layer are float32.
    """

    def __init__(self, model: Classifier, slots: int, batch: int, dtype: torch.dtype) -> None:
        super().__init__(model, slots, batch, dtype)
        network = copy.deepcopy(model.network)
        if model.architecture == "resnet50":
            head, body = network.fc, nn.Sequential(*list(network.children())[:-2])
        else:
            head, body = network.classifier, nn.Sequential(network.features, nn.ReLU())
        self.weight, self.bias = head.weight.detach().float(), head.bias.detach().float()
        self.body = _folded(body).to(dtype, memory_format=torch.channels_last).eval()
        self.compiled = torch.compile(self._forward, dynamic=False)

    def _forward(self, painted: Tensor) -> Tensor:
        x = self.model.prepare(unit(painted)).to(self.dtype, memory_format=torch.channels_last)
        return F.linear(self.body(x).float().mean((2, 3)), self.weight, self.bias)

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        count = len(candidates)
        short = -count % self.batch
        if short:
            candidates = torch.cat([candidates, candidates[-1:].expand(short, -1)])
            slots = torch.cat([slots, slots[-1:].expand(short)])
        parts = []
        for some, genes in zip(slots.split(self.batch), candidates.split(self.batch), strict=True):
            painted = evolution.paint(self.images[some], genes.unsqueeze(1))
            parts.append(self.compiled(painted))
        return torch.cat(parts)[:count]


def _folded(network: nn.Module) -> nn.Module:
    """The network with each batch norm that follows a convolution folded into it, in place."""
    pairs = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("conv0", "norm0"))
    pairs += (("conv1", "norm2"), ("0", "1"))
    for module in network.modules():
        for conv, norm in pairs:
            first, second = getattr(module, conv, None), getattr(module, norm, None)
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return network


def images_in_work(batch: int, population: int) -> int:
    """Images that keep batches full although many candidates repeat."""
    return max(IMAGES, -(-8 * batch // population))


def make_evaluator(
    model: nn.Module, channels: int, pixels: int, p: Parameters, batch: int, most: int
) -> Evaluator:
    """The fastest evaluator for a model.

    Args:
        model: incremental evaluation for a `Classifier`, the whole network for others.
        channels: of the stored images.
        pixels: of a candidate.
        p: attack_population and attack_precision are used.
        batch: candidates at once; 0: what the device holds well.
        most: images to attack; no more slots are made.
    """
    dtype = getattr(torch, p.attack_precision)
    if isinstance(model, Classifier) and p.attack_evaluator == "whole":
        batch = batch or GPU_BATCH
        return Half(model, min(most, images_in_work(batch, p.attack_population)), batch, dtype)
    if isinstance(model, Classifier):
        # The last batch is filled up, so few images and small populations need small ones; below
        # that the weights are laid out anew for too few candidates.
        if not batch and model.mean.is_cuda:
            batch = min(GPU_BATCH, max(SMALLEST_BATCH, p.attack_population * most))
        evaluator = Incremental(model, channels, pixels, batch, dtype)
        if not batch:
            evaluator.batch = min(evaluator.batch, max(SMALLEST_BATCH, p.attack_population))
        evaluator.resize(slots=min(most, images_in_work(evaluator.batch, p.attack_population)))
        return evaluator
    batch = batch or 256
    return Plain(model, min(most, images_in_work(batch, p.attack_population)), batch, dtype)


def out_of_memory(batch: int) -> int:
    """Half the batch, said aloud.

    Raises:
        InputError: one candidate is too much.
    """
    if batch < 2:
        raise InputError(
            "The GPU's memory does not hold one candidate: another program may have taken it."
        ) from None
    print(f"GPU out of memory: going on with batches of {batch // 2}.", file=sys.stderr)
    torch.cuda.empty_cache()
    return batch // 2
