"""The archive: what is in it, that nothing else is, and that a changed file is found elsewhere."""

import json
import os
import shutil
import subprocess
import tomllib

import pytest
import yaml
from conftest import refused
from packaging.requirements import Requirement

from book import archive, build
from book.run_pages import Page
from lib import params
from lib.evidence import archive as record
from lib.params import runs

RUN = "results/compact-28/oct/resnet50"


@pytest.fixture
def packed(tmp_path):
    """A small archive: one record of this project, and its list of checksums."""
    folder = tmp_path / "Größe & Maß"
    shutil.copytree(params.ROOT / RUN, folder / "source" / RUN)
    record.write_sums(folder / "source" / "results")
    (folder / "README.md").write_text("what is here", encoding="utf-8")
    archive.write_sums(folder)
    return folder


def test_a_whole_archive_is_verified_and_its_list_is_what_sha256sum_reads(packed):
    assert list(archive.problems(packed)) == []
    command = ["sha256sum", "--check", "--quiet", "--strict", archive.SUMS]
    if shutil.which("sha256sum"):
        assert subprocess.run(command, cwd=packed).returncode == 0


@pytest.mark.parametrize("name", ["README.md", f"source/{RUN}/two_pixel.parquet"])
@pytest.mark.parametrize("change", ["cut", "lost", "added"])
def test_whatever_is_changed_is_named(packed, name, change):
    path = packed / name
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "lost":
        path.unlink()
    else:
        path = path.with_name(".hidden")
        path.write_text("")
    assert any(str(path) in each for each in archive.problems(packed))
    with refused_whole(path):
        archive.check(packed)


def refused_whole(path):
    return pytest.raises(archive.InputError, match=path.name)


def test_a_record_that_does_not_hold_is_found_though_its_checksums_fit(packed):
    path = packed / "source" / RUN / "run.json"
    about = json.loads(path.read_text())
    about["steps"]["restoration"]["data"]["source"] = "phantom"
    path.write_text(json.dumps(about))
    record.write_sums(packed / "source" / "results")
    archive.write_sums(packed)
    assert any("phantom" in each for each in archive.problems(packed))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_out_of_the_archive_is_found(packed):
    (packed / "outside").symlink_to(packed.parent)
    assert any("outside" in each for each in archive.problems(packed))


def test_what_is_no_archive_is_refused(packed):
    with refused(packed.parent):
        list(archive.problems(packed.parent))
    (packed / archive.SUMS).write_text("nonsense\n")
    with refused("nonsense"):
        list(archive.problems(packed))


def page(folder, step, data, **extra):
    """An executed notebook with its run.json."""
    path = folder / "demo" / "oct" / "resnet50" / f"{step}.ipynb"
    if step.startswith("results"):
        path = folder / "results" / "oct" / f"{step}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    steps = {step: {"data": data, **extra}}
    found = Page(path, folder)
    found.folder.mkdir(parents=True, exist_ok=True)
    (found.folder / "run.json").write_text(json.dumps({"steps": steps}))
    return Page(path, folder)


@pytest.mark.parametrize(
    ("step", "source", "extra", "shows"),
    [
        ("pixel_attack", "phantom", {}, False),
        ("pixel_attack", "rebuilt", {}, True),
        ("pixel_attack", "official", {}, True),
        ("results_dataset", "rebuilt", {"pictures": False}, False),
        ("results_dataset", "rebuilt", {"pictures": True}, True),
        ("results_dataset", "rebuilt", {}, True),
        ("results_size", "rebuilt", {}, False),
    ],
)
def test_pages_with_patients_are_known(tmp_path, step, source, extra, shows):
    assert archive.shows_patients(page(tmp_path, step, {"source": source}, **extra)) == shows


def test_a_page_without_a_record_might_show_anything(tmp_path):
    path = tmp_path / "demo" / "oct" / "datasets.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert archive.shows_patients(Page(path, tmp_path))


@pytest.fixture
def repository(tmp_path, monkeypatch, git):
    """A project of a few files with one commit, whose root counts as ours."""
    root = tmp_path / "project"
    shutil.copytree(params.ROOT / RUN, root / RUN)
    record.write_sums(root / "results")
    for name in archive.ON_TOP:
        (root / name).write_text(name)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        git(root, *words)
    monkeypatch.setattr(params, "ROOT", root)
    monkeypatch.setattr(runs, "ROOT", root)
    monkeypatch.setattr(build, "SITE", root / "nowhere")
    monkeypatch.setattr(archive, "_crate", lambda folder: None)
    return root


def test_an_archive_has_the_commit_and_pages_without_patients(repository, tmp_path):
    pages = tmp_path / "runs"
    page(pages, "pixel_attack", {"source": "phantom"})
    page(pages, "results_dataset", {"source": "rebuilt"}, pictures=True)
    target = tmp_path / "archive"
    left = archive.write(pages, repository / "results", target)
    assert list(archive.problems(target)) == []
    found = {path.name for path in (target / "notebooks").rglob("*.ipynb")}
    assert found == {"pixel_attack.ipynb"}
    assert (target / "source" / RUN / "run.json").exists()
    assert (target / "CITATION.cff").read_text() == "CITATION.cff"
    assert len(left) == 3 and all(each in (target / "README.md").read_text() for each in left)
    # A second one replaces the first.
    (target / "old").write_text("")
    archive.write(pages, repository / "results", target)
    assert list(archive.problems(target)) == []


def test_an_archive_of_changed_files_or_of_no_checkout_is_refused(repository, tmp_path):
    target = tmp_path / "archive"
    (repository / "LICENSE").write_text("another")
    with refused("commit"):
        archive.write(tmp_path, repository / "results", target)
    shutil.rmtree(repository / ".git")
    with refused("commit"):
        archive.write(tmp_path, repository / "results", target)
    assert not target.exists()


def test_metadata_that_do_not_validate_leave_nothing(repository, tmp_path, monkeypatch):
    def invalid(folder):
        raise archive.InputError("invalid")

    monkeypatch.setattr(archive, "_crate", invalid)
    with refused("invalid"):
        archive.write(tmp_path, repository / "results", tmp_path / "build" / "archive")
    assert not list((tmp_path / "build").iterdir())


@pytest.mark.skipif(not archive.CRATE.exists(), reason="`make archive` installs the libraries")
def test_metadata_of_a_record_validate(packed):
    (packed / "source" / "CITATION.cff").write_bytes((params.ROOT / "CITATION.cff").read_bytes())
    done = subprocess.run(
        [archive.CRATE, "-m", "book.crate", packed], cwd=params.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    graph = json.loads((packed / "ro-crate-metadata.json").read_text())["@graph"]
    by_id = {each["@id"]: each for each in graph}
    actions = [each for each in graph if each["@type"] == "CreateAction"]
    assert {each["name"].split()[0] for each in actions} == {
        "classifier", "pixel_attack", "restoration",
    }  # fmt: skip
    of = next(each for each in actions if each["name"].startswith("pixel_attack"))
    about = json.loads((packed / "source" / RUN / "run.json").read_text())["steps"]["pixel_attack"]
    assert of["endTime"] == about["finished"] and of["startTime"] < of["endTime"]
    inputs = [by_id[each["@id"]] for each in of["object"]]
    assert about["data"]["md5"] in {each.get("identifier") for each in inputs}
    values = {each["name"]: each["value"] for each in inputs if each["@type"] == "PropertyValue"}
    assert values["attack_population"] == about["parameters"]["attack_population"]
    results = {each["@id"] for each in of["result"]}
    assert f"source/{RUN}/two_pixel.parquet" in results
    assert all((packed / name).is_file() for name in results)


def test_its_libraries_are_locked_and_not_those_of_the_project():
    text = (params.ROOT / "book/requirements.lock").read_text()
    locked = {line.name: line for line in map(Requirement, text.splitlines())}
    assert all([item.operator for item in of.specifier] == ["=="] for of in locked.values())
    groups = tomllib.loads((params.ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for wanted in map(Requirement, groups["archive"]):
        version = next(iter(locked[wanted.name].specifier)).version
        assert wanted.specifier.contains(version)


def test_citation_has_what_its_schema_requires():
    about = yaml.safe_load((params.ROOT / "CITATION.cff").read_text())
    assert about["cff-version"] == "1.2.0" and about["type"] in ("software", "dataset")
    assert about["message"] and about["title"] and all("name" in each for each in about["authors"])
    version = tomllib.loads((params.ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert about["version"] == version
    for of in about["references"]:
        assert {"type", "title", "authors"} <= of.keys()


def test_codecheck_names_files_that_are_there():
    about = yaml.safe_load((params.ROOT / "codecheck.yml").read_text())
    assert about["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert {"title", "authors", "reference"} <= about["paper"].keys()
    assert about["manifest"]
    for entry in about["manifest"]:
        assert (params.ROOT / entry["file"]).is_file() and entry["comment"], entry
