"""Intervals where several images are of one patient or lesion."""

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st

from lib.metrics import clusters, intervals


def frame(groups, copies=1) -> pd.DataFrame:
    index = np.repeat(np.arange(len(groups)), copies)
    return pd.DataFrame({"dataset": "oct", "split": "test", "index": index,
                         "group": np.repeat(groups, copies)})  # fmt: skip


def test_patients_join_images_and_unknown_ones_stand_alone():
    of = clusters.of(frame([7, -1, 7, -1, 0, 0]))
    assert of[0] == of[2] and of[4] == of[5]
    assert len(set(of)) == 4
    twice = clusters.of(frame([-1, -1], copies=2))  # two attacks on each image
    assert twice[0] == twice[1] != twice[2]
    assert len(set(clusters.of(pd.DataFrame({"success": [True] * 3})))) == 3
    # A missing name is a name.
    unnamed = pd.DataFrame({"dataset": ["oct"] * 2 + [None] * 2, "index": [0, 1, 0, 1]})
    assert len(set(clusters.of(unnamed))) == 4
    # Patient 7 of one data set is not patient 7 of another.
    both = pd.concat([frame([7]), frame([7]).assign(dataset="chest")])
    assert len(set(clusters.of(both))) == 2


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 4))
def test_copies_count_once_and_single_images_as_they_are(outcomes, copies):
    single = frame(np.arange(len(outcomes)))
    plain = intervals.rate(sum(outcomes), len(outcomes))
    assert intervals.share(pd.Series(outcomes), clusters.of(single)) == pytest.approx(plain)
    repeated = frame(np.arange(len(outcomes)), copies)
    again = intervals.share(np.repeat(outcomes, copies), clusters.of(repeated))
    assert again == pytest.approx(plain)


@given(st.data(), st.integers(2, 30))
def test_effective_number_lies_between_one_and_all(data, n):
    values = data.draw(st.lists(st.floats(-50, 50), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    assert 0 < clusters.effective_size(values, groups) <= n
    assert clusters.effective_size(values, None) == n
    order = data.draw(st.permutations(range(n)))
    shuffled = clusters.effective_size(np.array(values)[order], np.array(groups)[order])
    assert shuffled == pytest.approx(clusters.effective_size(values, groups), rel=1e-6)


def test_outcomes_that_are_all_equal_count_by_patient():
    assert clusters.effective_size([1] * 6, [0, 0, 0, 1, 1, 2]) == 3


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_intervals_cover_the_truth_when_patients_are_alike(alike):
    """With likeness, intervals over images would cover far less than 95 %."""
    random, share = np.random.default_rng(3), 0.3
    kinds = ("rate", "mean", "images")
    covered = dict.fromkeys(kinds, 0)
    groups, rounds = np.repeat(np.arange(60), 4), 300
    for turn in range(rounds):
        own, common = random.random(240), np.repeat(random.random(60), 4)
        won = np.where(random.random(240) < alike, common, own) < share
        bounds = (
            intervals.share(won, clusters.of(frame(groups))),
            intervals.bootstrap_mean(won, 200, turn, groups),
            intervals.rate(int(won.sum()), len(won)),
        )
        for kind, (_, low, high) in zip(kinds, bounds, strict=True):
            covered[kind] += low <= share <= high
    assert covered["rate"] > 0.9 * rounds
    assert covered["mean"] > 0.88 * rounds
    if alike:
        assert covered["images"] < 0.85 * rounds


def test_intervals_cover_the_truth_when_few_patients_hold_most_images():
    random, share, sizes = np.random.default_rng(5), 0.4, np.array([10, 4, 2, 1, 1])
    groups, rounds, covered = np.repeat(np.arange(len(sizes)), sizes), 300, 0
    for _ in range(rounds):
        own, common = random.random(len(groups)), random.random(len(sizes))[groups]
        won = np.where(random.random(len(groups)) < 0.9, common, own) < share
        _, low, high = intervals.share(won, groups)
        covered += low <= share <= high
    assert covered > 0.9 * rounds


@given(st.lists(st.integers(1, 9), min_size=3, max_size=12))
def test_patients_with_equally_many_images_are_worth_most(sizes):
    """Half of the images of each are fooled, so that only the sizes matter."""
    groups = np.repeat(np.arange(len(sizes)), 2 * np.array(sizes))
    worth = clusters.effective_size(np.arange(len(groups)) % 2, groups) / len(groups)
    if len(set(sizes)) == 1:
        assert worth == pytest.approx(1)
    else:
        assert worth < 1


def test_bootstrap_draws_patients():
    values, groups = np.array([1.0, 1, 5, 5, 9, 9]), [0, 0, 1, 1, 2, 2]
    by_patient = intervals.bootstrap_mean(values, 2000, 0, groups)
    assert by_patient == intervals.bootstrap_mean(values[::2], 2000, 0)
    moved = intervals.bootstrap_mean(values[::-1], 2000, 0, groups[::-1])
    assert moved == by_patient
    assert np.isnan(intervals.bootstrap_mean([1, 2], 10, 0, [4, 4])[1:]).all()


def test_a_paired_difference_of_copies_is_that_of_the_images():
    differences = np.array([1] * 12 + [-1] * 3 + [0] * 20)
    groups = np.arange(35)
    twice = intervals.paired(np.repeat(differences, 2), np.repeat(groups, 2))
    assert twice == pytest.approx(intervals.paired(differences))
    assert intervals.paired(differences, groups) == pytest.approx(intervals.paired(differences))


def test_rates_of_classes_count_copies_once():
    single = pd.DataFrame({"class": list("aabbb"), "success": [True, False, True, True, False]})
    twice, of = pd.concat([single] * 2, ignore_index=True), np.tile(np.arange(5), 2)
    once = intervals.rate_table(single, "class", "success")
    again = intervals.rate_table(twice, "class", "success", clusters=of)
    bounds = ["rate", "low", "high"]
    np.testing.assert_allclose(again[bounds], once[bounds])


def test_lengths_must_fit():
    with refused():
        intervals.bootstrap_mean([1.0, 2.0], 10, 0, [0])
    with refused():
        clusters.effective_size([1.0, 2.0], [0, 1, 2])
