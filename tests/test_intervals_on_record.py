"""Intervals of the recorded tables, as they were when we had formulas of our own."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.defense import break_even_prevalence, detection, restoration
from lib.evidence import recorded_runs
from lib.metrics import intervals
from lib.params.files import read_json, read_table

RECORDS = params.ROOT / "results"
FROZEN = Path(__file__).parent / "data" / "intervals.parquet"
KEYS = ["folder", "attack", "of", "name"]


def numbers(folder: Path, attack: str) -> pd.DataFrame:
    """Value, lower and upper bound of each kind of interval that a page shows of a run."""
    attacks = read_table(folder / f"{attack}.parquet")
    by_class = intervals.rate_table(attacks, "category", "success").set_index("category")
    found = {("rate", name): row[["rate", "low", "high"]] for name, row in by_class.iterrows()}
    first, total = found["rate", by_class.index[0]], found["rate", intervals.TOTAL]
    found["rate", "first less total"] = intervals.newcombe(first, total)
    # The old formulas knew no patients.
    restored = read_table(folder / f"restoration_{attack}.parquet").drop(columns="group")
    for row in restoration.shares(restored).to_dict("records"):
        for share in ("recovered", "right", "kept"):
            bounds = (row[share], row[f"{share}_low"], row[f"{share}_high"])
            found[share, row["defense"]] = bounds
    for name, row in break_even_prevalence(restored, 500).iterrows():
        found["pays from", name] = row
    right = restored.pivot(index=restoration.IMAGE, columns="defense", values="recovered")
    right = right.astype(int)
    for name in right:
        found["paired", name] = intervals.paired(right[name] - right["median3"])
    for name, of in restored[~restored["exact"]].groupby("defense"):
        found["psnr", name] = intervals.bootstrap_mean(of["psnr"], 2000, 0)
    found = {key: list(values) for key, values in found.items()}
    table = pd.DataFrame(found, index=["value", "low", "high"]).T
    return table.rename_axis(KEYS[2:]).reset_index()


def every() -> pd.DataFrame:
    paths = sorted(RECORDS.glob("*/*/*/restoration_*.parquet"))
    tables = []
    for path in paths:
        place, attack = path.parent, path.stem.removeprefix("restoration_")
        table = numbers(place, attack)
        table.insert(0, "folder", str(place.relative_to(RECORDS)))
        table.insert(1, "attack", attack)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True).astype({name: str for name in KEYS})
    return table.astype({name: np.float32 for name in ("value", "low", "high")})


def test_no_interval_on_record_changes_by_a_digit_that_is_printed():
    frozen, now = pd.read_parquet(FROZEN), every()
    both = frozen.merge(now, on=KEYS, suffixes=("_then", ""), validate="1:1")
    assert len(both) == len(frozen)  # runs may be added, none may go
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(both[name], both[f"{name}_then"], rtol=1e-5, atol=1e-6)


def test_areas_on_record_are_found_again():
    paths = sorted(RECORDS.glob("*/*/*/detection_one_pixel.parquet"))
    assert paths
    restored = {
        folder: recorded_runs.read(folder.parent, [folder.name]).restored
        for folder in {p.parents[2] for p in paths}
    }  # fmt: skip
    for path in paths:
        p = read_json(path.with_name("run.json"))["parameters"]
        rows = restored[path.parents[2]]
        rows = rows[(rows["dataset"] == p["dataset"]) & (rows["classifier"] == p["classifier"])]
        found = detection.summary(rows[rows["pixels"] == 1], p["bootstrap_samples"], p["seed"])
        pd.testing.assert_frame_equal(found, read_table(path), rtol=1e-9)
