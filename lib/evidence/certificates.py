"""What recorded certificates say: accuracy under any one-pixel attack, and what searches miss."""

from pathlib import Path

import pandas as pd

from lib.attack.certificate import THROUGH
from lib.evidence import run_tables
from lib.evidence.run_tables import RUN
from lib.metrics import clusters, intervals
from lib.metrics.classification import constant_accuracy
from lib.params.files import read_json

BUDGETS = (100, 1_000, 10_000, 100_000)  # evaluations of an image


def read(results: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, str]]]:
    """All recorded certificates, the searches of images that they prove vulnerable, and sources.

    Returns:
        The tables ``certificate_<through>`` and ``certificate_searches`` as of `run_tables.read`,
        and the provenance of the images by folder.
    """
    found, sources = run_tables.read(results, [f"certificate_{name}" for name in THROUGH])
    searched, more = run_tables.read(results, ["certificate_searches"])
    return found, searched, sources | more


def below_baseline(results: Path, found: pd.DataFrame) -> pd.DataFrame:
    """Certified classifiers that are right less often than an answer that never changes.

    Args:
        results: folder of the record.
        found: the certificates of `read`.

    Returns:
        One row a run: `RUN`, ``n`` (all test images), ``accuracy`` and ``constant`` (accuracy of
        the majority class, or of no label at all).
    """
    rows = []
    for run in found[RUN].drop_duplicates().itertuples(index=False):
        folder = results / run.protocol / run.dataset / run.classifier
        test = read_json(folder / "classifier.json")["test"]
        rows.append((*run, test["images"], test["accuracy"], constant_accuracy(test)))
    table = pd.DataFrame(rows, columns=[*RUN, "n", "accuracy", "constant"])
    return table[table["accuracy"] < table["constant"]]


def accuracy(found: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on clean test images, and with any one pixel changed to any value.

    Args:
        found: the certificates of `read`.

    Returns:
        One row a run and ``through``: ``n`` (test images), ``clean`` and ``robust`` with 95 %
        intervals in ``_low`` and ``_high``; ``evaluated`` (images evaluated), ``deviation``
        (the largest of a margin between the two evaluations) and ``nearest`` (the smallest margin
        of a robust image). `THROUGH` gives the order.
    """
    rows = []
    for names, group in found.groupby([*RUN, "through"], sort=False) if len(found) else ():
        of, clean, robust = clusters.of(group), ~group["skipped"], group["robust"].astype(bool)
        row = dict(zip([*RUN, "through"], names, strict=True)) | {"n": len(group)}
        row |= intervals.columns("clean", intervals.share(clean, of))
        row |= intervals.columns("robust", intervals.share(robust, of))
        row |= {
            "evaluated": int(group["candidates"].sum()), "deviation": group["deviation"].max(),
            "nearest": group.loc[robust, "margin"].min(),
        }  # fmt: skip
        rows.append(row)
    order = list(THROUGH)
    return pd.DataFrame(sorted(rows, key=lambda row: order.index(row["through"])))


def found_by(searched: pd.DataFrame) -> pd.DataFrame:
    """Which share of the images with a counterexample each search finds within each budget.

    Args:
        searched: the searches of `read`, each of which had the largest of `BUDGETS`. ``map``
            predicts most candidates: of it only those that it computes count.

    Returns:
        One row a run, ``method`` and ``budget``: ``n`` (vulnerable images) and ``found`` with a
        95 % interval in ``found_low`` and ``found_high``.
    """
    rows = []
    for names, group in searched.groupby([*RUN, "method"], sort=False) if len(searched) else ():
        of = clusters.of(group)
        spent = group["computed" if names[-1] == "map" else "evaluations"]
        for budget in BUDGETS:
            hits = group["success"].astype(bool) & (spent <= budget)
            row = dict(zip([*RUN, "method"], names, strict=True))
            row |= {"budget": budget, "n": len(group)}
            rows.append(row | intervals.columns("found", intervals.share(hits, of)))
    return pd.DataFrame(rows)
