"""Claims about what the denoisers restore."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.defense.restoration import IMAGE
from lib.evidence import printed as paper
from lib.evidence.rates import FEWEST, KEYS
from lib.evidence.record import Record
from lib.evidence.recorded_runs import RecordedRuns, unhalved
from lib.evidence.variants import patients
from lib.evidence.verdicts import (
    IN_PART,
    NOT_REPLICATED,
    NOT_TESTABLE,
    REPLICATED,
    Differences,
    Verdict,
    everywhere,
    exceptions,
    holding,
    over_data_sets,
    sized,
)
from lib.figures.formatting import enumerated, shown
from lib.metrics import clusters
from lib.metrics.intervals import bootstrap_mean, newcombe, paired, share
from lib.params import Parameters

SAME_DB = 1.0  # a difference of mean PSNR below this is taken as none
PAST = 1.0  # dB by which the last epoch of a denoiser is clearly below its best
OTHERS = ("noise2noise", "median_cnn", "autoencoder")


def _dae_less(record: Record, p: Parameters, others: Sequence[str], column: str) -> Differences:
    """``psnr`` or ``recovered`` with the DAE minus with others, on images that the attack fooled.

    Trainings with fewer than `FEWEST` finite differences are left out.
    """
    differences = defaultdict(list)
    for other in others:
        for runs in record.trainings:
            if not len(restored := runs.tested.restored):
                continue
            for key, group in restored[restored["success"]].groupby(KEYS, sort=False):
                ours, theirs = (
                    group[group["defense"] == name].set_index(IMAGE)[column].astype(float)
                    for name in ("dae", other)
                )
                both = (ours - theirs).replace([np.inf, -np.inf], np.nan).dropna()
                if len(both) >= FEWEST:
                    of = patients(group, both.index)
                    differences[*key, *others[1:] and [other]].append(
                        bootstrap_mean(both, p.bootstrap_samples, p.seed, of)
                        if column == "psnr"
                        else paired(both, of)
                    )
    return differences


def _effort(record: Record, p: Parameters) -> str:
    """Sentences on how the training of the denoisers differs; empty if it does not."""
    few, most = p.denoiser_large_limit, p.denoiser_train_limit
    text = _schedules(record)
    if not p.denoiser_crop or {*p.denoiser_large} >= {*p.denoiser_names}:
        return text
    crops, others = f"{p.denoiser_crop}-pixel crops", "whole images"
    if few and few != most:
        crops += f" of at most {few:,} images"
        others = f"{f'at most {most:,}' if most else 'all'} {others}"
    large = enumerated([shown(name) for name in p.denoiser_large])
    return f" {large} were trained on {crops}, the others on {others}.{text}"


def _schedules(record: Record) -> str:
    """Where the rate of some denoisers was halved and that of others was not, and `past_best`."""
    if not record.runs:
        return ""
    constant: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for dataset, names in unhalved(record.runs.denoisers).items():
        constant[tuple(map(shown, names))].append(shown(dataset))
    text = [
        f"On {enumerated(where)}, the learning rate of {enumerated(names)} was constant and that "
        "of the others was halved three times. At a constant rate the PSNR fluctuates from epoch "
        "to epoch."
        for names, where in constant.items()
    ]
    return "".join(f" {each}" for each in (*text, past_best(record.runs.denoisers)) if each)


def past_best(denoisers: pd.DataFrame) -> str:
    """Denoisers whose last epoch, which is used, was clearly not their best; sentences or empty.

    ``denoisers`` are of `RecordedRuns`.
    """
    if not len(denoisers):
        return ""
    late = denoisers.assign(lag=denoisers["best_psnr"] - denoisers["psnr"])
    each = [
        f"{shown(row.denoiser)} on {shown(row.dataset)} (by {row.lag:.1f} dB)"
        for row in late[late["lag"] >= PAST].itertuples()
    ]
    if not each:
        return ""
    return (
        "Denoisers have the weights of their last epoch. On validation images, the PSNR is below "
        f"that of the best epoch for {enumerated(each)}."
    )


def dae_ahead(record: Record, p: Parameters) -> Verdict:
    """PSNR of the DAE against that of each other denoiser, on the same images."""
    found = _dae_less(record, p, OTHERS, "psnr")
    return everywhere(found, "the DAE has the higher PSNR", record.sizes, _effort(record, p))


def dae_ahead_of_nothing(record: Record, p: Parameters) -> Verdict:
    """PSNR of the DAE against that of the attacked image itself."""
    more = (
        " One or two changed pixels hardly lower the PSNR (audit U1). So this says more about the "
        "measure than about the defense: without a defense, no attacked image is classified "
        "correctly."
    )
    claim = "the DAE has a higher PSNR than the attacked image without a defense"
    return everywhere(_dae_less(record, p, ["identity"], "psnr"), claim, record.sizes, more)


def dae_recovers_more(record: Record, p: Parameters) -> Verdict:
    """Label recovery by the DAE against each other denoiser, on the same images."""
    claim = "the DAE has a higher label recovery rate than another denoiser"
    found = _dae_less(record, p, OTHERS, "recovered")
    return everywhere(found, claim, record.sizes, _effort(record, p))


def dae_recovers_more_than_a_median(record: Record, p: Parameters) -> Verdict:
    """Label recovery by the DAE against the 3 x 3 median filter."""
    claim = "the DAE has a higher label recovery rate than a 3 x 3 median"
    return everywhere(_dae_less(record, p, ["median3"], "recovered"), claim, record.sizes)


def independent_of_classifier(record: Record, p: Parameters) -> Verdict:
    """PSNR of the DAE after attacks on either classifier: within `SAME_DB` of each other.

    Only runs where one checkpoint of the DAE restored the images of both classifiers count. As in
    the paper, each mean is over the images that were successfully attacked on that classifier.
    """
    psnr, recovery, unlike = defaultdict(list), defaultdict(list), set()
    for runs in record.trainings:
        if not len(restored := runs.tested.restored):
            continue
        table = restored[(restored["defense"] == "dae") & (restored["pixels"] == 2)]
        for dataset, group in table.groupby("dataset", sort=False):
            attacked = group[group["success"] & np.isfinite(group["psnr"])]
            nets = [images for _, images in attacked.groupby("classifier")]  # sorted by name
            if len(nets) < 2 or min(map(len, nets)) < FEWEST:
                continue
            if not _one_checkpoint(runs, dataset, group):
                unlike.add(dataset)
                continue
            means = (
                bootstrap_mean(each["psnr"], p.bootstrap_samples, p.seed, clusters.of(each))
                for each in nets
            )
            psnr[dataset].append(newcombe(*means))
            rates = (share(each["recovered"], clusters.of(each)) for each in nets)
            recovery[dataset].append(newcombe(*rates))
    # If a data set has runs with several seeds, only those with another seed are left out.
    left_out = "".join(
        f" Runs on {shown(dataset)} {'with other seeds ' if dataset in psnr else ''}are left out: "
        "the two classifiers were tested with differently trained copies of the DAE."
        for dataset in sorted(unlike)
    )
    if not psnr:
        reason = "No data set has comparable attacks on both classifiers yet."
        return Verdict(NOT_TESTABLE, reason + left_out)
    each = [holding(trainings) for trainings in psnr.values()]
    same = sum(low > -SAME_DB and high < SAME_DB for _, low, high in each)
    apart = sum(low > SAME_DB or high < -SAME_DB for _, low, high in each)
    unequal = sum(low > 0 or high < 0 for _, low, high in map(holding, recovery.values()))
    reason = (
        f"The mean PSNR after the DAE differs by less than {SAME_DB:g} dB between the classifiers "
        f"on {same} of {len(each)} data sets{exceptions(apart, len(each) - same - apart)}. "
        f"The label recovery rate differs clearly on {unequal or 'none'} of them. "
        f"{_printed_gap()}{left_out}"
    )
    word = REPLICATED if same == len(each) else IN_PART if same else NOT_REPLICATED
    counts, images = (same, apart, len(each) - same - apart), sized(psnr, record.sizes)
    return over_data_sets(Verdict(word, reason, counts, images), psnr)


def _one_checkpoint(runs: RecordedRuns, dataset: str, table: pd.DataFrame) -> bool:
    """Whether one checkpoint of the DAE restored the images of both classifiers.

    Older records have no ids of trainings. There the residuals of clean images decide: one network
    changes an image that both runs share by exactly the same amount.
    """
    restorers = runs.runs[runs.runs["dataset"] == dataset].set_index("classifier")["restorers"]
    ids = {restorers[name].get("dae") for name in table["classifier"].unique()}
    if ids != {None}:
        return len(ids) == 1
    both = table.pivot_table("clean_residual_mean", IMAGE, "classifier", "first").dropna()
    return bool(len(both)) and bool((both.nunique(axis=1) == 1).all())


def _printed_gap() -> str:
    """A sentence: how far the paper's own means of the DAE differ between the classifiers."""
    tables = {
        name: [paper.denoise_table(name, net, 2).set_index("defense").loc["dae", "psnr"]
               for net in ("resnet50", "densenet121")]
        for name in paper.DATASETS
    }  # fmt: skip
    widest, (one, other) = max(tables.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    return f"The printed means differ by up to {abs(one - other):.2f} dB ({shown(widest)})."
