"""How long the work of a step took, also when a later execution only read its results back."""

from pathlib import Path
from typing import Any

from lib.params.files import read_json, read_table


def minutes(folder: Path, step: str, run: dict[str, Any]) -> float:
    """Minutes of one step: of its last execution or, if that is more, of the work it shows.

    A step reads finished work back whose settings, data and code are the same, and then takes
    seconds; a reader who starts anew needs the time of the work.

    Args:
        folder: the run folder or record, with the files that the step wrote.
        step: name of the notebook.
        run: the entry of the step in ``run.json``.
    """
    seconds = 0.0
    if step == "classifier" and (folder / "classifier.json").exists():
        history = read_json(folder / "classifier.json")["history"]
        seconds = sum(epoch["seconds"] for epoch in history)
    elif step == "pixel_attack":
        seconds = sum(found["seconds"] for found in run.get("attacks", {}).values())
    elif step == "denoisers":
        trained = (read_json(path) for path in folder.glob("*.json") if path.name != "run.json")
        seconds = sum(about["wall_seconds"] for about in trained)
    elif step == "adaptive":
        tables = (read_table(path) for path in folder.glob("adaptive_*.parquet"))
        # The row without a defense repeats the attack record.
        seconds = sum(of.loc[of["defense"] != "identity", "seconds"].sum() for of in tables)
    elif step == "ablation" and (folder / "ablation_models.parquet").exists():
        seconds = float(read_table(folder / "ablation_models.parquet")["seconds"].sum())
    return max(seconds, run["wall_seconds"]) / 60
