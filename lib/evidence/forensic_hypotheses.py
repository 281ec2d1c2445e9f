"""The audit's hypotheses about the printed image measures, and the rule that judges them.

The rule is written out in the notebook ``forensics`` before its figures; `judge` is that rule.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.evidence.forensics import (
    AS_RESTORED,
    BRIGHTER_INPUT,
    BRIGHTER_OUTPUT,
    INACTIVE,
    MATCHED,
    STANDARD,
    UNDEFENDED,
)

Reading = tuple[str, str, str]  # metric, variant, images
YES, PART, NO = "reproduces the pattern", "reproduces a part", "does not reproduce it"
NEEDLESS, UNTRIED = "is not needed", "was not tried"
PAPER_SIZE = 224


@dataclass(frozen=True)
class Hypothesis:
    """What an item of the audit supposes, and the printed values it is about.

    Args:
        item: ids of the audit.
        says: the hypothesis, a clause.
        defenses: whose printed rows it is about.
        readings: how the printed values should come out if it is right.
        plain: the readings that need no hypothesis, in the same order.
    """

    item: str
    says: str
    defenses: tuple[str, ...]
    readings: tuple[Reading, ...]
    plain: tuple[Reading, ...]


def _standard(images: str, *names: str) -> tuple[Reading, ...]:
    return tuple((name, STANDARD, images) for name in names)


_LEARNED = ("autoencoder", "dae", "noise2noise")
_STRUCTURE = ("ssim", "gmsd", "fsim")  # an offset is fitted to the PSNR, and so to the MSE
HYPOTHESES = (
    Hypothesis(
        "P2", "the MSE of Noise2Noise was summed in unsigned 8 bits", ("noise2noise",),
        (("mse", "wrapped", MATCHED),), (("mse", "mse_255", MATCHED),),
    ),
    Hypothesis(
        "F1", "GMSD was computed on 0..255 with the constant of 0..1", _LEARNED,
        (("gmsd", "unit_constant", MATCHED),), _standard(MATCHED, "gmsd"),
    ),
    Hypothesis(
        "F2", "FSIM is that of image-similarity-measures", _LEARNED,
        (("fsim", "measures", MATCHED),), _standard(MATCHED, "fsim"),
    ),
    Hypothesis(
        "F2", "FSIM is that of image-similarity-measures with clean images on 0..255 and restored "
        "ones on 0..1", _LEARNED,
        (("fsim", "measures_mixed", MATCHED),), _standard(MATCHED, "fsim"),
    ),
    Hypothesis(
        "F3, P3", "MedianDenoise did nothing but brighten the attacked images", ("median_cnn",),
        _standard(BRIGHTER_INPUT, *_STRUCTURE), _standard(MATCHED, *_STRUCTURE),
    ),
    Hypothesis(
        "F3, P3", "MedianDenoise restored the images and brightened them", ("median_cnn",),
        _standard(BRIGHTER_OUTPUT, *_STRUCTURE), _standard(MATCHED, *_STRUCTURE),
    ),
    Hypothesis(
        "F3", "the median layers of MedianDenoise did nothing", ("median_cnn",),
        _standard(INACTIVE, *_STRUCTURE), _standard(MATCHED, *_STRUCTURE),
    ),
    Hypothesis(
        "F3", "MedianDenoise was measured on 0..1 with the constants of 0..255", ("median_cnn",),
        (("gmsd", "unit_images", MATCHED), ("fsim", "unit_images", MATCHED)),
        _standard(MATCHED, "gmsd", "fsim"),
    ),
)  # fmt: skip


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Which hypotheses reproduce the printed values they are about.

    A hypothesis *reproduces the pattern* when it reaches every one of these values and, where it
    is about several defenses, puts them in the printed order; *a part* when it reaches more of
    them than the plain reading does; otherwise it *does not*. Where the plain reading reaches them
    all, in their order, the hypothesis *is not needed*.

    Args:
        table: rows of `lib.evidence.forensics.compare`.

    Returns:
        One row per hypothesis: ``item, hypothesis``; ``values``, the printed values it is about;
        ``reached`` and ``plain_reached``, how many of them lie in the range over our images, by the
        hypothesis and by the plain reading; ``distance`` and ``plain_distance``, mean absolute
        distance of the printed values from our means; ``order`` of the defenses, ``as printed``,
        ``another`` or ``""`` for a single one; ``verdict``.
    """
    rows = []
    for each in HYPOTHESES:
        ours, plain = (_readings(table, of, each.defenses) for of in (each.readings, each.plain))
        row = {
            "item": each.item,
            "hypothesis": each.says,
            "values": len(ours),
            "reached": int(ours["reached"].sum()),
            "plain_reached": int(plain["reached"].sum()),
            "distance": ours["distance"].abs().mean(),
            "plain_distance": plain["distance"].abs().mean(),
            "order": _order(ours),
        }
        rows.append(row | {"verdict": _verdict(row, _order(plain))})
    return pd.DataFrame(rows)


def _verdict(row: dict, plain_order: str) -> str:
    every = row["values"]
    if not every or np.isnan(row["distance"]):
        return UNTRIED
    if row["plain_reached"] == every and plain_order != "another":
        return NEEDLESS
    if row["reached"] == every and row["order"] != "another":
        return YES
    return PART if row["reached"] > row["plain_reached"] else NO


def _readings(
    table: pd.DataFrame, readings: tuple[Reading, ...], defenses: tuple[str, ...]
) -> pd.DataFrame:
    wanted = pd.MultiIndex.from_tuples(readings)
    keys = pd.MultiIndex.from_frame(table[["metric", "variant", "images"]])
    return table[keys.isin(wanted) & table["defense"].isin(defenses)]


def _order(found: pd.DataFrame) -> str:
    """Whether values of several defenses stand in the printed order; equal ones may stand as
    they like."""
    agreed = []
    for _, group in found.groupby("metric"):
        values, printed = group["value"].to_numpy(), group["printed"].to_numpy()
        ours, theirs = (np.subtract.outer(each, each) for each in (values, printed))
        agreed.append((np.sign(ours) == np.sign(theirs))[theirs != 0])
    pairs = np.concatenate(agreed) if agreed else np.empty(0)
    if not pairs.size:
        return ""
    return "as printed" if pairs.all() else "another"


def sentences(verdicts: pd.DataFrame) -> list[str]:
    """What `judge` found, a sentence a hypothesis."""
    said = []
    for row in verdicts.to_dict("records"):
        text = f"**{row['item']}** – the hypothesis that {row['hypothesis']} **{row['verdict']}**"
        if row["verdict"] != UNTRIED:
            text += (
                f": {row['reached']} of {row['values']} printed values lie among ours, by the "
                f"plain reading {row['plain_reached']}; their mean distance from our means is "
                f"{row['distance']:.3g}, by the plain reading {row['plain_distance']:.3g}"
            )
        if row["order"]:
            order = "the printed one" if row["order"] == "as printed" else "not the printed one"
            text += f"; the order of the defenses is {order}"
        said.append(f"{text}.")
    return said


def undefended(table: pd.DataFrame, pixels: int) -> str:
    """What doing nothing scores beside our denoisers and the printed ones (U1), as a sentence.

    Args:
        table: rows of `lib.evidence.forensics.compare`.
        pixels: changed by the attack.
    """
    found = table[(table["metric"] == "psnr") & (table["variant"] == STANDARD)]
    found = found.set_index("defense")
    nothing = found[found["images"] == UNDEFENDED]
    ours = found[found["images"] == AS_RESTORED]
    if not len(nothing) or nothing["value"].isna().all():
        return "**U1** was not tried: no attack succeeded."
    score = nothing["value"].iloc[0]
    bound = 20 * np.log10(PAPER_SIZE) - 10 * np.log10(pixels)
    return (
        f"**U1** – undefended, our attacked images have {score:.1f} dB. That is more than "
        f"{(ours['value'] < score).sum()} of our {len(ours)} denoisers reach, and more than "
        f"{(nothing['printed'] < score).sum()} of {len(nothing)} printed values. At the paper's "
        f"{PAPER_SIZE} pixels an attacked image has {bound:.1f} dB or more, and "
        f"{(nothing['printed'] < bound).sum()} of the {len(nothing)} printed values are below."
    )
