"""Double masking: its masks, its fill, its decision, and attacks on what it certifies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.attack import AnyLabelChange, PixelAttack
from lib.defense import DoubleMasking
from lib.defense.double_masking import fill, grid
from lib.models.classifiers import classify
from lib.params.errors import InputError

SIZE = 8


class Local(nn.Module):
    """Logits of the sum and of the brightest corner, so that masks and pixels can turn it."""

    classes = 3

    def __init__(self, seed=0, gain=3.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(gain * torch.randn(3, SIZE**2, generator=generator))

    def forward(self, images):
        return (images.mean(1).flatten(1) - 0.5) @ self.weight.T


def pictures(count, seed=0):
    """Smooth images, as a fill from the surroundings needs them."""
    small = np.random.default_rng(seed).integers(20, 230, (count, 2, 2))
    return small.repeat(4, 1).repeat(4, 2).astype(np.uint8)


@given(st.integers(4, 13), st.integers(4, 13), st.integers(1, 4), st.integers(1, 4))
def test_every_patch_lies_under_a_mask(height, width, mask, patch):
    patch = min(patch, mask)
    masks = grid(height, width, mask, patch)
    for row in range(height - patch + 1):
        for col in range(width - patch + 1):
            assert masks[:, row : row + patch, col : col + patch].all((1, 2)).any()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([1, 3]))
def test_the_fill_ignores_what_is_masked(seed, channels):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, 256, (channels, SIZE, SIZE), dtype=np.uint8))
    masks = grid(SIZE, SIZE, 3)
    masks = masks | masks[torch.from_numpy(rng.permutation(len(masks)))]
    noise = torch.from_numpy(rng.integers(0, 256, image.shape, dtype=np.uint8))
    for place in range(len(masks)):
        other = noise.where(masks[place], image)
        one = masks[place : place + 1]
        assert torch.equal(fill(image, one), fill(other, one))
        assert torch.equal(fill(image, one)[0].where(~masks[place], image), image)


def test_the_fill_weighs_its_neighbors_by_their_distance():
    image = torch.zeros(1, 5, 5, dtype=torch.uint8)
    image[0, 2] = torch.tensor([10, 99, 99, 40, 0], dtype=torch.uint8)
    image[0, 1, 1:3], image[0, 3, 1:3] = 20, 30
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 2, 1:3] = True
    made = fill(image, mask)[0, 0, 2].tolist()
    expected = [round((10 + 40 / 2 + 20 + 30) / 3.5), round((10 / 2 + 40 + 20 + 30) / 3.5)]
    assert made == [10, *expected, 40, 0]


def test_nothing_is_left_of_an_image_under_a_mask_of_its_size():
    image = torch.randint(0, 256, (1, 4, 4), dtype=torch.uint8)
    made = fill(image, grid(4, 4, 4))
    assert (made == made[0, 0, 0, 0]).all()


def test_no_change_of_a_pixel_turns_a_certified_decision():
    images = pictures(8)
    model = Local().eval()
    labels = classify(model, images)
    defended = DoubleMasking(model, 2).eval()
    table = defended.certify(images, labels)
    assert 0 < table["certified"].sum() < len(table)  # else this says nothing
    rng = np.random.default_rng(0)
    fooled = 0
    for image, row in zip(images, table.itertuples(), strict=True):
        changed = image[None].repeat(40, 0)
        places = rng.integers(0, SIZE, (40, 2))
        changed[np.arange(40), places[:, 0], places[:, 1]] = rng.choice([0, 255], 40)
        turned = (defended.decide(changed) != row.label).any()
        assert not (turned and row.certified)
        fooled += turned
    assert fooled and table["right"][table["certified"]].all()


def test_no_attack_on_certified_images_succeeds():
    images, model = pictures(8, 3), Local(3).eval()
    defended = DoubleMasking(model, 2).eval()
    labels = classify(model, images)
    certified = defended.certify(images, labels)["certified"].to_numpy()
    assert certified.any()
    attack = PixelAttack(1, population=12, generations=4)
    assert not attack(defended, images[certified], labels[certified]).success.any()


def test_no_patch_turns_a_certified_decision():
    images, model = pictures(8, 3), Local(3).eval()
    labels, turned = classify(model, images), 0
    rng = np.random.default_rng(0)
    defended = DoubleMasking(model, 3, patch=2).eval()
    certified = defended.certify(images, labels)["certified"].to_numpy()
    for image, label, proved in zip(images, labels, certified, strict=True):
        changed = image[None].repeat(20, 0)
        for one, (row, col) in zip(changed, rng.integers(0, SIZE - 1, (20, 2)), strict=True):
            one[row : row + 2, col : col + 2] = rng.choice([0, 255], (2, 2))
        wrong = (defended.decide(changed) != label).any()
        assert not (wrong and proved)
        turned += wrong
    assert certified.any() and turned


def test_the_decision_is_patchcleansers():
    """A vote that is right under every second mask wins over most."""
    image = np.full((1, 4, 4), 100, np.uint8)
    image[0, 0, 0] = 255

    class Seen(nn.Module):
        classes = 2

        def forward(self, batch):
            bright = (batch.amax((1, 2, 3)) > 0.9).float()
            return torch.stack([1 - bright, bright], 1)

    assert classify(Seen().eval(), image)[0] == 1
    assert DoubleMasking(Seen().eval(), 2).decide(image)[0] == 0


def test_several_labels_are_decided_as_one_vector():
    images, model = pictures(5, 3), Local(1).eval()
    labels = classify(model, images, True)
    defended = DoubleMasking(model, 2, multi_label=True).eval()
    table = defended.certify(images, labels)
    assert defended.decide(images).shape == (5, 3)
    with torch.no_grad():
        values = defended(torch.from_numpy(images).unsqueeze(1) / 255)
    assert ((values > 0).numpy() == defended.decide(images)).all()
    kept = table["certified"].to_numpy()
    assert kept.any()
    found = PixelAttack(1, population=8, generations=2, criterion=AnyLabelChange())(
        defended, images[kept], labels[kept]
    )
    assert not found.success.any()


def test_wrong_inputs_are_named():
    for mask, patch in ((0, 1), (2, 3), (9, 1)):
        with pytest.raises(InputError):
            DoubleMasking(Local().eval(), mask, patch).decide(pictures(1))
    with pytest.raises(InputError):
        DoubleMasking(Local().eval(), 2).certify(pictures(2), [0])
