"""Time of the steps, also when a later execution only read their results back."""

from pathlib import Path
from typing import Any

from lib.params.files import read_json, read_table, visible


def minutes(folder: Path, step: str, run: dict[str, Any]) -> float:
    """Minutes of one step: of its last execution or, if longer, of the results it wrote.

    A step reads finished results back where settings and data are the same, and then takes seconds.

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
        seconds = sum(attack["seconds"] for attack in run.get("attacks", {}).values())
    elif step == "denoisers":
        paths = (path for path in visible(folder, "*.json") if path.name != "run.json")
        seconds = sum(read_json(path)["wall_seconds"] for path in paths)
    elif step == "adaptive":
        # Rows without a defense repeat the attack record.
        tables = (read_table(path) for path in visible(folder, "adaptive_*.parquet"))
        seconds = sum(each.loc[each["defense"] != "identity", "seconds"].sum() for each in tables)
    elif step == "ablation" and (folder / "ablation_models.parquet").exists():
        seconds = float(read_table(folder / "ablation_models.parquet")["seconds"].sum())
    return max(seconds, run["wall_seconds"]) / 60
