"""Claims about how often the attacks succeed."""

from collections import defaultdict
from itertools import combinations, pairwise, product

from lib import params
from lib.evidence.protocol_runs import KEYS, MATCHED, rates
from lib.evidence.record import Record
from lib.evidence.variants import FEWEST, outcomes
from lib.evidence.verdicts import Verdict, everywhere, of_differences, over_data_sets
from lib.figures.formatting import enumerated, percent, place, shown
from lib.metrics.intervals import newcombe, paired
from lib.params import Parameters

ORDER = ("chest", "oct", "derma", "pathology")  # as printed, the most often attacked first


def order_of_data_sets(record: Record, p: Parameters) -> Verdict:
    """Class-weighted rates of ResNet50 on test images, each two data sets compared at the same
    size.
    """
    found, differences = defaultdict(list), {}
    for runs in (*record.trainings, *record.resized):
        for pixels in params.ATTACKS:
            table = rates(runs.tested, pixels)
            for row in table[table["classifier"] == "resnet50"].dropna(subset="matched").iloc:
                key = (row["dataset"], pixels, runs.sizes.get(row["dataset"], 0))
                found[key].append(tuple(row[[*MATCHED]]))
    compared, apart = set(), set(combinations(ORDER, 2))
    for (one, pixels, size), ours in list(found.items()):
        for other in ORDER[ORDER.index(one) + 1 :]:
            if theirs := found.get((other, pixels, size)):
                where = (one, pixels, f"against {shown(other)}", f"at {size} px")
                differences[where] = [newcombe(a, b) for a, b in product(ours, theirs)]
                compared |= {one, other}
                apart.discard((one, other))
    why = " Only data sets with a correct test image of every class are compared."
    if never := [f"{shown(a)} and {shown(b)}" for a, b in sorted(apart) if {a, b} <= compared]:
        why += f" Not recorded at the same size: {'; '.join(never)}."
    claim = "class-weighted rates on test images are in the printed order"
    return over_data_sets(of_differences(differences, claim, why), compared)


def two_above_one(record: Record, p: Parameters) -> Verdict:
    """Success with two pixels minus success with one, on images attacked with both."""
    differences = {}
    groups = record.runs.records.groupby(KEYS[:2], sort=False) if record.runs else ()
    for key, group in groups:
        one, two = (outcomes(group[group["pixels"] == pixels]) for pixels in (1, 2))
        if len(both := (two - one).dropna()) >= FEWEST:
            differences[key] = [paired(both)]
    return everywhere(differences, "two pixels succeed more often than one")


def densenet_below_on_derma_only(record: Record, p: Parameters) -> Verdict:
    """Two pixels: the two classifiers on the test images that both classified correctly."""
    shared = defaultdict(list)
    for runs in (*record.trainings, *record.resized):
        records = runs.tested.records
        for dataset, group in records[records["pixels"] == 2].groupby("dataset", sort=False):
            resnet, densenet = (
                outcomes(group[group["classifier"] == name]) for name in ("resnet50", "densenet121")
            )
            both = (resnet - densenet if dataset == "derma" else densenet - resnet).dropna()
            if len(both) >= FEWEST:
                shared[dataset, f"{runs.sizes.get(dataset, 0)} px"].append(both)
    differences = {key: [*map(paired, each)] for key, each in shared.items()}
    return everywhere(differences, "the classifiers are in the printed order", _counted(shared))


def _counted(shared: dict[tuple, list]) -> str:
    """A sentence: the number of images behind each comparison."""
    counts = [len(both) for each in shared.values() for both in each]
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
    for runs in (*record.trainings, *record.resized):
        for key, group in runs.tested.records.groupby(KEYS, sort=False):
            tried[key][runs.sizes.get(key[0], 0)].append(outcomes(group))
        for net, about in runs.classifiers.items():
            accuracy[net][runs.sizes[net[0]]].append(about["test"]["accuracy"])
    shared = {}
    for key, by_size in tried.items():
        for small, large in pairwise(sorted(by_size)):
            both = [(a - b).dropna() for a, b in product(by_size[large], by_size[small])]
            if both := [each for each in both if len(each) >= FEWEST]:
                shared[*key, f"{large} against {small} px"] = both
    accuracies = [
        f"{place(*net)} {enumerated([*map(percent, each)])} at {size} px"
        for net, by_size in sorted(accuracy.items()) if len(by_size) > 1
        for size, each in sorted(by_size.items())
    ]  # fmt: skip
    more = (
        f"{_counted(shared)} Each size has its own classifier, so the effects of size and "
        f"classifier cannot be separated. Test accuracy: {'; '.join(accuracies)}."
    )
    differences = {key: [*map(paired, each)] for key, each in shared.items()}
    return of_differences(differences, "attacks on the larger images succeed more often", more)
