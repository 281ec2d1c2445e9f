"""Freezes the small results of finished runs on real images: tables, histories, where from."""

import shutil
from pathlib import Path
from typing import Any

from lib import params
from lib.evidence import schema, verify
from lib.params.errors import InputError
from lib.params.files import read_json, read_table, write_json, write_table

DENOISERS = "denoisers"


def freeze(runs: Path, results: Path, protocol: str) -> list[Path]:
    """Copy what is small from ``runs/<protocol>`` to ``results/<protocol>``, folder by folder.

    A folder appears whole or not at all, and only if `verify.problems` finds nothing wrong in it;
    one that was recorded before is replaced. The sums of all files are written last.

    Args:
        runs: folder of the run folders.
        results: where the record is kept.
        protocol: which runs; their images must be real.

    Returns:
        The folders written.

    Raises:
        InputError: no finished run, phantoms, or a table that is not what it must be.
    """
    base = runs / protocol
    folders = _finished(base)
    if not folders:
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
    """`freeze` of a protocol and of those of its variants that have a finished run.

    Raises:
        InputError: as `freeze`, or the name of a run with changed values.
    """
    if "+" in protocol:
        raise InputError(
            f"{protocol} is a run with changed values, and only protocols are recorded: write the "
            "values into a file of params/protocols that names its base, and run that."
        )
    there = [name for name in params.variants(protocol) if any(_finished(runs / name))]
    return [folder for name in (protocol, *there) for folder in freeze(runs, results, name)]


def write_sums(results: Path) -> None:
    """Take the recorded files as they are, for `verify.file_problems`.

    To be called again whenever a file of the record was written, the front page's figure too.
    """
    write_json(results / verify.FILE_SUMS, verify.file_sums(results))


def _finished(base: Path) -> list[Path]:
    folders = (path.parent for path in sorted(base.glob("**/run.json")))
    return [folder for folder in folders if _kept(folder)]


def _kept(folder: Path) -> list[Path]:
    """Files of a run folder that are recorded besides run.json."""
    # Weights, checkpoints, restored images and executed notebooks stay behind: they are large, or
    # hold pictures of patients.
    found = [folder / f"{name}.parquet" for name in schema.TABLES]
    found.append(folder / "classifier.json")
    if folder.name == DENOISERS:
        found += sorted(path for path in folder.glob("*.json") if path.name != "run.json")
    return [path for path in found if path.exists()]


def _copy(folder: Path, target: Path) -> None:
    for path in _kept(folder):
        if path.suffix == ".parquet":
            write_table(target / path.name, read_table(path))
        else:
            write_json(target / path.name, read_json(path))
    write_json(target / "run.json", _without_paths(read_json(folder / "run.json")))


def _without_paths(content: Any) -> Any:
    """The same without the folders of the machine: only the last part of their names is kept."""
    if isinstance(content, dict):
        return {name: _without_paths(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_paths(value) for value in content]
    return Path(content).name if isinstance(content, str) and content.startswith("/") else content


def _replace(fresh: Path, target: Path) -> None:
    """Put a folder in the place of its forerunner, but keep the folders inside that one."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.is_file():
            path.unlink()
    for path in fresh.iterdir():
        path.replace(target / path.name)
