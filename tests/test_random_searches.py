"""Random search and Sparse-RS, on the machinery of the attack."""

import numpy as np
import pytest
import torch
from conftest import alone
from torch import nn

from lib.attack import PixelAttack, RandomSearch, SparseRS
from lib.attack.differential_evolution import gene_limits

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("kind", [RandomSearch, SparseRS])
SMALL = {"population": 20, "generations": 10, "batch": 32}
DARK = np.full((4, 12, 12, 1), 100, np.uint8)


class Spot(nn.Module):
    """Says 1 where the pixels of the left half are brighter than a bound in the mean."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, images):
        bright = images[..., :6].mean((1, 2, 3)) * 72
        return torch.stack([self.bound + 100 / 255 * 72 - bright, torch.zeros_like(bright)], 1)


@BOTH
def test_a_success_is_one_of_the_stored_image_alone(kind):
    model = Spot(0.5).eval()
    found = kind(1, **SMALL)(model, DARK, [0] * 4)
    assert found.success.all()
    assert (alone(model, found.images).argmax(1).numpy() == 1).all()
    assert ((found.images != DARK).any(3).sum((1, 2)) == 1).all()
    assert (found.table["evaluations"] <= 20 * 11).all()


@BOTH
def test_the_whole_budget_is_spent_where_nothing_is_found(kind):
    found = kind(1, **SMALL)(Spot(2.0).eval(), DARK, [0] * 4)
    assert not found.success.any()
    assert (found.table["evaluations"] == 20 * 11).all()
    assert (np.diff([list(best) for best in found.table["best"]]) <= 0).all()


def draws(attack, channels=1, images=30):
    """First and later candidates of many images."""
    limits = gene_limits(attack.pixels, 12, 12, channels, CPU)
    keys = torch.arange(images) * 7919
    first = attack.first(keys, limits)
    scores = torch.arange(attack.population).float().expand(images, -1)
    return first, lambda generation: attack.proposed(
        first, scores, keys, torch.full((images,), generation), limits
    )


def test_random_search_draws_all_genes_anew_and_evenly():
    first, later = draws(RandomSearch(1, population=100))
    assert torch.equal(first, draws(PixelAttack(1, population=100))[0])
    new = torch.cat([later(1), later(2)])
    assert (new[:30] != new[30:]).any(2).float().mean() > 0.99
    for gene, limit in enumerate((12, 12, 256)):
        values = new[..., gene].flatten().double()
        assert values.min() >= 0 and values.max() < limit
        assert abs(values.mean() / (limit - 1) - 0.5) < 0.02


@pytest.mark.parametrize("channels", [1, 3])
def test_sparse_rs_keeps_the_best_pixels_and_draws_corners(channels):
    attack = SparseRS(10, population=50, generations=99, share=0.8)
    first, later = draws(attack, channels)
    best = first[:, :1].view(30, 1, 10, -1)
    for generation, changed in ((1, 2), (3, 1), (80, 1)):
        new = later(generation).view(30, 50, 10, -1)
        assert set(new[..., 2:].flatten().tolist()) == {0, 255}
        moved = (new != best).any(3).sum(2)
        assert moved.max() == changed and moved.double().mean() > 0.9 * changed
    assert set(first.view(30, 50, 10, -1)[..., 2:].flatten().tolist()) == {0, 255}


@pytest.mark.parametrize("generations", [99, 999])
def test_sparse_rs_stretches_its_schedule_to_the_budget(generations):
    first, later = draws(SparseRS(20, population=50, generations=generations, share=1.0))
    counts = []
    for part in (0.012, 0.04, 0.15, 0.9):
        new = later(max(1, round(part * generations)))
        counts.append((new != first[:, :1]).view(30, 50, 20, -1).any(3).sum(2).max().item())
    assert counts == [5, 4, 2, 1]
