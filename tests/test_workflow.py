"""make and Snakemake: errors in one sentence, and steps that follow what they depend on."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache

import psutil
import pytest
from conftest import refused
from papermill.exceptions import PapermillExecutionError

import book.make
from lib import params
from notebooks import execute

ROOT = params.ROOT


def make(*words, cwd=ROOT, **environment):
    inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=cwd, capture_output=True, text=True,
        env=inherited | environment,
    )  # fmt: skip


def test_help_lists_every_target():
    result = make("help")
    for target in ("book", "run", "data", "record", "verify", "reproduce", "weights", "archive",
                   "lab", "notebooks", "test", "check", "lint", "clean"):  # fmt: skip
        assert f"\n{target} " in f"\n{result.stdout}", target


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that make reads."""
    for name in ("Makefile", "Snakefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (0, 0))  # or make would install anew
    return tmp_path


def completed(folder):
    """The folder with our code and the environment besides."""
    for name in ("lib", "params", "notebooks", "book", "profiles"):
        ignore = shutil.ignore_patterns("__pycache__", "*.ipynb")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture
def ready(checkout):
    """The same with our code and the environment in place."""
    return completed(checkout)


needs_venv = pytest.mark.skipif(
    not (ROOT / ".venv/bin/snakemake").exists(), reason="the environment .venv is not there"
)


def test_python_too_old_is_said(checkout):
    fake = checkout / "old" / "python3"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "error: Python 3.9 is too old, 3.11 or newer" >&2\nexit 1\n')
    fake.chmod(0o755)
    result = make("book", f"PYTHON={fake}", cwd=checkout)
    assert result.returncode != 0 and "3.11 or newer" in result.stderr + result.stdout
    assert not (checkout / ".venv").exists()
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("sh", "date", "make", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    result = make("book", cwd=checkout, PATH=str(tools))
    assert result.returncode != 0 and "3.11" in result.stdout


def test_no_disk_is_said(checkout):
    fake = checkout / "bin" / "df"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho Filesystem 1024-blocks\necho /dev/x 1 1 1048576 1% /\n")
    fake.chmod(0o755)
    result = make("book", cwd=checkout, PATH=f"{fake.parent}:{os.environ['PATH']}")
    assert result.returncode != 0 and "1 GB" in result.stdout
    assert not (checkout / ".venv").exists()


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Number of jobs that Snakemake would run in a fresh copy, by rule."""
    folder = completed(tmp_path_factory.mktemp("planned"))
    shutil.copy(ROOT / "Snakefile", folder)
    command = [str(ROOT / ".venv/bin/snakemake"), "--cores", "1", "-n", "--nolock"]

    @cache
    def plan(*config):
        result = subprocess.run(
            [*command, *(["--config", *config] if config else [])], cwd=folder,
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(folder)},
        )  # fmt: skip
        text = result.stdout + result.stderr
        assert result.returncode == 0, text[-2000:]
        table = text.split("Job stats:")[-1].splitlines()[3:]
        jobs = dict(line.split() for line in table[: table.index("")])
        return {name: int(count) for name, count in jobs.items()}

    plan.folder = folder
    return plan


ONE = "dataset=oct", "classifier=resnet50"


@needs_venv
def test_the_demo_is_two_data_sets_and_both_classifiers_on_one(planned):
    jobs, compact = planned(), planned("protocol=compact")
    for step in ("classifier", "pixel_attack", "restoration"):
        assert (jobs[step], compact[step]) == (3, 8)
    assert (jobs["datasets"], jobs["denoisers"], jobs["phantoms"]) == (2, 2, 3)
    assert (jobs["ablation"], jobs["comparison"], jobs["engine"]) == (1, 1, 1)
    assert (jobs["forensics"], jobs["attackers"]) == (1, 1)  # of the first run only


@needs_venv
def test_one_run_needs_its_own_steps_only(planned):
    jobs = planned(*ONE)
    one = {name: 1 for name in ("classifier", "pixel_attack", "vulnerability", "restoration",
                                "attackers", "forensics", "datasets", "denoisers",
                                "phantoms")}  # fmt: skip
    assert {name: jobs[name] for name in one} == one
    assert not {"ablation", "comparison", "engine"} & jobs.keys()
    abdomen = planned("dataset=abdomen_ct")
    assert abdomen["ablation"] == 1 and "forensics" not in abdomen
    assert planned("dataset=oct")["forensics"] == 2
    own = planned.folder / "params" / "protocols" / "own.yaml"
    own.write_text("base: demo\noverrides:\n  oct: {denoiser_names: []}\n")
    assert not {"denoisers", "forensics"} & planned(*ONE, "protocol=own").keys()
    small = planned(*ONE, "protocol=compact-28")
    assert small["restoration"] == 1 and not {"denoisers", "forensics", "phantoms"} & small.keys()


@needs_venv
def test_an_attack_is_split_into_as_many_jobs_as_are_asked_for(planned):
    split = planned(*ONE, "attack_shards=3") | {}
    assert split.pop("attack_shard") == 3 * 2  # of one and of two pixels
    assert split == planned(*ONE) | {"total": planned(*ONE)["total"] + 6}
    assert planned(*ONE, "attack_shards=3", "attack_pixels=[1]")["attack_shard"] == 3


@needs_venv
def test_a_cluster_refuses_a_path_that_its_jobs_could_not_read(ready):
    odd = ready / "my project"
    shutil.copytree(ready, odd, symlinks=True, ignore=shutil.ignore_patterns("my project"))
    result = make("run", "PROFILE=slurm", cwd=odd)
    assert result.returncode != 0 and "my project" in result.stderr
    assert not (odd / ".snakemake").exists()


@needs_venv
def test_a_step_follows_its_notebook_its_parameters_and_its_version(ready):
    # A stand-in that writes a page at once.
    (ready / "notebooks" / "execute.py").write_text(
        "import sys; from pathlib import Path\n"
        "_, step, page, _ = sys.argv\n"
        "Path(page).write_text('{}')\n"
        "print(step, file=open('executed', 'a'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ready)}

    def executed(*more):
        """Steps that one more call executes."""
        log = ready / "executed"
        log.unlink(missing_ok=True)
        config = ["dataset=oct", "classifier=resnet50", *more]
        subprocess.run(
            [str(ROOT / ".venv/bin/snakemake"), "--cores", "1", "--nolock", "--quiet", "all",
             "--config", *config], cwd=ready, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        return set(log.read_text().split()) if log.exists() else set()

    def pages(protocol):
        """Pages of a run with the times at which they were written."""
        found = (ready / "runs" / protocol).rglob("*.ipynb")
        return {path: path.stat().st_mtime_ns for path in found}

    def change(name, old="", new="\n# changed\n"):
        text = (ready / name).read_text()
        assert old in text
        (ready / name).write_text(text.replace(old, new) if old else text + new)

    measured = {"restoration", "attackers", "forensics"}
    attacked = {"pixel_attack", "vulnerability"} | measured
    every = {"datasets", "classifier", "denoisers"} | attacked
    assert executed() == every
    before = pages("demo")
    # A run with other values has pages of its own, each step of it gets all of the values.
    assert executed("attack_population=50") == every
    change("lib/metrics/classification.py")
    assert executed("attack_population=50") == executed() == set()
    assert pages("demo") == before
    assert len(pages("demo+attack_population=50")) == len(before)
    raised = '*STEPS), 1) | {"denoisers": 2}'
    change("lib/params/stages.py", "*STEPS), 1)", raised)
    assert executed() == {"denoisers"} | measured
    change("notebooks/denoisers.md")
    assert executed() == {"denoisers"} | measured


SLOW = """
import os, sys, time
from pathlib import Path
print("begun", flush=True)
Path("begun").touch()
time.sleep(120)
"""


@pytest.fixture
def slow(ready):
    """A checkout with a link to the environment whose steps take two minutes."""
    (ready / "notebooks" / "execute.py").write_text(SLOW)
    phantoms = "import sys; from pathlib import Path\n"
    phantoms += "root = Path(sys.argv[sys.argv.index('--root') + 1])\n"
    phantoms += "root.mkdir(parents=True, exist_ok=True); (root / 'octmnist.npz').touch()\n"
    (ready / "lib" / "data" / "phantoms" / "__main__.py").write_text(phantoms)
    return ready


RUN = ("run", "DATASET=oct", "CLASSIFIER=resnet50", "JOBS=1", "runs=my $runs")


def started(folder):
    """`make run` in a session of its own, at work on its first step."""
    clean = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    process = subprocess.Popen(
        ["make", *RUN], cwd=folder, env=clean, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell without a terminal has what it runs in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for _ in range(600):
        if (folder / "begun").exists():
            return process
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.2)
    raise AssertionError("no step has begun")


def alive(folder):
    """Processes that work in the folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += [process] if process.cwd() == str(folder) else []
    return found


@needs_venv
@pytest.mark.parametrize("to", ["the terminal", "make.py"])
def test_an_interruption_is_told_as_one_and_leaves_nothing_at_work(slow, to):
    process = started(slow)
    if to == "the terminal":  # which sends to all
        os.killpg(process.pid, signal.SIGINT)
    else:
        script = next(each for each in alive(slow) if "book.make" in each.cmdline())
        script.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "interrupted" in text and "Error:" not in text and "failed" not in text
    assert not alive(slow)


@needs_venv
def test_two_runs_in_one_folder_never_mix(slow):
    first = started(slow)
    second = make(*RUN, cwd=slow)
    assert second.returncode != 0
    holder = next(each for each in alive(slow) if "snakemake" in each.cmdline())
    assert f"process {holder.pid}" in second.stderr and "Traceback" not in second.stderr
    os.killpg(first.pid, signal.SIGKILL)  # as when the machine goes down: nothing is stale
    first.wait()
    (slow / "begun").unlink()
    third = started(slow)
    os.killpg(third.pid, signal.SIGKILL)
    third.wait()
    assert (slow / "my $runs" / ".locks").is_dir()


@needs_venv
def test_an_error_before_the_first_step_is_told(slow):
    (slow / "Snakefile").write_text("raise ValueError('of the plan')\n")
    result = make(*RUN, cwd=slow)
    assert result.returncode != 0 and "of the plan" in result.stderr
    (slow / "Snakefile").write_text("rule all:\n    input: 'nowhere.txt'\n")
    result = make(*RUN, cwd=slow)
    assert result.returncode != 0 and "nowhere.txt" in result.stderr


@needs_venv
def test_a_step_that_cannot_begin_says_why(slow):
    (slow / "notebooks" / "execute.py").write_text("import a_package_that_is_missing\n")
    result = make(*RUN, cwd=slow)
    assert result.returncode != 0 and "a_package_that_is_missing" in result.stderr


@needs_venv
@pytest.mark.parametrize("name", ["runs", "results", "data_root"])
def test_a_file_where_a_folder_should_be_is_told_in_one_line(slow, name):
    (slow / "a file").touch()
    words = [word for word in RUN if not word.startswith(f"{name}=")]
    result = make(*words, f"{name}=a file/below", cwd=slow)
    told = [line for line in result.stderr.splitlines() if "a file" in line]
    assert result.returncode != 0 and len(told) == 1 and str(slow / "a file") in told[0]
    assert "Errno" not in result.stderr and not (slow / "begun").exists()
    assert "failed" not in result.stderr  # nothing was begun


LONG = "the whole " + 300 * "long " + "one"
FAULTS = {
    f"from lib.params.errors import InputError\nraise InputError('{LONG}')": LONG,
    "import os\nos.kill(os.getpid(), 9)": "memory",
}


@needs_venv
def test_a_step_that_fails_says_why_in_one_line(slow):
    shutil.copy(ROOT / "notebooks" / "execute.py", slow / "notebooks")
    notebook = slow / "notebooks" / "audit.md"
    text = notebook.read_text(encoding="utf-8").split("```{code-cell}")[0]
    command = [ROOT / ".venv/bin/python", "-m", "notebooks.execute", "audit", "a b/x.ipynb", "{}"]
    for source, reason in FAULTS.items():
        notebook.write_text(f"{text}```{{code-cell}}\n{source}\n```\n", encoding="utf-8")
        result = subprocess.run(command, cwd=slow, capture_output=True, text=True)
        assert result.returncode == 1
        assert reason in result.stdout and len(result.stdout.splitlines()) == 1
        assert not list(slow.glob("a b/*"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ZeroDivisionError", "division\n by zero", "ZeroDivisionError: division by zero"),
        ("MemoryError", "", "MemoryError: the memory of this machine is full"),
        ("ValueError", LONG, "ValueError: the whole long"),
    ],
)
def test_errors_of_all_kinds_are_told_in_a_line(name, text, said):
    found = execute.reason(PapermillExecutionError(1, 1, "code", name, text, []))
    assert found.startswith(said) and "\n" not in found and len(found) < len(LONG)


@pytest.mark.parametrize("deaths", [0, 2, 3])
def test_a_kernel_that_dies_before_its_first_word_is_started_again(deaths, monkeypatch, tmp_path):
    begun = []

    def start(notebook, *args, **kwargs):
        begun.append(notebook)
        if len(begun) <= deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return notebook

    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setattr(execute.papermill, "execute_notebook", start)
    page = tmp_path / "audit.ipynb"
    if deaths < execute.STARTS:
        execute.execute("audit", page, {})
    else:
        with pytest.raises(RuntimeError):
            execute.execute("audit", page, {})
    assert page.exists() == (deaths < execute.STARTS)
    assert len(begun) == min(deaths + 1, execute.STARTS)


@needs_venv
@pytest.mark.parametrize(
    "words", [["run", "DATASET=dermma"], ["clean", "runs=x"], ["lint", "A=1"], ["help", "A=1"]]
)
def test_make_says_in_a_line_what_a_target_does_not_take(ready, words):
    result = make(*words, cwd=ready)
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert ("'dermma'" if words[0] == "run" else "no values") in result.stderr.splitlines()[0]


REFUSED = {
    "run DATASET=dermma": ("'dermma'", "'derma'"), "run seeed=1": ("'seeed'", "'seed'"),
    "run PROTOCOL=compakt": ("'compakt'", "'compact'"), "run PROFILE=slrum": ("'slrum'", "'slurm'"),
    "run CLASSIFIER=resnet": ("'resnet'", "'resnet50'"), "run JBOS=2": ("'jbos'", "'jobs'"),
    "run attack_population=2": ("attack_population",), "run seed=1 SEED=2": ("SEED",),
    "run SIZE=64": ("'size'",), "run JOBS=many": ("'many'",), "run FORCE=maybe": ("'maybe'",),
    "data PROTOCOL=compact": ("'protocol'",), "data DATASET=occt": ("'occt'", "'oct'"),
    "verify PROTOCOL=x": ("'protocol'",), "weights SIZE=28": ("'size'",),
    "record seed=1": ("seed",), "reproduce seed=1": ("seed",), "test seed=1": ("seed",),
    "archive PROTOCOL=x": ("'protocol'",),
    "lab DATASET=oct": ("'dataset'",), "check SIZE=64": ("'size'",),
    "notebooks DATASET=oct": ("'dataset'",),
    "book CLASIFIER=resnet50": ("'clasifier'", "'classifier'"),
}  # fmt: skip


@pytest.mark.parametrize("command", REFUSED)
def test_a_target_refuses_what_it_does_not_take_before_anything_begins(command, monkeypatch):
    for name in ("snakemake", "_python", "_become"):
        monkeypatch.setattr(book.make, name, lambda *words: pytest.fail(f"begun: {words}"))
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    with refused(*REFUSED[command]):
        book.make.main(command.split())


def calls(monkeypatch, target, flags=""):
    """Commands that a target would call."""
    found = []
    for name in ("_python", "_become"):
        monkeypatch.setattr(book.make, name, lambda *words: found.append(words) or 0)
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert book.make.main([target]) == 0
    return found


def test_values_may_stand_behind_the_target_as_well(monkeypatch):
    words = calls(monkeypatch, "data", " -- DATASET=oct SIZE=28")
    monkeypatch.setenv("MAKEFLAGS", "")
    again = []
    monkeypatch.setattr(book.make, "_python", lambda *words: again.append(words) or 0)
    assert book.make.main(["data", "DATASET=oct", "SIZE=28"]) == 0 and again == words
    for wrong in ([], ["dats"], ["data", "SIZES=28"], ["data", "oct"]):
        with refused():
            book.make.main(wrong)


def test_each_target_hands_on_what_it_takes(monkeypatch):
    data = calls(monkeypatch, "data", " -- SOURCE=a\\ b DATASET=oct SIZE=28 data_root=c")
    assert {"--source=a b", f"--root={ROOT / 'c'}", "--size=28", "oct"} <= set(data[0])
    places = " -- runs=my\\ runs results=/r\\ s data_root=d"
    checked = calls(monkeypatch, "verify", places)
    assert {"runs=my runs", "results=/r s", "data_root=d"} <= set(checked[0])
    assert "results=/r s" in checked[1]
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    lab = calls(monkeypatch, "lab", " -- OPTIONS=--ip=0.0.0.0\\ --port=1")
    assert {"--allow-root", "--ip=0.0.0.0", "--port=1"} <= set(lab[0])
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in calls(monkeypatch, "lab")[0]
    assert "7" in calls(monkeypatch, "test", "k -j2 -- JOBS=7")[0]
