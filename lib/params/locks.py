"""Locks among processes. The system takes them from a process that dies, so none is ever stale."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from lib.params.errors import InputError
from lib.params.files import writable

_HELD: dict[Path, TextIO] = {}  # open files of this process


class Lock:
    """A lock that this process takes and keeps until it releases it or ends.

    A process that has it already, such as a notebook whose first cell runs again, takes it over.
    Without effect where the file system or the system has no locks.

    Args:
        path: file that says who has the lock, and stays.
        what: what is locked, for the message.
        wait: for the other process instead of refusing.

    Raises:
        InputError: another process has it, or its file cannot be written.
    """

    def __init__(self, path: Path, what: str, wait: bool = False) -> None:
        self.path = path
        if fcntl is None or path in _HELD:
            return
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            used = f"{what} is in use by {file.read(1000).strip() or 'another process'}"
            if not wait:
                file.close()
                raise InputError(f"{used}: wait until it finishes, or stop it.") from None
            print(f"{used}: waiting.", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            return
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.truncate(0)
        print(f"process {os.getpid()} on {platform.node()} since {since}", file=file, flush=True)
        _HELD[path] = file

    def release(self) -> None:
        """Let others have it."""
        if file := _HELD.pop(self.path, None):
            file.truncate(0)
            file.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone in a folder among all processes that ask; without effect where there is no flock."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)  # which unlocks
