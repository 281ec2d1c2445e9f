"""Claims about how often the attacks succeed."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, pairwise, product
from math import isnan

import pandas as pd

from lib.evidence.rates import FEWEST, KEYS, MATCHED, success_rate
from lib.evidence.record import Record
from lib.evidence.results_tables import difference
from lib.evidence.variants import outcome_differences
from lib.evidence.verdicts import Differences, Verdict, everywhere, of_differences, over_data_sets
from lib.figures.formatting import enumerated, gain, percent, place, shown
from lib.metrics.intervals import newcombe, paired
from lib.params import Parameters

ORDER = ("chest", "oct", "derma", "pathology")  # as printed, the most often attacked first


def order_of_data_sets(record: Record, p: Parameters) -> Verdict:
    """Class-weighted rates of ResNet50 on test images, each two data sets compared at the same
    size.
    """
    found, differences = defaultdict(list), {}
    for (dataset, classifier, pixels, size), group in _tested(record):
        if classifier == "resnet50" and not isnan((row := success_rate(group))["matched"]):
            found[dataset, pixels, size].append([row[name] for name in MATCHED])
    compared, images, apart = set(), set(), set(combinations(ORDER, 2))
    for (one, pixels, size), ours in found.items():
        for other in ORDER[ORDER.index(one) + 1 :]:
            if theirs := found.get((other, pixels, size)):
                where = (one, pixels, f"against {shown(other)}", f"at {size} px")
                differences[where] = [newcombe(a, b) for a, b in product(ours, theirs)]
                compared |= {one, other}
                images |= {(one, size), (other, size)}
                apart.discard((one, other))
    why = (
        f" Only data sets with at least {FEWEST} correct test images of every class, or of every "
        "class but one, are compared."
    )
    if never := [f"{shown(a)} and {shown(b)}" for a, b in sorted(apart) if {a, b} <= compared]:
        why += f" Not recorded at the same size: {'; '.join(never)}."
    claim = "class-weighted rates on test images are in the printed order"
    return over_data_sets(of_differences(differences, claim, why, images), compared)


def _tested(record: Record) -> Iterator[tuple[tuple[str, str, int, int], pd.DataFrame]]:
    """Attacks on test images in each training, also at other sizes; by `KEYS` and size."""
    for runs in (*record.trainings, *record.resized):
        yield from runs.tested.attacks.groupby([*KEYS, "size"], sort=False)


def two_above_one(record: Record, p: Parameters) -> Verdict:
    """Success with two pixels minus success with one, on images attacked with both."""
    found = {}
    groups = record.runs.attacks.groupby(KEYS[:2], sort=False) if record.runs else ()
    for key, group in groups:
        one, two = (group[group["pixels"] == pixels] for pixels in (1, 2))
        both, of = outcome_differences(two, one)
        if len(both) >= FEWEST:
            found[key] = [paired(both, of)]
    more = ""
    if found:  # over all data sets and classifiers
        whole = gain(*difference(record.runs.attacks, "success", 2, 1, of="pixels"))
        more = f" All together: {whole} percentage points."
    return everywhere(found, "two pixels succeed more often than one", record.sizes, more)


def densenet_below_on_derma_only(record: Record, p: Parameters) -> Verdict:
    """Two pixels: the two classifiers on the test images that both classified correctly."""
    shared, images = defaultdict(list), set()
    for runs in (*record.trainings, *record.resized):
        attacks = runs.tested.attacks
        attacks = attacks[attacks["pixels"] == 2]
        for (dataset, size), group in attacks.groupby(["dataset", "size"], sort=False):
            above, below = (
                group[group["classifier"] == name] for name in ("densenet121", "resnet50")
            )
            if dataset == "derma":
                above, below = below, above
            both, of = outcome_differences(above, below)
            if len(both) >= FEWEST:
                shared[dataset, f"{size} px"].append((both, of))
                images.add((dataset, size))
    claim = "the classifiers are in the printed order"
    verdict = of_differences(_intervals(shared), claim, _counted(shared), images)
    return over_data_sets(verdict, {dataset for dataset, _ in images})


def _intervals(shared: dict[tuple, list]) -> Differences:
    return {key: [paired(*each) for each in trainings] for key, trainings in shared.items()}


def _counted(shared: dict[tuple, list]) -> str:
    """A sentence: the number of images behind each comparison."""
    counts = [len(both) for each in shared.values() for both, _ in each]
    if not counts:
        return ""
    few, most = min(counts), max(counts)
    return f" Each comparison uses {few if few == most else f'{few} to {most}'} shared test images."


def larger_is_easier(record: Record, p: Parameters) -> Verdict:
    """Success at each size minus that at the next smaller one, on images attacked at both.

    Each size has classifiers of its own: every training at one size is compared with every training
    at the other.
    """
    tried = defaultdict(lambda: defaultdict(list))
    accuracy = defaultdict(lambda: defaultdict(list))
    for (*key, size), group in _tested(record):
        tried[tuple(key)][size].append(group)
    for runs in (*record.trainings, *record.resized):
        for net in runs.runs.itertuples():
            accuracy[net.dataset, net.classifier][net.size].append(net.accuracy)
    shared, images = {}, set()
    for key, by_size in tried.items():
        for small, large in pairwise(sorted(by_size)):
            both = [outcome_differences(*each) for each in product(by_size[large], by_size[small])]
            if both := [each for each in both if len(each[0]) >= FEWEST]:
                shared[*key, f"{large} against {small} px"] = both
                images |= {(key[0], small), (key[0], large)}
    accuracies = [
        f" Test accuracy, {place(*net)}: " + "; ".join(
            f"{enumerated([*map(percent, each)])} at {size} px"
            for size, each in sorted(by_size.items())
        ) + "."
        for net, by_size in sorted(accuracy.items()) if len(by_size) > 1
    ]  # fmt: skip
    more = (
        f"{_counted(shared)} Each size has its own classifier, so the effects of size and "
        f"classifier cannot be separated.{''.join(accuracies)}"
    )
    claim = "attacks on the larger images succeed more often"
    return of_differences(_intervals(shared), claim, more, images)
