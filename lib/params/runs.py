"""Run folders: what made each result, where, and from which data.

The layout and the columns are a contract with the book and with outside checkers; they are
described on the book's page "Run folder".
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from lib.params.files import ROOT, atomic, fingerprint, read_json, write_json
from lib.params.parameters import PLACES, Parameters, load, step_fields
from lib.params.stages import AFTER, LASTING, VERSIONS

PACKAGES = ("torch", "torchvision", "medmnist", "numpy", "scikit-image", "piq", "papermill")


def training(path: Path) -> str:
    """Short name of one training of a network: a hash over its history, times included.

    Args:
        path: ``classifier.json`` or ``<denoiser>.json``, in a run folder or in the record.

    Raises:
        InputError: missing or not JSON.
    """
    return fingerprint(read_json(path)["history"])


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


def _version(package: str) -> str:
    """Of an installed package; '' of one that is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


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


def reuse(p: Parameters, step: str, data: dict[str, Any]) -> None:
    """Copy what the protocol's own run has finished into a run with other values.

    A run with another attack needs no other classifier. Copied are results of ``step``, and of the
    steps before it, whose version, values and inputs are the same; files that are there stay.

    Args:
        p: parameters; without changed values nothing is done.
        step: the step that begins.
        data: where its images are from, as for `Run`.
    """
    if not p.changed:
        return
    own = load(p.protocol, p.dataset, p.classifier, runs=p.runs)
    same: set[str] = set()
    for each in (*AFTER.get(step, ()), step):
        if each not in LASTING or not same.issuperset(AFTER.get(each, ())):
            continue
        place, *patterns = LASTING[each]
        place = place.format(dataset=p.dataset, classifier=p.classifier)
        source, target = own.protocol_folder / place, p.protocol_folder / place
        about = source / "run.json"
        made = read_json(about)["steps"].get(each) if about.exists() else None
        wanted = {name: value for name, value in p.of_step(each).items() if name not in PLACES}
        if (
            not made
            or made.get("version") != VERSIONS[each]
            or made["data"].get("md5") != data.get("md5")
            or wanted != {name: made["parameters"].get(name) for name in wanted}
        ):
            continue
        same.add(each)
        files = {file for pattern in patterns for file in source.glob(pattern)}
        # Descriptions come last, because they vouch for the weights.
        for file in sorted(files, key=lambda file: file.suffix, reverse=True):
            copy = target / file.relative_to(source)
            if not (copy.exists() or file.name == "run.json" or file.name.startswith(".")):
                with atomic(copy) as temporary:
                    shutil.copyfile(file, temporary)


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
        if folder.is_relative_to(parameters.protocol_folder):
            reuse(parameters, step, data)

    def finish(self, **extra: Any) -> dict[str, Any]:
        """Write ``run.json``: one entry for each step so far, and the last one at the top level.

        The top level's parameters are those of the whole folder: each value as it was in the step
        that depends on it, for an override may have been given to that step alone.
        """
        record = {
            "step": self.step,
            "version": VERSIONS.get(self.step),
            "parameters": self.parameters.model_dump(),
            "seed": self.parameters.seed,
            "data": self.data,
            "commit": commit(),
            "versions": {"python": platform.python_version()}
            | {name: found for name in PACKAGES if (found := _version(name))},
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
