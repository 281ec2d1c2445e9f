"""Certificates against brute force, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from torch import nn

from lib.attack import (
    AnyLabelChange,
    Misclassification,
    TrueLabelChange,
    certificate,
    certify_one_pixel,
)
from lib.attack.neighbors import bare, through_median
from lib.data import rounded, to_tensor
from lib.models.denoisers import Median3

SIZE = 8
SINGLE = Misclassification()


class Small(nn.Module):
    """Two convolutions whose decisions one pixel can just about turn."""

    def __init__(self, classes=3, seed=0, gain=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * SIZE**2, classes)
        with torch.no_grad():
            for weight in self.parameters():
                weight.normal_(0, 0.3 * gain, generator=generator)

    def forward(self, images):
        return self.second(self.first(images).relu().flatten(1))


def pictures(count=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)


def all_neighbors(image):
    """Every image that differs in one pixel, uint8 (255 * SIZE**2, SIZE, SIZE)."""
    found = []
    for row in range(SIZE):
        for col in range(SIZE):
            for value in range(256):
                if value != image[row, col]:
                    changed = image.copy()
                    changed[row, col] = value
                    found.append(changed)
    return np.stack(found)


def median(images):
    """Images behind the 3 x 3 median, uint8."""
    restored = rounded(Median3(1)(to_tensor(images[..., None])))
    return restored.to(torch.uint8).numpy()[:, 0]


def decided(model, images):
    with torch.no_grad():
        return model(to_tensor(images[..., None]))


THROUGH = {"bare": lambda images: images, "median3": median}


def given_by(model, images, through="bare", criterion=SINGLE):
    """Labels that the model gives."""
    values = decided(model, THROUGH[through](images))
    return ((values > 0).long() if criterion.multi_label else values.argmax(1)).numpy()


def different(images, clean):
    """Each image once, without the clean one."""
    places = {image.tobytes(): at for at, image in enumerate(images)}
    places.pop(clean.tobytes(), None)
    return images[list(places.values())]


CRITERIA = [SINGLE, AnyLabelChange(), TrueLabelChange()]


@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda of: type(of).__name__)
def test_a_certificate_is_what_brute_force_says(through, criterion):
    gain = {"bare": 0.35, "median3": 1.0}[through]
    model, images = Small(gain=gain).eval(), pictures(7)
    labels = given_by(model, images, through, criterion)
    found = certify_one_pixel(model, images, labels, through, criterion, count=True)
    for image, label, row in zip(images, labels, found.itertuples(), strict=True):
        every = different(THROUGH[through](all_neighbors(image)), THROUGH[through](image[None])[0])
        values = decided(model, every)
        wanted = torch.from_numpy(np.broadcast_to(label, (len(every), *label.shape)).copy())
        near = criterion.margin(values, wanted).abs() < 1e-6
        for at in near.nonzero().flatten().tolist():  # there one image alone decides
            values[at] = decided(model, every[at : at + 1])
        assert row.neighbors == row.candidates == len(every)
        assert row.counterexamples == criterion(values, wanted)[1].sum().item()
        lowest = criterion.margin(values, wanted).min().item()
        assert row.margin == pytest.approx(lowest, abs=1e-5)
        assert row.robust == (row.counterexamples == 0)
        changed = image.copy()
        changed[row.row, row.col] = row.value
        margin = criterion.margin(decided(model, THROUGH[through](changed[None])), wanted[:1])
        assert row.margin == pytest.approx(margin.item(), abs=1e-6)
        assert (row.margin < 0) == (not row.robust)
    assert 0 < found["robust"].sum() < len(found)  # else the comparison says little
    assert found["complete"].all() and (found["deviation"] < 1e-4).all()


def test_it_can_stop_at_the_first_counterexample(monkeypatch):
    monkeypatch.setattr(certificate, "CHUNK", 500)
    model, images = Small().eval(), pictures(6)
    labels = given_by(model, images)
    every = certify_one_pixel(model, images, labels, count=True)
    first = certify_one_pixel(model, images, labels)
    assert (first["robust"] == every["robust"]).all()
    fooled = ~first["robust"]
    assert fooled.any() and (first.loc[fooled, "counterexamples"] > 0).all()
    assert first.loc[fooled, "candidates"].sum() < every.loc[fooled, "candidates"].sum()
    assert (first["complete"] | fooled).all()


def test_an_interrupted_certificate_goes_on(monkeypatch):
    monkeypatch.setattr(certificate, "CHUNK", 1000)
    model, images = Small().eval(), pictures(3)
    labels = given_by(model, images)
    given = (model, images, labels, "bare", None, True)
    states = list(certificate.iterate(*given))
    whole = [state for state in states if state["finished"]]
    begun = {}
    for number, state in enumerate(certificate.iterate(*given)):
        begun[state["image"]] = state
        if number == 20:
            break
    assert not all(state["finished"] for state in begun.values())
    rest = list(certificate.iterate(*given, begun=begun))
    assert number + 1 + len(rest) == len(states) > 3 * 16
    begun |= {state["image"]: state for state in rest}
    for ours, theirs in zip(begun.values(), whole, strict=True):
        assert ours | {"seconds": 0} == theirs | {"seconds": 0}


def test_a_misclassified_image_is_skipped():
    model, images = Small().eval(), pictures(3)
    labels = given_by(model, images)
    labels[1] = (labels[1] + 1) % 3
    found = certify_one_pixel(model, images, labels)
    assert found["skipped"].tolist() == [False, True, False]
    assert not found["robust"][1] and found["candidates"][1] == 0


def test_an_image_without_neighbors_is_robust():
    model, images = Small().eval(), pictures(3)
    images[[0, 2]] = 90
    labels = given_by(model, images, "median3")
    found = certify_one_pixel(model, images, labels, through="median3")
    assert found["image"].tolist() == [0, 1, 2] and found["neighbors"][1] > 0
    alone = certify_one_pixel(model, images[:1], labels[:1], through="median3")
    for table in (found.iloc[[0, 2]], alone):
        assert table["robust"].all() and table["complete"].all()
        assert not table[["skipped", "neighbors", "candidates"]].to_numpy().any()


def test_a_margin_near_zero_is_decided_by_the_whole_network():
    """A batch rounds otherwise than one image alone, here by more than a pixel changes."""
    images = pictures(2)[1:]
    model = Small().eval()
    label = int(decided(model, images).argmax())

    class Rounding(nn.Module):
        def forward(self, batch):
            some = (torch.arange(len(batch)) % 7 == 1).float() * 0.01
            return model(batch) - some.view(-1, 1) * nn.functional.one_hot(torch.tensor(label), 3)

    turned = int((decided(model, all_neighbors(images[0])).argmax(1) != label).sum())
    found = certify_one_pixel(Rounding().eval(), images, [label], count=True)
    assert found["counterexamples"][0] == turned
    assert found["deviation"][0] == pytest.approx(0.01, abs=1e-4) and found["rechecked"][0] > 1000


def test_candidates_are_in_doubt_again_when_a_later_one_deviates_more(monkeypatch):
    """Rounding that hides counterexamples from the first batch, and shows in the second."""
    monkeypatch.setattr(certificate, "CHUNK", certificate.FIRST)
    model, images, batches, hidden = Small().eval(), pictures(2)[1:], [], []
    label = int(decided(model, images).argmax())

    class Late(nn.Module):
        def forward(self, batch):
            values = model(batch)
            if len(batch) < certificate.FIRST:
                return values
            batches.append(len(batch))
            margin = values[:, label] - values.clone().index_fill(
                1, torch.tensor(label), -torch.inf
            ).amax(1)
            lift = torch.zeros_like(margin)
            if len(batches) == 1:  # all but those that are looked at again in any case
                lift = torch.where(margin < 0, 0.002 - margin, 0.0)
                lift[torch.linspace(0, len(batch) - 1, certificate.SAMPLED).long()] = 0
                lift[margin.argmin()] = 0
                hidden.append(int((lift > 0).sum()))
            else:
                lift[0] = 0.003
            return values + lift[:, None] * nn.functional.one_hot(torch.tensor(label), 3)

    fooled = int((decided(model, all_neighbors(images[0])).argmax(1) != label).sum())
    found = certify_one_pixel(Late().eval(), images, [label], count=True, batch=certificate.FIRST)
    assert found["counterexamples"][0] == fooled and hidden[0] > 0
    assert found["deviation"][0] == pytest.approx(0.003, abs=1e-4)


@pytest.mark.parametrize("kind", ["random", "flat", "steps"])
def test_the_median_makes_these_images_and_no_others(kind):
    image = {
        "random": pictures(1, 3)[0], "flat": np.full((SIZE, SIZE), 90, np.uint8),
        "steps": np.arange(SIZE**2, dtype=np.uint8).reshape(SIZE, SIZE) // 5 * 9,
    }[kind]  # fmt: skip
    made = through_median(torch.from_numpy(image)[None])
    clean = median(image[None])[0]
    assert (made.picture[0].numpy() == clean).all()
    ours = np.repeat(clean[None], len(made.genes), 0)
    for pixel in made.genes.view(-1, 9, 3).unbind(1):
        ours[np.arange(len(ours)), pixel[:, 0], pixel[:, 1]] = pixel[:, 2].numpy()
    expected = {each.tobytes() for each in different(median(all_neighbors(image)), clean)}
    assert {each.tobytes() for each in ours} == expected and len(ours) == len(expected)
    changed = np.repeat(image[None], len(ours), 0)
    rows, cols, values = made.changes.numpy().T
    changed[np.arange(len(ours)), rows, cols] = values
    if len(ours):
        np.testing.assert_array_equal(median(changed), ours)


def test_bare_neighbors_are_all_and_extremes_come_first():
    image = pictures(1)[0]
    made = bare(torch.from_numpy(image)[None])
    assert len(torch.unique(made.genes, dim=0)) == 255 * SIZE**2
    assert set(made.genes[: 2 * SIZE**2 - SIZE, 2].tolist()) == {0, 255}


def test_wrong_inputs_are_named():
    model, images = Small().eval(), pictures(1)
    truth = [int(model(to_tensor(images[..., None])).argmax())]
    color = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 3)).eval()

    def no_margin(logits, labels):
        return logits[:, 0], logits[:, 0] < 0

    class NoNumber(Misclassification):
        def margin(self, logits, labels):
            return torch.full_like(logits[:, 0], torch.nan)

    for given in (
        (color, np.zeros((1, SIZE, SIZE, 3), np.uint8), [0]),
        (Small().train(), images, [0]),
        (model, images / 255, [0]),
        (model, images, [7]),
        (model, images, [0], "mean"),
        (model, images, [0], ["bare"]),
        (model, images, [0], "bare", None, False, 65_537),
        (model, images, [0], "bare", no_margin),
        (model, images, truth, "bare", NoNumber()),
    ):
        with refused():
            certify_one_pixel(*given)
    assert isinstance(certify_one_pixel(model, images[:0], []), pd.DataFrame)
