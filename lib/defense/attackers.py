"""The attackers of a run: each through each defense, image by image.

A killed run goes on with the next images of the attacker it was at.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from lib.attack import (
    Criterion,
    Found,
    LinearMapAttack,
    RandomSearch,
    SparseRS,
    attack_of,
    criterion_for,
    locate,
    rebuild,
)
from lib.attack.pgd import PGD
from lib.data import Images
from lib.defense.certified import IMAGE, masking_of
from lib.defense.defended import Defended
from lib.defense.dense import APGD, AutoAttack
from lib.defense.double_masking import DoubleMasking
from lib.defense.stronger import MorePixels, Restarts
from lib.defense.worst_case import LINF, NONE, PIXELS, transfer
from lib.models import denoisers
from lib.models.classifiers import Classifier
from lib.models.inference import Device, batch_for, placed
from lib.models.weights import checksums
from lib.params import ATTACKS, MASKING, PATCHES, REFERENCES, Parameters
from lib.params.files import fingerprint, md5, read_table, visible, write_table

COLUMNS = (*IMAGE, "defense", "attacker", "family", "budget", "correct", "certified", "p_after",
           "rows", "cols", "values", "evaluations", "seconds")  # fmt: skip
# Of what an attack returns.
KEPT = ("image", "success", "p_after", "rows", "cols", "values", "evaluations", "seconds")
# Parameters of the step that do not concern the attacks.
ELSEWHERE = (
    "attack_pixels", "masking_images", "fine_tuning_epochs", "classifier_include_normal",
    "classifier_precision", "classifier_train_limit",
)  # fmt: skip
CHUNK = 4  # images between two checkpoints
# A candidate costs double masking as many evaluations as it has masks: it gets fewer attackers,
# and a tenth of the generations.
THROUGH_MASKS, SHORTER = ("adaptive", "random"), 10


@dataclass(frozen=True)
class Attacker:
    """An attack, and the budget it keeps to: so many pixels, or 255ths of each value."""

    name: str
    family: str
    budget: int
    attack: Callable[[nn.Module, Any, Any], Found]


def attackers_of(p: Parameters, pixels: int, behind: nn.Module, data: Images) -> list[Attacker]:
    """The attackers that parameters ask for on a defended model.

    Args:
        p: attack_*, attackers_*, classifier_threshold and seed are used.
        pixels: changed pixels. Attackers with other budgets come with the first number of the run.
        behind: the classifier behind the defense.
        data: the images.
    """
    masked, names = isinstance(behind, DoubleMasking), p.attackers_names
    # A denoiser works at the image's full size, so fewer candidates fit in memory.
    batch = p.attack_batch or batch_for(data.size, data.size, placed(behind))
    # bfloat16 has fewer steps than the 8 bits that a restored image is rounded to.
    # Predictions need a bare network.
    how = {"batch": batch, "precision": "float32", "evaluation": "exact"}
    attack = attack_of(p, pixels, data.facts.multi_label, **how)
    if masked:
        attack = replace(attack, generations=max(1, p.attack_generations // SHORTER))
    settings = {one.name: getattr(attack, one.name) for one in fields(RandomSearch) if one.init}
    known = {
        "adaptive": attack,
        "doubled": replace(attack, generations=2 * attack.generations),
        "restarts": Restarts(attack),
        "map": LinearMapAttack(pixels, criterion=attack.criterion),
        "random": RandomSearch(**settings),
        "sparse_rs": SparseRS(**settings),
    }
    names = [name for name in names if not masked or name in THROUGH_MASKS]
    found = [Attacker(name, PIXELS, pixels, known[name]) for name in names if name in known]
    if pixels != min(p.attack_pixels):
        return found
    if "more_pixels" in names:
        more = MorePixels(attack)
        found.append(Attacker("more_pixels", PIXELS, more.most, more))
    for epsilon in p.attackers_epsilons:
        pgd = PGD(epsilon, criterion=attack.criterion, seed=p.seed)
        # One step from the image to the edge of the ball (Goodfellow et al. 2015).
        dense = {"fgsm": replace(pgd, steps=1, step=float(epsilon), starts=1), "pgd": pgd}
        if not data.facts.multi_label:
            dense["apgd"] = AutoAttack(epsilon, APGD, p.seed)
            dense["autoattack"] = AutoAttack(epsilon, seed=p.seed)
        found += [Attacker(n, LINF, epsilon, dense[n]) for n in names if n in dense]
    return found


def defended(model: Classifier, data: Images, p: Parameters, folder: Path) -> dict[str, nn.Module]:
    """The classifier behind each of ``attackers_defenses`` that the run has.

    Args:
        model: the trained classifier.
        data: all images.
        p: attackers_defenses, denoiser_names, restoration_patch_*, masking_size,
            classifier_threshold and device are used.
        folder: of the trained denoisers.

    Raises:
        InputError: a denoiser is missing or damaged.
    """
    placed(model, p.device)
    made: dict[str, nn.Module] = {}
    for name in p.attackers_defenses:
        if name == "identity":
            made[name] = model
        elif name == MASKING:
            made[name] = masking_of(model, data, p)
        elif name.removesuffix(PATCHES) in {*REFERENCES, *p.denoiser_names}:
            network = denoisers.load(name.removesuffix(PATCHES), folder, data.facts.channels)
            patches = (p.restoration_patch_size, p.restoration_patch_threshold)
            made[name] = Defended(model, network, patches if name.endswith(PATCHES) else None)
            placed(made[name].eval(), p.device)
    return made


def attack_all(
    model: Classifier, data: Images, records: dict[int, pd.DataFrame], p: Parameters, folder: Path
) -> dict[int, pd.DataFrame]:
    """Every attacker through every defense, on images of the attack on the bare classifier.

    Args:
        model: the trained classifier of the run folder.
        data: all images.
        records: of that attack, by number of pixels.
        p: see `attackers_of` and `defended`; ``attackers_images`` of each class are attacked.
        folder: ``runs/<protocol>/<dataset>/<classifier>``; ``attackers_<one|two>_pixel.parquet``
            is written there. What other classifiers' attacks found is read beside it.

    Returns:
        By number of pixels, one row an image, defense, attacker and budget, as
        `lib.defense.worst_case` takes it: `COLUMNS`. ``oblivious`` is the attack on the bare
        classifier, ``transfer`` that on another one, ``shared`` what was found through other
        defenses. ``certified``: proved against one pixel by double masking.

    Raises:
        InputError: as `defended` and `lib.attack.PixelAttack`.
    """
    models = defended(model, data, p, folder.parent / "denoisers")
    criterion = criterion_for(p.attack_criterion, data.facts.multi_label, p.classifier_threshold)
    tables = {}
    for pixels, found in records.items():
        chosen = found.groupby("category", sort=False).head(p.attackers_images or len(found))
        chosen = chosen.reset_index(drop=True)
        name = f"{ATTACKS[pixels]}.parquet"
        others = [file for file in visible(folder.parent, f"*/{name}") if file.parent != folder]
        key = fingerprint([
            p.key("attackers", *ELSEWHERE), pixels,
            pixels == min(p.attack_pixels), data.provenance.md5,
            checksums(folder, models),
            [[file.parent.name, md5(file)] for file in others], chosen[IMAGE].to_dict("list"),
        ])  # fmt: skip
        path = folder / f"attackers_{name}"
        if path.exists() and (done := read_table(path)).attrs.get("key") == key:
            tables[pixels] = done
            continue
        checkpoint = folder / f".attackers-{pixels}-{key}"
        clean = locate(data, chosen)
        parts = [_clean(clean, models, criterion, p.device)]
        for defense, behind in models.items():
            for one in attackers_of(p, pixels, behind, data):
                place = checkpoint / defense / f"{one.name}-{one.budget}"
                parts.append(through(behind, one, clean, place).assign(defense=defense))
        elsewhere = [read_table(file) for file in others]
        parts += _moved(chosen, clean, models, parts, elsewhere, criterion, p.device)
        table = pd.concat(parts, ignore_index=True)
        of_clean = parts[0].set_index(["image", "defense"])
        of_clean = of_clean.loc[pd.MultiIndex.from_frame(table[["image", "defense"]])]
        # Of an image that the defense alone gets wrong nothing is left to attack.
        table["correct"] = table["correct"].astype(bool) & of_clean["correct"].to_numpy(bool)
        table["certified"] = of_clean["certified"].to_numpy(bool)
        table = pd.concat([
            chosen.loc[table["image"], IMAGE].reset_index(drop=True),
            table[[name for name in COLUMNS if name not in IMAGE]],
        ], axis=1)  # fmt: skip
        table.attrs["key"] = key
        write_table(path, table)
        shutil.rmtree(checkpoint, ignore_errors=True)
        tables[pixels] = read_table(path)
    return tables


def through(behind: nn.Module, one: Attacker, clean: Images, checkpoint: Path) -> pd.DataFrame:
    """One attacker through one defense; finished images are kept in ``checkpoint`` and read back.

    Returns:
        One row an image; of `MorePixels` one an image and number of pixels, 1, 2, 4 ...: ``image``
        (position) and the columns that `attack_all` adds to those of the image.
    """
    parts = []
    title = f"{checkpoint.parent.name}, {one.name}"
    for start in tqdm(range(0, len(clean), CHUNK), desc=title, leave=False):
        path = checkpoint / f"{start:06d}.parquet"
        if not path.exists():
            began, part = time.monotonic(), np.s_[start : start + CHUNK]
            table = one.attack(behind, clean.images[part], clean.labels[part]).table
            table = table.assign(
                image=table["image"] + start, seconds=(time.monotonic() - began) / len(table)
            )
            write_table(path, table[[name for name in KEPT if name in table]])
        parts.append(read_table(path))
    table = _row(pd.concat(parts, ignore_index=True), one.name, one.family, one.budget)
    table["correct"] = ~table["success"].astype(bool)
    if not isinstance(one.attack, MorePixels):
        return table.drop(columns="success")
    needed, budgets = table["rows"].map(len), [one.attack.attack.pixels]
    while 2 * budgets[-1] <= one.budget:
        budgets.append(2 * budgets[-1])
    return pd.concat([
        table.assign(budget=budget, correct=table["correct"] | (needed > budget))
        for budget in budgets
    ], ignore_index=True).drop(columns="success")  # fmt: skip


def _row(table: pd.DataFrame, attacker: str, family: str, budget: int) -> pd.DataFrame:
    """A table with what every row says; a dense attack has no pixels to name."""
    given = {"p_after": np.nan, "evaluations": 0, "seconds": 0.0}
    given |= {name: [[]] * len(table) for name in ("rows", "cols", "values")}
    given = {name: value for name, value in given.items() if name not in table}
    return table.assign(attacker=attacker, family=family, budget=budget, **given)


def _clean(
    clean: Images, models: dict[str, nn.Module], criterion: Criterion, device: Device
) -> pd.DataFrame:
    """Rows of the clean images through each defense, with their certificates."""
    moved = transfer(models, clean.images, clean.labels, criterion, device)
    table = _row(moved, NONE, "", 0).assign(certified=False)
    for name, behind in models.items():
        if isinstance(behind, DoubleMasking):
            table.loc[table["defense"] == name, "certified"] = behind.certify(
                clean.images, clean.labels
            )
    return table


def _moved(
    chosen: pd.DataFrame, clean: Images, models: dict[str, nn.Module],
    parts: list[pd.DataFrame], others: list[pd.DataFrame], criterion: Criterion, device: Device,
) -> list[pd.DataFrame]:  # fmt: skip
    """Rows of images that were attacked elsewhere.

    ``chosen`` is the attack on the bare classifier, ``parts`` are those through the defenses, the
    first of them without any, and ``others`` those on other classifiers.
    """
    pixels = len(chosen["rows"].iloc[0])
    sources = {
        "oblivious": [chosen.assign(image=chosen.index)],
        "transfer": [
            chosen[IMAGE[:3]].reset_index(names="image").merge(other, on=IMAGE[:3])
            for other in others
        ],
        "shared": [
            part.sort_values("image") for part in parts[1:]
            if part["attacker"].iloc[0] == "adaptive"
        ],
    }  # fmt: skip
    made = []
    for name, tables in sources.items():
        found = []
        for table in filter(len, tables):
            at = table["image"].to_numpy()
            images = rebuild(clean.images[at], table)
            moved = transfer(models, images, clean.labels[at], criterion, device)
            if name == "shared":  # what was found through the other defenses
                moved = moved[moved["defense"] != table["defense"].iloc[0]]
            found.append(moved.assign(image=at[moved["image"]]))
        if found:
            every = pd.concat(found).groupby(["defense", "image"], sort=False)["correct"].all()
            made.append(_row(every.reset_index(), name, PIXELS, pixels))
    return made
