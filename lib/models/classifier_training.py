"""Training of the classifiers: start, optimizer, stopping rule (CLS01 to CLS10)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.data import Images, as_images, as_labels, unit
from lib.metrics import classification
from lib.models.classifiers import Classifier, bring, classify, load, logits, save
from lib.models.inference import Device, placed, uses_bfloat16
from lib.models.masks import mask_corners, under_two
from lib.models.pretrained import start_weights
from lib.models.training import STEPS, check_training, fit, key_of
from lib.models.weights import read_weights
from lib.params import VERSIONS, Parameters
from lib.params.device import settled
from lib.params.errors import InputError, check_name, check_number, check_numbers
from lib.params.files import fingerprint, md5, read_json
from lib.params.own_files import own_weights

# The paper's optimizer (4.1.2; CLS03), by the arguments of `fit_classifier`.
PAPER = {
    "optimizer": "sgd", "schedule": "constant", "learning_rate": 0.001, "momentum": 0.9,
    "weight_decay": 0.0, "batch": 64,
}  # fmt: skip
SAMPLE = 100  # validation images at least that an epoch is measured on


@torch.inference_mode(False)
@torch.enable_grad()
def fit_classifier(
    model: nn.Module,
    images: Any,
    labels: np.ndarray,
    validation_images: Any,
    validation_labels: np.ndarray,
    *,
    epochs: int = 100,
    batch: int = 64,
    optimizer: str = "sgd",
    schedule: str = "constant",
    learning_rate: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    sizes: Sequence[int] = (),
    stop: tuple[float, float] = (0.95, 0.90),
    masking: int = 0,
    threshold: float = 0.5,
    seed: int = 0,
    precision: str = "float32",
    device: Device = None,
    checkpoint: Path | None = None,
    label: str = "the classifier",
) -> list[dict]:
    """Train a classifier in place.

    The paper (4.1.2): SGD, learning rate 0.001, momentum 0.9, batches of 64, at most 100 epochs,
    stop when training accuracy exceeds 95 % and test accuracy 90 %. These are the defaults, with
    the rule on validation images, because the test part would leak (CLS06).

    Args:
        model: from images (N, C, H, W) in 0..1 to logits (N, classes).
        images: uint8 (N, H, W, C).
        labels: classes, int (N,), or 0/1 labels (N, L).
        validation_images, validation_labels: the same of M images, for the stopping rule.
        epochs, batch: maximum, and images per step.
        optimizer: ``sgd`` or ``adamw``.
        schedule: ``constant`` or ``one_cycle``, then ``learning_rate`` is the peak.
        learning_rate, momentum, weight_decay: of the optimizer; momentum for SGD only.
        sizes: edges that images are reduced to one after another, each for an equal share of the
            epochs; none: as they are.
        stop: training ends when training and validation accuracy exceed these, at the last size.
        masking: edge in pixels of two masks that hide parts of each training image (Xiang et al.
            2022), drawn anew each time; see `lib.models.masks.under_two`. 0: none.
        threshold: a label counts when its sigmoid exceeds it.
        seed: of the order of images; the first weights are the caller's.
        precision, device, checkpoint, label: as of `lib.models.training.fit`.

    Returns:
        One dictionary per epoch, as `lib.models.training.fit`, with ``size``, ``train_accuracy``
        and ``validation_accuracy``, of the images in their own size. At the last size the second
        is of all validation images, the first of twice as many; before, both are of fewer.

    Raises:
        InputError: images and labels that do not fit, an unknown name, or as `fit`.
    """
    (images,) = as_images("Training images", images=images)
    (validation_images,) = as_images("Validation images", images=validation_images)
    labels = as_labels("The training labels", labels, len(images))
    validation_labels = as_labels(
        "The validation labels", validation_labels, len(validation_images)
    )
    epochs, batch, learning_rate, seed = check_training(model, epochs, batch, learning_rate, seed)
    check_number("batch", batch, 2, math.inf, whole=True)
    check_number("momentum", momentum, 0, 1, ends="[)")
    check_number("weight_decay", weight_decay, 0, math.inf)
    check_number("threshold", threshold, 0, 1, ends="()")
    check_number("masking", masking, 0, math.inf, whole=True)
    sizes = check_numbers("sizes", sizes, 1, math.inf, whole=True)
    stop = tuple(check_numbers("stop", stop, -math.inf, math.inf, count=2))
    if len(images) < 2:
        raise InputError(f"A classifier needs two training images at least, not {len(images)}.")
    device, multi_label, edge = placed(model, device), labels.ndim == 2, min(images.shape[1:3])
    known = logits(model, images[:1]).shape[1]
    for of in (labels, validation_labels):
        if of.shape[1:] != (known,) * multi_label:
            raise InputError(f"Labels of shape {of.shape} do not fit a model of {known} logits.")
        if not multi_label and of.size and not 0 <= of.min() <= of.max() < known:
            raise InputError(
                f"The labels go from {of.min()} to {of.max()}: the model knows 0 to {known - 1}."
            )
    model.to(memory_format=torch.channels_last)
    precision = "bfloat16" if uses_bfloat16(precision, device) else "float32"
    sizes = sizes or [edge]
    if masking:
        smallest = min(*sizes, edge)
        mask_corners(smallest, smallest, masking)  # refuses one that is too large
    target = torch.from_numpy(labels)
    target = target.float() if multi_label else target.long()
    steps = -(-len(images) // batch)
    made, rates = _optimizer(
        model, optimizer, schedule, learning_rate, momentum, weight_decay, steps * epochs
    )
    # Of the images to measure accuracy on, the first so many: all come once.
    orders = {
        name: np.random.default_rng(seed).permutation(count)
        for name, count in (("train", len(images)), ("validation", len(validation_images)))
    }
    parts = {
        "train": (images, labels, 2),
        "validation": (validation_images, validation_labels, 1),
    }

    def size_of(epoch: int) -> int:
        return sizes[epoch * len(sizes) // epochs]

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        if multi_label:
            return F.binary_cross_entropy_with_logits(network(batch[0]), batch[1])
        return F.cross_entropy(network(batch[0]), batch[1])

    def evaluate(network: nn.Module, epoch: int) -> dict[str, float]:
        size, most = size_of(epoch), len(validation_images)
        found: dict[str, float] = {"size": size}
        if size != sizes[-1]:
            # The stopping rule needs the last size alone. Three evaluations cost about one step
            # at the same size, so this is a quarter of the epoch's cost.
            most = min(most, max(SAMPLE, int(len(images) * (size / edge) ** 2 / 4)))
        for name, (pictures, of, times) in parts.items():
            rows = np.sort(orders[name][: times * most])
            decisions = classify(network, pictures[rows], multi_label, threshold)
            found[f"{name}_accuracy"] = classification.accuracy(of[rows], decisions)
        return found

    def good_enough(history: list[dict]) -> bool:
        last = history[-1]
        return (
            last["size"] == sizes[-1]
            and last["train_accuracy"] > stop[0]
            and last["validation_accuracy"] > stop[1]
        )

    settings = [
        VERSIONS["classifier"], epochs, batch, optimizer, schedule, learning_rate, momentum,
        weight_decay, sizes, stop, threshold, seed, precision,
    ] + [masking] * bool(masking)  # fmt: skip
    arrays = (images, labels, validation_images, validation_labels)
    return fit(
        model, loss, _batches(images, target, batch, seed, device, size_of, masking), evaluate,
        optimizer=made, schedule=rates, epochs=epochs, steps_per_epoch=steps,
        checkpoint=checkpoint, key=key_of(model, arrays, settings) if checkpoint else "",
        stop=good_enough, precision=precision, device=device, label=label, seed=seed,
    )  # fmt: skip


def _batches(
    images: np.ndarray, labels: Tensor, batch: int, seed: int, device: torch.device,
    size_of: Callable[[int], int], masking: int,
) -> Callable:  # fmt: skip
    """Batches of a shuffled epoch; a last batch of one image is left out (batch norm needs two).

    Images become floats batch by batch: all at once would take four times the memory.
    """

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * STEPS + epoch)
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            if len(chosen) > 1:
                given = torch.from_numpy(images[chosen.numpy()]).to(device)
                given, size = unit(given.permute(0, 3, 1, 2)), size_of(epoch)
                short = min(given.shape[-2:])
                if size < short:
                    reduced = [length * size // short for length in given.shape[-2:]]
                    given = F.interpolate(given, size=reduced, mode="bilinear", antialias=True)
                if masking:
                    given = under_two(given, masking, generator)
                yield given, labels[chosen].to(device)

    return batches


def _optimizer(
    model: nn.Module, name: str, schedule: str, rate: float, momentum: float, decay: float,
    steps: int,
) -> tuple[torch.optim.Optimizer, Any]:  # fmt: skip
    """Optimizer and schedule (or None) for ``steps`` steps in all."""
    kinds = {"sgd": partial(torch.optim.SGD, momentum=momentum), "adamw": torch.optim.AdamW}
    check_name("optimizer", name, kinds)
    check_name("schedule", schedule, ("constant", "one_cycle"))
    made = kinds[name](model.parameters(), lr=rate, weight_decay=decay, fused=True)
    if schedule == "constant":
        return made, None
    return made, torch.optim.lr_scheduler.OneCycleLR(
        made, rate, total_steps=max(2, steps), cycle_momentum=False
    )


def training_images(data: Images, p: Parameters) -> Images:
    """The training part, without Chest's Normal unless asked for (SPL03), cut to the limit."""
    train = data.in_part("train")
    if train.facts.multi_label and not p.classifier_include_normal:
        train = train.take(train.labels.any(1))
    if p.classifier_train_limit and p.classifier_train_limit < len(train):
        order = np.random.default_rng(p.seed).permutation(len(train))
        train = train.take(np.sort(order[: p.classifier_train_limit]))
    return train


def train(data: Images, p: Parameters, folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run folder: trained, or read back if it was trained with these settings.

    Writes ``classifier.safetensors`` and ``classifier.json`` with ``start``, ``history``,
    ``paper_optimizer_history`` (from the same start with the paper's optimizer, for
    ``classifier_paper_epochs`` epochs; ``null`` if none), ``training_images`` and ``weights_md5``.
    Weights that ``classifier_weights`` names are used instead of training. An interrupted training
    is resumed after its last epoch.

    Returns:
        The model on the CPU, in evaluation mode, and the content of ``classifier.json``.

    Raises:
        InputError: as `start_weights` and `fit_classifier`.
    """
    p = settled(p)
    key = fingerprint([p.key("classifier"), data.provenance.md5])
    about = folder / "classifier.json"
    if about.exists() and read_json(about).get("key") == key:
        return load(folder, p.classifier), read_json(about)
    if path := own_weights(p.classifier_weights):
        return _brought(path, data, p, folder, key)
    learned, validation, facts = training_images(data, p), data.in_part("val"), data.facts
    start = start_weights(p.classifier, p.classifier_weights)
    begun = f"{'imagenet' if start else 'random'}-{key}"
    checkpoints = [folder / f".{name}-{begun}.safetensors" for name in ("classifier", "paper")]
    ours = {name: getattr(p, f"classifier_{name}") for name in (*PAPER, "epochs")}

    def fitted(checkpoint: Path, settings: dict[str, Any]) -> tuple[Classifier, list[dict]]:
        torch.manual_seed(p.seed)
        model = Classifier(p.classifier, len(facts.classes), data.size)
        if start:  # all but the last layer
            own = model.network.state_dict()
            fits = {name: of for name, of in start.items() if own[name].shape == of.shape}
            model.network.load_state_dict(fits, strict=False)
        history = fit_classifier(
            model, learned.images, learned.labels, validation.images, validation.labels,
            sizes=p.classifier_sizes, masking=p.classifier_masking,
            threshold=p.classifier_threshold,
            stop=(p.classifier_stop_train, p.classifier_stop_validation), seed=p.seed,
            precision=p.classifier_precision, device=p.device, checkpoint=checkpoint,
            label=p.classifier, **settings,
        )  # fmt: skip
        return model, history

    model, history = fitted(checkpoints[0], ours)
    paper_history = None
    if p.classifier_paper_epochs:
        papers = PAPER | {"epochs": p.classifier_paper_epochs}
        _, paper_history = fitted(checkpoints[1], papers)
    save(
        model.cpu(), folder, key=key, task=facts.task,
        class_names=[item.name for item in facts.classes],
        start="imagenet" if start else "random", training_images=len(learned), history=history,
        paper_optimizer_history=paper_history,
    )  # fmt: skip
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    return model, read_json(about)


def _brought(
    path: Path, data: Images, p: Parameters, folder: Path, key: str
) -> tuple[Classifier, dict[str, Any]]:
    """The user's own weights in place of a training; see `lib.models.classifiers.bring`."""
    if path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{path} is in the run folder, which the run writes to: keep your weights elsewhere."
        )
    facts = data.facts
    model = bring(path, p.classifier, len(facts.classes), data.size)
    kinds = {str(value.dtype) for value in read_weights(path).values() if value.is_floating_point()}
    save(
        model, folder, key=key, task=facts.task, class_names=[item.name for item in facts.classes],
        start="own", training_images=0, history=[], paper_optimizer_history=None,
        own_weights={"file": path.name, "md5": md5(path), "types": sorted(kinds)},
    )  # fmt: skip
    return model, read_json(folder / "classifier.json")
