"""Larger budgets: success never falls with restarts, generations or pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import refused
from torch import nn

from lib.attack import PixelAttack, rebuild
from lib.attack.pgd import PGD
from lib.defense.stronger import MorePixels, Restarts
from lib.models.classifiers import logits

ATTACK = PixelAttack(population=6, generations=2)


@pytest.fixture(scope="module")
def toy():
    """A linear model, images and its decisions; some need one pixel and some more."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    return model, images, logits(model, images).argmax(1)


def assert_stored(model, images, labels, found):
    """Tables say what the stored images are and do."""
    np.testing.assert_array_equal(rebuild(images[..., None], found.table)[..., 0], found.images)
    decided = logits(model, found.images, batch=1).argmax(1)
    np.testing.assert_array_equal(found.table["adversarial"], decided)
    np.testing.assert_array_equal(found.success, decided != labels)


def test_doubled_generations_begin_with_those_of_the_attack(toy):
    one, two = ATTACK(*toy), replace(ATTACK, generations=4)(*toy)
    assert (two.success >= one.success).all() and two.success.sum() > one.success.sum()
    for short, long in zip(one.table["best"], two.table["best"], strict=True):
        assert long[: len(short)] == short


def test_restarts_are_the_best_of_separate_runs(toy):
    model, images, labels = toy
    found = Restarts(ATTACK, 3)(model, images, labels)
    alone = [replace(ATTACK, seed=seed)(model, images, labels) for seed in range(3)]
    succeeded = np.array([each.success for each in alone])
    np.testing.assert_array_equal(found.success, succeeded.any(0))
    assert found.success.sum() > alone[0].success.sum() and not found.success.all()
    lowest = np.min([each.table["p_after"] for each in alone], 0)
    np.testing.assert_allclose(found.table["p_after"][~found.success], lowest[~found.success])
    used = np.where(succeeded.any(0), succeeded.argmax(0) + 1, 3)
    costs = np.array([each.table["evaluations"] for each in alone]).cumsum(0)
    np.testing.assert_array_equal(found.table["evaluations"], costs[used - 1, range(20)])
    assert_stored(model, images, labels, found)


def test_more_pixels_never_undo_a_success(toy):
    model, images, labels = toy
    wrong = labels.copy()
    wrong[3] = (wrong[3] + 1) % 3
    found = MorePixels(ATTACK, 64)(model, images, wrong)
    assert found.table["skipped"].sum() == 1
    assert found.success.sum() == 19  # every image falls
    one = ATTACK(model, images, wrong)
    taken = found.table["rows"].map(len).to_numpy()
    kept = np.arange(20) != 3
    assert set(taken[kept]) <= {1, 2, 4, 8, 16, 32, 64} and len(set(taken[kept])) > 1
    np.testing.assert_array_equal((taken == 1)[kept], one.success[kept])
    changed = (found.images != images).sum((1, 2))
    assert (changed <= taken).all() and changed[3] == 0
    assert (logits(model, found.images).argmax(1) != labels)[kept].all()
    few = MorePixels(ATTACK, 5)(model, images, wrong)
    assert few.table["rows"].map(len).max() == 4 and not few.success[kept].all()


def test_torch_images_and_lists_give_the_same(toy):
    model, images, labels = toy
    for attack in (Restarts(ATTACK, 2), MorePixels(ATTACK, 2)):
        expected = attack(model, images, labels).images
        listed = attack(model, list(images), labels.tolist())
        np.testing.assert_array_equal(listed.images, expected)
        other = attack(model, torch.from_numpy(images), torch.from_numpy(labels))
        assert isinstance(other.images, torch.Tensor)
        np.testing.assert_array_equal(other.images.numpy(), expected)


def test_impossible_budgets_are_refused():
    for made in (Restarts, MorePixels):
        for wrong in (None, 1.5, "2", True, 0):
            with refused():
                made(ATTACK, wrong)
    with refused():
        MorePixels(replace(ATTACK, pixels=4), 2)


@pytest.mark.parametrize("made", [Restarts, MorePixels])
def test_of_other_attacks_no_stronger_one_is_made(made):
    for wrong in (None, 5, PGD(), PixelAttack):
        with refused():
            made(wrong)


class Target:
    """A user's criterion: class 2."""

    def __call__(self, values, labels):
        others = values[:, :2].amax(1)
        return others - values[:, 2], values.argmax(1) == 2


def test_more_pixels_go_on_where_a_users_criterion_is_not_met_yet(toy):
    """An image may have lost its class on the way to another one."""
    model, images, labels = toy
    found = MorePixels(replace(ATTACK, criterion=Target()), 64)(model, images, labels)
    tried = ~found.table["skipped"].to_numpy()
    assert found.success[tried].all() and (labels[tried] == 0).any()
    assert (logits(model, found.images).argmax(1)[tried] == 2).all()
