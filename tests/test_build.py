"""The book: pages of finished runs, their place, the generated pages."""

import json
import re
import shlex
import shutil
from fnmatch import fnmatch

import nbformat
import pytest
import yaml
from conftest import refused

from book import build, generated, run_pages
from book._ext.pages import PARTED, own_texts, percent_with_number
from lib import params
from lib.params.stages import COMMON


@pytest.fixture
def book(tmp_path):
    """Runs with three finished pages and one under way; the book is built elsewhere."""
    for place in ("demo/oct/datasets", "demo/oct/resnet50/classifier", "demo/comparison",
                  "compact/derma/resnet50/classifier"):  # fmt: skip
        path = tmp_path / "runs" / f"{place}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = [nbformat.v4.new_markdown_cell(f"# {path.stem.title()}\n\nText.")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "runs/demo/oct/resnet50/x.ipynb.partial.ipynb").write_text("{")
    machine = {"processor": "P", "cores": 2, "threads": 2, "memory_gib": 24, "gpu": None}
    data = {"source": "phantom", "npz": "octmnist.npz", "md5": "0"}
    given = params.load("demo", "oct", data_size=64).model_dump()
    entry = {"data": data, "parameters": given, "wall_seconds": 3.2,
             "finished": "2026-01-01T00:00:00", "commit": "abc", "versions": {"torch": "2"},
             "hardware": machine}  # fmt: skip
    (tmp_path / "runs/demo/oct/run.json").write_text(json.dumps({"steps": {"datasets": entry}}))
    return tmp_path


def test_pages_are_the_finished_notebooks_in_order(book):
    pages = run_pages.find_pages(book / "runs")
    assert [page.name for page in pages] == [
        "runs/compact/derma/resnet50/classifier", "runs/demo/oct/resnet50/classifier",
        "runs/demo/comparison", "runs/demo/oct/datasets",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "demo/oct/datasets-Copy1.ipynb", "demo/oct/.ipynb_checkpoints/datasets-checkpoint.ipynb",
        "demo/oct/.datasets.ipynb", "demo/oct/._datasets.ipynb", "demo/oct/Untitled.ipynb",
        "demo/oct/datasets (1).ipynb", "old/demo/oct/datasets.ipynb", ".old/oct/datasets.ipynb",
        "demo/oct/resnet50/a/classifier.ipynb", "demo/oct/datasets.ipynb~", "demo copy/audit.ipynb",
    ],
)  # fmt: skip
def test_a_notebook_that_is_no_step_in_its_place_is_no_page(book, name):
    before = [page.name for page in run_pages.find_pages(book / "runs")]
    path = book / "runs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(book / "runs/demo/oct/datasets.ipynb", path)
    assert [page.name for page in run_pages.find_pages(book / "runs")] == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_damaged_notebook_is_named(book, content):
    page = run_pages.find_pages(book / "runs")[-1]
    page.path.write_bytes(content)
    with refused("datasets.ipynb"):
        run_pages.write_page(page, book / "book")


def test_a_page_is_named_after_its_run(book):
    page = run_pages.find_pages(book / "runs")[-1]
    run_pages.write_page(page, book / "book")
    written = nbformat.read(book / "book/runs/demo/oct/datasets.ipynb", as_version=4)
    assert written.cells[0].source.splitlines()[0] == "# Datasets: OCT (demo, phantom)"
    assert "{bdg-warning}`phantom images`" in written.cells[0].source


def test_a_page_of_a_changed_run_says_how_to_make_it_again(book):
    name = "demo+attack_generations=2+seed=1"
    shutil.copytree(book / "runs/demo", book / "runs" / name)
    file = book / "runs" / name / "oct/run.json"
    content = json.loads(file.read_text())
    made = params.load("demo", "oct", seed=1, attack_generations=2)
    content["steps"]["datasets"]["parameters"] = made.model_dump()
    file.write_text(json.dumps(content))
    pages = run_pages.find_pages(book / "runs")
    assert [page.protocol for page in pages if page.step == "datasets"] == ["demo", name]
    page = next(page for page in pages if page.protocol == name and page.run)
    assert page.changed == made.changed
    run_pages.write_page(page, book / "book")
    told = nbformat.read(book / f"book/{page.name}.ipynb", as_version=4).cells[-1].source
    command = re.search(r"`make run (.*)`", told)[1]
    again = params.load(**params.from_words(shlex.split(command)))
    assert again.run_name == name and again.dataset == "oct"


@pytest.mark.parametrize(
    "given",
    [{"data_split": "paper"}, {"denoiser_names": ["dae"]}, {"classifier_include_normal": False},
     {"attack_dither": [0.1, 0.2]}],
)  # fmt: skip
def test_the_command_of_a_page_makes_the_same_run(book, given):
    made = params.load("demo", "oct", **given)
    shutil.copytree(book / "runs/demo/oct", book / "runs" / made.run_name / "oct")
    file = book / "runs" / made.run_name / "oct/run.json"
    content = json.loads(file.read_text())
    content["steps"]["datasets"]["parameters"] = made.model_dump()
    file.write_text(json.dumps(content))
    pages = run_pages.find_pages(book / "runs")
    page = next(page for page in pages if page.protocol == made.run_name and page.run)
    command = re.search(r"`make run (.*?)`", run_pages.made_by(page))[1]
    assert params.load(**params.from_words(shlex.split(command))).run_name == made.run_name


def test_a_page_ends_with_how_it_was_made(book):
    page = run_pages.find_pages(book / "runs")[-1]
    run_pages.write_page(page, book / "book")
    written = nbformat.read(book / "book/runs/demo/oct/datasets.ipynb", as_version=4)
    told = written.cells[-1].source
    for part in ("`notebooks/datasets.md`", "octmnist.npz", "`abc`", "P, 2 cores, 24 GiB",
                 "`data_size=64`", "make run PROTOCOL=demo DATASET=oct data_size=64"):  # fmt: skip
        assert part in told
    assert "data_split" not in told  # as in the protocol
    about = json.loads((book / "book/runs/demo/oct/datasets.json").read_text())
    assert about["steps"]["datasets"]["commit"] == "abc"


def test_a_page_of_no_data_set_is_named_after_what_it_is_about(book):
    folder = book / "runs/demo"
    (folder / "engine").mkdir()
    (folder / "engine.ipynb").write_text((folder / "comparison.ipynb").read_text())
    step = {"steps": {"engine": {"data": {"source": "phantom"}}}}
    (folder / "engine/run.json").write_text(json.dumps(step))
    page = {page.step: page for page in run_pages.find_pages(book / "runs")}
    assert (page["engine"].label, page["engine"].sources) == ("both classifiers", "phantom")
    assert page["comparison"].label == "all data sets"


def files(entries):
    """Files of a part of the contents, sections too."""
    for entry in entries:
        yield from [entry["file"]] if "file" in entry else []
        yield from files(entry.get("sections", []))


def steps(entries):
    """What the entries for pages of runs stand for: step, and which images."""
    for entry in entries:
        yield from [(entry["runs"], entry.get("images"))] if "runs" in entry else []
        yield from steps(entry.get("sections", []))


def test_every_run_page_has_a_place_in_the_contents(book):
    pages = run_pages.find_pages(book / "runs")
    toc = build.contents(pages)
    listed = [name for part in toc["parts"] for name in files(part["chapters"])]
    assert {page.name for page in pages} <= set(listed) and len(set(listed)) == len(listed)
    parts = yaml.safe_load((params.ROOT / "_toc.yml").read_text())["parts"]
    named = [each for part in parts for each in steps(part["chapters"])]
    placed = {step for step, _ in named}
    assert placed - {"walkthrough"} == {*params.STEPS} - {"explore", "walkthrough"}
    for step in placed:  # every page once
        kinds = sorted(str(images) for name, images in named if name == step)
        assert kinds in (["None"], ["phantom", "real"])


def test_narrative_pages_are_there_and_listed():
    toc = yaml.safe_load((params.ROOT / "_toc.yml").read_text())
    listed = {name for part in toc["parts"] for name in files(part["chapters"])}
    there = {path.stem for path in (params.ROOT / "book").glob("*.md")}
    assert listed | {toc["root"]} == there | {"status", "parameters", "finder"}


def test_parameters_page_holds_every_parameter_and_protocol():
    text = generated.parameters_page()
    for name in params.Parameters.model_fields:
        assert f"| `{name}` |" in text
    assert text.count("| parameter | meaning | demo | compact | sample | paper |") == len(
        {name.split("_")[0] for name in params.Parameters.model_fields if "_" in name} | {""}
    )
    takes = dict(re.findall(r"^\| `(\w+)` \| (.*?); writes ", text.split("## All")[0], re.M))
    assert list(takes) == list(params.STEPS)
    for step, said in takes.items():
        names = {*COMMON, *re.findall(r"`(\w+\*?)`", said)}
        of = {
            field
            for field in params.Parameters.model_fields
            if any(fnmatch(field, name) for name in names)
        }
        assert of == set(params.step_fields(step)), step
    assert "| `attack_population` | " in text
    assert r"; writes `<dataset>/<classifier>/<one\|two>_pixel.parquet`, " in text
    assert "| `compact-28` | `compact` | `data_size=28`" in text


def test_costs_are_those_of_finished_runs(book):
    pages = run_pages.find_pages(book / "runs")
    assert "| `datasets` | 0.053 |" in generated.costs(book / "results", pages)
    assert "`demo`, 2 threads, P" in generated.costs(book / "results", pages)
    assert generated.costs(book / "results", []) == "No run has finished yet."


def test_status_page_names_time_machine_and_source(book):
    text = generated.status_page(run_pages.find_pages(book / "runs"), {})
    machine = "P, 2 cores, 24 GiB, GPU: none"
    for part in ("datasets: OCT", "phantom", "3.2", machine, "| torch | 2 |"):
        assert part in text
    assert "No run has finished yet." in generated.status_page([], {})


def test_fingerprint_follows_pages(book):
    places = book / "runs", book / "results"
    before = build.fingerprint(*places)
    assert build.fingerprint(*places) == before
    (book / "runs/demo/comparison.ipynb").write_text("{}")
    assert build.fingerprint(*places) != before


def test_finder_leads_from_each_table_and_figure_to_a_page(tmp_path):
    names = ["demo/derma/datasets", "demo/derma/denoisers", "demo/comparison",
             "demo/abdomen_ct/ablation"]  # fmt: skip
    steps = ("classifier", "pixel_attack", "restoration")
    names += [f"demo/derma/{net}/{step}" for net in ("resnet50", "densenet121") for step in steps]
    for name in names:
        path = tmp_path / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "coverage.csv").write_text("kind,number,verdict,reason\ntable,17,in part,because\n")
    text = generated.finder_page(run_pages.find_pages(tmp_path), tmp_path)
    tables, figures = text.split("## Figures")
    rows = {line.split(" | ")[0]: line for line in tables.splitlines() if line.startswith("| ")}
    assert "**1** in part" in tables and "**0** replicated" in tables
    assert len(rows) == 52 + 2 and figures.count("\n| ") == 26 + 2
    assert "</runs/demo/derma/resnet50/pixel_attack>" in rows["| 17"]
    assert ">in part</span> | because |" in rows["| 17"] and "| – |" in rows["| 36"]
    assert "</runs/demo/derma/densenet121/restoration>" in rows["| 36"]
    assert "</runs/demo/derma/datasets>" in rows["| 7"] and "`status`" in rows["| A1"]
    assert "</runs/demo/abdomen_ct/ablation>" in rows["| 5"]
    assert rows["| 12"].count("{doc}") == 1 and "resnet50" in rows["| 12"]
    assert "{doc}" not in rows["| 9"]


def test_finder_shows_counts_that_decide_a_verdict(tmp_path):
    (tmp_path / "coverage.csv").write_text(
        "kind,number,verdict,reason\ntable,10,replicated,a\ntable,7,not testable,b\n"
    )
    (tmp_path / "published_counts.csv").write_text(
        "dataset,class,images,source\nchest,nodule,2705,NIH list\n"
    )
    tables, counts = generated.finder_page([], tmp_path).split("## Class sizes")
    rows = {line.split(" | ")[0]: line for line in tables.split("## Figures")[0].splitlines()}
    assert "<class-sizes>" in rows["| 10"] and "<class-sizes>" not in rows["| 7"]
    assert "| nodule | 2,705 | 2,705 |" in counts and "Table 7" not in counts


def test_each_picture_of_a_cell_gets_its_own_text():
    both = PARTED.join(("first", "second"))
    body = f'<img alt="{both}" src="1"/><p>x</p><img src="2" alt="{both}"/><img alt="third"/>'
    assert re.findall('alt="([^"]*)"', own_texts(body)) == ["first", "second", "third"]


def test_a_percent_sign_stays_with_its_number_except_in_code():
    body = "<p>18 % of 4</p><pre><span>7 % 2</span></pre><code>5 % 3</code><p>(9 %)</p>"
    kept = "<pre><span>7 % 2</span></pre><code>5 % 3</code>"
    assert (
        percent_with_number(body)
        == f"<p>18\N{NO-BREAK SPACE}% of 4</p>{kept}<p>(9\N{NO-BREAK SPACE}%)</p>"
    )
