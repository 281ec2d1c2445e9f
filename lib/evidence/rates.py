"""Rates of one run beside the paper's: attack success, and what defenses give and cost."""

from collections.abc import Sequence

import pandas as pd

from lib import params
from lib.defense import restoration
from lib.defense.break_even import SAMPLES, break_even_prevalence
from lib.evidence import printed as paper
from lib.metrics import clusters
from lib.metrics.intervals import NONE, newcombe, rate_table, share, standardized
from lib.metrics.intervals import rate as wilson_rate

KEYS = ["dataset", "classifier", "pixels"]  # names an attack
MATCHED = ("matched", "matched_low", "matched_high")
PRINTED = ("printed", "printed_n")
MATCHED_PRINTED = ("matched_printed", "matched_printed_n")
FEWEST = 6  # images of a rate, or that two runs share: fewer cannot decide a difference


def success_rate(records: pd.DataFrame) -> dict[str, float]:
    """Success rate of one run with one number of pixels, beside the paper's.

    With one pixel the paper attacks every correctly classified image, so that frequent classes
    dominate its rate; with two it attacks 100 of each class. We attack at most a fixed number of
    each (ATK01, ATK16).

    Returns:
        ``n, successes, rate, low, high``; `PRINTED`, rate and images as printed, NaN where there is
        none; `MATCHED`, our rate with classes weighted as in the paper's table, and
        `MATCHED_PRINTED`, the printed rate of the same classes. ``omitted`` names the class that
        both leave out because fewer than `FEWEST` of its images were attacked here, empty for none.
        NaN where there is no such table or several classes would be left out.
    """
    dataset, classifier, pixels = records[KEYS].iloc[0]
    rate = share(records["success"], clusters.of(records))
    matched, printed, beside, omitted = NONE, (float("nan"),) * 2, (float("nan"),) * 2, []
    if pixels == 2:
        printed = paper.rates().set_index("dataset").loc[dataset, [classifier, "n"]]
    elif classifier == "resnet50":
        printed = paper.totals(1).set_index("dataset").loc[dataset, ["rate", "n"]]
    if (theirs := _printed_classes(records)) is not None:
        ours = success_by_class(records).set_index("class")
        omitted = [*theirs.index[~(ours["n"].reindex(theirs.index) >= FEWEST)]]
        if len(omitted) <= 1:
            matched, *same = _matched(ours, theirs.drop(index=omitted))
            beside = same if omitted else printed
    names = ("rate", "low", "high", *MATCHED, *PRINTED, *MATCHED_PRINTED)
    return {
        "n": len(records), "successes": int(records["success"].sum()),
        **dict(zip(names, (*rate, *matched, *printed, *beside), strict=True)),
        "omitted": omitted[0] if len(omitted) == 1 else "",
    }  # fmt: skip


def apart(records: pd.DataFrame) -> dict[str, object] | None:
    """The class that makes the rate of one run differ from the printed one, if it is a single one.

    Without it, the class-weighted rate agrees with the printed one or lies on its other side.

    Returns:
        ``class``, and the rates without it, 0..1: ``others`` here and ``printed_others``. None
        where there is no such class or no printed table.
    """
    if (theirs := _printed_classes(records)) is None:
        return None
    ours = success_by_class(records).set_index("class").reindex(theirs.index)
    ours, theirs = (table[ours["n"] >= FEWEST] for table in (ours, theirs))
    if len(theirs) < 2:
        return None
    gaps = theirs["printed_n"] * (ours["rate"] - theirs["printed_rate"])
    widest = gaps.abs().idxmax()
    others, printed_others, total = _matched(ours, theirs.drop(index=widest))
    same = agrees(others, printed_others, total)
    if not same and (others[0] - printed_others) * gaps.sum() > 0:
        return None
    return {"class": widest, "others": others[0], "printed_others": printed_others}


def _printed_classes(records: pd.DataFrame) -> pd.DataFrame | None:
    """The attacked classes of the paper's table on the same attack; None without one."""
    table = paper.attack_table(*records[KEYS].iloc[0])
    return None if table is None else table[table["printed_n"] > 0].set_index("class")


def _matched(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[tuple, float, int]:
    """Our rate in the paper's mix of classes; the printed rate of these, and its images."""
    number = theirs["printed_n"]
    total = number.sum()
    return standardized(ours, number), theirs["printed_successes"].sum() / total, total


def agrees(ours: Sequence[float], printed: float, printed_n: float) -> bool:
    """Whether a rate of ours does not differ from a printed one, by the interval of the difference.

    Both are of a sample of images, so both have an interval (Newcombe 1998). ``ours`` are rate,
    lower and upper 95 % bound; rates are 0..1.
    """
    _, low, high = newcombe(ours, wilson_rate(round(printed * printed_n), int(printed_n)))
    return bool(low <= 0 <= high)


def success_by_class(records: pd.DataFrame) -> pd.DataFrame:
    """Success rate of each class of one run, and of all, as `lib.metrics.intervals.rate_table`.

    ``class`` has the classes in the paper's order, also those without an attacked image.
    """
    names = [item.name for item in params.facts(records["dataset"].iloc[0]).attack_classes]
    named = records.assign(**{"class": records["category"].map(dict(enumerate(names)))})
    return rate_table(named, "class", "success", names, clusters.of(records))


def defense_rates(restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """`restoration.shares` and `break_even_prevalence` of the same rows, one row a defense."""
    pays = break_even_prevalence(restored, samples, seed)
    return restoration.shares(restored).merge(pays, on="defense", how="left")
