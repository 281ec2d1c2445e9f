"""How many independent images those of one patient or one lesion are worth.

Rao and Scott (1992, doi:10.2307/2532311): a rate of clustered trials keeps its interval for
independent ones if their number is divided by the design effect, the ratio of the two variances.
That ratio is uncertain where a few clusters hold most of the rows. Korn and Graubard (1998, Survey
Methodology 24(2)) allow for it with Student's t.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lib.params.errors import InputError

IMAGE = ("dataset", "split", "index", "image")  # which image a row is of, or its position


def image_columns(frame: pd.DataFrame) -> list[str]:
    """Those of the columns `IMAGE` that a table has."""
    return [name for name in IMAGE if name in frame]


def of(frame: pd.DataFrame) -> np.ndarray:
    """The cluster of each row: its patient or lesion, or where that is unknown its image.

    A row names its image by ``index`` or ``image``, and what else of `IMAGE` it has; its patient by
    ``group`` (-1 unknown). Without any of them it is a cluster of its own.

    Returns:
        int64 (N,), equal for rows of one cluster.
    """
    image = image_columns(frame)
    named = {"index", "image"} & {*image}
    alone = frame.groupby(image, dropna=False).ngroup() if named else pd.RangeIndex(len(frame))
    found = np.asarray(alone, dtype=np.int64)
    if "group" not in frame:
        return found
    keys = [name for name in ("dataset", "group") if name in frame]
    together = len(frame) + frame.groupby(keys, dropna=False).ngroup().to_numpy()
    return np.where(frame["group"] >= 0, together, found)


def totals(values: Sequence[float] | np.ndarray, clusters: Sequence[int] | np.ndarray | None):
    """Sum of the values (N,) and number of rows of each cluster, both (M,).

    Without clusters each row is one. Values and clusters of different lengths are refused.
    """
    values = np.asarray(values, dtype=float)
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise InputError(f"{len(values)} values cannot be of {len(clusters)} rows with a cluster.")
    _, place = np.unique(clusters, return_inverse=True)
    return np.bincount(place, weights=values), np.bincount(place).astype(float)


def effective_size(
    values: Sequence[float] | np.ndarray, clusters: Sequence[int] | np.ndarray | None
) -> float:
    """Effective sample size: the number of independent rows whose mean has the same variance.

    Values (N,) are finite, clusters as of `totals`, which also says what is refused.

    The source's correction is for few clusters, here it is for unequal ones: Wilson's interval of
    few equal clusters needs none. It compares the number of clusters, M, with the number of equal
    ones that are worth as much (Kish), N squared over the sum of the squared sizes.

    Returns:
        N over the design effect, at most N, times the squared ratio of the quantiles of t for both
        numbers. Where all values are equal they say nothing about the likeness within a cluster:
        then it is M.
    """
    values = np.asarray(values, dtype=float)
    sums, counts = totals(values, clusters)
    n, m = len(values), len(sums)
    if m == n or m < 2 or np.ptp(values) == 0:
        return float(m)
    # Without the factor m / (m - 1) of the source: copies of a row then count exactly once, if all
    # rows have equally many.
    clustered = np.square(sums - counts * values.mean()).sum() / n**2
    size = min(float(n), values.var() / clustered) if clustered else float(n)
    freedom = m - 1, max(1, n**2 / np.square(counts).sum() - 1)
    wide, wider = student.ppf(0.975, freedom)
    return float(size * (wide / wider) ** 2)
