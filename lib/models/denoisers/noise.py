"""Random-valued impulse noise, which the denoisers are trained on (NOI01)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.data import PARTS, as_images, counter_rng, like, to_tensor, to_uint8
from lib.params.errors import InputError, check_name, check_number

CHUNK = 64  # stored images made noisy at a time


def impulse_noise(images: Tensor, level: float | Tensor, keys: Tensor, salt: int) -> Tensor:
    """Replace each pixel with probability ``level`` by a random color (NOI01).

    The paper (3.1.2): the color is uniform in the unit cube. We: the same on the 256 values of a
    stored image, so that a noisy image can be stored too. All channels of a pixel are replaced
    together. Each image has its own random stream, from its key and the salt, whatever the batch or
    the device.

    Args:
        images: float32 (N, C, H, W) in 0..1, at most 65,536 pixels each.
        level: share of pixels in 0..1, or one for each image, (N,).
        keys: int64 (N,), from ``lib.data.counter_rng.image_keys``.
        salt: the epoch, so that noise is fresh in each (NOI07).

    Raises:
        InputError: images of another type or shape, a level outside 0..1, another number of keys,
            or too large an image.
    """
    if images.dtype != torch.float32 or images.ndim != 4:
        raise InputError(
            f"Noise needs images float32 (N, C, H, W) in 0..1, not {images.dtype} of shape "
            f"{tuple(images.shape)}."
        )
    count, channels, height, width = images.shape
    level = torch.as_tensor(level, dtype=torch.float64, device="cpu")
    if level.numel() and not (level.min() >= 0 and level.max() <= 1):
        raise InputError(f"A noise level is a share of pixels in 0..1, not {level.tolist()}.")
    keys = torch.as_tensor(keys)
    if keys.dtype != torch.int64 or keys.shape != (count,) or level.numel() not in (1, count):
        raise InputError(
            f"{count} images need as many keys, int64 (N,), and one level or as many, not keys "
            f"{keys.dtype} of shape {tuple(keys.shape)} and {level.numel()} levels."
        )
    if height * width > 2**16:
        raise InputError(
            f"Noise is made for images of 65,536 pixels at most, not {height * width}."
        )
    keys = keys.to(images.device)
    draws = counter_rng.bits(keys, torch.full_like(keys, salt), height * width, 1 + channels)
    draws = draws.transpose(1, 2).unflatten(2, (height, width))
    threshold = (level * 2**31).long().to(images.device).view(-1, 1, 1, 1)
    colors = counter_rng.below(draws[:, 1:], 256).to(images.dtype) / 255
    return torch.where(draws[:, :1] < threshold, colors, images)


def corrupt(images: Any, level: float, seed: int = 0, part: str = "test") -> Any:
    """A noisy copy of stored images, in the shape and type given (NOI07, NOI08).

    Images are uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch; ``level`` is the share of
    pixels in 0..1. The noise is fixed by the seed, the part (``train``, ``val`` or ``test``) and
    the position of the image.

    Raises:
        InputError: images of another type or shape, another part or seed (64 bits), or as
            `impulse_noise`.
    """
    given, (images,) = images, as_images("Images to corrupt", images=images)
    check_number("level", level, 0, 1)
    check_number("seed", seed, -(1 << 63), (1 << 63) - 1, whole=True)
    check_name("part", part, PARTS)
    count = len(images)
    keys = counter_rng.image_keys(int(seed), "noise", "", [part] * count, list(range(count)))
    noisy = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        noisy[rows] = to_uint8(impulse_noise(to_tensor(images[rows]), level, keys[rows], salt=0))
    return like(given, noisy)
