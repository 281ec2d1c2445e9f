"""Record the small results of finished runs on real images: tables, histories, provenance."""

import shutil
from pathlib import Path
from typing import Any

from lib import params
from lib.evidence import schema, verify
from lib.params.errors import InputError
from lib.params.files import read_json, read_table, visible, write_json, write_table


def freeze(runs: Path, results: Path, protocol: str) -> list[Path]:
    """Copy the small files of ``runs/<protocol>`` to ``results/<protocol>``, folder by folder.

    A folder is written whole or not at all, and only if `verify.folder_problems` finds no problem.
    It replaces an older record. The checksums of all files are written last.

    Returns:
        The folders written.

    Raises:
        InputError: no finished run, synthetic images, or an invalid table.
    """
    base = runs / protocol
    if not (folders := _finished(base)):
        raise InputError(f"{base} has no finished run to record: run one first.")
    written = []
    for folder in folders:
        target = results / protocol / folder.relative_to(base)
        fresh = target.with_name(f".{target.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            _copy(folder, fresh)
            if wrong := list(verify.folder_problems(fresh)):
                raise InputError(wrong[0].replace(str(fresh), str(folder)))
            _replace(fresh, target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        written.append(target)
    write_sums(results)
    return written


def freeze_all(runs: Path, results: Path, protocol: str) -> list[Path]:
    """`freeze` a protocol and those of its variants that have a finished run.

    Raises:
        InputError: as `freeze`, or the name of a run with changed values.
    """
    if "+" in protocol:
        raise InputError(
            f"{protocol} is a run with changed values, and only protocols are recorded: write the "
            "values into a file of params/protocols that names its base, and run that."
        )
    finished = [name for name in params.variants(protocol) if _finished(runs / name)]
    return [folder for name in (protocol, *finished) for folder in freeze(runs, results, name)]


def write_sums(results: Path) -> None:
    """Write the checksums of the recorded files, which `verify.file_problems` compares.

    Call it again whenever a file of the record is written, the front page's figure too.
    """
    write_json(results / verify.FILE_SUMS, verify.file_sums(results))


def _finished(base: Path) -> list[Path]:
    return [
        path.parent
        for path in visible(base, "**/run.json")
        # Counts of a data set are in run.json itself.
        if _kept(path.parent) or "datasets" in read_json(path).get("steps", {})
    ]


def _kept(folder: Path) -> list[Path]:
    """Files of a run folder that are recorded besides run.json."""
    # Weights, checkpoints, restored images and executed notebooks stay behind: they are large, or
    # contain images of patients.
    paths = [folder / f"{name}.parquet" for name in schema.TABLES]
    paths.append(folder / "classifier.json")
    if folder.name == "denoisers":
        paths += [path for path in visible(folder, "*.json") if path.name != "run.json"]
    return [path for path in paths if path.exists()]


def _copy(folder: Path, target: Path) -> None:
    for path in _kept(folder):
        if path.suffix == ".parquet":
            write_table(target / path.name, read_table(path))
        else:
            write_json(target / path.name, read_json(path))
    write_json(target / "run.json", _without_paths(read_json(folder / "run.json")))


def _without_paths(content: Any) -> Any:
    """The same content with absolute paths reduced to their last part."""
    if isinstance(content, dict):
        return {name: _without_paths(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_paths(value) for value in content]
    return Path(content).name if isinstance(content, str) and content.startswith("/") else content


def _replace(fresh: Path, target: Path) -> None:
    """Replace the files of a folder, but keep the folders inside it."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.is_file():
            path.unlink()
    for path in fresh.iterdir():
        path.replace(target / path.name)
