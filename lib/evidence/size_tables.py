"""Tables of the page on the size of the image: the same data set at several sizes."""

from pathlib import Path

import pandas as pd

from lib.evidence import results_tables, variants


def of_every_size(results: Path, dataset: str) -> results_tables.Record:
    """What is recorded of a data set, with the variants that change the size of the images."""
    bases = results_tables.protocols(results)
    names = [*bases, *(name for base in bases for name in variants.resized(base))]
    return results_tables.record(results, dataset, names)


def size_effect(success: pd.DataFrame) -> tuple[int, int]:
    """In how many pairs of sizes the larger images are attacked less often, and of how many.

    Args:
        success: of `results_tables.success`, with ``dataset``. Compared are the rates of one data
            set, classifier and number of pixels at two sizes next to each other; several runs of a
            size count with the one of most images.
    """
    lower = pairs = 0
    if not len(success):
        return 0, 0
    for _, group in success.groupby(["dataset", "classifier", "pixels"], sort=False):
        most = group.sort_values("n").drop_duplicates("size", keep="last").sort_values("size")
        change = most["rate"].diff().dropna()
        lower, pairs = lower + int((change < 0).sum()), pairs + len(change)
    return lower, pairs


def size_contrasts(results: Path) -> pd.DataFrame:
    """Variants that change the size of the images beside their protocol, on the same images.

    Returns:
        `lib.evidence.variants.contrasts` of them, with ``size`` and ``base_size``.
    """
    tables = []
    for base in results_tables.protocols(results):
        resized = variants.resized(base)
        collected = variants.read_all(results / base)
        collected = {name: of for name, of in collected.items() if name in (base, *resized)}
        table = variants.contrasts(collected, base)
        if len(table):
            places = table[["variant", "dataset"]].itertuples(index=False)
            table["size"] = [collected[name].sizes[dataset] for name, dataset in places]
            table["base_size"] = table["dataset"].map(collected[base].sizes)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
