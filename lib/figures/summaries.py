"""Tables of what was measured, ready to show: a column for each value with its 95 % interval."""

import pandas as pd
from pandas.io.formats.style import Styler

from lib.attack.vulnerability import Vulnerability
from lib.figures.tables import intervals, rates, table


def recovery(summary: pd.DataFrame, caption: str = "") -> Styler:
    """Label recovery, clean retention, and errors in gray levels, of each defense of one run.

    Args:
        summary: of `lib.defense.restoration.summary`.
        caption: above the table.
    """
    shown = summary[["defense", "images", "n"]].copy()
    titles = {"recovered": "label recovery rate", "kept": "clean prediction retention"}
    for share, title in titles.items():
        shown[title] = rates(summary, share, 1)
    shown["error at the pixel"] = intervals(summary, "error_attacked")
    shown["error elsewhere"] = intervals(summary, "error_elsewhere")
    return table(shown, caption)


def medians(summary: pd.DataFrame) -> Styler:
    """Medians of the image measures of each defense; ``summary`` as in `recovery`."""
    names = ("psnr", "ssim", "mse", "gmsd", "fsim")
    shown = summary[["defense", "n", "exact", *(f"{name}_median" for name in names)]]
    return table(shown.rename(columns=lambda name: name.removesuffix("_median")))


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
            "map: vulnerable": [bool(found.success.any()) for found in maps],
            "search: success": list(records["success"]),
            "queries of the search": list(records["evaluations"]),
            "queries of the map": [found.success.size * found.colors for found in maps],
        }
    )
