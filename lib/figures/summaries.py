"""Tables of what was measured, ready to show: a column for each value with its 95 % interval."""

import pandas as pd
from pandas.io.formats.style import Styler

from lib.attack.vulnerability import Vulnerability
from lib.figures import formatting
from lib.figures.tables import intervals, table

RUN = ("dataset", "classifier", "pixels")


def recovery(summary: pd.DataFrame, caption: str = "") -> Styler:
    """Recovered and kept classes, and errors in gray levels, of each defense of one run.

    Args:
        summary: of `lib.defense.restoration.summary`.
        caption: above the table.
    """
    shown = summary[["defense", "images", "n"]].copy()
    for share in ("recovered", "kept"):
        shown[f"{share}, %"] = intervals(summary, share, percent=True)
    shown["error at the pixel"] = intervals(summary, "error_attacked")
    shown["error elsewhere"] = intervals(summary, "error_elsewhere")
    return table(shown, caption)


def recovery_of_runs(shares: pd.DataFrame, caption: str = "") -> Styler:
    """Recovered, correct and kept classes of each run and defense, and the break-even prevalence.

    Args:
        shares: of `lib.evidence.protocol_runs.recovery`.
        caption: above the table.
    """
    shown = shares[["dataset", "classifier", "defense", "n"]].copy()
    shown["recovered, %"] = intervals(shares, "recovered", percent=True)
    shown["attacks"] = shares["attacks"]
    shown["attacked, correct, %"] = intervals(shares, "right", percent=True)
    shown["clean images"] = shares["images"]
    shown["clean, correct (kept), %"] = intervals(shares, "kept", percent=True)
    bounds = shares[["pays_from", "pays_from_low", "pays_from_high"]].to_numpy()
    shown["break-even"] = [formatting.break_even(*each, digits=1) for each in bounds]
    return table(shown, caption)


def medians(summary: pd.DataFrame, caption: str = "") -> Styler:
    """Medians of the image measures of each defense; ``summary`` as in `recovery`."""
    names = ("psnr", "ssim", "mse", "gmsd", "fsim")
    shown = summary[["defense", "n", "exact", *(f"{name}_median" for name in names)]]
    return table(shown.rename(columns=lambda name: name.removesuffix("_median")), caption)


def attackers(
    summary: pd.DataFrame, caption: str = "", searched: pd.DataFrame | None = None
) -> Styler:
    """Images with the correct class through each defense: clean, and after either attacker.

    Args:
        summary: of `lib.defense.adaptive.summary`, with or without the columns of its run.
        caption: above the table.
        searched: rows of `lib.defense.adaptive.attack_defended`, for the mean of evaluations.
    """
    shown = summary[[*summary.columns[summary.columns.isin(RUN)], "defense", "n"]].copy()
    for share, title in formatting.ATTACKERS.items():
        shown[f"{title}, %"] = intervals(summary, share, percent=True)
    if searched is not None:
        means = searched[searched["evaluations"] > 0].groupby("defense")["evaluations"].mean()
        shown["evaluations, mean"] = shown["defense"].map(means)
    return table(shown, caption)


def detection(areas: pd.DataFrame, caption: str = "") -> Styler:
    """Area under the ROC curve of each defense, a column for each score and set of images.

    Args:
        areas: of `lib.defense.detection.summary`.
        caption: above the table.
    """
    area = intervals(areas, "auc")
    of = areas["images"] + ", n = " + areas["n"].map("{:,}".format) + ", " + areas["score"]
    shown = areas.assign(area=area, of=of).pivot(index="defense", columns="of", values="area")
    return table(shown.loc[areas["defense"].unique(), of.unique()].reset_index(), caption)


def vulnerable_positions(maps: list[Vulnerability], records: pd.DataFrame) -> pd.DataFrame:
    """How many positions of each image can be attacked, beside what the search found there.

    Args:
        maps: exhaustive maps of N images.
        records: their N rows of the attack table.
    """
    return pd.DataFrame(
        {
            "image": list(records["split"] + " " + records["index"].astype(str)),
            "vulnerable positions": [int(found.success.sum()) for found in maps],
            "share": [float(found.success.mean()) for found in maps],
            "map: can be fooled": [bool(found.success.any()) for found in maps],
            "search fooled it": list(records["success"]),
            "evaluations of the search": list(records["evaluations"]),
            "evaluations of the map": [found.success.size * found.colors for found in maps],
        }
    )
