"""Tables of one kind from all recorded runs, whatever their protocol."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib.params.files import read_json, read_table, visible

RUN = ["protocol", "dataset", "size", "classifier"]
PLAIN, UNDER_MASKS = "plain", "under masks"  # how a classifier was trained


def read(results: Path, names: Iterable[str]) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """The tables of these names of all recorded runs, and the provenance of their images.

    Args:
        results: folder of the record.
        names: of the files, without ending.

    Returns:
        The tables below one another, with the columns of `RUN` in front, and at the end ``table``,
        the name of the file, and ``training`` of the classifier; only these columns if nothing is
        recorded. And the data of each run by its folder.
    """
    tables, sources = [], {}
    for path in (path for name in names for path in visible(results, f"*/*/*/{name}.parquet")):
        protocol, dataset, classifier = path.parts[-4:-1]
        about = read_json(path.with_name("run.json"))
        given = about["parameters"]
        values = protocol, dataset, given["data_size"], classifier
        training = UNDER_MASKS if given.get("classifier_masking") else PLAIN
        table = read_table(path).drop(columns="dataset", errors="ignore")
        table = table.assign(table=path.stem, training=training)
        for place, column in enumerate(zip(RUN, values, strict=True)):
            table.insert(place, *column)
        tables.append(table)
        sources["/".join(path.parts[-4:-1])] = about["data"]
    if not tables:
        return pd.DataFrame(columns=[*RUN, "table", "training"]), sources
    return pd.concat(tables, ignore_index=True), sources
