"""What the audit computes, against numbers worked out by hand from the printed tables."""

import math

from lib.evidence import audit
from lib.evidence import printed as paper


def test_sums_find_the_one_total_that_differs():
    table = audit.attack_sums().set_index("table")
    assert len(table) == 12 and table["agrees"].sum() == 11
    chest = table.loc[30]
    assert (chest["successes"], chest["printed successes"]) == (468, 387)
    assert math.isclose(table.loc[17, "mean of classes"], 0.2148, abs_tol=1e-4)  # printed in 4.2.2
    assert audit.row_rates() == (75, 75)
    resnet = table[table["total in table"] < 43]
    assert ((resnet["printed rate"] - resnet["rate"]).abs() <= 5.01e-5).all()
    for pixels, found in resnet.groupby("pixels"):
        assert found["images"].tolist() == paper.totals(pixels)["n"].tolist()


def test_accuracies_that_no_test_set_gives():
    table = audit.accuracy_sizes()
    none = table[table["sizes that fit"] == "none"]
    assert list(zip(none["data set"], none["classifier"], strict=True)) == [
        ("Derma", "resnet50"), ("Derma", "densenet121")
    ]  # fmt: skip
    pathology = table[(table["data set"] == "Pathology") & (table["classifier"] == "resnet50")]
    assert pathology["sizes that fit"].iloc[0] == "19,998 to 20,000"


def test_recalls_fit_but_for_chest_and_the_labels_of_oct():
    agree = {name: audit.recalls(name)["agrees"].tolist() for name in ("derma", "pathology")}
    assert all(map(all, agree.values()))
    assert audit.recalls("oct")["agrees"].tolist() == [False, False, False, True]
    assert audit.recalls("oct", audit.alphabetical)["agrees"].all()
    chest = audit.recalls("chest").set_index("read as")
    assert not chest.loc["atelectasis", "agrees"] and chest.loc["nodule", "agrees"]


def test_three_rows_fit_neither_scale_and_nine_depend_on_how_cells_are_split():
    table = audit.jensen()
    by_scale = table.groupby("scale that fits")["row"].value_counts()
    assert len(table) == 53
    assert by_scale[audit.NEITHER].to_dict() == {"MedianDenoise": 3}
    assert by_scale[audit.UNCERTAIN].to_dict() == {"Noise2Noise": 9}
    # Table 18: 37.60 dB on 0..1 allow a mean squared error of 10 ** -3.76 and more.
    assert table.loc[table["table"] == 18, "scale that fits"].tolist() == [
        "0..1", "0..255", "0..1", "0..1"
    ]  # fmt: skip


def test_doing_nothing_is_above_the_best_denoised_value():
    table = audit.floor()
    assert table.iloc[:, 1].round(1).tolist() == [47.0, 44.0]
    assert (table.iloc[:, 1] > table.iloc[:, 2]).all() and table.iloc[0, 2] == 42.22


def test_repeated_rows():
    table = audit.repeats()
    assert table[["row", "tables"]].values.tolist() == [
        ["Noise2Noise", "18, 20"], ["Noise2Noise", "36, 38"], ["MedianDenoise", "36, 38"]
    ]  # fmt: skip


def test_counts_parameters_and_times():
    shares = audit.shares().set_index("data set")
    assert shares.loc["Derma", "sum of classes"] == 10_015
    assert shares.loc["OCT", "shares that do not fit"] == "none"
    assert "adipose" in shares.loc["Pathology", "shares that do not fit"]
    sizes = audit.parameters()
    assert sizes["sum"].tolist() == sizes["printed sum"].tolist() == [7009, 8163]
    assert (sizes["layers that agree"] == sizes["layers"]).all()
    times = audit.denoiser_times().set_index("data set")
    assert round(times.loc["all", "ratio"], 2) == 1.33 and times.loc["Derma", "ratio"] < 1
    rates = audit.training_rates().set_index(["data set", "classifier"])["images a second"]
    assert round(rates["Derma", "resnet50"], 1) == 73.3 and rates["OCT", "resnet50"] > 3000
    attacks = audit.evaluation_rates().set_index(["data set", "pixels"])
    assert attacks.loc[("Derma", 1), "failed images"] == 1669 - 178
    assert round(attacks.loc[("Derma", 1), "queries a second"]) == 44
