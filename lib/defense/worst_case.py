"""Many attackers, one table: what transfers, what the worst of all leaves right, what is odd.

A defense is as good as the worst attack on each image leaves it (Carlini et al. 2019). A table of
attackers has one row an image, defense, attacker and budget: the columns that name the image,
``defense``, ``attacker``, ``family`` and ``budget`` of the attack (``pixels`` and how many, or
``linf`` and 255ths), and ``correct``, whether the image keeps its decision. The attacker `NONE`
with budget 0 is the clean image.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.attack import Criterion
from lib.metrics import clusters, intervals
from lib.models.classifiers import logits
from lib.models.inference import Device, Network

NONE, WORST = "none", "worst"
PIXELS, LINF = "pixels", "linf"
# An attacker that begins with the other's very search, and so succeeds wherever that does.
EXTENDS = {"doubled": "adaptive", "restarts": "adaptive"}
# Budgets at which an attack on an unproved defense should leave no image correct.
ENOUGH = {PIXELS: 64, LINF: 8}
KNOWING = ("adaptive", "doubled", "restarts", "more_pixels", "map", "sparse_rs", "fgsm", "pgd",
           "apgd", "autoattack")  # fmt: skip


def transfer(
    models: Mapping[str, Network], images: Any, labels: Any, criterion: Criterion,
    device: Device = None,
) -> pd.DataFrame:  # fmt: skip
    """Images that were attacked elsewhere, through each defense.

    Args:
        models: defended models by name of the defense, images (N, C, H, W) in 0..1 to logits.
        images: uint8 (N, H, W, C) or (N, H, W).
        labels: int (N,) or 0/1 (N, K).
        criterion: what counts as a success of the attacker.
        device: where it runs; None for where the models are.

    Returns:
        One row a defense and image: ``defense, image`` (position), ``correct``, whether the
            attacker fails on the stored image, evaluated alone in float32.
    """
    labels, tables = torch.as_tensor(np.asarray(labels)).long(), []
    for name, model in models.items():
        values = torch.from_numpy(logits(model, images, device, batch=1))
        correct = ~criterion(values, labels)[1].numpy()
        row = {"defense": name, "image": np.arange(len(images)), "correct": correct}
        tables.append(pd.DataFrame(row))
    return pd.concat(tables, ignore_index=True)


def worst_case(table: pd.DataFrame) -> pd.DataFrame:
    """Share of images classified correctly after each attacker and after the worst of all.

    Args:
        table: of attackers, see above; ``cluster``, equal for rows of one patient or lesion, is
            found by `lib.metrics.clusters.of` where it is missing.

    Returns:
        One row a defense, ``family``, ``budget`` and ``attacker``: ``n`` images, and ``correct``
        with its 95 % interval in ``correct_low`` and ``correct_high``. `NONE` has the clean images;
        `WORST` those that no attacker of the family with this budget or a smaller one changes.
    """
    image, rows = clusters.image_columns(table), []
    if "cluster" not in table:
        table = table.assign(cluster=clusters.of(table))
    for name, of in table.groupby("defense", sort=False):
        clean = of[of["attacker"] == NONE]
        rows.append(_share(name, "", 0, NONE, clean, image))
        for (family, budget), here in of[of["attacker"] != NONE].groupby(["family", "budget"]):
            for attacker, found in here.groupby("attacker", sort=False):
                rows.append(_share(name, family, budget, attacker, found, image))
            within = of[(of["family"] == family) & (of["budget"] <= budget)]
            # A row of an image that was not among the clean ones says nothing of the whole.
            every = pd.concat([clean, within]).merge(clean[image].drop_duplicates(), on=image)
            rows.append(_share(name, family, budget, WORST, every, image))
    return pd.DataFrame(rows)


def _share(
    defense: str, family: str, budget: float, attacker: str, rows: pd.DataFrame, image: list[str]
) -> dict[str, Any]:
    """Row of `worst_case`: an image is correct if it is in all of its rows."""
    each = rows.groupby(image).agg(correct=("correct", "all"), cluster=("cluster", "first"))
    right = intervals.share(each["correct"], each["cluster"])
    return {
        "defense": defense, "family": family, "budget": budget, "attacker": attacker,
        "n": len(each), **intervals.columns("correct", right),
    }  # fmt: skip


def sanity(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the attacks behave as sound attacks must (Carlini et al. 2019, section 4).

    Args:
        table: of attackers, see above; with ``certified`` (bool) certificates are checked too.

    Returns:
        One row a check and defense: ``check``, ``defense``, ``n`` images or pairs compared,
        ``against`` how many contradict it, and ``holds``. ``budget``: no attacker fails with a
        larger budget where it succeeded with a smaller one, nor where the attack that it extends
        succeeded. ``all``: where the largest budget of a family is at least that of `ENOUGH`, it
        leaves no image correct.
        ``knowing``: with the fewest pixels, random search and attackers who do not know the defense
        succeed no more often than the others, beyond chance (the paired 95 % interval).
        ``steps``: one gradient step succeeds no more often than several of the same budget,
        likewise. ``certificate``: no attack of one pixel succeeds on a certified image.
    """
    image, rows = clusters.image_columns(table), []
    table = table.assign(cluster=clusters.of(table))
    for name, of in table.groupby("defense", sort=False):
        attacks = of[of["attacker"] != NONE]
        rows += _budgets(name, attacks, image)
        for family, here in attacks.groupby("family"):
            most = here[here["budget"] == here["budget"].max()]
            if most["budget"].iloc[0] < ENOUGH[family]:
                continue
            left = most.groupby(image)["correct"].all()
            rows.append(_none(f"all, {family}", name, len(left), left.sum()))
        least = attacks[attacks["family"] == PIXELS]
        least = least[least["budget"] == least["budget"].min()]
        knows = least["attacker"].isin(KNOWING)
        rows += _no_weaker("knowing", name, least[knows], least[~knows], image)
        one, several = (attacks[attacks["attacker"] == of] for of in ("fgsm", "pgd"))
        rows += _no_weaker("steps", name, several, one, [*image, "budget"])
        if "certified" in of and of["certified"].any():
            sure = attacks[attacks["certified"] & (attacks["family"] == PIXELS)
                           & (attacks["budget"] == 1)]  # fmt: skip
            rows.append(_none("certificate", name, len(sure), (~sure["correct"]).sum()))
    return pd.DataFrame(rows)


def _none(check: str, name: str, n: int, against: int) -> dict[str, Any]:
    """Row of `sanity` on what must not happen once."""
    against = int(against)
    return {"check": check, "defense": name, "n": n, "against": against, "holds": against == 0}


def _no_weaker(
    check: str, name: str, strong: pd.DataFrame, weak: pd.DataFrame, keys: list[str]
) -> list[dict[str, Any]]:
    """Row of `sanity` on attackers that should leave no more correct than others do."""
    sides = [of.groupby(keys)["correct"].all() for of in (strong, weak)]
    both = pd.concat(sides, axis=1, join="inner", keys=["strong", "weak"]).astype(int)
    gap = both["strong"] - both["weak"]
    cluster = strong.groupby(keys)["cluster"].first().reindex(both.index)
    if not len(both):
        return []
    found = {"check": check, "defense": name, "n": len(both), "against": int((gap > 0).sum())}
    return [found | {"holds": not intervals.paired(gap, cluster.to_numpy())[1] > 0}]


def _budgets(name: str, attacks: pd.DataFrame, image: list[str]) -> list[dict[str, Any]]:
    """Rows of `sanity` on what a larger budget must not lose."""
    held = attacks.sort_values("budget")
    before = held.groupby(["family", "attacker", *image])["correct"].shift()
    compared, against = int(before.notna().sum()), int((held["correct"] & before.eq(False)).sum())
    keys = ["family", "budget", *image]
    for longer, shorter in EXTENDS.items():
        sides = [attacks[attacks["attacker"] == each] for each in (longer, shorter)]
        pairs = sides[0].merge(sides[1], on=keys)
        lost = pairs["correct_x"] & ~pairs["correct_y"]
        compared, against = compared + len(pairs), against + int(lost.sum())
    return [_none("budget", name, compared, against)] if compared else []
