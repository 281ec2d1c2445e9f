"""Tables of one kind from all recorded runs, whatever their protocol, and tables by group."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lib.metrics import clusters, intervals
from lib.params.files import read_json, read_table, visible

RUN = ["protocol", "dataset", "size", "classifier"]
PLAIN, UNDER_MASKS = "plain", "masks"  # how a classifier was trained


def read(results: Path, names: Iterable[str]) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """The tables with these file names of all runs, and where each run's images are from.

    Returns:
        The tables with the columns of `RUN` in front, and ``table``, the file name, and
        ``training`` of the classifier at the end; and ``data`` of each run by its folder.
    """
    tables, sources = [], {}
    for path in (path for name in names for path in visible(results, f"*/*/*/{name}.parquet")):
        protocol, dataset, classifier = path.parts[-4:-1]
        about = read_json(path.with_name("run.json"))
        given = about["parameters"]
        values = protocol, dataset, given["data_size"], classifier
        training = UNDER_MASKS if given.get("classifier_masking") else PLAIN
        table = read_table(path).assign(table=path.stem, training=training)
        tables.append(keyed(table, dict(zip(RUN, values, strict=True))))
        sources["/".join(path.parts[-4:-1])] = about["data"]
    return joined(tables, [*RUN, "table", "training"]), sources


def joined(tables: list[pd.DataFrame], columns: Iterable[str] = ()) -> pd.DataFrame:
    """Tables below one another; without any, an empty table with ``columns``."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*columns])


def keyed(table: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    """The table with these values as its first columns."""
    return table.assign(**values)[[*values, *table.columns.difference(list(values), sort=False)]]


def by_group(
    table: pd.DataFrame, keys: list[str], make: Callable[[pd.DataFrame], pd.DataFrame | dict]
) -> pd.DataFrame:
    """What ``make`` gives for each group, a table or one row, with the keys in front."""
    tables = []
    for names, group in table.groupby(keys, sort=False) if len(table) else ():
        made = make(group)
        made = pd.DataFrame([made]) if isinstance(made, dict) else made
        tables.append(keyed(made, dict(zip(keys, names, strict=True))))
    return joined(tables)


def share_columns(rows: pd.DataFrame, *names: str) -> dict[str, float]:
    """The share of each boolean column with its 95 % interval; ``rows`` are of images."""
    of, found = clusters.of(rows), {}
    for name in names:
        found |= intervals.columns(name, intervals.share(rows[name].astype(bool), of))
    return found
