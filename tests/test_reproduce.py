"""A recorded run made again: its own values, its own images, and a rule for each number."""

import json
import shutil
from math import inf, nan

import pandas as pd
import pytest
from conftest import refused

import book.make
from book import reproduce
from lib import params
from lib.params.files import read_json, read_table, write_json, write_table

NAMED = {"protocol": "compact-28", "dataset": "oct", "classifier": "resnet50"}
PLACE = "compact-28/oct/resnet50"


@pytest.mark.parametrize(
    ("recorded", "low", "high", "again", "found"),
    [
        (0.5, 0.4, 0.6, 0.5, "identical"),
        (0.5, 0.4, 0.6, 0.5 + 1e-12, "identical"),
        (0.5, 0.4, 0.6, 0.500001, "within"),
        (0.5, 0.4, 0.6, 0.4, "within"),
        (0.5, 0.4, 0.6, 0.39, "outside"),
        (0.0, 0.0, 0.1, 1e-12, "within"),
        (0.5, nan, nan, 0.5, "identical"),
        (0.5, nan, nan, 0.51, "outside"),
        (nan, nan, nan, nan, "identical"),
        (nan, nan, nan, 0.5, "outside"),
        (0.5, 0.4, 0.6, nan, "outside"),
        (inf, 0.9, inf, inf, "identical"),
    ],
)
def test_the_rule(recorded, low, high, again, found):
    assert reproduce.agreement(recorded, low, high, 9, again, 9) == found
    of_fewer = reproduce.agreement(recorded, low, high, 9, again, 8)
    assert of_fewer == ("within" if low <= again <= high else "outside")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A copy of one record, and a file that stands for its images."""
    shutil.copytree(params.ROOT / "results" / PLACE, tmp_path / "results" / PLACE)
    md5 = read_json(tmp_path / "results" / PLACE / "run.json")["data"]["md5"]
    monkeypatch.setattr(reproduce, "md5", lambda path: md5)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "octmnist.npz").write_bytes(b"")
    return tmp_path


def given(place, **more):
    folders = {"results": place / "results", "runs": place / "runs", "data_root": place / "data"}
    return NAMED | {name: str(path) for name, path in folders.items()} | more


def test_a_plan_has_the_recorded_values_and_steps(place):
    path = place / "results" / PLACE / "run.json"
    about = read_json(path)
    about["parameters"] |= {"attack_generations": 7, "attack_dither": [0.25, 1.0]}
    write_json(path, about)
    plan = reproduce.plan(given(place))
    assert plan.p.attack_generations == 7 and list(plan.p.attack_dither) == [0.25, 1.0]
    assert plan.p.attack_precision == about["parameters"]["attack_precision"]
    assert plan.p.classifier_weights == about["steps"]["classifier"]["start"]
    assert plan.steps == ["classifier", "pixel_attack", "restoration"]
    # What make hands on leads to the same run.
    again = params.load(**params.from_words(f"{k}={v}" for k, v in plan.given.items()))
    assert again.run_folder == plan.p.run_folder
    assert all(again.run_folder / f"{step}.ipynb" == params.ROOT / page
               for step, page in zip(plan.steps, plan.pages, strict=True))  # fmt: skip


def test_other_images_another_name_and_no_record_are_refused(place, monkeypatch):
    with refused("DATASET"):
        reproduce.plan({"classifier": "resnet50"})
    with refused("densenet121", PLACE):
        reproduce.plan(given(place, classifier="densenet121"))
    monkeypatch.setattr(reproduce, "md5", lambda path: "0" * 32)
    with refused("octmnist.npz", "0" * 32, "SIZE=28"):
        reproduce.plan(given(place))
    (place / "data" / "octmnist.npz").unlink()
    with refused("octmnist.npz", "missing"):
        reproduce.plan(given(place))


@pytest.fixture
def again(place):
    """The plan, with a run in its place that has found what is recorded."""
    plan = reproduce.plan(given(place))
    shutil.copytree(place / "results" / PLACE, plan.p.run_folder)
    return plan


def test_an_equal_run_is_identical_in_every_number(again):
    table = reproduce.compare(again)
    assert set(table["agreement"]) == {"identical"} and len(table) > 40
    kinds = set(table["quantity"])
    assert {"test accuracy", "attack success", "restoration, recovered"} <= kinds
    assert not table.duplicated(reproduce.NUMBER).any()


def test_other_numbers_are_within_or_outside_and_only_they(again):
    path = again.p.run_folder / "classifier.json"
    about = read_json(path)
    for change, found in ((1, "within"), (60, "outside")):
        test = about["test"] | {"correct": about["test"]["correct"] + change}
        write_json(path, about | {"test": test})
        table = reproduce.compare(again).set_index("quantity")
        assert table.loc["test accuracy", "agreement"] == found
        assert set(table.drop("test accuracy")["agreement"]) == {"identical"}


def test_an_attack_that_found_less_changes_the_numbers_of_its_pixels_alone(again):
    path = again.p.run_folder / "one_pixel.parquet"
    write_table(path, read_table(path).assign(success=False))
    table = reproduce.compare(again)
    changed = table[(table["agreement"] != "identical")]
    assert set(changed["pixels"]) == {1} and set(changed["agreement"]) == {"outside"}


def test_a_table_takes_the_place_of_its_own_run_alone(again, place):
    table = reproduce.compare(again)
    path = reproduce.keep(table, place / "results")
    reproduce.keep(table.assign(dataset="chest"), place / "results")
    reproduce.keep(table.assign(agreement="outside"), place / "results")
    kept = pd.read_csv(path).groupby("dataset", sort=False)["agreement"].agg(set)
    assert dict(kept) == {"chest": {"identical"}, "oct": {"outside"}}
    assert len(pd.read_csv(path)) == 2 * len(table)
    reproduce.keep(table.assign(reproduced_on="another machine"), place / "results")
    assert len(pd.read_csv(path)) == 3 * len(table)


def test_make_executes_the_notebooks_of_the_record_and_keeps_the_table(again, place, monkeypatch):
    called = []
    monkeypatch.setattr(book.make, "snakemake", lambda *words: called.append(words))
    flags = " ".join(f"{name}={value}" for name, value in given(place, jobs="1").items())
    monkeypatch.setenv("MAKEFLAGS", f" -- {flags}")
    assert book.make.main(["reproduce"]) == 0
    (words,) = called
    assert set(again.pages) <= set(words) and words[:2] == ("--cores", "1")
    config = json.loads(next(w for w in words if w.startswith("words=")).partition("=")[2])
    assert f"attack_precision={again.p.attack_precision}" in config
    assert (place / "results" / reproduce.TABLE).exists()
