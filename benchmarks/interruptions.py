"""Twenty kills and twenty interrupts of one run on phantoms change nothing that it records.

``python -m benchmarks.interruptions FOLDER`` runs ``make run`` in a clone of this project under
FOLDER: first undisturbed, then with SIGKILL at random moments to all of its processes, then with
SIGINT. Each blow is followed by the same command again. The records of the three must be equal, but
for times. Minutes to an hour, by the machine; exit status 1 if a record differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lib.params import ROOT
from lib.params.errors import run_command
from lib.params.files import md5, read_json, read_table
from lib.params.runs import training

SETTINGS = (
    "DATASET=oct", "CLASSIFIER=resnet50", "data_phantom_images=100", "classifier_epochs=3",
    "attack_pixels=[1]", "attack_population=8", "attack_generations=3", "denoiser_names=[dae]",
    "restoration_patch_denoisers=[]",
)  # fmt: skip
# Of an execution, not of a result; checkpoints are gone when a step has finished.
TIMES = {
    "seconds", "seconds_certify", "wall_seconds", "images_per_second", "finished", "minutes",
    "computed_per_second", "candidates_per_second", "evaluations_per_second",
}  # fmt: skip


def clone(folder: Path, name: str = "Größe & Maß (2026)") -> Path:
    """A clone of the project in a folder, whose name needs quoting, with this environment."""
    project = folder / name
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for name in ("pyproject.toml", "requirements.lock"):  # older than the environment
        os.utime(project / name, (0, 0))
    return project


def start(project: Path, runs: str, settings: tuple[str, ...] = SETTINGS) -> subprocess.Popen:
    """``make run`` as the leader of a group of processes."""
    log = (project / f"{runs}.log").open("ab")
    command = ["make", "run", *settings, f"runs={runs}"]
    return subprocess.Popen(command, cwd=project, stdout=log, stderr=log, start_new_session=True)


def finish(project: Path, runs: str, settings: tuple[str, ...] = SETTINGS) -> float:
    """Run to the end; seconds.

    Raises:
        SystemExit: the run failed.
    """
    began = time.monotonic()
    if start(project, runs, settings).wait():
        log = (project / f"{runs}.log").read_text(encoding="utf-8", errors="replace")
        sys.exit("\n".join(log.splitlines()[-20:]))
    return time.monotonic() - began


def disturbed(project: Path, runs: str, number: int, blows: int, longest: float) -> list[int]:
    """Run with blows at random moments, then to the end.

    ``blows`` of the signal ``number`` hit a living run; where one has finished before, a new one
    begins. ``longest`` is how many seconds a run is left alone at most.

    Returns:
        How many notebooks had finished at each blow.
    """
    draw, hit = random.Random(int(number)), []
    while len(hit) < blows:
        process = start(project, runs)
        try:
            process.wait(draw.uniform(0, longest))
        except subprocess.TimeoutExpired:
            hit.append(len(pages(project / runs)))
            os.killpg(process.pid, number)
            process.wait()
            print(f"{signal.Signals(number).name} {len(hit)}: {hit[-1]} pages", flush=True)
        else:  # finished: the blows that are left are for a run from its beginning
            (project / runs).rename(project / f"{runs}-{time.monotonic_ns()}")
    finish(project, runs)
    return hit


def pages(folder: Path) -> list[Path]:
    """Executed notebooks of a run."""
    return [path for path in folder.rglob("*.ipynb") if ".partial" not in path.name]


def content(path: Path, trainings: dict[str, str]) -> Any:
    """What a file records, less what an execution alone decides.

    ``trainings`` names networks by the ids of their trainings, which are hashes over times.
    """
    if path.suffix == ".json":
        found = read_json(path)
        # Steps may finish in another order, and the top level is the last one's.
        return _without_times(found.get("steps", found), trainings)
    if path.suffix == ".parquet":
        table = read_table(path)
        return table[[name for name in table if name not in TIMES]].to_json()
    return md5(path) if path.suffix == ".safetensors" else path.suffix


def _without_times(value: Any, trainings: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_times(each, trainings)
            for name, each in value.items()
            if name not in TIMES and name not in ("runs", "attack_shards")
        }
    if isinstance(value, list):
        return [_without_times(each, trainings) for each in value]
    return trainings.get(value, value) if isinstance(value, str) else value


def contents(folder: Path) -> dict[Path, Any]:
    """`content` of all files of a run but hidden ones, by their place."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if "/." not in str(path.relative_to(folder.parent))]
    trained = [path for path in files if path.suffix == ".json" and "history" in read_json(path)]
    trainings = {training(path): path.stem for path in trained}
    return {path.relative_to(folder): content(path, trainings) for path in files}


def differences(folder: Path, other: Path) -> list[str]:
    """Records of two runs that differ, or that only one of them has."""
    one, two = contents(folder), contents(other)
    missing = [f"{name} is in one of them only" for name in sorted(one.keys() ^ two.keys())]
    common = sorted(one.keys() & two.keys())
    return missing + [f"{name} differs" for name in common if one[name] != two[name]]


def main(words: list[str]) -> int:
    """The command line; 1 if a record differs, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interruptions", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty one, for the clone")
    parser.add_argument("--blows", type=int, default=20, help="of each signal")
    parser.add_argument("--longest", type=float, help="seconds a run is left alone at most")
    given = parser.parse_args(words)
    # A shell without a terminal has commands in the background ignore it, and theirs too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    project = clone(given.folder)
    seconds = finish(project, "undisturbed")
    print(f"undisturbed: {seconds:.0f} s, {len(pages(project / 'undisturbed'))} pages", flush=True)
    found = []
    for name, number in (("killed", signal.SIGKILL), ("interrupted", signal.SIGINT)):
        hit = disturbed(project, name, number, given.blows, given.longest or seconds / 3)
        wrong = differences(project / "undisturbed", project / name)
        print(f"{name} {len(hit)} times: {'; '.join(wrong) or 'records are identical'}", flush=True)
        found += wrong
    return int(bool(found))


if __name__ == "__main__":
    run_command(main)
