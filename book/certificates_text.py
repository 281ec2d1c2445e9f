"""Text of the page about certificates."""

import pandas as pd

from book.results_text import beaten
from lib.figures.formatting import enumerated, rate, shown

METHODS = {
    "rand1": "*rand1* is the paper's differential evolution.",
    "best1bin": "*best1bin* is the one of SciPy and of other programs.",
    "sparse_rs": "*sparse_rs* is Sparse-RS with 100 candidates from one best image at a time.",
    "random": "*random* draws pixels and colors at random. In the first 100 queries, *rand1*, "
              "*best1bin* and *random* try the same candidates.",
    "map": "*map* needs the network's gradient. It predicts most candidates, and only those that "
           "the network evaluates count as queries.",
}  # fmt: skip


def certified(table: pd.DataFrame) -> str:
    """How many images have a certificate; ``table`` of `lib.evidence.certificates.accuracy`."""
    if not len(table):
        return "No certificate is recorded yet."
    text = ["A certificate proves that no change of one pixel can alter the prediction."]
    for (size, through), of in table.groupby(["size", "through"], sort=False):
        after = "After a 3 x 3 median filter" if through == "median3" else "Without a defense"
        if not of["robust"].max():
            names = " or ".join(shown(name) for name in of["dataset"].unique())
            text.append(f"{after}, no test image of {names} at {size} px is certified.")
            continue
        each = [f"{_range(group['robust'])} of {shown(name)}"
                for name, group in of.groupby("dataset", sort=False)]  # fmt: skip
        text.append(f"{after}, {enumerated(each)} images at {size} px are certified.")
    return " ".join(text)


def methods(searched: pd.DataFrame) -> str:
    """What the searches are; ``searched`` has a column ``method``."""
    known = set(searched["method"]) if len(searched) else ()
    return " ".join(text for name, text in METHODS.items() if name in known)


def _range(shares: pd.Series) -> str:
    low, high = rate(shares.min()), rate(shares.max())
    return high if low == high else f"{low} to {high}"


def below_baseline(weak: pd.DataFrame) -> str:
    """Classifiers worse than a constant answer; of `lib.evidence.certificates.below_baseline`."""
    worse = beaten(weak)
    return worse and (
        f"Read this with care: {worse}. So their certificates say little about useful classifiers."
    )
