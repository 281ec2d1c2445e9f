"""Notebooks: text only, one opening call, short; and a whole run of tiny ones through papermill."""

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import cache

import jupytext
import nbformat
import pandas as pd
import pytest
import yaml
from conftest import refused
from nbclient import NotebookClient
from papermill import execute_notebook

from lib import params
from lib.data import phantoms
from lib.evidence import forensic_hypotheses
from lib.params.files import read_json
from lib.params.stages import WRITES
from notebooks.explorer import explore
from notebooks.start import folder, start

FOLDER = params.ROOT / "notebooks"
STEPS = list(params.STEPS)
MOST_CELLS = 10
DATASET, CLASSIFIER = "chest", "densenet121"
# In the order of their needs. The others read the record, or are run by `make book` alone.
EXECUTED = (
    "walkthrough", "datasets", "denoisers", "classifier", "pixel_attack", "vulnerability",
    "restoration", "attackers", "forensics", "comparison", "ablation",
)  # fmt: skip
RUN = {"dataset": DATASET, "classifier": CLASSIFIER}
# Every step as small as it can be; what it shows is another test's matter.
TINY = {
    "data_phantom_images": 150,
    "classifier_epochs": 1, "classifier_paper_epochs": 1, "classifier_train_limit": 16,
    "attack_population": 4, "attack_generations": 1, "attack_one_pixel_images": 1,
    "attack_two_pixel_images": 1, "denoiser_epochs": 1, "denoiser_train_limit": 16,
    "denoiser_large_limit": 4, "ablation_train": 8, "ablation_test": 4, "ablation_epochs": 1,
    "bootstrap_samples": 20, "vulnerability_images": 1, "attackers_images": 1,
    "attackers_names": ["adaptive", "pgd"], "masking_size": 14,
    "attackers_defenses": ["identity", "median3+patches", "double_masking"],
    "fine_tuning_epochs": 1,
    "classifier_threshold": 0.9,  # after one epoch nothing passes it, so Normal is correct
}  # fmt: skip

# What a notebook itself sets: fewer images and epochs.
SHORTER = {"walkthrough": {", 28, 450,": ", 28, 180,", "MSELoss(), 5,": "MSELoss(), 1,"}}


@cache
def notebook(step):
    return jupytext.read(FOLDER / f"{step}.md")


def code(step):
    return [cell for cell in notebook(step).cells if cell.cell_type == "code"]


def test_there_is_one_text_notebook_for_each_step():
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted(STEPS)
    tracked = subprocess.run(
        ["git", "ls-files", "*.ipynb"], cwd=params.ROOT, capture_output=True, text=True
    )
    assert tracked.stdout == ""


@pytest.mark.parametrize("step", STEPS)
def test_notebook_has_a_title_and_few_cells(step):
    assert notebook(step).cells[0].source.startswith("# ")
    assert len(code(step)) <= MOST_CELLS


@pytest.mark.parametrize("step", STEPS)
def test_a_notebook_is_as_jupyterlab_saves_it(step):
    """JupyterLab saves by itself, and a notebook that is only looked at should not change."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    assert list(notebook(step).metadata["kernelspec"].items()) == list(kernel.items())
    text = (FOLDER / f"{step}.md").read_text(encoding="utf-8")
    assert jupytext.writes(notebook(step), fmt="md:myst") == text


@pytest.mark.parametrize("step", STEPS)
def test_parameters_cell_lists_what_the_step_depends_on(step):
    tagged = ["parameters" in cell.metadata.get("tags", ()) for cell in code(step)]
    assert tagged == [True] + [False] * (len(tagged) - 1)
    lines = ast.parse(code(step)[0].source).body
    values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    assert list(values) == params.step_fields(step)
    chosen = {name: value for name, value in values.items() if value is not None}
    assert chosen.keys() <= {"protocol", "dataset", "classifier"}
    assert params.load(**values) == params.load(**chosen)


@pytest.mark.parametrize("step", STEPS)
def test_the_first_call_of_a_notebook_is_start(step):
    """Imports and the parameters aside, nothing comes before it."""
    lines = [line for cell in code(step) for line in ast.parse(cell.source).body]
    calls = [line for line in lines if any(isinstance(n, ast.Call) for n in ast.walk(line))]
    first = calls[0].value
    assert isinstance(calls[0], ast.Assign) and first.func.id == "start"
    assert ast.unparse(first.args[0]) == "globals()" and first.args[1].value == step


@pytest.mark.parametrize("step", STEPS)
def test_cells_can_run_again(step):
    """No cell gives another meaning to a parameter or to a name that was imported."""
    first, *others = code(step)
    taken = {target.id for line in ast.parse(first.source).body for target in line.targets}
    nodes = [node for cell in others for node in ast.walk(ast.parse(cell.source))]
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            taken |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    stored = {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert not stored & taken


@pytest.mark.parametrize("step", STEPS)
def test_prose_has_no_typed_result_and_no_relative_link_and_code_no_path_of_a_machine(step):
    """Numbers of ours come from results; prose may cite tables, sections, figures and settings."""
    for cell in notebook(step).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+\.\d+ ?%", cell.source)
        # A page lies as deep as its run's folder, so that a relative link finds nothing.
        linked = re.findall(r"{doc}`(?:[^`<]*<)?([^`>]+)", cell.source)
        assert all(page.startswith("/") for page in linked)
        assert not re.search(r"[\"'](/[a-z]+){2}", cell.source)


@pytest.mark.parametrize("step", STEPS)
def test_a_run_folder_is_the_one_of_the_step(step, tmp_path):
    p = params.load(runs=str(tmp_path), dataset="oct")
    place = folder(p, step).relative_to(tmp_path).parts
    names = {"dataset": p.dataset, "classifier": p.classifier}
    fields = params.step_fields(step)
    assert [part for part in place if part in names.values()] == [
        names[name] for name in names if name in fields
    ]


def test_start_refuses_an_unknown_parameter_and_takes_fixed_ones(tmp_path):
    """Without a kernel nothing is shown, and the call works all the same."""
    given = {"protocol": "demo", "runs": str(tmp_path)}
    with refused("atack_population", "attack_population"):
        start(given | {"atack_population": 5}, "audit", lambda p: (None, {}, ""))
    namespace = dict(given)
    p, about, run = start(namespace, "audit", lambda p: (p.dataset, {}, "banner"), dataset="oct")
    assert (p.dataset, about) == ("oct", "oct") and run.folder == tmp_path / "demo" / "oct"
    namespace["found_later"] = 1  # a variable of the notebook's own: the cell can be run again
    assert start(namespace, "audit", lambda p: (None, {}, ""))[0].dataset == "derma"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A tiny Chest run, notebook by notebook, of a project whose demo is as small as it can be."""
    place = tmp_path_factory.mktemp("run")
    project, ignore = place / "project", shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in ("lib", "params", "benchmarks", "book", "notebooks", "results/printed"):
        shutil.copytree(params.ROOT / name, project / name, ignore=ignore)
    demo = project / "params/protocols/demo.yaml"
    demo.write_text(yaml.safe_dump(yaml.safe_load(demo.read_text()) | TINY | {"overrides": {}}))
    for name in (DATASET, "abdomen_ct"):
        phantoms.write(name, 28, TINY["data_phantom_images"], 0, place / "data")
    every = RUN | {"data_root": str(place / "data"), "runs": str(place / "runs")}
    first = jupytext.read(FOLDER / f"{EXECUTED[0]}.md")
    client = NotebookClient(first, timeout=200, resources={"metadata": {"path": project}})
    with client.setup_kernel():  # one for all: a third of the time goes into starting one
        for step in EXECUTED:
            given = {name: every[name] for name in params.step_fields(step) if name in every}
            text = jupytext.read(FOLDER / f"{step}.md")
            for old, new in SHORTER.get(step, {}).items():
                (cell,) = (cell for cell in text.cells if old in cell.source)
                cell.source = cell.source.replace(old, new)
            client.nb = execute_notebook(text, None, given, prepare_only=True)
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
            nbformat.write(client.nb, place / f"{step}.out.ipynb")
            client.execute_cell(nbformat.v4.new_code_cell("%reset -f"), 0)
    return place


def outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        yield from cell.get("outputs", [])


def test_a_run_leaves_what_the_contract_names(executed):
    base = executed / "runs" / "demo" / DATASET
    run = base / CLASSIFIER
    names = {"classifier.safetensors", "classifier.json", "run.json"}
    for name in params.ATTACKS.values():
        kinds = ("", "restoration_", "detection_", "attackers_")
        names |= {f"{kind}{name}.parquet" for kind in kinds}
    names |= {"masking.parquet", "fine_tuning.parquet"}
    names.add("forensics_two_pixel.parquet")  # the paper has no one-pixel table for DenseNet121
    assert {path.name for path in run.iterdir()} == names
    denoisers = {f"{name}.{kind}" for name in params.DENOISERS for kind in ("safetensors", "json")}
    assert {path.name for path in (base / "denoisers").iterdir()} == denoisers | {"run.json"}
    record = read_json(run / "run.json")
    steps = [step for step in EXECUTED if "classifier" in params.step_fields(step)]
    assert list(record["steps"]) == steps
    assert record["data"]["source"] == "phantom" and record["seed"] == 0
    assert record["parameters"]["attack_population"] == TINY["attack_population"]


@pytest.mark.parametrize("step", EXECUTED)
def test_a_page_names_protocol_and_source_first_and_shows_figures(executed, step):
    found = [each["data"] for each in outputs(executed / f"{step}.out.ipynb") if "data" in each]
    first = found[0]["text/markdown"]
    assert "`demo`" in first and "phantom" in first
    assert any("image/png" in data for data in found)


@pytest.mark.parametrize(
    ("step", "table"),
    [("classifier", 34), ("pixel_attack", 41), ("restoration", 42), ("forensics", 42),
     ("datasets", 10), ("comparison", 43)],
)  # fmt: skip
def test_pages_show_the_printed_table(executed, step, table):
    found = [each.get("data", {}) for each in outputs(executed / f"{step}.out.ipynb")]
    text = "".join(data.get(kind, "") for data in found for kind in ("text/html", "text/markdown"))
    assert re.search(rf"Table {table}\b", text)


def test_restoration_has_a_row_for_each_attacked_image_and_defense(executed):
    run = executed / "runs" / "demo" / DATASET / CLASSIFIER
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


def test_forensics_judges_every_hypothesis(executed):
    run = read_json(executed / "runs" / "demo" / DATASET / CLASSIFIER / "run.json")
    verdicts = run["steps"]["forensics"]["verdicts"]["two_pixel"]
    assert len(verdicts) == len(forensic_hypotheses.HYPOTHESES)


def test_papermill_with_bad_input_ends_with_one_sentence(executed, tmp_path):
    given = {"dataset": "dermma", "data_root": str(executed / "data")}
    source = tmp_path / "pixel_attack.ipynb"
    jupytext.write(jupytext.read(FOLDER / "pixel_attack.md"), source)
    command = [sys.executable, "-m", "papermill", str(source), str(tmp_path / "out.ipynb")]
    result = subprocess.run(
        [*command, "-y", json.dumps(given)], cwd=params.ROOT, capture_output=True, text=True
    )
    assert result.returncode != 0
    last = [line for line in result.stderr.splitlines() if line.strip()][-1]
    assert last.startswith("InputError:") and "'dermma'" in last and "'derma'" in last


def test_the_explorer_opens_on_a_finished_run(executed):
    places = {"data_root": str(executed / "data"), "runs": str(executed / "runs")}
    fields = params.step_fields("explore")
    namespace = {name: value for name, value in (RUN | places).items() if name in fields}
    _, explorer, _ = start(namespace, "explore", explore)
    assert explorer.run.value == f"demo/{DATASET}/{CLASSIFIER}"
    assert {*params.REFERENCES, *params.DENOISERS} == set(explorer.session.defenses)


def test_each_notebook_writes_what_the_parameters_page_says(executed):
    """`WRITES` is what the book tells papermill's users; nothing more and nothing less is left."""
    base = executed / "runs" / "demo"
    names = {name for step in EXECUTED for name in WRITES[step]}
    names.remove("<dataset>/<classifier>/lesions.parquet")  # no phantom has a marked lesion
    patterns = [
        re.sub(r"<[^>]+>", "[^/]+", name).replace(".", "[.]").replace("*", ".*") for name in names
    ]
    left = {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}
    left = {name for name in left if not name.endswith("run.json")}
    assert not [name for name in left if not any(re.fullmatch(p, name) for p in patterns)]
    assert not [p for p in patterns if not any(re.fullmatch(p, name) for name in left)]
