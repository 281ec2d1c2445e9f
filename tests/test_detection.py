"""Detection and patch selection: what a defense's residual says, on images made by hand."""

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from lib.defense import detection
from lib.defense.patch_selection import scan_patches, select_patches
from lib.metrics.intervals import bootstrap_auc


def frame(attacked: list[float], clean: list[float], success: list[bool]) -> pd.DataFrame:
    """A restoration table of one defense with the same values for both scores."""
    columns = {"defense": "dae", "success": success}
    for score in detection.SCORES:
        columns[detection.column("attacked", score)] = np.asarray(attacked, float)
        columns[detection.column("clean", score)] = np.asarray(clean, float)
    return pd.DataFrame(columns).astype({"success": bool})


def of(table: pd.DataFrame, images: str, score: str = "largest") -> pd.Series:
    return table[(table["images"] == images) & (table["score"] == score)].iloc[0]


def test_attacks_above_the_limit_that_clean_images_set_are_revealed():
    attacked, clean = [5, 99, 98, 100, 200], [*range(100)]
    table = frame([*attacked, *[0] * 95], clean, [True] * 5 + [False] * 95)
    table = table.assign(dataset="oct", split="test", index=range(100))
    twice = pd.concat([table, table.assign(success=False)])  # of another classifier
    for share, limit in ((0.01, 98), (0.05, 94), (0.0, 99)):
        (row,) = detection.detected(twice, share).to_dict("records")
        expected = np.mean([score > limit for score in attacked])
        assert row["n"] == 5 and row["clean"] == 100 and row["rate"] == pytest.approx(expected)
        assert row["false"] == np.mean(np.array(clean) > limit) <= share
        assert row["low"] <= row["rate"] <= row["high"]
    nothing = detection.detected(table.assign(success=False)).iloc[0]
    assert nothing["n"] == 0 and np.isnan(nothing["rate"])


def test_scores_by_hand():
    images = np.full((2, 4, 4, 3), 100, np.uint8)
    restored = images.copy()
    restored[1, 2, 3] = (101, 60, 255)
    found = detection.scores(images, restored)
    assert found["largest"].tolist() == [0, 155]
    assert found["mean"].tolist() == [0, pytest.approx((1 + 40 + 155) / 48)]
    with refused():
        detection.scores(images, restored[:1])
    with refused():
        detection.scores(images, restored / 255)


def test_finding_the_pixel_exactly_is_one_and_doing_nothing_is_chance():
    random = np.random.default_rng(0)
    clean = random.integers(50, 150, (9, 12, 12, 3), np.uint8)
    attacked = clean.copy()
    attacked[:, 5, 6] += 90
    for restored, area, curve in (
        ((clean, clean), 1, ([0, 0, 1], [0, 1, 1])),
        ((attacked, clean), 0.5, ([0, 1], [0, 1])),
    ):
        found = (detection.scores(a, b) for a, b in zip((attacked, clean), restored, strict=True))
        of_attacked, of_clean = found
        table = frame(of_attacked["largest"], of_clean["largest"], [True] * 9)
        row = of(detection.summary(table, 50, 0), detection.FOOLED)
        assert (row["n"], row["auc"], row["auc_low"], row["auc_high"]) == (9, area, area, area)
        false, true = detection.curves(table)["dae"]
        assert (false.tolist(), true.tolist()) == curve


def test_fooled_images_are_told_from_all():
    table = frame([9, 0, 9], [1, 1, 1], [True, False, True])
    found = detection.summary(table, 50, 0)
    assert of(found, detection.FOOLED)[["n", "auc"]].tolist() == [2, 1]
    assert of(found, detection.ALL)[["n", "auc"]].tolist() == [3, pytest.approx(2 / 3)]
    assert set(found["score"]) == set(detection.SCORES)
    nothing = detection.summary(table.assign(success=False), 50, 0)
    assert np.isnan(of(nothing, detection.FOOLED)["auc"])
    assert of(nothing, detection.FOOLED)["n"] == 0
    assert detection.curves(table.assign(success=False)) == {}


scores = arrays(np.float64, 7, elements=st.integers(0, 5).map(float))


@settings(max_examples=40)
@given(scores, scores, st.integers(0, 99))
def test_auc_and_its_resamples_equal_counted_pairs(positive, negative, seed):
    def counted(one, other):
        right = (one[:, None] > other).sum() + 0.5 * (one[:, None] == other).sum()
        return right / (len(one) * len(other))

    area, low, high = bootstrap_auc(positive, negative, 60, seed)
    assert area == pytest.approx(counted(positive, negative))
    weights = np.random.default_rng(seed).multinomial(7, np.full(7, 1 / 7), size=60)
    resampled = [
        counted(positive[rows], negative[rows])  # an image is drawn with both of its scores
        for rows in (np.repeat(np.arange(7), each) for each in weights)
    ]
    own = np.mean([counted(positive[[i]], negative[[i]]) for i in range(7)])
    moved = np.quantile(resampled, [0.025, 0.975]) - (own - area) / 7
    assert (low, high) == pytest.approx(tuple(np.clip(moved, 0, 1)))


@given(st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=40)
def test_an_area_lies_in_its_interval_however_few_the_images(seed, n):
    image = np.random.default_rng(seed).normal(0, 10, n)
    # Each attacked one is above its own clean one.
    area, low, high = bootstrap_auc(image + 0.1, image, 400, seed)
    assert low <= area <= high


def test_interval_of_an_area_covers(monkeypatch):
    monkeypatch.setattr("lib.metrics.intervals.CHUNK_VALUES", 5000)  # in several parts
    random, hits = np.random.default_rng(1), 0
    for trial in range(120):
        image = random.normal(0, 1, 60)  # shared by the two scores of an image
        positive, negative = (image + shift + random.normal(0, 1, 60) for shift in (1, 0))
        _, low, high = bootstrap_auc(positive, negative, 300, trial)
        hits += low <= 0.6915 <= high  # P(N(1, 2) > N(0, 2)), of different images: Phi(1 / 2)
    assert 0.88 <= hits / 120 <= 0.99


def test_areas_of_few_or_unfit_scores():
    assert np.isnan(bootstrap_auc([], [], 10, 0)).all()
    with refused():
        bootstrap_auc([2, 3], [1, 2], 10, 0, [1])
    area, low, high = bootstrap_auc([2], [1], 10, 0)
    assert area == 1 and np.isnan(low) and np.isnan(high)
    with refused():
        bootstrap_auc([1, 2], [1], 10, 0)
    with refused():
        bootstrap_auc([1, np.nan], [1, 2], 10, 0)


# ---- patch selection

stored = arrays(np.uint8, (2, 6, 7, 3))


@settings(max_examples=60)
@given(stored, stored, st.sampled_from([1, 3, 5]), st.floats(0, 1))
def test_patches_equal_a_slow_reference(images, restored, size, threshold):
    expected, half = images.copy(), size // 2
    for image, row, col in np.ndindex(2, 6, 7):
        pair = zip(images[image, row, col], restored[image, row, col], strict=True)
        if max(abs(int(a) - int(b)) for a, b in pair) > 255 * threshold:
            rows, cols = (slice(max(0, at - half), at + half + 1) for at in (row, col))
            patch = (image, rows, cols)
            expected[patch] = restored[patch]
    np.testing.assert_array_equal(select_patches(images, restored, size, threshold), expected)


def test_only_the_attacked_pixel_is_replaced_and_the_blur_is_not():
    clean = np.full((1, 12, 12, 1), 120, np.uint8)
    attacked, restored = clean.copy(), clean + 9  # a denoiser that also brightens everything
    attacked[0, 4, 5] = 250
    chosen = select_patches(attacked, restored, 3, 0.3)
    changed = np.argwhere(chosen[0, ..., 0] != clean[0, ..., 0])
    assert {tuple(place) for place in changed} == {(r, c) for r in (3, 4, 5) for c in (4, 5, 6)}
    assert (select_patches(clean, restored, 3, 0.3) == clean).all()
    black = np.zeros((1, 4, 4, 1), np.uint8)
    assert (select_patches(black, 255 - black, 1, 1) == black).all()


@pytest.mark.parametrize(
    ("size", "threshold"), [(2, 0.5), (-1, 0.5), (3.0, 0.5), (3, 25), (3, float("nan"))]
)
def test_unfit_patches(size, threshold):
    images = np.zeros((1, 4, 4, 1), np.uint8)
    with refused():
        select_patches(images, images, size, threshold)
    with refused():
        scan_patches(nn.Identity(), nn.Identity(), images, images, [size], [threshold])
    with refused():
        scan_patches(nn.Flatten(), nn.Identity(), images, images[:0])
    with refused():
        select_patches(images, images / 255, 3, 0.5)
