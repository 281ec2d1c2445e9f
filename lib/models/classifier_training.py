"""How the classifiers are trained: start, optimizer, stopping rule (CLS01 to CLS10)."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from lib.data import Images, to_tensor
from lib.metrics import classification
from lib.models.classifiers import Classifier, decide, load, logits, save
from lib.models.training import fit
from lib.params import Parameters
from lib.params.device import pick_device
from lib.params.errors import InputError
from lib.params.files import fingerprint, read_json
from lib.params.runs import code

CODE = code(
    "lib/models/classifiers.py", "lib/models/classifier_training.py", "lib/models/training.py",
    "lib/params/device.py",
)  # fmt: skip
DOWNLOAD_SECONDS = 20.0  # without an answer, or without a byte more, for so long: not to be had


def _downloaded() -> int:
    """Bytes of weights that torchvision has fetched, also of a file under way."""
    files = (Path(torch.hub.get_dir()) / "checkpoints").glob("*")
    with suppress(OSError):  # a file under way got its name meanwhile
        return sum(file.stat().st_size for file in files)
    return 0


def _imagenet(architecture: str) -> dict[str, Tensor] | None:
    """torchvision's ImageNet weights by the names of its networks; ``None`` if not to be had."""
    found: list[dict[str, Tensor]] = []

    def get() -> None:
        try:
            # The network itself knows how names in older files are read.
            network = torchvision.models.get_model(
                architecture, weights="IMAGENET1K_V1", progress=False
            )
            found.append(network.state_dict())
        except Exception:  # no network, no disk, a changed address: all mean "not to be had"
            return

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS / 2)
    # A name look-up has no time limit of its own, hence the thread that may be left behind.
    thread = threading.Thread(target=get, daemon=True)
    thread.start()
    seen, since = _downloaded(), time.monotonic()
    while thread.is_alive() and time.monotonic() - since < DOWNLOAD_SECONDS:
        thread.join(0.5)
        if (now := _downloaded()) != seen:
            seen, since = now, time.monotonic()
    socket.setdefaulttimeout(before)
    return found[0] if found else None


def start_weights(architecture: str, wanted: str) -> dict[str, Tensor] | None:
    """What a classifier starts from (CLS02).

    Args:
        architecture: torchvision's name of the network.
        wanted: ``imagenet``, ``random``, or ``auto``: ImageNet if to be had.

    Returns:
        ImageNet weights by name, or None for a random start.

    Raises:
        InputError: ``imagenet`` is demanded and its weights cannot be had.
    """
    if wanted == "random":
        return None
    state = _imagenet(architecture)
    if state is None and wanted == "imagenet":
        raise InputError(
            f"ImageNet weights of {architecture} cannot be had (no network?): set "
            "classifier_weights to 'random', or 'auto' to fall back."
        )
    return state


def epoch_batches(
    images: np.ndarray, labels: Tensor, batch: int, seed: int, device: torch.device
) -> Callable:
    """Batches of a shuffled epoch; a last batch of one image is left out (batch norm needs two).

    Images uint8 (N, H, W, C) become floats a batch at a time: all at once take four times the room.
    """

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            if len(chosen) > 1:
                yield to_tensor(images[chosen.numpy()]).to(device), labels[chosen].to(device)

    return batches


def training_images(data: Images, p: Parameters) -> Images:
    """The training part, without Chest's Normal unless asked for (SPL03), cut to the limit."""
    train = data.in_part("train")
    if train.facts.multi_label and not p.classifier_include_normal:
        train = train.take(train.labels.any(1))
    if p.classifier_train_limit and p.classifier_train_limit < len(train):
        order = np.random.default_rng(p.seed).permutation(len(train))
        train = train.take(np.sort(order[: p.classifier_train_limit]))
    if len(train) < 2:
        raise InputError(
            f"{p.dataset} has {len(train)} training images: a classifier needs two at least."
        )
    return train


def _optimizer(model: nn.Module, p: Parameters, steps: int) -> tuple[Any, Any]:
    """Optimizer and schedule (or None) for ``steps`` steps in all."""
    if p.classifier_optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(), p.classifier_learning_rate, p.classifier_momentum,
            weight_decay=p.classifier_weight_decay,
            fused=True,
        )  # fmt: skip
    else:
        optimizer = torch.optim.AdamW(
            model.parameters(),
            p.classifier_learning_rate,
            weight_decay=p.classifier_weight_decay,
            fused=True,
        )
    schedule = None
    if p.classifier_schedule == "one_cycle":
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, p.classifier_learning_rate, total_steps=max(2, steps), cycle_momentum=False
        )
    return optimizer, schedule


def train(data: Images, p: Parameters, folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a run folder: trained, or read back if it was trained with these settings.

    Writes ``classifier.safetensors`` and ``classifier.json`` with ``start``, ``history``,
    ``paper_optimizer_history`` (the same start under the paper's optimizer, for
    ``classifier_paper_epochs`` epochs; ``null`` if none) and ``training_images``. A killed run
    goes on after its last epoch.

    Args:
        data: all images.
        p: classifier_*, seed and device are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``.

    Returns:
        The model on the CPU, in evaluation mode, and the content of ``classifier.json``.
    """
    key = fingerprint([CODE, p.key("classifier"), data.provenance.md5])
    about = folder / "classifier.json"
    if about.exists() and read_json(about).get("key") == key:
        return load(folder, p.classifier), read_json(about)
    checkpoints = [folder / ".classifier.safetensors", folder / ".paper_optimizer.safetensors"]
    start = start_weights(p.classifier, p.classifier_weights)
    model, history = fit_classifier(data, p, checkpoints[0], start)
    paper_history = None
    if p.classifier_paper_epochs:
        _, paper_history = fit_classifier(data, paper_optimizer(p), checkpoints[1], start)
    about.unlink(missing_ok=True)  # it is written last and vouches for the weights beside it
    facts = data.facts
    save(
        model.cpu(),
        folder,
        key=key,
        task=facts.task,
        class_names=[item.name for item in facts.classes],
        start="imagenet" if start else "random",
        training_images=len(training_images(data, p)),
        history=history,
        paper_optimizer_history=paper_history,
    )
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    return model, read_json(about)


def fit_classifier(
    data: Images, p: Parameters, checkpoint: Path, start: dict[str, Tensor] | None = None
) -> tuple[Classifier, list[dict]]:
    """Train one classifier, from the weights of `start_weights` in all but the last layer.

    The paper (4.1.2): SGD, learning rate 0.001, momentum 0.9, batches of 64, at most 100 epochs,
    stop when training accuracy passes 95 % and test accuracy 90 %. We: the same values in the
    protocol ``paper``, with the rule on the validation part, because the test part would leak
    (CLS06). Other protocols may choose another optimizer; each page says which.

    Returns:
        The trained model and its history.
    """
    device = pick_device(p.device)
    train, validation = training_images(data, p), data.in_part("val")
    multi_label, classes = data.facts.multi_label, len(data.facts.classes)
    torch.manual_seed(p.seed)
    model = Classifier(p.classifier, classes, data.size)
    if start:
        own = model.network.state_dict()
        fitting = {name: value for name, value in start.items() if own[name].shape == value.shape}
        model.network.load_state_dict(fitting, strict=False)
    model.to(device, memory_format=torch.channels_last)
    labels = torch.from_numpy(train.labels)
    labels = labels.float() if multi_label else labels.long()
    batches = epoch_batches(train.images, labels, p.classifier_batch, p.seed, device)
    steps = -(-len(train) // p.classifier_batch)
    optimizer, schedule = _optimizer(model, p, steps * p.classifier_epochs)
    # Training accuracy on a sample, so that measuring costs less than the epoch itself.
    seen = np.random.default_rng(p.seed).permutation(len(train))[: 2 * len(validation)]
    sample = train.take(np.sort(seen))

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        output = network(batch[0])
        if multi_label:
            return F.binary_cross_entropy_with_logits(output, batch[1])
        return F.cross_entropy(output, batch[1])

    def evaluate(network: nn.Module, epoch: int) -> dict[str, float]:
        found = {}
        for name, part in (("train", sample), ("validation", validation)):
            values = logits(network, part.images, device)
            decisions = decide(values, multi_label, p.classifier_threshold)
            found[f"{name}_accuracy"] = classification.accuracy(part.labels, decisions)
        return found

    def stop(history: list[dict]) -> bool:
        last = history[-1]
        return (
            last["train_accuracy"] > p.classifier_stop_train
            and last["validation_accuracy"] > p.classifier_stop_validation
        )

    history = fit(
        model, loss, batches, evaluate, optimizer=optimizer, schedule=schedule,
        epochs=p.classifier_epochs, steps_per_epoch=steps, checkpoint=checkpoint,
        key=fingerprint([CODE, p.key("classifier"), data.provenance.md5, start is None]), stop=stop,
        precision=p.classifier_precision, device=device, label=p.classifier,
    )  # fmt: skip
    return model, history


def paper_optimizer(p: Parameters) -> Parameters:
    """The same run with the paper's optimizer (CLS03), for ``classifier_paper_epochs`` epochs."""
    return p.model_copy(
        update={
            "classifier_optimizer": "sgd",
            "classifier_schedule": "constant",
            "classifier_learning_rate": 0.001,
            "classifier_momentum": 0.9,
            "classifier_weight_decay": 0.0,
            "classifier_batch": 64,
            "classifier_epochs": p.classifier_paper_epochs,
        }
    )
