"""The claims ledger: each claim of the paper, how it is tested, and the verdict.

A function for each entry of ``book/paper/claims.yml`` takes what is recorded and gives a verdict by
the rules of `lib.evidence.verdicts`.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd
import yaml

from lib import ablation, comparison, paper, params
from lib.evidence.findings import Recorded
from lib.evidence.variants import KEYS
from lib.evidence.verdicts import (
    IN_PART,
    NOT_REPLICATED,
    NOT_TESTABLE,
    REPLICATED,
    Verdict,
    of_pairs,
)
from lib.params import Parameters
from lib.statistics import bootstrap_mean, newcombe
from lib.words import percent, shown

SAME_DB = 1.0  # a difference of mean PSNR below this is taken as none
OTHERS = ("noise2noise", "median_cnn", "autoencoder")
Pair = tuple[str, float, float, float]


@cache
def entries() -> list[dict[str, str]]:
    """Id, claim and place of each claim."""
    return yaml.safe_load((paper.FOLDER / "claims.yml").read_text())


def ledger(found: Recorded, p: Parameters) -> pd.DataFrame:
    """Every claim with its verdict: ``id, claim, where, verdict, reason``."""
    rows = []
    for entry in entries():
        verdict = TESTS[entry["id"]](found, p)
        rows.append({**entry, "verdict": verdict.word, "reason": verdict.reason})
    return pd.DataFrame(rows)


def _psnr(found: Recorded, one: str, other: str, p: Parameters) -> Iterator[Pair]:
    """Difference of PSNR of two defences on the same successfully attacked images, by run."""
    differences: dict[tuple, list] = {}
    for runs in found.trainings:
        fooled = runs.restored[runs.restored["success"]]
        for key, group in fooled.groupby(KEYS, sort=False):
            ours, theirs = (
                group[group["defence"] == name].set_index(["split", "index"])["psnr"]
                for name in (one, other)
            )
            both = (ours - theirs).replace([np.inf, -np.inf], np.nan).dropna()
            if len(both) > 1:
                of = bootstrap_mean(both, p.bootstrap_samples, p.seed)
                differences.setdefault(key, []).append(of)
    for key, of in differences.items():
        yield _name(key, other), *_holding(of)


def _holding(differences: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Mean difference of several trainings, with an interval that holds those of all."""
    each, lows, highs = zip(*differences, strict=True)
    return sum(each) / len(each), min(lows), max(highs)


def _name(key: tuple, *more: str) -> str:
    return ", ".join(map(str, (*key, *more)))


def _rates(found: Recorded) -> dict[tuple, list[pd.Series]]:
    """Success rates with intervals by data set, classifier, pixels and size, one for a training.

    Rates at unlike sizes are not held against each other, as the size itself changes them.
    """
    rates: dict[tuple, list[pd.Series]] = {}
    for runs in (*found.trainings, *found.resized):
        for pixels in params.ATTACKS:
            for _, row in comparison.rates(runs, pixels).iterrows():
                key = (row["dataset"], row["classifier"], pixels, runs.sizes.get(row["dataset"]))
                rates.setdefault(key, []).append(row)
    return rates


def _above(ones: list[pd.Series], others: list[pd.Series], where: str) -> Pair:
    """Difference of independent rates with its interval, over all pairs of trainings."""
    return where, *_holding([newcombe(one, other) for one in ones for other in others])


def dae_ahead(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE above that of each other denoiser, on the same images, in every run."""
    pairs = [pair for other in OTHERS for pair in _psnr(found, "dae", other, p)]
    return of_pairs(pairs, "the DAE has the higher PSNR")


def dae_ahead_of_nothing(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE above that of the attacked image itself."""
    pairs = _psnr(found, "dae", "identity", p)
    return of_pairs(pairs, "the DAE has a higher PSNR than the attacked image left as it is")


def _contrasts(found: Recorded, p: Parameters, modules: bool, claim: str) -> Verdict:
    """Rows of `ablation.contrasts`; an answer that hangs on one seed stays open."""
    if not found.ablation:
        return of_pairs([], claim)
    table = ablation.contrasts(found.ablation[0], p)
    table = table[table["reference"].isin(ablation.MODULES) == modules]
    signs = table["better"].map({"yes": 1.0, "no": -1.0}).fillna(0.0)
    named = zip(table["variant"], signs, strict=True)
    return of_pairs([(name, sign, sign, sign) for name, sign in named], claim)


def modules_help(found: Recorded, p: Parameters) -> Verdict:
    """Each model of Table 4 better than the one before it, over images and seeds."""
    return _contrasts(found, p, True, "the module helps")


def four_levels_best(found: Recorded, p: Parameters) -> Verdict:
    """Four levels better than three and than five, over images and seeds."""
    return _contrasts(found, p, False, "four levels are better")


def independent_of_classifier(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE after attacks on either classifier: within `SAME_DB` of each other.

    Two runs can say so only if the same training of the DAE restored the images of both.
    """
    differences: dict[str, list[tuple[float, float, float]]] = {}
    unlike = set()
    for runs in found.trainings:
        table = runs.restored
        table = table[table["success"] & (table["defence"] == "dae") & (table["pixels"] == 2)]
        table = table[np.isfinite(table["psnr"])]
        for dataset, group in table.groupby("dataset", sort=False):
            by = {name: part["psnr"] for name, part in group.groupby("classifier")}
            if len(by) < 2 or min(map(len, by.values())) < 2:
                continue
            if len({runs.restorers.get((dataset, name), {}).get("dae") for name in by}) > 1:
                unlike.add(dataset)
                continue
            (one, a, b), (other, c, d) = (
                bootstrap_mean(by[name], p.bootstrap_samples, p.seed) for name in sorted(by)
            )
            low = one - other - np.hypot(one - a, d - other)
            high = one - other + np.hypot(b - one, other - c)
            differences.setdefault(dataset, []).append((one - other, low, high))
    # Of a data set that was run with several seeds those runs are meant that have another seed.
    apart_by_training = "".join(
        f" Runs on {shown(dataset)} {'with another seed ' if dataset in differences else ''}are "
        "left out: they do not name one training of the DAE that restored both."
        for dataset in sorted(unlike)
    )
    if not differences:
        reason = "No data set has attacks on both classifiers yet."
        return Verdict(NOT_TESTABLE, reason + apart_by_training)
    each = [_holding(of) for of in differences.values()]
    same = sum(low > -SAME_DB and high < SAME_DB for _, low, high in each)
    apart = sum(low > SAME_DB or high < -SAME_DB for _, low, high in each)
    reason = (
        f"The mean PSNR after attacks on the two classifiers is within {SAME_DB:g} dB on "
        f"{same} of {len(each)} data sets and further apart on {apart}; else it is open."
    )
    word = REPLICATED if same == len(each) else IN_PART if same else NOT_REPLICATED
    return Verdict(word, reason + apart_by_training)


def order_of_data_sets(found: Recorded, p: Parameters) -> Verdict:
    """Rates of neighbours in the printed order, ResNet50, by number of pixels and size."""
    rates, order = _rates(found), ("chest", "oct", "derma", "pathology")
    after = dict(zip(order, order[1:], strict=False))
    pairs = [
        _above(rates[key], rates[other], _name(key, "over", other[0]))
        for key in rates
        if key[1] == "resnet50" and (other := (after.get(key[0]), *key[1:])) in rates
    ]
    return of_pairs(pairs, "the order of neighbours is as printed")


def two_above_one(found: Recorded, p: Parameters) -> Verdict:
    """Success with two pixels less that with one, image by image, where both were tried."""
    pairs = []
    records = found.runs.records if found.runs else pd.DataFrame(columns=KEYS)
    for key, group in records.groupby(KEYS[:2], sort=False):
        one, two = (
            group[group["pixels"] == pixels].set_index(["split", "index"])["success"].astype(float)
            for pixels in (1, 2)
        )
        both = (two - one).dropna()
        if len(both) > 1:
            pairs.append((_name(key), *bootstrap_mean(both, p.bootstrap_samples, p.seed)))
    return of_pairs(pairs, "two pixels fool more often than one")


def densenet_below_on_derma_only(found: Recorded, p: Parameters) -> Verdict:
    """Two-pixel rates of the two classifiers, in the printed direction on each data set."""
    pairs, rates = [], _rates(found)
    for key in rates:
        dataset, classifier, pixels, size = key
        other = (dataset, "densenet121", 2, size)
        if (classifier, pixels) == ("resnet50", 2) and other in rates:
            both = (rates[key], rates[other])
            pairs.append(_above(*(both if dataset == "derma" else both[::-1]), _name(key)))
    return of_pairs(pairs, "the classifiers are in the printed order")


def larger_is_easier(found: Recorded, p: Parameters) -> Verdict:
    """Success at each size less that at the next smaller one, on images that were tried at both.

    A classifier is trained for each size, so every training at the one is held against every
    training at the other.
    """
    tried: dict[tuple, dict[int, list[pd.Series]]] = {}
    accuracy: dict[tuple, dict[int, list[float]]] = {}
    for runs in (*found.trainings, *found.resized):
        for key, group in runs.records.groupby(KEYS, sort=False):
            success = group.set_index(["split", "index"])["success"].astype(float)
            tried.setdefault(key, {}).setdefault(runs.sizes.get(key[0], 0), []).append(success)
        for net, about in runs.classifiers.items():
            of_size = accuracy.setdefault(net, {}).setdefault(runs.sizes[net[0]], [])
            of_size.append(about["test"]["accuracy"])
    pairs = []
    for key, by_size in tried.items():
        for small, large in pairwise(sorted(by_size)):
            each = [
                bootstrap_mean(both, p.bootstrap_samples, p.seed)
                for one, other in product(by_size[large], by_size[small])
                if len(both := (one - other).dropna()) > 1
            ]
            if each:
                pairs.append((_name(key, f"{large} over {small}"), *_holding(each)))
    verdict = of_pairs(pairs, "the larger images are attacked more often with success")
    if not pairs:
        return verdict
    told = [
        f"{_name(tuple(map(shown, net)))} {' and '.join(map(percent, of_size))} at {size} px"
        for net, by_size in sorted(accuracy.items()) if len(by_size) > 1
        for size, of_size in sorted(by_size.items())
    ]  # fmt: skip
    said = f" A classifier was trained for each size; right on test images: {'; '.join(told)}."
    return Verdict(verdict.word, verdict.reason + said)


def time_a_third_more(found: Recorded, p: Parameters) -> Verdict:
    """Ratio of training times; other hardware and sizes, so no verdict."""
    table = found.denoisers
    names = ("dae", "autoencoder")
    minutes = {
        name: table.loc[table["denoiser"] == name, "minutes"].sum() if len(table) else 0
        for name in names
    }
    if not all(minutes.values()):
        return Verdict(NOT_TESTABLE, "No run of ours has trained both yet.")
    return Verdict(
        NOT_TESTABLE,
        f"Here the ratio is {minutes['dae'] / minutes['autoencoder']:.2f}, with images of another "
        "size on other hardware; a time says little about a model (audit T4).",
    )


def detection_better(found: Recorded, p: Parameters) -> Verdict:
    """The paper has no number of detection; 4.2.2 says that it is better than its reference 8."""
    return Verdict(
        NOT_TESTABLE,
        "The paper measures no detection; what the residual of a defence detects is on the pages "
        "of restoration.",
    )


TESTS: dict[str, Callable[[Recorded, Parameters], Verdict]] = {
    test.__name__: test
    for test in (
        dae_ahead, dae_ahead_of_nothing, modules_help, four_levels_best, independent_of_classifier,
        order_of_data_sets, two_above_one, densenet_below_on_derma_only, larger_is_easier,
        time_a_third_more, detection_better,
    )
}  # fmt: skip
