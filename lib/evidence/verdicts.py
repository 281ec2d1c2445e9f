"""Verdicts by rule.

The book's page "How verdicts are made" states the rule in words, with what was changed in it after
results had been seen. A verdict is a word and a reason, made from numbers.
"""

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import pandas as pd

from lib.evidence.printed import DATASETS
from lib.figures.formatting import enumerated, many, place, shown

REPLICATED, IN_PART = "replicated", "in part"
NOT_REPLICATED, NOT_TESTABLE = "not replicated", "not testable"
NAMED = 4  # places that a reason names; more are counted only
WORDS = (REPLICATED, IN_PART, NOT_REPLICATED, NOT_TESTABLE)

Interval = tuple[float, float, float]  # a difference, its lower and its upper bound
Images = Set[tuple[str, int]]  # data sets, each with a size of its images
# By place (data set, classifier, number of pixels, or what else), the difference in each training.
Differences = dict[tuple[str | int, ...], list[Interval]]


@dataclass(frozen=True)
class Verdict:
    """What is concluded of a claim, a table or a figure, and why."""

    word: str
    reason: str
    counts: tuple[int, int, int] = (0, 0, 0)  # comparisons as claimed, opposite, inconclusive
    images: Images = frozenset()  # compared, if known
    missing: tuple[str, ...] = ()  # data sets that a claim about all could not be tested on

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise ValueError(f"{self.word!r} is none of {', '.join(WORDS)}.")

    @property
    def opposite(self) -> bool:
        """Not replicated, and somewhere the opposite holds."""
        return self.word == NOT_REPLICATED and self.counts[1] > 0


def of_values(
    rows: pd.DataFrame,
    unlike: str = "",
    orders: Verdict | None = None,
    unit: str = "values agree with the printed ones",
) -> Verdict:
    """Verdict on a table: how many of our values agree with the printed ones.

    Args:
        rows: of `printed_comparison.compare`.
        unlike: why the values need not agree, such as another image size; there is no verdict then.
        orders: on orders in the same table; each counts as a value does, if any was compared.
        unit: what the values that agree do.
    """
    held, count = int(rows["holds"].sum()), len(rows)
    if not count:
        return Verdict(NOT_TESTABLE, "We have no counterpart yet.")
    if count == 1:
        unit = unit.replace("values agree", "value agrees").replace("ones", "one")
    reason = f"{held} of {count} {unit}."
    if unlike:
        return Verdict(NOT_TESTABLE, f"Not comparable: {unlike}. {reason}")
    if orders:
        held, count = held + orders.counts[0], count + sum(orders.counts)
        reason += f" {orders.reason}" if sum(orders.counts) else ""
    return Verdict(REPLICATED if held == count else IN_PART if held else NOT_REPLICATED, reason)


def of_differences(
    differences: Differences, claim: str, more: str = "", images: Images = frozenset()
) -> Verdict:
    """Verdict on a claim that each difference is above 0, such as "the DAE is ahead".

    Where a run was repeated, the mean difference counts, see `holding`. Those without an interval
    are left out. The claim is replicated where every interval lies above 0, not replicated where
    none does, in part otherwise, and not testable without a comparison. ``more`` is added to the
    reason.
    """
    pairs = {place(*key): holding(each) for key, each in differences.items()}
    pairs = {where: pair for where, pair in pairs.items() if pair[1] == pair[1]}  # no NaN
    if not pairs:
        return Verdict(NOT_TESTABLE, "We have no runs to compare yet.", images=images)
    ahead = [where for where, (_, low, _) in pairs.items() if low > 0]
    behind = [where for where, (_, _, high) in pairs.items() if high < 0]
    inconclusive = [where for where, (_, low, high) in pairs.items() if low <= 0 <= high]
    reason = (
        f"{claim[0].upper()}{claim[1:]} in {len(ahead)} of {many(len(pairs), 'comparison')}"
        f"{exceptions(len(behind), len(inconclusive))}."
    )
    for title, places in (("The opposite", behind), ("Inconclusive", inconclusive)):
        if 0 < len(places) <= NAMED and len(places) < len(pairs):
            reason += f" {title}: {'; '.join(places)}."
    reason += "".join(_alike(place(*key), each) for key, each in differences.items()) + more
    word = REPLICATED if len(ahead) == len(pairs) else IN_PART if ahead else NOT_REPLICATED
    return Verdict(word, reason, (len(ahead), len(behind), len(inconclusive)), images)


def _alike(where: str, trainings: Sequence[Interval]) -> str:
    """Which way several trainings point that only together are inconclusive, if all the same."""
    _, low, high = holding(trainings)
    if len(trainings) < 2 or not low <= 0 <= high:
        return ""
    for way, sign, nearer in (("the claimed", 1, 1), ("the opposite", -1, 2)):
        if all(sign * each[0] > 0 for each in trainings):
            clear = sum(sign * each[nearer] > 0 for each in trainings)
            runs = "both" if len(trainings) == 2 else f"all {len(trainings)}"
            return f" {where}: {runs} training runs point {way} way, {clear} clearly."
    return ""


def exceptions(opposite: int, inconclusive: int) -> str:
    """``; 1 shows the opposite and 3 are inconclusive``; empty where both are 0."""
    found = [f"{opposite} show{'s' * (opposite == 1)} the opposite"] * (opposite > 0)
    verb = "is" if inconclusive == 1 else "are"
    found += [f"{inconclusive} {verb} inconclusive"] * (inconclusive > 0)
    return f"; {enumerated(found)}" if found else ""


def over_data_sets(verdict: Verdict, compared: Container[str]) -> Verdict:
    """At most *in part* for a claim about all data sets if some were not compared."""
    missing = [shown(name) for name in DATASETS if name not in compared]
    if verdict.word == NOT_TESTABLE or not missing:
        return verdict
    verdict = limited(verdict, f"Not compared: {enumerated(missing)}.")
    return replace(verdict, missing=tuple(missing))


def limited(verdict: Verdict, reason: str) -> Verdict:
    """The verdict, but at most *in part*, for a further reason."""
    word = IN_PART if verdict.word == REPLICATED else verdict.word
    return replace(verdict, word=word, reason=f"{verdict.reason} {reason}")


def everywhere(
    differences: Differences, claim: str, sizes: Mapping[str, int], more: str = ""
) -> Verdict:
    """`of_differences` for a claim about all data sets, with the sizes of their images.

    Places begin with the data set.
    """
    compared = {key[0] for key in differences}
    verdict = of_differences(differences, claim, more, sized(compared, sizes))
    return over_data_sets(verdict, compared)


def sized(datasets: Iterable[str], sizes: Mapping[str, int]) -> Images:
    """Data sets with the size of their images."""
    return {(name, sizes.get(name, 0)) for name in datasets}


def holding(differences: Iterable[Interval]) -> Interval:
    """Mean difference over trainings, with an interval that holds those of all."""
    each, lows, highs = zip(*differences, strict=True)
    return sum(each) / len(each), min(lows), max(highs)


def counts(words: Iterable[str]) -> dict[str, int]:
    """How often each verdict was given, all four in their order."""
    given = list(words)
    return {word: given.count(word) for word in WORDS}
