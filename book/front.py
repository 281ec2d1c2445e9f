"""What the README of the results says of the record: a small table and sentences."""

import pandas as pd

from lib import params
from lib.defense import adaptive, restoration
from lib.evidence import verdicts
from lib.evidence.protocol_runs import KEYS, shares
from lib.evidence.record import Record
from lib.figures.formatting import break_even, enumerated, pixels, place, rate, shown
from lib.metrics import intervals
from lib.params import Parameters

# The paper's proposal, the same with patch selection, the plainest filter, and no defense.
DEFENSES = ("dae", f"dae{params.PATCHES}", "median3", "identity")
# Questions about classes, which the paper does not ask, answered beside its claims.
BY_CLASS = ("dae_recovers_more", "dae_recovers_more_than_a_median")
COUNTED = (
    "An attacked image counts once for each classifier and number of pixels, a clean one once for "
    "each classifier; confidence intervals treat repeated attacks on one image as one observation. "
    "All are test images."
)
NONE = "No run on real images is recorded in this copy yet."


def paragraphs(record: Record, p: Parameters) -> list[str]:
    """The results, and on which data: paragraphs of Markdown."""
    if not record.runs:
        return [NONE]
    names = [f"{shown(name)} ({record.runs.sizes[name]} px)" for name in record.runs.datasets]
    rates = [_success(record.runs.tested.records, count) for count in params.ATTACKS]
    text = [
        f"On *{' and '.join(record.sources)}* images of {enumerated(names)}, protocol "
        f"`{p.protocol}`: {enumerated(rates)}."
    ]
    table = _pooled(record, p)
    if not len(table):
        return text
    rows = [
        f"| {shown(name)} | {_share(table.loc[name], 'recovered')} | "
        f"{_share(table.loc[name], 'kept')} | {_break_even(table.loc[name])} |"
        for name in DEFENSES
        if name in table.index
    ]
    attacked, clean = int(table["n"].max()), int(table["images"].max())
    head = (
        f"| | label recovery rate of {attacked:,} successful attacks "
        f"| clean prediction retention of {clean:,} clean images "
        "| break-even attack prevalence |"
    )
    text.append("\n".join([head, "| --- | --- | --- | --- |", *rows]))
    if not {"dae", "median3", DEFENSES[1]} <= set(table.index):
        return text
    right, wrong = (100 * table["recovered"]).round(), (100 * (1 - table["kept"])).round()
    text.append(
        f"After the DAE, {right['dae']:.0f} of 100 attacked images are classified correctly again. "
        f"But {wrong['dae']:.0f} of 100 clean images no longer are. A plain 3 x 3 median filter: "
        f"{right['median3']:.0f} and {wrong['median3']:.0f}. The DAE is worth using only if more "
        f"than {_break_even(table.loc['dae'])} of all images are attacked. Restricted to the "
        f"patches that it changes most (*+ patches*, not in the paper): "
        f"{right[DEFENSES[1]]:.0f} and {wrong[DEFENSES[1]]:.0f}."
    )
    return text


def adaptive_attack(record: Record) -> list[str]:
    """Results of the adaptive attack, a paragraph; none where it was not run."""
    if not record.runs or not len(table := record.runs.tested.adaptive):
        return []
    correct = adaptive.summary(table).set_index("defense")
    each = [
        f"{shown(name)} {_share(correct.loc[name], 'adaptive')}"
        + (f", {rate(correct.loc[name, 'oblivious'], digits=1)}" if name != "identity" else "")
        for name in DEFENSES
        if name in correct.index
    ]
    runs = [
        place(*net, " and ".join(pixels(n) for n in group["pixels"].unique()))
        for net, group in table.groupby(KEYS[:2], sort=False)
    ]
    return [
        f"Images that keep the correct class in {int(correct['n'].max()):,} adaptive attacks "
        f"({'; '.join(runs)}; last: if the attacker does not know the defense): "
        f"{'; '.join(each)}."
    ]


def _pooled(record: Record, p: Parameters) -> pd.DataFrame:
    """Shares of each defense over all runs, by its name; of test images."""
    restored = record.runs.tested.restored
    if not len(restored):
        return pd.DataFrame()
    return shares(restored, p.bootstrap_samples, p.seed).set_index("defense")


def _break_even(row: pd.Series) -> str:
    return break_even(*row[["pays_from", "pays_from_low", "pays_from_high"]], digits=1)


def _share(row: pd.Series, name: str) -> str:
    return rate(row[name], row[f"{name}_low"], row[f"{name}_high"], digits=1)


def _success(records: pd.DataFrame, count: int) -> str:
    of_count = records[records["pixels"] == count]
    if not len(of_count):
        return f"{pixels(count)} were not tried"
    images = len(of_count[restoration.IMAGE].drop_duplicates())
    estimate = intervals.rate(int(of_count["success"].sum()), len(of_count), images)
    attacks = f"{len(of_count):,} attacks on {images:,} images"
    return f"{pixels(count)} changed the class in {rate(*estimate, digits=1)} of {attacks}"


def counted(ledger: pd.DataFrame) -> str:
    """How many claims of `claims.ledger` got which verdict, and the questions about classes."""
    own, more = ledger[~ledger["added"]], ledger[ledger["added"]]
    words = {word: f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items()}
    failed = own[own["verdict"] == verdicts.NOT_REPLICATED]
    if len(failed):
        opposite = int(failed["opposite"].sum())
        words[verdicts.NOT_REPLICATED] += (
            f" (the opposite found for {opposite}, {len(failed) - opposite} inconclusive)"
        )
    tested = more[more["id"].isin(BY_CLASS) & (more["verdict"] != verdicts.NOT_TESTABLE)]
    by_class = [
        sentence.rstrip(".") + "."
        for reason in tested["reason"]
        for sentence in reason.split(". ")
        if not sentence.startswith("Inconclusive:")  # too many places for a first page
    ]
    return " ".join([f"Of {len(own)} claims of the paper: {', '.join(words.values())}.", *by_class])


def verdicts_of(ledger: pd.DataFrame) -> str:
    """How many claims got which verdict, and what the words mean, two sentences."""
    own = ledger[~ledger["added"]]
    words = [f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items() if n]
    return (
        f"Of {len(own)} claims of the paper: {enumerated(words)}. *Not replicated* is not refuted: "
        "where every comparison is inconclusive, more images could still decide. How verdicts are "
        "made stands on a page of its own."
    )


def tested(compared: pd.DataFrame) -> str:
    """How many printed values our intervals hold, at the paper's size and below, a sentence.

    Args:
        compared: of `printed_comparison.nearest`.
    """
    full = compared["size"] == 224
    held = compared["holds"]
    return (
        f"At 224 px, our intervals hold {held[full].sum()} of {full.sum()} printed values; at "
        f"smaller sizes, {held[~full].sum()} of {(~full).sum()}."
    )
