"""Checks that the files of one recorded folder agree with each other and with their run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lib.defense.worst_case import NONE, PIXELS
from lib.evidence.schema import ROUNDING, first
from lib.params import ATTACKS
from lib.params.errors import InputError
from lib.params.files import read_json

IMAGE = ["split", "index"]  # identify an image within its data set
CERTIFIED = {"bare": "identity", "median3": "median3"}  # defenses by the certificates about them
ONE_PIXEL = ("certificate_searches", ATTACKS[1], f"attackers_{ATTACKS[1]}")


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
        for kind in ("restoration", "attackers"):
            path, attack = folder / f"{kind}_{name}.parquet", f"{name}.parquet"
            if path.stem in tables and not (folder / attack).exists():
                yield f"{path} has no {attack} beside it."
            elif path.stem in tables and name in tables:
                yield from _beside(path, tables[path.stem], tables[name], attack)


def _beside(path: Path, table: pd.DataFrame, attacked: pd.DataFrame, attack: str) -> Iterator[str]:
    """Where a table contradicts the attack that it was made from."""
    attackers = path.stem.startswith("attackers_")
    if attackers:  # many rows an image, of which these are the clean ones
        table = table[table["attacker"] == NONE].reset_index(drop=True)
    images, known = (pd.MultiIndex.from_frame(each[IMAGE]) for each in (table, attacked))
    odd = pd.Series(~images.isin(known))
    names = _names(table)
    yield from first(path, odd, f"image {{}} is not in {attack}", names)
    if odd.any():
        return
    wanted = images.unique() if attackers else known  # attackers cover only some of the images
    twice = table.duplicated([*IMAGE, "defense"])
    yield from first(path, twice, "image {} comes twice behind {}", names, table["defense"])
    for defense, rows in table.groupby("defense", sort=False).indices.items():
        if len(missing := wanted.difference(images[rows])):
            split, index = missing[0]
            yield f"{path}: image {split} {index} is missing behind {defense}."
    before = attacked.set_index(known).loc[images].set_index(table.index)
    same = ("label", "category", "part") if attackers else ("label", "success")
    must = {name: before[name] for name in same}
    if not attackers:
        was = before["predicted"].astype(object)
        must["recovered"] = table["restored_class"].astype(object) == was
        must["kept"] = table["clean_class"].astype(object) == was
    yield from _differing(path, table, must, f"by {attack}")


def _proved(folder: Path, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Successes with one pixel on images that a certificate proves robust."""
    for through, defense in CERTIFIED.items():
        if f"certificate_{through}" not in tables:
            continue
        certified = tables[f"certificate_{through}"]
        robust = pd.MultiIndex.from_frame(certified.loc[certified["robust"], IMAGE])
        for name in ONE_PIXEL:
            if name not in tables:
                continue
            table = tables[name]
            if name.startswith("attackers_"):
                one = (table["family"] == PIXELS) & (table["budget"] == 1)
                fooled = (table["defense"] == defense) & one & ~table["correct"]
            else:
                fooled = table["success"].astype(bool) & (defense == "identity")
            wrong = pd.MultiIndex.from_frame(table[IMAGE]).isin(robust) & fooled
            why = (
                f"image {{}} is fooled, and certificate_{through}.parquet proves that no pixel can"
            )
            yield from first(folder / f"{name}.parquet", wrong, why, _names(table))


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
