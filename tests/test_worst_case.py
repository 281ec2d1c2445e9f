"""One table of many attackers: the worst counts for each image, and what cannot be is seen."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from torch import nn

from lib.attack import Misclassification, PixelAttack
from lib.attack.pgd import PGD
from lib.defense import Defended, DoubleMasking
from lib.defense.dense import APGD, AutoAttack
from lib.defense.worst_case import sanity, transfer, worst_case
from lib.models.classifiers import logits
from lib.models.denoisers.reference import Identity, Median3


@pytest.fixture(scope="module")
def toy():
    """A small network, images and its decisions."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)
    ).eval()  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    return model, images, logits(model, images).argmax(1)


def test_what_was_found_elsewhere_is_judged_through_each_defense(toy):
    model, images, labels = toy
    found = PixelAttack(population=20, generations=5)(model, images, labels)
    assert 0 < found.success.sum() < 12
    models = {
        "identity": Defended(model, Identity(1)).eval(),
        "median3": Defended(model, Median3(1)).eval(),
        "double_masking": DoubleMasking(model, 4).eval(),
    }
    table = transfer(models, found.images, labels, Misclassification())
    assert len(table) == 3 * 12
    for name, rows in table.groupby("defense"):
        expected = [logits(models[name], image[None]).argmax() for image in found.images] == labels
        np.testing.assert_array_equal(rows["correct"], expected)
    bare = table[table["defense"] == "identity"]
    np.testing.assert_array_equal(bare["correct"], ~found.success)


def rows(defense, attacker, family, budget, outcomes, first=0):
    """Rows of an attacker on images numbered from ``first``."""
    return pd.DataFrame({
        "dataset": "oct", "split": "test", "index": range(first, first + len(outcomes)),
        "defense": defense, "attacker": attacker, "family": family, "budget": budget,
        "correct": [bool(value) for value in outcomes],
    })  # fmt: skip


CLEAN = rows("dae", "none", "", 0, [1, 1, 1, 1, 0])


def test_the_worst_attacker_counts_for_each_image_and_smaller_budgets_do_too():
    table = pd.concat([
        CLEAN,
        rows("dae", "adaptive", "pixels", 1, [1, 0, 1, 1, 0]),
        rows("dae", "random", "pixels", 1, [0, 1, 1, 1, 0]),
        rows("dae", "transfer", "pixels", 1, [1, 1], first=2),  # of two images only
        rows("dae", "more", "pixels", 4, [1, 1, 0, 1, 0]),
        rows("dae", "apgd", "linf", 2, [0, 0, 0, 0, 0]),
        rows("median3", "none", "", 0, [1, 1, 1, 1, 1]),
    ])  # fmt: skip
    found = worst_case(table.sample(frac=1, random_state=0)).set_index(
        ["defense", "family", "budget", "attacker"]
    )
    shares = found["correct"].to_dict()
    assert shares[("dae", "", 0, "none")] == 0.8
    assert shares[("dae", "pixels", 1, "adaptive")] == 0.6
    assert shares[("dae", "pixels", 1, "random")] == 0.6
    assert shares[("dae", "pixels", 1, "transfer")] == 1
    assert shares[("dae", "pixels", 1, "worst")] == 0.4
    assert shares[("dae", "pixels", 4, "worst")] == 0.2  # with one pixel two more had fallen
    assert shares[("dae", "linf", 2, "worst")] == 0
    assert shares[("median3", "", 0, "none")] == 1
    assert found.loc[("dae", "pixels", 1, "transfer"), "n"] == 2
    worst = found.loc[("dae", "pixels", 4, "worst")]
    assert worst["n"] == 5
    assert worst["correct_low"] < 0.2 < worst["correct_high"]


def test_images_of_one_patient_tell_less_than_those_of_several():
    attacked = rows("dae", "adaptive", "pixels", 1, [1, 1, 0, 0] * 3)
    table = pd.concat([rows("dae", "none", "", 0, [1] * 12), attacked])
    of_patients = table.assign(group=table["index"] // 2)  # both images of each fare alike
    of_images = table.assign(group=table["index"])
    unknown, images, patients = (
        worst_case(each).set_index("attacker").loc["worst"]
        for each in (table, of_images, of_patients)
    )
    assert unknown.equals(images) and patients["correct"] == images["correct"] == 0.5
    assert patients["correct_low"] < images["correct_low"]


def held(*parts):
    """Which checks hold, by name."""
    table = sanity(pd.concat([CLEAN, *parts]))
    return dict(zip(table["check"], table["holds"], strict=True))


def test_what_sound_attacks_cannot_do_is_seen():
    sound = held(
        rows("dae", "adaptive", "pixels", 1, [1, 0, 1, 0, 0]),
        rows("dae", "doubled", "pixels", 1, [1, 0, 0, 0, 0]),
        rows("dae", "transfer", "pixels", 1, [1, 0, 1, 1, 0]),
        rows("dae", "more", "pixels", 2, [1, 0, 0, 0, 0]),
        rows("dae", "more", "pixels", 64, [0, 0, 0, 0, 0]),
    )
    assert set(sound) == {"budget", "all, pixels", "knowing"} and all(sound.values())
    lost = held(
        rows("dae", "adaptive", "pixels", 1, [0, 0, 1, 0, 0]),
        rows("dae", "doubled", "pixels", 1, [1, 0, 0, 0, 0]),
    )
    assert not lost["budget"]
    assert "all, pixels" not in lost  # one pixel need not be enough
    assert not held(rows("dae", "more", "pixels", 64, [0, 0, 1, 0, 0]))["all, pixels"]
    assert not held(
        rows("dae", "more", "pixels", 2, [1, 0, 0, 0, 0]),
        rows("dae", "more", "pixels", 4, [0, 0, 1, 0, 0]),
    )["budget"]
    # One image is chance, many are not.
    for count, holds in ((1, True), (30, False)):
        blind = held(
            rows("dae", "adaptive", "pixels", 1, [1] * count),
            rows("dae", "random", "pixels", 1, [0] * count),
        )
        assert blind["knowing"] == holds
        # Small changes of all values are another kind of attack.
        dense = rows("dae", "pgd", "linf", 1, [0] * count)
        few = rows("dae", "adaptive", "pixels", 2, [1] * count)
        blind = held(few, rows("dae", "random", "pixels", 2, [0] * count), dense)
        assert blind["knowing"] == holds
        hidden = held(
            rows("dae", "pgd", "linf", 4, [1] * count), rows("dae", "fgsm", "linf", 4, [0] * count)
        )
        assert hidden["steps"] == holds


@pytest.mark.parametrize(
    ("outcome", "budget", "holds"), [(0, 1, False), (1, 1, True), (0, 2, True)]
)
def test_a_broken_certificate_is_seen(outcome, budget, holds):
    sure = [True, False, False, False, False]
    attacked = rows("dae", "adaptive", "pixels", budget, [outcome, 0, 0, 0, 0])
    table = pd.concat([CLEAN.assign(certified=sure), attacked.assign(certified=sure)])
    found = sanity(table).set_index("check")
    assert found.loc["certificate", "holds"] == holds


@pytest.mark.parametrize("epsilon", [1, 8])
def test_pgd_stays_in_the_ball_and_counts_stored_images(toy, epsilon):
    model, images, labels = toy
    wrong = labels.copy()
    wrong[0] = (wrong[0] + 1) % 5
    found = PGD(epsilon, steps=10)(model, images, wrong)
    assert found.table["skipped"].tolist() == [True] + 11 * [False]
    assert np.abs(found.images.astype(int) - images).max() <= epsilon
    alone = [logits(model, image[None]).argmax() for image in found.images] != wrong
    np.testing.assert_array_equal(found.success[1:], alone[1:])
    with torch.autocast("cpu", torch.bfloat16):  # the caller's
        again = PGD(epsilon, steps=10)(model, images[3:5], wrong[3:5])
    np.testing.assert_array_equal(again.images, found.images[3:5])


def test_pgd_takes_several_labels(toy):
    from lib.attack import AnyLabelChange

    model, images, _ = toy
    labels = (logits(model, images) > 0).astype(np.int64)
    found = PGD(24, steps=10, criterion=AnyLabelChange())(model, images, labels)
    assert found.success.any()
    changed = ((logits(model, found.images) > 0) != labels).any(1)
    np.testing.assert_array_equal(found.success, changed)


def test_pgd_takes_gradients_wherever_it_is_called(toy):
    model, images, labels = toy
    expected = PGD(16, steps=4)(model, images, labels)
    changed = expected.table["adversarial"].to_numpy() != labels
    np.testing.assert_array_equal(changed, expected.success)
    np.testing.assert_array_equal(expected.table["predicted"], labels)

    class InPlace(nn.Sequential):
        def forward(self, batch):
            return super().forward(batch.sub_(0.0))

    class Detached(nn.Sequential):
        def forward(self, batch):
            return super().forward(batch.detach())

    for context in (torch.no_grad, torch.inference_mode):
        with context():
            found = PGD(16, steps=4)(InPlace(model).eval(), images, labels)
        np.testing.assert_array_equal(found.images, expected.images)
    with refused():
        PGD(16)(Detached(model).eval(), images, labels)
    nothing = PGD()(model, images[:0], labels[:0])
    assert list(nothing.table) == list(expected.table) and "0" in repr(nothing)


def test_pgd_takes_images_of_any_size():
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    images = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), np.uint8)
    label = logits(model, images).argmax(1)
    found = PGD(1, steps=1)(model, images, label)
    assert found.table["evaluations"][0] == 2 or found.success[0]


def test_pgd_starts_in_the_ball_and_not_at_the_image_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    images = np.random.default_rng(0).integers(50, 200, (2, 8, 8), np.uint8)
    found = PGD(8, steps=1, step=1e-3, starts=6)(model, images, logits(model, images).argmax(1))
    assert (np.abs(found.images.astype(int) - images).max((1, 2)) > 4).all()


def test_pgd_takes_numbers_of_numpy(toy):
    model, images, labels = (each if isinstance(each, nn.Module) else each[:2] for each in toy)
    typed = PGD(np.int64(4), steps=np.int64(2), starts=np.int64(2), seed=np.int64(3))
    expected = PGD(4, steps=2, seed=3)(model, images, labels).images
    np.testing.assert_array_equal(typed(model, images, labels).images, expected)


def test_ours_and_the_librarys_gradient_attacks_agree(toy):
    model, images, labels = toy
    ours = PGD(24, steps=60)(model, images, labels).success
    apgd = AutoAttack(24, APGD)(model, images, labels)
    assert 0 < apgd.success.sum() < 12 and np.sum(ours != apgd.success) <= 1
    assert np.abs(apgd.images.astype(int) - images).max() <= 24
    alone = AutoAttack(24, APGD)(model, images[3:5], labels[3:5])
    np.testing.assert_array_equal(alone.images, apgd.images[3:5])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):  # the caller's
        same = AutoAttack(24, APGD)(model, images[3:5], labels[3:5])
    np.testing.assert_array_equal(same.images, alone.images)
    several = AutoAttack(24, ("apgd-ce", "apgd-t"))(model, images[:4], labels[:4])
    assert (several.success >= apgd.success[:4]).all()


@pytest.mark.parametrize("classes", [3, 5])
def test_the_librarys_own_choice_of_attacks_is_no_weaker_than_one(classes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)[::2]
    labels = logits(model, images).argmax(1)
    one, several = (AutoAttack(24, each)(model, images, labels) for each in (APGD, ()))
    assert one.success.tolist() == [False, True] and several.success[1]
    # The other attacks had their turn.
    costs = several.table["evaluations"] / one.table["evaluations"]
    assert costs[0] > 2 and costs[1] == 1


def test_the_librarys_attacks_refuse_labels_that_the_model_does_not_have(toy):
    model, images, labels = toy
    for wrong in (labels + 5, labels[:2], np.eye(5, dtype=int)[labels], labels * 1.0):
        with refused():
            AutoAttack(8, APGD)(model, images, wrong)


@pytest.mark.parametrize("name", ["apgd-t", "apgd-dlr"])
def test_an_attack_that_compares_more_logits_than_there_are_is_refused(name):
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    images = np.zeros((1, 8, 8, 3), np.uint8)
    with refused(name):
        AutoAttack(8, (name,))(model, images, logits(model, images).argmax(1))


def test_what_cannot_be_called_is_no_model():
    model = nn.Flatten()
    for wrong in (
        lambda: Defended(None, model), lambda: Defended(model, "median3"),
        lambda: Defended(nn.Flatten, model), lambda: DoubleMasking(None),
    ):  # fmt: skip
        with refused():
            wrong()
