"""Intervals against published values, independent code and simulation."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from lib.metrics.intervals import (
    CLASS_MEAN,
    TOTAL,
    bootstrap_auc,
    bootstrap_mean,
    newcombe,
    paired,
    rate_table,
    resampled,
    standardized,
    wilson,
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_wilson_known_values():
    # Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3.
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(successes, n) == pytest.approx((low, high), abs=5.1e-5)
        assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=5.1e-5)


@given(st.data(), st.integers(1, 200))
def test_trials_of_fewer_images_have_a_wider_interval_of_the_same_rate(data, n):
    k, units = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    low, high = wilson(k, n, units=units)
    narrow = wilson(k, n)
    assert low <= narrow[0] + 1e-12 and high >= narrow[1] - 1e-12
    assert narrow[0] <= k / n <= narrow[1]
    assert wilson(k, n, units=n) == pytest.approx(narrow, abs=1e-12)
    assert wilson(3 * k, 3 * n, units=n) == pytest.approx(narrow, abs=1e-9)
    with refused():
        wilson(k, n, units=n + 1)


def test_a_rate_of_no_trials_is_unknown():
    assert np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_the_impossible(successes, n):
    with refused():
        wilson(successes, n)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((56, 70), (48, 80), (0.2, 0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.6, 0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.5714, 0.0582, 0.8062)),
        ((5, 56), (0, 29), (0.0893, -0.0381, 0.1926)),
        ((0, 10), (0, 10), (0.0, -0.2775, 0.2775)),
    ],
)
def test_difference_of_rates_known_values(one, other, expected):
    # Newcombe (1998), Statistics in Medicine 17, 873, table II, method 10.
    rows = [(hits / n, *wilson(hits, n)) for hits, n in (one, other)]
    assert newcombe(*rows) == pytest.approx(expected, abs=5e-5)
    turned = newcombe(*reversed(rows))
    assert turned == pytest.approx((-expected[0], -expected[2], -expected[1]), abs=5e-5)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_difference_of_rates_is_that_of_statsmodels(n, m, share, other_share):
    counts = round(share * n), n, round(other_share * m), m
    theirs = confint_proportions_2indep(*counts, compare="diff", method="newcomb")
    rows = [(hits / of, *wilson(hits, of)) for hits, of in (counts[:2], counts[2:])]
    assert newcombe(*rows)[1:] == pytest.approx(theirs, abs=1e-9)


def test_bootstrap_is_near_the_normal_interval_and_covers():
    random = np.random.default_rng(1)
    hits, trials = 0, 200
    for trial in range(trials):
        mean, low, high = bootstrap_mean(random.normal(3, 2, 80), 400, trial)
        assert low < mean < high
        hits += low <= 3 <= high
    assert 0.89 <= hits / trials <= 0.99
    values = random.normal(0, 1, 2500)
    _, low, high = bootstrap_mean(values, 4000, 0)
    half = 1.96 * values.std() / 50
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.003)


def test_bootstrap_is_fixed_by_the_seed_and_not_by_the_order():
    values = np.random.default_rng(2).exponential(size=50)
    first = bootstrap_mean(values, 300, 7)
    assert bootstrap_mean(values[::-1], 300, 7) == first
    assert bootstrap_mean(values, 300, 8)[1:] != first[1:]
    assert first[0] == pytest.approx(values.mean())


def test_a_bootstrap_in_small_batches_has_the_same_resamples(monkeypatch):
    values = np.arange(10.0)
    whole = bootstrap_mean(values, 1001, 0), bootstrap_auc(values + 1.5, values, 1001, 0)
    monkeypatch.setattr("lib.metrics.intervals.CHUNK_VALUES", 64)
    assert (bootstrap_mean(values, 1001, 0), bootstrap_auc(values + 1.5, values, 1001, 0)) == whole
    assert [len(each) for each in resampled(10, 20, 0)] == [6, 6, 6, 2]


def test_copies_of_an_image_in_its_cluster_leave_the_area_and_its_interval_as_they_were():
    random = np.random.default_rng(5)
    negative = random.normal(size=30)
    positive, copies = negative + random.normal(0.4, 1, 30), np.repeat(np.arange(30), 3)
    alone = bootstrap_auc(positive, negative, 500, 0)
    assert bootstrap_auc(positive, negative, 500, 0, np.arange(30)) == alone
    together = bootstrap_auc(positive[copies], negative[copies], 500, 0, copies)
    assert together == pytest.approx(alone, abs=1e-12)
    assert np.isnan(bootstrap_auc(positive, negative, 500, 0, np.zeros(30))[1:]).all()


def test_bootstrap_of_few_values():
    assert np.isnan(bootstrap_mean([], 10, 0)).all()
    mean, low, high = bootstrap_mean([2.5], 10, 0)
    assert mean == 2.5 and math.isnan(low) and math.isnan(high)
    assert bootstrap_mean([4.0, 4.0], 10, 0) == (4.0, 4.0, 4.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bootstrap_refuses_what_the_caller_must_leave_out(bad):
    with refused():
        bootstrap_mean([1, bad, 2], 10, 0)


def trials(**groups: tuple[int, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [(g, i < k) for g, (k, n) in groups.items() for i in range(n)], columns=["class", "success"]
    ).astype({"success": bool})


def test_rate_table_of_printed_table_17():
    names = dict(zip("abcdefg", [(12, 37), (14, 79), (35, 139), (3, 10), (34, 114), (78, 1268),
                                 (2, 22)], strict=True))  # fmt: skip
    table = rate_table(trials(**names), "class", "success").set_index("class")
    assert list(table.columns) == ["n", "successes", "rate", "low", "high"]
    assert list(table.index) == [*"abcdefg", TOTAL, CLASS_MEAN]
    assert table.loc[TOTAL, ["n", "successes"]].tolist() == [1669, 178]
    assert table.loc[TOTAL, "rate"] == pytest.approx(0.1067, abs=5e-5)
    assert table.loc[CLASS_MEAN, "rate"] == pytest.approx(0.2148, abs=1e-4)  # printed, cut off
    assert tuple(table.loc["a", ["low", "high"]]) == pytest.approx(wilson(12, 37))
    assert (table["low"] <= table["rate"]).all() and (table["rate"] <= table["high"]).all()
    assert pd.api.types.is_integer_dtype(table["n"])


def test_interval_of_the_mean_of_four_like_classes_is_half_as_wide():
    table = rate_table(trials(a=(3, 10), b=(3, 10), c=(3, 10), d=(3, 10)), "class", "success")
    one, mean = table.iloc[0], table.iloc[-1]
    assert mean["rate"] - mean["low"] == pytest.approx((one["rate"] - one["low"]) / 2)
    assert mean["high"] - mean["rate"] == pytest.approx((one["high"] - one["rate"]) / 2)


def test_interval_of_the_class_mean_covers():
    random, truth, hits, n = np.random.default_rng(3), (0.02, 0.3, 0.9), 0, 40
    for _ in range(150):
        counts = random.binomial(n, truth)
        frame = trials(**{str(i): (int(k), n) for i, k in enumerate(counts)})
        row = rate_table(frame, "class", "success").iloc[-1]
        hits += row["low"] <= np.mean(truth) <= row["high"]
    assert hits / 150 >= 0.89


def test_groups_without_trials_are_shown_and_not_averaged():
    table = rate_table(trials(b=(1, 2), a=(0, 2)), "class", "success", ["a", "b", "c"])
    assert table["class"].tolist() == ["a", "b", "c", TOTAL, CLASS_MEAN]
    assert table["n"].tolist() == [2, 2, 0, 4, 4]
    assert table.loc[2, ["rate", "low", "high"]].isna().all()
    assert table["rate"].iloc[-1] == 0.25


def test_rate_table_without_any_trial():
    table = rate_table(trials(a=(0, 0)), "class", "success", ["a"])
    assert table["n"].tolist() == [0, 0, 0]
    assert table[["rate", "low", "high"]].isna().all(axis=None)


def test_rate_table_names_bad_input():
    frame = trials(a=(1, 2))
    with refused("'klass'"):
        rate_table(frame, "klass", "success")
    with refused("'success'", "int64"):
        rate_table(frame.astype({"success": int}), "class", "success")
    with refused("'a'", "'b'"):
        rate_table(frame, "class", "success", ["b"])


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_paired_difference_is_off_zero_where_mcnemar_s_exact_test_says_so(ahead, behind, same):
    n = ahead + behind + same
    difference, low, high = paired([1] * ahead + [-1] * behind + [0] * same)
    if not n:
        assert math.isnan(difference) and math.isnan(low) and math.isnan(high)
        return
    assert difference == pytest.approx((ahead - behind) / n)
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
    decided = mcnemar([[0, ahead], [behind, same]], exact=True).pvalue < 0.05
    assert (low > 0 or high < 0) == decided
    turned = paired([-1] * ahead + [1] * behind + [0] * same)
    assert turned == pytest.approx((-difference, -high, -low))


@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 0.0), (0.3, 0.1), (0.5, 0.5), (0.8, 0.0)])
def test_paired_intervals_hold_the_true_difference_as_often_as_they_say(ours, theirs):
    n, held = 12, 0.0
    for ahead in range(n + 1):
        for behind in range(n + 1 - ahead):
            of = [ahead, behind, n - ahead - behind]
            chance = multinomial.pmf(of, n, [ours, theirs, 1 - ours - theirs])
            _, low, high = paired([1] * ahead + [-1] * behind + [0] * of[2])
            held += chance * (low - 1e-9 <= ours - theirs <= high + 1e-9)
    assert held > 0.94


def test_a_paired_difference_of_something_else_is_refused():
    with refused():
        paired([0.5, 1])


@given(st.data(), st.integers(1, 5))
def test_a_rate_in_another_mix_of_groups(data, count):
    trials = data.draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    groups = list("abcde"[:count])
    frame = pd.DataFrame({"group": np.repeat(groups, trials)})
    frame["success"] = data.draw(st.lists(st.booleans(), min_size=len(frame), max_size=len(frame)))
    table = rate_table(frame, "group", "success").set_index("group")
    own = pd.Series(trials, groups, dtype=float)
    rate, low, high = standardized(table, own)  # in its own mix a rate is what it was
    assert rate == pytest.approx(table.loc[TOTAL, "rate"])
    assert low + 1e-12 >= 0 and low <= rate <= high <= 1 + 1e-12
    even = standardized(table, pd.Series(1.0, groups))
    assert even == pytest.approx(tuple(table.loc[CLASS_MEAN, ["rate", "low", "high"]]))
    first = standardized(table, pd.Series({**dict.fromkeys(groups, 0.0), "a": 7.0}))
    assert first == pytest.approx(tuple(table.loc["a", ["rate", "low", "high"]]))
    assert math.isnan(standardized(table, pd.Series({"a": 1.0, "no trial": 1.0}))[0])


def test_impossible_resamples_are_named_and_lists_are_arrays():
    for samples, seed in ((0, 0), (1.5, 0), ("10", 0), (10, -1), (10, "a")):
        with refused():
            bootstrap_mean([1, 2, 3], samples, seed)
        with refused():
            bootstrap_auc([1, 2], [0, 1], samples, seed)
    found = bootstrap_auc([1, 2], [0, 1], 10, 0, [1, 2])
    assert found == bootstrap_auc([1, 2], [0, 1], 10, 0, np.array([1, 2]))
