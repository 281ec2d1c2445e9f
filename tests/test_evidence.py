"""The record: what is frozen, what is refused, and that a changed cell is found."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from PIL import Image

from book import summaries
from lib import data, params
from lib.attack import attack_run, locate, rebuild
from lib.defense import attackers, detection, restoration
from lib.evidence import archive, claims, record, schema, verify
from lib.evidence import printed as paper
from lib.evidence.__main__ import main
from lib.models import classifiers
from lib.models.classifiers import Classifier, predictor
from lib.models.denoisers.reference import Identity, Median3
from lib.params.files import md5, read_json, read_table, write_json, write_table
from lib.params.runs import Run

P = params.load(
    "demo", "oct", "resnet50", attack_population=5, attack_generations=2, attack_pixels=[1],
    attack_one_pixel_images=6, device="cpu", runs="/somewhere/runs", denoiser_names=[],
    attackers_images=1, attackers_names=["adaptive"], attackers_defenses=["identity", "median3"],
)  # fmt: skip
"""A run of seconds; the images are drawn, and called rebuilt to stand for real ones."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shallow):
    """A run folder with an attack and its restoration, and the npz file it used."""
    base = tmp_path_factory.mktemp("evidence")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = Classifier("resnet50", 4, 28).eval()
    predict = predictor(model, P, "cpu")
    arrays = {}
    for part, count in (("train", 8), ("val", 4), ("test", 40)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{part}_images"] = pixels
        arrays[f"{part}_labels"] = np.array(predict(pixels[..., None]), np.uint8)[:, None]
    (base / "data").mkdir()
    np.savez(base / "data" / "octmnist.npz", **arrays)
    images = data.load("oct", base / "data", 28)
    folder = base / "runs" / "demo" / "oct" / "resnet50"
    test = {"images": 40, "correct": 10, "accuracy": 0.25, "majority_accuracy": 0.3}
    classifiers.save(
        model, folder, key="none", history=[], start="random", training_images=8, test=test
    )
    records, _ = attack_run(model, images, 1, P, folder)
    clean = locate(images, records).images
    table = restoration.restore_all(
        clean, rebuild(clean, records), records, {"identity": Identity(1), "median3": Median3(1)},
        predictor(model, P, "cpu"), "cpu",
    )  # fmt: skip
    write_table(folder / "restoration_one_pixel.parquet", table)
    write_table(folder / "detection_one_pixel.parquet", detection.summary(table, 50, 0))
    attackers.attack_all(model, images, {1: records}, P, folder)
    Run(folder, "restoration", P, images.provenance.as_dict()).finish()
    return base


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "made")
    return tmp_path / "made"


def freeze(base):
    return archive.freeze(base / "runs", base / "results", "demo")


def edit(path, change):
    write_table(path, change(read_table(path)))


def put(column, row, value):
    """A change of one cell."""

    def change(table):
        values = list(table[column])
        values[row] = value(values[row]) if callable(value) else value
        return table.assign(**{column: values})

    return change


def everywhere(column, value):
    """A change of each cell of a column."""
    return lambda table: table.assign(**{column: [value] * len(table)})


def negated(was):
    return not was


def test_the_record_holds_tables_and_history_but_no_weights(run):
    (folder,) = freeze(run)
    assert folder == run / "results" / "demo" / "oct" / "resnet50"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "classifier.json", "run.json", "one_pixel.parquet", "restoration_one_pixel.parquet",
        "attackers_one_pixel.parquet", "detection_one_pixel.parquet",
    }  # fmt: skip
    pd.testing.assert_frame_equal(
        read_table(folder / "one_pixel.parquet"),
        read_table(run / "runs/demo/oct/resnet50/one_pixel.parquet"),
    )
    assert list(verify.problems(run / "results")) == []
    given = read_json(folder / "run.json")["parameters"]
    assert not [value for value in given.values() if str(value).startswith("/")]
    freeze(run)  # again, over the first
    assert {path.name for path in folder.iterdir()} == names


def test_a_run_with_changed_values_is_not_recorded(run):
    changed = "demo+attack_generations=2"
    shutil.copytree(run / "runs" / "demo", run / "runs" / changed)
    with refused(changed):
        archive.freeze_all(run / "runs", run / "results", changed)
    given = [f"runs={run / 'runs'}", f"results={run / 'results'}", "protocol=demo"]
    with refused():
        main(["record", *given, "attack_generations=2"])
    assert not (run / "results").exists()
    archive.freeze_all(run / "runs", run / "results", "demo")
    assert {path.name for path in (run / "results").iterdir() if path.is_dir()} == {"demo"}


def test_every_class_is_tested_again(run):
    freeze(run)
    folder = run / "results/demo/oct/resnet50"

    def again():
        return list(verify.retest(run / "results", run / "runs", run / "data"))

    assert again() == [("", f"demo/oct/resnet50/{TABLE}")]
    row = len(read_table(folder / TABLE)) - 1
    edit(folder / TABLE, put("adversarial", row, lambda was: (was + 1) % 4))
    ((problem, _),) = again()
    assert f"row {row}" in problem and "adversarial" in problem
    trained = run / "runs/demo/oct/resnet50/classifier.json"
    write_json(trained, read_json(trained) | {"history": [{"epoch": 1, "loss": 0.5}]})
    for problem, _ in again():
        assert problem.startswith("skipped:") and "classifier.safetensors" in problem
    shutil.rmtree(run / "runs")
    for problem, _ in again():
        assert problem.startswith("skipped:") and "classifier.safetensors" in problem
    with (run / "data" / "octmnist.npz").open("ab") as file:
        file.write(b" ")
    assert all(problem.startswith("skipped:") for problem, _ in again())


TABLE = "one_pixel.parquet"
RESTORED, AGAIN, DETECTED = (
    f"{kind}_{TABLE}" for kind in ("restoration", "attackers", "detection")
)


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        (TABLE, lambda t: t.drop(columns="rows"), ("rows",)),
        (TABLE, lambda t: t[:0], ()),
        (TABLE, put("evaluations", 2, 0), ("row 2", "evaluations", 0)),
        (TABLE, put("split", 1, "tset"), ("row 1", "split", "'tset'")),
        (TABLE, put("p_after", 0, np.inf), ("row 0", "p_after", "inf")),
        (TABLE, put("rows", 3, [1, 2]), ("row 3", "[1, 2]")),
        (TABLE, put("values", 0, [[256]]), ("row 0", 255)),
        (TABLE, put("success", 0, lambda was: not was), ("row 0", "success")),
        (TABLE, lambda t: t.assign(index=t["index"][0]), ("row 1",)),
        (TABLE, put("rows", 1, [28]), ("row 1", "(28, ", 27)),
        (TABLE, put("cols", 2, [-1]), ("row 2", ", -1)", 27)),
        (TABLE, everywhere("rows", [0.5]), ("row 0", "(0.5, ")),
        (TABLE, everywhere("cols", ["a"]), ("cols",)),
        (TABLE, everywhere("values", [[1.5]]), ("row 0", 255)),
        (TABLE, put("values", 0, [[1, 2]]), ("row 0", "values")),
        (TABLE, put("dataset", 1, "derma"), ("row 1", "dataset", "'derma'", "'oct'")),
        (TABLE, put("part", 2, "val"), ("row 2", "part", "'val'", "'test'")),
        (RESTORED, put("fsim", 4, 2.0), ("row 4", "fsim", 2.0)),
        (RESTORED, put("index", 0, 999), ("row 0", "test 999", "one_pixel")),
        (RESTORED, lambda t: t[:-1], ("image test ", "median3")),
        (RESTORED, lambda t: pd.concat([t, t[-1:]]), ("row ", "median3")),
        (RESTORED, put("label", 7, -1), ("row 7", "label", -1, "one_pixel.parquet")),
        (RESTORED, put("success", 8, negated), ("row 8", "success", "one_pixel.parquet")),
        (RESTORED, put("kept", 9, negated), ("row 9", "kept", "one_pixel.parquet")),
        (RESTORED, put("clean_class", 0, -1), ("row 0", "kept", True, False)),
        (RESTORED, put("recovered", 3, negated), ("row 3", "recovered", "one_pixel.parquet")),
        (
            RESTORED,
            lambda t: t.assign(restored_class=-1, recovered=True),
            ("row 0", "recovered", True, False),
        ),
        (RESTORED, put("dataset", 4, "chest"), ("row 4", "dataset", "'chest'", "'oct'")),
        (
            AGAIN,
            lambda t: t.assign(index=t["index"].replace(t["index"][0], 999)),
            ("row 0", "test 999", "one_pixel"),
        ),
        (AGAIN, put("category", 0, 9), ("row 0", "category", 9, "one_pixel.parquet")),
        (AGAIN, put("family", 1, "l2"), ("row 1", "family", "'l2'")),
        (AGAIN, put("evaluations", 1, -1), ("row 1", "evaluations", -1)),
        (AGAIN, put("label", 0, -1), ("row 0", "label", -1, "one_pixel.parquet")),
        (AGAIN, put("part", 1, "train"), ("row 1", "part", "'train'")),
        (AGAIN, put("dataset", 1, "derma"), ("row 1", "dataset", "'derma'", "'oct'")),
        (TABLE, put("rows", 0, []), ("row 0", "[0, 1]")),
        (DETECTED, lambda t: t.drop(columns="auc"), ("auc",)),
        (DETECTED, put("images", 0, "some"), ("row 0", "images", "'some'")),
        (DETECTED, put("auc", 2, 1.5), ("row 2", "auc", 1.5)),
        (DETECTED, put("auc_low", 2, -0.5), ("row 2", "auc_low", -0.5)),
        (DETECTED, put("auc", 2, np.nan), ("row 2", "auc", "nan")),
        (DETECTED, put("n", 2, 0), ("row 2", "auc", 0)),
        (DETECTED, put("auc_high", 2, 0.0), ("row 2", "auc", "auc_low", "auc_high")),
        (DETECTED, put("auc_low", 2, 1.0), ("row 2", "auc", "auc_low", 1.0, "auc_high")),
    ],
)
def test_a_wrong_table_is_named_and_nothing_is_recorded(run, file, change, named):
    edit(run / "runs/demo/oct/resnet50" / file, change)
    with refused(f"runs/demo/oct/resnet50/{file}", *named):
        freeze(run)
    assert not list((run / "results").glob("**/*.*"))


@pytest.mark.parametrize(
    ("test", "named"),
    [
        ({"accuracy": 0.26}, (0.26, 10, 40, 0.25)),
        ({"accuracy": None}, (None, 10, 40)),
        ({"correct": 41}, (41, 40)),
        ({"correct": 10.5}, (10.5, 40)),
        ({"images": 0}, (10, 0)),
        ({"correct": 11, "accuracy": 0.275}, ("correct", 11, 10)),
    ],
)
def test_an_accuracy_must_follow_from_its_counts(run, test, named):
    path = run / "runs/demo/oct/resnet50/classifier.json"
    about = read_json(path) | {"task": "single-label"}
    about["test_by_class"] = [{"images": 30, "correct": 8}, {"images": 10, "correct": 2}]
    write_json(path, about)
    freeze(run)
    write_json(path, about | {"test": about["test"] | test})
    with refused(path, *named):
        freeze(run)


def test_a_row_of_another_variant_is_one_sentence(run):
    (folder,) = freeze(run)
    path = folder / "run.json"
    about = read_json(path)
    for table in folder.glob("*_pixel.parquet"):
        if "dataset" in read_table(table):
            edit(table, everywhere("dataset", "derma"))
    about["parameters"]["dataset"] = "derma"
    write_json(path, about)
    archive.write_sums(run / "results")
    (problem,) = verify.problems(run / "results")
    assert str(path) in problem and "'derma'" in problem
    del about["parameters"]["data_size"]
    write_json(path, about)
    found = list(verify.problems(run / "results"))
    assert any(str(path) in problem and "data_size" in problem for problem in found)


def test_parts_drawn_anew_differ_from_the_splits(run):
    folder = run / "runs/demo/oct/resnet50"
    about = read_json(folder / "run.json")
    about["parameters"]["data_split"] = "paper"
    write_json(folder / "run.json", about)
    for name in (TABLE, AGAIN):
        edit(folder / name, everywhere("part", "train"))
    freeze(run)
    edit(folder / AGAIN, put("part", 0, "val"))
    with refused(AGAIN, "row 0", "part", "'val'", "'train'"):
        freeze(run)


def test_a_restoration_without_its_attack_is_found(run):
    (run / "runs/demo/oct/resnet50" / TABLE).unlink()
    with refused(RESTORED, TABLE):
        freeze(run)


def test_a_file_that_was_changed_lost_or_added_is_found(run):
    (folder,) = freeze(run)
    base = run / "results"
    sums = base / verify.FILE_SUMS
    known = read_json(sums)
    assert list(known) == sorted(f"demo/oct/resnet50/{path.name}" for path in folder.iterdir())

    edit(folder / RESTORED, put("psnr", 0, 20.0))  # which could be
    (problem,) = verify.problems(base)
    assert RESTORED in problem and known[f"demo/oct/resnet50/{RESTORED}"] in problem
    (folder / RESTORED).unlink()
    (problem,) = verify.problems(base)
    assert str(folder / RESTORED) in problem
    archive.write_sums(base)
    assert list(verify.problems(base)) == []

    (base / "README.md").write_text("made from the record\n")  # held against it elsewhere
    (base / summaries.FIGURE).write_bytes(b"drawn")
    (problem,) = verify.problems(base)
    assert str(base / "recovery.png") in problem
    archive.write_sums(base)
    assert list(verify.problems(base)) == []

    shutil.rmtree(base / "demo")
    assert len(found := list(verify.problems(base))) == len(known) - 1
    assert all(any(name in problem for name in known) for problem in found)
    sums.write_text("{")
    assert str(sums) in next(verify.problems(base))
    sums.unlink()
    (problem,) = verify.problems(base)
    assert str(sums) in problem


def test_phantoms_and_unknown_sources_are_refused(run):
    path = run / "runs/demo/oct/resnet50/run.json"
    about = read_json(path)
    about["steps"]["restoration"]["data"]["source"] = "phantom"
    write_json(path, about)
    with refused(path, "'phantom'"):
        freeze(run)
    del about["data"]
    write_json(path, about)
    with refused(path, "data"):
        freeze(run)
    with refused(run / "runs/paper"):
        archive.freeze(run / "runs", run / "results", "paper")


def test_results_on_different_data_are_not_mixed(run):
    (folder,) = freeze(run)
    other = folder.with_name("densenet121")
    shutil.copytree(folder, other)
    about = read_json(other / "run.json")
    about["steps"]["restoration"]["data"]["md5"] = "0" * 32
    write_json(other / "run.json", about)
    archive.write_sums(run / "results")
    (problem,) = verify.problems(run / "results")
    assert str(folder.parent) in problem and "0" * 32 in problem


def test_a_damaged_run_hides_no_other_problem(run):
    (folder,) = freeze(run)
    (folder / "run.json").write_text("{")
    (folder / "one_pixel.parquet").unlink()
    damaged, *changed = verify.problems(run / "results")
    assert "run.json is no JSON" in damaged and len(changed) == 2
    assert any("one_pixel.parquet is missing" in each for each in changed)


def test_a_changed_cell_of_the_paper_is_found(tmp_path, monkeypatch):
    assert list(verify.printed_problems()) == []
    assert len(verify.printed_sums()) == 52
    shutil.copytree(paper.FOLDER, tmp_path / "paper")
    monkeypatch.setattr(paper, "FOLDER", tmp_path / "paper")
    path = tmp_path / "paper" / "table_33_two_pixel_totals.csv"
    text = path.read_text()
    path.write_text(text.replace("387", "468"))
    (problem,) = verify.printed_problems()
    assert path.name in problem
    path.write_text(text)
    assert list(verify.printed_problems()) == []
    path.unlink()
    (problem,) = verify.printed_problems()
    assert path.name in problem


def test_a_record_is_read_as_its_tables_are(run):
    about = {"name": "dae", "parameters": {"trainable": 5}, "settings": {"epochs": 2},
             "history": [{"seconds": 90.0}], "wall_seconds": 90.0, "validation_psnr": 25.0,
             "identity_psnr": 19.0}  # fmt: skip
    base = run / "runs/demo/oct"
    write_json(base / "denoisers" / "dae.json", about)
    file = run / "data/octmnist.npz"
    source = {"npz": file.name, "source": "rebuilt", "md5": md5(file)}
    Run(base / "denoisers", "denoisers", P, source).finish()
    freeze(run)
    found = record.read(run / "results" / "demo")
    assert list(found.folders["results"]) == ["oct/denoisers", "oct/resnet50"]
    assert found.sources == ["rebuilt"] and found.ablation is None
    folder = run / "runs/demo/oct/resnet50"
    for kind, file in (("attacks", TABLE), ("restored", RESTORED)):
        table = read_table(folder / file)
        own = getattr(found.runs, kind)[[*table]]
        pd.testing.assert_frame_equal(own, table, check_dtype=False)
    assert found.runs.denoisers[["denoiser", "psnr", "noisy_psnr", "minutes"]].values.tolist() == [
        ["dae", 25.0, 19.0, 1.5]
    ]
    row = found.classifiers.iloc[0]
    assert (row["accuracy"], row["printed accuracy"]) == (0.25, 0.9617)
    with refused(run / "results" / "paper"):
        record.read(run / "results" / "paper")


def ablated(folder, seeds, p, md5="m"):
    """A record of an ablation with so many rows for each seed."""
    table = {"psnr": 20.0, "mse": 0.1, "ssim": 0.5, "gmsd": 0.1, "fsim": 0.5, "variant": "dae"}
    rows = [{**table, "seed": seed} for seed in seeds for _ in range(3)]
    write_table(folder / "ablation.parquet", pd.DataFrame(rows))
    models = [{"variant": "dae", "seed": seed, "seconds": 1.0, "loss": 0.1} for seed in seeds]
    write_table(folder / "ablation_models.parquet", pd.DataFrame(models))
    Run(folder, "ablation", p, {"npz": "a.npz", "source": "rebuilt", "md5": md5}).finish()


def test_further_seeds_of_the_ablation_join_those_of_the_protocol(tmp_path):
    p = params.load("compact", "abdomen_ct", device="cpu", denoiser_precision="float32")
    ablated(tmp_path / "compact" / "abdomen_ct", (0, 1), p)
    ablated(tmp_path / "compact-seed-2" / "abdomen_ct", (1, 2), p)
    found = record.read(tmp_path / "compact")
    images, models = found.ablation
    assert images["seed"].value_counts().to_dict() == {0: 3, 1: 3, 2: 3}
    assert models["seed"].tolist() == [0, 1, 2]
    assert found.folders["results"].tolist() == ["abdomen_ct"]
    assert found.variants["results"].tolist() == ["compact-seed-2/abdomen_ct"]
    assert found.variants["precision"].tolist() == ["float32"]


def test_repeats_on_another_file_are_found(tmp_path):
    p = params.load("compact", "abdomen_ct", device="cpu")
    ablated(tmp_path / "compact" / "abdomen_ct", (0,), p)
    ablated(tmp_path / "compact-seed-2" / "abdomen_ct", (2,), p)
    archive.write_sums(tmp_path)
    assert list(verify.problems(tmp_path)) == []
    ablated(tmp_path / "compact-seed-2" / "abdomen_ct", (2,), p, md5="other")
    archive.write_sums(tmp_path)
    (problem,) = verify.problems(tmp_path)
    assert "compact-seed-2" in problem and "other" in problem


def test_summaries_on_disk_must_follow_from_the_record(run):
    freeze(run)
    (run / "results" / "demo").rename(run / "results" / "compact")
    base = run / "results"
    assert len(list(summaries.problems(base))) == 3
    first = run / "README.md"
    first.write_text("# Title\n\n<!-- found -->\nold\n<!-- /found -->\n\nMore.\n")
    table, text, _, drawn = summaries.write(base)
    assert list(summaries.problems(base)) == [] and len(pd.read_csv(table)) == 78
    begin, ours, end = re.split("<!-- /?found -->", first.read_text())
    assert (begin, end) == ("# Title\n\n", "\n\nMore.\n")
    assert "OCT" in ours and "(results/recovery.png)" in ours and "old" not in ours
    assert all(f"| {entry['claim']} " in text.read_text() for entry in claims.entries())
    for path in (table, text, first):
        path.write_text(path.read_text().replace("not testable", "replicated", 1))
    Image.open(drawn).save(drawn)  # without the words
    found = list(summaries.problems(base))
    assert len(found) == 4 and all("line" in each for each in found[:3])
    for path, problem in zip((table, text, first, drawn), found, strict=True):
        assert str(path) in problem
    drawn.unlink()
    *_, problem = summaries.problems(base)
    assert str(drawn) in problem and problem != found[-1]
    with refused(run / "runs" / "nothing"):
        summaries.made(run / "runs" / "nothing")


def test_minutes_of_a_step_that_read_its_work_back_are_those_of_the_work(tmp_path):
    run = {"wall_seconds": 3.0}
    assert record.step_minutes(tmp_path, "classifier", run) == 3 / 60  # no file of it
    write_json(tmp_path / "classifier.json", {"history": [{"seconds": 60.0}, {"seconds": 30.0}]})
    assert record.step_minutes(tmp_path, "classifier", run) == 1.5
    assert record.step_minutes(tmp_path, "classifier", {"wall_seconds": 120.0}) == 2
    attacks = {"attacks": {"one_pixel": {"seconds": 90.0}, "two_pixel": {"seconds": 150.0}}}
    assert record.step_minutes(tmp_path, "pixel_attack", run | attacks) == 4
    assert record.step_minutes(tmp_path, "restoration", run) == 3 / 60
    models = pd.DataFrame({"seconds": [30.0, 90.0]})
    write_table(tmp_path / "ablation_models.parquet", models)
    assert record.step_minutes(tmp_path, "ablation", run) == 2
    folder = tmp_path / "denoisers"
    folder.mkdir()
    for name, seconds in (("dae", 60.0), ("autoencoder", 30.0)):
        write_json(folder / f"{name}.json", {"wall_seconds": seconds})
    write_json(folder / "run.json", {"wall_seconds": 1000.0})  # of the step, not of a denoiser
    assert record.step_minutes(folder, "denoisers", run) == 1.5


def test_what_a_success_is_follows_the_criterion_of_the_run(run):
    path = run / "runs/demo/oct/resnet50/one_pixel.parquet"
    table = read_table(path)
    table = table.assign(success=True, adversarial=table["predicted"] + 1, true_label_changed=True)
    table.loc[1, ["success", "true_label_changed"]] = False  # another label than a true one changed
    said = {name: list(schema.problems(path, table, name)) for name in ("any_label", "true_label")}
    assert said["true_label"] == []
    (problem,) = said["any_label"]
    assert "row 1" in problem and "success" in problem
    table.loc[0, "true_label_changed"] = False
    (problem,) = schema.problems(path, table, "true_label")
    assert "row 0" in problem and "success" in problem
