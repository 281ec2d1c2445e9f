"""What every peer's adapter has in common: its budget, the counting, the judging, the rate.

Our budget is population x (generations + 1) candidates for an image. Each peer gets the settings
with the most candidates within it (`Peer.plan`). Each stops early in its own way: after each
generation but the initial one it looks at its best member again. Such looks pass the model and
are counted, but do not use up the budget, as our own confirmations do not.

Rates are compared where nothing can be gained by stopping early: `Steadfast` wraps the model so
that no candidate ever succeeds. Every method then runs its whole budget on the real network, with
images as they come out of its own search; `throughput` does this for a peer. Our search runs on
the bare network with a criterion that no candidate meets (`benchmarks.attack.NoSuccess`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.data import to_tensor
from lib.models.classifiers import logits
from lib.params.errors import InputError

BATCH = 128  # images at a time: torchattacks' default, and what ART's attack cannot change
Search = Callable[[np.ndarray, int, list[int]], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """A peer's own settings for one image."""

    population: int  # members that it really has
    generations: int  # after the initial one

    @property
    def candidates(self) -> int:
        """Candidates at most: all of them where the attack does not succeed."""
        return self.population * (self.generations + 1)


@dataclass(frozen=True)
class Result:
    """What a peer found on N images."""

    adversarial: np.ndarray  # as stored, uint8 (N, H, W, C)
    success: np.ndarray  # whether the stored image, alone and in float32, changes the class
    evaluations: np.ndarray  # images that passed the model, looks included
    seconds: float  # of all searches, without the import of the peer and without judging


class Counted(nn.Module):
    """A model in the search's precision that counts the images that pass it.

    The precision is ``float32``, or ``bfloat16`` by autocast; the logits are float32 in both.
    """

    def __init__(self, model: nn.Module, precision: str = "float32") -> None:
        super().__init__()
        self.model, self.classes, self.count = model, model.classes, 0
        self.bf16 = precision == "bfloat16"

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, K)."""
        self.count += len(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model(images).float()


class Steadfast(nn.Module):
    """A classifier that nothing fools: class 0 has the largest logit of every image.

    The other logits stay the network's, so the objective still differs between candidates.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.classes = model, model.classes

    def forward(self, images: Tensor) -> Tensor:
        """Float32 logits (N, K), the first one 1 above the largest of the network."""
        values = self.model(images).float()
        return torch.cat([values.amax(1, keepdim=True) + 1, values[:, 1:]], 1)


class Peer(ABC):
    """One program's pixel attack on single-label classifiers."""

    name: str

    @abstractmethod
    def members(self, genes: int, population: int) -> int:
        """Population that the peer has when asked for ``population`` members of ``genes``."""

    @abstractmethod
    def prepare(self, model: Counted, shape: tuple[int, ...], pixels: int, plan: Plan) -> Search:
        """The search as a function of an image, uint8 (H, W, C), its class and a seed.

        The function returns the attacked image as stored, uint8 (H, W, C), successful or not.
        """

    def plan(self, pixels: int, channels: int, population: int, generations: int) -> Plan:
        """The peer's settings with the most candidates within our budget.

        Raises:
            InputError: the budget does not hold the peer's initial population.
        """
        budget = population * (generations + 1)
        members = self.members(pixels * (2 + channels), population)
        if budget < members:
            raise InputError(
                f"{self.name} starts with {members} candidates and the budget is {budget}: give "
                "it more generations or members."
            )
        return Plan(members, budget // members - 1)

    def attack(
        self, model: nn.Module, images: np.ndarray, labels: np.ndarray, pixels: int,
        population: int, generations: int, seed: int, precision: str = "float32",
    ) -> Result:  # fmt: skip
        """Attack images one after the other.

        Args:
            model: classifier in evaluation mode, (N, C, H, W) in 0..1 to logits (N, K), with
                its number of classes as ``classes``.
            images: uint8 (N, H, W, C), all classified correctly.
            labels: true classes, int (N,).
            pixels: changed pixels at most.
            population, generations: ours; see `plan`.
            seed: 0 or more; the image at place i draws from (seed, i).
            precision: see `Counted`.

        Raises:
            InputError: the peer is not installed, or the budget is too small for it.
        """
        device = next(model.parameters()).device
        counted = Counted(model, precision).eval()
        plan = self.plan(pixels, images.shape[3], population, generations)
        search = self.prepare(counted, images.shape[1:], pixels, plan)
        found, evaluations, started = [], [], time.perf_counter()
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            before = counted.count
            found.append(search(image, int(label), [seed, place]))
            evaluations.append(counted.count - before)
        seconds = time.perf_counter() - started
        adversarial = np.stack(found) if found else images.copy()
        success = logits(model, adversarial, device, batch=1).argmax(1) != labels
        return Result(adversarial, success, np.array(evaluations, dtype=np.int64), seconds)


def throughput(
    peer: Peer, model: nn.Module, images: np.ndarray, pixels: int, population: int,
    generations: int, precision: str = "float32",
) -> float:  # fmt: skip
    """Candidates a second where no candidate succeeds, after one batch to warm up.

    Takes and raises what `Peer.attack` does, but images of any class: the model is made
    `Steadfast`.
    """
    model = Steadfast(model).eval()
    plan = peer.plan(pixels, images.shape[3], population, generations)
    batch = to_tensor(images[:1].repeat(min(BATCH, plan.population), 0))
    with torch.inference_mode():
        Counted(model, precision)(batch.to(next(model.parameters()).device))
    labels = np.zeros(len(images), dtype=np.int64)
    result = peer.attack(model, images, labels, pixels, population, generations, 0, precision)
    return plan.candidates * len(images) / result.seconds
