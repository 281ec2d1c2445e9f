"""Notebooks executed in forks: the same as papermill does, and nothing left behind."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from lib.params import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux only")
CELLS = """\
who = "nobody"
%%%
import os, sys, torch
from tqdm.auto import tqdm
print(who, torch.get_num_threads(), os.getcwd(), os.environ["GIVEN"])
%%%
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
import lib.params
(tqdm.__module__, lib.params.__name__)
"""


def write(path: Path, cells: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells.split("%%%")]
    notebook.cells[0].metadata.tags = ["parameters"]
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)
    return path


def outputs(path: Path) -> list:
    """What a reader sees: texts and kinds of output, without the numbers of this execution."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found.append(output.get("text") or sorted(data) + [data.get("text/plain")])
    return found


def serve(script: str, **environment: str) -> subprocess.Popen:
    """The fork server around a shell script."""
    return subprocess.Popen(
        [sys.executable, "-m", "book.forkserver", "sh", "-c", script], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | environment,
    )  # fmt: skip


@linux
def test_pages_are_those_of_papermill_and_failures_are_told(tmp_path):
    source = write(tmp_path / "in.ipynb", CELLS)
    write(tmp_path / "wrong.ipynb", "who = 1\n%%%\nraise ValueError('not so')")
    given = f"--no-progress-bar --cwd {shlex.quote(str(tmp_path))} -p who somebody"
    script = f"""
        cd {shlex.quote(str(tmp_path))}; export GIVEN=yes OMP_NUM_THREADS=2
        $PAPERMILL in.ipynb warm.ipynb {given} & first=$!
        $PAPERMILL wrong.ipynb warm_wrong.ipynb {given}; echo failed $?
        wait $first; echo done $?
        exit 7
    """
    process = serve(script)
    out, err = process.communicate(timeout=200)
    assert out.splitlines()[-2:] == ["failed 1", "done 0"] and process.returncode == 7, err
    assert "ValueError: not so" in err
    subprocess.run(
        [sys.executable, "-m", "papermill", source, tmp_path / "cold.ipynb", *shlex.split(given)],
        check=True, capture_output=True, cwd=tmp_path,
        env=os.environ | {"GIVEN": "yes", "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    warm, cold = (outputs(tmp_path / f"{name}.ipynb") for name in ("warm", "cold"))
    assert warm[0] == f"somebody 2 {tmp_path} yes\n"
    assert any("image/png" in output for output in warm)
    for page in (warm, cold):  # a figure's number is the same, its size in memory is not
        page[:] = [str(output).split(" at 0x")[0] for output in page]
    assert warm == cold
    failed = nbformat.read(tmp_path / "warm_wrong.ipynb", as_version=4)
    assert "papermill-error-cell-tag" in str(failed.cells[0].metadata)


@linux
def test_a_killed_call_takes_its_kernel_with_it(tmp_path):
    tell = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    write(tmp_path / "in.ipynb", f"who = 1\n%%%\nimport os, time\n{tell}\ntime.sleep(100)")
    script = f"""
        $PAPERMILL {tmp_path}/in.ipynb {tmp_path}/out.ipynb --no-progress-bar & client=$!
        until [ -s {tmp_path}/pid ]; do sleep 0.1; done
        kill -9 $client; sleep 2
    """
    process = serve(script)
    process.communicate(timeout=100)
    kernel = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not Path(f"/proc/{kernel}").exists():
            break
        time.sleep(0.1)
    else:
        os.kill(kernel, signal.SIGKILL)
        pytest.fail("the kernel was still there")
    assert process.returncode == 0
