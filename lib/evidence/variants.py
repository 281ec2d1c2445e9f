"""Runs of a protocol's variants: the same but for a few values, recorded beside it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.defense import restoration
from lib.evidence import comparison
from lib.metrics.intervals import paired
from lib.params.errors import InputError

KEYS = ["dataset", "classifier", "pixels"]
BESIDE = ("accuracy", "n", "rate", "low", "high")
FEWEST = 6  # images that two runs share: on fewer no difference can be told, see `paired`


def collected(folder: Path) -> dict[str, comparison.Collection]:
    """The runs of a protocol and of its variants by name, as far as they are recorded.

    Args:
        folder: ``results/<protocol>``; its variants lie beside it.
    """
    found = {}
    for name in (folder.name, *params.variants(folder.name)):
        with suppress(InputError):  # not recorded, or classifiers and denoisers alone
            found[name] = comparison.collect(folder.with_name(name))
    return found


def repeats(protocol: str) -> list[str]:
    """Names of the variants that differ from the protocol in nothing but the seed."""
    return _changing("seed", _OF_SEED, protocol)


def resized(protocol: str) -> list[str]:
    """Names of the variants that differ from the protocol in the size of the images alone."""
    return _changing("data_size", _OF_SIZE, protocol)


def _changing(field: str, allowed: set[str], protocol: str) -> list[str]:
    """Names of the variants that change a field, and nothing but what is allowed."""
    return [
        name
        for name in params.variants(protocol)
        if field in (of := changes(name)) and of.keys() <= allowed
    ]


def trained_again(trainings: Sequence[comparison.Collection]) -> pd.DataFrame:
    """What each training gave, where a run was repeated with other seeds; two pixels.

    Args:
        trainings: the runs of a protocol, then those of its repeats.

    Returns:
        One row a data set, classifier, defense and training, in this order: ``dataset, classifier,
        defense, seed``; the columns of `lib.defense.restoration.shares`; and ``psnr``, the mean in
        dB over successfully attacked images without exact matches; of test images. Runs that were
        not
        repeated are left out; empty if none was.
    """
    tables = []
    for runs in (each.tested for each in trainings):
        seeds = runs.records.drop_duplicates(KEYS).set_index(KEYS)["seed"]
        of_two = runs.restored[runs.restored["pixels"] == 2]
        for key, group in of_two.groupby(KEYS, sort=False):
            found = restoration.shares(group)
            fooled = group[group["success"] & np.isfinite(group["psnr"])]
            means = fooled.groupby("defense")["psnr"].mean()
            found["psnr"] = found["defense"].map(means)
            at = dict(zip(KEYS[:2], key, strict=False))
            tables.append(found.assign(**at, seed=seeds[key]))
    if len(tables) < 2:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    several = table.groupby(KEYS[:2])["seed"].transform("nunique") > 1
    order = ["dataset", "classifier", "defense", "seed"]
    table = table.loc[several, [*order, *table.columns.difference(order, sort=False)]]
    places = [pd.Categorical(table[name], table[name].unique()).codes for name in order[:3]]
    return table.iloc[np.lexsort((table["seed"], *places[::-1]))].reset_index(drop=True)


def outcomes(records: pd.DataFrame) -> pd.Series:
    """Success, 0 or 1, of the attacks of one run with one number of pixels, by image."""
    return records.set_index(["split", "index"])["success"].astype(float)


def rates(collected: dict[str, comparison.Collection]) -> pd.DataFrame:
    """Success rates of runs by protocol.

    Returns:
        ``protocol, dataset, classifier, pixels, size, accuracy, n, successes, rate, low, high,
        printed``, in the order of ``collected``; empty where nothing is recorded. Accuracy is that
        of the classifier on its test images, 0..1; printed is the paper's rate, NaN if none.
    """
    tables = []
    for name, found in collected.items():
        for pixels in params.ATTACKS:
            table = comparison.rates(found, pixels)
            table.insert(0, "protocol", name)
            table.insert(3, "pixels", pixels)
            table.insert(4, "size", table["dataset"].map(found.sizes))
            nets = zip(table["dataset"], table["classifier"], strict=True)
            accuracy = [found.classifiers[net]["test"]["accuracy"] for net in nets]
            table.insert(5, "accuracy", np.array(accuracy, dtype=float))
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


# A variant of another size may also attack fewer images or train no denoisers: sizes are compared
# on the images that were attacked at both.
_OF_SIZE = {
    "data_size", "classifier_paper_epochs", "attack_pixels", "attack_one_pixel_images",
    "attack_two_pixel_images", "denoiser_names",
}  # fmt: skip
# A repetition may leave out what the verdicts do not need.
_OF_SEED = {
    "seed", "classifier_paper_epochs", "attack_pixels", "denoiser_names", "ablation_seeds",
}  # fmt: skip


def changes(protocol: str) -> dict:
    """What a variant changes; nothing for a protocol of its own."""
    named = dict(params.read("protocols", protocol))
    return named if named.pop("base", None) else {}


def contrasts(collected: dict[str, comparison.Collection], protocol: str) -> pd.DataFrame:
    """Each run of a variant beside the protocol's own run of the same data set and classifier.

    Taken are test images only: another training has learned from others.

    Args:
        collected: the runs of the protocol and of its variants, by name.
        protocol: the name of the protocol.

    Returns:
        ``dataset, classifier, pixels, variant, changed, printed``; ``accuracy, n, rate, low, high``
        and the same of the protocol's own run, ``base_accuracy``, ``base_rate``,
        ``base_rate_low`` and so on; ``shared``, the images attacked in both; and ``difference,
        difference_low, difference_high`` (variant less base, on those, see `intervals.paired`),
        NaN where they are fewer than `FEWEST`. Rows without a counterpart are left out.
    """
    if protocol not in collected:
        return pd.DataFrame()
    collected = {name: runs.tested for name, runs in collected.items()}
    of = rates(collected).set_index(KEYS)
    own = of[of["protocol"] == protocol]
    attacks = {
        (name, *key): outcomes(group)
        for name, runs in collected.items()
        for key, group in runs.records.groupby(KEYS, sort=False)
    }
    rows = []
    for key, row in of[of["protocol"] != protocol].iterrows():
        if key not in own.index:
            continue
        base, variant = own.loc[key], row["protocol"]
        less = (_OF_SIZE | _OF_SEED) - {"data_size", "seed"}
        changed = [name for name in changes(variant) if name not in less]
        both = (attacks[variant, *key] - attacks[protocol, *key]).dropna()
        difference, low, high = paired(both if len(both) >= FEWEST else [])
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {"variant": variant, "changed": ", ".join(changed)}
            | {"printed": row["printed"]}
            | {name: row[name] for name in BESIDE}
            | {f"base_{name}": base[name] for name in ("accuracy", "n", "rate")}
            | {f"base_rate_{name}": base[name] for name in ("low", "high")}
            | {"shared": len(both)}
            | {"difference": difference, "difference_low": low, "difference_high": high}
        )
    return pd.DataFrame(rows)
