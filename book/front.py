"""What the README of the results says of the record: a small table and sentences."""

import pandas as pd

from lib import params
from lib.defense import adaptive, restoration
from lib.evidence import verdicts
from lib.evidence.printed_comparison import EXACT
from lib.evidence.protocol_runs import KEYS, shares
from lib.evidence.record import Record
from lib.figures.formatting import attack, break_even, enumerated, pixels, place, rate, shown
from lib.metrics import clusters, intervals
from lib.params import Parameters

# The paper's proposal, the same with patch selection, the plainest filter, and no defense.
DEFENSES = ("dae", f"dae{params.PATCHES}", "median3", "identity")

COUNTED = (
    "All images are test images. An attacked image counts once for each classifier and number of "
    "pixels, a clean image once for each classifier. Confidence intervals allow for several rows "
    "of one image and for several images of one patient."
)
NONE = "No run on real images is recorded in this copy yet."


def paragraphs(record: Record, p: Parameters) -> list[str]:
    """The results, and on which data: paragraphs of Markdown."""
    if not record.runs:
        return [NONE]
    names = [f"{shown(name)} ({record.runs.sizes[name]} px)" for name in record.runs.datasets]
    rates = [_success(record.runs.tested.records, count) for count in params.ATTACKS]
    text = [
        f"Protocol `{p.protocol}`, *{' and '.join(record.sources)}* images of {enumerated(names)}. "
        + " ".join(rates)
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
        f"But {wrong['dae']:.0f} of 100 clean images no longer are. For a plain 3 x 3 median "
        f"filter, the numbers are {right['median3']:.0f} and {wrong['median3']:.0f}. The DAE is "
        f"worth using only if more than {_break_even(table.loc['dae'])} of all images are "
        "attacked. With patch selection (*+ patches*, not in the paper), the numbers are "
        f"{right[DEFENSES[1]]:.0f} and {wrong[DEFENSES[1]]:.0f}."
    )
    return text


def adaptive_attack(record: Record) -> list[str]:
    """Results of the adaptive attack, a sentence and a table; none where it was not run."""
    if not record.runs or not len(table := record.runs.tested.adaptive):
        return []
    correct = adaptive.summary(table).set_index("defense")
    rows = [
        f"| {shown(name)} | {_share(correct.loc[name], 'adaptive')} | "
        f"{_share(correct.loc[name], 'oblivious')} |"
        for name in DEFENSES
        if name in correct.index
    ]
    runs = [
        place(*net, " and ".join(pixels(n) for n in group["pixels"].unique()))
        for net, group in table.groupby(KEYS[:2], sort=False)
    ]
    head = (
        "| images that keep the correct class | adaptive attack "
        "| attacker does not know the defense |"
    )
    return [
        "An adaptive attack searches through defense and classifier together. It was run on "
        f"{int(correct['n'].max()):,} attacked images ({'; '.join(runs)}).",
        "\n".join([head, "| --- | --- | --- |", *rows]),
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
        return f"No attack with {pixels(count)} is recorded."
    images = len(of_count[restoration.IMAGE].drop_duplicates())
    estimate = intervals.share(of_count["success"], clusters.of(of_count))
    attempts = f"{len(of_count):,} attempts on {images:,} images"
    return f"The {attack(count)} succeeded in {rate(*estimate, digits=1)} of {attempts}."


def counted(ledger: pd.DataFrame) -> str:
    """How many claims of `claims.ledger` got which verdict, a sentence."""
    own = ledger[~ledger["added"]]
    words = {word: f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items()}
    failed = own[own["verdict"] == verdicts.NOT_REPLICATED]
    if len(failed):
        opposite = int(failed["opposite"].sum())
        words[verdicts.NOT_REPLICATED] += (
            f" ({opposite} show the opposite, {len(failed) - opposite} inconclusive)"
        )
    return f"Verdicts on {len(own)} claims of the paper: {enumerated([*words.values()])}."


def verdicts_of(ledger: pd.DataFrame) -> str:
    """How many claims got which verdict, and what the words mean, two sentences."""
    own = ledger[~ledger["added"]]
    words = [f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items() if n]
    return (
        f"Verdicts on {len(own)} claims of the paper: {enumerated(words)}. *Not replicated* does "
        "not mean refuted: where all comparisons are inconclusive, more images could still confirm "
        "the claim. See the page *How verdicts are made*."
    )


def tested(compared: pd.DataFrame) -> str:
    """How many printed values our intervals contain, at the paper's size and below, a sentence.

    Args:
        compared: of `printed_comparison.nearest`.
    """
    compared = compared[~compared["quantity"].isin(EXACT)]
    full = compared["size"] == 224
    held = compared["holds"]
    return (
        f"At 224 px, our 95 % intervals contain {held[full].sum()} of {full.sum()} printed values. "
        f"At smaller sizes, they contain {held[~full].sum()} of {(~full).sum()}."
    )
