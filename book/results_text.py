"""Sentences of the results pages; every number in them is of the record."""

from collections.abc import Iterable

import pandas as pd

from lib import params
from lib.defense.detection import ALARMS
from lib.evidence import claims_defense, confidence
from lib.evidence import printed as paper
from lib.evidence import results_tables as recorded
from lib.evidence.confidence import SURE, UNSURE
from lib.evidence.recorded_runs import RecordedRuns, unhalved
from lib.evidence.verdicts import Verdict
from lib.figures.formatting import enumerated, many, percent, place, rate, shown
from lib.params import DENOISERS, PATCHES, PRINTED_SIZE

FACTOR = 2  # rates so many times apart are named
POINTS = 0.10  # and so many points
CLEARLY = 0.9  # share that says where something comes from
SELDOM = 0.01


def weak(found: RecordedRuns) -> pd.DataFrame:
    """Runs of the protocol nearest to the paper's whose classifier a constant answer beats."""
    runs = recorded.nearest(found.runs)
    return runs[runs["weak"]]


def beaten(runs: pd.DataFrame, numbers: bool = True) -> str:
    """Which classifiers are worse than an answer that never changes, as a clause; empty for none.

    ``runs`` has ``protocol, dataset, size, classifier, accuracy, constant``, the last two as
    shares 0..1; ``numbers``: with the size and the shares.
    """
    clauses = []
    for (_, dataset, size), of in runs.groupby(["protocol", "dataset", "size"], sort=False):
        names = [shown(name) for name in of["classifier"]]
        which = names[0] if len(names) == 1 else "both classifiers"
        at = f" at {size} px" if numbers else ""
        text = f"on {shown(dataset)}{at}, the majority baseline beats {which}"
        if numbers:
            each = zip(names, of["accuracy"], strict=True)
            each = enumerated([f"{name} on {rate(share)}" for name, share in each])
            constant = rate(of["constant"].iloc[0])
            text += f" (correct on {constant} of the test images, {each})"
        clauses.append(text)
    return "; ".join(clauses)


def defended(pooled: pd.DataFrame) -> str:
    """What the DAE and the median filter do with 100 misled and 100 clean images."""
    if not len(pooled) or not {"dae", "median3"} <= set(pooled["defense"]) or not pooled["n"].max():
        return ""
    of = pooled.set_index("defense")
    back, lost = (100 * of["recovered"]).round(), (100 * (1 - of["kept"])).round()
    return (
        f"After the DAE, the classifier is right again on {back['dae']:.0f} of 100 misled images, "
        f"but wrong on {lost['dae']:.0f} of 100 clean ones. For a plain 3 x 3 median filter, the "
        f"numbers are {back['median3']:.0f} and {lost['median3']:.0f}."
    )


def overview(
    success: pd.DataFrame, defenses: pd.DataFrame, ahead: Verdict, images: str
) -> str:  # fmt: skip
    """What came out on all data sets, in a few sentences.

    ``success`` is of `results_tables.class_weighted`, ``defenses`` has one row a data set and
    defense. ``ahead``, whether the DAE recovers more labels than a median filter, and the
    ``images`` that this rests on are of `lib.evidence.claims.first`.
    """
    text = []
    known = success[success["printed"].notna()]
    full = known[known["size"] == PRINTED_SIZE]
    useful = full[~full["weak"]]
    if len(known) and known.groupby("dataset")["successes"].sum().all():
        text.append("One or two changed pixels mislead some images of every data set.")
    if len(useful):
        text.append(
            f"At the paper's {PRINTED_SIZE} px, the success rate agrees with the printed one in "
            f"{useful['agrees'].sum()} of {len(useful)} attacks."
        )
    if left_out := dict.fromkeys(full.loc[full["weak"], "dataset"]):
        text.append(
            f"Attacks on {enumerated([shown(name) for name in left_out])} are not counted, because "
            "the majority baseline beats the classifier."
        )
    back = defenses.loc[defenses["defense"] == "dae", "recovered"].dropna() if len(defenses) else ()
    if len(back):
        text.append(
            f"By data set, the DAE recovers the label of {rate(back.min())} to {rate(back.max())} "
            "of the misled images."
        )
    if sum(ahead.counts):
        more, fewer, undecided = ahead.counts
        text.append(
            "On the same images, it recovers more labels than a plain 3 x 3 median filter in "
            f"{more} of {many(sum(ahead.counts), 'comparison')} and fewer in {fewer}; {undecided} "
            f"{'is' if undecided == 1 else 'are'} inconclusive ({images})."
        )
    return " ".join(text) or "No attack is recorded yet."


def sure(table: pd.DataFrame) -> str:
    """Whether attacks mislead only unsure predictions; empty without any at the paper's size.

    ``table`` is of `lib.evidence.confidence.success`, with ``size``.
    """
    of_size = table[table["size"] == PRINTED_SIZE] if len(table) else table
    (won, n), (unsure, few) = (confidence.counted(of_size, of) for of in (SURE, UNSURE))
    if not n or not few:
        return ""
    text = (
        f"At {PRINTED_SIZE} px, the attack misleads {won} of {n} predictions with a confidence of "
        f"99 % or more, but {unsure} of {few} below 70 %."
    )
    if won < SELDOM * n and unsure > CLEARLY * few:
        text += (
            " So the success rate depends on how many of its correct predictions a classifier is "
            "unsure of. A rate of another classifier may differ for this reason alone."
        )
    return text


def sure_by_size(table: pd.DataFrame) -> str:
    """Success at high confidence at each size of the images, of `confidence.sizes`, or empty."""
    text, falls = [], []
    for dataset, of in table.groupby("dataset", sort=False):
        counts = {size: confidence.counted(each, SURE) for size, each in of.groupby("size")}
        counts = {size: (won, n) for size, (won, n) in counts.items() if n}
        each = [f"{won} of {n} at {size} px" for size, (won, n) in counts.items()]
        text.append(f"On {shown(dataset)}, attacks succeed on {enumerated(each)}.")
        rates = [won / n for won, n in counts.values()]
        falls.append(len(rates) > 1 and rates[0] > rates[-1] and rates == sorted(rates)[::-1])
    if not text:
        return ""
    more = " So at equal confidence, too, larger images are harder to attack." if all(falls) else ""
    return f"Of the images with a confidence of 99 % or more: {' '.join(text)}{more}"


def removed(table: pd.DataFrame) -> str:
    """Whether defenses that lose a label do so because of the attack, of `removal`, or empty."""
    if not len(table):
        return ""
    whole = (table["defense"] != "identity") & ~table["defense"].str.endswith(PATCHES)
    lost, both = table.loc[whole, ["lost", "both"]].sum()
    if not lost:
        return ""
    text = (
        f"Without patch selection, a denoiser or filter fails to recover the label {lost:,} times. "
        f"In {both:,} of them ({rate(both / lost)}), the clean image changes its class after the "
        "same defense, too."
    )
    if both > CLEARLY * lost:
        text += (
            " So these defenses remove the attack. They differ in what they do to images that are "
            "near the decision boundary, attacked or not."
        )
    return text


def detected(table: pd.DataFrame) -> str:
    """How many attacks the DAE and a median filter reveal at few false alarms, or nothing.

    ``table`` is of `lib.defense.detection.detected`, with ``dataset``.
    """
    text = []
    for name, reveals in (("dae", "the DAE reveals"), ("median3", "a median filter reveals")):
        of = table[(table["defense"] == name) & (table["n"] > 0)] if len(table) else table
        each = [f"{rate(row.rate)} on {shown(row.dataset)}" for row in of.itertuples()]
        text += [f"{reveals} {enumerated(each)}"] if each else []
    if not text:
        return ""
    return f"Of the attacks, at {rate(ALARMS)} false alarms, {'; '.join(text)}."


def gaps(success: pd.DataFrame) -> str:
    """Rates far from the printed ones, widest first; empty without any.

    ``success`` is of `results_tables.class_weighted`, with ``dataset``.
    """
    known = success[success["printed"].notna()]
    count = (known["size"] == PRINTED_SIZE).sum()
    low, high = known[["rate", "printed"]].min(axis=1), known[["rate", "printed"]].max(axis=1)
    known = known.assign(gap=high - low)[(high - low > POINTS) & (high > FACTOR * low)]
    if not len(known):
        return ""
    full, others = [], []
    for row in known.sort_values("gap", ascending=False).itertuples():
        (full if row.size == PRINTED_SIZE else others).append(
            f"- {place(row.dataset, row.pixels, row.classifier)}, {row.size} px: "
            f"**{rate(row.rate)}** here, {percent(row.printed)} printed."
        )
    heading = (
        f"Rates that differ from the printed ones by more than {100 * POINTS:.0f} percentage "
        f"points and a factor of {FACTOR}, at {PRINTED_SIZE} px ({len(full)} of {count}):"
    )
    if others:
        full += ["", "Equally large differences at other sizes, which are not comparable:", ""]
    return "\n".join([heading, "", *full, *others])


def screened(records: Iterable[RecordedRuns]) -> str:
    """Which searches of the nearest protocol were screened, sentences or empty."""
    runs = []
    for found in records:
        near = recorded.nearest(found.runs)
        nets = near.loc[near["evaluation"] == "screened", "classifier"]
        runs += [f"{shown(found.dataset)} with {shown(net)}" for net in nets]
    if not runs:
        return ""
    return (
        f"The search on {enumerated(runs)} was screened: it predicted most scores and computed "
        "only the most promising. It may find fewer successes than the paper's search. All other "
        "searches computed every score."
    )


def unrestored(records: Iterable[RecordedRuns]) -> str:
    """Attacks of the nearest protocol whose images no defense has restored, a sentence or empty."""
    missing = [
        f"{shown(run.dataset)} with {shown(run.classifier)} at {run.size} px"
        for found in records for run in found.unrestored.itertuples()
    ]  # fmt: skip
    return f"No defense was tested on the attacks on {enumerated(missing)}." if missing else ""


def trained_unlike(records: Iterable[RecordedRuns]) -> str:
    """Where the DAE's learning rate was constant and a rival's was halved, a sentence or empty."""
    constant = [unhalved(recorded.nearest(found.denoisers)) for found in records]
    unlike = [shown(name) for each in constant for name, of in each.items() if "dae" in of]
    if not unlike:
        return ""
    return (
        f"On {enumerated(unlike)}, the DAE was trained at a constant learning rate, and some of "
        "the other denoisers at a decaying one."
    )


def past_best(records: Iterable[RecordedRuns], names: Iterable[str] = DENOISERS) -> str:
    """`claims_defense.past_best` of denoisers of the protocols nearest to the paper's."""
    found = pd.concat([recorded.nearest(of.denoisers) for of in records])
    found = found[found["denoiser"].isin(names)] if len(found) else found
    return claims_defense.past_best(found)


def only(rows: pd.DataFrame) -> str:
    """Which runs a table is of, and that others may differ; rows with dataset and classifier.

    Nothing where all data sets and classifiers are recorded.
    """
    runs = rows[["dataset", "classifier"]].drop_duplicates()
    if len(runs) == len(paper.DATASETS) * len(params.names("classifiers")):
        return ""
    names = enumerated([f"{shown(of.dataset)} with {shown(of.classifier)}" for of in runs.iloc])
    return f"Recorded only for {names}. Other data sets and defenses may behave differently."


def size_effect(lower: int, higher: int, pairs: int) -> str:
    """Whether larger images are harder to attack; arguments of `results_tables.size_effect`."""
    if not pairs:
        return "Only one image size is recorded yet."
    of = f"of {pairs} comparisons of neighboring sizes"
    if lower > pairs / 2:
        text = (
            f"Larger images are harder to attack here. In {lower} {of}, the success rate is lower "
            "at the larger size. The paper claims the opposite."
        )
    elif higher > pairs / 2:
        text = f"Larger images are easier to attack in {higher} {of}, as the paper claims."
    else:
        text = (
            f"Larger images are harder to attack in {lower} and easier in {higher} {of}: there "
            "is no trend."
        )
    return (
        f"{text} These rates are not weighted, and some are of few images. Each size has its own "
        "classifier, and on Chest its own images. The verdict on the claim uses only images that "
        "were attacked at both sizes."
    )
