"""Claims about what the denoisers give back."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lib.defense.restoration import IMAGE
from lib.evidence import printed as paper
from lib.evidence.comparison import Collection
from lib.evidence.findings import Recorded
from lib.evidence.variants import FEWEST, KEYS
from lib.evidence.verdicts import (
    IN_PART,
    NOT_REPLICATED,
    NOT_TESTABLE,
    REPLICATED,
    Pair,
    Verdict,
    holding,
    of_pairs,
    over_data_sets,
)
from lib.figures.formatting import place, shown
from lib.metrics.intervals import bootstrap_mean, newcombe, paired, rate
from lib.params import Parameters

SAME_DB = 1.0  # a difference of mean PSNR below this is taken as none
OTHERS = ("noise2noise", "median_cnn", "autoencoder")


def _restored(found: Recorded, one: str, other: str, column: str) -> dict[tuple, list[pd.Series]]:
    """A column for one defense less that for another, by test image where the attack succeeded.

    Returns:
        By data set, classifier and pixels: finite differences, a series for each training that has
        at least `FEWEST`.
    """
    differences: dict[tuple, list[pd.Series]] = {}
    for runs in found.trainings:
        restored = runs.tested.restored
        fooled = restored[restored["success"]]
        for key, group in fooled.groupby(KEYS, sort=False):
            ours, theirs = (
                group[group["defense"] == name].set_index(IMAGE)[column].astype(float)
                for name in (one, other)
            )
            both = (ours - theirs).replace([np.inf, -np.inf], np.nan).dropna()
            if len(both) >= FEWEST:
                differences.setdefault(key, []).append(both)
    return differences


def _psnr(found: Recorded, others: Sequence[str], p: Parameters) -> dict[tuple, Pair]:
    """Mean PSNR of the DAE less that of others on the same successfully attacked images.

    Returns:
        By data set, classifier, pixels and the other's name.
    """

    def mean(both: pd.Series) -> tuple[float, float, float]:
        return bootstrap_mean(both, p.bootstrap_samples, p.seed)

    return _pairs(found, others, "psnr", mean)


def _recovered(found: Recorded, others: Sequence[str]) -> dict[tuple, Pair]:
    """The same for the share of classes that come back."""
    return _pairs(found, others, "recovered", paired)


def _pairs(
    found: Recorded, others: Sequence[str], column: str,
    difference: Callable[[pd.Series], tuple[float, float, float]],
) -> dict[tuple, Pair]:  # fmt: skip
    return {
        (*key, other): (
            place(*key, *others[1:] and [other]),
            *holding([difference(both) for both in trainings]),
        )
        for other in others
        for key, trainings in _restored(found, "dae", other, column).items()
    }


def _verdict(pairs: dict[tuple, Pair], claim: str, more: str = "") -> Verdict:
    return over_data_sets(of_pairs(pairs.values(), claim, more), {key[0] for key in pairs})


def _effort(p: Parameters) -> str:
    """What is not the same for all denoisers, a sentence; nothing if all learn from the same."""
    few, all_ = p.denoiser_large_limit, p.denoiser_train_limit
    if not few or few == all_:
        return ""
    return (
        f" Noise2Noise and Median CNN learned from at most {few:,} images, in crops of "
        f"{p.denoiser_crop} pixels, the autoencoders from {f'at most {all_:,}' if all_ else 'all'}."
    )


def dae_ahead(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE above that of each other denoiser, on the same images, in every run."""
    return _verdict(_psnr(found, OTHERS, p), "the DAE has the higher PSNR", _effort(p))


def dae_ahead_of_nothing(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE above that of the attacked image itself."""
    pairs = _psnr(found, ["identity"], p)
    more = (
        " One or two changed pixels of thousands cost little PSNR (audit U1), so this says more of "
        "the measure than of the defense: the class of a fooled image never comes back by itself."
    )
    return _verdict(pairs, "the DAE has a higher PSNR than the attacked image left as it is", more)


def dae_recovers_more(found: Recorded, p: Parameters) -> Verdict:
    """Classes that the DAE brings back against those of each other denoiser, image by image."""
    claim = "the DAE brings more classes back than another denoiser"
    return _verdict(_recovered(found, OTHERS), claim, _effort(p))


def dae_recovers_more_than_a_median(found: Recorded, p: Parameters) -> Verdict:
    """The same against the 3 x 3 median filter."""
    claim = "the DAE brings more classes back than a 3 x 3 median"
    return _verdict(_recovered(found, ["median3"]), claim)


def independent_of_classifier(found: Recorded, p: Parameters) -> Verdict:
    """PSNR of the DAE after attacks on either classifier: within `SAME_DB` of each other.

    Two runs can say so only if the same training of the DAE restored the images of both.
    """
    differences: dict[str, list[tuple[float, float, float]]] = {}
    classes: dict[str, list[tuple[float, float, float]]] = {}
    unlike = set()
    for runs in found.trainings:
        restored = runs.tested.restored
        table = restored[(restored["defense"] == "dae") & (restored["pixels"] == 2)]
        for dataset, group in table.groupby("dataset", sort=False):
            fooled = group[group["success"] & np.isfinite(group["psnr"])]
            by = {name: part for name, part in fooled.groupby("classifier")}
            if len(by) < 2 or min(map(len, by.values())) < 2:
                continue
            if not _one_restorer(runs, dataset, group):
                unlike.add(dataset)
                continue
            images = [by[name] for name in sorted(by)]
            psnr = [bootstrap_mean(of["psnr"], p.bootstrap_samples, p.seed) for of in images]
            differences.setdefault(dataset, []).append(newcombe(*psnr))
            back = [rate(int(of["recovered"].sum()), len(of)) for of in images]
            classes.setdefault(dataset, []).append(newcombe(*back))
    # Of a data set that was run with several seeds those runs are meant that have another seed.
    apart_by_training = "".join(
        f" Runs on {shown(dataset)} {'with another seed ' if dataset in differences else ''}are "
        "left out: not one training of the DAE restored both."
        for dataset in sorted(unlike)
    )
    if not differences:
        reason = "No data set has attacks on both classifiers yet."
        return Verdict(NOT_TESTABLE, reason + apart_by_training)
    each = [holding(of) for of in differences.values()]
    same = sum(low > -SAME_DB and high < SAME_DB for _, low, high in each)
    apart = sum(low > SAME_DB or high < -SAME_DB for _, low, high in each)
    unequal = sum(low > 0 or high < 0 for _, low, high in map(holding, classes.values()))
    reason = (
        f"The mean PSNR after attacks on the two classifiers is within {SAME_DB:g} dB on "
        f"{same} of {len(each)} data sets and further apart on {apart}; else it is open. The share "
        f"of classes that come back is shown to differ on {unequal}. {_printed_apart()}"
    )
    word = REPLICATED if same == len(each) else IN_PART if same else NOT_REPLICATED
    verdict = Verdict(word, reason + apart_by_training, opposite=not same and bool(apart))
    return over_data_sets(verdict, differences)


def _one_restorer(runs: Collection, dataset: str, table: pd.DataFrame) -> bool:
    """Whether one training of the DAE restored the images of both classifiers.

    Runs that were recorded before trainings had ids show it by their clean images: one network
    changes an image that both runs have by the same amount, to the last digit.
    """
    nets = table["classifier"].unique()
    ids = {runs.restorers.get((dataset, name), {}).get("dae") for name in nets}
    if ids != {None}:
        return len(ids) == 1
    of = table.pivot_table("clean_residual_mean", IMAGE, "classifier", "first").dropna()
    return bool(len(of)) and bool((of.nunique(axis=1) == 1).all())


def _printed_apart() -> str:
    """How far the paper's own means of the DAE are apart between the classifiers, a sentence."""
    gaps = {}
    for dataset in paper.DATASETS:
        one, other = (
            paper.denoise_table(dataset, name, 2).set_index("defense").loc["dae", "psnr"]
            for name in ("resnet50", "densenet121")
        )
        gaps[dataset] = abs(one - other)
    widest = max(gaps, key=gaps.get)
    return f"The paper's own means are up to {gaps[widest]:.2f} dB apart ({shown(widest)})."
