"""Text and examples of the pages about recorded and compared runs."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lib import attack, data, params
from lib.evidence.protocol_runs import ProtocolRuns
from lib.evidence.record import Record
from lib.figures import tables
from lib.figures.formatting import place, shown
from lib.params import Parameters
from lib.params.dataset_info import Facts
from lib.params.errors import InputError

Gallery = tuple[str, tuple[np.ndarray, np.ndarray] | None, pd.DataFrame, Facts]
SHOWN = 4  # attacked images of a run in a gallery


def banner(p: Parameters, record: Record) -> str:
    """First lines of a page about a record."""
    recorded = record.folders["results"].str.split("/").str[0].unique()
    titles = ", ".join(shown(name) for name in params.names("datasets") if name in recorded)
    meaning = tables.sources(record.sources)
    return f"**protocol** `{p.protocol}` · **recorded runs on** {titles}\n\n> {meaning}"


def comparison_banner(p: Parameters, runs: ProtocolRuns) -> str:
    """First lines of the page of all runs: protocol, and the data source of each data set."""
    source = {name: runs.data[name]["source"] for name in runs.datasets}
    kinds = sorted(set(source.values()))
    warnings = [tables.WARNINGS[kind] for kind in kinds]
    if len(kinds) > 1:
        warnings.append("Data sources are mixed: compare rows of one source only.")
    sources = " · ".join(f"{shown(name)} `{source[name]}`" for name in source)
    return f"**protocol** `{p.run_name}` · **data sources** {sources}" + "".join(
        f"\n\n> {warning}" for warning in warnings
    )


def unnamed(runs: ProtocolRuns) -> str:
    """Runs that do not name the checkpoints behind their images, a sentence; empty if all do."""
    without = [
        f"{shown(dataset)} with {shown(classifier)}"
        for (dataset, classifier), ids in runs.restorers.items()
        if not ids and any(name == dataset for name, _ in runs.denoisers)
    ]
    if not without:
        return ""
    return (
        "Recorded before trainings had ids, so that which checkpoints restored the images is not "
        f"on record: {', '.join(without)}."
    )


def galleries(record: Record, p: Parameters) -> Iterator[Gallery]:
    """Successfully attacked images of each run, rebuilt from its record and the data set.

    Args:
        record: the record.
        p: data_root is used.

    Yields:
        A title; clean and adversarial images, uint8 (N, H, W, C), or None where the file that was
        attacked is not available, which the title then names; their records; facts of the data
        set.
    """
    if not record.runs:
        return
    records = record.runs.records[record.runs.records["success"]]
    for dataset, of_set in records.groupby("dataset", sort=False):
        facts, about = params.facts(dataset), record.runs.data[dataset]
        try:
            images = data.load(dataset, p.data_root, record.runs.sizes[dataset])
            wrong = images.provenance.md5 != about["md5"]
        except InputError:
            wrong = True
        if wrong:
            yield f"{facts.title} (`{about['npz']}`, MD5 `{about['md5']}`)", None, of_set, facts
            continue
        for (classifier, pixels), of_run in of_set.groupby(["classifier", "pixels"], sort=False):
            # Spread over the classes, so that one class does not fill the gallery.
            few = of_run.groupby("category").head(1).head(SHOWN)
            clean = attack.locate(images, few).images
            title = f"**{facts.title}**, {place(classifier, int(pixels))}"
            yield title, (clean, attack.rebuild(clean, few)), few, facts
