"""Searches that are led by predictions: differential evolution, and the linear map."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from test_incremental import Repeated, bare
from torch import nn
from torchvision.models import DenseNet

from lib.attack import (
    AnyLabelChange,
    LinearMapAttack,
    Misclassification,
    PixelAttack,
    TrueLabelChange,
)
from lib.attack.differential_evolution import paint
from lib.attack.incremental import Incremental, Tap
from lib.attack.screening import FIT, Known

CRITERIA = [Misclassification(), AnyLabelChange(), TrueLabelChange()]
SCREENED = PixelAttack(population=30, generations=4, evaluation="screened")


def problem(name="resnet18", multi=False, count=2, channels=3, size=32):
    """Noise, and what a random network says of it."""
    generator = torch.Generator().manual_seed(1)
    shape = (count, size, size, channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    model = bare(name) if channels == 3 else nn.Sequential(Repeated(), bare(name)).eval()
    with torch.no_grad():
        logits = model(images.permute(0, 3, 1, 2) / 255)
    return model, images, (logits > 0).long() if multi else logits.argmax(1)


def table(attack, model, images, labels):
    return attack(model, images, labels).table.drop(columns=["seconds", "image"])


@pytest.mark.parametrize(
    ("criterion", "pixels", "name"),
    list(zip(CRITERIA, (1, 2, 2), ("densenet121", "resnet18", "resnet18"), strict=True)),
)
def test_a_screened_search_computes_few_and_confirms_its_successes(criterion, pixels, name):
    model, images, labels = problem(name, criterion.multi_label, 3)
    attack = dataclasses.replace(SCREENED, pixels=pixels, criterion=criterion)
    found = attack(model, images, labels)
    rows = found.table[~found.table["skipped"].astype(bool)]
    assert len(rows) == 3 and (rows["computed"] < 0.8 * rows["evaluations"]).all()
    assert (rows["screened"] >= rows["evaluations"] - 30).all()
    with torch.no_grad():
        objective, success = zip(
            *(
                criterion(model(image.permute(2, 0, 1)[None] / 255), label[None])
                for image, label in zip(found.images, labels, strict=True)
            ),
            strict=True,
        )
    assert found.success.tolist() == torch.cat(success).tolist()
    # The best objective on record is that of the image that is returned: no prediction.
    assert [best[-1] for best in rows["best"]] == pytest.approx(torch.cat(objective), abs=2e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_screened_search_does_not_depend_on_order_or_shards(precision):
    model, images, labels = problem(channels=1, count=4)
    attack = dataclasses.replace(SCREENED, precision=precision, batch=8, generations=2)

    def run(positions):
        return table(attack, model, images[positions], labels[positions]).set_axis(positions)

    expected = run(list(range(4)))
    assert (expected["evaluations"] > 30).any()
    parts = [run([3, 1, 0]), run([2])]
    pd.testing.assert_frame_equal(pd.concat(parts).sort_index(), expected)


def test_calibration_finds_the_line_and_stays_above_what_is_known():
    known = Known(torch.tensor([0]), *(torch.zeros(0, *more) for more in ((3,), (), (), (3,))))
    genes, predicted = torch.arange(300).view(100, 3), torch.linspace(-1, 1, 100)
    known.add(genes, predicted, 2 * predicted + 5)
    assert len(known.exact) == FIT and known.lowest == 3 and known.best.tolist() == [0, 1, 2]
    assert known.calibrated(torch.tensor([0.5])).item() == pytest.approx(6)
    assert 3 < known.calibrated(torch.tensor([-9.0])).item() < 3.001
    known.add(genes[:1], predicted[:1], torch.tensor([4.0]))
    assert known.lowest == 3 and known.best.tolist() == [0, 1, 2]


def linear_map(criterion=CRITERIA[0], **settings):
    return LinearMapAttack(evaluations=16, predictions=300, criterion=criterion, **settings)


@pytest.mark.parametrize(("criterion", "pixels"), list(zip(CRITERIA, (2, 1, 2), strict=True)))
def test_a_linear_map_goes_down_and_confirms_its_successes(criterion, pixels):
    model, images, labels = problem("resnet18", criterion.multi_label, channels=1, size=16)
    found = linear_map(criterion, pixels=pixels)(model, images[..., 0], labels)
    with torch.no_grad():
        for n, row in enumerate(found.table.itertuples()):
            after = model(found.images[n][None, None] / 255)
            objective, success = criterion(after, labels[n : n + 1])
            before = criterion(model(images[n].permute(2, 0, 1)[None] / 255), labels[n : n + 1])[0]
            assert success.item() == row.success and objective < before
            assert row.best[-1] == pytest.approx(objective.item(), abs=2e-4)
            assert len(row.rows) == len(row.best) <= pixels
            changed = (found.images[n] != images[n, ..., 0]).nonzero().tolist()
            assert {tuple(p) for p in changed} <= set(zip(row.rows, row.cols, strict=True))


def test_a_linear_map_does_not_depend_on_the_images_beside_one():
    model, images, labels = problem(size=16)
    expected = table(linear_map(), model, images, labels)
    order = [1, 0]
    found = table(linear_map(), model, images[order], labels[order]).set_axis(order)
    pd.testing.assert_frame_equal(found.sort_index(), expected)


def test_a_linear_map_skips_what_is_misclassified_and_takes_no_images():
    model, images, labels = problem(size=16)
    found = linear_map()(model, images, (labels + 1) % 5)
    assert found.table["skipped"].all() and torch.equal(found.images, images)
    assert len(linear_map()(model, images[:0], labels[:0]).table) == 0


class Linear(nn.Module):
    """A model whose logits are linear in its input; ``hidden``: without a gradient."""

    def __init__(self, hidden=False):
        super().__init__()
        torch.manual_seed(3)
        self.last, self.hidden = nn.Linear(3 * 8 * 8, 5), hidden

    def forward(self, images):
        logits = self.last(images.flatten(1))
        return logits.detach() if self.hidden else logits


class Logit:
    """The true class's logit: an objective that is linear in the logits. Nothing succeeds."""

    multi_label = False

    def __call__(self, logits, labels):
        objective = logits.gather(1, labels[:, None])[:, 0]
        return objective, torch.zeros_like(labels, dtype=torch.bool)


def linear_problem(hidden=False):
    model, (_, images, _) = Linear(hidden).eval(), problem(size=8)
    return model, images, model(images.permute(0, 3, 1, 2) / 255).argmax(1)


def test_a_densenet_of_one_block_is_predicted_from_its_last_map():
    torch.manual_seed(0)
    model, images = DenseNet(8, (2,), 16, num_classes=5).eval(), problem()[1]
    labels = model(images.permute(0, 3, 1, 2) / 255).argmax(1)
    tap = Tap(Incremental(model, 3, 32, 1), 4)
    tap.enter(torch.tensor([0]), images[:1].permute(0, 3, 1, 2))
    tap.aim(0, Logit(), labels[:1])
    genes = torch.tensor([[3, 5, 255, 0, 9], [30, 31, 0, 0, 0]])
    painted = paint(images[:1].permute(0, 3, 1, 2), genes[None])
    expected = Logit()(model(painted / 255), labels[:1].expand(2))[0]
    found = tap.predict(torch.tensor([0, 0]), genes)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    searched = SCREENED(model, images, labels).table
    assert (searched["computed"] < searched["evaluations"]).all()


def test_screening_refuses_a_model_without_taps_in_one_sentence():
    with refused():
        SCREENED(*linear_problem())


def test_a_linear_map_refuses_a_model_without_a_gradient_in_one_sentence():
    with refused():
        LinearMapAttack()(*linear_problem(hidden=True))


def test_a_linear_map_takes_a_model_that_writes_into_its_input():
    class InPlace(nn.Sequential):
        def forward(self, images):
            return super().forward(images.sub_(0.0))

    model, images, labels = linear_problem()
    expected = table(LinearMapAttack(), model, images, labels)
    found = table(LinearMapAttack(), InPlace(model).eval(), images, labels)
    pd.testing.assert_frame_equal(found, expected)


def test_a_linear_map_finds_the_best_pixels_of_a_linear_model():
    model, images, labels = linear_problem()
    found = LinearMapAttack(pixels=2, criterion=Logit())(model, images, labels)
    for n, (image, label) in enumerate(zip(images, labels, strict=True)):
        weights = model.last.weight[label].detach().view(3, 8, 8)
        values = image.permute(2, 0, 1) / 255
        # What each channel can gain at most: the value to 0 or to 1.
        gains = torch.maximum(weights * values, -weights * (1 - values)).sum(0).flatten()
        expected = model(values[None])[0, label] - gains.sort(descending=True).values[:2].sum()
        after = model(found.images[n].permute(2, 0, 1)[None] / 255)[0, label]
        assert after.item() == pytest.approx(expected.item(), abs=1e-5)


class Corner(nn.Module):
    """Only the last pixel, made bright, changes the class."""

    def forward(self, images):
        last = images[:, :, -1, -1].mean(1)
        return torch.stack([0.5 + 0.001 * images.mean((1, 2, 3)), last], 1)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (5, 30), (30, 5)])
def test_a_linear_map_searches_all_of_an_image_that_is_not_square(shape):
    model, images = Corner().eval(), np.zeros((1, *shape, 3), np.uint8)
    assert LinearMapAttack()(model, images, [0]).success.all()
    # However few predictions are allowed, the coarsest map is made.
    few = LinearMapAttack(predictions=1)(model, images, [0]).table["screened"][0]
    assert 0 < few <= images.size // 3 * 8
    with refused():
        LinearMapAttack(pixels=shape[0] * shape[1] + 1)(model, images, [0])
