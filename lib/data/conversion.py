"""Stored images and tensors: 8-bit values to floats in 0..1 and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.params.errors import InputError, check_images, first_line


def as_array(what: str, values: Any) -> np.ndarray:
    """What was given of numpy or torch as an array, without a copy where there is none to make.

    Args:
        what: it is, the beginning of an error message.
        values: anything that NumPy makes an array of; tensors of any device.

    Raises:
        InputError: NumPy has no such array.
    """
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{what} must be one array of one shape: these make none ({first_line(error)})."
        ) from None


def as_labels(what: str, labels: Any, count: int) -> np.ndarray:
    """Labels as a contiguous array, integers (N,) or 0/1 (N, L).

    Args:
        what: they are, the beginning of an error message.
        labels: of numpy or torch, or a list.
        count: of the images, N.

    Raises:
        InputError: another type, shape or value.
    """
    array = as_array(what, labels)
    if (array.size and array.dtype.kind not in "iub") or array.ndim not in (1, 2):
        raise InputError(
            f"{what} are {array.dtype} of shape {array.shape}: give integers, classes (N,) or "
            "0/1 labels (N, L)."
        )
    if len(array) != count:
        raise InputError(f"{what} are {len(array)} for {count} images: give one for each image.")
    if array.ndim == 2 and array.size and not 0 <= array.min() <= array.max() <= 1:
        raise InputError(
            f"{what} of shape {array.shape} go from {array.min()} to {array.max()}: give one "
            "class per image (N,), or labels of 0 and 1 (N, L)."
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def as_images(what: str, /, **images: Any) -> tuple[np.ndarray, ...]:
    """Stored images as arrays uint8 (N, H, W, C), without a copy where there is none to make.

    Args:
        what: what they are for, the beginning of an error message.
        images: by name, uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch.

    Raises:
        InputError: another type or shape, or shapes that differ.
    """
    arrays = {name: as_array(what, each) for name, each in images.items()}
    for name, array in arrays.items():
        # (H, W, 1 or 3) is one image without its N, which would pass for a stack of gray ones.
        if array.ndim == 3 and array.shape[2] not in (1, 3):
            arrays[name] = array[..., None]
    check_images(what, **arrays)
    return tuple(arrays.values())


def like(given: Any, array: np.ndarray) -> Any:
    """An array (N, H, W, C) in the shape and the kind, numpy or torch, of the images given."""
    array = array.reshape(np.shape(given))
    return torch.from_numpy(array).to(given.device) if isinstance(given, Tensor) else array


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) as float32 (N, C, H, W) in 0..1."""
    return unit(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))


def unit(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """8-bit values as floats in 0..1, the same on every device."""
    # CUDA multiplies by the reciprocal of a Python number, half of the time off by one bit.
    return values.to(dtype) / torch.full((), 255, dtype=dtype, device=values.device)


def rounded(tensor: Tensor) -> Tensor:
    """Floats in 0..1 as 8-bit values, float32 in 0..255: clipped, rounded half up (GEN07)."""
    return tensor.float().mul(255).add_(0.5).floor_().clamp_(0, 255)


def to_uint8(tensor: Tensor) -> np.ndarray:
    """Floats (N, C, H, W) as uint8 (N, H, W, C): clipped to 0..1, rounded half up.

    Raises:
        ValueError: the tensor has a NaN.
    """
    values = tensor.detach().cpu()
    if values.isnan().any():
        raise ValueError("An image with NaN has no 8-bit form: the network has diverged.")
    return rounded(values).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
