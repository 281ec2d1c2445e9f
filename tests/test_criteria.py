"""What is minimized and what counts as success."""

import numpy as np
import pytest
import torch
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st

from lib.attack import AnyLabelChange, Misclassification, TrueLabelChange, criterion_for
from lib.attack.criteria import decisions
from lib.models.classifiers import decide


def test_misclassification_orders_candidates_as_the_probability_does():
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.full((50,), 2)
    criterion = Misclassification()
    order = criterion(values, labels)[0].argsort()
    probability = criterion.confidence(values, labels)
    assert torch.allclose(probability, values.softmax(1)[:, 2])
    assert (probability[order].diff() >= 0).all()
    assert torch.equal(criterion(values, labels)[1], values.argmax(1) != 2)


def test_misclassification_has_a_slope_where_the_probability_is_one():
    values = torch.tensor([[60.0, 0.0], [50.0, 0.0]])
    labels = torch.tensor([0, 0])
    assert Misclassification().confidence(values, labels).tolist() == [1.0, 1.0]
    best, other = Misclassification()(values, labels)[0].flip(0)
    assert best < other


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_any_label_change_is_the_threshold_on_each_sigmoid(threshold):
    values = torch.randn(200, 14, generator=torch.Generator().manual_seed(1))
    labels = (torch.rand(200, 14, generator=torch.Generator().manual_seed(2)) < 0.3).long()
    criterion = AnyLabelChange(threshold)
    wrong = (values.sigmoid() > threshold) != labels.bool()
    assert torch.equal(criterion(values, labels)[1], wrong.any(1))
    side = labels * 2 - 1
    expected = (side * (values.sigmoid() - threshold)).amin(1)
    assert torch.allclose(criterion.confidence(values, labels), expected)
    assert torch.equal(criterion(values, labels)[0] < 0, wrong.any(1))


def test_true_label_change_watches_the_labels_the_image_has():
    labels = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    values = torch.tensor([[2.0, 3.0, -1.0], [-2.0, -1.0, -1.0], [-1.0, 4.0, -1.0]])
    assert AnyLabelChange()(values, labels)[1].tolist() == [True, True, True]
    assert TrueLabelChange()(values, labels)[1].tolist() == [False, True, True]


def test_criterion_by_name():
    assert criterion_for("auto", False) == Misclassification()
    assert criterion_for("auto", True, 0.4) == AnyLabelChange(0.4)
    assert criterion_for("true_label", True) == TrueLabelChange()
    with refused("class"):
        criterion_for("class", True)
    with refused("'clas'", "'class'"):
        criterion_for("clas", False)


@given(st.floats(0.01, 0.99), st.integers(-3, 3))
def test_one_threshold_decides_everything(threshold, steps):
    """Also on float32's neighbors of the edge."""
    value = np.float32(np.log(threshold / (1 - threshold)))
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.float32(np.sign(steps) * np.inf), dtype=np.float32)
    logits, labels = torch.tensor([[value]]), torch.tensor([[1]])
    criterion = AnyLabelChange(threshold)
    decided = decisions(criterion, logits, True)
    assert torch.equal(decided, torch.from_numpy(decide(logits.numpy(), True, threshold)).long())
    assert criterion(logits, labels)[1].item() == (decided != labels).any().item()
