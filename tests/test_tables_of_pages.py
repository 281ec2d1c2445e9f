"""Tables that notebooks show: what stands beside the printed values, and what was measured."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import make_images

from lib.data import statistics
from lib.evidence import beside_printed, results_shown
from lib.evidence import printed as paper
from lib.evidence.rates import success_by_class
from lib.figures import summaries
from lib.models.denoisers import build
from lib.params import facts


def attacks(count=8):
    """An attack table of Derma with one pixel, every second attack a success."""
    return pd.DataFrame(
        {
            "dataset": "derma", "split": "test", "index": range(count), "part": "test",
            "category": np.arange(count) % 7, "success": np.arange(count) % 2 == 0,
            "evaluations": 100, "computed": 50, "seconds": 0.5, "pixels": 1,
            "classifier": "resnet50",
        }
    )  # fmt: skip


def test_a_table_is_written_in_the_order_of_its_columns():
    names = sorted(results_shown.TEXTS)
    html = results_shown.page(pd.DataFrame({name: ["derma"] for name in names} | {"n": [1]}))
    places = [html.to_html().index(f"th.col_heading.col{at} ") for at in range(len(names))]
    assert places == sorted(places)


@pytest.mark.parametrize("dataset", ["derma", "chest", "abdomen_ct"])
def test_class_counts_keep_ours_and_name_the_printed_table(dataset):
    classes = statistics.by_class(make_images(dataset, 40))
    table, printed = beside_printed.class_counts(classes, dataset), paper.class_counts(dataset)
    assert table.data["images"].tolist() == classes["images"].tolist()
    assert (printed is None) == ("printed_count" not in table.data)
    if printed is not None:
        assert f"Table {printed.attrs['table']}" in table.caption
        assert table.data["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_layers_of_the_baseline_have_the_printed_parameters(channels):
    table = beside_printed.layers(build("autoencoder", channels), channels).data
    assert table["our_parameters"].tolist() == table["printed_parameters"].tolist()
    assert table["our_parameters"].any()


def test_accuracy_has_a_row_only_for_what_was_measured():
    measured = {"images": 10, "correct": 7, "accuracy": 0.7, "majority_accuracy": 0.6}
    table = beside_printed.accuracy(measured, 0.9, "derma", "resnet50").data
    assert table["ours"].tolist() == [0.9, 0.7, 0.6] and table["printed"].notna().sum() == 2


def test_success_by_class_has_every_class_and_the_printed_rates():
    records = attacks()
    rates = success_by_class(records)
    names = [item.name for item in facts("derma").attack_classes]
    assert rates["class"].tolist()[: len(names)] == names
    counts = pd.DataFrame({"class": names, "test_images": 9, "test_correct": 5})
    table = beside_printed.success(rates, counts, "derma", "resnet50", 1)
    assert table.data["n"].tolist()[: len(names)] == rates["n"].tolist()[: len(names)]
    printed = paper.attack_table("derma", "resnet50", 1).set_index("class")["printed_rate"]
    own = table.data.set_index("class")["printed_rate"]
    assert own[names].tolist() == printed[names].tolist() and own.notna().sum() == len(printed)
    assert "Table" in table.caption


def test_times_are_sums_over_the_images():
    row = beside_printed.attack_times({1: attacks(8)}, "derma").data.iloc[0]
    assert (row["images"], row["queries"], row["computed"]) == (8, 800, 0.5)
    assert row["minutes"] == pytest.approx(4 / 60) and row["queries/s"] == pytest.approx(200)


def test_a_denoiser_is_better_than_none_only_above_the_noisy_images():
    about = {
        name: {
            "parameters": {"trainable": 5}, "history": [{}], "validation_psnr": psnr,
            "identity_psnr": 20.0, "wall_seconds": 60.0, "images_per_second": 1.0,
        }
        for name, psnr in (("dae", 25.0), ("autoencoder", 20.0))
    }  # fmt: skip
    table = beside_printed.denoisers(about, "derma").data
    assert table["better than no defense"].tolist() == [True, False]
    assert table["minutes"].tolist() == [1, 1]


def test_detection_has_a_column_for_each_score_and_set():
    keys = list(product(("median3", "dae"), ("largest", "mean"), ("fooled", "all")))
    areas = pd.DataFrame(keys, columns=["defense", "score", "images"]).assign(n=5)
    areas["auc"] = [0.91, 0.82, 0.73, 0.64, 0.55, 0.46, 0.37, 0.28]
    areas = areas.assign(auc_low=areas["auc"] - 0.01, auc_high=areas["auc"] + 0.01)
    table = summaries.detection(areas).data
    assert table["defense"].tolist() == ["median3", "dae"] and table.shape == (2, 5)
    for name, score, images, *_, auc, _, _ in areas.itertuples(index=False):
        (column,) = [of for of in table if score in of and images in of]
        (cell,) = table.loc[table["defense"] == name, column]
        assert cell.startswith(f"{auc:.2f}")
