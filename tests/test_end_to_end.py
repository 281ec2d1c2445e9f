"""One whole `make run` where everything has the name or the content that breaks things."""

import json
import os
import shutil
import subprocess

import pandas as pd
import pytest

from lib import params

ROOT = params.ROOT
PROTOCOL = """\
base: demo
data_phantom_images: 70
classifier_epochs: 1
classifier_batch: 32
classifier_train_limit: 32
attack_population: 4
attack_generations: 1
attack_pixels: [2]
attack_two_pixel_images: 1
denoiser_names: []
bootstrap_samples: 20
attackers_names: [adaptive]
attackers_defenses: [median3]
overrides:
"""
RUN = ("run", "PROTOCOL=2025", "DATASET=derma", "CLASSIFIER=resnet50", "runs=my $runs's", "JOBS=2")

pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv/bin/python").exists(), reason="the environment .venv is not there"
)


def make(folder, home, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *words], cwd=folder, capture_output=True, encoding="utf-8",
        env=clean | {"HOME": str(home), "LC_ALL": "C"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The project as an unpacked archive within another repository, after a run."""
    place = tmp_path_factory.mktemp("of another")
    author = ("-c", "user.name=x", "-c", "user.email=x")
    (place / "other.txt").write_text("not ours")
    for words in (["init", "-q"], ["add", "other.txt"], ["commit", "-qm", "not ours"]):
        subprocess.run(["git", *author, *words], cwd=place, check=True, capture_output=True)
    project = place / "Größe & Maß (2026)"
    project.mkdir()
    for name in ("Makefile", "Snakefile", "pyproject.toml", "requirements.lock", "_config.yml",
                 "_toc.yml"):  # fmt: skip
        shutil.copy(ROOT / name, project)
        os.utime(project / name, (0, 0))  # or make would install anew
    ignore = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in ("lib", "params", "notebooks", "book", "benchmarks", "results", "profiles"):
        shutil.copytree(ROOT / name, project / name, ignore=ignore)
    (project / ".venv").symlink_to(ROOT / ".venv")
    # What users have on their machines.
    (project / "params" / "protocols" / "2025.yaml").write_text(PROTOCOL)
    for name in ("params/protocols/._demo.yaml", "book/._index.md", "results/compact/._run.json",
                 "notebooks/._audit.md", "my $runs's/2025/derma/datasets-Copy1.ipynb"):  # fmt: skip
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(b"\xff\x00")
    startup = place / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("DATA = 1\nseed = 7\nfrom string import digits\n")
    result = make(project, place, *RUN)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return project, place, result


STEPS = ("datasets", "resnet50/classifier", "resnet50/pixel_attack", "resnet50/restoration",
         "resnet50/attackers")  # fmt: skip


def test_every_step_has_run_in_the_folder_that_was_named(done):
    project, _, _ = done
    folder = project / "my $runs's" / "2025" / "derma"
    assert {path.name for path in folder.parent.parent.iterdir()} == {".locks", "2025"}
    for step in STEPS:
        assert (folder / f"{step}.ipynb").exists()
    about = json.loads((folder / "resnet50" / "run.json").read_text(encoding="utf-8"))
    assert set(about["steps"]) == {step.partition("/")[2] for step in STEPS[1:]}
    for step in about["steps"].values():
        assert step["commit"] == ""  # the enclosing repository is not ours
        assert (step["seed"], step["parameters"]["protocol"]) == (0, "2025")


def test_the_site_shows_the_run_that_was_made_and_nothing_else(done):
    project, _, _ = done
    site = project / "build" / "site" / "runs"
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert pages == {f"2025/derma/{step}.html" for step in STEPS}
    assert list(project.parent.iterdir()) and not list(project.glob("*\n*"))


def test_the_same_command_again_has_nothing_to_do(done):
    project, place, _ = done
    result = make(project, place, *RUN)
    assert result.returncode == 0 and ".ipynb" not in result.stdout, result.stdout


LIST = """
from benchmarks import gpu_list
for step in ("classifier", "attack", "restored", "attackers"):
    gpu_list.STEPS[step]("derma", "resnet50")
"""


def test_steps_without_notebooks_make_the_same_tables(done):
    project, _, _ = done
    python = project / ".venv" / "bin" / "python"
    folders = [project / runs / "2025" / "derma" / "resnet50" for runs in ("my $runs's", "listed")]
    folders[1].mkdir(parents=True)
    for name in ("classifier.json", "classifier.safetensors"):  # trained with as many threads
        shutil.copy(folders[0] / name, folders[1])
    result = subprocess.run(
        [python, "-c", LIST], cwd=project, capture_output=True, encoding="utf-8",
        env=os.environ | {"GIVEN": "protocol=2025 runs=listed", "PYTHONPATH": str(project)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    names = [{path.name for path in folder.glob("*.parquet")} for folder in folders]
    assert names[0] == names[1] and "attackers_two_pixel.parquet" in names[0]
    for name in names[0]:
        tables = [pd.read_parquet(folder / name) for folder in folders]
        same = [column for column in tables[0] if "seconds" not in column]
        pd.testing.assert_frame_equal(*(table[same] for table in tables))
    steps = [json.loads((folder / "run.json").read_text())["steps"] for folder in folders]
    assert steps[0].keys() == steps[1].keys()
