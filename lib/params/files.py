"""Files written whole or not at all, read with one sentence about what is wrong; checksums."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from lib.params.errors import InputError, first_line

if TYPE_CHECKING:
    import pandas as pd

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


# Why a file cannot be written, and what helps; other errors are not about the disk.
ROOM, RIGHTS, PLACE = "make room", "make its folder writable or name another", "name another folder"
REMEDIES = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: ROOM, errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS, errno.EROFS: RIGHTS, errno.ENOTDIR: PLACE, errno.EEXIST: PLACE,
    errno.EISDIR: PLACE, errno.ENAMETOOLONG: PLACE, errno.ENOENT: PLACE, errno.ELOOP: PLACE,
    errno.EIO: "check the disk",
}  # fmt: skip
YOUNG_SECONDS = 30  # of a temporary file that its writer may not have locked yet


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without an error.

    A kill at any moment leaves the old file or the new one, never half a file. What killed writers
    of the same file have left is removed.

    Raises:
        InputError: the disk is full, or the file may not be written.
    """
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        _remove_leftovers(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
        try:
            # Opened by us for the user's umask, and locked for `_remove_leftovers`.
            with temporary.open("xb") as lock:
                mode = os.fstat(lock.fileno()).st_mode & 0o777
                _lock(lock) if fcntl else lock.close()  # Windows renames no open file
                yield temporary
                temporary.chmod(mode)  # safetensors may have put a file of its own there
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Say in one sentence why ``path`` cannot be written, whichever library writes it.

    Raises:
        InputError: for one of `REMEDIES`; any other error goes through.
    """
    path = Path(path)
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (found := re.search(r"os error (\d+)", str(error))):
            number = int(found[1])  # safetensors has only the text
        named = getattr(error, "filename", None)  # a file that is read in the block, perhaps
        ours = named is None or Path(named).parent == path.parent or path.is_relative_to(named)
        # Where there is a folder, what is missing was to be read.
        ours = ours and not (number == errno.ENOENT and path.parent.is_dir())
        if number not in REMEDIES or not ours:
            raise
        folder = next(folder for folder in path.absolute().parents if folder.is_dir())
        free = shutil.disk_usage(folder).free / 1e6
        raise InputError(
            f"{path} cannot be written ({os.strerror(number)}; {free:.0f} MB are free): "
            f"{REMEDIES[number]} and run again; finished work is kept."
        ) from error


def _lock(file: BinaryIO) -> None:
    with suppress(OSError):  # not every network disk has locks
        fcntl.flock(file, fcntl.LOCK_EX)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed writers: those that nobody has locked."""
    if not fcntl:
        return
    name = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{8}" + re.escape(path.suffix))
    for each in path.parent.iterdir():
        if not name.fullmatch(each.name):
            continue
        with suppress(OSError), each.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime > YOUNG_SECONDS:
                each.unlink()


def unread(error: Exception) -> str:
    """Why a file could not be opened or read, in a few words without its path."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return first_line(error)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as JSON, atomically; NaN is refused."""
    with atomic(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, default=str) + "\n"
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: missing, unreadable or no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        raise _damaged(path, "no JSON", unread(error)) from None
    if not isinstance(content, dict):
        raise _damaged(path, "no JSON object", f"it holds a {type(content).__name__}")
    return content


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as parquet, atomically."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a parquet table.

    Raises:
        InputError: missing or unreadable.
    """
    import pandas as pd  # takes longer than the rest of `lib.params`, which every command imports

    if not Path(path).exists():
        raise _missing(path)
    if Path(path).is_dir():  # which pandas takes for a table in parts
        raise _damaged(path, "no parquet table", "it is a folder")
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises several kinds
        raise _damaged(path, "no parquet table", unread(error)) from error


def _missing(path: Path) -> InputError:
    return InputError(f"{path} is missing: run the step that writes it first.")


def _damaged(path: Path, what: str, why: str) -> InputError:
    return InputError(
        f"{path} is {what} ({why}): move it away and run the step that writes it again."
    )


def shown(path: Path) -> Path:
    """A path as a message has it: from the project on, or whole where it lies elsewhere."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def md5(path: Path) -> str:
    """MD5 of a file, as MedMNIST publishes it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(content: Any) -> str:
    """Short hash of a JSON-like value; keys checkpoints to the settings that made them."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
