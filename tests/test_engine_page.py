"""The page "Speed of the attack": what it computes, what it reads, and its figures."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from test_figures import check_drawn, check_empty
from torchvision.models import DenseNet121_Weights, ResNet50_Weights

from benchmarks import engine, figures, measured, summaries
from lib import params
from lib.attack.incremental.plan import GATHER
from lib.metrics.intervals import wilson

BOTH = pytest.mark.parametrize("architecture", engine.CLASSIFIERS)
RATES = {  # candidates a second on a CPU, one pixel: plain, whole maps, windows, search, peers
    ("resnet50", 224, "float32"): (10.0, 14.0, 28.0, 50.0, 5.0, 6.0),
    ("resnet50", 224, "bfloat16"): (None, 40.0, 70.0, 149.0, None, None),
    ("densenet121", 224, "float32"): (10.0, 12.0, 24.0, 51.0, None, None),
    ("resnet50", 64, "float32"): (100.0, 130.0, 140.0, None, None, None),
}
METHODS = (measured.PLAIN, measured.WHOLE, measured.WINDOWS, measured.SEARCH, "torchattacks", "ART")


def attack_rows(device="cpu"):
    rows = [
        (model, size, dtype, device, method, 1, value, value / (100 if size == 64 else 10))
        for (model, size, dtype), values in RATES.items()
        for method, value in zip(METHODS, values, strict=True)
        if value
    ]
    rows.append(("resnet50", 224, "float32", device, measured.WINDOWS, 2, 22.0, 2.2))
    return pd.DataFrame(rows, columns=measured.COLUMNS["attack"])


def peer_rows():
    rows = []
    for pixels in (1, 2):
        for method, successes in (("ours", 9), ("torchattacks", 4)):
            rate = (successes, successes / 20, *wilson(successes, 20))
            rest = (10_100, 8000.5, 300.0, "derma", 64, "resnet50", "phantom")
            rows.append((method, pixels, 20, *rate, *rest))
    return pd.DataFrame(rows, columns=measured.COLUMNS["peers"])


def recall_rows():
    """Derma: 8 of 10 vulnerable, 6 of these found and 1 beyond. OCT: 1 of 2, not found."""
    rows = []
    for dataset, count, vulnerable, found in (("derma", 10, 8, (0, 1, 2, 3, 4, 5, 9)),
                                              ("oct", 2, 1, ())):  # fmt: skip
        for index in range(count):
            n = 3 * (index + 1) if index < vulnerable else 0
            rows.append((dataset, "test", index, 0, n, 784, 8, n / 784, n > 0, index in found, 1, 2,
                         400, 300, "rebuilt"))  # fmt: skip
    return pd.DataFrame(rows, columns=measured.COLUMNS["recall"])


SCALING = pd.DataFrame([(100, 2.0, 20.0, 400.0, 700.0)], columns=measured.COLUMNS["scaling"])
MACHINE = {"processor": "P", "cores": 2, "memory_gib": 24, "gpu": None}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder without measured tables."""
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def folder(empty):
    """A folder with all of them."""
    tables = {"attack": attack_rows(), "scaling": SCALING, "peers": peer_rows()}
    for name, table in (tables | {"recall": recall_rows()}).items():
        table.to_csv(empty / f"{name}.csv", index=False)
    about = {"hardware": MACHINE, "threads": 1, "versions": {"torch": "2"}}
    (empty / "attack.json").write_text(json.dumps({"cpu": about}))
    return empty


# Computed.


@pytest.fixture(scope="module")
def work():
    return engine.work()


@BOTH
def test_the_engine_gives_the_logits_of_the_network(architecture):
    model = engine.example(architecture, 28, 1).double()
    row = engine.equality(model, engine.phantom(28, 1), 2, 3, 1)
    assert row["largest_difference"] < 1e-12
    assert row["largest_change"] > 1e-4 * row["largest_logit"]  # so there was something to find
    state = torch.random.get_rng_state()
    again = engine.example(architecture, 28, 1).double().state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@BOTH
@pytest.mark.parametrize(("row", "col"), [(20, 41), (0, 63)])
def test_all_that_a_pixel_changes_lies_in_the_windows(architecture, row, col):
    image = engine.enlarged(engine.phantom(28, 0), 64)
    model = engine.example(architecture, 64, 0).double()
    found = engine.growth(model, image, row, col)
    parts = zip(found.shown, found.differences, found.corners, strict=True)
    for n, change, (top, left) in parts:
        size, window = found.layers["map"][n], found.layers["window"][n]
        assert change.shape == (size, size) and change.max() > 0
        outside = np.ones_like(change, dtype=bool)
        outside[top : top + window, left : left + window] = False
        assert change[outside].max(initial=0) <= 1e-12 * change.max()
    assert np.argwhere(found.differences[0]).tolist() == [[row, col]]
    assert not found.layers["whole"][0] and found.layers["whole"].is_monotonic_increasing


def test_multiply_adds_are_those_that_torchvision_names(work):
    """Its numbers are for 1000 classes; one multiply-add is one of its operations."""
    for name, weights in (("resnet50", ResNet50_Weights), ("densenet121", DenseNet121_Weights)):
        last = {"resnet50": 2048, "densenet121": 1024}[name] * (1000 - engine.CLASSES)
        printed = weights.IMAGENET1K_V1.meta["_ops"]
        assert (engine.dense(name, 224) + last) / 1e9 == pytest.approx(printed, abs=6e-4)
    rows = work.set_index(["classifier", "size", "pixels"])
    assert (rows["bound"] >= rows["speed_up"]).all() and (rows["windows"] < rows["whole"]).all()
    assert (rows["speed_up"] >= rows["with_gathering"]).all() and (rows["speed_up"] > 1).all()
    one, two = (rows["bound"].xs(pixels, level="pixels") for pixels in (1, 2))
    assert (one > two).all()
    for name in engine.CLASSIFIERS:
        assert one[name].is_monotonic_increasing  # a window is a smaller part of a larger image


@BOTH
@pytest.mark.parametrize("pixels", [1, 2])
def test_the_profile_is_the_plans_work_by_stage(architecture, pixels):
    case = (architecture, 224, pixels)
    plan, found = engine.plan_of(*case), engine.profile(*case)
    assert found["stage"].tolist() == ["stem", "stage 1", "stage 2", "stage 3", "stage 4"]
    total = (found["windows"] + found["gathered"]).sum() * 1e6
    assert total == pytest.approx(plan.work(plan.switch))
    assert found["whole"].sum() * 1e6 == pytest.approx(plan.work(0) - GATHER * 3 * 224**2)
    layers = np.bincount(engine.stages(plan)).tolist()
    blocks = {"resnet50": [2, 3, 4, 6, 3], "densenet121": [2, 6, 1 + 12, 1 + 24, 1 + 16 + 1]}
    assert layers == blocks[architecture]


# Read.


@pytest.mark.parametrize("name", measured.COLUMNS)
def test_a_missing_table_is_said_and_is_empty(empty, name):
    found, said = measured.table(name)
    assert len(found) == 0 and list(found) == list(measured.COLUMNS[name])
    assert f"benchmarks/{name}.csv" in said
    makers = {"peers": "benchmarks.recall", "recall": "benchmarks.recall",
              "searches": "benchmarks.searches"}  # fmt: skip
    assert makers.get(name, "make bench") in said


def test_a_table_is_read_whole_or_refused(folder):
    found, said = measured.table("attack")
    pd.testing.assert_frame_equal(found, attack_rows())
    assert "benchmarks/attack.csv" in said and "make bench" not in said
    attack_rows().drop(columns="dtype").to_csv(folder / "attack.csv", index=False)
    with refused("'dtype'"):
        measured.table("attack")
    (folder / "attack.csv").write_text("")
    with refused(folder / "attack.csv"):
        measured.table("attack")


def test_the_machine_is_named(folder):
    said = measured.machine(attack_rows())
    assert (
        all(part in said for part in ("P", "2 cores", "24 GiB", "torch 2")) and "cuda" not in said
    )
    assert measured.machine(attack_rows("cuda")) == ""  # not measured there
    (folder / "attack.json").unlink()
    assert measured.machine(attack_rows()) == ""


def test_the_limit_is_a_share_of_what_the_machine_can_do(folder, work):
    apart = {"resnet50 224 float32 1": 0.5}
    about = {"peak_gflops": {"float32": 200}, "fixed_seconds": apart}
    (folder / "attack.json").write_text(json.dumps({"cpu": about}))
    found = measured.limit(attack_rows(), work, "cpu").set_index(
        ["classifier", "size", "dtype", "pixels"]
    )
    row = found.loc["resnet50", 224, "float32", 1]
    known = work.set_index(["classifier", "size", "pixels"]).loc["resnet50", 224, 1]
    assert row["left"] == pytest.approx(known["windows"] / known["network"])
    assert row["gflops"] == pytest.approx(2 * known["windows"] * 28 / 1000)
    assert row["of_peak"] == pytest.approx(row["gflops"] / 200)
    assert row["seconds"] == 10_100 / 50 and row["fixed"] == 0.5
    assert found["of_peak"].xs("bfloat16", level="dtype").isna().all()
    (folder / "attack.json").unlink()
    assert measured.limit(attack_rows(), work, "cpu")["of_peak"].isna().all()
    assert not len(measured.limit(attack_rows(), work, "cuda"))


def test_factors_multiply_to_the_whole(work):
    found = measured.factors(attack_rows(), work)
    parts = found[["network", "windows", "remembered"]].fillna(1).prod(axis=1)
    # Two pixels have no rate on whole maps here, so nothing to divide by.
    measured_all = found["network"].notna()
    assert measured_all.sum() == 4
    np.testing.assert_allclose(parts[measured_all], found["all"][measured_all])
    first = found.iloc[0]
    assert first[["network", "windows", "remembered"]].tolist() == pytest.approx([1.4, 2, 50 / 28])
    row = work.set_index(["classifier", "size", "pixels"]).loc["resnet50", 224, 1]
    assert first["counted"] == pytest.approx(row["whole"] / row["windows"])
    assert len(measured.factors(attack_rows().iloc[:0], work)) == 0


def test_old_and_new_speed_of_an_image():
    said = measured.old_and_new(attack_rows())
    assert all(seconds in said for seconds in ("1,010.0 s", "202.0 s"))
    assert "**5.0 times**" in said and "10.0 times as fast as torchattacks" in said
    assert "8.3 times as fast as ART" in said and "SciPy" not in said  # not measured
    assert " s " not in measured.old_and_new(attack_rows().iloc[:0])
    ours = measured.our_times(attack_rows()).set_index(["method", "pixels", "dtype"])
    assert ours.loc[(measured.WINDOWS, 2, "float32"), "seconds_an_image"] == 10_100 / 22
    assert ours.loc[(measured.PLAIN, "any", "float32"), "seconds_an_image"] == 1010


def test_the_cache_pays_where_many_candidates_repeat(folder):
    searches = pd.DataFrame({
        "method": ["exact, float32"] * 3, "pixels": 1, "generations": [100, 100, 20],
        "success": False, "evaluations": 10_100, "computed": [5050, 10_100, 101],
    })  # fmt: skip
    said = summaries.cache(attack_rows(), searches)
    assert "360.7 s" in said and "202.0 s" in said and "saves more than it costs" in said
    assert "25 %" in said and "0 % to 50 %" in said
    slow = attack_rows().replace({"method": {measured.SEARCH: measured.WINDOWS,
                                             measured.WINDOWS: measured.SEARCH}})  # fmt: skip
    assert "costs more" in summaries.cache(slow, searches.iloc[:0])
    assert summaries.cache(slow.iloc[:0], searches.iloc[:0]) == ""


def test_recall_counts_what_the_map_shows():
    found = measured.recall(recall_rows()).set_index("dataset")
    columns = ["images", "vulnerable", "found", "beyond"]
    assert found.loc["derma", columns].tolist() == [10, 8, 6, 1]
    assert found.loc["oct", columns].tolist() == [2, 1, 0, 0]
    assert found.loc["all", columns].tolist() == [12, 9, 6, 1]
    assert (found.loc["derma", "low"], found.loc["derma", "high"]) == wilson(6, 8)
    said = measured.recall_sentence(measured.recall(recall_rows()))
    assert {"9", "6"} <= set(re.findall(r"\d+", said))
    none = recall_rows().query("not map_success")
    assert re.findall(r"\d+", measured.recall_sentence(measured.recall(none))) == ["3"]


def test_printed_times_imply_the_rates_of_the_audit():
    """A9: a failed image's 44 to 61 evaluations a second with one pixel, 18 to 25 with two."""
    one, two = (measured.printed_times(pixels).set_index("dataset") for pixels in (1, 2))
    assert one.loc["derma", "seconds_an_image"] == pytest.approx(5714 * 60 / 1669)
    assert one.loc["derma", "at_most"] == pytest.approx(1669 * 10_100 / (5714 * 60))
    assert one.loc["oct", "gpu"] == "NVIDIA GeForce RTX 3090"
    hard = ["derma", "pathology", "oct"]
    assert one.loc[hard, "at_least"].round().tolist() == [44, 61, 50]
    assert two.loc[hard, "at_least"].round().tolist() == [18, 25, 21]


# Drawn.


@pytest.mark.parametrize(
    "make",
    [
        lambda: grown("resnet50"),
        lambda: grown("densenet121"),
        lambda: figures.work(engine.profile("resnet50", 224), "T"),
        lambda: figures.throughput(attack_rows(), "resnet50", "cpu"),
        lambda: figures.throughput(measured.table("attack")[0], "resnet50", "cpu"),
        lambda: figures.peers(peer_rows()),
        lambda: figures.vulnerable(recall_rows()),
        lambda: figures.vulnerable(recall_rows().head(3)),
    ],
)
def test_figures_are_drawn_labeled_and_legible(make):
    check_drawn(make)


def grown(architecture):
    image = engine.enlarged(engine.phantom(28, 0), 224)
    return figures.growth(engine.growth(engine.example(architecture, 28, 0), image, 90, 130))


def test_figures_say_that_there_is_nothing():
    rates = attack_rows()
    check_empty(figures.throughput(rates, "resnet50", "cuda"))
    check_empty(figures.throughput(rates.iloc[:0], "resnet50", "cpu"))
    check_empty(figures.peers(peer_rows().iloc[:0]))
    check_empty(figures.vulnerable(recall_rows().iloc[:0]))


def test_a_rate_is_shown_with_its_interval():
    shown = measured.with_interval(peer_rows(), "rate", 4).data
    assert shown.columns[4] == "rate" and "low" not in shown
    assert shown["rate"].iloc[0] == "45.0 % (25.8–65.8)"


def test_all_goes_on_without_measured_tables(empty):
    """As the notebook does: nothing to draw, and no error."""
    (rates, _), source, banner = engine.subject(params.load())
    assert not len(rates) and source["source"] == "phantom" and "`phantom`" in banner
    assert not len(measured.our_times(rates)) and measured.machine(rates) == ""
    assert measured.old_and_new(rates) and measured.beside_the_paper(rates)


def test_both_numbers_of_pixels_are_compared_for_each_model():
    models = [engine.example(name, 28, 0) for name in engine.CLASSIFIERS]
    table = engine.equalities(models, engine.phantom(28, 0), candidates=2, seed=0)
    assert list(zip(table["classifier"], table["pixels"], strict=True)) == [
        (name, pixels) for name in engine.CLASSIFIERS for pixels in params.ATTACKS
    ]
