"""Runs of a protocol's variants, which change a few of its values and are recorded beside it."""

from collections import ChainMap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import sub
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import params
from lib.defense import restoration
from lib.evidence import recorded_runs
from lib.evidence.rates import FEWEST, KEYS, success_rate
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.run_tables import RUN, by_group, joined
from lib.metrics import clusters
from lib.metrics.intervals import NONE, columns, paired
from lib.params.errors import InputError

# A variant of another size may also train its classifier on smaller images first, attack fewer
# images, or train no denoisers: sizes are compared on the images that were attacked at both.
_WITH_SIZE = {
    "data_size", "classifier_sizes", "classifier_paper_epochs", "attack_pixels",
    "attack_one_pixel_images", "attack_two_pixel_images", "denoiser_names",
}  # fmt: skip
# A repetition may leave out what the verdicts do not need.
_WITH_SEED = {
    "seed", "classifier_paper_epochs", "attack_pixels", "denoiser_names", "ablation_seeds",
}  # fmt: skip
# What leaves the attacks and the denoisers that remain as they are. A screened search finds what an
# exact one finds: the page on speed has the pairs.
_LESS = (_WITH_SIZE | _WITH_SEED | {"attack_evaluation"}) - {
    "data_size", "classifier_sizes", "seed",
}  # fmt: skip
_OF_CLASSIFIER = ["accuracy", "weights"]
# Fields that decide what is attacked, and how, begin so.
_OF_ATTACKS = ("data_", "classifier_", "attack_", "seed")


def changes(protocol: str) -> dict[str, Any]:
    """What a variant changes, on any data set or classifier; empty for a protocol of its own."""
    named = dict(params.read("protocols", protocol))
    special = named.pop("overrides", {})
    return {**named, **ChainMap(*special.values())} if named.pop("base", None) else {}


def repeats(protocol: str) -> list[str]:
    """Names of the variants that differ from the protocol in the seed alone."""
    return _changing("seed", _WITH_SEED, protocol)


def resized(protocol: str) -> list[str]:
    """Names of the variants that differ from the protocol in the size of the images alone."""
    return _changing("data_size", _WITH_SIZE, protocol)


def of_other_sizes(protocol: str) -> list[str]:
    """Names of the variants with images of another size, whatever their budget and training.

    Classifiers trained under masks are left out: they learn another task.
    """
    changed = {name: changes(name) for name in params.variants(protocol)}
    return [
        name for name, of in changed.items() if "data_size" in of and "classifier_masking" not in of
    ]


def _changing(field: str, allowed: set[str], protocol: str) -> list[str]:
    changed = {name: {*changes(name)} for name in params.variants(protocol)}
    return [name for name, fields in changed.items() if field in fields and fields <= allowed]


def read_each(results: Path, names: Iterable[str]) -> dict[str, RecordedRuns]:
    """The recorded runs of protocols and variants, each by its name."""
    every = {}
    for name in names:
        with suppress(InputError):  # not recorded, or classifiers and denoisers alone
            every[name] = recorded_runs.read(results, [name])
    return every


def trained_again(trainings: Sequence[RecordedRuns]) -> pd.DataFrame:
    """Results of each training where a run was repeated with other seeds; two pixels, test images.

    Returns:
        One row per data set, classifier, defense and training: ``dataset, classifier, defense,
        seed``; the columns of `lib.defense.restoration.shares`; and ``psnr``, the mean in dB over
        successfully attacked images without exact matches.
    """
    every = []
    for runs in trainings:
        table = _defended(runs)
        every.append(table.merge(runs.runs[[*KEYS[:2], "seed"]]) if len(table) else table)
    table = joined(every)
    if not len(table):
        return table
    several = table.groupby(KEYS[:2])["seed"].transform("nunique") > 1
    return _ordered(table[several].sort_values("seed", kind="stable"), "seed")


def denoisers_trained_otherwise(every: dict[str, RecordedRuns], protocol: str) -> pd.DataFrame:
    """Results of the denoisers of each variant that trains them otherwise; two pixels, test images.

    Returns:
        As `trained_again`, with ``variant`` in place of ``seed``: the protocol itself, then its
        variants by name; and of the attacked classifier ``accuracy``, on test images, and
        ``weights``, their checksum, ``""`` where it is not recorded.
    """
    changed = {name: _decisive(name) for name in sorted(every)}
    names = [
        name for name, of in changed.items() if of and all(n.startswith("denoiser_") for n in of)
    ]
    tables = [
        table.assign(variant=name).merge(every[name].runs[[*KEYS[:2], *_OF_CLASSIFIER]])
        for name in (protocol, *names) if name in every and len(table := _defended(every[name]))
    ]  # fmt: skip
    if len(tables) < 2:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    table = table[table["defense"].isin(params.DENOISERS)]
    both = table.groupby([*KEYS[:2], "defense"], sort=False)["variant"].transform("nunique") > 1
    return _ordered(table[both], "variant")


def restored_instead(found: RecordedRuns, every: dict[str, RecordedRuns]) -> pd.DataFrame:
    """Results of variants on runs of a protocol that no defense has restored; two pixels.

    Args:
        found: runs of one data set; those of the protocol nearest to the paper's count.
        every: the runs of that protocol's variants, by name.

    Returns:
        As `denoisers_trained_otherwise`, with ``constant``, the accuracy of a constant answer.
    """
    lacking = found.unrestored[RUN[1:]]
    of_run = [*RUN[1:], *_OF_CLASSIFIER, "constant"]
    tables = [
        table.assign(variant=name).merge(runs.runs[of_run]).merge(lacking)
        for name, runs in every.items() if len(table := _defended(runs))
    ]  # fmt: skip
    table = joined(tables).drop(columns="size", errors="ignore")
    return _ordered(table, "variant") if len(table) else table


def _decisive(variant: str) -> list[str]:
    """Fields that a variant changes, less those of `_LESS`."""
    return [name for name in changes(variant) if name not in _LESS]


def _defended(runs: RecordedRuns) -> pd.DataFrame:
    """`restoration.shares` of each run's test images with two pixels, and ``psnr``, the mean."""

    def of_run(group: pd.DataFrame) -> pd.DataFrame:
        table = restoration.shares(group)
        attacked = group[group["success"] & np.isfinite(group["psnr"])]
        means = attacked.groupby("defense")["psnr"].mean()
        return table.assign(psnr=table["defense"].map(means))

    restored = runs.tested.restored
    return by_group(restored[restored["pixels"] == 2] if len(restored) else restored, KEYS[:2],
                    of_run)  # fmt: skip


def _ordered(table: pd.DataFrame, last: str) -> pd.DataFrame:
    """Rows by data set, classifier and defense, each as it first comes, else as they are."""
    order = [*KEYS[:2], "defense", last]
    table = table[[*order, *table.columns.difference(order, sort=False)]]
    return table.sort_values(order[:3], key=lambda names: pd.factorize(names)[0], ignore_index=True)


def patients(records: pd.DataFrame, images: pd.Index) -> np.ndarray:
    """Cluster, see `lib.metrics.clusters.of`, of images, whose names are in the index."""
    rows = records.drop_duplicates([*images.names]).set_index([*images.names]).loc[images]
    return clusters.of(rows.reset_index())


def outcome_differences(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    """Success (0 or 1) of one run's attacks minus another's, by shared image; and `patients`."""
    sides = (of.set_index(["split", "index"])["success"].astype(float) for of in (one, other))
    both = sub(*sides).dropna()
    return both, patients(one, both.index)


def contrasts(every: dict[str, RecordedRuns], protocol: str) -> pd.DataFrame:
    """Each run of a variant beside the protocol's run of the same data set and classifier.

    Only test images count, because another training has learned from other images.

    Returns:
        ``dataset, classifier, pixels, variant``; ``n, rate, low, high``; ``base_rate`` of the
        protocol's run with ``_low`` and ``_high``; ``shared``, the images attacked in both;
        ``difference`` with ``_low`` and ``_high``, variant minus base on those images (see
        `intervals.paired`), NaN where they are fewer than `FEWEST`.
    """
    if protocol not in every:
        return pd.DataFrame()
    base, rows = _attacks(every[protocol]), []
    # Other sizes are other images, so that nothing else may differ.
    unlike = {name for name in every if "data_size" in changes(name)} - {*resized(protocol)}
    for variant in (name for name in every if name not in {protocol, *unlike}):
        if not any(name.startswith(_OF_ATTACKS) for name in _decisive(variant)):
            continue  # the same attacks
        for key, (row, tried) in _attacks(every[variant]).items():
            if key not in base:
                continue
            own, before = base[key]
            both, of = outcome_differences(tried, before)
            rows.append(
                dict(zip(KEYS, key, strict=True))
                | {"variant": variant}
                | {name: row[name] for name in ("n", "rate", "low", "high")}
                | columns("base_rate", [own[name] for name in ("rate", "low", "high")])
                | {"shared": len(both)}
                | columns("difference", paired(both, of) if len(both) >= FEWEST else NONE)
            )
    return pd.DataFrame(rows)


def _attacks(runs: RecordedRuns) -> dict[tuple, tuple[dict[str, float], pd.DataFrame]]:
    """Rate, and the attacked images, of each attack."""
    groups = runs.tested.attacks.groupby(KEYS, sort=False)
    return {key: (success_rate(group), group) for key, group in groups}


def of_every_size(results: Path, dataset: str) -> RecordedRuns:
    """What is recorded of a data set, with the variants that change the size of the images."""
    bases = recorded_runs.protocols(results)
    names = [*bases, *(name for base in bases for name in of_other_sizes(base))]
    return recorded_runs.read(results, names, [dataset])
