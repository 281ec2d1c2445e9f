"""Double masking against slow references, and against an attacker who tries everything."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.attack import PixelAttack
from lib.data import to_tensor
from lib.defense import DoubleMasking
from lib.defense.certified import measured
from lib.models.classifiers import classify
from lib.models.masks import inpaint, mask_corners, masks_of, under_two


class Toy(nn.Module):
    """A small random network on images of 8 x 8 pixels, wavering enough for votes to differ."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
                nn.Linear(24, 3),
            )  # fmt: skip
            self.body[4].bias.data.zero_()
        self.eval()

    def forward(self, images):
        return 100 * self.body(images - 0.5)  # margins far above rounding


def quarters(seed, count=6):
    """Images of four gray quarters with noise: a mask changes some decisions, not all. uint8."""
    rng = np.random.default_rng(seed)
    images = np.kron(rng.uniform(0, 255, (count, 2, 2)), np.ones((4, 4)))
    return (images + rng.normal(0, 30, images.shape)).clip(0, 255).astype(np.uint8)[..., None]


@settings(max_examples=40)
@given(st.integers(4, 12), st.integers(4, 12), st.integers(1, 4), st.integers(1, 4))
def test_every_patch_lies_under_one_mask(height, width, mask, patch):
    if patch > mask:
        with refused():
            mask_corners(height, width, mask, patch)
        return
    corners = mask_corners(height, width, mask, patch)
    assert all(0 <= row <= height - mask and 0 <= col <= width - mask for row, col in corners)
    room = mask - patch
    for top, left in product(range(height - patch + 1), range(width - patch + 1)):
        assert any(0 <= top - row <= room and 0 <= left - col <= room for row, col in corners)


def votes_of(defense, images):
    """Its decisions on stored images, as rows."""
    with torch.inference_mode():
        values = defense(to_tensor(images)).numpy()
    return values > 0 if defense.multi_label else values.argmax(1)[:, None]


def reference_fill(image, hidden):
    """`inpaint` of one channel, pixel by pixel."""
    filled = image.copy()
    for row, col in zip(*np.nonzero(hidden), strict=True):
        found = []
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            for distance in range(1, max(image.shape)):
                r, c = row + down * distance, col + right * distance
                if not (0 <= r < image.shape[0] and 0 <= c < image.shape[1]):
                    break
                if not hidden[r, c]:
                    found.append((image[r, c], 1 / distance))
                    break
        values, weights = np.array(found).T if found else ([0.5], [1])
        filled[row, col] = np.average(values, weights=weights)
    return filled


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.05, 1))
def test_filling_looks_at_the_nearest_visible_pixels_and_at_nothing_hidden(seed, share):
    rng = np.random.default_rng(seed)
    images, hidden = rng.random((3, 2, 6, 7), np.float32), rng.random((3, 6, 7)) < share
    filled = inpaint(torch.from_numpy(images), torch.from_numpy(hidden)).numpy()
    for n, channel in np.ndindex(3, 2):
        expected = reference_fill(images[n, channel], hidden[n])
        np.testing.assert_allclose(filled[n, channel], expected, atol=1e-6)
    other = np.where(hidden[:, None], rng.integers(0, 2, images.shape), images).astype(np.float32)
    again = inpaint(torch.from_numpy(other), torch.from_numpy(hidden)).numpy()
    np.testing.assert_array_equal(filled, again)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_training_images_are_hidden_under_one_or_two_masks_of_the_set(seed, mask):
    images = torch.from_numpy(np.random.default_rng(seed).random((4, 2, 6, 7), np.float32))
    masks = masks_of(6, 7, mask)
    made = under_two(images, mask, torch.Generator().manual_seed(seed))
    again = under_two(images, mask, torch.Generator().manual_seed(seed))
    assert torch.equal(made, again)
    first, second = torch.triu_indices(len(masks), len(masks))
    unions = masks[first] | masks[second]
    for image, result in zip(images, made, strict=True):
        options = inpaint(image.expand(len(unions), -1, -1, -1), unions)
        assert (options == result).flatten(1).all(1).any()


def reference_votes(defense, image, regions):
    """Decision under each union of masks, one after the other."""
    votes = []
    for region in regions:
        hidden = np.zeros((8, 8), bool)
        for top, left in region:
            hidden[top : top + defense.mask, left : left + defense.mask] = True
        if defense.fill == "inpaint":
            shown = np.stack([reference_fill(channel, hidden) for channel in image])
        else:
            shown = np.where(hidden, np.float32(defense.fill), image)
        values = defense.classifier(torch.from_numpy(shown[None]).float())[0].detach().numpy()
        votes.append(tuple(values > 0) if defense.multi_label else (values.argmax(),))
    return votes


def reference_decision(defense, image):
    """Algorithm 1 of the paper as it is written."""
    corners = mask_corners(8, 8, defense.mask, defense.patch)
    first = reference_votes(defense, image, [[corner] for corner in corners])
    kinds = sorted(set(first))
    majority = max(kinds, key=first.count)
    for corner, vote in zip(corners, first, strict=True):
        second = [[corner, other] for other in corners]
        if vote != majority and set(reference_votes(defense, image, second)) == {vote}:
            return vote
    return majority


TASKS = [("inpaint", False), (0.5, False), ("inpaint", True)]


@pytest.mark.parametrize(("fill", "multi_label"), TASKS)
def test_decision_and_certificate_are_those_of_slow_references(fill, multi_label):
    second_rounds = certified = 0
    for seed in range(6):
        defense = DoubleMasking(Toy(seed), 4, 1, fill, multi_label, batch=7).eval()
        images = quarters(seed)
        corners = mask_corners(8, 8, 4)
        votes = votes_of(defense, images)
        labels = votes.astype(np.int64) if multi_label else votes[:, 0]
        proved = defense.certify(images, labels)
        for image, vote, sure in zip(to_tensor(images).numpy(), votes, proved, strict=True):
            assert tuple(vote) == reference_decision(defense, image)
            pairs = set(reference_votes(defense, image, product(corners, repeat=2)))
            assert sure == (pairs == {tuple(vote)})
            first = set(reference_votes(defense, image, [[corner] for corner in corners]))
            second_rounds += len(first) > 1
            certified += sure
        wrong = 1 - labels if multi_label else (labels + 1) % 3
        assert not defense.certify(images, wrong).any()
    assert second_rounds and 0 < certified < 36  # otherwise nothing was compared


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_pixel_breaks_a_certificate(multi_label):
    proved = broken = 0
    for seed in range(4):
        defense = DoubleMasking(Toy(seed), 4, multi_label=multi_label, batch=512).eval()
        images = quarters(seed, 4)
        votes = votes_of(defense, images)
        sure = defense.certify(images, votes.astype(np.int64) if multi_label else votes[:, 0])
        for image, vote, certain in zip(images, votes, sure, strict=True):
            changed = image[None].repeat(64 * 2, 0)
            for place, (row, col, value) in enumerate(product(range(8), range(8), (0, 255))):
                changed[place, row, col] = value
            held = (votes_of(defense, changed) == vote).all()
            assert held or not certain
            proved, broken = proved + certain, broken + (not held)
    assert proved and broken  # the attacker is not harmless


def test_no_patch_breaks_a_certificate_for_patches():
    defense, rng = DoubleMasking(Toy(1), 4, 2, batch=512).eval(), np.random.default_rng(0)
    images = quarters(1, 8)
    labels = votes_of(defense, images)[:, 0]
    sure = defense.certify(images, labels)
    for image, label in zip(images[sure], labels[sure], strict=True):
        changed = image[None].repeat(49 * 4, 0)
        for place, (row, col, _) in enumerate(product(range(7), range(7), range(4))):
            changed[place, row : row + 2, col : col + 2] = rng.choice([0, 255], (2, 2, 1))
        assert (votes_of(defense, changed) == label).all()
    assert sure.any()


def test_an_attack_can_be_made_through_it_and_its_table_is_consistent():
    defense, images = DoubleMasking(Toy(2), 4, batch=256).eval(), quarters(2)
    with torch.inference_mode():
        labels = defense.classifier(to_tensor(images)).argmax(1).numpy()
    ones = [slice(at, at + 1) for at in range(len(images))]
    table = pd.DataFrame([measured(defense, images[one], labels[one]) for one in ones])
    assert table["clean"].all() and not (table["certified"] & ~table["defended"]).any()
    found = PixelAttack(population=16, generations=5)(defense, images, labels)
    assert (found.table["skipped"] == ~table["defended"]).all()
    assert found.success.any() and not (found.success & table["certified"].to_numpy()).any()


class Center(nn.Module):
    """Logits 1.5 and 1, or 2 where one of the four middle pixels is bright."""

    def forward(self, images):
        second = 1.0 + (images[..., 3:5, 3:5].amax((1, 2, 3)) > 0.5)
        return torch.stack([torch.full_like(second, 1.5), second], 1)


BLACK = np.zeros((1, 8, 8, 1), np.uint8)
BRIGHT = BLACK.copy()
BRIGHT[0, 3:5, 3:5] = 255


@pytest.mark.parametrize(("patch", "held"), [(2, True), (1, False)])
def test_masks_for_one_pixel_do_not_cover_a_patch_of_four(patch, held):
    defense = DoubleMasking(Center().eval(), 4, patch, fill=0.0)
    assert defense.certify(BLACK, [0]).all()
    assert (classify(defense, BRIGHT) == [0]).all() == held


def test_labels_of_votes_and_proofs_are_those_of_the_threshold():
    class OneLabel(Center):
        def forward(self, images):
            return super().forward(images)[:, 1:]  # 1 or 2, and the edge of 0.8 is 1.39

    defense = DoubleMasking(OneLabel().eval(), 4, 2, 0.0, multi_label=True, threshold=0.8)
    assert classify(defense, BRIGHT, True, 0.8).tolist() == [[0]]
    assert defense.certify(BLACK, [[0]]).all() and not defense.certify(BLACK, [[1]]).any()


@pytest.mark.parametrize(
    ("one", "two", "more", "proved"),
    [(5e-4, 1, 0, 0), (1, 5e-4, 0, 0), (1, 5e-3, 0, 1), (0.5, 0.5, 1e4, 0), (5, 5, 1e4, 1)],
)
def test_margins_within_rounding_prove_nothing(one, two, more, proved):
    class Close(nn.Module):
        """One margin under one mask, which fills a quarter with white, another under two.

        Large logits round more.
        """

        def forward(self, images):
            margin = torch.where(images.mean((1, 2, 3)) < 0.3, one, two)
            return torch.stack([margin, torch.zeros_like(margin)], 1) + more

    assert DoubleMasking(Close().eval(), 4, fill=1.0).certify(BLACK, [0]).tolist() == [proved]


def test_logits_are_the_mean_over_the_masks_that_agree():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    model[1].bias.data[0] += 50  # all agree
    defense, images = DoubleMasking(model, 4, fill=0.5), torch.rand(2, 1, 8, 8)
    hidden = [images.masked_fill(mask, 0.5) for mask in defense.masks(8, 8, images.device)]
    with torch.no_grad():
        torch.testing.assert_close(defense(images), torch.stack([*map(model, hidden)]).mean(0))


def test_no_images_have_no_decisions():
    none = np.empty((0, *quarters(0).shape[1:]), np.uint8)
    for fill in ("inpaint", 0.5):
        assert DoubleMasking(Toy(0), 4, fill=fill)(to_tensor(none)).shape == (0, 3)


def test_one_mask_that_hides_all_certifies_by_itself():
    model, images = Toy(0), quarters(0, 4)
    edge = images.shape[1]
    blind = DoubleMasking(model, edge, fill=0.5)
    hidden = model(torch.full((1, 1, edge, edge), 0.5)).argmax()
    labels = [int(hidden), (int(hidden) + 1) % 3, int(hidden), int(hidden)]
    assert blind.certify(images, labels).tolist() == [True, False, True, True]


def test_masks_and_labels_that_do_not_fit_are_refused():
    for wrong in ({"mask": 9}, {"mask": 4, "multi_label": True}):
        with refused():
            DoubleMasking(Toy(0), **wrong).certify(quarters(0, 2), [0, 1])


def test_settings_may_be_numbers_of_numpy():
    images = quarters(0)
    plain = DoubleMasking(Toy(1), 4, 2, 0.25, threshold=0.5, batch=3)
    typed = DoubleMasking(
        Toy(1), np.int64(4), np.uint8(2), np.float32(0.25), threshold=np.float64(0.5),
        batch=np.int64(3),
    )  # fmt: skip
    labels = classify(plain, images)
    np.testing.assert_array_equal(classify(typed, images), labels)
    np.testing.assert_array_equal(typed.certify(images, labels), plain.certify(images, labels))
