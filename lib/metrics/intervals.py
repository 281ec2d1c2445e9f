"""Intervals: Wilson for rates, bootstrap over images for means; n stands beside every number."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from lib.params.errors import InputError

TOTAL = "all"
CLASS_MEAN = "mean of classes"

# Resampled values held at a time: 32 MB of indices.
CHUNK_VALUES = 2**22


def wilson(
    successes: int, n: int, level: float = 0.95, units: int | None = None
) -> tuple[float, float]:
    """Wilson score interval of a rate (Wilson 1927).

    Args:
        successes: 0..n.
        n: number of trials; with 0 both bounds are NaN.
        level: coverage wanted, between 0 and 1.
        units: how many images the trials are of, if one image stands for several. The interval is
            then that of the same rate in so many trials, as if the trials of an image always had
            the same outcome: too wide rather than too narrow.

    Returns:
        Lower and upper bound, 0..1.

    Raises:
        InputError: successes outside 0..n, or more units than trials.
    """
    successes, n = int(successes), int(n)
    if not 0 <= successes <= n:
        raise InputError(f"A rate needs successes between 0 and n: got {successes} of {n}.")
    if n == 0:
        return float("nan"), float("nan")
    # In closed form, because importing scipy.stats costs a page more than all its intervals.
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / n
    never, always = not successes, successes == n
    if units is not None:
        if not 0 < units <= n:
            raise InputError(f"{n} trials cannot be of {units} images.")
        successes, n = share * units, units
    center = (successes + z * z / 2) / (n + z * z)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Where nothing or everything succeeds, one bound is exact and must not miss by a rounding.
    low = 0.0 if never else center - half
    high = 1.0 if always else center + half
    return low, high


def newcombe(one: pd.Series, other: pd.Series) -> tuple[float, float, float]:
    """Difference of two independent rates with an interval from Wilson's of each (Newcombe 1998).

    Args:
        one: ``rate, low, high`` as `wilson` gives them, shares 0..1.
        other: the same of the rate that is taken away.

    Returns:
        Difference, lower and upper bound, -1..1; NaN where a rate has no trials.
    """
    difference = one["rate"] - other["rate"]
    down = math.hypot(one["rate"] - one["low"], other["high"] - other["rate"])
    up = math.hypot(one["high"] - one["rate"], other["rate"] - other["low"])
    return difference, difference - down, difference + up


def paired(differences: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Difference of two rates on the same images, with an interval that small numbers allow.

    Only images on which the two outcomes differ tell the two apart. The share of those that speak
    for the one has a Clopper-Pearson interval, the share of images that differ a Wilson interval,
    and the bounds are their farthest products: wider than need be. They lie off zero exactly where
    McNemar's exact test is significant (Fagerland, Lydersen and Laake 2013), so that five images
    or fewer never decide.

    Args:
        differences: one per image, outcome of the one less that of the other: -1, 0 or 1.

    Returns:
        Mean difference, lower and upper 95 % bound, -1..1; NaN without images.

    Raises:
        InputError: another value.
    """
    from scipy.special import betaincinv  # as in `wilson`: a page should not wait for it

    values = np.asarray(differences, dtype=float)
    ahead, behind = int((values == 1).sum()), int((values == -1).sum())
    n, differ = len(values), ahead + behind
    if differ + int((values == 0).sum()) != n:
        raise InputError("A difference of two outcomes is -1, 0 or 1: leave others out first.")
    if not n:
        return (float("nan"),) * 3
    few, most = wilson(differ, n)
    least = float(betaincinv(ahead, behind + 1, 0.025)) if ahead else 0.0
    largest = float(betaincinv(ahead + 1, behind, 0.975)) if behind else 1.0
    low, high = 2 * least - 1, 2 * largest - 1
    return (
        (ahead - behind) / n,
        low * (most if low < 0 else few),
        high * (most if high > 0 else few),
    )


def standardized(table: pd.DataFrame, weights: pd.Series) -> tuple[float, float, float]:
    """Rate in another mix of groups: the groups' rates, weighted (direct standardization).

    Args:
        table: ``n, rate, low, high`` of groups as `rate_table` gives them, by group.
        weights: 0 or more by group, such as how many images of it another study has.

    Returns:
        Rate, lower and upper 95 % bound, 0..1, which combine the groups' Wilson intervals as Zou,
        Huang and Zhang (2009) do. NaN where a group with a weight has no trial.
    """
    weights = weights[weights > 0] / weights.sum()
    rows = table[table["n"] > 0]
    if not len(weights) or not weights.index.isin(rows.index).all():
        return (float("nan"),) * 3
    rows = rows.loc[weights.index]
    rate = float((weights * rows["rate"]).sum())
    below = np.square(weights * (rows["rate"] - rows["low"])).sum()
    above = np.square(weights * (rows["high"] - rows["rate"])).sum()
    return rate, rate - math.sqrt(below), rate + math.sqrt(above)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, samples: int, seed: int, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean and percentile bootstrap interval over images (Efron; EVA12).

    Args:
        values: one finite value per image, in any order (the order changes nothing).
        samples: number of resamples.
        seed: fixes the resamples.
        level: coverage wanted, between 0 and 1.

    Returns:
        Mean, lower and upper bound. All NaN without values; with one value only the bounds are
        NaN, as one image says nothing of the spread.

    Raises:
        InputError: a value is NaN or infinite (leave it out and count it), or no samples.
    """
    values = np.sort(np.asarray(values, dtype=np.float64))
    if samples < 1:
        raise InputError(f"A bootstrap needs at least one sample, not {samples}.")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(f"{bad} of {values.size} values are not finite: leave them out first.")
    nan = float("nan")
    if values.size == 0:
        return nan, nan, nan
    if values.size == 1:
        return float(values[0]), nan, nan
    random = np.random.default_rng(seed)
    step = max(1, CHUNK_VALUES // values.size)
    means = np.concatenate(
        [
            values[random.integers(values.size, size=(min(step, samples - done), values.size))]
            .mean(axis=1)
            for done in range(0, samples, step)
        ]
    )  # fmt: skip
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(values.mean()), float(low), float(high)


def bootstrap_auc(
    positive: Sequence[float] | np.ndarray,
    negative: Sequence[float] | np.ndarray,
    samples: int,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Area under the ROC curve of a score and its bootstrap interval over pairs of images.

    The area is the share of all (positive, negative) pairs of scores in the right order, ties
    counting half: 0.5 is chance. A resample draws images with both of their scores, because a
    positive and a negative of one image are not independent. It holds an image with itself more
    often than the images do, which moves all resamples; the bounds are moved back by as much.

    Args:
        positive: one finite score per image in the state to be found, such as attacked.
        negative: the score of the same images in the other state, in the same order.
        samples: number of resamples.
        seed: fixes the resamples.
        level: coverage wanted, between 0 and 1.

    Returns:
        Area, lower and upper bound. All NaN without images; with one image only the bounds are
        NaN. Where all scores are in order, the bounds are 1 however few the images.

    Raises:
        InputError: lengths differ, a score is not finite, or no samples.
    """
    from sklearn.metrics import roc_auc_score

    positive, negative = (np.asarray(each, dtype=np.float64) for each in (positive, negative))
    n = len(positive)
    if n != len(negative):
        raise InputError(f"Scores come in pairs: got {n} positive and {len(negative)} negative.")
    if samples < 1:
        raise InputError(f"A bootstrap needs at least one sample, not {samples}.")
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        raise InputError("A score is not finite: leave its image out first.")
    nan = float("nan")
    if n == 0:
        return nan, nan, nan
    area = float(roc_auc_score(np.repeat([1, 0], n), np.concatenate([positive, negative])))
    if n == 1:
        return area, nan, nan
    order = np.argsort(negative)
    below = np.searchsorted(negative[order], positive, "left")
    upto = np.searchsorted(negative[order], positive, "right")
    random = np.random.default_rng(seed)
    step = max(1, CHUNK_VALUES // n)
    areas = []
    for done in range(0, samples, step):
        drawn = random.multinomial(n, np.full(n, 1 / n), size=min(step, samples - done))
        # Negatives drawn among the lowest 0, 1, ... n, so that each pair is counted at once.
        lowest = np.pad(drawn[:, order].cumsum(axis=1), ((0, 0), (1, 0)))
        areas.append((drawn * (lowest[:, below] + lowest[:, upto])).sum(axis=1) / (2 * n * n))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(areas), [tail, 1 - tail])
    # A resample is expected to hold a share of 1/n more pairs of an image with itself.
    alone = ((positive > negative).mean() + (positive >= negative).mean()) / 2
    low, high = np.clip([low - (alone - area) / n, high - (alone - area) / n], 0, 1)
    return area, float(low), float(high)


def rate_table(
    frame: pd.DataFrame, by: str, success: str, groups: Iterable[object] | None = None
) -> pd.DataFrame:
    """Success rates by group, overall, and the mean of the groups' rates (ATK20).

    The paper compares overall rates with means of class rates (audit C4); both are here.

    Args:
        frame: one row per trial.
        by: column to group by.
        success: column of booleans.
        groups: the groups in the order wanted, also those without a trial; default: as found.

    Returns:
        Columns ``by, n, successes, rate, low, high``: a row per group, then `TOTAL`, then
        `CLASS_MEAN`, the plain mean of the rates of groups that have trials. Rates are shares
        0..1 with Wilson intervals; that of the mean combines the groups' Wilson intervals as
        Zou, Huang and Zhang (2009) do. NaN where n is 0.

    Raises:
        InputError: a column is missing or not boolean, or a trial lies in no given group.
    """
    for column in (by, success):
        if column not in frame:
            raise InputError(f"The table has no column {column!r}: it has {list(frame.columns)}.")
    if not pd.api.types.is_bool_dtype(frame[success]):
        raise InputError(f"Column {success!r} must be boolean, not {frame[success].dtype}.")
    found = frame[by].unique()
    groups = list(found) if groups is None else list(groups)
    if strange := [group for group in found if group not in groups]:
        raise InputError(f"Column {by!r} has {strange[0]!r}, which is none of {groups}.")

    columns = [by, "n", "successes", "rate", "low", "high"]
    table = pd.DataFrame(
        [_rate(group, frame.loc[frame[by] == group, success]) for group in groups], columns=columns
    )
    total = _rate(TOTAL, frame[success])
    tried = table[table["n"] > 0]
    class_mean = (CLASS_MEAN, *total[1:3], *standardized(tried, pd.Series(1.0, tried.index)))
    table.loc[len(table)] = total
    table.loc[len(table)] = class_mean
    return table


def _rate(name: object, outcomes: pd.Series) -> tuple[object, int, int, float, float, float]:
    n, successes = len(outcomes), int(outcomes.sum())
    return name, n, successes, successes / n if n else float("nan"), *wilson(successes, n)
