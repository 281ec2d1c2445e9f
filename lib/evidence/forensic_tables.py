"""Tables about how the printed measures may have been made: quirks, readings, hypotheses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from lib.evidence import forensics, run_tables
from lib.evidence.forensic_hypotheses import NEEDLESS, NO, PART, UNTRIED, YES, judge
from lib.figures import formatting, tables
from lib.metrics.legacy_fsim import fsim_measures
from lib.params import ATTACKS

QUIRKS = {
    "as published": forensics.PUBLISHED,
    "+ slopes in unsigned 16 bits": forensics.PUBLISHED | {"uint16_gradients": True},
    "+ raw gradient": forensics.PUBLISHED | {"raw_scharr": True},
    "+ phase congruency of phasepack": forensics.PUBLISHED | {"phasepack": True},
    "+ mean over channels": forensics.PUBLISHED | {"by_channel": True},
    "the package, all four": {},
}


def quirks(clean: np.ndarray, restored: dict[str, np.ndarray], caption: str = "") -> Styler:
    """Mean FSIM of each defense with each quirk of the package alone, and with all."""
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


def tried(results: Path, size: int) -> pd.DataFrame:
    """Every hypothesis over all recorded attacks on images of a size, for a page.

    Returns:
        One row a hypothesis: ``audit`` (ids), ``hypothesis``; ``reached``, how many of its printed
        values lie in the range over our images, and ``plain reading``, how many without it; and
        for each verdict the number of printed tables that got it.
    """
    found = run_tables.read(results, [f"forensics_{name}" for name in ATTACKS.values()])[0]
    found = found[found["size"] == size]
    judged = run_tables.by_group(found, [*run_tables.RUN, "table"], judge)

    def counted(of: pd.DataFrame) -> dict[str, Any]:
        tried = of.loc[of["verdict"] != UNTRIED, ["values", "reached", "plain_reached"]]
        values, ours, plain = tried.sum()
        return {
            "reached": f"{ours} of {values}", "plain reading": f"{plain} of {values}",
            **{word: int((of["verdict"] == word).sum()) for word in (YES, PART, NO, NEEDLESS)},
        }  # fmt: skip

    found = run_tables.by_group(judged, ["item", "hypothesis"], counted)
    return found.rename(columns={"item": "audit"})
