"""The claims ledger: each claim of the paper, how it is tested, and the verdict.

A function for each entry of ``results/printed/claims.yml`` takes what is recorded and gives a
verdict by the rules of `lib.evidence.verdicts`.
"""

from collections.abc import Callable
from functools import cache

import pandas as pd
import yaml

from lib.evidence import ablation
from lib.evidence import printed as paper
from lib.evidence.claims_attack import (
    densenet_below_on_derma_only,
    larger_is_easier,
    order_of_data_sets,
    two_above_one,
)
from lib.evidence.claims_restoration import (
    dae_ahead,
    dae_ahead_of_nothing,
    dae_recovers_more,
    dae_recovers_more_than_a_median,
    independent_of_classifier,
)
from lib.evidence.findings import Recorded
from lib.evidence.verdicts import NOT_TESTABLE, Verdict, of_pairs
from lib.figures.formatting import many, shown
from lib.params import Parameters


@cache
def entries() -> list[dict[str, str]]:
    """Id, claim and place of each claim; ``added`` where the paper does not make it."""
    return yaml.safe_load((paper.FOLDER / "claims.yml").read_text())


def ledger(found: Recorded, p: Parameters) -> pd.DataFrame:
    """Every claim with its verdict: ``id, claim, where, added, verdict, opposite, reason``.

    ``added`` marks questions that the paper does not ask; ``opposite`` says whether a claim that
    is not replicated is contradicted somewhere, and not open everywhere.
    """
    rows = []
    for entry in entries():
        verdict = TESTS[entry["id"]](found, p)
        said = {"verdict": verdict.word, "opposite": verdict.opposite, "reason": verdict.reason}
        rows.append({"added": False, **entry, **said})
    return pd.DataFrame(rows)


def _contrasts(found: Recorded, p: Parameters, modules: bool, claim: str) -> Verdict:
    """Rows of `ablation.contrasts`; an answer that hangs on one seed stays open."""
    if not found.ablation:
        return of_pairs([], claim)
    table = ablation.contrasts(found.ablation[0], p)
    table = table[table["reference"].isin(ablation.MODULES) == modules]
    signs = table["better"].map({"yes": 1.0, "no": -1.0}).fillna(0.0)
    named = zip(table["variant"], table["reference"], signs, strict=True)
    pairs = [(f"{shown(one)} after {shown(other)}" if modules else shown(other), *[sign] * 3)
             for one, other, sign in named]  # fmt: skip
    more = (
        f" Trained for {many(p.ablation_epochs, 'epoch')} with "
        f"{many(int(table['seeds'].min()), 'seed')}."
    )
    return of_pairs(pairs, claim, more)


def modules_help(found: Recorded, p: Parameters) -> Verdict:
    """Each model of Table 4 better than the one before it, over images and seeds."""
    return _contrasts(found, p, True, "the module helps")


def four_levels_best(found: Recorded, p: Parameters) -> Verdict:
    """Four levels better than three and than five, over images and seeds."""
    return _contrasts(found, p, False, "four levels are better")


def time_a_third_more(found: Recorded, p: Parameters) -> Verdict:
    """Ratio of training times; other hardware and sizes, so no verdict."""
    table = found.denoisers
    names = ("dae", "autoencoder")
    minutes = {
        name: table.loc[table["denoiser"] == name, "minutes"].sum() if len(table) else 0
        for name in names
    }
    if not all(minutes.values()):
        return Verdict(NOT_TESTABLE, "No run of ours has trained both yet.")
    return Verdict(
        NOT_TESTABLE,
        f"Here the ratio is {minutes['dae'] / minutes['autoencoder']:.2f}, with images of another "
        "size on other hardware; a time says little about a model (audit T4).",
    )


def detection_better(found: Recorded, p: Parameters) -> Verdict:
    """The paper has no number of detection; 4.2.2 says that it is better than its reference 8."""
    return Verdict(
        NOT_TESTABLE,
        "The paper measures no detection; what the residual of a defense detects is on the pages "
        "of restoration.",
    )


TESTS: dict[str, Callable[[Recorded, Parameters], Verdict]] = {
    test.__name__: test
    for test in (
        dae_ahead, modules_help, four_levels_best, independent_of_classifier,
        order_of_data_sets, two_above_one, densenet_below_on_derma_only, larger_is_easier,
        time_a_third_more, detection_better, dae_ahead_of_nothing, dae_recovers_more,
        dae_recovers_more_than_a_median,
    )
}  # fmt: skip
