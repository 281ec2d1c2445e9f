"""One training loop for classifiers and denoisers: checkpoint, resume, progress, early stop.

A checkpoint is one safetensors file: tensors of model and optimizer, everything else as JSON in its
metadata. It is written after each epoch and keyed to the settings: an interrupted training is
resumed, changed settings start anew. Batches depend on the epoch number alone, so a resumed run
equals an uninterrupted one, on a GPU up to the order of its sums.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.models.inference import Device, full_precision, placed, uses_bfloat16
from lib.models.weights import write_tensors
from lib.params.device import is_out_of_memory, no_tf32
from lib.params.errors import InputError, check_number, shortened
from lib.params.files import fingerprint

Batch = tuple[Tensor, ...]


MOST_SEED = 1 << 43  # times what separates the epochs of two seeds is a number of 64 bits
STEPS = 1_000_003  # separates the epochs, or the steps, of two seeds


def check_training(
    model: nn.Module, epochs: int, batch: int, learning_rate: float, seed: int
) -> tuple[int, int, float, int]:
    """Settings of a training as numbers of Python; those outside their range are refused."""
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    if not any(weight.requires_grad for weight in weights):
        raise InputError(
            f"The model is {shortened(model)}, of which nothing can be trained: give a module with "
            "weights that require a gradient."
        )
    return (
        check_number("epochs", epochs, 0, math.inf, whole=True),
        check_number("batch", batch, 1, math.inf, whole=True),
        check_number("learning_rate", learning_rate, 0, math.inf, ends="()"),
        check_number("seed", seed, 0, MOST_SEED, whole=True),
    )


def save_checkpoint(path: Path, key: str, model, optimizer, schedule, history: list[dict]) -> None:
    """Write everything needed to resume a training; see `fit`."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    # All that SGD, Adam and AdamW keep of a weight are tensors.
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    meta = {"key": key, "history": history, "optimizer": {"groups": state["param_groups"]}}
    meta["schedule"] = schedule.state_dict() if schedule else None
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_tensors(path, copies, json.dumps(meta, default=str))


def _resume(path: Path, key: str, model, optimizer, schedule) -> list[dict]:
    """History of a checkpoint with this key, its state loaded; [] where there is none."""
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["state"])
            if meta["key"] != key:
                return []
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError):
        raise InputError(
            f"Checkpoint {path} is damaged or no file: move it away, and the training begins again."
        ) from None
    part = {
        prefix: {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "optimizer.")
    }
    model.load_state_dict(part["model."])
    moments: dict[int, dict[str, Tensor]] = {}
    for at, value in part["optimizer."].items():
        index, _, name = at.partition(".")
        moments.setdefault(int(index), {})[name] = value
    groups = meta["optimizer"]["groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                # Fused optimizers go by memory, so moments must lie as their weights do.
                state[name] = torch.empty_like(parameter).copy_(value)
    if schedule:
        schedule.load_state_dict(meta["schedule"])
    return meta["history"]


def key_of(model: nn.Module, arrays: tuple[np.ndarray, ...], settings: Any) -> str:
    """Fingerprint of what determines a training: network, first weights, arrays and settings."""
    digest = hashlib.sha256()
    weights = (value.detach().cpu().numpy() for value in model.state_dict().values())
    for values in (*weights, *arrays):
        digest.update(np.ascontiguousarray(values))
    shapes = [array.shape for array in arrays]
    return fingerprint([str(model), digest.hexdigest(), shapes, settings])


def throughput(history: list[dict]) -> tuple[float, float | None]:
    """Seconds of a training without validation, and images a second (None without seconds)."""
    seconds = sum(epoch["seconds"] for epoch in history)
    images = sum(epoch["seconds"] * epoch["images_per_second"] for epoch in history)
    return round(seconds, 3), round(images / seconds, 1) if seconds else None


@contextmanager
def _drawing(step: int, seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators set for one step of a training, and the caller's set back after it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed * STEPS + step)
        yield


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: Callable[[int], Iterable[Batch]],
    evaluate: Callable[[nn.Module, int], dict[str, float]],
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    steps_per_epoch: int,
    checkpoint: Path | None = None,
    key: str = "",
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    stop: Callable[[list[dict]], bool] | None = None,
    precision: str = "float32",
    device: Device = None,
    label: str = "the model",
    seed: int = 0,
) -> list[dict]:
    """Train ``model`` in place and leave it in evaluation mode.

    Args:
        loss: scalar loss of a batch.
        batches: the batches of an epoch (0, 1, ...), the same whenever it is asked for.
        evaluate: measures after an epoch, in evaluation mode and float32 whatever ``precision``.
        optimizer: of the model's parameters.
        epochs: maximum.
        steps_per_epoch: batches per epoch, for the progress bar.
        checkpoint: file written after each epoch, kept until the caller removes it.
        key: fingerprint of the settings; a checkpoint with another key is not resumed.
        schedule: stepped after each batch.
        stop: called with the history after each epoch; True ends the training.
        precision: ``float32``, ``bfloat16`` (autocast; weights stay float32) or ``auto``.
        device: where it runs, ``auto`` included; None for where the model is.
        label: name of the model in progress bar and messages.
        seed: of what the model draws itself, as dropout does; torch's generator is left as it was.

    Returns:
        One dictionary per epoch: epoch (from 1), loss, seconds, images_per_second, and what
            ``evaluate`` returned.

    Raises:
        InputError: the loss is not finite, memory does not hold a batch, the checkpoint is damaged
            or has more epochs, or an unknown precision or device.
    """
    device, checkpoint = placed(model, device), Path(checkpoint) if checkpoint else None
    autocast = uses_bfloat16(precision, device)
    history = _resume(checkpoint, key, model, optimizer, schedule) if checkpoint else []
    if len(history) > epochs:
        raise InputError(
            f"Checkpoint {checkpoint} has {len(history)} epochs, and {epochs} are asked for: move "
            f"it away, or ask for {len(history)} or more."
        )
    while len(history) < epochs and not (history and stop and stop(history)):
        epoch = len(history)
        model.train()
        started, total, images = time.monotonic(), 0.0, 0
        bar = tqdm(
            batches(epoch), f"{label} {epoch + 1}/{epochs}", steps_per_epoch, leave=False,
            mininterval=2,
        )  # fmt: skip
        for step, batch in enumerate(bar):
            optimizer.zero_grad(set_to_none=True)
            try:
                with _drawing(epoch * steps_per_epoch + step, seed, device), no_tf32():
                    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                        value = loss(model, batch)
                    value.backward()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # A smaller batch would be another training, so it is the user's to choose.
                raise InputError(
                    f"A batch of {len(batch[0])} for {label} does not fit into memory: halve the "
                    "batch size and run again."
                ) from None
            optimizer.step()
            if schedule:
                schedule.step()
            count = len(batch[0])
            total, images = total + value.item() * count, images + count
            if not math.isfinite(total):
                raise InputError(
                    f"The loss of {label} is {value.item()} in epoch {epoch + 1}: lower the "
                    "learning rate, or train in float32."
                )
        seconds = time.monotonic() - started
        model.eval()
        with full_precision(device):
            measures = evaluate(model, epoch)
        history.append({
            "epoch": epoch + 1, "loss": total / images, "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 1), **measures,
        })  # fmt: skip
        if checkpoint:
            save_checkpoint(checkpoint, key, model, optimizer, schedule, history)
    model.eval()
    return history
