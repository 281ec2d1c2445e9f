"""Two processes at one run; results that are not of one run; where a commit is from."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused

from lib import params
from lib.params import runs
from lib.params.files import read_json, write_json
from lib.params.locks import Lock, locked

HOLDER = """
import sys, time
from pathlib import Path
from lib import params
from lib.params.locks import Lock
from lib.params.runs import Run
{}
print("held", flush=True)
time.sleep(60)
"""


def started(code, place, **streams):
    """Another process that takes a lock, says so and keeps it."""
    command = [sys.executable, "-c", HOLDER.format(code), str(place)]
    return subprocess.Popen(command, cwd=params.ROOT, stdout=subprocess.PIPE, **streams)


@pytest.fixture
def other(tmp_path):
    """Another process that has the lock of a file."""
    path = tmp_path / "lock"
    process = started("lock = Lock(Path(sys.argv[1]), 'it')", path)
    assert process.stdout.readline() == b"held\n"
    yield path, process
    process.kill()
    process.wait()


def test_what_another_process_has_is_refused_by_its_name_until_it_dies(other):
    path, process = other
    with refused(process.pid):
        Lock(path, "The run")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    Lock(path, "The run").release()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_refused_by_its_name(tmp_path, monkeypatch, error):
    path = tmp_path / "runs" / ".locks" / "demo"

    def fails(self, *_, **__):
        raise OSError(error, os.strerror(error), str(self))

    monkeypatch.setattr(Path, "mkdir", fails)
    with refused(path):
        Lock(path, "The run")
    assert not any(tmp_path.iterdir())


def test_a_file_system_without_locks_stops_no_run(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    Lock(tmp_path / "a", "The run").release()
    with locked(tmp_path):
        pass


def test_a_process_waits_where_it_is_told_to(other):
    path, process = other
    code = "lock = Lock(Path(sys.argv[1]), 'it', wait=True)"
    waiting = started(code, path, stderr=subprocess.PIPE)
    assert str(process.pid).encode() in waiting.stderr.readline()
    process.kill()
    assert waiting.stdout.readline() == b"held\n"
    waiting.kill()
    waiting.wait()


def test_a_lock_can_be_taken_again_by_its_own_process_and_after_its_release(tmp_path):
    first, second = Lock(tmp_path / "a", "it"), Lock(tmp_path / "a", "it")
    first.release(), second.release()
    Lock(tmp_path / "a", "it").release()


DATA = {"npz": "octmnist.npz", "source": "phantom", "md5": "0" * 32}


def of(place, **given):
    return params.load("demo", "oct", runs=str(place), **given)


def test_a_step_that_is_at_work_in_a_folder_is_not_begun_again(tmp_path):
    p = of(tmp_path)
    code = (
        "p = params.load('demo', 'oct', runs=sys.argv[1])\n"
        "run = Run(p.run_folder, 'classifier', p, {})"
    )
    process = started(code, tmp_path)
    assert process.stdout.readline() == b"held\n"
    with refused(process.pid):
        runs.Run(p.run_folder, "classifier", p, DATA)
    # What is not in the way of one another.
    runs.Run(p.run_folder.with_name("densenet121"), "classifier", p, DATA).finish()
    other = of(tmp_path, seed=1)
    runs.Run(other.run_folder, "classifier", other, DATA).finish()
    process.kill()
    process.wait()
    runs.Run(p.run_folder, "classifier", p, DATA).finish()


@pytest.mark.parametrize(
    ("change", "data"),
    [({"classifier_epochs": 9}, DATA), ({"seed": 3}, DATA), ({}, DATA | {"md5": "1" * 32})],
)
def test_results_of_unlike_runs_never_meet(tmp_path, change, data):
    p = of(tmp_path)
    runs.Run(p.run_folder, "classifier", p.model_copy(update=change), data).finish()
    with refused("classifier"):
        runs.Run(p.run_folder, "pixel_attack", p, DATA)
    runs.Run(p.run_folder, "classifier", p, DATA).finish()
    runs.Run(p.run_folder, "pixel_attack", p, DATA).finish()


@pytest.mark.parametrize("value", [0, 7])
def test_a_parameter_added_since_had_its_default(tmp_path, value):
    p = of(tmp_path, classifier_masking=value)
    runs.Run(p.run_folder, "classifier", p, DATA).finish()
    about = read_json(p.run_folder / "run.json")
    del about["steps"]["classifier"]["parameters"]["classifier_masking"]
    write_json(p.run_folder / "run.json", about)
    if value:
        with refused("classifier_masking"):
            runs.Run(p.run_folder, "pixel_attack", p, DATA)
        return
    made = runs.Run(p.run_folder, "pixel_attack", p, DATA).finish()
    assert made["step"] == "pixel_attack"
    assert read_json(p.run_folder / "run.json")["parameters"]["classifier_masking"] == 0


def test_results_of_another_version_or_place_of_work(tmp_path, monkeypatch):
    p = of(tmp_path)
    runs.Run(p.run_folder, "classifier", p.model_copy(update={"device": "cuda"}), DATA).finish()
    runs.Run(p.run_folder, "pixel_attack", p, DATA).finish()  # a place of work changes no result
    monkeypatch.setitem(params.VERSIONS, "classifier", 99)
    with refused("99"):
        runs.Run(p.run_folder, "pixel_attack", p, DATA)


def test_machines_may_settle_auto_in_their_own_ways(tmp_path):
    p = params.load("compact", "oct", runs=str(tmp_path))
    ours, theirs = (
        p.model_copy(update={"classifier_precision": name}) for name in ("float32", "bfloat16")
    )
    runs.Run(p.run_folder, "classifier", theirs, DATA).finish()
    runs.Run(p.run_folder, "pixel_attack", ours, DATA).finish()


@pytest.fixture
def repository(tmp_path, monkeypatch, git):
    """A repository with one commit, whose root counts as the project."""
    folder = tmp_path / "Größe & Maß (2026)"
    folder.mkdir()
    (folder / "file").write_text("1")
    git(folder, "init", "-q")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "one")
    monkeypatch.setattr(runs, "ROOT", folder)
    return folder


def test_the_commit_is_the_projects_own(repository, tmp_path, monkeypatch, git):
    own = runs.commit()
    assert own and not own.endswith("+")
    (repository / "file").write_text("2")
    assert runs.commit() == f"{own}+"
    git(repository, "checkout", "-q", "file")
    # Variables that a hook of another repository has set.
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert runs.commit() == own
    monkeypatch.delenv("GIT_DIR"), monkeypatch.delenv("GIT_WORK_TREE")
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    monkeypatch.setattr(runs, "ROOT", tmp_path / "tree")
    assert runs.commit() == own


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs another owner's files")
def test_the_commit_of_a_checkout_that_another_user_owns(repository):
    own = runs.commit()
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)
    assert runs.commit() == own


def test_an_archive_within_another_repository_has_no_commit(repository, monkeypatch, git):
    inner = repository / "unpacked"
    inner.mkdir()
    (inner / "lib.py").write_text("")
    monkeypatch.setattr(runs, "ROOT", inner)
    assert runs.commit() == ""
    git(repository, "add", "unpacked")
    git(repository, "commit", "-qm", "two")
    assert runs.commit() == ""


def test_without_git_there_is_no_commit(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None and runs.commit() == ""
