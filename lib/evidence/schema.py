"""What a recorded table must hold: its columns, their kinds and their ranges.

The columns are the contract of the book's page "Run folder".
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.attack.records import COLUMNS
from lib.detection import SCORES, column

Check = Callable[[pd.Series], pd.Series]  # True where a value is as it must be


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


_SHARE, _SPLIT = _between(0, 1), _one_of("train", "val", "test")
_KEY = {"dataset": _any, "split": _SPLIT, "index": _whole(0), "label": _any, "success": _flag}
_METRICS = {
    "psnr": _between(0), "mse": _between(0), "ssim": _between(-1, 1), "gmsd": _between(0, 1),
    "fsim": _SHARE,
}  # fmt: skip
_RESIDUALS = {column(state, s): _between(0, 255) for state in ("attacked", "clean") for s in SCORES}
_ATTACK = dict.fromkeys(COLUMNS, _any) | _KEY | {
    "p_before": _finite, "p_after": _finite, "evaluations": _whole(1), "generations": _whole(0),
    "computed": _whole(0), "seconds": _between(0), "part": _SPLIT, "category": _whole(0),
    "true_label_changed": _flag, "disagreements": _whole(0), "seed": _whole(0),
}  # fmt: skip
_RESTORATION = _KEY | _METRICS | _RESIDUALS | {
    "defence": _any, "exact": _flag, "error_attacked": _between(0, 255),
    "error_elsewhere": _between(0, 255), "restored_class": _any, "recovered": _flag,
    "clean_class": _any, "kept": _flag,
}  # fmt: skip
# A share without images has no value, so its range is left to the tests of what computes it.
_ADAPTIVE = {
    **{name: check for name, check in _KEY.items() if name != "success"}, "category": _whole(0),
    "defence": _any, "clean": _flag, "oblivious": _flag, "adaptive": _flag, "predicted": _any,
    "adversarial": _any, "rows": _any, "cols": _any, "values": _any, "evaluations": _whole(0),
    "seconds": _between(0), "seed": _whole(0),
}  # fmt: skip
_DETECTION = {"defence": _any, "score": _one_of(*SCORES), "images": _any, "n": _whole(0)}
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


def problems(path: Path, table: pd.DataFrame, criterion: str = "auto") -> Iterator[str]:
    """One sentence, with file and row, for each thing that is wrong; the first row of each kind.

    Args:
        path: of the table; its name says which it is.
        table: what it holds.
        criterion: ``attack_criterion`` of the run, which says what a success is.
    """
    columns = TABLES[path.stem]
    missing = [name for name in columns if name not in table]
    if missing:
        yield f"{path} has no column {', '.join(missing)}."
        return
    if not len(table):
        yield f"{path} has no rows."
        return
    for name, check in columns.items():
        try:
            wrong = ~check(table[name]).fillna(False).astype(bool)
        except (TypeError, ValueError):
            yield f"{path}: column {name} holds {table[name].dtype}, which cannot be checked."
            continue
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            yield f"{path}, row {row}: {name} is {table[name].iloc[row]!r}, which cannot be."
    if path.stem in params.ATTACKS.values():
        yield from _attack_problems(path, table, criterion)
    if path.stem.startswith("adaptive_"):
        wrong = (table["oblivious"] | table["adaptive"]) & ~table["clean"]
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            yield f"{path}, row {row}: right when attacked, and wrong through the defence alone."


def _attack_problems(path: Path, table: pd.DataFrame, criterion: str) -> Iterator[str]:
    """What one column alone does not show."""
    number = next(n for n, name in params.ATTACKS.items() if name == path.stem)
    for row, record in enumerate(table.itertuples()):
        lengths = {len(record.rows), len(record.cols), len(record.values)}
        if lengths != {number}:
            yield f"{path}, row {row}: {sorted(lengths)} pixels are changed instead of {number}."
            break
        if any(not 0 <= v <= 255 for value in record.values for v in value):
            yield f"{path}, row {row}: a pixel value is outside 0 to 255."
            break
        fooled = record.predicted != record.adversarial
        if criterion == "true_label":
            fooled &= record.true_label_changed
        if record.success != fooled:
            yield f"{path}, row {row}: success does not agree with the classes before and after."
            break
    twice = table.duplicated(["split", "index"])
    if twice.any():
        yield f"{path}, row {int(twice.to_numpy().argmax())}: the image is attacked twice."
