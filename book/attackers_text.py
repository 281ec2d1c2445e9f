"""Text of the page about the strongest attacks."""

import pandas as pd

from lib.evidence.run_tables import RUN
from lib.figures.formatting import enumerated, rate, shown


def worst_case(rows: pd.DataFrame, weak: pd.DataFrame) -> str:
    """What the figure of the worst attacks is of; arguments of `lib.evidence.attackers.to_pool`."""
    if not len(rows):
        return ""
    images = rows[[*RUN, "split", "index"]].drop_duplicates()
    each = [
        f"{count} of {shown(name)}"
        for name, count in images.groupby("dataset", sort=False).size().items()
    ]
    sizes = enumerated([f"{size}" for size in sorted(rows["size"].unique())])
    text = (
        f"The figure shows n = {len(images)} attacked images at {sizes} px: {enumerated(each)} "
        f"(run `{rows['protocol'].iloc[0]}`). An image that is attacked on two classifiers counts "
        "twice."
    )
    left_out = [
        f"{shown(row.classifier)} on {shown(row.dataset)} (right on {rate(row.accuracy)}, a "
        f"constant answer on {rate(row.constant)})"
        for row in weak.itertuples()
    ]
    if left_out:
        text += f" Classifiers worse than a constant answer are left out: {enumerated(left_out)}."
    return text
