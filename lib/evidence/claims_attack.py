"""Claims about how often the attacks succeed."""

from itertools import combinations, pairwise, product

import pandas as pd

from lib import params
from lib.evidence import comparison
from lib.evidence.comparison import MATCHED
from lib.evidence.findings import Recorded
from lib.evidence.variants import FEWEST, KEYS, outcomes
from lib.evidence.verdicts import Verdict, holding, of_pairs, over_data_sets
from lib.figures.formatting import enumerated, percent, place, shown
from lib.metrics.intervals import newcombe, paired
from lib.params import Parameters


def order_of_data_sets(found: Recorded, p: Parameters) -> Verdict:
    """Rates of ResNet50 in the printed order, every two data sets at the same size.

    Taken are test images only, and rates in the mix of classes of the paper's tables, as the
    printed order is one of those.
    """
    order = ("chest", "oct", "derma", "pathology")
    rates: dict[tuple, list[pd.Series]] = {}
    for runs in (*found.trainings, *found.resized):
        for pixels in params.ATTACKS:
            table = comparison.rates(runs.tested, pixels)
            for row in table[table["classifier"] == "resnet50"].dropna(subset="matched").iloc:
                as_rate = dict(zip(("rate", "low", "high"), row[[*MATCHED]], strict=True))
                key = (row["dataset"], pixels, runs.sizes.get(row["dataset"], 0))
                rates.setdefault(key, []).append(pd.Series(as_rate))
    pairs, compared = [], set()
    apart = set(combinations(order, 2))
    for (one, pixels, size), ours in rates.items():
        for other in order[order.index(one) + 1 :]:
            if theirs := rates.get((other, pixels, size)):
                each = [newcombe(a, b) for a, b in product(ours, theirs)]
                where = place(one, pixels, f"over {shown(other)}", f"at {size} px")
                pairs.append((where, *holding(each)))
                compared |= {one, other}
                apart.discard((one, other))
    why = " A data set is compared where some test image of each class is right."
    if never := [f"{shown(a)} and {shown(b)}" for a, b in sorted(apart) if {a, b} <= compared]:
        why += f" Never at one size: {'; '.join(never)}."
    claim = "rates on test images, in the paper's mix of classes, are in the printed order"
    return over_data_sets(of_pairs(pairs, claim, why), compared)


def two_above_one(found: Recorded, p: Parameters) -> Verdict:
    """Success with two pixels less that with one, image by image, where both were tried."""
    pairs, compared = [], set()
    records = found.runs.records if found.runs else pd.DataFrame(columns=KEYS)
    for key, group in records.groupby(KEYS[:2], sort=False):
        one, two = (outcomes(group[group["pixels"] == pixels]) for pixels in (1, 2))
        if len(both := (two - one).dropna()) >= FEWEST:
            pairs.append((place(*key), *paired(both)))
            compared.add(key[0])
    return over_data_sets(of_pairs(pairs, "two pixels fool more often than one"), compared)


def densenet_below_on_derma_only(found: Recorded, p: Parameters) -> Verdict:
    """Two pixels, the two classifiers on the test images that both had right and were tried on.

    On its own training images a classifier is not what it is on others, and two classifiers do not
    get the same ones right.
    """
    differences: dict[tuple, list[pd.Series]] = {}
    for runs in (*found.trainings, *found.resized):
        records = runs.tested.records
        of_two = records[records["pixels"] == 2]
        for dataset, group in of_two.groupby("dataset", sort=False):
            less, more = ("densenet121", "resnet50")[:: 1 if dataset == "derma" else -1]
            one, other = (outcomes(group[group["classifier"] == name]) for name in (more, less))
            both = (one - other).dropna()
            if len(both) >= FEWEST:
                key = (dataset, f"{runs.sizes.get(dataset, 0)} px")
                differences.setdefault(key, []).append(both)
    pairs = [
        (place(*key), *holding([paired(both) for both in of])) for key, of in differences.items()
    ]
    verdict = of_pairs(pairs, "the classifiers are in the printed order", _counted(differences))
    return over_data_sets(verdict, {dataset for dataset, _ in differences})


def _counted(differences: dict[tuple, list[pd.Series]]) -> str:
    """On how many images each comparison rests, a sentence."""
    counts = [len(both) for of in differences.values() for both in of]
    if not counts:
        return ""
    few, most = min(counts), max(counts)
    return (
        f" Each rests on {few if few == most else f'{few} to {most}'} test images that both have."
    )


def larger_is_easier(found: Recorded, p: Parameters) -> Verdict:
    """Success at each size less that at the next smaller one, on images that were tried at both.

    A classifier is trained for each size, so every training at the one is held against every
    training at the other.
    """
    tried: dict[tuple, dict[int, list[pd.Series]]] = {}
    accuracy: dict[tuple, dict[int, list[float]]] = {}
    for runs in (*found.trainings, *found.resized):
        for key, group in runs.tested.records.groupby(KEYS, sort=False):
            of_size = tried.setdefault(key, {})
            of_size.setdefault(runs.sizes.get(key[0], 0), []).append(outcomes(group))
        for net, about in runs.classifiers.items():
            of_net = accuracy.setdefault(net, {}).setdefault(runs.sizes[net[0]], [])
            of_net.append(about["test"]["accuracy"])
    differences = {
        (*key, f"{large} over {small} px"): each
        for key, by_size in tried.items()
        for small, large in pairwise(sorted(by_size))
        if (each := [
            both for one, other in product(by_size[large], by_size[small])
            if len(both := (one - other).dropna()) >= FEWEST
        ])
    }  # fmt: skip
    pairs = [
        (place(*key), *holding([paired(both) for both in of])) for key, of in differences.items()
    ]
    told = [
        f"{place(*net)} {enumerated([*map(percent, of_size)])} at {size} px"
        for net, by_size in sorted(accuracy.items()) if len(by_size) > 1
        for size, of_size in sorted(by_size.items())
    ]  # fmt: skip
    more = (
        f"{_counted(differences)} A classifier was trained for each size, so size and classifier "
        f"cannot be told apart; right on test images: {'; '.join(told)}."
    )
    return of_pairs(pairs, "the larger images are attacked more often with success", more)
