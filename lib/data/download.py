"""Download of MedMNIST's official files: all or nothing, and never a hang."""

import os
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import medmnist
from medmnist.info import INFO

from lib.params.errors import InputError
from lib.params.files import REMEDIES, writable

PROBE_SECONDS = 15  # for the host's first answer, name look-up included
STALL_SECONDS = 20  # without a byte, then a download is given up; torchvision tries twice


def fetch(flag: str, path: Path, size: int) -> None:
    """Download the official npz file through the medmnist package, which checks its MD5.

    It appears at ``path`` whole or not at all.

    Raises:
        InputError: no answer in `PROBE_SECONDS`, a stall, a wrong MD5 or a full disk.
    """
    url = INFO[flag]["url" if size == 28 else f"url_{size}"]
    failed = (
        f"{path.name} could not be downloaded from {url} ({{}}): check the network, or put the "
        f"file into {path.parent} by hand, rebuild it or use phantoms."
    )
    if problem := unreachable(url):
        raise InputError(failed.format(problem))
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with stalls(), tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            reader = getattr(medmnist, INFO[flag]["python_class"])
            reader(split="test", root=folder, size=size, download=True)
            os.replace(Path(folder) / path.name, path)
    except (RuntimeError, OSError) as error:
        cause = error.__context__ or error  # medmnist turns everything into RuntimeError, ...
        if isinstance(cause, KeyboardInterrupt):  # ... Ctrl-C too
            raise cause from None
        with writable(path):  # a full disk is no matter of the network
            if isinstance(cause, OSError) and cause.errno in REMEDIES:
                raise cause from None
        raise InputError(failed.format(cause)) from error


@contextmanager
def stalls() -> Iterator[None]:
    """Give up downloads that stand still; medmnist and torchvision take no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def unreachable(url: str) -> str:
    """Why a URL does not answer in `PROBE_SECONDS`; empty if it does.

    The request runs in a thread of its own, because a name look-up cannot be given a timeout. It
    goes through the proxy that the environment names, as the download will.
    """
    answer: list[str] = []

    def ask() -> None:
        try:
            # As torchvision will ask: some hosts refuse Python's own name.
            request = urllib.request.Request(url, headers={"User-Agent": "pytorch/vision"})
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answer.append("")
        except Exception as error:  # whatever it is, it is the answer
            answer.append(str(error) or type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0] if answer else f"no answer within {PROBE_SECONDS} seconds"
