"""Tables of the forensic page: the FSIM package quirk by quirk, and every reading of a measure."""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from lib.evidence import forensics
from lib.figures import formatting, tables
from lib.metrics.legacy_fsim import fsim_measures

QUIRKS = {
    "as published": forensics.PUBLISHED,
    "+ slopes in unsigned 16 bits": forensics.PUBLISHED | {"uint16_gradients": True},
    "+ raw gradient": forensics.PUBLISHED | {"raw_scharr": True},
    "+ phase congruency of phasepack": forensics.PUBLISHED | {"phasepack": True},
    "+ mean over channels": forensics.PUBLISHED | {"by_channel": True},
    "the package, all four": {},
}


def quirks(clean: np.ndarray, restored: dict[str, np.ndarray], caption: str = "") -> Styler:
    """Mean FSIM of each defense with each quirk of the package alone, and with all.

    Args:
        clean: images before the attack, uint8 (N, H, W, C).
        restored: the attacked images after each defense, by name.
    """
    means = {
        formatting.shown(name): [fsim_measures(clean, images, **s).mean() for s in QUIRKS.values()]
        for name, images in restored.items()
    }
    return tables.table(pd.DataFrame({"FSIM": [*QUIRKS]} | means), caption)


def readings(compared: pd.DataFrame, caption: str = "") -> Styler:
    """Every reading of each measure below the printed value, a column for each defense.

    ``compared`` is of `lib.evidence.forensics.compare`.
    """
    ours = compared[compared["images"] != forensics.AS_RESTORED].copy()
    ours["text"] = tables.intervals(ours.rename(columns={"value": "ours"}), "ours")
    ours["text"] += ours["reached"].map({True: " ✓", False: ""})
    first = ours.drop_duplicates(["metric", "defense"])
    first = first.assign(label="printed", text=first["printed"].map("{:g}".format))
    rows = pd.concat([first, ours]).rename(columns={"label": "reading"})
    names = list(dict.fromkeys(rows["defense"]))
    wide = rows.pivot(index=["metric", "reading"], columns="defense", values="text")[names]
    order = pd.MultiIndex.from_frame(rows[["metric", "reading"]].drop_duplicates())
    wide = wide.loc[order.sortlevel(0, sort_remaining=False)[0]].reset_index()
    return tables.table(wide.rename(columns=formatting.shown), caption)
