"""A classifier behind a defense: one model of both, and what attacks on it need."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib import data as data_
from lib import params
from lib.attack import Misclassification, PixelAttack
from lib.defense.defended import Defended
from lib.defense.patch_selection import scan_patches, select_patches
from lib.defense.worst_case import transfer
from lib.models import classifiers
from lib.models.denoisers import restore
from lib.models.denoisers.reference import Identity, Median3


class Toy(nn.Module):
    """Logits from the mean and the brightest value: an attack can raise the latter."""

    classes = 2

    def forward(self, images):
        return torch.stack([images.amax((1, 2, 3)), images.mean((1, 2, 3)) + 0.5], 1)


class Shifted(nn.Module):
    """A defense that leaves 8-bit values: it must be rounded before it is classified."""

    def forward(self, images):
        return images * 0.98 + 0.013


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([None, (1, 0.0), (3, 0.02), (5, 0.2)]))
def test_one_model_gives_what_restoring_storing_and_classifying_gives(seed, patches):
    images = np.random.default_rng(seed).integers(0, 256, (3, 9, 7, 3), np.uint8)
    for defense in (Shifted(), Identity(3), Median3(3)):
        stored = restore(defense, images, "cpu")
        if patches:
            stored = select_patches(images, stored, *patches)
        model = Defended(Toy(), defense, patches)
        found = classifiers.logits(model, images, torch.device("cpu"))
        np.testing.assert_array_equal(found, classifiers.logits(Toy(), stored, torch.device("cpu")))


@pytest.mark.parametrize("patches", [3, (), (3,), (3, 0.1, 1), "x", (4, 0.1), (3, 2)])
def test_settings_of_patch_selection_that_do_not_fit_are_refused(patches):
    with refused():
        Defended(Toy(), Shifted(), patches)


def test_settings_of_patch_selection_may_be_numbers_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), np.uint8)
    given, typed = (3, 0.02), (np.int64(3), np.float64(0.02))
    found = [
        classifiers.logits(Defended(Toy(), Median3(3), each), images) for each in (given, typed)
    ]
    np.testing.assert_array_equal(*found)


class Detached(nn.Module):
    """A defense that hides its gradient and does next to nothing else."""

    def forward(self, images):
        return images.detach().clone()


def gradient(model, images):
    """Of the first logit at stored images."""
    batch = data_.to_tensor(images).requires_grad_()
    return torch.autograd.grad(model(batch)[:, 0].sum(), batch)[0]


@pytest.mark.parametrize("patches", [None, (3, 0.1)])
@pytest.mark.parametrize("defense", [Identity(1), Detached()])
def test_a_defense_that_does_nothing_changes_no_attack(defense, patches):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    torch.manual_seed(0)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    behind = Defended(bare, defense, patches).eval()
    wanted = gradient(bare, images)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(gradient(behind, images), wanted)
    labels = classifiers.logits(bare, images).argmax(1)
    attack = PixelAttack(population=8, generations=4)
    one, other = attack(bare, images, labels), attack(behind, images, labels)
    columns = ["success", "rows", "cols", "values", "p_after"]
    pd.testing.assert_frame_equal(one.table[columns], other.table[columns])


def test_a_gradient_goes_through_rounding_and_the_defense():
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1), np.uint8)
    through_both = gradient(Defended(Toy(), Shifted()), images)
    torch.testing.assert_close(through_both, 0.98 * gradient(Toy(), images))


def test_a_scan_says_what_each_window_and_threshold_restores():
    rng = np.random.default_rng(0)
    clean = np.full((8, 9, 9, 1), 90, np.uint8)
    attacked = clean.copy()
    # Two pixels side by side survive a median; half of the images have a mild attack.
    attacked[:, 4, 4] = np.where(np.arange(8) < 4, 255, 225)[:, None]
    clean[:, ::3, ::3] = rng.integers(80, 100, (8, 3, 3, 1))
    table = scan_patches(Toy(), Median3(1), clean, attacked, (1, 3), (0.1, 0.6, 1.0))
    found = table.set_index(["size", "threshold"])
    assert len(table) == 7 and (table["n"] == 8).all()
    for size in (1, 3):
        shares = found.loc[size, "recovered"]
        assert (shares[0.1], shares[0.6], shares[1.0]) == (1, 0.5, 0)
    for (size, threshold), row in found.iterrows():
        made = restore(Median3(1), clean)
        made = select_patches(clean, made, size, threshold) if size else made
        same = classifiers.logits(Toy(), made).argmax(1) == classifiers.logits(Toy(), clean).argmax(
            1
        )
        assert row["kept"] == same.mean()


class Crowded(Toy):
    """Decides otherwise among others, as rounding may near the edge of a decision."""

    def forward(self, images):
        return super().forward(images) * (1 if len(images) == 1 else -1)


def test_an_image_that_was_attacked_elsewhere_is_decided_alone():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    behind = Defended(Crowded(), Identity(1)).eval()
    labels = classifiers.logits(behind, images, batch=1).argmax(1)
    found = transfer({"identity": behind}, images, labels, Misclassification())
    assert found["correct"].all()


def test_a_defense_that_nobody_knows_is_refused():
    with refused("dea", "dae"):
        params.load("demo", attackers_defenses=["dea"])


@pytest.mark.parametrize("defenses", [[], ["dae", "noise2noise+patches"]])
def test_defenses_that_the_run_has_not_are_refused_before_it_begins(defenses):
    with refused("attackers_defenses", "median3"):
        params.load("demo", attackers_defenses=defenses, denoiser_names=[])
    one = params.load("demo", attackers_defenses=[*defenses, "median3+patches"], denoiser_names=[])
    assert "median3+patches" in one.attackers_defenses
