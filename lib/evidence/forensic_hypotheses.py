"""The audit's hypotheses about the printed image measures, and the rule that judges them.

The notebook ``forensics`` states the rule in words; `judge` implements it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.evidence import run_tables
from lib.evidence.audit import PIXELS
from lib.evidence.forensics import (
    AS_RESTORED,
    BRIGHTER_INPUT,
    BRIGHTER_OUTPUT,
    INACTIVE,
    MATCHED,
    STANDARD,
    UNDEFENDED,
)
from lib.params import ATTACKS

Reading = tuple[str, str, str]  # metric, variant, images
YES, PART, NO = "reproduces the pattern", "reproduces a part", "does not reproduce the pattern"
NEEDLESS, UNTRIED = "is not needed", "was not tried"


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis of the audit and the printed values it is about."""

    item: str  # ids of the audit
    claim: str  # the hypothesis, a clause
    defenses: tuple[str, ...]  # of the printed rows
    readings: tuple[Reading, ...]  # that give the printed values if it holds

    @property
    def plain(self) -> list[Reading]:
        """The readings of the same metrics that need no hypothesis."""
        return [(n, "mse_255" if n == "mse" else STANDARD, MATCHED) for n, _, _ in self.readings]


def _structure(images: str) -> tuple[Reading, ...]:
    """An offset is fitted to the PSNR, and so to the MSE; the other metrics test it."""
    return tuple((name, STANDARD, images) for name in ("ssim", "gmsd", "fsim"))


_LEARNED = ("autoencoder", "dae", "noise2noise")
HYPOTHESES = (
    Hypothesis(
        "P2, reading uncertain", "the MSE of Noise2Noise was summed in unsigned 8 bits",
        ("noise2noise",), (("mse", "wrapped", MATCHED),),
    ),
    Hypothesis(
        "F1", "GMSD was computed on 0..255 with the constant of 0..1", _LEARNED,
        (("gmsd", "unit_constant", MATCHED),),
    ),
    Hypothesis(
        "F2", "FSIM is that of image-similarity-measures", _LEARNED,
        (("fsim", "measures", MATCHED),),
    ),
    Hypothesis(
        "F2", "FSIM is that of image-similarity-measures with clean images on 0..255 and restored "
        "ones on 0..1", _LEARNED, (("fsim", "measures_mixed", MATCHED),),
    ),
    Hypothesis(
        "F3, P3", "MedianDenoise only brightened the attacked images", ("median_cnn",),
        _structure(BRIGHTER_INPUT),
    ),
    Hypothesis(
        "F3, P3", "MedianDenoise restored the images and brightened them", ("median_cnn",),
        _structure(BRIGHTER_OUTPUT),
    ),
    Hypothesis(
        "F3", "the median layers of MedianDenoise were inactive", ("median_cnn",),
        _structure(INACTIVE),
    ),
    Hypothesis(
        "F3", "MedianDenoise was measured on 0..1 with the constants of 0..255", ("median_cnn",),
        (("gmsd", "unit_images", MATCHED), ("fsim", "unit_images", MATCHED)),
    ),
)  # fmt: skip


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Apply the rule to each hypothesis.

    It *reproduces the pattern* if it reaches all its printed values and orders the defenses as
    printed. It *reproduces a part* if it reaches more of them than the plain reading. It *is not
    needed* if the plain reading does it all. ``table`` is of `lib.evidence.forensics.compare`.

    Returns:
        One row per hypothesis: ``item, hypothesis``; ``values``, the number of printed values it is
            about; ``reached`` and ``plain_reached``, how many of them lie in the range over our
            images, by the hypothesis and by the plain reading; ``distance`` and ``plain_distance``,
            mean absolute distance of the printed values from our means; ``order`` of the defenses,
            ``as printed``, ``another`` or ``""`` for a single one; ``verdict``.
    """
    keys = pd.MultiIndex.from_frame(table[["metric", "variant", "images"]])
    rows = []
    for each in HYPOTHESES:
        ours, plain = (
            table[keys.isin(list(wanted)) & table["defense"].isin(each.defenses)]
            for wanted in (each.readings, each.plain)
        )
        row = {
            "item": each.item, "hypothesis": each.claim, "values": len(ours),
            "reached": int(ours["reached"].sum()), "plain_reached": int(plain["reached"].sum()),
            "distance": ours["distance"].abs().mean(),
            "plain_distance": plain["distance"].abs().mean(), "order": _order(ours),
        }  # fmt: skip
        rows.append(row | {"verdict": _verdict(row, _order(plain))})
    return pd.DataFrame(rows)


def _verdict(row: dict, plain_order: str) -> str:
    count = row["values"]
    if not count or np.isnan(row["distance"]):
        return UNTRIED
    if row["plain_reached"] == count and plain_order != "another":
        return NEEDLESS
    if row["reached"] == count and row["order"] != "another":
        return YES
    return PART if row["reached"] > row["plain_reached"] else NO


def _order(found: pd.DataFrame) -> str:
    """Whether values of several defenses are in the printed order; ties are ignored."""
    agreed = []
    for _, group in found.groupby("metric"):
        values, printed = group["value"].to_numpy(), group["printed"].to_numpy()
        ours, theirs = (np.subtract.outer(each, each) for each in (values, printed))
        agreed.append((np.sign(ours) == np.sign(theirs))[theirs != 0])
    pairs = np.concatenate(agreed) if agreed else np.empty(0)
    if not pairs.size:
        return ""
    return "as printed" if pairs.all() else "another"


def undefended(table: pd.DataFrame, pixels: int) -> dict[str, float]:
    """PSNR without a defense beside our denoisers and the printed values (U1).

    ``psnr`` of the attacked images in dB, NaN without any; ``bound``, its minimum for an attacked
    image of the paper's size; the counts ``denoisers`` and ``printed``; and how many of them are
    below, ``denoisers_below``, ``printed_below`` and ``printed_below_bound``.
    """
    psnr = table[(table["metric"] == "psnr") & (table["variant"] == STANDARD)]
    attacked, ours = (psnr[psnr["images"] == name] for name in (UNDEFENDED, AS_RESTORED))
    score = attacked["value"].iloc[0] if len(attacked) else float("nan")
    bound = 10 * np.log10(PIXELS / pixels)
    return {
        "psnr": score, "bound": bound, "denoisers": len(ours), "printed": len(attacked),
        "denoisers_below": int((ours["value"] < score).sum()),
        "printed_below": int((attacked["printed"] < score).sum()),
        "printed_below_bound": int((attacked["printed"] < bound).sum()),
    }  # fmt: skip


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
