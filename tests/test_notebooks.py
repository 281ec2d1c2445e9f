"""Notebooks: text only, parameters that hold together, and a whole run through papermill."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest
import yaml

from lib import params
from lib.data import phantoms
from lib.evidence import forensic_hypotheses
from lib.params.files import read_json
from lib.params.stages import WRITES

FOLDER = params.ROOT / "notebooks"
STEPS = list(params.STEPS)
EXECUTED = [step for step in STEPS if step != "explore"]  # that one waits for a hand on a slider
# The demo with every step as small as it can be; what it shows is another test's matter.
TINY = {
    "data_phantom_images": 150, "classifier_epochs": 1, "classifier_batch": 32,
    "classifier_paper_epochs": 1, "attack_population": 4, "attack_generations": 1,
    "attack_one_pixel_images": 1, "attack_two_pixel_images": 1, "denoiser_epochs": 1,
    "denoiser_train_limit": 16, "denoiser_large_limit": 4, "ablation_train": 8,
    "ablation_test": 4, "ablation_epochs": 1, "bootstrap_samples": 20,
    "vulnerability_images": 1, "adaptive_images": 1,
    "classifier_threshold": 0.9,  # after one epoch nothing passes it, so Normal is right
}  # fmt: skip


def cells(step):
    return jupytext.read(FOLDER / f"{step}.md").cells


def code(step):
    return [cell for cell in cells(step) if cell.cell_type == "code"]


def test_there_is_one_text_notebook_for_each_step():
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted(STEPS)
    tracked = subprocess.run(
        ["git", "ls-files", "*.ipynb"], cwd=params.ROOT, capture_output=True, text=True
    )
    assert tracked.stdout == ""


@pytest.mark.parametrize("step", STEPS)
def test_notebook_is_short_and_has_a_kernel(step):
    notebook = jupytext.read(FOLDER / f"{step}.md")
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert len(code(step)) <= 12
    assert cells(step)[0].source.startswith("# ")


@pytest.mark.parametrize("step", STEPS)
def test_parameters_cell_lists_what_the_step_depends_on(step):
    first = code(step)[0]
    assert first.metadata["tags"][0] == "parameters"
    namespace = {}
    exec(first.source, namespace)
    names = [name for name in namespace if not name.startswith("_")]
    assert names == params.step_fields(step)
    assert all(
        namespace[n] is None for n in names if n not in ("protocol", "dataset", "classifier")
    )
    assert params.from_notebook(namespace) == params.load()


def papermill(source, target, given, project=params.ROOT):
    command = [sys.executable, "-m", "papermill", str(source), str(target), "--no-progress-bar"]
    command += ["--execution-timeout", "200"]
    return subprocess.run(
        [*command, "-y", json.dumps(given)], cwd=project, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Every notebook of a tiny Chest run, executed in the order of its needs."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("lib", "params", "benchmarks", "book", "results/printed"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(params.ROOT / name, folder / "project" / name, ignore=ignore)
    demo = folder / "project/params/protocols/demo.yaml"
    demo.write_text(yaml.safe_dump(yaml.safe_load(demo.read_text()) | TINY | {"overrides": {}}))
    for name in ("chest", "abdomen_ct"):
        phantoms.write(name, 28, TINY["data_phantom_images"], 0, folder / "data")
    results = {}
    for step in ("datasets", "denoisers", "classifier", "pixel_attack", "vulnerability",
                 "restoration", "adaptive", "forensics", "ablation", "findings", "verdicts",
                 "comparison", "engine", "audit"):  # fmt: skip
        if step == "findings":  # a record of phantoms, which `make record` would refuse
            shutil.copytree(folder / "runs", folder / "results")
        source = folder / f"{step}.ipynb"
        jupytext.write(jupytext.read(FOLDER / f"{step}.md"), source)
        given = {
            "dataset": "chest", "classifier": "densenet121", "data_root": str(folder / "data"),
            "runs": str(folder / "runs"), "results": str(folder / "results"),
        }  # fmt: skip
        given = {name: value for name, value in given.items() if name in params.step_fields(step)}
        results[step] = papermill(source, folder / f"{step}.out.ipynb", given, folder / "project")
        assert results[step].returncode == 0, results[step].stderr[-3000:]
    return folder


def outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        yield from cell.get("outputs", [])


def test_a_run_leaves_what_the_contract_names(executed):
    base = executed / "runs" / "demo" / "chest"
    run = base / "densenet121"
    names = {"classifier.safetensors", "classifier.json", "run.json"}
    for name in params.ATTACKS.values():
        kinds = ("", "restoration_", "detection_", "adaptive_")
        names |= {f"{kind}{name}.parquet" for kind in kinds}
    names.add("forensics_two_pixel.parquet")  # the paper has no one-pixel table for DenseNet121
    assert {path.name for path in run.iterdir()} == names
    denoisers = {f"{name}.{kind}" for name in params.DENOISERS for kind in ("safetensors", "json")}
    assert {path.name for path in (base / "denoisers").iterdir()} == denoisers | {"run.json"}
    record = read_json(run / "run.json")
    steps = ["classifier", "pixel_attack", "vulnerability", "restoration", "adaptive", "forensics"]
    assert list(record["steps"]) == steps
    assert record["data"]["source"] == "phantom" and record["seed"] == 0
    assert record["parameters"]["attack_population"] == 4


def test_every_page_names_protocol_and_source_first(executed):
    for step in EXECUTED:
        texts = [
            output["data"].get("text/markdown", "")
            for output in outputs(executed / f"{step}.out.ipynb")
            if "data" in output
        ]
        first = next(text for text in texts if text)
        assert "**protocol** `demo`" in first, step
        assert ("printed" if step == "audit" else "phantom") in first, step


def test_pages_show_printed_values_and_figures(executed):
    for step, printed in (("classifier", "Table 34"), ("pixel_attack", "Table 41"),
                          ("restoration", "Table 42"), ("forensics", "Table 42"),
                          ("datasets", "Table 10"), ("findings", "Table 43")):  # fmt: skip
        found = list(outputs(executed / f"{step}.out.ipynb"))
        text = "".join(str(output.get("data", {}).get("text/html", "")) for output in found)
        text += "".join(str(output.get("data", {}).get("text/markdown", "")) for output in found)
        assert printed in text, step
        assert any("image/png" in output.get("data", {}) for output in found), step


def test_restoration_has_a_row_for_each_attacked_image_and_defense(executed):
    run = executed / "runs" / "demo" / "chest" / "densenet121"
    for name in params.ATTACKS.values():
        attacked = pd.read_parquet(run / f"{name}.parquet")
        rows = pd.read_parquet(run / f"restoration_{name}.parquet")
        names = {*params.DENOISERS, *params.REFERENCES, "dae+patches", "noise2noise+patches"}
        assert set(rows["defense"]) == names and len(rows) == len(names) * len(attacked)
        nothing = rows[rows["defense"] == "identity"]
        assert not (nothing["recovered"] & nothing["success"]).any() and nothing["kept"].all()
        areas = pd.read_parquet(run / f"detection_{name}.parquet")
        assert set(areas["defense"]) == names
        chance = areas[(areas["defense"] == "identity") & (areas["n"] > 0)]["auc"]
        assert len(chance) and (chance == 0.5).all()


def test_forensics_judges_every_hypothesis_under_a_rule_told_before(executed):
    page = nbformat.read(executed / "forensics.out.ipynb", as_version=4)
    run = read_json(executed / "runs" / "demo" / "chest" / "densenet121" / "run.json")
    verdicts = run["steps"]["forensics"]["verdicts"]["two_pixel"]
    assert len(verdicts) == len(forensic_hypotheses.HYPOTHESES)
    said = ["".join(str(o.get("data", {}).get("text/markdown", "")) for o in c.get("outputs", []))
            for c in page.cells]  # fmt: skip
    last = max(place for place, text in enumerate(said) if "**U1**" in text)
    for verdict in verdicts:
        assert f"the hypothesis that {verdict['hypothesis']} **{verdict['verdict']}**" in said[last]
    rule = next(i for i, cell in enumerate(page.cells) if "## The rule" in cell.source)
    drawn = [i for i, cell in enumerate(page.cells)
             if any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))]  # fmt: skip
    assert rule < min(drawn) <= last
    assert "say nothing about the paper's data" in said[last]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"atack_population": 5}, "InputError: Unknown parameter 'atack_population': did you mean "
                                  "'attack_population'?"),
        ({"dataset": "dermma"}, "InputError: Unknown data set 'dermma': did you mean 'derma'?"),
        ({"classifier": "densenet121", "runs": "nowhere"}, "run the step that writes it first."),
    ],
)  # fmt: skip
def test_papermill_with_bad_input_ends_with_one_sentence(executed, tmp_path, given, message):
    given = {"dataset": "chest", "data_root": str(executed / "data")} | given
    if "runs" in given:
        given["runs"] = str(tmp_path / given["runs"])
    result = papermill(executed / "pixel_attack.ipynb", tmp_path / "out.ipynb", given)
    assert result.returncode != 0
    last = [line for line in result.stderr.splitlines() if line.strip()][-1]
    assert message in last


def test_the_explorer_opens_on_a_finished_run(executed):
    source = [cell.source for cell in code("explore")]
    namespace = {}
    exec(source[0], namespace)
    namespace |= {
        "dataset": "chest", "classifier": "densenet121", "data_root": str(executed / "data"),
        "runs": str(executed / "runs"),
    }  # fmt: skip
    namespace = {name: namespace[name] for name in params.step_fields("explore")}
    for cell in source[1:]:
        exec(cell, namespace)
    explorer = namespace["explorer"]
    assert explorer.run.value == "demo/chest/densenet121"
    assert {*params.REFERENCES, *params.DENOISERS} == set(explorer.session.defenses)
    assert "confidence, clean" in explorer.bars.value


def test_each_notebook_writes_what_the_parameters_page_says(executed):
    """`WRITES` is what the book tells papermill's users; nothing more and nothing less is left."""
    base = executed / "runs" / "demo"
    told = {name for names in WRITES.values() for name in names}
    patterns = [
        re.sub(r"<[^>]+>", "[^/]+", name).replace(".", "[.]").replace("*", ".*") for name in told
    ]
    left = {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}
    left = {name for name in left if Path(name).name != "run.json"}
    assert not [name for name in left if not any(re.fullmatch(p, name) for p in patterns)]
    assert not [p for p in patterns if not any(re.fullmatch(p, name) for name in left)]


def test_markdown_code_and_prose_have_no_typed_results():
    """Numbers of ours come from results; prose may cite tables, sections, figures and settings."""
    for step in STEPS:
        for cell in cells(step):
            if cell.cell_type == "markdown":
                assert not re.search(r"\d+\.\d+ ?%", cell.source), step


def test_paths_of_notebooks_are_relative():
    for path in FOLDER.glob("*.md"):
        assert not re.search(r"[\"'](/[a-z]+){2}", Path(path).read_text()), path
