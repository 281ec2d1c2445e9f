"""Random streams and differential evolution on the 8-bit grid."""

import numpy as np
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.attack.differential_evolution import (
    gene_limits,
    initial_population,
    paint,
    partners,
    rand1,
)
from lib.data import counter_rng

CPU = torch.device("cpu")


def splitmix(seed: int, count: int) -> list[int]:
    """SplitMix64 in Python's own integers (Steele, Lea and Flood 2014)."""
    mask, found = (1 << 64) - 1, []
    for n in range(1, count + 1):
        z = (seed + n * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 5))
def test_streams_are_splitmix64(seed, slots):
    draws = counter_rng.bits(torch.tensor([seed]), torch.tensor([0]), 1, slots)
    assert draws.flatten().tolist() == [value >> 33 for value in splitmix(seed, slots)]


def test_splitmix64_golden_values():
    # The first outputs for seed 1234567 that implementations of the generator are checked against.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    draws = counter_rng.bits(torch.tensor([1234567]), torch.tensor([0]), 1, 3)
    assert draws.flatten().tolist() == [value >> 33 for value in known]


def test_a_stream_depends_on_its_image_only():
    together = counter_rng.image_keys(7, "one", "derma", ["test", "val", "test"], [3, 3, 9])
    alone = counter_rng.image_keys(7, "one", "derma", ["test"], [9])
    assert together[2] == alone[0]
    assert len(set(together.tolist())) == 3
    for other in ((8, "one", "derma"), (7, "two", "derma"), (7, "one", "oct")):
        assert counter_rng.image_keys(*other, ["test"], [9]) != alone
    generations = torch.tensor([4, 0, 2])
    draws = counter_rng.bits(together, generations, 5, 3)
    assert torch.equal(draws[2:], counter_rng.bits(alone, torch.tensor([2]), 5, 3))


def test_draws_are_uniform():
    draws = counter_rng.bits(torch.arange(200), torch.zeros(200, dtype=torch.long), 50, 10)
    counts = torch.bincount(counter_rng.below(draws, 7).flatten(), minlength=7).double()
    expected = draws.numel() / 7
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert len(counts) == 7 and chi_squared < 27.9  # 99.99 % quantile with 6 degrees of freedom


@given(st.integers(4, 9), st.integers(0, 2**31))
@settings(max_examples=25)
def test_partners_are_three_others(population, seed):
    found = partners(torch.tensor([seed]), torch.tensor([1]), population)[0]
    for member, row in enumerate(found.tolist()):
        assert len({member, *row}) == 4 and all(0 <= other < population for other in row)


def test_partners_are_equally_likely():
    keys = counter_rng.mix(torch.arange(4000))
    found = partners(keys, torch.ones(4000, dtype=torch.long), 5)[:, 2]
    codes, counts = torch.unique(found[:, 0] * 25 + found[:, 1] * 5 + found[:, 2],
                                 return_counts=True)  # fmt: skip
    expected = 4000 / 24
    assert len(codes) == 24
    assert ((counts.double() - expected) ** 2 / expected).sum() < 55  # 99.98 %, 23 degrees


@pytest.mark.parametrize(("channels", "pixels"), [(1, 1), (3, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("start", ["uniform", "normal"])
def test_genes_stay_on_the_grid(channels, pixels, start):
    keys = counter_rng.mix(torch.arange(3))
    limits = gene_limits(pixels, 30, 20, channels, CPU)
    assert limits.tolist() == [30, 20, *[256] * channels] * pixels
    members = initial_population(keys, 40, limits, channels, start)
    for generation in range(1, 5):
        assert members.dtype == torch.int64
        assert (members >= 0).all() and (members < limits).all()
        members = rand1(members, keys, torch.full((3,), generation), limits, 0.5)


def test_normal_start_is_around_mid_gray_and_uniform_is_flat():
    keys = counter_rng.mix(torch.arange(50))
    limits = gene_limits(1, 30, 20, 1, CPU)
    normal = initial_population(keys, 100, limits, 1, "normal")[..., 2].double()
    uniform = initial_population(keys, 100, limits, 1, "uniform")[..., 2].double()
    assert abs(uniform.mean() - 127.5) < 4 and abs((uniform < 64).double().mean() - 0.25) < 0.03
    assert abs(normal.mean() - 128) < 4
    # A normal of deviation 127 clipped to 0..255 has 15.9 % at each end.
    assert abs((normal == 0).double().mean() - 0.157) < 0.015
    assert abs((normal == 255).double().mean() - 0.157) < 0.015


@pytest.mark.parametrize("channels", [1, 3])
def test_paint_changes_the_named_pixels_and_no_other(channels):
    images = torch.randint(0, 256, (2, channels, 9, 7), dtype=torch.uint8)
    limits = gene_limits(2, 9, 7, channels, CPU)
    candidates = initial_population(torch.tensor([1, 2]), 30, limits, channels, "uniform")
    painted = paint(images, candidates)
    for i in range(2):
        for j in range(30):
            expected = images[i].clone()
            for pixel in candidates[i, j].view(2, -1).tolist():
                for channel in range(channels):
                    expected[channel, pixel[0], pixel[1]] = pixel[2 + channel]
            assert torch.equal(painted[i * 30 + j], expected)


def test_more_members_than_a_counter_tells_apart_are_refused():
    key, zero = torch.tensor([1]), torch.tensor([0])
    counter_rng.bits(key, zero, 1 << 16, 1)
    with refused():
        counter_rng.bits(key, zero, (1 << 16) + 1, 1)
    with refused():
        counter_rng.bits(key, zero, 1, 1 << 16)


def test_an_images_key_is_its_content():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 1), np.uint8)
    images[2] = images[0]
    keys = counter_rng.content_keys(7, "purpose", images).tolist()
    assert keys[0] == keys[2] != keys[1]
    assert counter_rng.content_keys(7, "purpose", images[1:2]).tolist() == keys[1:2]
    assert counter_rng.content_keys(8, "purpose", images).tolist() != keys
    assert counter_rng.content_keys(7, "another", images).tolist() != keys
    assert counter_rng.content_keys(7, "purpose", images.transpose(0, 2, 1, 3)).tolist() != keys
    assert len(counter_rng.content_keys(7, "purpose", images[:0])) == 0
