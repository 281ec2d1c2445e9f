"""Run folders: what made each result, where, and from which data.

The layout and the columns are a contract with the book and with outside checkers; they are
described on the book's page "Run folder".
"""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from lib.params.files import fingerprint, md5, read_json, write_json
from lib.params.parameters import ROOT, Parameters, step_fields

PACKAGES = ("torch", "torchvision", "medmnist", "numpy", "scikit-image", "piq", "papermill")


def training(path: Path) -> str:
    """Short name of one training of a network: a hash over its history, times included.

    Args:
        path: ``classifier.json`` or ``<denoiser>.json``, in a run folder or in the record.

    Raises:
        InputError: missing or not JSON.
    """
    return fingerprint(read_json(path)["history"])


def code(*paths: str) -> str:
    """Hash over files or folders of lib, so that results of changed code are not taken over."""
    files = [f for path in paths for f in ([ROOT / path, *sorted((ROOT / path).rglob("*.py"))])]
    return fingerprint([md5(file) for file in files if file.is_file()])


def commit() -> str:
    """Git commit of the project, ``+`` appended when files are changed; '' outside a checkout."""
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip()


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and the GPU if it was used, without the machine's name."""
    import torch

    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    gigabytes = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gigabytes = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_initialized() else None
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": gigabytes,
        "gpu": gpu,
    }


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone in a folder among all processes that ask; without effect where there is no flock."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)  # which unlocks


class Run:
    """One step at work in one folder; writes its part of ``run.json`` when it is finished.

    Args:
        folder: the run folder.
        step: name of the notebook.
        parameters: the merged parameters.
        data: ``{"npz", "source", "md5"}`` of the data set, or of several by name.
    """

    def __init__(
        self, folder: Path, step: str, parameters: Parameters, data: dict[str, Any]
    ) -> None:
        self.folder, self.step, self.parameters, self.data = folder, step, parameters, data
        self.started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def finish(self, **extra: Any) -> dict[str, Any]:
        """Write ``run.json``: one entry for each step so far, and the last one at the top level.

        The top level's parameters are those of the whole folder: each value as it was in the step
        that depends on it, for an override may have been given to that step alone.
        """
        record = {
            "step": self.step,
            "parameters": self.parameters.model_dump(),
            "seed": self.parameters.seed,
            "data": self.data,
            "commit": commit(),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in PACKAGES},
            "hardware": hardware(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(time.monotonic() - self.started, 2),
            **extra,
        }
        path = self.folder / "run.json"
        with locked(self.folder):  # steps of one folder may finish at the same time
            steps = read_json(path).get("steps", {}) if path.exists() else {}
            steps = {name: steps[name] for name in steps if name != self.step} | {self.step: record}
            merged = dict(record["parameters"])
            for name, of in steps.items():
                merged |= {field: of["parameters"][field] for field in step_fields(name)}
            write_json(path, {**record, "parameters": merged, "steps": steps})
        return record
