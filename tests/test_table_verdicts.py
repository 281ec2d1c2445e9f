"""Verdicts on tables of counts, of the ablation and of training times, on made-up records."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from lib import params
from lib.evidence import (
    ablation,
    archive,
    claims,
    printed_comparison,
    published_lists,
    record,
    table_verdicts,
    training_times,
)
from lib.evidence import printed as paper
from lib.evidence.record import Record
from lib.params.runs import Run

P = params.load("sample", bootstrap_samples=50)
FOLDERS = pd.DataFrame([{"results": "abdomen_ct", "source": "rebuilt", "steps": "ablation"}])
NOTHING = Record(FOLDERS, None, pd.DataFrame(), None)


def judged(found: Record, p: params.Parameters = P) -> pd.DataFrame:
    table = table_verdicts.judge(printed_comparison.compare(found, p), found, p)
    return table[table["kind"] == "table"].set_index("number")


# ---------------------------------------------------------------- counts


def test_class_sizes_are_counted_in_the_published_list(tmp_path):
    findings = ["No Finding", "Effusion", "Effusion|Mass", "Nodule", "Nodule", "Hernia"]
    table = published_lists.count(pd.Series(findings)).set_index("class")["images"]
    assert table.loc[["normal", "effusion", "nodule", "atelectasis"]].tolist() == [1, 1, 2, 0]
    assert table.sum() == len(findings)
    (tmp_path / "list.csv").write_text("file,finding\na.png,No Finding\n")
    for words in ([], [str(tmp_path / "nothing.csv")], [str(tmp_path / "list.csv")]):
        with refused():
            published_lists.main(words)
    assert not len(published_lists.read(tmp_path))


def counted(dataset: str, **changed: int) -> Record:
    """A record with the printed class sizes, but for some."""
    table = paper.class_counts(dataset).rename(columns={"count": "images"})
    table["images"] = table["class"].map(changed).fillna(table["images"]).astype(int)
    table = table[["class", "images"]].assign(dataset=dataset, source="rebuilt")
    return replace(NOTHING, counts=table)


def test_the_counts_of_table_6_are_those_that_medmnist_publishes():
    row = judged(NOTHING).loc[6]
    assert row["verdict"] == "in part"  # Pathology has nine classes, not ten (audit D1)
    assert "7 of 8" in row["reason"] and "Pathology" in row["reason"]
    assert row["protocol"] == ""


def test_class_sizes_are_compared_only_where_all_images_are_there():
    assert judged(NOTHING).loc[7, "verdict"] == "not testable"
    assert judged(counted("derma")).loc[7, "verdict"] == "replicated"
    moved = counted("derma", melanoma=1100, dermatofibroma=128)  # as many in all
    assert judged(moved).loc[7, "verdict"] == "in part"
    assert judged(counted("derma", melanoma=1100)).loc[7, "verdict"] == "not testable"
    assert judged(counted("oct")).loc[9, "verdict"] == "replicated"
    assert judged(counted("chest")).loc[10, "verdict"] == "not testable"  # 14 labels, five groups


def test_counts_are_recorded_with_the_data_page(tmp_path):
    p = params.load("sample", "derma")
    rows = [{"class": "melanoma", "images": 3, "train": 3}]
    folder = tmp_path / "runs" / "sample" / "derma"
    data = {"npz": "a.npz", "source": "rebuilt", "md5": "m"}
    Run(folder, "datasets", p, data).finish(counts=rows)
    archive.freeze(tmp_path / "runs", tmp_path / "results", "sample")
    found = record.read(tmp_path / "results" / "sample")
    assert found.counts.to_numpy().tolist() == [["derma", "melanoma", 3, "rebuilt"]]
    assert not len(found.times)


# ---------------------------------------------------------------- the ablation

FLAT, RISING = [20.0, 30.0, 30.1, 30.15], [20.0, 25.0, 30.0, 30.25]


def ablated(curve=FLAT, seeds=3, images=2000, **levels) -> Record:
    """Variants in the printed order, with the same curve for each."""
    names = list(ablation.variants(1))
    each = [(name, seed) for name in names for seed in range(seeds)]
    rng = np.random.default_rng(0)
    metrics = pd.concat(
        pd.DataFrame({"variant": name, "seed": seed, "ssim": 0.9, "mse": 1.0, "gmsd": 0.9,
                      "fsim": 0.99, "psnr": levels.get(name, place) + rng.normal(0, 0.01, images)})
        for place, name in enumerate(names)
        for seed in range(seeds)
    )  # fmt: skip
    models = pd.DataFrame(each, columns=["variant", "seed"])
    if curve:
        models["validation_psnr"] = [np.array(curve)] * len(models)
    return replace(NOTHING, ablation=(metrics, models))


def test_a_training_has_settled_when_its_best_psnr_hardly_rises():
    assert ablation.settled(FLAT) and not ablation.settled(RISING)
    assert ablation.settled([20.0, 30.0, 25.0, 29.0, 30.1])  # the best so far counts, not the last
    assert not ablation.settled([30.0, 30.0]) and not ablation.settled(None)
    assert not ablation.settled(float("nan"))


def test_the_ablation_is_judged_by_values_and_orders():
    verdicts = judged(ablated(levels_3=0, levels_5=0))
    assert verdicts.loc[[3, 4, 5], "verdict"].tolist() == ["in part"] * 3  # orders alone
    assert "0 of 30" in verdicts.loc[4, "reason"] and "5 of 5" in verdicts.loc[4, "reason"]
    worse = judged(ablated(levels_3=40, levels_5=41))
    assert worse.loc[5, "verdict"] == "not replicated"
    assert judged(ablated(original=50)).loc[3, "verdict"] == "not replicated"


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"curve": RISING}, {}), ({"curve": None}, {}), ({"seeds": 2}, {}), ({"images": 1999}, {}),
        ({}, {"ablation_size": 32}), ({}, {"ablation_train": 7000}),
    ],
)  # fmt: skip
def test_trainings_too_few_or_unfinished_test_no_value(given, changed):
    verdicts = judged(ablated(**given), P.model_copy(update=changed))
    assert set(verdicts.loc[[3, 4, 5], "verdict"]) == {"not testable"}


def unsettled(found: Record, variant: str) -> None:
    models = found.ablation[1]
    place = models.index[models["variant"] == variant][0]  # one seed is enough
    models.at[place, "validation_psnr"] = RISING


def test_a_model_that_has_not_settled_is_left_out():
    found = ablated(levels_3=0, levels_5=0, attention=0)  # lower than the model before it
    unsettled(found, "attention")
    row = judged(found).loc[4]
    assert row["verdict"] == "in part" and "0 of 25" in row["reason"] and "3 of 3" in row["reason"]
    unsettled(found, "proposed")
    assert judged(found).loc[5, "verdict"] == "not replicated"  # no order is left
    exact, columns = paper.ablation(3).set_index("variant").loc["original"], ["psnr", "ssim"]
    metrics = found.ablation[0]
    metrics.loc[metrics["variant"] == "original", columns] = exact[columns].tolist()
    assert judged(found).loc[3, "verdict"] == "in part"  # all that is compared holds


def test_values_of_the_ablation_have_intervals_over_all_seeds():
    found = ablated()
    metrics = found.ablation[0]
    metrics.loc[metrics["seed"] == 2, "psnr"] += 50
    rows = printed_comparison.compare(found, P)
    row = rows[(rows["table"] == 4) & (rows["quantity"] == "psnr")].iloc[0]
    assert row["low"] < 1 and row["high"] > 49


# ---------------------------------------------------------------- training times


def timed(**seconds: float) -> Record:
    """Measured seconds an image, the same for one and three channels."""
    rows = [
        {"device": "cuda", "hardware": "a GPU", "torch": "2", "network": name, "channels": channels,
         "size": 224, "batch": 16, "precision": "float32", "steps": 9, "seconds_per_image": value}
        for name, value in seconds.items()
        for channels in (1, 3)
    ]  # fmt: skip
    return replace(NOTHING, times=pd.DataFrame(rows))


ORDER = {"autoencoder": 1.0, "dae": 2.0, "noise2noise": 3.0, "median_cnn": 4.0}


def test_the_order_of_the_denoisers_is_compared_by_pairs():
    verdicts = judged(timed(**ORDER))
    # On Derma the DAE is printed below the baseline; on Chest two pairs are printed within 5 %.
    words = ["in part", "replicated", "replicated", "in part"]
    assert verdicts.loc[48:51, "verdict"].tolist() == words
    assert (verdicts.loc[48:51, "ours"] != "").all() and (verdicts.loc[46:47, "ours"] == "").all()
    times = [timed(**ORDER | {"noise2noise": value}).times for value in (3, 2.05, 1.5)]
    counts = [training_times.denoisers(each, "oct").counts for each in times]
    assert counts == [(6, 0, 0), (5, 0, 1), (5, 1, 0)]  # 2.05 is a tie with the DAE
    assert training_times.denoisers(times[0], "chest").counts == (3, 1, 0)
    turned = judged(timed(**{name: 1 / value for name, value in ORDER.items()}))
    assert turned.loc[49, "verdict"] == "not replicated"


def test_only_whole_images_on_one_gpu_are_compared():
    found = timed(**ORDER)
    for column, value in (("device", "cpu"), ("size", 64), ("batch", 32), ("channels", 2)):
        other = replace(found, times=found.times.assign(**{column: value}))
        assert set(judged(other).loc[48:51, "verdict"]) == {"not testable"}
    apart = found.times.assign(hardware=found.times["network"])  # each on a machine of its own
    assert judged(replace(found, times=apart)).loc[48, "verdict"] == "not testable"
    # The order must hold on every machine.
    back = timed(**{name: 1 / value for name, value in ORDER.items()}).times
    both = pd.concat([found.times, back.assign(hardware="another GPU")])
    assert judged(replace(found, times=both)).loc[49, "verdict"] == "not replicated"


def test_the_ratio_of_two_networks_is_that_of_the_times_on_one_gpu():
    found = timed(**ORDER)
    assert training_times.ratios(found.times, "dae", "autoencoder")["ratio"].tolist() == [2, 2]
    slower = found.times.assign(hardware="B", seconds_per_image=[1, 1, 5, 5, 3, 3, 4, 4])
    verdict = claims.time_a_third_more(replace(found, times=pd.concat([found.times, slower])), P)
    assert verdict.word == "not testable"
    assert all(part in verdict.reason for part in ("2.0 times", "5.0 times", "a GPU", "1 channel"))
    apart = found.times.assign(hardware=found.times["network"])
    for times in (apart, timed(dae=2.0).times, training_times.none()):
        verdict = claims.time_a_third_more(replace(found, times=times), P)
        assert verdict.word == "not testable" and "times as long" not in verdict.reason


def test_the_classifiers_are_compared_on_derma_alone():
    assert judged(timed(resnet50=1.0, densenet121=2.0)).loc[44, "verdict"] == "in part"
    assert judged(timed(resnet50=2.0, densenet121=1.0)).loc[45, "verdict"] == "not replicated"
    assert judged(timed(**ORDER)).loc[45, "verdict"] == "not testable"


def test_a_measurement_file_is_read_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / training_times.FILE
    assert not len(training_times.read(tmp_path))
    table = timed(**ORDER).times
    table.to_csv(path, index=False)
    pd.testing.assert_frame_equal(
        training_times.read(tmp_path), table, check_dtype=False, check_like=True
    )
    table.assign(seconds_per_image=0).to_csv(path, index=False)
    with refused(path, "row 0", "seconds_per_image"):
        training_times.read(tmp_path)
    table.drop(columns="batch").to_csv(path, index=False)
    with refused(path, "batch"):
        training_times.read(tmp_path)
