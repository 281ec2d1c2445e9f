"""Counts, and comparison across runs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from lib import params
from lib.data import statistics
from lib.defense import break_even_prevalence
from lib.evidence import printed as paper
from lib.evidence import rates, recorded_runs, results_tables
from lib.figures import formatting
from lib.params.files import write_json, write_table
from notebooks import subjects


def test_counts_by_class_and_part(images):
    data = images("oct", 40)
    table = statistics.by_class(data).set_index("class")
    assert list(table.index) == [item.name for item in params.facts("oct").classes]
    assert (
        table["images"].sum() == 40
        and (table[["train", "val", "test"]].sum(axis=1) == table["images"]).all()
    )
    for place, name in enumerate(table.index):
        assert table.loc[name, "test"] == ((data.labels == place) & (data.part == "test")).sum()


def test_counts_of_chest_are_of_categories_and_of_labels(images):
    data = images("chest", 200)
    categories = statistics.by_class(data).set_index("class")
    assert categories.loc["normal", "images"] == (data.labels.sum(1) == 0).sum()
    labels = statistics.by_label(data).set_index("label")
    assert labels["images"].tolist() == data.labels.sum(0).tolist()


def test_overlap_finds_patients_and_pixels(images):
    data = images("oct", 8)
    data.part[:] = ["train"] * 4 + ["val", "test", "test", "test"]
    data.images[5] = data.images[0]
    assert statistics.overlap(data).set_index("part")["same_patient"].isna().all()
    data.group[:] = [1, 2, 3, -1, 9, 1, -1, 4]
    found = statistics.overlap(data).set_index("part")
    assert found.loc["test", ["images", "same_patient", "same_pixels"]].tolist() == [3, 1, 1]
    assert found.loc["val", ["images", "same_patient", "same_pixels"]].tolist() == [1, 0, 0]
    assert statistics.related(data) == [1] and statistics.related(data, "val") == []


@pytest.fixture
def runs(tmp_path):
    """Run folders of two data sets with known outcomes."""
    for dataset, source in (("derma", "phantom"), ("oct", "rebuilt")):
        for classifier, fooled in (("resnet50", 3), ("densenet121", 1)):
            folder = tmp_path / dataset / classifier
            for name in params.ATTACKS.values():
                success = np.arange(10) < fooled
                at = {"dataset": dataset, "split": "test", "index": range(10), "label": 0}
                attacked = pd.DataFrame(at | {"success": success})
                classes = np.arange(10) % len(params.facts(dataset).attack_classes)
                found = attacked.assign(category=classes, part="test")
                write_table(folder / f"{name}.parquet", found)
                rows = [
                    attacked.assign(defense=defense, recovered=defense == "dae", kept=True)
                    for defense in ("identity", "dae")
                ]
                write_table(folder / f"restoration_{name}.parquet", pd.concat(rows))
            about = {"data": {"source": source}, "parameters": {"data_size": 64}}
            write_json(folder / "run.json", about)
            epochs = [{"seconds": 30.0}, {"seconds": 60.0}]
            write_json(folder / "classifier.json", {"history": epochs})
        write_json(tmp_path / dataset / "denoisers" / "dae.json", {"history": epochs})
    return tmp_path


def test_comparison_puts_runs_beside_the_paper(runs, monkeypatch):
    monkeypatch.setattr(rates, "FEWEST", 1)
    found = recorded_runs.read(runs.parent, [runs.name])
    assert found.datasets == ["derma", "oct"]
    attacks = {
        key: pd.Series(rates.success_rate(group))
        for key, group in found.attacks.groupby(rates.KEYS)
    }
    derma = attacks["derma", "resnet50", 2][["n", "successes", "rate", "printed"]]
    assert derma.tolist() == [10, 3, 0.3, 0.2614]
    assert attacks["oct", "densenet121", 2]["printed"] == 0.32
    assert attacks["oct", "resnet50", 1]["printed"] == 0.2955
    assert attacks["oct", "densenet121", 1][["printed", "matched"]].isna().all()
    # Ten images, classes in turn, the first three fooled: of the first class one image of three.
    weights = paper.attack_table("oct", "resnet50", 1).set_index("class")["printed_n"]
    names = [item.name for item in params.facts("oct").attack_classes]
    by_class = dict(zip(names, (1 / 3, 1 / 3, 1 / 2, 0), strict=True))
    expected = sum(weights[name] * rate for name, rate in by_class.items()) / weights.sum()
    row = attacks["oct", "resnet50", 1]
    assert row["matched"] == pytest.approx(expected)
    assert 0 <= row["matched_low"] < expected < row["matched_high"] <= 1
    derma = found.of(dataset="derma")
    recovery = results_tables.defenses(derma, samples=9).set_index(["classifier", "defense"])
    told = recovery.loc[("resnet50", "dae"), ["n", "recovered", "images", "kept"]]
    assert told.tolist() == [6, 1, 10, 1]  # a clean image that both attacks are on counts once
    assert recovery.loc[("resnet50", "identity"), "recovered"] == 0
    assert found.runs["minutes"].tolist() == [1.5] * 4
    assert found.denoisers[["dataset", "denoiser", "minutes"]].values.tolist() == [
        ["derma", "dae", 1.5], ["oct", "dae", 1.5]
    ]  # fmt: skip


def test_a_defense_pays_from_where_it_saves_what_it_costs():
    right = {"identity": 4, "dae": 7, "median3": 5, "autoencoder": 3}  # of ten attacks
    kept = {"identity": 10, "dae": 9, "median3": 10, "autoencoder": 2}
    place = np.arange(10)
    rows = [
        pd.DataFrame({"dataset": "oct", "split": "test", "index": place, "defense": name,
                      "recovered": place < right[name], "kept": place < kept[name]})
        for name in right
    ]  # fmt: skip
    table = pd.concat(rows, ignore_index=True)
    found = break_even_prevalence(table)
    nothing, dae, median, autoencoder = found["pays_from"]
    assert np.isnan(nothing) and median == 0 and np.isinf(autoencoder)
    attacked = dae * 0.7 + (1 - dae) * 0.9  # with the defense
    assert attacked == pytest.approx(dae * 0.4 + (1 - dae) * 1.0)
    low, high = found.loc["dae", ["pays_from_low", "pays_from_high"]]
    assert 0 <= low < dae < high and np.isinf(found.loc["autoencoder", "pays_from_high"])
    # The median filter harms none of ten clean images, which does not prove that it never does.
    assert 0 < found.loc["median3", "pays_from_high"] < 1
    # Images that stand in two attacks tell no more than in one.
    twice = pd.concat([table.assign(pixels=1), table.assign(pixels=2)])
    pd.testing.assert_frame_equal(break_even_prevalence(twice), found)
    assert break_even_prevalence(table[table["defense"] != "identity"]).isna().all(axis=None)
    texts = [formatting.break_even(x) for x in (dae, np.inf, np.nan)]
    assert texts == ["25 %", "never", "–"]
    assert formatting.break_even(0.25, 0.1, 0.5, digits=1) == "25.0 % (10.0–50.0)"
    assert formatting.break_even(0.25, 0.1, np.inf) == "25 % (10–never)"


def test_the_banner_names_the_source_of_each_data_set_and_warns_where_they_differ(runs):
    found = recorded_runs.read(runs.parent, [runs.name])
    text = subjects.comparison_banner(params.load(), found)
    assert "Derma `phantom`" in text and "OCT `rebuilt`" in text
    found = replace(found, runs=found.runs.assign(source="phantom"))
    alike = subjects.comparison_banner(params.load(), found)
    assert text.count("\n> ") == 3 and alike.count("\n> ") == 1


def test_comparison_without_runs_is_refused(tmp_path):
    with refused():
        recorded_runs.read(tmp_path, ["compact"])
