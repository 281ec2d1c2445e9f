"""Verdicts by rule.

The rule, and what was changed in it after results had been seen, stands in words on the book's page
"How verdicts are made"; this module is the same in code. A verdict is a word and a reason, made
from numbers.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import pandas as pd

from lib.evidence.printed import DATASETS
from lib.figures.formatting import shown

REPLICATED, IN_PART = "replicated", "in part"
NOT_REPLICATED, NOT_TESTABLE = "not replicated", "not testable"
NAMED = 4  # places that a reason names; more are counted only
WORDS = (REPLICATED, IN_PART, NOT_REPLICATED, NOT_TESTABLE)


Pair = tuple[str, float, float, float]  # where, difference, and its interval


@dataclass(frozen=True)
class Verdict:
    """What is concluded of a claim, a table or a figure, and why."""

    word: str
    reason: str
    opposite: bool = False  # not replicated, and somewhere the opposite holds

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise ValueError(f"{self.word!r} is none of {', '.join(WORDS)}.")


def of_values(rows: pd.DataFrame, comparable: bool) -> Verdict:
    """A table of values: how many of our intervals hold the printed number.

    Args:
        rows: of `compare.compare`, of one table.
        comparable: whether our images have the paper's size and source; if not, agreement and
            disagreement of values say nothing about the paper's, and no verdict is given.
    """
    held, count = int(rows["holds"].sum()), len(rows)
    if not count:
        return Verdict(NOT_TESTABLE, "No run of ours has its counterpart yet.")
    said = f"{held} of {count} intervals hold the printed value"
    if not comparable:
        sources = " and ".join(sorted(set(rows["source"])))
        return Verdict(
            NOT_TESTABLE,
            f"Compared, but of another size or selection ({rows['protocol'].iloc[0]}, {sources}), "
            f"so values need not agree: {said}.",
        )
    word = REPLICATED if held == count else IN_PART if held else NOT_REPLICATED
    return Verdict(word, f"{said[0].upper()}{said[1:]}.")


def of_pairs(pairs: Iterable[Pair], claim: str, more: str = "") -> Verdict:
    """An ordering: each pair is one place where the claim says that a difference is above 0.

    Args:
        pairs: ``(where, difference, low, high)`` with the 95 % interval of the difference.
        claim: what a positive difference means, such as "the DAE is ahead".
        more: sentences to add to the reason.

    Returns:
        Replicated where every interval lies above 0; not replicated where none does; in part
        otherwise; not testable without a pair.
    """
    pairs = [pair for pair in pairs if pair[2] == pair[2]]  # an interval of one image is NaN
    if not pairs:
        return Verdict(NOT_TESTABLE, "No run of ours compares this yet.")
    ahead = [where for where, _, low, _ in pairs if low > 0]
    behind = [where for where, _, _, high in pairs if high < 0]
    open_ = [where for where, _, low, high in pairs if low <= 0 <= high]
    reason = (
        f"{claim[0].upper()}{claim[1:]} in {len(ahead)} of {len(pairs)} comparisons, the opposite "
        f"holds in {len(behind)}, {len(open_)} are open."
    )
    for title, places in (("The opposite", behind), ("Open", open_)):
        if 0 < len(places) <= NAMED and len(places) < len(pairs):
            reason += f" {title}: {'; '.join(places)}."
    reason += more
    if len(ahead) == len(pairs):
        return Verdict(REPLICATED, reason)
    return Verdict(IN_PART if ahead else NOT_REPLICATED, reason, not ahead and bool(behind))


def over_data_sets(verdict: Verdict, compared: Container[str]) -> Verdict:
    """The verdict on a claim about all data sets of the paper.

    What holds where it could be tested is no more than a part of the claim if some could not be
    compared; the reason names those.
    """
    missing = [shown(name) for name in DATASETS if name not in compared]
    if verdict.word == NOT_TESTABLE or not missing:
        return verdict
    word = IN_PART if verdict.word == REPLICATED else verdict.word
    return replace(
        verdict, word=word, reason=f"{verdict.reason} Not compared: {', '.join(missing)}."
    )


def holding(differences: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Mean difference of several trainings, with an interval that holds those of all.

    Args:
        differences: ``(difference, low, high)`` of each training.
    """
    each, lows, highs = zip(*differences, strict=True)
    return sum(each) / len(each), min(lows), max(highs)


def counts(words: Iterable[str]) -> dict[str, int]:
    """How often each verdict was given, all four in their order."""
    given = list(words)
    return {word: given.count(word) for word in WORDS}
