"""95 % confidence intervals: Wilson for rates, bootstrap for means and areas.

Where images come in clusters, such as several of one patient, see `lib.metrics.clusters`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from lib.metrics.clusters import effective_size, totals
from lib.params.errors import InputError, check_number

TOTAL = "all"
CLASS_MEAN = "mean of classes"
NONE = (math.nan,) * 3

CHUNK_VALUES = 2**18  # resampled at a time: 2 MB of indices, which fit the cache


def wilson(successes: int, n: int, units: float | None = None) -> tuple[float, float]:
    """95 % Wilson score interval of a rate in 0..1 (Wilson 1927); NaN without trials.

    ``units`` is the number of independent trials that ``n`` dependent ones are worth. The interval
    is then that of the same rate in so many trials.

    Raises:
        InputError: successes outside 0..n, or more units than trials.
    """
    if not 0 <= successes <= n:
        raise InputError(f"A rate needs successes between 0 and n: got {successes} of {n}.")
    if n == 0:
        return math.nan, math.nan
    if units is None:
        units = n
    elif not 0 < units <= n:
        raise InputError(f"{n} trials cannot be worth {units} independent ones.")
    share = successes / n
    low, high = proportion_confint(share * units, units, method="wilson")
    # At a rate of 0 or 1 one bound is the rate itself, up to a rounding.
    return min(low, share), max(high, share)


def rate(successes: int, n: int, units: float | None = None) -> tuple[float, float, float]:
    """A rate with its `wilson` interval; all NaN without trials."""
    return successes / n if n else math.nan, *wilson(successes, n, units)


def share(
    outcomes: pd.Series | np.ndarray, clusters: Sequence[int] | np.ndarray | None = None
) -> tuple[float, float, float]:
    """`rate` of outcomes, booleans (N,), of which several may be of one image, patient or lesion.

    ``clusters`` (N,) tells which, see `lib.metrics.clusters.of`; None for independent outcomes.
    """
    return rate(int(np.sum(outcomes)), len(outcomes), effective_size(outcomes, clusters) or None)


def columns(name: str, estimate: Sequence[float]) -> dict[str, float]:
    """An estimate and its bounds as columns of a table: ``<name>, <name>_low, <name>_high``."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))


def newcombe(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Difference of two independent estimates, each given as estimate, lower and upper bound.

    For two rates with Wilson intervals this is Newcombe's interval (1998). The one of statsmodels
    takes counts, which a class-weighted rate or a mean does not have.

    Returns:
        ``one`` minus ``other``, lower and upper bound; NaN where an estimate is.
    """
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    down, up = math.hypot(a - a_low, b_high - b), math.hypot(a_high - a, b - b_low)
    return a - b, a - b - down, a - b + up


def paired(
    differences: Sequence[float] | np.ndarray, clusters: Sequence[int] | np.ndarray | None = None
) -> tuple[float, float, float]:
    """Difference of two rates on the same images, with a conservative exact interval.

    Only images with different outcomes distinguish the two. The share of those in favor of the
    first has a Clopper-Pearson interval, the share of images that differ a Wilson interval; the
    bounds are their extreme products. They exclude 0 exactly where McNemar's exact test is
    significant (Fagerland, Lydersen and Laake 2013), so five images or fewer never decide.

    Args:
        differences: first outcome minus second, one per image: -1, 0 or 1.
        clusters: as of `bootstrap_mean`; all counts are then divided by the design effect.

    Returns:
        Mean difference, lower and upper 95 % bound, -1..1; NaN without images.

    Raises:
        InputError: another value.
    """
    values = np.asarray(differences, dtype=float)
    if not np.isin(values, (-1, 0, 1)).all():
        raise InputError("A difference of two outcomes is -1, 0 or 1: leave others out first.")
    if not len(values):
        return NONE
    ahead, differ = int((values == 1).sum()), int(np.count_nonzero(values))
    worth = effective_size(values, clusters) / len(values)
    few, most = wilson(differ, len(values), worth * len(values))
    in_favor = (0.0, 1.0)
    if differ:
        in_favor = proportion_confint(worth * ahead, worth * differ, method="beta")
    low, high = (2 * bound - 1 for bound in in_favor)
    low, high = low * (most if low < 0 else few), high * (most if high > 0 else few)
    return float(values.mean()), low, high


def standardized(table: pd.DataFrame, weights: pd.Series) -> tuple[float, float, float]:
    """Rate for another mix of groups: the groups' rates, weighted (direct standardization).

    ``table`` has ``n, rate, low, high`` by group, as `rate_table`; weights by group are 0 or more,
    such as its number of images in another study.

    Returns:
        Rate, lower and upper 95 % bound, 0..1, combined from the groups' Wilson intervals as by
        Zou, Huang and Zhang (2009). NaN where a group with a weight has no trial.
    """
    weights = weights[weights > 0] / weights.sum()
    rows = table[table["n"] > 0].reindex(weights.index)
    if not len(rows) or rows["rate"].isna().any():
        return NONE
    mean = float(weights @ rows["rate"])
    below = np.linalg.norm(weights * (rows["rate"] - rows["low"]))
    above = np.linalg.norm(weights * (rows["high"] - rows["rate"]))
    return mean, mean - float(below), mean + float(above)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    samples: int,
    seed: int,
    clusters: Sequence[int] | np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Mean and 95 % percentile bootstrap interval over images (Efron; EVA12).

    Args:
        values: one finite value per image; their order does not matter.
        samples, seed: number of resamples, and what fixes them.
        clusters: equal for images of one patient or lesion, which are drawn together; None for
            images that are independent. See `lib.metrics.clusters.of`.

    Returns:
        Mean, lower and upper bound. All NaN without values; NaN bounds with a single cluster.

    Raises:
        InputError: a value is NaN or infinite (leave it out and count it), no samples or seed.
    """
    return bootstrap_means({"": values}, samples, seed, clusters)[""]


def bootstrap_means(
    measures: Mapping[str, Sequence[float] | np.ndarray],
    samples: int,
    seed: int,
    clusters: Sequence[int] | np.ndarray | None = None,
) -> dict[str, tuple[float, float, float]]:
    """`bootstrap_mean` of each of several measures; those of equally many images draw once."""
    found = {}
    for n in {len(values) for values in measures.values()}:
        names = [name for name, values in measures.items() if len(values) == n]
        rows = np.stack([np.asarray(measures[name], float) for name in names])
        check_resampling(rows, samples, seed)
        sums, counts = map(np.stack, zip(*(totals(row, clusters) for row in rows), strict=True))
        order = np.lexsort((counts, sums))  # of each row for itself
        sums, counts = (np.take_along_axis(each, order, 1) for each in (sums, counts))
        low, high = np.full((2, len(rows)), math.nan)
        if sums.shape[1] > 1:
            low, high = bootstrap(
                (sums, counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), axis=-1, paired=True,
                n_resamples=samples, method="percentile", rng=np.random.default_rng(seed),
                batch=max(1, CHUNK_VALUES // sums.shape[1]),
            ).confidence_interval  # fmt: skip
        means = sums.sum(1) / counts.sum(1) if sums.size else np.full(len(rows), math.nan)
        found |= zip(names, np.column_stack([means, low, high]).tolist(), strict=True)
    return {name: tuple(found[name]) for name in measures}


def resampled(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Bootstrap resamples as counts: how often each of ``n`` images or clusters is drawn.

    `scipy.stats.bootstrap` cannot handle images that stand in several rows or infinite statistics,
    and copies too much memory for areas over all pairs.

    Yields:
        Int (some, n), ``samples`` rows in all.
    """
    random, step = np.random.default_rng(seed), max(1, CHUNK_VALUES // n)
    for done in range(0, samples, step):
        yield random.multinomial(n, np.full(n, 1 / n), size=min(step, samples - done))


def bootstrap_auc(
    positive: Sequence[float] | np.ndarray,
    negative: Sequence[float] | np.ndarray,
    samples: int,
    seed: int,
    clusters: Sequence[int] | np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Area under the ROC curve of a score with its 95 % bootstrap interval over images.

    The area is the share of all (positive, negative) pairs of scores in the right order, ties
    counting half: 0.5 is chance. A resample draws images with both of their scores, because a
    positive and a negative of one image are not independent. It pairs an image, or a cluster, with
    itself more often than the original does; the bounds are corrected for this bias.

    Args:
        positive: one finite score per image in the state to detect, such as attacked.
        negative: the score of the same images in the other state, in the same order.
        samples, seed, clusters: as of `bootstrap_mean`, but the order of images decides which are
            drawn.

    Returns:
        Area, lower and upper bound. All NaN without images; NaN bounds with a single cluster. Where
        all scores are in order, the bounds are 1 however few the images.

    Raises:
        InputError: lengths differ, a score is not finite, or no samples.
    """
    positive, negative = (np.asarray(each, dtype=np.float64) for each in (positive, negative))
    n = len(positive)
    if n != len(negative):
        raise InputError(f"Scores come in pairs: got {n} positive and {len(negative)} negative.")
    check_resampling(np.concatenate([positive, negative]), samples, seed)
    if n == 0:
        return NONE
    if clusters is not None and len(clusters) != n:
        raise InputError(f"{n} images cannot be of {len(clusters)} rows with a cluster.")
    own = pd.factorize(np.arange(n) if clusters is None else np.asarray(clusters))[0]
    # For each positive, the number of negatives below it, and of those not above it.
    order = np.argsort(negative)
    below, upto = (np.searchsorted(negative[order], positive, side) for side in ("left", "right"))
    area, count = float((below + upto).mean() / (2 * n)), own.max() + 1
    if count == 1:
        return area, *NONE[1:]
    areas = []
    for chosen in resampled(count, samples, seed):
        drawn = chosen[:, own]
        # How many of the lowest 0, 1, ... n negatives were drawn, which counts all pairs at once.
        lowest = np.pad(drawn[:, order].cumsum(axis=1), ((0, 0), (1, 0)))
        right = (drawn * (lowest[:, below] + lowest[:, upto])).sum(axis=1)
        areas.append(right / (2 * drawn.sum(axis=1) ** 2))
    bounds = np.quantile(np.concatenate(areas), [0.025, 0.975])
    # In expectation a resample has every pair within a cluster once more.
    each, other = np.nonzero(own[:, None] == own)
    within = np.sign(positive[each] - negative[other]) / 2 + 0.5
    low, high = np.clip(bounds - (within - area).sum() / n**2, 0, 1)
    return area, float(low), float(high)


def check_resampling(values: np.ndarray, samples: int, seed: int) -> None:
    """Refuse values that are not finite, no sample, or a seed below 0."""
    check_number("samples", samples, 1, math.inf, whole=True)
    check_number("seed", seed, 0, math.inf, whole=True)
    if bad := int((~np.isfinite(values)).sum()):
        raise InputError(f"{bad} of {values.size} values are not finite: leave them out first.")


def rate_table(
    frame: pd.DataFrame,
    by: str,
    success: str,
    groups: Iterable[object] | None = None,
    clusters: np.ndarray | None = None,
) -> pd.DataFrame:
    """Success rates by group, overall, and the mean of the groups' rates (ATK20).

    The paper compares overall rates with means of class rates (audit C4); both are here.

    Args:
        frame: one row per trial.
        by, success: columns to group by, and of booleans.
        groups: order of the groups, also of those without a trial; default: as found.
        clusters: of the trials, as of `share`.

    Returns:
        Columns ``by, n, successes, rate, low, high``: a row per group, then `TOTAL`, then
            `CLASS_MEAN`, the plain mean of the rates of groups that have trials. Rates are shares
            0..1 with Wilson intervals; that of the mean is `standardized`. NaN where n is 0.

    Raises:
        InputError: a column is missing or not boolean, or a trial is in no given group.
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

    masks = [*((frame[by] == group).to_numpy() for group in groups), np.full(len(frame), True)]
    rows = []
    for name, mask in zip([*groups, TOTAL], masks, strict=True):
        won, of_whom = frame.loc[mask, success], None if clusters is None else clusters[mask]
        rows.append((name, len(won), int(won.sum()), *share(won, of_whom)))
    table = pd.DataFrame(rows, columns=[by, "n", "successes", "rate", "low", "high"])
    tried = table[:-1].query("n > 0")
    mean = standardized(tried, pd.Series(1.0, tried.index))
    table.loc[len(table)] = (CLASS_MEAN, *rows[-1][1:3], *mean)
    return table
