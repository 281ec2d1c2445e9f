"""Random numbers that depend on the image, the generation and the member, and on nothing else.

A counter-based generator has no state: the draw for (image, generation, member, slot) is a hash
of these numbers. An image therefore meets the same numbers alone or in a batch, on any device,
and after a resume. The hash is SplitMix64 (Steele, Lea and Flood 2014) in wrapping 64-bit
integers.
"""

import hashlib
import zlib

import numpy as np
import torch
from torch import Tensor

from lib.params.errors import InputError

MOST = 1 << 16  # members of a population, or draws of a member, that a counter tells apart


def _signed(x: int) -> int:
    """The number modulo 2**64 as a signed 64-bit one, torch's integer type."""
    x %= 1 << 64
    return x - (1 << 64) if x >> 63 else x


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_BITS = 31  # of each draw; an integer below n comes out with a bias of at most n / 2**31


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's is arithmetic on signed integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's output function on an int64 tensor."""
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def image_keys(
    seed: int, purpose: str, dataset: str, splits: list[str], indices: list[int]
) -> Tensor:
    """One stream key for each image, int64 (N,): a hash of all that is given.

    ``purpose`` keeps apart the streams of different uses, such as one- and two-pixel attacks;
    ``splits`` and ``indices`` are the npz split of each image and its row there.
    """
    names = {split: zlib.crc32(f"{purpose}/{dataset}/{split}".encode()) for split in set(splits)}
    rows = [_signed((names[s] << 32) + i) for s, i in zip(splits, indices, strict=True)]
    return mix(mix(torch.tensor(rows, dtype=torch.int64)) + _signed(seed * _GAMMA))


def content_keys(seed: int, purpose: str, images: np.ndarray) -> Tensor:
    """One stream key for each image, int64 (N,): a hash of seed, purpose and the image's bytes.

    Images are uint8 (N, ...). One has the same key wherever it stands and whatever it comes with;
    equal images share one.
    """
    texts = (repr((purpose, image.shape)).encode() + image.tobytes() for image in images)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    rows = [int.from_bytes(digest, "little", signed=True) for digest in digests]
    return mix(torch.tensor(rows, dtype=torch.int64) + _signed(seed * _GAMMA))


def bits(keys: Tensor, generation: Tensor, members: int, slots: int) -> Tensor:
    """Random integers in [0, 2**31), int64 (N, members, slots).

    Args:
        keys: stream of each image, int64 (N,).
        generation: int64 (N,); each image may be in another one.
        members, slots: of the population, and draws for each of them.

    Raises:
        InputError: more than `MOST` members, or as many slots: they would share draws.
    """
    if members > MOST or slots >= MOST:
        raise InputError(
            f"{members} members of {slots} random numbers are too many: at most {MOST} members "
            f"and {MOST - 1} numbers are kept apart."
        )
    member = torch.arange(members, device=keys.device).view(1, -1, 1)
    slot = torch.arange(slots, device=keys.device).view(1, 1, -1)
    counter = (generation.view(-1, 1, 1) << 32) + (member << 16) + slot + 1
    return _shift(mix(keys.view(-1, 1, 1) + counter * _GAMMA), 64 - _BITS)


def below(draws: Tensor, n: int | Tensor) -> Tensor:
    """Uniform integers in [0, n) from `bits`; exact integer arithmetic, the same everywhere."""
    return (draws * n) >> _BITS
