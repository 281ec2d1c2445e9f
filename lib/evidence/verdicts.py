"""Verdicts by a rule that was written down before the first result was recorded.

The rule, and what was changed in it since, stands in words on the book's page "How verdicts are
made"; this module is the same in code. A verdict
is a word and one sentence of reason, made from numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

REPLICATED, IN_PART = "replicated", "in part"
NOT_REPLICATED, NOT_TESTABLE = "not replicated", "not testable"
WORDS = (REPLICATED, IN_PART, NOT_REPLICATED, NOT_TESTABLE)


@dataclass(frozen=True)
class Verdict:
    """What is concluded of a claim, a table or a figure, and why."""

    word: str
    reason: str

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
            f"Protocol {rows['protocol'].iloc[0]} on {sources} images has another size or "
            f"selection than the paper's, so values need not agree; {said}.",
        )
    word = REPLICATED if held == count else IN_PART if held else NOT_REPLICATED
    return Verdict(word, f"{said[0].upper()}{said[1:]}.")


def of_pairs(pairs: Iterable[tuple[str, float, float, float]], claim: str) -> Verdict:
    """An ordering: each pair is one place where the claim says that a difference is above 0.

    Args:
        pairs: ``(where, difference, low, high)`` with the 95 % interval of the difference.
        claim: what a positive difference means, such as "the DAE is ahead".

    Returns:
        Replicated where every interval lies above 0; not replicated where none does; in part
        otherwise; not testable without a pair.
    """
    pairs = [pair for pair in pairs if pair[2] == pair[2]]  # an interval of one image is NaN
    if not pairs:
        return Verdict(NOT_TESTABLE, "No run of ours compares this yet.")
    ahead = [where for where, _, low, _ in pairs if low > 0]
    behind = [where for where, _, _, high in pairs if high < 0]
    open_ = len(pairs) - len(ahead) - len(behind)
    reason = (
        f"{claim[0].upper()}{claim[1:]} in {len(ahead)} of {len(pairs)} comparisons, the opposite "
        f"holds in {len(behind)}, {open_} are open."
    )
    if len(ahead) == len(pairs):
        return Verdict(REPLICATED, reason)
    return Verdict(IN_PART if ahead else NOT_REPLICATED, reason)


def counts(words: Iterable[str]) -> dict[str, int]:
    """How often each verdict was given, all four in their order."""
    given = list(words)
    return {word: given.count(word) for word in WORDS}
