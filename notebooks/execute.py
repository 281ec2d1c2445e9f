"""One step: ``python -m notebooks.execute STEP PAGE PARAMETERS`` executes a text notebook.

Snakemake calls it, in a process of its own for each step. papermill executes; the page appears when
all cells have run. Else one line says why not, and the log of the step has the traceback.
"""

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from book.say import say
from lib.params import ROOT
from lib.params.files import atomic

LOGS = ROOT / "build" / "logs"
STARTS = 3  # of a kernel
LONGEST = 500  # characters of a reason; an InputError is told in full


def execute(step: str, page: Path, given: dict[str, Any]) -> None:
    """Execute ``notebooks/<step>.md`` and write it as ``page``; raises what stopped it."""
    # A kernel of the same name in the user's home may be of another Python.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = jupytext.read(ROOT / "notebooks" / f"{step}.md")
    done = _executed(notebook, given)
    with atomic(page) as temporary:
        temporary.write_text(nbformat.writes(done), encoding="utf-8")


def _executed(notebook: NotebookNode, given: dict[str, Any]) -> NotebookNode:
    """The notebook with its outputs.

    A kernel is told free ports, and another program may take one before the kernel does. Then it
    dies before it answers, and is started again.
    """
    run = partial(papermill.execute_notebook, cwd=ROOT, progress_bar=False)
    for _ in range(STARTS - 1):
        try:
            return run(notebook, None, given)
        except RuntimeError as error:
            if "kernel_info" not in str(error):
                raise
    return run(notebook, None, given)


def reason(error: BaseException) -> str:
    """Why a notebook was not executed to its end, in one line."""
    if isinstance(error, DeadKernelError):
        return (
            "its process was killed, as happens when memory runs out: free some memory, or lower "
            "the sizes and batches"
        )
    name, text = type(error).__name__, str(error)
    if isinstance(error, PapermillExecutionError):
        name, text = error.ename, error.evalue
    text = " ".join(str(text).split())
    if name == "MemoryError":
        text = text or "the memory of this machine is full: lower the sizes and batches"
    return f"{name}: {text if name == 'InputError' else text[:LONGEST]}"


def main(step: str, page: str, given: str) -> int:
    """Exit code; 130 after an interruption, which the interrupting process reports."""
    began, stopped = time.monotonic(), []

    def stop(*_: Any) -> None:
        stopped.append(True)
        raise KeyboardInterrupt

    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, stop)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{page.strip('/').replace('/', '-')[-200:]}.log"
    # What kernels and libraries write goes to the log, below Python too.
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    sys.stdout.flush()
    with log.open("w") as file:
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
    try:
        execute(step, Path(page), json.loads(given))
        text, code = f"{page} ({time.monotonic() - began:.0f} s)", 0
    except BaseException as error:
        # An interrupted kernel fails in many ways, none of which is the reason.
        if stopped:
            return 130
        sys.excepthook(type(error), error, error.__traceback__)
        text, code = f"{page} failed: {reason(error).rstrip('.')}, log {log.relative_to(ROOT)}", 1
    sys.stdout.flush()
    os.dup2(screen.fileno(), 1)
    say(text)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
