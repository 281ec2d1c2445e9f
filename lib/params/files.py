"""Files written whole or not at all, read with one sentence about what is wrong, and their sums."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from lib.params.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent  # of the project
# Hidden files, backups of editors, copies of JupyterLab.
_LEFT_OVER = re.compile(r"[.#~].*|.*~|.*\.(swp|swo|bak|orig|tmp)|.*-Copy\d*(\..*)?|.* copy(\..*)?")


def left_over(name: str) -> bool:
    """Whether a file's or folder's name is that of a hidden one, a backup or a copy."""
    return bool(_LEFT_OVER.fullmatch(name))


def visible(folder: Path, pattern: str) -> list[Path]:
    """Paths below ``folder`` that match a pattern of `Path.glob`, sorted, without what editors,
    JupyterLab and file managers leave: hidden files and folders, backups, copies.
    """
    return sorted(
        path
        for path in Path(folder).glob(pattern)
        if not any(left_over(part) for part in path.relative_to(folder).parts)
    )


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without an error.

    A kill at any moment leaves the old file or the new one, never half a file.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            free = shutil.disk_usage(path.parent).free / 1e6
            raise InputError(
                f"No space left to write {path} ({free:.0f} MB free): make room and run again; "
                "finished work is kept."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as JSON, atomically; NaN is refused."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file.

    Raises:
        InputError: missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run the step that writes it first.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON ({error.msg}): delete it and run again.") from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, atomically."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a parquet table.

    Raises:
        InputError: missing or unreadable.
    """
    if not Path(path).exists():
        raise InputError(f"{path} is missing: run the step that writes it first.")
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises several kinds
        raise InputError(f"{path} is no parquet table: delete it and run again.") from error


def shown(path: Path) -> Path:
    """A path as a message has it: from the project on, or whole where it lies elsewhere."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def md5(path: Path) -> str:
    """MD5 of a file, as MedMNIST publishes it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def fingerprint(content: Any) -> str:
    """Short hash of a JSON-like value; keys checkpoints to the settings that made them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[
        :16
    ]
