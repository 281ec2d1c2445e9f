"""Differential evolution over pixels: genes on the 8-bit grid, one population for each image.

A pixel is (row, column, value) in gray and (row, column, red, green, blue) in color (ATK12);
two pixels are twice as many genes (ATK17). All functions are batched over images.
"""

import math

import torch
from torch import Tensor

from lib.data import counter_rng

INITIAL_SD = 127.0  # of "normal" starts, around mid-gray, as in Su et al. (ATK13)


def gene_limits(
    pixels: int, height: int, width: int, channels: int, device: torch.device
) -> Tensor:
    """Number of values of each gene, int64 (genes,): height, width, 256 a channel, repeated."""
    one = [height, width, *[256] * channels]
    return torch.tensor(one * pixels, device=device)


def initial_population(
    keys: Tensor, population: int, limits: Tensor, channels: int, start: str
) -> Tensor:
    """First population, int64 (N, population, genes).

    Args:
        keys: stream of each image (N,).
        population: members.
        limits: of `gene_limits`.
        channels: color channels.
        start: ``uniform``, or ``normal`` for values around mid-gray (positions stay uniform).
    """
    genes = len(limits)
    zero = torch.zeros_like(keys)
    draws = counter_rng.bits(keys, zero, population, 2 * genes)
    uniform = counter_rng.below(draws[..., :genes], limits)
    if start == "uniform":
        return uniform
    u = (draws.double() + 0.5) / 2**31
    normal = torch.sqrt(-2 * u[..., :genes].log()) * torch.cos(2 * math.pi * u[..., genes:])
    values = (128 + INITIAL_SD * normal).round().clamp(0, 255).long()
    is_position = torch.arange(genes, device=keys.device) % (2 + channels) < 2
    return uniform.where(is_position, values)


def partners(keys: Tensor, generation: Tensor, population: int) -> Tensor:
    """Three different members, none the parent itself, for each member, int64 (N, population, 3).

    The n-th partner is drawn among those left and moved past the ones taken, so all ordered
    triples are equally likely.
    """
    draws = counter_rng.bits(keys, generation, population, 3)
    taken = torch.arange(population, device=keys.device).view(1, -1, 1)
    taken = taken.expand(len(keys), -1, 1)
    for n in range(3):
        chosen = counter_rng.below(draws[..., n], population - 1 - n)
        for other in taken.sort(2).values.unbind(2):
            chosen = chosen + (chosen >= other)
        taken = torch.cat([taken, chosen.unsqueeze(2)], 2)
    return taken[..., 1:]


def rand1(
    members: Tensor, keys: Tensor, generation: Tensor, limits: Tensor, factor: float
) -> Tensor:
    """DE/rand/1 without crossover (ATK04, ATK07): a + F (b - c), rounded and clipped (ATK14).

    Args:
        members: population, int64 (N, population, genes).
        keys: (N,).
        generation: of the children, int64 (N,), from 1.
        limits: of `gene_limits`.
        factor: F (ATK06).
    """
    rows = torch.arange(len(members), device=members.device).view(-1, 1, 1)
    a, b, c = members[rows, partners(keys, generation, members.shape[1])].double().unbind(2)
    mutant = (a + factor * (b - c)).round().long()
    return mutant.clamp(min=0).minimum(limits - 1)


def best1bin(
    members: Tensor, scores: Tensor, keys: Tensor, generation: Tensor, limits: Tensor,
    dither: tuple[float, float], crossover: float,
) -> Tensor:  # fmt: skip
    """DE/best/1 with dither and binomial crossover, as in SciPy: best + F (b - c).

    As scipy's default ``best1bin``: F is drawn once for each image and generation, each gene is
    taken from the mutant with the probability ``crossover``, one of them always. Genes are
    clipped as in `rand1`, where scipy draws those outside anew.

    Args:
        members, keys, generation, limits: as for `rand1`.
        scores: of the members (N, population), lower is better.
        dither: lower and upper bound of F.
        crossover: probability, 0..1.
    """
    count, population, genes = members.shape
    rows = torch.arange(count, device=members.device)
    best = members[rows, scores.argmin(1)].unsqueeze(1).double()
    index = partners(keys, generation, population)[..., :2]
    b, c = members[rows.view(-1, 1, 1), index].double().unbind(2)
    # The first three draws of a member choose its partners.
    draws = counter_rng.bits(keys, generation, population, 5 + genes)[..., 3:]
    uniform = draws.double() / 2**31
    low, high = dither
    factor = (low + (high - low) * uniform[:, :1, :1]).expand(-1, population, 1)
    mutant = (best + factor * (b - c)).round().long().clamp(min=0).minimum(limits - 1)
    always = counter_rng.below(draws[..., 1:2], genes) == torch.arange(genes, device=keys.device)
    return mutant.where((uniform[..., 2:] < crossover) | always, members)


def paint(images: Tensor, candidates: Tensor) -> Tensor:
    """Write candidates into copies of their images.

    Args:
        images: uint8 (N, C, H, W).
        candidates: int64 (N, population, genes); later pixels overwrite earlier ones.

    Returns:
        uint8 (N * population, C, H, W).
    """
    count, population, genes = candidates.shape
    channels = images.shape[1]
    painted = images.repeat_interleave(population, 0)
    rows = torch.arange(count * population, device=images.device)
    for pixel in candidates.view(count * population, -1, 2 + channels).unbind(1):
        painted[rows, :, pixel[:, 0], pixel[:, 1]] = pixel[:, 2:].to(torch.uint8)
    return painted
