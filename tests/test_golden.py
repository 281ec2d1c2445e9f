"""Frozen attacks are found again, and best1bin is SciPy's own."""

import json

import golden
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize._differentialevolution import DifferentialEvolutionSolver

from lib.attack import differential_evolution
from lib.data import counter_rng

FROZEN = json.loads(golden.FILE.read_text())
SAME = FROZEN["machine"] == golden.machine()


def assert_same(found, expected, tolerance):
    assert len(found) == len(expected)
    for ours, frozen in zip(found, expected, strict=True):
        for name, value in frozen.items():
            if name in ("p_before", "p_after"):
                value = pytest.approx(value, rel=tolerance, abs=tolerance)
            assert ours[name] == value, (name, frozen)


@pytest.mark.parametrize("number", range(len(golden.EXACT)), ids=str)
def test_exact_attacks(number):
    found = golden.exact_records(*golden.EXACT[number])
    # Elsewhere an exponential may end in another bit.
    assert_same(found, FROZEN["exact"][number], 0 if SAME else 1e-6)


@pytest.mark.parametrize("number", range(len(golden.NETWORKS)), ids=golden.NETWORKS)
def test_attacks_on_deep_networks(number):
    found = golden.deep_records(golden.NETWORKS[number])
    # Processors of two makers add in another order, even with the same instructions.
    assert_same(found, FROZEN["deep"][number], 1e-4)


class Draws:
    """Hands SciPy's solver the numbers that one image draws in one generation."""

    def __init__(self, partners, factor, fill, uniform):
        self.partners, self.factor, self.fill, self.drawn = iter(partners), factor, fill, uniform

    def uniform(self, low=0.0, high=1.0, size=None):
        if size is None:
            return self.factor
        assert size == self.drawn.shape  # another one would be for genes out of bounds
        return self.drawn

    def shuffle(self, order):
        first = next(self.partners)
        rest = [member for member in sorted(order) if member not in first]
        order[:] = [*first, *rest]

    def randint(self, low, high=None, size=None, dtype=None):
        assert size == len(self.fill)
        return self.fill


@given(st.integers(0, 2**31), st.integers(1, 2), st.sampled_from([0.3, 0.7, 1.0]))
@settings(max_examples=10)
def test_best1bin_proposes_what_scipy_proposes(seed, pixels, crossover):
    """Member by member, before the bounds: SciPy draws a gene outside anew, we clip it.

    SciPy gets the draws as indices of partners, the gene that always mutates, and uniform numbers:
    how these are made of random bits is each program's own.
    """
    population, genes = 9, 3 * pixels
    generator = torch.Generator().manual_seed(seed)
    members = torch.randint(100, 157, (2, population, genes), generator=generator)
    scores = torch.rand(2, population, generator=generator) + 1
    scores[:, 0] = 0  # where SciPy keeps its best
    keys, generation = counter_rng.mix(torch.arange(2) + seed), torch.tensor([1, 7])
    limits = torch.full((genes,), 257)
    found = differential_evolution.best1bin(
        members, scores, keys, generation, limits, [0.5, 1.0], crossover
    )
    partners = differential_evolution.partners(keys, generation, population)[..., :2].numpy()
    draws = counter_rng.bits(keys, generation, population, 5 + genes)[..., 3:].numpy()
    for image in range(2):
        uniform = draws[image] / 2**31
        asked = []

        def score(candidate, asked=asked, image=image):
            asked.append(candidate)
            return float(scores[image, len(asked) - 1]) if len(asked) <= population else 9.0

        solver = DifferentialEvolutionSolver(
            score, [(0, 256)] * genes, init=members[image].numpy(), recombination=crossover,
            mutation=(0.5, 1.0), updating="deferred", strategy="best1bin", polish=False,
        )  # fmt: skip
        solver.random_number_generator = Draws(
            partners[image].tolist(),
            0.5 + 0.5 * uniform[0, 0],
            draws[image, :, 1] * genes >> 31,
            uniform[:, 2:],
        )
        next(solver)
        trials = np.round(asked[population:]).astype(int)  # half to even, as torch rounds
        assert found[image].tolist() == trials.tolist()
        assert (trials != members[image].numpy()).any(1).sum() > population / 2
