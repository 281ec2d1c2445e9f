"""What the front page says of the record: a sentence and a small table, made from the tables."""

import math

import pandas as pd

from lib import params
from lib.defense import adaptive, restoration
from lib.evidence import comparison, variants, verdicts
from lib.evidence.findings import Recorded
from lib.figures.formatting import enumerated, place, shown
from lib.figures.formatting import pixels as pixels_of
from lib.figures.tables import interval
from lib.metrics.intervals import rate
from lib.params import Parameters

# The paper's proposal, the same with patch selection, the plainest filter, and nothing.
TOLD = ("dae", f"dae{params.PATCHES}", "median3", "identity")
# Tests by class, which the paper does not have, told beside its claims.
BY_CLASS = ("dae_recovers_more", "dae_recovers_more_than_a_median")
COUNTED = (
    "An image counts once for each classifier and number of pixels, a clean one once for each "
    "classifier; intervals count it once in all. All are test images."
)
NONE = "No run on real images is recorded in this copy yet."


def recovery(found: Recorded) -> pd.DataFrame:
    """Recovered and kept shares by data set and defense, over classifiers and numbers of pixels.

    Returns:
        ``dataset`` and the columns of `restoration.shares`; empty without runs.
    """
    return comparison.recovery(found.runs, ["dataset"]) if found.runs else pd.DataFrame()


def paragraphs(found: Recorded, p: Parameters) -> list[str]:
    """What was found, on which data: paragraphs of Markdown."""
    if not found.runs:
        return [NONE]
    names = [f"{shown(name)} ({found.runs.sizes[name]} px)" for name in found.runs.datasets]
    sources = " and ".join(found.sources)
    told = [
        f"On *{sources}* images of {enumerated(names)}, protocol `{p.protocol}`: "
        + enumerated([_fooled(found.runs.tested.records, pixels) for pixels in params.ATTACKS])
        + "."
    ]
    shares = _pooled(found, p)
    if not len(shares):
        return told
    rows = [
        f"| {shown(name)} | {_share(shares.loc[name], 'recovered')} | "
        f"{_share(shares.loc[name], 'kept')} | {_worth(shares.loc[name])} |"
        for name in TOLD
        if name in shares.index
    ]
    fooled, images = int(shares["n"].max()), int(shares["images"].max())
    head = (
        f"| | class recovered, % of {fooled:,} successful attacks "
        f"| class kept, % of {images:,} clean images "
        "| pays from |"
    )
    told.append("\n".join([head, "| --- | --- | --- | --- |", *rows]))
    return [*told, *_in_words(shares)]


def _in_words(shares: pd.DataFrame) -> list[str]:
    """What the table comes to, a paragraph; nothing where a defense of it is missing.

    Args:
        shares: of `_pooled`.
    """
    if not {"dae", "median3", TOLD[1]} <= set(shares.index):
        return []
    back, lost = (100 * shares["recovered"]).round(), (100 * (1 - shares["kept"])).round()
    return [
        f"Of 100 fooled images the DAE brings {back['dae']:.0f} back to their class, and a 3 x 3 "
        f"median, which learns nothing, {back['median3']:.0f}; of 100 images that nobody attacked "
        f"they take the class of {lost['dae']:.0f} and {lost['median3']:.0f}. The DAE leaves more "
        f"images right than no defense where {_worth(shares.loc['dae'])} or more are "
        "attacked (*pays from*). Used only on the patches that it changes much (*+ patches*, not "
        f"in the paper), it brings back {back[TOLD[1]]:.0f} and takes {lost[TOLD[1]]:.0f}."
    ]


def knowing(found: Recorded) -> list[str]:
    """What is left when the attacker knows the defense, a paragraph; none where it was not run."""
    if not found.runs or not len(table := found.runs.tested.adaptive):
        return []
    right = adaptive.summary(table).set_index("defense")
    each = [
        f"{shown(name)} {_share(right.loc[name], 'adaptive')}"
        + (f" ({100 * right.loc[name, 'oblivious']:.1f})" if name != "identity" else "")
        for name in TOLD
        if name in right.index
    ]
    runs = [
        place(*net, " and ".join(pixels_of(n) for n in of["pixels"].unique()))
        for net, of in table.groupby(variants.KEYS[:2], sort=False)
    ]
    return [
        f"An attacker who knows the defense, in {int(right['n'].max()):,} attacks "
        f"({'; '.join(runs)}), leaves right, % (in brackets: if he does not know it): "
        f"{'; '.join(each)}."
    ]


def defended(found: Recorded, name: str, p: Parameters) -> str:
    """What a defense gives and takes, a sentence; empty without runs that used it."""
    if not found.runs or name not in (shares := _pooled(found, p)).index:
        return ""
    of = shares.loc[name]
    said = (
        f"The defense {shown(name)} brings the class back after {_share(of, 'recovered')} % of "
        f"{int(of['n']):,} successful attacks, and keeps that of {_share(of, 'kept')} % of "
        f"{int(of['images']):,} clean images"
    )
    if math.isfinite(of["pays_from"]):
        said += f"; more images are right than with no defense if {_worth(of)} or more "
        said += "are attacked"
    return f"{said}."


def _pooled(found: Recorded, p: Parameters) -> pd.DataFrame:
    """Shares of each defense over all runs, by its name; of test images."""
    restored = found.runs.tested.restored
    if not len(restored):
        return pd.DataFrame()
    return comparison.shares(restored, p.bootstrap_samples, p.seed).set_index("defense")


def _worth(row: pd.Series) -> str:
    return break_even(*row[["pays_from", "pays_from_low", "pays_from_high"]])


def _share(row: pd.Series, name: str) -> str:
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"], percent=True)


def _fooled(records: pd.DataFrame, pixels: int) -> str:
    of = records[records["pixels"] == pixels]
    count, word = int(of["success"].sum()), pixels_of(pixels)
    if not len(of):
        return f"{word} were not tried"
    units = len(of[restoration.IMAGE].drop_duplicates())
    share = interval(*rate(count, len(of), units), percent=True)
    return f"{word} changed the class in {share} % of {len(of):,} attacks on {units:,} images"


def counted(ledger: pd.DataFrame) -> str:
    """How many claims of `claims.ledger` got which verdict, and what was found on classes."""
    own, more = ledger[~ledger["added"]], ledger[ledger["added"]]
    said = [f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items()]
    failed = own[own["verdict"] == verdicts.NOT_REPLICATED]
    if len(failed):
        opposite = int(failed["opposite"].sum())
        at = verdicts.WORDS.index(verdicts.NOT_REPLICATED)
        said[at] += f" (the opposite found for {opposite}, {len(failed) - opposite} open)"
    tested = more[more["id"].isin(BY_CLASS) & (more["verdict"] != verdicts.NOT_TESTABLE)]
    by_class = [
        said.rstrip(".") + "."
        for reason in tested["reason"]
        for said in reason.split(". ")
        if not said.startswith("Open:")  # too many places for a first page
    ]
    return " ".join([f"Of {len(own)} claims of the paper: {', '.join(said)}.", *by_class])
