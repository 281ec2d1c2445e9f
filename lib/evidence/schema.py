"""What a recorded table must hold: its columns, their kinds and their ranges.

The columns are the contract of the book's page "Run folder".
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.attack.attack_table import KEPT
from lib.defense.detection import ALL, FOOLED, SCORES, column

Check = Callable[[pd.Series], pd.Series]  # True where a value is as it must be
ROUNDING = 1e-9  # an area or a share that is computed in two ways differs by less


def _between(low: float, high: float = float("inf")) -> Check:
    return lambda values: (values >= low) & (values <= high)


def _one_of(*allowed: str) -> Check:
    return lambda values: values.isin(allowed)


def _whole(low: int) -> Check:
    return lambda values: (values >= low) & (values == values.round())


def _any(values: pd.Series) -> pd.Series:
    return values.notna()


def _flag(values: pd.Series) -> pd.Series:
    return values.isin([True, False])


def _finite(values: pd.Series) -> pd.Series:
    return pd.Series(np.isfinite(values.astype(float)), values.index)


def _numbers(values: pd.Series) -> pd.Series:
    return values.map(lambda each: np.asarray(each, dtype=float).ndim == 1)


def _colors(values: pd.Series) -> pd.Series:
    shapes = values.map(lambda each: {np.asarray(value, dtype=float).shape for value in each})
    return shapes.map(lambda found: found <= {(1,), (3,)})


def _area(values: pd.Series) -> pd.Series:
    return values.isna() | ((values >= 0) & (values <= 1))


_SHARE, _SPLIT = _between(0, 1), _one_of("train", "val", "test")
_KEY = {"dataset": _any, "split": _SPLIT, "index": _whole(0), "label": _any, "success": _flag}
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
_ADAPTIVE = {
    **{name: check for name, check in _KEY.items() if name != "success"}, **_PIXELS,
    "category": _whole(0), "part": _SPLIT, "defense": _any, "clean": _flag, "oblivious": _flag,
    "adaptive": _flag, "predicted": _any, "adversarial": _any, "evaluations": _whole(0),
    "seconds": _between(0), "seed": _whole(0),
}  # fmt: skip
_DETECTION = {
    "defense": _any, "score": _one_of(*SCORES), "images": _one_of(FOOLED, ALL), "n": _whole(0),
    "auc": _area, "auc_low": _area, "auc_high": _area,
}  # fmt: skip
_ABLATION = _METRICS | {"variant": _any, "seed": _whole(0)}
_MODELS = {"variant": _any, "seed": _whole(0), "seconds": _between(0), "loss": _between(0)}
TABLES: dict[str, dict[str, Check]] = {
    "ablation": _ABLATION,
    "ablation_models": _MODELS,
    **{name: _ATTACK for name in params.ATTACKS.values()},
    **{f"restoration_{name}": _RESTORATION for name in params.ATTACKS.values()},
    **{f"adaptive_{name}": _ADAPTIVE for name in params.ATTACKS.values()},
    **{f"detection_{name}": _DETECTION for name in params.ATTACKS.values()},
    **{f"forensics_{name}": {"metric": _any, "variant": _any} for name in params.ATTACKS.values()},
}


def problems(
    path: Path, table: pd.DataFrame, criterion: str = "auto", size: float = float("inf")
) -> Iterator[str]:
    """One sentence, with file and row, for each thing that is wrong; the first row of each kind.

    What takes several columns is looked at once each of them is as it must be.

    Args:
        path: of the table; its name says which it is.
        table: what it holds.
        criterion: ``attack_criterion`` of the run, which says what a success is.
        size: ``data_size`` of the run, pixels on each side of an image.
    """
    columns = TABLES[path.stem]
    missing = [name for name in columns if name not in table]
    if missing:
        yield f"{path} has no column {', '.join(missing)}."
        return
    if not len(table):
        yield f"{path} has no rows."
        return
    sound = True
    for name, check in columns.items():
        try:
            wrong = ~check(table[name]).fillna(False).astype(bool)
        except (TypeError, ValueError):
            sound = False
            yield f"{path}: column {name} holds {table[name].dtype}, which cannot be checked."
            continue
        if wrong.any():
            sound = False
            row = first(wrong)
            yield f"{path}, row {row}: {name} is {table[name].iloc[row]!r}, which cannot be."
    if not sound:
        return
    if columns.keys() >= _PIXELS.keys():
        yield from _pixel_problems(path, table, size)
    if path.stem in params.ATTACKS.values():
        yield from _attack_problems(path, table, criterion)
    if path.stem.startswith("adaptive_"):
        wrong = (table["oblivious"] | table["adaptive"]) & ~table["clean"]
        if wrong.any():
            row = first(wrong)
            yield f"{path}, row {row}: right when attacked, and wrong through the defense alone."
    if path.stem.startswith("detection_"):
        yield from _detection_problems(path, table)


def first(wrong: pd.Series) -> int:
    """Place of the first row that is wrong."""
    return int(wrong.to_numpy(bool).argmax())


def _pixel_problems(path: Path, table: pd.DataFrame, size: float) -> Iterator[str]:
    """Pixels that are too many or too few, outside the image, or of no 8-bit color."""
    number = next(n for n, name in params.ATTACKS.items() if path.stem.endswith(name))
    # Of an image that the defense alone makes wrong there was nothing to search.
    searched = table["clean"] if "clean" in table else [True] * len(table)
    changes = zip(table["rows"], table["cols"], table["values"], searched, strict=True)
    for row, (rows, cols, values, any_searched) in enumerate(changes):
        lengths, wanted = {len(rows), len(cols), len(values)}, number * bool(any_searched)
        if lengths != {wanted}:
            yield f"{path}, row {row}: {sorted(lengths)} pixels are changed instead of {wanted}."
            return
        if not _all_whole([*rows, *cols], size - 1):
            at = ", ".join(f"({r}, {c})" for r, c in zip(rows, cols, strict=True))
            yield (
                f"{path}, row {row}: {at} is changed; rows and cols must be whole and from 0 to "
                f"{size - 1}."
            )
            return
        if not all(_all_whole(value, 255) for value in values):
            yield f"{path}, row {row}: a pixel value is no whole number or outside 0 to 255."
            return


def _all_whole(values: Sequence[float], high: float) -> bool:
    numbers = np.asarray(values, dtype=float)
    return bool(((numbers >= 0) & (numbers <= high) & (numbers == numbers.round())).all())


def _attack_problems(path: Path, table: pd.DataFrame, criterion: str) -> Iterator[str]:
    """Successes that contradict the classes, and images that come twice."""
    for row, record in enumerate(table.itertuples()):
        fooled = record.predicted != record.adversarial
        if criterion == "true_label":
            fooled &= record.true_label_changed
        if record.success != fooled:
            yield f"{path}, row {row}: success does not agree with the classes before and after."
            break
    twice = table.duplicated(["split", "index"])
    if twice.any():
        yield f"{path}, row {first(twice)}: the image is attacked twice."


def _detection_problems(path: Path, table: pd.DataFrame) -> Iterator[str]:
    """Areas without images or images without areas, and areas outside their intervals."""
    area, low, high = table["auc"], table["auc_low"], table["auc_high"]
    # A single image has an area, but no interval.
    for name, fewest in {"auc": 1, "auc_low": 2, "auc_high": 2}.items():
        wrong = table[name].isna() != (table["n"] < fewest)
        if wrong.any():
            row = first(wrong)
            yield (
                f"{path}, row {row}: {name} is {table[name].iloc[row]} of {table['n'].iloc[row]} "
                f"images; it must be a number from {fewest} on and nothing below."
            )
    wrong = (low > area + ROUNDING) | (high < area - ROUNDING)
    if wrong.any():
        row = first(wrong)
        yield (
            f"{path}, row {row}: auc is {area.iloc[row]}, and must lie from auc_low, "
            f"{low.iloc[row]}, to auc_high, {high.iloc[row]}."
        )
