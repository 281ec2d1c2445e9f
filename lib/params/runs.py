"""Run folders: what made each result, where, and from which data.

The layout and the columns are a contract with the book and with outside checkers; they are
described on the book's page "Run folder".
"""

import os
import platform
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lib.params.errors import InputError
from lib.params.files import ROOT, atomic, fingerprint, read_json, visible, writable, write_json
from lib.params.loading import load
from lib.params.locks import Lock, locked
from lib.params.parameters import PLACES, Parameters, step_fields
from lib.params.stages import AFTER, LASTING, STEPS, VERSIONS, WRITES

PACKAGES = ("torch", "torchvision", "medmnist", "numpy", "scikit-image", "piq", "papermill")


def training(path: Path) -> str:
    """Name of one training: a hash of its history, times included.

    ``path`` is that of ``classifier.json`` or ``<denoiser>.json``; errors are those of `read_json`.
    """
    about = read_json(path)
    return fingerprint(about["history"] or about["weights_md5"])  # own weights have no history


def commit() -> str:
    """Git commit of the project, ``+`` appended when files are changed.

    Empty where the project is no checkout of its own, such as an archive that was unpacked inside
    another repository, and where there is no git.
    """
    # Variables that a hook or a script of another repository has set.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # git refuses a checkout that another user owns, as in a container, unless it is told to trust.
    git = ["git", "-c", f"safe.directory={ROOT}"]

    def ask(*words: str) -> str:
        done = subprocess.run(
            [*git, *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=True, env=clean
        )
        return done.stdout.rstrip("\n")

    try:
        if not os.path.samefile(ask("rev-parse", "--show-toplevel"), ROOT):
            return ""
        return ask("describe", "--always", "--dirty=+", "--abbrev=12")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str:
    """Of an installed package; '' of one that is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and the GPU if it was used, without the machine's name."""
    import torch

    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    found = re.search(r"^model name\s*: *(.*\S)", text, re.MULTILINE)
    return {
        "processor": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_initialized() else None,
    }


def reuse(p: Parameters, step: str, data: dict[str, Any]) -> None:
    """Copy what the protocol's own run has finished into a run with other values.

    A run with another attack needs no other classifier. Copied are results of ``step``, and of the
    steps before it, whose version, values and inputs are the same; files that are there stay.
    """
    if not p.changed:
        return
    own = load(p.protocol, p.dataset, p.classifier, runs=p.runs)
    same: set[str] = set()
    for each in (*AFTER.get(step, ()), step):
        if each not in LASTING or not same.issuperset(AFTER.get(each, ())):
            continue
        source, target = _place(own, each), _place(p, each)
        made = _made(source, each)
        if not made or _unlike(made, p, each, data):
            continue
        same.add(each)
        files = {file for pattern in LASTING[each][1:] for file in visible(source, pattern)}
        # Descriptions come last, because they vouch for the weights.
        for file in sorted(files, key=lambda file: file.suffix, reverse=True):
            copy = target / file.relative_to(source)
            if not (copy.exists() or file.name == "run.json"):
                with atomic(copy) as temporary:
                    shutil.copyfile(file, temporary)


def lock_file(p: Parameters, *names: str) -> Path:
    """Where a run's lock lies, or that of a step in one of its folders."""
    return ROOT / p.runs / ".locks" / "-".join((p.run_name, *names))


def check_inputs(p: Parameters, step: str, data: dict[str, Any]) -> None:
    """Refuse results of other values or other images than those of the step that reads them.

    Raises:
        InputError: a step before it has run with other values, another version or other images.
    """
    for each in AFTER.get(step, ()):
        folder = _place(p, each)
        made = _made(folder, each)
        if made and (unlike := _unlike(made, p, each, data)):
            raise InputError(
                f"{folder} holds results of the step {each} with {unlike}: run that step again "
                "with the same values as this one."
            )


def _place(p: Parameters, step: str) -> Path:
    """Folder of a step's lasting results."""
    below = LASTING[step][0].format(dataset=p.dataset, classifier=p.classifier)
    return p.protocol_folder / below


def _made(folder: Path, step: str) -> dict[str, Any] | None:
    """The entry of a step in the ``run.json`` of its folder."""
    about = folder / "run.json"
    return read_json(about).get("steps", {}).get(step) if about.exists() else None


def _unlike(made: dict[str, Any], p: Parameters, step: str, data: dict[str, Any]) -> str:
    """What tells an entry of ``run.json`` from a step with these parameters; '' for nothing."""
    if made.get("version") != VERSIONS[step]:
        return f"version {made.get('version')} of it, not {VERSIONS[step]}"
    if made["data"].get("md5") != data.get("md5"):
        return "other images"
    given = load(p.protocol, p.dataset, p.classifier, **p.changed)
    for name, value in p.of_step(step).items():
        # Each machine settles by itself what "auto" stands for.
        if name in PLACES or getattr(given, name) == "auto":
            continue
        if (before := _value(made, name)) != value:
            return f"{name}={before}, not {value}"
    return ""


def _value(made: dict[str, Any], name: str) -> Any:
    """A parameter of an entry of ``run.json``; one that was added since then had its default."""
    return made["parameters"].get(name, Parameters.model_fields[name].default)


class Run:
    """One step at work in one folder; `finish` writes its part of ``run.json``.

    ``data`` is ``{"npz", "source", "md5"}`` of the data set, or of several by name.

    Raises:
        InputError: another process runs the step in this folder, or as `check_inputs`.
    """

    def __init__(
        self, folder: Path, step: str, parameters: Parameters, data: dict[str, Any]
    ) -> None:
        self.folder, self.step, self.parameters, self.data = folder, step, parameters, data
        self.started = time.monotonic()
        with writable(folder / "run.json"):
            folder.mkdir(parents=True, exist_ok=True)
        self.lock = None
        if folder.is_relative_to(parameters.protocol_folder):
            if WRITES[step]:
                parts = folder.relative_to(parameters.protocol_folder).parts
                file = lock_file(parameters, *parts, step)
                self.lock = Lock(file, f"The step {step} in {folder}")
            reuse(parameters, step, data)
            check_inputs(parameters, step, data)

    def finish(self, **extra: Any) -> dict[str, Any]:
        """Write ``run.json``: one entry for each step so far, and the last one at the top level.

        The top level's parameters are those of the whole folder: each value as it was in the step
        that depends on it, for an override may have been given to that step alone.
        """
        record = {
            "step": self.step,
            "version": VERSIONS.get(self.step),
            "parameters": self.parameters.recorded(),
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
                if name in STEPS:  # an older version of the project had others
                    merged |= {field: _value(of, field) for field in step_fields(name)}
            write_json(path, {**record, "parameters": merged, "steps": steps})
        if self.lock:
            self.lock.release()
        return record
