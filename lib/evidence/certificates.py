"""Recorded certificates: accuracy under any one-pixel attack, and what searches miss."""

from pathlib import Path

import pandas as pd

from lib.attack.certificate import THROUGH
from lib.evidence import run_tables
from lib.evidence.run_tables import RUN, by_group, share_columns
from lib.metrics.classification import below_constant, constant_accuracy
from lib.params.files import read_json

BUDGETS = (100, 1_000, 10_000, 100_000)  # evaluations of an image


def read(results: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, str]]]:
    """Certificates, searches of images that they prove vulnerable, and sources.

    See `run_tables.read`.
    """
    found, sources = run_tables.read(results, [f"certificate_{name}" for name in THROUGH])
    searched, more = run_tables.read(results, ["certificate_searches"])
    return found, searched, sources | more


def below_baseline(results: Path, found: pd.DataFrame) -> pd.DataFrame:
    """Runs in a table whose classifier is less accurate than a constant answer.

    Returns:
        `RUN`, ``n`` (all test images), ``accuracy`` and ``constant``.
    """
    rows = []
    for run in found[RUN].drop_duplicates().itertuples(index=False):
        folder = results / run.protocol / run.dataset / run.classifier
        test = read_json(folder / "classifier.json")["test"]
        if below_constant(test):
            rows.append((*run, test["images"], test["accuracy"], constant_accuracy(test)))
    return pd.DataFrame(rows, columns=[*RUN, "n", "accuracy", "constant"])


def accuracy(found: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on clean test images, and with any one pixel changed to any value.

    Returns:
        One row a run and ``through``: ``n`` test images; ``clean`` and ``robust`` with 95 %
        intervals; ``evaluated`` images; ``deviation``, the largest difference of a margin between
        the two evaluations; ``nearest``, the smallest margin of a robust image.
    """
    return by_group(found, [*RUN, "through"], lambda group: {
        "n": len(group), **share_columns(group.assign(clean=~group["skipped"]), "clean", "robust"),
        "evaluated": int(group["candidates"].sum()), "deviation": group["deviation"].max(),
        "nearest": group.loc[group["robust"].astype(bool), "margin"].min(),
    })  # fmt: skip


def found_by(searched: pd.DataFrame) -> pd.DataFrame:
    """The share of images with a counterexample that each search finds within each budget.

    ``map`` predicts most candidates; only those that it computes count.

    Returns:
        One row a run, ``method`` and ``budget``: ``n`` vulnerable images and ``found`` with its
        95 % interval.
    """

    def within(group: pd.DataFrame, budget: int) -> dict[str, float]:
        spent = group["computed" if group["method"].iloc[0] == "map" else "evaluations"]
        hits = group["success"].astype(bool) & (spent <= budget)
        found = share_columns(group.assign(found=hits), "found")
        return {"budget": budget, "n": len(group), **found}

    return by_group(
        searched, [*RUN, "method"],
        lambda group: pd.DataFrame([within(group, budget) for budget in BUDGETS]),
    )  # fmt: skip
