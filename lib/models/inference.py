"""Run a network on stored images: evaluation mode, float32, batches that fit in memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.data import to_tensor
from lib.params.device import halved, is_out_of_memory, native_bfloat16, no_tf32, pick_device
from lib.params.errors import InputError, check_name, check_number, first_line, shortened

Network = nn.Module | Callable[[Tensor], Tensor]
Device = str | torch.device | None
# Images, and pixels in all, of a batch where the user sets no size. A map of 64 features takes
# 64 MB on a CPU and 1 GB on a GPU.
LIMITS = {"cpu": (64, 2**18), "cuda": (256, 2**22)}


def placed(model: Network, device: Device = None) -> torch.device:
    """The device of a network, moved there first if one is named, ``auto`` included.

    A function is assumed to run on the CPU if no device is named.

    Raises:
        InputError: no such device here, or the network has no weights.
    """
    tensors = chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else ()
    own = next((tensor.device for tensor in tensors), torch.device("cpu"))
    if own.type == "meta":
        raise InputError("The model is on the device 'meta': it has no weights, load them first.")
    if device is None:
        return own
    device = pick_device(device)
    if isinstance(model, nn.Module):
        model.to(device)
    return device


def check_network(what: str, network: Any) -> None:
    """Refuse what cannot be called with images, such as a class instead of its object."""
    if not callable(network) or isinstance(network, type):
        raise InputError(
            f"The {what} is {shortened(network)}: give a module or a function of images."
        )


def in_float32(model: Network) -> str:
    """What to do about weights that float32 images cannot meet, for a message; '' for nothing."""
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    kinds = {weight.dtype for weight in weights if weight.is_floating_point()} - {torch.float32}
    return f"; its weights are {kinds.pop()}, so call float() on it" if kinds else ""


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16; ``auto`` is bfloat16 where the device computes in it."""
    check_name("precision", precision, ("auto", "float32", "bfloat16"))
    return precision == "bfloat16" or (precision == "auto" and native_bfloat16(device))


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without gradients and in all bits of float32; see `no_tf32`."""
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with no_tf32(), torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def evaluating(model: Network) -> Iterator[None]:
    """Put a network in evaluation mode; parts that were in training mode return to it."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def batch_for(height: int, width: int, device: torch.device) -> int:
    """Images of a size that a network takes at once; see `LIMITS`."""
    images, pixels = LIMITS.get(device.type, LIMITS["cpu"])
    return min(images, max(1, pixels // max(1, height * width)))


def outputs(
    model: Network, images: np.ndarray, device: Device = None, batch: int = 0
) -> Iterator[Tensor]:
    """Outputs of a network for stored images, batch by batch: float32, on the CPU.

    Args:
        model: module or function on images (N, C, H, W) in 0..1; used in evaluation mode.
        images: uint8 (N, H, W, C).
        device: where it runs, ``auto`` included, and is left; None for where it is.
        batch: images at once, 0 for `batch_for`; halved when memory runs out. A result depends on
            it by float rounding at most.

    Raises:
        InputError: neither module nor function, no such device, a batch below 0, the network fails
            on the images or does not give one output for each, or memory does not hold one image.
    """
    check_network("network", model)
    check_number("batch", batch, 0, math.inf, whole=True)
    device, start = placed(model, device), 0
    batch = batch or batch_for(*images.shape[1:3], device)
    while start < len(images):
        part = to_tensor(images[start : start + batch]).to(device)
        try:
            with evaluating(model), full_precision(device):
                found = model(part)
                found = found.float().cpu() if isinstance(found, Tensor) else found
        except InputError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                batch = halved(batch, error)
                continue
            raise InputError(
                f"The network fails on float32 images of shape {tuple(part.shape)} "
                f"({first_line(error)}){in_float32(model)}."
            ) from error
        if not isinstance(found, Tensor) or found.shape[:1] != part.shape[:1]:
            made = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"The network gives {made} for {len(part)} images: it needs a tensor with one "
                "output for each."
            )
        yield found.clone()  # no inference tensor, as the caller may need gradients
        start += len(part)
