"""Text of the page about certificates."""

import pandas as pd

from lib.figures.formatting import enumerated, rate, shown


def certified(table: pd.DataFrame) -> str:
    """How many images have a certificate; ``table`` of `lib.evidence.certificates.accuracy`."""
    if not len(table):
        return "No certificate is recorded yet."
    text = ["A certificate proves that no change of one pixel can alter the prediction."]
    for size, of in table.groupby("size"):
        bare, filtered = (of.loc[of["through"] == name, "robust"] for name in ("bare", "median3"))
        if len(bare) and not bare.max():
            text.append(
                f"At {size} px, no test image has one: every image that is classified correctly "
                "has a pixel whose change misleads the classifier."
            )
        elif len(bare):
            text.append(f"At {size} px, {_range(bare)} of the test images have one.")
        if len(filtered):
            text.append(f"After a 3 x 3 median filter, {_range(filtered)} have one.")
    return " ".join(text)


def _range(shares: pd.Series) -> str:
    low, high = rate(shares.min()), rate(shares.max())
    return high if low == high else f"{low} to {high}"


def below_baseline(weak: pd.DataFrame) -> str:
    """Classifiers worse than a constant answer; of `lib.evidence.certificates.below_baseline`."""
    text = []
    for (dataset, size), of in weak.groupby(["dataset", "size"], sort=False):
        right = [f"{shown(row.classifier)} on {rate(row.accuracy)}" for row in of.itertuples()]
        text.append(
            f"On {shown(dataset)} at {size} px, a constant answer would be right on "
            f"{rate(of['constant'].iloc[0])} of all {of['n'].iloc[0]} test images, "
            f"{enumerated(right)}. So these certificates say little about useful classifiers."
        )
    return " ".join(text)
