"""make and Snakemake: errors in one sentence, and steps that follow what they depend on."""

import os
import shutil
import subprocess

import pytest

from lib import params

ROOT = params.ROOT


def make(*words, cwd=ROOT, **environment):
    inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=cwd, capture_output=True, text=True,
        env=inherited | environment,
    )  # fmt: skip


def test_help_lists_every_target():
    result = make("help")
    for target in ("book", "run", "data", "record", "verify", "lab", "notebooks", "test", "check",
                   "lint", "clean"):  # fmt: skip
        assert f"\n{target} " in f"\n{result.stdout}", target


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that make reads, with this environment."""
    for name in ("Makefile", "Snakefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("lib", "params", "notebooks", "book"):
        ignore = shutil.ignore_patterns("__pycache__", "*.ipynb")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    return tmp_path


@pytest.fixture
def ready(checkout):
    """The same with the environment in place."""
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    return checkout


needs_venv = pytest.mark.skipif(
    not (ROOT / ".venv/bin/snakemake").exists(), reason="the environment .venv is not there"
)


@needs_venv
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["DATASET=dermma"], "Unknown data set 'dermma': did you mean 'derma'?"),
        (["PROTOCOL=compakt"], "Unknown protocol 'compakt': did you mean 'compact'?"),
        (["CLASSIFIER=resnet"], "Unknown classifier 'resnet': did you mean 'resnet50'?"),
        (["seeed=1"], "Unknown parameter 'seeed': did you mean 'seed'?"),
        (["attack_population=2"], "attack_population"),
    ],
)
def test_make_run_refuses_bad_names_with_one_sentence(words, message):
    result = make("run", *words)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[0]
    assert "Traceback" not in result.stderr


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


def planned(folder, *config):
    """Number of jobs that Snakemake would run, by rule."""
    command = [str(ROOT / ".venv/bin/snakemake"), "--cores", "1", "-n", "--nolock"]
    result = subprocess.run(
        [*command, *(["--config", *config] if config else [])], cwd=folder, capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode == 0, text[-2000:]
    table = text.split("Job stats:")[-1].splitlines()[3:]
    jobs = dict(line.split() for line in table[: next(i for i, x in enumerate(table) if not x)])
    return {name: int(count) for name, count in jobs.items()}


@needs_venv
def test_the_demo_is_all_data_sets_and_both_classifiers_on_one(ready):
    jobs = planned(ready)
    for step in ("classifier", "pixel_attack", "restoration"):
        assert jobs[step] == 5
        assert planned(ready, "protocol=compact")[step] == 8
    assert (jobs["datasets"], jobs["denoisers"], jobs["phantoms"]) == (4, 4, 5)
    assert (jobs["ablation"], jobs["comparison"], jobs["engine"]) == (1, 1, 1)
    assert (jobs["forensics"], jobs["adaptive"]) == (1, 1)  # of the first run only


@needs_venv
def test_one_run_needs_its_own_steps_only(ready):
    jobs = planned(ready, "dataset=oct", "classifier=resnet50")
    one = {name: 1 for name in ("classifier", "pixel_attack", "vulnerability", "restoration",
                                "adaptive", "attackers", "forensics", "datasets",
                                "denoisers", "phantoms")}  # fmt: skip
    assert {name: jobs[name] for name in one} == one
    assert not {"ablation", "comparison", "engine"} & jobs.keys()
    real = planned(ready, "dataset=oct", "protocol=compact", "classifier=resnet50")
    assert "phantoms" not in real and real["classifier"] == 1
    assert planned(ready, "dataset=abdomen_ct")["ablation"] == 1
    assert "forensics" not in planned(ready, "dataset=abdomen_ct")
    assert planned(ready, "dataset=oct")["forensics"] == 2
    small = planned(ready, "dataset=oct", "protocol=compact-28", "classifier=resnet50")
    assert small["restoration"] == 1 and not {"denoisers", "forensics"} & small.keys()


@needs_venv
def test_a_step_follows_its_notebook_its_parameters_and_its_version(ready):
    # Stand-ins that write what the real tools would, at once.
    stubs = {
        "papermill": 'cp "$1" "$2"; echo "$1" >> executed',
        "jupytext": 'cp "$6" "$5"',
    }
    for name, text in stubs.items():
        (ready / "stubs").mkdir(exist_ok=True)
        (ready / "stubs" / name).write_text(f"#!/bin/sh\n{text}\n")
        (ready / "stubs" / name).chmod(0o755)
    path = f"{ready / 'stubs'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ready), "PATH": path}

    def executed(*more):
        """Steps that one more call executes."""
        log = ready / "executed"
        log.unlink(missing_ok=True)
        config = ["dataset=oct", "classifier=resnet50", *more]
        subprocess.run(
            [str(ROOT / ".venv/bin/snakemake"), "--cores", "1", "--nolock", "--quiet", "all",
             "--config", *config], cwd=ready, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        lines = log.read_text().split() if log.exists() else []
        return {line.removeprefix("notebooks/").removesuffix(".ipynb") for line in lines}

    def pages(protocol):
        """Pages of a run with the times at which they were written."""
        found = (ready / "runs" / protocol).rglob("*.ipynb")
        return {path: path.stat().st_mtime_ns for path in found}

    def change(name, old="", new="\n# changed\n"):
        text = (ready / name).read_text()
        assert old in text
        (ready / name).write_text(text.replace(old, new) if old else text + new)

    measured = {"restoration", "adaptive", "attackers", "forensics"}
    attacked = {"pixel_attack", "vulnerability"} | measured
    every = {"datasets", "classifier", "denoisers"} | attacked
    assert executed() == every
    assert executed() == set()
    before = pages("demo")
    # A run with other values has pages of its own, each step of it gets all of the values.
    assert executed("attack_population=50") == every
    assert executed("seed=1") == every
    assert executed("seed=2") == every
    assert executed("attack_population=50") == executed("seed=1") == executed() == set()
    assert pages("demo") == before
    assert len(pages("demo+attack_population=50")) == len(pages("demo+seed=1")) == len(before)
    change("lib/metrics/classification.py")
    assert executed() == set()
    change("lib/params/stages.py", '"denoisers": 1', '"denoisers": 2')
    assert executed() == {"denoisers"} | measured
    change("notebooks/denoisers.md")
    assert executed() == {"denoisers"} | measured
