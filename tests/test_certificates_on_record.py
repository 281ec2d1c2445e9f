"""What recorded certificates say."""

import pandas as pd
import pytest

from book import certificates_text
from lib.attack.run_certificates import OF_CERTIFICATES, OF_SEARCHES
from lib.evidence import certificates, consistency
from lib.params.files import write_json, write_table

ROBUST = [True, False, False, True]


@pytest.fixture
def results(tmp_path):
    """A record of four images: the second is skipped, the third has a counterexample."""
    folder = tmp_path / "compact-certified" / "oct" / "resnet50"
    rows = [
        {
            "dataset": "oct", "split": "test", "index": at, "category": 0, "group": at, "label": 0,
            "skipped": at == 1, "reason": "", "predicted": 0, "through": "bare",
            "robust": robust, "complete": at != 1, "neighbors": 100 * (at != 1),
            "candidates": 100 * (at != 1), "counterexamples": int(at == 2), "rechecked": 9,
            "deviation": 1e-6 * at, "margin": 0.1 * at - 0.25 * (at == 2), "row": 1, "col": 1,
            "value": 0, "seconds": 1.0,
        }
        for at, robust in enumerate(ROBUST)
    ]  # fmt: skip
    table = pd.DataFrame(rows)[list(OF_CERTIFICATES)]
    write_table(folder / "certificate_bare.parquet", table)
    write_table(folder / "certificate_median3.parquet", table.assign(through="median3"))
    search = dict.fromkeys(OF_SEARCHES, 0) | {"dataset": "oct", "split": "test", "index": 2}
    found = [
        search | {"method": "rand1", "success": True, "evaluations": 4_000},
        search | {"method": "random", "success": False, "evaluations": 100_000},
    ]
    write_table(folder / "certificate_searches.parquet", pd.DataFrame(found))
    write_json(folder / "run.json", {"parameters": {"data_size": 28}, "data": {"npz": "a"}})
    return tmp_path


def test_accuracy_counts_images_that_are_wrong_when_clean(results):
    found, _, sources = certificates.read(results)
    table = certificates.accuracy(found)
    assert table["through"].tolist() == ["bare", "median3"]
    row = table.iloc[0]
    assert (row["n"], row["clean"], row["robust"], row["size"]) == (4, 0.75, 0.5, 28)
    assert row["robust_low"] < 0.5 < row["robust_high"]
    assert row["deviation"] == pytest.approx(3e-6) and row["nearest"] == 0.0
    assert sources == {"compact-certified/oct/resnet50": {"npz": "a"}}


def test_the_page_begins_with_the_shares_that_are_proved(results):
    table = certificates.accuracy(certificates.read(results)[0])
    text = certificates_text.certified(table)
    assert text.count("50 %") == 2  # bare and behind the median
    assert text.count("OCT") == 2
    none = table.assign(robust=table["robust"].where(table["through"] == "median3", 0.0))
    text = certificates_text.certified(none)
    assert text.count("50 %") == 1 and text.count("OCT") == 2
    assert "%" not in certificates_text.certified(table[:0])


def test_the_page_names_the_searches_that_were_run_and_no_others(results):
    searched = certificates.read(results)[1]
    text = certificates_text.methods(searched)
    assert "*rand1*" in text and "*random*" in text and "*map*" not in text
    assert certificates_text.methods(searched[:0]) == ""


def test_a_longer_search_finds_no_less(results):
    shares = certificates.found_by(certificates.read(results)[1])
    by = shares.set_index(["method", "budget"])["found"]
    assert by["rand1"].tolist() == [0, 0, 1, 1] and not by["random"].any()


def test_nothing_recorded_gives_empty_tables(tmp_path):
    found, searched, sources = certificates.read(tmp_path)
    assert not len(found) and not len(searched) and not sources
    assert not len(certificates.accuracy(found)) and not len(certificates.found_by(searched))


def test_a_success_on_a_proved_image_is_a_contradiction(results):
    folder = results / "compact-certified" / "oct" / "resnet50"
    tables = {path.stem: pd.read_parquet(path) for path in folder.glob("certificate_*.parquet")}
    given = {"dataset": "oct", "data_split": "official"}
    assert not list(consistency.problems(folder, given, tables))
    tables["certificate_searches"].loc[0, "index"] = 3
    assert len(list(consistency.problems(folder, given, tables))) == 1


@pytest.mark.parametrize("constant", ["majority_accuracy", "all_zero_accuracy"])
def test_a_classifier_below_the_baseline_is_named(results, constant):
    folder = results / "compact-certified" / "oct" / "resnet50"
    found, *_ = certificates.read(results)
    for accuracy, named in ((0.3, 1), (0.6, 0)):
        test = {"images": 20, "accuracy": accuracy, constant: 0.5}
        write_json(folder / "classifier.json", {"test": test})
        table = certificates.below_baseline(results, found)
        text = certificates_text.below_baseline(table)
        assert all(value in text for value in ("30 %", "50 %", "ResNet50")) == bool(named)
        assert len(table) == named
        assert table["constant"].tolist() == [0.5] * named
