"""Checks that the files of one recorded folder agree with each other and with their run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lib.defense.worst_case import NONE, PIXELS
from lib.evidence.schema import ROUNDING, first
from lib.params import ATTACKS
from lib.params.errors import InputError
from lib.params.files import read_json

IMAGE = ["split", "index"]  # identify an image within its data set
# Defenses by the certificates about them, and kinds of the tables of one-pixel attacks.
CERTIFIED = {"bare": "identity", "median3": "median3"}
ONE_PIXEL = {
    "certificate_searches": "attack", ATTACKS[1]: "attack", f"attackers_{ATTACKS[1]}": "attackers",
}  # fmt: skip
# From a table and the matching row of the attack for each of its rows to the columns expected.
Rules = Callable[[pd.DataFrame, pd.DataFrame], dict[str, pd.Series]]


def problems(folder: Path, given: dict[str, Any], tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """One sentence, with file and row, for each inconsistency; the first row of each kind.

    ``given`` has ``dataset`` and ``data_split`` of the run; the tables, by file name, must each be
    valid. Every row must be of the run's data set, and of the part that the official split names
    where that split is used. A restoration table must hold each attacked image once per defense,
    with its label and success; ``recovered`` and ``kept`` must follow from the classes. A table of
    attackers must hold the same images for each defense, as they are in the attack. No one-pixel
    attack may succeed where a certificate proves that none can.
    """
    if (path := folder / "classifier.json").exists():
        yield from _test_problems(path)
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        if "dataset" in table:
            dataset = pd.Series(given["dataset"], table.index)
            yield from _differing(path, table, {"dataset": dataset}, "in this folder")
        if "part" in table and given["data_split"] == "official":
            yield from _differing(path, table, {"part": table["split"]}, "in the official split")
    yield from _proved(folder, tables)
    for name in ATTACKS.values():
        attack = folder / f"{name}.parquet"
        # Attackers cover only some of the images.
        for kind, rules in RULES.items():
            path = folder / f"{kind}_{name}.parquet"
            if path.stem in tables and not attack.exists():
                yield f"{path} has no {attack.name} beside it."
            elif path.stem in tables and attack.stem in tables:
                table = tables[path.stem]
                if kind == "attackers":  # many rows an image, of which these are the clean ones
                    table = table[table["attacker"] == NONE].reset_index(drop=True)
                known = tables[attack.stem]
                yield from _beside(path, table, known, attack.name, rules, kind == "restoration")


def _beside(
    path: Path, table: pd.DataFrame, attacked: pd.DataFrame, attack: str, rules: Rules, every: bool
) -> Iterator[str]:
    """Where a table contradicts the attack that it was made from."""
    images, known = (pd.MultiIndex.from_frame(each[IMAGE]) for each in (table, attacked))
    odd = pd.Series(~images.isin(known))
    names = _names(table)
    yield from first(path, odd, f"image {{}} is not in {attack}", names)
    if odd.any():
        return
    wanted = known if every else images.unique()
    twice = table.duplicated([*IMAGE, "defense"])
    yield from first(path, twice, "image {} comes twice behind {}", names, table["defense"])
    for defense, rows in table.groupby("defense", sort=False).indices.items():
        if len(missing := wanted.difference(images[rows])):
            split, index = missing[0]
            yield f"{path}: image {split} {index} is missing behind {defense}."
    before = attacked.set_index(known).loc[images].set_index(table.index)
    yield from _differing(path, table, rules(table, before), f"by {attack}")


def _proved(folder: Path, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Successes with one pixel on images that a certificate proves robust."""
    for through, defense in CERTIFIED.items():
        if f"certificate_{through}" not in tables:
            continue
        certified = tables[f"certificate_{through}"]
        robust = pd.MultiIndex.from_frame(certified.loc[certified["robust"], IMAGE])
        for name, kind in ONE_PIXEL.items():
            if name not in tables:
                continue
            table = tables[name]
            success = _successes(table, kind, defense)
            wrong = pd.MultiIndex.from_frame(table[IMAGE]).isin(robust) & success
            why = (
                f"image {{}} is fooled, and certificate_{through}.parquet proves that no pixel can"
            )
            yield from first(folder / f"{name}.parquet", wrong, why, _names(table))


def _successes(table: pd.DataFrame, kind: str, defense: str) -> pd.Series:
    """Where a one-pixel attack succeeds through a defense, among correct images of a table."""
    if kind == "attack":
        return table["success"].astype(bool) & (defense == "identity")
    behind = table["defense"] == defense
    one = (table["family"] == PIXELS) & (table["budget"] == 1)
    return behind & one & ~table["correct"]


def _restored(table: pd.DataFrame, before: pd.DataFrame) -> dict[str, pd.Series]:
    """Columns expected in a restoration table."""
    was = before["predicted"].astype(object)
    return {
        "label": before["label"], "success": before["success"],
        "recovered": table["restored_class"].astype(object) == was,
        "kept": table["clean_class"].astype(object) == was,
    }  # fmt: skip


def _image(table: pd.DataFrame, before: pd.DataFrame) -> dict[str, pd.Series]:
    """Columns of an image itself."""
    return {column: before[column] for column in ("label", "category", "part")}


RULES: dict[str, Rules] = {"restoration": _restored, "attackers": _image}


def _differing(
    path: Path, table: pd.DataFrame, must: dict[str, pd.Series], why: str
) -> Iterator[str]:
    """The first row of each column that differs from the expected one."""
    names = _names(table)
    for column, values in must.items():
        # Compared as objects, because comparing a text with a number would fail.
        ours, expected = table[column].astype(object), values.astype(object)
        text = f"{column} of image {{}} is {{!r}}; {why} it must be {{!r}}"
        yield from first(path, ours != expected, text, names, ours, expected)


def _names(table: pd.DataFrame) -> pd.Series:
    return table["split"].astype(str) + " " + table["index"].astype(str)


def _test_problems(path: Path) -> Iterator[str]:
    """Counts of the classifier's test that are impossible, or contradict its accuracy."""
    try:
        about = read_json(path)
    except InputError as error:
        yield str(error)
        return
    test = about.get("test", {})
    images, correct, accuracy = (test.get(name) for name in ("images", "correct", "accuracy"))
    whole = isinstance(images, int) and isinstance(correct, int)
    if not whole or not 0 <= correct <= images or not images:
        yield (
            f"{path}: {correct!r} of {images!r} test images are correct; both must be whole, and "
            "no more correct than tested."
        )
        return
    if not isinstance(accuracy, float | int) or not abs(accuracy - correct / images) <= ROUNDING:
        share = correct / images
        yield f"{path}: test accuracy is {accuracy!r}; {correct} of {images} images are {share}."
    if about.get("task") == "single-label" and (classes := about.get("test_by_class")):
        for name, total in (("images", images), ("correct", correct)):
            if (counted := sum(each.get(name, 0) for each in classes)) != total:
                yield f"{path}: {name} of the test is {total}; the classes have {counted}."
