"""Attack success by the classifier's confidence in the correct class of the clean image.

Confidence is the probability (softmax) of the correct class. Only data sets with one class an image
have it: with several labels, the record has a distance from the threshold instead.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib import params
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.run_tables import RUN, by_group, joined
from lib.metrics import clusters
from lib.metrics.intervals import rate_table

EDGES = (0.5, 0.7, 0.9, 0.99)
LEVELS = ("<50", "50–70", "70–90", "90–99", "≥99")  # percent, between `EDGES`
UNSURE, SURE = LEVELS[:2], LEVELS[-1:]


def success(found: RecordedRuns, by: list[str]) -> pd.DataFrame:
    """Success of the attacks on test images at each level of confidence.

    Returns:
        The columns of ``by``, ``confidence`` (of `LEVELS`, those with an image), ``n, successes,
        rate, low, high``; rates 0..1 with 95 % intervals. No row for data sets with several labels.
    """
    one = [name for name in found.datasets if not params.facts(name).multi_label]
    attacks = found.tested.attacks
    attacks = attacks[attacks["dataset"].isin(one)]
    place = np.searchsorted(EDGES, attacks["p_before"].astype(float), side="right")
    table = by_group(attacks.assign(confidence=np.array(LEVELS)[place]), by, _rates)
    return table if len(table) else pd.DataFrame(columns=[*by, "confidence", "successes", "n"])


def _rates(attacks: pd.DataFrame) -> pd.DataFrame:
    table = rate_table(attacks, "confidence", "success", LEVELS, clusters.of(attacks))
    return table[table["confidence"].isin(LEVELS) & (table["n"] > 0)]


def counted(table: pd.DataFrame, levels: tuple[str, ...]) -> tuple[int, int]:
    """Successes and attacks of `success` at these levels."""
    chosen = table[table["confidence"].isin(levels)]
    return int(chosen["successes"].sum()), int(chosen["n"].sum())


def sizes(records: Iterable[RecordedRuns]) -> pd.DataFrame:
    """`success` at each size of the images, other things equal: budget and classifier.

    Of each data set, the budget with most sizes counts, and the classifiers that each of them has.
    ``records`` are of `lib.evidence.variants.of_every_size`; the table is by `RUN`.
    """
    tables = []
    for found in records:
        runs = found.runs[~found.runs["weak"]]
        budgets = runs.groupby("budget")["size"].nunique()
        if not len(budgets) or budgets.max() < 2:
            continue
        runs = runs[runs["budget"] == budgets.idxmax()]
        nets = runs.groupby("classifier")["size"].nunique()
        nets = nets.index[nets == runs["size"].nunique()]
        runs = runs[runs["classifier"].isin(nets)]
        for size, of in runs.sort_values("size").groupby("size"):
            table = success(found.of(protocol=of["protocol"].iloc[0], size=size), RUN)
            tables.append(table[table["classifier"].isin(nets)])
    return joined(tables, [*RUN, "confidence"])
