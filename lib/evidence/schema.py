"""The columns of the recorded tables, with kinds and ranges, as on the page "Run folder"."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.attack import certificate
from lib.attack.attack_table import KEPT
from lib.defense.detection import ALL, FOOLED, SCORES, column
from lib.defense.worst_case import LINF, NONE, PIXELS

Check = Callable[[pd.Series], pd.Series]  # True where a value is as it must be
ROUNDING = 1e-9  # an area or a share that is computed in two ways differs by less


def _between(low: float, high: float = float("inf")) -> Check:
    return lambda values: (values >= low) & (values <= high)


def _one_of(*allowed: object) -> Check:
    return lambda values: values.isin(allowed)


def _whole(low: int) -> Check:
    return lambda values: (values >= low) & (values == values.round())


def _colors(values: pd.Series) -> pd.Series:
    shapes = values.map(lambda each: {np.asarray(value, dtype=float).shape for value in each})
    return shapes.map(lambda found: found <= {(1,), (3,)})


def _numbers(values: pd.Series) -> pd.Series:
    return values.map(lambda each: np.asarray(each, dtype=float).ndim == 1)


def _finite(values: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(values.astype(float)), values.index)


def _area(values: pd.Series) -> pd.Series:
    return values.isna() | values.between(0, 1)


_any, _flag = pd.Series.notna, _one_of(True, False)
_PLACE = ["split", "index"]
_SHARE, _SPLIT = _between(0, 1), _one_of("train", "val", "test")
_IMAGE = {
    "dataset": _any, "split": _SPLIT, "index": _whole(0), "group": _whole(-1), "label": _any,
}  # fmt: skip
_KEY = _IMAGE | {"success": _flag}
_METRICS = {
    "psnr": _between(0), "mse": _between(0), "ssim": _between(-1, 1), "gmsd": _between(0, 1),
    "fsim": _SHARE,
}  # fmt: skip
_RESIDUALS = {column(state, s): _between(0, 255) for state in ("attacked", "clean") for s in SCORES}
_PIXELS = {"rows": _numbers, "cols": _numbers, "values": _colors}
_ATTACK = dict.fromkeys(KEPT, _any) | _KEY | _PIXELS | {
    "p_before": _finite, "p_after": _finite, "evaluations": _whole(1), "generations": _whole(0),
    "computed": _whole(0), "seconds": _between(0), "part": _SPLIT, "category": _whole(0),
    "true_label_changed": _flag, "disagreements": _whole(0), "seed": _whole(0),
}  # fmt: skip
_RESTORATION = _KEY | _METRICS | _RESIDUALS | {
    "defense": _any, "exact": _flag, "error_attacked": _between(0, 255),
    "error_elsewhere": _between(0, 255), "restored_class": _any, "recovered": _flag,
    "clean_class": _any, "kept": _flag,
}  # fmt: skip
_DETECTION = {
    "defense": _any, "score": _one_of(*SCORES), "images": _one_of(FOOLED, ALL), "n": _whole(0),
    "auc": _area, "auc_low": _area, "auc_high": _area,
}  # fmt: skip
_CERTIFICATE = _IMAGE | {
    "category": _whole(-1), "skipped": _flag, "predicted": _any, "robust": _flag, "complete": _flag,
    "through": _one_of(*certificate.THROUGH), "neighbors": _whole(0), "candidates": _whole(0),
    "counterexamples": _whole(0), "rechecked": _whole(0), "deviation": _between(0),
    "margin": _finite, "row": _whole(-1), "col": _whole(-1), "value": _between(-1, 255),
    "seconds": _between(0),
}  # fmt: skip
_SEARCHES = _KEY | {
    "method": _any, "evaluations": _whole(0), "computed": _whole(0), "seconds": _between(0),
}  # fmt: skip
_ATTACKERS = _IMAGE | {
    "category": _whole(0), "part": _SPLIT, "defense": _any, "attacker": _any,
    "family": _one_of("", PIXELS, LINF), "budget": _whole(0), "correct": _flag, "certified": _flag,
    "rows": _numbers, "cols": _numbers, "values": _colors, "evaluations": _whole(0),
    "seconds": _between(0),
}  # fmt: skip
_MASKING = _IMAGE | {
    "category": _whole(-1), "part": _SPLIT, "clean": _flag, "defended": _flag, "certified": _flag,
    "seconds": _between(0), "seconds_certify": _between(0),
}  # fmt: skip
_FINE_TUNING = _IMAGE | {
    "category": _whole(-1), "part": _SPLIT, "defense": _any, "before": _flag, "after": _flag,
}  # fmt: skip
_LESIONS = {"split": _SPLIT, "index": _whole(0), "label": _any} | dict.fromkeys(
    ("x", "y", "width", "height"), _SHARE
)
_OF_ATTACKS = {
    "": _ATTACK, "restoration_": _RESTORATION, "attackers_": _ATTACKERS,
    "detection_": _DETECTION, "forensics_": {"metric": _any, "variant": _any},
}  # fmt: skip
TABLES: dict[str, dict[str, Check]] = {
    "ablation": _METRICS | {"variant": _any, "seed": _whole(0)},
    "ablation_models": {
        "variant": _any, "seed": _whole(0), "seconds": _between(0), "loss": _between(0),
    },
    "masking": _MASKING, "fine_tuning": _FINE_TUNING, "lesions": _LESIONS,
    "certificate_searches": _SEARCHES,
    **{f"certificate_{name}": _CERTIFICATE for name in certificate.THROUGH},
    **{kind + name: of for kind, of in _OF_ATTACKS.items() for name in params.ATTACKS.values()},
}  # fmt: skip


def problems(
    path: Path, table: pd.DataFrame, criterion: str = "auto", size: float = float("inf")
) -> Iterator[str]:
    """One sentence, with file and row, for each problem; the first row of each kind.

    The file's name says which table it is; ``criterion`` and ``size`` are the run's
    ``attack_criterion`` and ``data_size``. Checks of several columns need each of them valid.
    """
    columns = TABLES[path.stem]
    if missing := [name for name in columns if name not in table]:
        yield f"{path} has no column {', '.join(missing)}."
        return
    if not len(table):
        yield f"{path} has no rows."
        return
    valid = True
    for name, check in columns.items():
        values = table[name]
        try:
            wrong = ~check(values).fillna(False).astype(bool)
        except (TypeError, ValueError):
            valid = False
            yield f"{path}: column {name} holds {values.dtype}, which cannot be checked."
            continue
        valid &= not wrong.any()
        yield from first(path, wrong, f"{name} is {{!r}}, which cannot be", values)
    if not valid:
        return
    if path.stem in params.ATTACKS.values():
        yield from _pixel_problems(path, table, size)
        fooled = table["predicted"] != table["adversarial"]
        if criterion == "true_label":
            fooled &= table["true_label_changed"]
        why = "success does not agree with the classes before and after"
        yield from first(path, table["success"] != fooled, why)
        yield from first(path, table.duplicated(_PLACE), "the image is attacked twice")
    if columns is _MASKING:
        wrong = table["certified"] & ~table["defended"]
        yield from first(path, wrong, "certified, but misclassified by the same defense")
    if columns is _ATTACKERS:
        yield from _attacker_problems(path, table)
    if columns is _CERTIFICATE:
        yield from _certificate_problems(path, table, size)
    if path.stem.startswith("detection_"):
        yield from _detection_problems(path, table)


def first(path: Path, wrong: pd.Series, why: str, *values: pd.Series) -> Iterator[str]:
    """A sentence about the first row where ``wrong`` is true, none if there is none.

    ``why`` has a place ``{}`` for the row's value in each of ``values``.
    """
    if wrong.any():
        row = int(wrong.to_numpy(bool).argmax())
        yield f"{path}, row {row}: {why.format(*(column.iloc[row] for column in values))}."


def _pixel_problems(path: Path, table: pd.DataFrame, size: float) -> Iterator[str]:
    """Too many or too few changed pixels, pixels outside the image, or values of no 8-bit color."""
    number = next(n for n, name in params.ATTACKS.items() if path.stem == name)
    changes = zip(table["rows"], table["cols"], table["values"], strict=True)
    for row, (rows, cols, values) in enumerate(changes):
        lengths = {len(rows), len(cols), len(values)}
        if lengths != {number}:
            yield f"{path}, row {row}: {sorted(lengths)} pixels are changed instead of {number}."
            return
        if not _all_whole([*rows, *cols], size - 1):
            at = ", ".join(f"({r}, {c})" for r, c in zip(rows, cols, strict=True))
            yield (
                f"{path}, row {row}: {at} is changed; rows and cols must be whole and from 0 to "
                f"{size - 1}."
            )
            return
        if not all(_all_whole(value, 255) for value in values):
            yield f"{path}, row {row}: a pixel value is not a whole number from 0 to 255."
            return


def _all_whole(values: Sequence[float], high: float) -> bool:
    numbers = np.asarray(values, dtype=float)
    return bool(((numbers >= 0) & (numbers <= high) & (numbers == numbers.round())).all())


def _attacker_problems(path: Path, table: pd.DataFrame) -> Iterator[str]:
    """Broken certificates, attacks that come twice, and more correct than the defense alone."""
    one_pixel = (table["family"] == PIXELS) & (table["budget"] == 1)
    broken = table["certified"] & one_pixel & ~table["correct"]
    yield from first(path, broken, "one pixel breaks a certificate, which cannot be")
    twice = table.duplicated([*_PLACE, "defense", "attacker", "family", "budget"])
    yield from first(path, twice, "the same attack comes twice")
    if twice.any():
        return
    behind = [*_PLACE, "defense"]
    clean = table[table["attacker"] == NONE].set_index(behind)["correct"]
    before = clean.reindex(pd.MultiIndex.from_frame(table[behind])).set_axis(table.index)
    yield from first(path, before.isna(), "the clean image behind this defense is missing")
    wrong = table["correct"] & before.eq(False)
    yield from first(path, wrong, "correct when attacked, but wrong after the defense alone")


def _certificate_problems(path: Path, table: pd.DataFrame, size: float) -> Iterator[str]:
    proved = table["complete"] & (table["counterexamples"] == 0)
    yield from first(path, table["robust"] != proved, "robust does not follow from what was tried")
    tried = table["candidates"]
    yield from first(path, tried > table["neighbors"], "more candidates were tried than exist")
    whole = table["complete"] != (~table["skipped"] & (tried == table["neighbors"]))
    yield from first(path, whole, "complete does not agree with what was tried")
    outside = table[["row", "col"]].max(axis=1) >= size
    yield from first(path, outside, "the change lies outside the image")
    yield from first(path, table.duplicated(_PLACE), "the image comes twice")


def _detection_problems(path: Path, table: pd.DataFrame) -> Iterator[str]:
    """Areas without images, images without areas, and areas outside their intervals."""
    # A single image has an area, but no interval.
    for name, fewest in {"auc": 1, "auc_low": 2, "auc_high": 2}.items():
        wrong = table[name].isna() != (table["n"] < fewest)
        why = f"{name} is {{}} for {{}} images; it needs {fewest} or more, and is missing below"
        yield from first(path, wrong, why, table[name], table["n"])
    area, low, high = table["auc"], table["auc_low"], table["auc_high"]
    wrong = (low > area + ROUNDING) | (high < area - ROUNDING)
    why = "auc is {}, and must lie from auc_low, {}, to auc_high, {}"
    yield from first(path, wrong, why, area, low, high)
