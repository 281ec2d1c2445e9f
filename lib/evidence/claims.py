"""The claims of the paper, how each is tested, and the verdict.

Each entry of ``results/printed/claims.yml`` has a function that takes the record and gives a
verdict by the rules of `lib.evidence.verdicts`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pandas as pd
import yaml

from lib.evidence import ablation, claims_attack, claims_defense, training_times
from lib.evidence import printed as paper
from lib.evidence.record import Record
from lib.evidence.verdicts import NOT_TESTABLE, Differences, Verdict, limited, of_differences
from lib.figures.formatting import enumerated, many, shown
from lib.params import Parameters

ORDER = (*paper.DATASETS, "abdomen_ct")  # of data sets in a sentence


@cache
def entries() -> list[dict[str, str]]:
    """Each claim as ``claims.yml`` has it; ``added`` where the paper does not make it."""
    return yaml.safe_load((paper.FOLDER / "claims.yml").read_text(encoding="utf-8"))


def ledger(records: list[tuple[Record, Parameters]]) -> pd.DataFrame:
    """Every claim with its verdict, on the protocol nearest to the paper's that can test it.

    ``records`` begin with that protocol.

    Returns:
        ``id, name, page, files, claim, where, added`` as in `entries`; ``verdict, opposite,
        reason``; ``images``, the data sets and sizes that the verdict rests on, and ``missing``,
        data sets that could not be compared, both empty where there is none; and ``holds, against,
        inconclusive``, counts of comparisons. ``added`` marks questions that the paper does not
        ask; ``opposite`` says whether a claim that is not replicated is contradicted somewhere, and
        not inconclusive everywhere.
    """
    rows = []
    for entry in entries():
        verdict, images = first(entry["id"], records)
        holds, against, inconclusive = verdict.counts
        rows.append({
            "added": False, "page": "", **entry, "verdict": verdict.word,
            "opposite": verdict.opposite, "reason": verdict.reason, "images": images,
            "holds": holds, "against": against, "inconclusive": inconclusive,
            "missing": ", ".join(verdict.missing),
        })  # fmt: skip
    return pd.DataFrame(rows)


def first(claim: str, records: list[tuple[Record, Parameters]]) -> tuple[Verdict, str]:
    """The first verdict on a claim that some comparison decides, with the images it rests on.

    Without one: the first that could be given. What was undecided before is named in the reason.

    Args:
        claim: its id.
        records: as of `ledger`.
    """
    test, given, undecided = TESTS[claim], [], ""
    for record, p in records:
        verdict = test(record, p)
        testable = verdict.word != NOT_TESTABLE
        images = _images(verdict) if testable else ""
        given.append((verdict, images))
        if any(verdict.counts[:2]):
            return replace(verdict, reason=verdict.reason + undecided), images
        if testable:
            of = many(verdict.counts[2], "comparison")
            undecided += f" On {images}, {of} gave no conclusive result."
    return next((each for each in given if each[0].word != NOT_TESTABLE), given[0])


def _images(verdict: Verdict) -> str:
    """The compared images, ``Derma, OCT at 224 px; Chest at 28 and 64 px``."""
    by_sizes: dict[tuple[int, ...], list[str]] = {}
    for name in sorted({name for name, _ in verdict.images}, key=ORDER.index):
        sizes = tuple(sorted(size for of, size in verdict.images if of == name))
        by_sizes.setdefault(sizes, []).append(shown(name))
    return "; ".join(
        f"{enumerated(names)} at {enumerated([*map(str, sizes)])} px"
        for sizes, names in by_sizes.items()
    )


def _contrasts(
    record: Record, p: Parameters, pairs: tuple[tuple[str, str], ...], claim: str
) -> Verdict:
    """Verdict on rows of `ablation.contrasts` of which both models have settled."""
    metrics, models = record.ablation or (pd.DataFrame(columns=["variant"]), pd.DataFrame())
    table = ablation.contrasts(metrics, p, pairs)
    if not len(table):
        return of_differences({}, claim)
    effort = f"{many(p.ablation_epochs, 'epoch')} with {many(int(table['seeds'].min()), 'seed')}"
    effort = f" Each model was trained for {effort}."
    names = ablation.settled_variants(models)
    settled = table[["variant", "reference"]].isin(names).all(axis=1)
    every = f" If all counted: {of_differences(_signs(table, pairs), claim).reason}"
    if not settled.any():
        why = "Not comparable: in each comparison, a training has not settled."
        return Verdict(NOT_TESTABLE, why + every + effort)
    images = {("abdomen_ct", p.ablation_size)}
    verdict = of_differences(_signs(table[settled], pairs), claim, effort, images)
    if settled.all():
        return verdict
    left_out = many(int((~settled).sum()), "comparison")
    why = f"Left out, because a training has not settled: {left_out}."
    return limited(verdict, why + every)


def _signs(table: pd.DataFrame, pairs: tuple[tuple[str, str], ...]) -> Differences:
    """By models compared: 1 if better, -1 if worse, 0 if one seed could change the answer."""
    differences = {}
    for row in table.to_dict("records"):
        sign = {"yes": 1.0, "no": -1.0}.get(row["better"], 0.0)
        other = shown(row["reference"])
        where = f"{shown(row['variant'])} after {other}" if pairs == ablation.STEPS else other
        differences[where,] = [(sign, sign, sign)]
    return differences


def modules_help(record: Record, p: Parameters) -> Verdict:
    """Each model of Table 4 better than the one before it, over images and seeds."""
    return _contrasts(record, p, ablation.STEPS, "the module helps")


def four_levels_best(record: Record, p: Parameters) -> Verdict:
    """Four levels better than three and than five, over images and seeds."""
    return _contrasts(record, p, ablation.DEEPER, "four levels are better")


def proposed_beats_baseline(record: Record, p: Parameters) -> Verdict:
    """The two models of Table 3, over images and seeds; not among the paper's claims."""
    return _contrasts(record, p, (("proposed", "original"),), "the proposed model is better")


def time_a_third_more(record: Record, p: Parameters) -> Verdict:
    """Ratio of the times for an image in training. Hardware differs, so there is no verdict."""
    ratios = training_times.ratios(record.times, "dae", "autoencoder")
    if ratios.empty:
        return Verdict(NOT_TESTABLE, "We have not timed both yet.")
    each = [
        f"{of.ratio:.1f} times ({many(of.channels, 'channel')}, {of.hardware}, {of.precision})"
        for of in ratios.itertuples()
    ]
    reason = (
        f"Training on an image of 224 px takes the DAE {enumerated(each)} as long as "
        "the baseline. Such a ratio depends on the hardware, and the paper used other hardware "
        "(audit T4). Only the order is tested, with Tables 48 to 51."
    )
    return Verdict(NOT_TESTABLE, reason)


def detection_better(record: Record, p: Parameters) -> Verdict:
    """The paper prints no detection rate; section 4.2.2 claims a better one than reference 8."""
    reason = "The paper reports no detection rate. Ours are on the results page of each data set."
    return Verdict(NOT_TESTABLE, reason)


TESTS: dict[str, Callable[[Record, Parameters], Verdict]] = {
    test.__name__: test
    for test in (
        claims_defense.dae_ahead, modules_help, four_levels_best,
        claims_defense.independent_of_classifier, claims_attack.order_of_data_sets,
        claims_attack.two_above_one, claims_attack.densenet_below_on_derma_only,
        claims_attack.larger_is_easier, time_a_third_more, detection_better,
        claims_defense.dae_ahead_of_nothing, claims_defense.dae_recovers_more,
        claims_defense.dae_recovers_more_than_a_median,
    )
}  # fmt: skip
