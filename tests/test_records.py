"""Run folders: writes are whole or absent, records carry where they came from."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused

from lib import params
from lib.data import phantoms
from lib.models.training import save_checkpoint
from lib.models.weights import save_weights
from lib.params import files, runs
from lib.params.files import visible
from lib.params.locks import Lock


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"x": float("nan")})
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import sys, time; from pathlib import Path; from lib.params.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=params.ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"


WRITERS = {
    "a.safetensors": lambda path: save_weights(torch.nn.Linear(100, 100), path),
    "a.parquet": lambda path: files.write_table(path, pd.DataFrame({"a": np.random.rand(5000)})),
    "a.json": lambda path: files.write_json(path, {"a": "x" * 50_000}),
    "dermamnist.npz": lambda path: phantoms.write("derma", 28, 80, 0, path.parent),
    "c.safetensors": lambda path: save_checkpoint(
        path, "key", (net := torch.nn.Linear(100, 100)), torch.optim.SGD(net.parameters()), None, []
    ),
    "a.png": lambda path: plotted(path),
}


def plotted(path):
    figure = plt.figure(figsize=(20, 20))
    figure.gca().imshow(np.random.rand(200, 200))
    with files.atomic(path) as temporary:
        figure.savefig(temporary)
    plt.close(figure)


@pytest.fixture
def no_room():
    """Files above 10 kB cannot be written, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_alike_whatever_is_written(tmp_path, no_room, name):
    path = tmp_path / name
    path.write_text("old")
    with refused(path, os.strerror(errno.EFBIG)):
        WRITERS[name](path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ELOOP]
)
def test_other_reasons_are_told_in_the_same_sentence(tmp_path, number):
    path = tmp_path / "a.json"
    with refused(path, os.strerror(number)), files.atomic(path):
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())
    with pytest.raises(PermissionError), files.atomic(path):  # of a file that is read meanwhile
        raise PermissionError(errno.EACCES, "no", "/somewhere/else")
    with pytest.raises(FileNotFoundError), files.atomic(path):
        (tmp_path / "missing").read_text()


@pytest.mark.parametrize("name", WRITERS)
def test_a_place_that_holds_something_else_is_told_too(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with refused("file"):
        WRITERS[name](tmp_path / "file" / name)
    (tmp_path / name).mkdir()
    with refused(name):
        WRITERS[name](tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a file system that makes no folders")
def test_a_folder_that_cannot_be_made_is_told_too():
    for name, write in WRITERS.items():
        with refused(f"/proc/x/{name}"):
            write(Path("/proc/x") / name)
    with refused("/proc/x"):
        Lock(Path("/proc/x/lock"), "it")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_get_the_users_umask(tmp_path, name, mask):
    path, before = tmp_path / name, os.umask(mask)
    try:
        for _ in range(2):  # also when it replaces one
            WRITERS[name](path)
            assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    finally:
        os.umask(before)


def test_what_a_killed_writer_left_is_removed_and_a_living_one_keeps_its_own(tmp_path):
    path = tmp_path / "a.json"
    left = tmp_path / ".a.json.0123abcd.json"
    others = tmp_path / ".b.json.0123abcd.json", tmp_path / ".a.json.mine.json"
    for each in (left, *others):
        each.write_text("half")
        os.utime(each, (0, 0))
    with files.atomic(path) as first:
        os.utime(first, (0, 0))
        with files.atomic(path) as second:
            second.write_text("second")
        first.write_text("first")
    assert path.read_text() == "first" and not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


@pytest.mark.parametrize("content", [None, b"", b"{", b"PAR1", b"[1]", b"\xff\xfe{", "folder"])
def test_unreadable_files_are_named(tmp_path, content):
    for name, read in (("a.json", files.read_json), ("a.parquet", files.read_table)):
        path = tmp_path / name
        if content == "folder":
            path.mkdir()
        elif content is not None:
            path.write_bytes(content)
        with refused(path):
            read(path)


def test_tables_keep_lists(tmp_path):
    table = pd.DataFrame({"rows": [[1, 2], [3]], "values": [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0]]]})
    files.write_table(tmp_path / "t.parquet", table)
    back = files.read_table(tmp_path / "t.parquet")
    assert [list(map(list, values)) for values in back["values"]] == table["values"].tolist()
    assert [list(rows) for rows in back["rows"]] == table["rows"].tolist()


def test_fingerprint_depends_on_content_not_on_order():
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})


def test_run_json_holds_the_contract_and_all_steps(tmp_path):
    data = {"npz": "dermamnist.npz", "source": "phantom", "md5": "0" * 32}
    p = params.load(seed=4)
    runs.Run(tmp_path, "classifier", p, data).finish()
    time.sleep(0.01)
    more = params.load(seed=4, attack_population=9)
    runs.Run(tmp_path, "pixel_attack", more, data).finish(attacks=3)
    runs.Run(tmp_path, "restoration", p, data).finish()
    record = files.read_json(tmp_path / "run.json")
    assert record["step"] == "restoration"
    assert list(record["steps"]) == ["classifier", "pixel_attack", "restoration"]
    assert record["steps"]["pixel_attack"]["attacks"] == 3
    assert record["steps"]["pixel_attack"]["parameters"] == more.model_dump()
    assert record["steps"]["restoration"]["parameters"] == p.model_dump()
    assert record["parameters"] == more.model_dump()  # the override of one step is the folder's
    for entry in (record, *record["steps"].values()):
        assert entry["seed"] == 4
        assert entry["data"] == data and entry["wall_seconds"] >= 0
        assert entry["versions"]["torch"] and entry["hardware"]["cores"]
        assert "commit" in entry and "finished" in entry


def test_a_step_that_is_no_more_stays_in_the_record(tmp_path):
    p = params.load()
    runs.Run(tmp_path, "classifier", p, {}).finish()
    record = files.read_json(tmp_path / "run.json")
    record["steps"]["adaptive"] = {"parameters": {"adaptive_images": 5}}
    files.write_json(tmp_path / "run.json", record)
    runs.Run(tmp_path, "pixel_attack", p, {}).finish()
    record = files.read_json(tmp_path / "run.json")
    assert list(record["steps"]) == ["classifier", "adaptive", "pixel_attack"]
    assert record["parameters"] == p.model_dump()


def test_steps_that_finish_together_are_all_recorded(tmp_path, monkeypatch):
    p, read = params.load("demo"), files.read_json

    def slow(path):
        found = read(path)
        time.sleep(0.1)  # long enough for the others to read the same
        return found

    monkeypatch.setattr(runs, "read_json", slow)
    steps = ["classifier", "pixel_attack", "vulnerability", "restoration"]
    found = [runs.Run(tmp_path, step, p, {}) for step in steps]
    found[0].finish()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda run: run.finish(), found[1:]))
    assert set(read(tmp_path / "run.json")["steps"]) == set(steps)


@pytest.fixture
def finished(tmp_path):
    """Folder of the run folders, with a finished classifier, attack and denoiser of the demo."""
    p = params.load("demo", "oct", runs=str(tmp_path))
    for step, folder, names in (
        ("classifier", p.run_folder, ("classifier.safetensors", "classifier.json")),
        ("pixel_attack", p.run_folder, ("one_pixel.parquet", "two_pixel.parquet")),
        ("denoisers", p.dataset_folder / "denoisers", ("dae.safetensors", "dae.json")),
    ):
        run = runs.Run(folder, step, p, {})
        for name in names:
            (folder / name).write_text("of the protocol")
        (folder / ".dae-0123.safetensors").write_text("unfinished")
        run.finish()
    return tmp_path


def begun(finished, step, **changes):
    """Files below the folder of a run with changed values when a step has begun there."""
    p = params.load("demo", "oct", runs=str(finished), **changes)
    runs.Run(p.run_folder, step, p, {})
    return {path.name for path in p.protocol_folder.rglob("*") if path.is_file()}


CLASSIFIER = {"classifier.safetensors", "classifier.json"}
ATTACKED = CLASSIFIER | {"one_pixel.parquet", "two_pixel.parquet"}


@pytest.mark.parametrize(
    ("step", "changes", "expected"),
    [
        ("pixel_attack", {"attack_generations": 2}, CLASSIFIER),
        ("classifier", {"attack_generations": 2}, CLASSIFIER),
        ("classifier", {"classifier_epochs": 9}, set()),
        ("pixel_attack", {"classifier_epochs": 9}, set()),
        ("restoration", {"bootstrap_samples": 9}, ATTACKED | {"dae.safetensors", "dae.json"}),
        ("restoration", {"denoiser_epochs": 9}, ATTACKED),
        ("restoration", {"seed": 1}, set()),
        ("restoration", {"data_phantom_images": 90}, set()),
    ],
)
def test_a_changed_run_reuses_what_its_changes_do_not_touch(finished, step, changes, expected):
    assert begun(finished, step, **changes) == expected


def test_files_of_a_changed_run_are_its_own(finished):
    begun(finished, "pixel_attack", attack_generations=2)
    p = params.load("demo", "oct", runs=str(finished), attack_generations=2)
    (p.run_folder / "classifier.json").write_text("its own")
    begun(finished, "pixel_attack", attack_generations=2)
    assert (p.run_folder / "classifier.json").read_text() == "its own"
    own = params.load("demo", "oct", runs=str(finished))
    assert (own.run_folder / "classifier.json").read_text() == "of the protocol"


def test_results_on_other_images_or_of_an_older_version_are_not_reused(finished, monkeypatch):
    p = params.load("demo", "oct", runs=str(finished), attack_generations=2)
    runs.Run(p.run_folder, "pixel_attack", p, {"md5": "another"})
    assert not list(p.run_folder.iterdir())
    monkeypatch.setitem(params.VERSIONS, "classifier", 2)
    runs.Run(p.run_folder, "pixel_attack", p, {})
    assert not list(p.run_folder.iterdir())


def test_a_run_without_changes_copies_nothing(finished):
    def files():
        return {path: path.read_bytes() for path in visible(finished, "**/*") if path.is_file()}

    before = files()
    begun(finished, "restoration", device="cpu", attack_batch=3)
    assert before == files()
