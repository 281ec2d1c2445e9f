"""The commands of the page "Re-running", one after another, in a copy of the project."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from book.make import TAKES
from lib import params
from lib.data import phantoms
from lib.params.files import read_table

ROOT = params.ROOT
PAGE = ROOT / "book" / "rerun.md"
# The demo, small enough for a test.
TINY = {
    "data_phantom_images": 150, "classifier_epochs": 1, "classifier_batch": 32,
    "classifier_paper_epochs": 1, "attack_population": 4, "attack_pixels": [1],
    "attack_one_pixel_images": 1, "device": "cpu",
}  # fmt: skip


def commands():
    """Each line of each block of shell commands, continued lines joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    lines = re.sub(r"\\\n\s*", "", "".join(blocks)).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


@pytest.fixture
def project(tmp_path):
    """A copy with this environment and phantoms of OCT."""
    for name in ("Makefile", "Snakefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, tmp_path)  # with its time, or make would install anew
    for name in ("lib", "params", "notebooks", "book", "benchmarks", "results", "profiles"):
        ignore = shutil.ignore_patterns("__pycache__", "*.ipynb")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    demo = tmp_path / "params" / "protocols" / "demo.yaml"
    demo.write_text(yaml.safe_dump(yaml.safe_load(demo.read_text()) | TINY | {"overrides": {}}))
    phantoms.write("oct", 28, TINY["data_phantom_images"], 0, tmp_path / "data" / "phantoms")
    return tmp_path


def in_full(line):
    """The command as the test gives it: as it stands, or as far as its plan."""
    words = line.split()
    if words[0] == "make" and words[1] != "notebooks":
        return f"make -n {' '.join(words[1:])}"
    if words[0] == "snakemake":
        return f"{line} -n --nolock --quiet all"
    return f"{line} --no-progress-bar" if words[0] == "papermill" else line


@pytest.mark.skipif(
    not (ROOT / ".venv/bin/papermill").exists(), reason="the environment .venv is not there"
)
def test_every_command_runs(project):
    environment = os.environ | {
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "PYTHONPATH": str(project),
    }  # fmt: skip
    done = []
    for line in commands():
        result = subprocess.run(
            ["bash", "-c", in_full(line)], cwd=project, env=environment, capture_output=True,
            text=True,
        )  # fmt: skip
        assert result.returncode == 0, (line, result.stdout[-1500:], result.stderr[-1500:])
        for word in line.split()[2:] if line.startswith("make run") else ():
            name, value = word.split("=")
            assert name.lower() in TAKES["run"], word
        done.append(line.split()[0])
    assert {"make", "papermill", "snakemake", "cp"} <= set(done)
    run = project / "runs" / "demo" / "oct" / "resnet50"
    assert (project / "out.ipynb").exists() and (run / "classifier.safetensors").exists()
    changed = project / "runs" / "demo+attack_generations=50" / "oct" / "resnet50"
    attacked = read_table(changed / "one_pixel.parquet")
    # 50 generations, as the command says; without a success all of them were used.
    assert len(attacked) and (attacked.loc[~attacked["success"], "generations"] == 50).all()
