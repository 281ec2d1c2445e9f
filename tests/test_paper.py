"""lib.evidence.printed: printed numbers under our names."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from lib import params
from lib.evidence import printed as paper

ATTACKS = list(paper.TABLES)


def test_every_table_can_be_read():
    for number in [*range(1, 52), "A1"]:
        table = paper.printed(number)
        assert len(table) > 0
        assert paper.caption(number)
        assert table.attrs == {"table": number, "note": paper.note(number)}


def test_numbers_may_be_text_and_certainty_is_kept():
    pd.testing.assert_frame_equal(paper.printed("17"), paper.printed(17))
    table = paper.printed(29)
    assert table["reading_certain"].tolist() == [True, False, False, True]
    assert {"alternative_reading", "derived_consistent_scale"} <= set(table.columns)


@pytest.mark.parametrize("function", [paper.printed, paper.caption])
def test_unknown_table(function):
    for number in (0, 52, "B1", -1):
        with refused(number):
            function(number)


def test_table_numbers_agree_with_the_file_names():
    found = {}
    pattern = r"table_(\d+)_(densenet121_)?(\w+)_(one|two)_pixel_(attack|denoise)\.csv"
    for path in paper.FOLDER.glob("table_*.csv"):
        if match := re.fullmatch(pattern, path.name):
            number, network, dataset, pixels, kind = match.groups()
            key = (dataset, (network or "resnet50_")[:-1], {"one": 1, "two": 2}[pixels])
            found.setdefault(key, {})[kind] = int(number)
    assert found == paper.TABLES


@pytest.mark.parametrize(("dataset", "classifier", "pixels"), ATTACKS)
def test_attack_tables_have_our_classes(dataset, classifier, pixels):
    table = paper.attack_table(dataset, classifier, pixels)
    assert list(table.columns) == ["class", "printed_n", "printed_successes", "printed_rate"]
    assert table["class"].tolist() == [c.name for c in params.facts(dataset).attack_classes]
    if pixels == 2:
        assert (table["printed_n"] == 100).all()


def test_a_row_of_an_attack_table():
    table = paper.attack_table("chest", "resnet50", 1).set_index("class")
    assert table.loc["nodule"].tolist() == [9, 7, 0.7778]
    assert table.attrs["table"] == 28


def test_known_totals():
    one, two = paper.totals(1).set_index("dataset"), paper.totals(2).set_index("dataset")
    assert one.loc["derma"].tolist() == [1669, 178, 0.1067]
    assert one["successes"].tolist() == [178, 139, 6213, 4981]
    assert two.loc["chest"].tolist() == [500, 387, 0.936]
    assert "468" in two.attrs["note"]
    assert one.attrs["note"] == ""


def test_rates_of_both_classifiers():
    table = paper.rates().set_index("dataset")
    assert table["n"].tolist() == [700, 900, 400, 500]
    for classifier in ("resnet50", "densenet121"):
        for dataset in paper.DATASETS:
            of_table = paper.attack_table(dataset, classifier, 2)["printed_successes"].sum()
            expected = of_table / table.loc[dataset, "n"]
            # Table 43 prints Derma with DenseNet121 to one decimal of a percent.
            assert table.loc[dataset, classifier] == pytest.approx(expected, abs=5.1e-4)


@pytest.mark.parametrize(("dataset", "classifier", "pixels"), ATTACKS)
def test_denoise_tables(dataset, classifier, pixels):
    table = paper.denoise_table(dataset, classifier, pixels)
    if (dataset, classifier, pixels) == ("pathology", "resnet50", 1):
        assert table is None  # audit M12
        return
    assert list(table.columns[:6]) == ["defense", "psnr", "ssim", "mse", "gmsd", "fsim"]
    assert sorted(table["defense"]) == sorted(params.DENOISERS)
    fits = table[table["mse_scale"].notna() & (table["mse"] > 1e-3)]
    bound = 10 * np.log10(fits["mse_scale"] ** 2 / fits["mse"])
    assert (fits["psnr"] >= bound - 0.25).all()  # Jensen, with the rounding of the MSE


def test_a_row_of_a_denoise_table():
    table = paper.denoise_table("derma", "resnet50", 1).set_index("defense")
    assert table.loc["noise2noise"].tolist() == [32.0, 0.60, 50.95, 0.25, 0.24, 255]
    assert table.loc["dae"].tolist() == [37.6, 0.98, 0.0002, 0.13, 0.48, 1]
    assert np.isnan(paper.denoise_table("chest", "resnet50", 1)["mse_scale"][2])


def test_what_the_paper_does_not_have():
    for dataset in paper.DATASETS:
        assert paper.attack_table(dataset, "densenet121", 1) is None
        assert paper.denoise_table(dataset, "densenet121", 1) is None
        assert paper.prf_table(dataset, "densenet121") is None
    for function in (paper.class_counts, paper.denoiser_minutes):
        assert function("abdomen_ct") is None
    assert paper.prf_table("abdomen_ct", "resnet50") is None
    assert paper.attack_table("abdomen_ct", "resnet50", 1) is None


def test_unknown_names_are_named():
    for function in (paper.attack_table, paper.denoise_table):
        with refused("'dermas'", "'derma'"):
            function("dermas", "resnet50", 1)
        with refused("'resnet5'", "'resnet50'"):
            function("derma", "resnet5", 1)
        with refused(3):
            function("derma", "resnet50", 3)
    for function in (paper.classifier_table, paper.training_minutes):
        with refused("'vgg'"):
            function("vgg")
    for function in (paper.class_counts, paper.denoiser_minutes):
        with refused("'mnist'"):
            function("mnist")
    for function in (paper.totals, paper.attack_minutes):
        with refused(0):
            function(0)
    with refused("'vgg'"):
        paper.prf_table("derma", "vgg")


def test_classifiers():
    resnet, densenet = (paper.classifier_table(c) for c in ("resnet50", "densenet121"))
    assert resnet["dataset"].tolist() == list(paper.DATASETS)
    assert resnet["correct"].tolist() == paper.totals(1)["n"].tolist()
    assert resnet.loc[0, "test_accuracy"] == 0.8302
    assert densenet["correct"].tolist() == [1680, 19526, 21081, 5382]


@pytest.mark.parametrize("dataset", paper.DATASETS)
def test_precision_recall_f1(dataset):
    table = paper.prf_table(dataset, "resnet50")
    ours = [c.name for c in params.facts(dataset).attack_classes]
    assert table["class"].tolist() == [name for name in ours if dataset != "chest" or
                                       name != "normal"]  # fmt: skip
    harmonic = 2 * table["precision"] * table["recall"] / (table["precision"] + table["recall"])
    np.testing.assert_allclose(table["f1"], harmonic, atol=0.015)


def test_the_permuted_labels_of_table_15_are_kept_and_noted():
    table = paper.prf_table("oct", "resnet50")
    assert table.set_index("class").loc["drusen"].tolist() == [0.98, 0.98, 0.98]
    assert "permuted" in table.attrs["note"]


@pytest.mark.parametrize("dataset", paper.DATASETS)
def test_class_counts_are_those_of_the_source(dataset):
    table = paper.class_counts(dataset)
    facts = params.facts(dataset)
    assert table["class"].tolist() == [c.name for c in facts.attack_classes]
    assert table["count"].tolist() == [c.count for c in facts.attack_classes]
    # Table 8 prints shares of another base.
    whole = facts.images or table["count"].sum()
    tolerance = 0.004 if dataset == "pathology" else 5.1e-5
    np.testing.assert_allclose(table["share"], table["count"] / whole, atol=tolerance)


def test_minutes():
    training = paper.training_minutes("densenet121").set_index("dataset")
    assert training.loc["chest", "minutes"] == pytest.approx(3319 + 17 / 60, abs=1e-3)
    one, two = paper.attack_minutes(1), paper.attack_minutes(2)
    assert one["images"].tolist() == paper.totals(1)["n"].tolist()
    assert two["images"].tolist() == paper.totals(2)["n"].tolist()
    assert two["dataset"].tolist() == list(paper.DATASETS)
    counts = dict(zip(paper.DATASETS, [10015, 100000, 109309, 112120], strict=True))
    for dataset, count in counts.items():
        table = paper.denoiser_minutes(dataset)
        assert list(table.columns) == ["defense", "images", "computer", "minutes"]
        assert sorted(table["defense"]) == sorted(params.DENOISERS)
        assert (table["images"] == count).all()


def test_ablations_end_at_the_same_model():
    modules, depth = paper.ablation(4), paper.ablation(5)
    assert len(modules) == 6 and len(depth) == 3
    assert modules.iloc[-1, 1:].tolist() == depth.iloc[1, 1:].tolist()
    assert modules.iloc[-1, 1:6].tolist() == [40.42, 0.99, 0.0001, 0.1, 0.42]


def test_a_caller_cannot_spoil_later_calls():
    first = paper.attack_table("derma", "resnet50", 1)
    first.loc[:, "printed_n"] = 0
    assert paper.attack_table("derma", "resnet50", 1)["printed_n"].sum() == 1669
