"""Logits and scores of candidates: by the whole network, or by what the changed pixels change."""

import warnings

import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion, not_nan
from lib.attack.differential_evolution import paint
from lib.attack.incremental import Incremental, NotIncremental, in_batches
from lib.data import unit
from lib.params.device import halved, search_precision
from lib.params.errors import InputError

# Candidates at once where the user sets none; halved if memory lacks.
GPU_BATCH = 1024
WHOLE_BATCH = {"cpu": 64, "cuda": 256}  # of whole images
SMALLEST_BATCH = 64
IMAGES = 8  # in work at least, so that a batch fills up although candidates repeat
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def dtype_of(precision: str, device: torch.device, edge: int) -> torch.dtype:
    """The dtype of one of `PRECISIONS`, for images of at most ``edge`` x ``edge`` pixels."""
    found = search_precision(device, edge) if precision == "auto" else precision
    return getattr(torch, found)


class WholeImages:
    """The whole network on painted images, for any model.

    Args:
        model: (N, C, H, W) in 0..1 to logits.
        slots: images in work at the same time.
        batch: candidates evaluated at once; the last batch is filled up, so that what comes out
            for a candidate does not depend on what it is evaluated with.
        dtype: float32, or another one for autocast.

    Raises:
        InputError: the model gives another number of rows of logits than of images.
    """

    def __init__(self, model: nn.Module, slots: int, batch: int, dtype: torch.dtype) -> None:
        self.model, self.slots, self.batch, self.dtype = model, slots, batch, dtype
        self.images: Tensor | None = None

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images, uint8 (n, C, H, W), into slots, int64 (n,)."""
        if self.images is None:
            self.images = images.new_zeros(self.slots, *images.shape[1:])
        self.images[slots] = images

    def resize(self, batch: int) -> None:
        """Another number of candidates at once; images must enter again."""
        self.batch = batch

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Logits (N, K) of candidates (N, genes) of the images in slots (N,)."""
        low = self.dtype != torch.float32
        with torch.autocast(slots.device.type, self.dtype if low else None, enabled=low):
            return in_batches(self._batch, slots, candidates, self.batch).float()

    def _batch(self, slots: Tensor, genes: Tensor) -> Tensor:
        painted = unit(paint(self.images[slots], genes.unsqueeze(1)))
        values = self.model(painted.contiguous(memory_format=torch.channels_last))
        if len(values) != len(painted):
            raise InputError(
                f"The model gives {len(values)} rows of logits for {len(painted)} images: an "
                "attack needs one row for each."
            )
        return values


def images_in_work(batch: int, population: int) -> int:
    """Images that keep batches full although many candidates repeat."""
    return max(IMAGES, -(-8 * batch // population))


def make_evaluator(
    model: nn.Module, example: Tensor, pixels: int, population: int, dtype: torch.dtype,
    batch: int, most: int,
) -> WholeImages | Incremental:  # fmt: skip
    """The fastest evaluator for a model.

    Incremental evaluation for torchvision's ResNets and DenseNets, bare, behind modules that
    treat each pixel alone, or in a `Classifier`; whole images for every other model.

    Args:
        model: in evaluation mode, on its device.
        example: one of the images, uint8 (C, H, W), on the model's device.
        pixels: of a candidate.
        population: candidates of an image.
        dtype: of the search.
        batch: candidates at once; 0: what the device holds well.
        most: images to attack; no more slots are made.
    """
    on_gpu = example.device.type == "cuda"
    try:
        # The last batch is filled up, so small populations need small ones; below that the weights
        # are laid out anew for too few candidates. The number of images does not count: other
        # batches may round otherwise.
        given = batch or on_gpu * min(GPU_BATCH, max(SMALLEST_BATCH, population * IMAGES))
        evaluator = Incremental.of(model, example, pixels, given, dtype)
        if not given:
            evaluator.batch = min(evaluator.batch, max(SMALLEST_BATCH, population))
        evaluator.resize(slots=min(most, images_in_work(evaluator.batch, population)))
        return evaluator
    except NotIncremental as reason:
        if str(reason):
            warnings.warn(f"Whole images are evaluated, which takes longer: {reason}", stacklevel=2)
    if not batch:
        limit = WHOLE_BATCH.get(example.device.type, WHOLE_BATCH["cpu"])
        # Whole populations, or equal parts of one, leave little to be filled up.
        batch = population * max(1, limit // population)
        batch = -(-batch // -(-batch // limit))
    return WholeImages(model, min(most, images_in_work(batch, population)), batch, dtype)


class CandidateEvaluator:
    """Logits of candidates in the search's precision, whatever the memory holds.

    Args:
        model, example, pixels, population, dtype, batch, most: see `make_evaluator`.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, pixels: int, population: int, dtype: torch.dtype,
        batch: int, most: int,
    ) -> None:  # fmt: skip
        self.pixels, self.exact = pixels, dtype == torch.float32
        made = None
        while made is None:
            try:
                made = make_evaluator(model, example, pixels, population, dtype, batch, most)
            except (RuntimeError, MemoryError) as error:
                batch = halved(batch or GPU_BATCH, error)
        self.evaluator, self.slots = made, made.slots
        self.pictures = example.new_zeros(made.slots, *example.shape)
        self.shift: Tensor | None = None

    def enter(self, slots: Tensor, pictures: Tensor, clean: Tensor) -> None:
        """Put images into slots.

        Args:
            slots: int64 (n,).
            pictures: uint8 (n, C, H, W).
            clean: their float32 logits (n, K).

        Raises:
            InputError: logits are not finite.
        """
        self.pictures[slots] = pictures
        self.evaluator.enter(slots, pictures)
        if self.exact:
            return
        # A low precision moves the logits of an image by more than a pixel does, but those of all
        # its candidates by about the same.
        corner = pictures[:, :, 0, 0].long()  # with it a candidate changes nothing
        genes = torch.cat([corner.new_zeros(len(corner), 2), corner], 1).repeat(1, self.pixels)
        if self.shift is None:
            self.shift = clean.new_zeros(self.slots, clean.shape[1])
        self.shift[slots] = 0
        self.shift[slots] = clean - self.logits(slots, genes)

    def logits(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Logits (N, K) of candidates (N, genes) of the images in slots (N,).

        Raises:
            InputError: they are not finite, or the memory does not hold one candidate.
        """
        while True:
            try:
                values = self.evaluator.logits(slots, candidates)
                break
            except (RuntimeError, MemoryError) as error:
                batch = halved(self.evaluator.batch, error)
            # The slots stay: only the room for candidates shrinks.
            self.evaluator.resize(batch)
            every = torch.arange(self.slots, device=slots.device)
            self.evaluator.enter(every, self.pictures)
        finite(values)
        return values if self.exact else values + self.shift[slots]


class ExactScores:
    """Every candidate is computed: its score is its objective.

    Args:
        model: in evaluation mode, on its device.
        criterion: whose objective is the score.
        example: one of the images, uint8 (C, H, W), on the model's device.
        pixels, population, dtype, batch, most: see `make_evaluator`.

    Attributes:
        slots: images in work at the same time.
        counts: for each slot, candidates computed by the network and predicted since its image
            entered, int64 (slots, 2).
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, example: Tensor, pixels: int,
        population: int, dtype: torch.dtype, batch: int, most: int,
    ) -> None:  # fmt: skip
        self.criterion = criterion
        self.evaluator = CandidateEvaluator(model, example, pixels, population, dtype, batch, most)
        self.slots = self.evaluator.slots
        self.counts = torch.zeros(self.slots, 2, dtype=torch.long, device=example.device)

    def enter(self, slots: Tensor, pictures: Tensor, labels: Tensor, clean: Tensor) -> None:
        """Put images into slots, as `CandidateEvaluator`; their labels are int64 (n,) or (n, K)."""
        self.counts[slots] = 0
        self.evaluator.enter(slots, pictures, clean)

    def __call__(self, slots: Tensor, labels: Tensor, genes: Tensor) -> tuple[Tensor, Tensor]:
        """Score candidates.

        Args:
            slots: of their images, int64 (n,), those of one image side by side.
            labels: of their images, int64 (n,) or (n, K).
            genes: int64 (n, genes).

        Returns:
            Scores, float32 (n,), lower is better, and successes in the search's precision, bool.
        """
        if not len(slots):
            return torch.zeros(0, device=slots.device), slots.bool()
        objective, success = self.criterion(self.evaluator.logits(slots, genes), labels)
        not_nan(objective)
        self.counts[:, 0] += slots.bincount(minlength=self.slots)
        return objective.float(), success


def finite(values: Tensor) -> None:
    """Raise InputError where a logit is not finite."""
    if not torch.isfinite(values).all():
        raise InputError(
            "The model gives logits that are not finite: train it again, or search in float32."
        )
