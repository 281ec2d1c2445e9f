"""Cheaper searches beside the exact one, and the check on a GPU: what the page says of them."""

import json
import re

import pandas as pd
import pytest

from benchmarks import measured, summaries
from benchmarks.searches import EXACT

FAST = {"multiply_adds": 10.0, "seconds": 1.0}


def search(method, fooled, count=100, device="cpu", size=64, pixels=1, final=1.0, **spent):
    """Rows of one search: the images with numbers in ``fooled`` are fooled; a drop from 5."""
    table = pd.DataFrame({"index": range(count), "split": "test", "clean": 5.0, "final": final})
    table["success"] = table["index"].isin(fooled)
    return table.assign(
        method=method, protocol="compact", dataset="oct", size=size, model="resnet50",
        pixels=pixels, generations=20, device=device, source="rebuilt",
        **{"multiply_adds": 40.0, "seconds": 4.0} | spent,
    )  # fmt: skip


def pair(method, fooled, exact=range(50), **given):
    """Both searches; what the cheaper one spends and reaches can be given."""
    own = {name: given.pop(name) for name in ("final", "multiply_adds", "seconds") if name in given}
    return pd.concat([search(EXACT, exact, **given), search(method, fooled, **given, **own)])


def only(rows):
    return next(summaries.searches(rows).itertuples())


def failing(row):
    return [name for name, (holds, _) in summaries.conditions(row).items() if holds is False]


@pytest.mark.parametrize(("size", "needed"), [(64, 100), (224, 30)])
def test_a_search_that_loses_nothing_is_accepted_with_enough_images(size, needed):
    enough, few = (
        only(pair("screened, float32", range(9), range(9), size=size, count=count, **FAST))
        for count in (needed, needed - 1)
    )
    assert summaries.verdict(enough) == "accepted"
    assert summaries.verdict(few) == "not decided" and not failing(few)


@pytest.mark.parametrize(
    ("method", "fooled", "given", "wrong"),
    [
        ("screened, float32", range(46), FAST, ["net misses"]),
        ("screened, float32", range(47), FAST, []),
        ("screened, float32", range(60), FAST, ["McNemar's p"]),
        ("screened, float32", range(50), FAST | {"final": 1.3}, ["median drop"]),
        ("screened, float32", range(50), FAST | {"seconds": 3.0}, ["CPU time"]),
        ("screened, float32", range(50), FAST | {"size": 224, "seconds": 1.1}, ["CPU time"]),
        (
            "screened, float32", range(50),
            FAST | {"size": 224, "pixels": 2, "seconds": 1.1}, [],
        ),
        ("exact, bfloat16", range(49), {}, []),
        ("exact, bfloat16", range(48), {}, ["net misses"]),
        ("exact, bfloat16", range(1, 51), {}, []),
        ("linear map, float32", range(1, 90), FAST, []),
        ("linear map, float32", range(2, 90), FAST, ["lost images"]),
        ("linear map, float32", range(50), {"multiply_adds": 30.0}, ["multiply-adds"]),
    ],
)  # fmt: skip
def test_each_condition_can_fail(method, fooled, given, wrong):
    row = only(pair(method, fooled, **given))
    assert failing(row) == wrong
    assert summaries.verdict(row) == ("not accepted" if wrong else "accepted")


def test_seconds_on_a_gpu_are_neither_shown_nor_judged():
    row = only(pair("screened, float32", range(50), device="cuda", **FAST))
    assert pd.isna(row.seconds) and row.multiply_adds == 4
    assert not failing(row) and summaries.verdict(row) == "not decided"


def test_an_image_that_was_attacked_twice_counts_once():
    rows = pair("screened, float32", range(40), **FAST)
    twice = pd.concat([rows, rows[rows["index"] < 60]])
    pd.testing.assert_frame_equal(summaries.searches(twice), summaries.searches(rows))


def test_every_search_on_offer_gets_a_verdict_and_all_get_a_row():
    rows = pd.concat([
        pair("screened, float32", range(50), **FAST),
        search(summaries.BFLOAT16, range(40)),
        search(summaries.UNCORRECTED, range(40)),
    ])  # fmt: skip
    found = summaries.searches(rows)
    said = summaries.accepted(found)
    verdicts = [line for line in said.splitlines() if line.startswith("- ")]
    assert len(verdicts) == 2 and re.findall(r"\d+", said.splitlines()[0]) == ["1", "1", "0"]
    shown = summaries.shown(found)
    assert len(shown) == 3 and not {*shown} & {"dataset", "exact_fooled", "drop"}


def test_misses_are_counted_on_the_images_that_all_searched():
    rows = pd.concat([
        search(EXACT, range(50)), search(summaries.BFLOAT16, range(1, 50), count=80),
        search(summaries.UNCORRECTED, [*range(3, 50), 60, 79], count=70),
    ])  # fmt: skip
    case, said = summaries.misses(rows).split("float32 fools")
    fooled, images, *rest = re.findall(r"\b\d+", said)
    assert "OCT" in case and (fooled, images) == ("50", "70")
    # Missed, found besides and net: without the correction, then with it.
    assert rest[:6] == ["3", "1", "2", "1", "0", "1"]
    assert rest[-2:] == ["1", "50"]  # all cases: net misses, and successes of float32
    assert "OCT" not in summaries.misses(rows[rows["method"] != summaries.UNCORRECTED])


def test_without_a_table_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    rows, _ = measured.table("searches")
    found = summaries.searches(rows)
    assert not len(summaries.shown(found))
    assert summaries.misses(rows) and "- " not in summaries.accepted(found)
    table, said = summaries.gpu(measured.table("attack")[0])
    assert not len(table) and "gpu.json" in said and "attack.csv" in said


def test_the_check_on_a_gpu_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    whole = {"eager": 400.0, "compiled": 800.0, "graph": 400.0}
    of = {"batches": {"8": 100.0, "16": 200.0}, "best_batch": 16, "whole_maps": whole}
    slow = of | {"whole_maps": {"eager": 400.0}}
    about = {
        "hardware": {"gpu": "NVIDIA G"}, "torch": "2", "size": 224,
        "precision": "bfloat16", "golden": "found again",
        "equality": [{"largest_difference": 2e-15, "from_cpu": 1e-7},
                     {"largest_difference": 1e-15, "from_cpu": 3e-7}],
        "resnet50": of, "densenet121": slow,
    }  # fmt: skip
    (tmp_path / "gpu.json").write_text(json.dumps(about))
    rates = pd.DataFrame({"device": ["cpu"]})
    table, said = summaries.gpu(rates)
    assert table["batch"].tolist() == ["8", "16"] and table.shape == (2, 3)
    # Half of the time is on whole maps, and half of that would be saved.
    assert "1.33 times (ResNet50)" in said and "(DenseNet121)" not in said
    assert all(text in said for text in ("NVIDIA G", "found again", "2.0e-15", "3.0e-07"))
    assert "attack.csv" in said
    assert "attack.csv" not in summaries.gpu(pd.DataFrame({"device": ["cpu", "cuda"]}))[1]
