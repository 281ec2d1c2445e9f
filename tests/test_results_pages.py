"""The results pages: tables that equal the record, sections that printed tables lead to."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import refused

from book import (
    build,
    claim_cards,
    dataset_text,
    front_page,
    real_images,
    results_pages,
    results_text,
    run_pages,
)
from lib import params
from lib.data import phantoms
from lib.evidence import (
    claims,
    confidence,
    defenses_shown,
    rates,
    recorded_runs,
    results_shown,
    results_tables,
    run_tables,
)
from lib.evidence import printed as paper
from lib.evidence.record import PROTOCOLS, Record
from lib.evidence.recorded_runs import RecordedRuns
from lib.figures import results as figures
from lib.figures import tables
from lib.figures.formatting import rate, shown
from lib.figures.slopes import slopes
from lib.params.files import md5
from lib.params.stages import RESULTS

RECORD = params.ROOT / "results"
DATASETS = recorded_runs.datasets(RECORD)
pytestmark = pytest.mark.skipif(not DATASETS, reason="no run on real images is recorded")


@pytest.fixture(scope="module", params=DATASETS)
def found(request):
    return recorded_runs.read(RECORD, datasets=[request.param])


@pytest.fixture(scope="module")
def quality(found):
    """Measures of restored images, with intervals of few resamples."""
    return results_tables.quality(found, samples=20)


@pytest.fixture(scope="module")
def defenses(found):
    """Recovered and kept classes."""
    return results_tables.defenses(found, samples=20)


def frames(found, stem):
    """Recorded tables of a kind, each with where it is from."""
    for run in found.runs.itertuples():
        for pixels, name in params.ATTACKS.items():
            path = RECORD / run.protocol / found.dataset / run.classifier / f"{stem}{name}.parquet"
            if path.exists():
                yield (run.protocol, run.classifier, pixels), pd.read_parquet(path)


def test_the_protocol_nearest_to_the_paper_comes_first():
    names = recorded_runs.protocols(RECORD)
    known = [name for name in PROTOCOLS if name in names]
    assert names[: len(known)] == known
    assert all(params.base(name) == name for name in names)


def test_nothing_recorded_is_one_clear_sentence(tmp_path):
    with refused(tmp_path):
        recorded_runs.protocols(tmp_path)
    with refused("derma"):
        recorded_runs.read(RECORD, ["demo"], ["derma"])


def test_success_rates_are_those_of_the_attack_tables(found):
    success = results_tables.success(found).set_index(["protocol", "classifier", "pixels"])
    classes = results_tables.success_by_class(found)
    every = dict(frames(found, ""))
    assert set(success.index) == set(every)
    for key, table in every.items():
        row = success.loc[key]
        tested = table["part"] == "test"
        test, others = table[tested], table[~tested]
        assert (row["n"], row["successes"]) == (len(test), test["success"].sum())
        assert (row["learned"], row["learned_misled"]) == (len(others), others["success"].sum())
        own = classes[(classes[["protocol", "classifier", "pixels"]] == list(key)).all(axis=1)]
        assert own.iloc[:-1]["n"].sum() == own.iloc[-1]["n"] == len(test)
        assert own.iloc[:-1]["successes"].sum() == test["success"].sum()


def test_every_attack_counts_at_its_level_of_confidence(found):
    table = confidence.success(found, run_tables.RUN)
    attacks = found.tested.attacks
    if params.facts(found.dataset).multi_label:  # it has a margin, no probability
        assert not len(table) and confidence.counted(table, confidence.LEVELS) == (0, 0)
        return
    bounds = dict(zip(confidence.LEVELS, pairwise([0, *confidence.EDGES, 1.1]), strict=True))
    for row in table.itertuples():
        low, high = bounds[row.confidence]
        of = attacks[(attacks[run_tables.RUN] == list(row[1:5])).all(axis=1)]
        of = of[(of["p_before"] >= low) & (of["p_before"] < high)]
        assert (row.n, row.successes) == (len(of), of["success"].sum())
        assert row.low <= row.rate <= row.high
    assert table["n"].sum() == len(attacks)


def test_attacks_are_said_to_need_unsure_predictions_only_if_they_do():
    table = pd.DataFrame({"confidence": ["<50", "≥99"], "size": 224, "n": [50, 200]})
    only, often, others = (
        results_text.sure(table.assign(successes=[unsure, won]))
        for unsure, won in ((50, 0), (50, 20), (30, 0))
    )
    assert "0 of 200" in only and "50 of 50" in only and "20 of 200" in often
    assert len(only) > len(often) and len(only) > len(others)
    smaller = table.assign(size=64, successes=0)
    assert results_text.sure(smaller) == results_text.sure(smaller[:0]) == ""


def test_sizes_are_compared_at_one_budget_and_with_the_same_classifiers(found):
    attacks = pd.DataFrame({
        "dataset": "oct", "part": "test", "split": "test", "index": range(4), "label": 0,
        "success": [True, False, True, True], "p_before": [0.95, 0.99, 0.6, 0.6],
        "protocol": ["a", "b", "c", "b"], "size": [28, 64, 64, 64],
        "classifier": ["resnet50"] * 3 + ["densenet121"],
    })  # fmt: skip
    runs = attacks[run_tables.RUN].drop_duplicates().assign(weak=False, budget=[31, 31, 101, 31])
    table = confidence.sizes([RecordedRuns(runs, attacks)])
    assert [*table["size"]] == [28, 64] and {*table["classifier"]} == {"resnet50"}
    assert [*table["confidence"]] == ["90–99", "≥99"] and [*table["rate"]] == [1, 0]
    alone = RecordedRuns(runs[:1], attacks[:1])
    assert not len(confidence.sizes([alone]))


def test_the_success_without_related_images_is_that_of_the_other_attacks():
    found = recorded_runs.read(RECORD, datasets=["derma"])
    step = json.loads((RECORD / found.protocol / "derma/run.json").read_text())
    groups = step["steps"]["datasets"]["related"]
    attacks = results_tables.nearest(found.tested.attacks)
    one = attacks[(attacks["classifier"] == "resnet50") & (attacks["pixels"] == 1)]
    alone = rates.success_rate(one[~one["group"].isin(groups)])
    assert 0 < alone["n"] < len(one)
    text = dataset_text.related(RECORD, found)
    assert f"{rate(*(alone[name] for name in rates.MATCHED))} instead of" in text
    nobody = replace(found, attacks=found.attacks.assign(group=-1))
    assert "instead of" not in dataset_text.related(RECORD, nobody)


def test_printed_rates_are_the_papers(found):
    classes = results_tables.success_by_class(found)
    for (net, pixels), group in classes.groupby(["classifier", "pixels"]):
        table = paper.attack_table(found.dataset, net, pixels)
        if table is None:
            assert group["printed"].isna().all()
            continue
        for row in table.itertuples():
            ours = group.loc[group["class"] == row[1], "printed"]
            assert len(ours) and (ours == row.printed_rate).all()


def test_defenses_are_judged_on_test_images_alone(found, defenses):
    table = defenses.set_index([*results_tables.WITHIN, "defense"])
    every, attacks = dict(frames(found, "restoration_")), dict(frames(found, ""))
    for protocol, net in {key[:2] for key in every}:
        of = {key: rows for key, rows in every.items() if key[:2] == (protocol, net)}
        fooled = back = 0
        for key, rows in of.items():
            parts = attacks[key].set_index(["split", "index"])["part"]
            keys = pd.MultiIndex.from_frame(rows[["split", "index"]])
            mine = rows[(parts.reindex(keys) == "test").to_numpy() & (rows["defense"] == "dae")]
            fooled += mine["success"].sum()
            back += (mine["success"] & mine["recovered"]).sum()
        size = found.runs.set_index(["protocol", "classifier"]).loc[(protocol, net), "size"]
        row = table.loc[(protocol, size, net, "dae")]
        assert row["n"] == fooled and row["recovered"] == pytest.approx(back / fooled)


def test_an_attack_is_removed_where_attacked_and_clean_image_get_one_class(found):
    keys = [*results_tables.ATTACK, "defense"]
    table = results_tables.removal(found, results_tables.ATTACK).set_index(keys)
    restored = found.tested.restored
    for key, of in restored[restored["success"]].groupby(keys):
        row, pairs = table.loc[key], zip(of["restored_class"], of["clean_class"], strict=True)
        same = [str(one) == str(other) for one, other in pairs]
        assert row["n"] == len(of) and row["removed"] == pytest.approx(np.mean(same))
        assert row["lost"] == (~of["recovered"]).sum()
        assert row["both"] == len(of) - (of["recovered"] | of["kept"]).sum()


def test_what_defenses_lose_is_said_to_be_theirs_only_if_it_is():
    table = pd.DataFrame({"defense": ["identity", "dae", "dae+patches"], "lost": [90, 100, 50]})
    some, most, none = (
        results_text.removed(table.assign(both=[0, both, 0], lost=table["lost"] * (both >= 0)))
        for both in (50, 95, -1)
    )
    assert "50 %" in some and "95 %" in most and len(most) > len(some) > len(none) == 0


def test_quality_is_the_mean_over_successful_attacks(found, quality):
    table = quality
    for (protocol, net, pixels), rows in frames(found, "restoration_"):
        mine = rows[rows["success"] & ~rows["exact"]].groupby("defense")["psnr"].mean()
        own = table[(table["protocol"] == protocol) & (table["classifier"] == net)]
        own = own[own["pixels"] == pixels].set_index("defense")["psnr"].dropna()
        assert len(own) and set(own.index) == set(mine.index)
        np.testing.assert_allclose(own, mine.reindex(own.index))


def test_positions_lie_in_the_image_and_are_counted(found):
    places = results_tables.positions(found)
    fooled = found.attacks[found.attacks["success"]]
    assert len(places) == fooled["rows"].map(len).sum()
    assert places[["x", "y"]].stack().between(0, 1).all()
    share, low, high = results_tables.central(places)
    assert 0 <= low <= share <= high <= 1


def test_tables_of_a_page_hold_the_same_numbers(found, defenses):
    success = results_tables.success(found)
    shown = results_shown.by_class(found).query("`class` == 'all'")
    for row in success.itertuples():
        at = (shown[results_shown.SIZE] == row.size) & (shown["classifier"] == row.classifier)
        name = {1: "one pixel", 2: "two pixels"}[row.pixels]
        (cell,) = shown.loc[at, name]
        assert cell == rate(row.rate, row.low, row.high)
        assert shown.loc[at, f"n, {name}"].item() == row.n
    assert shown.columns.is_unique
    assert len(results_shown.rates_of_runs(success.assign(dataset=found.dataset))) == len(success)
    texts = defenses_shown.defenses(defenses)["label recovery rate"]
    assert list(texts) == list(tables.rates(defenses, "recovered"))


def test_larger_images_come_first(found):
    order = [PROTOCOLS.index(name) for name in found.runs["protocol"]]
    assert order == sorted(order)
    nearest = results_tables.nearest(found.attacks)["protocol"]
    assert set(nearest) == {found.protocol}


def test_central_counts_the_middle_quarter_of_the_area():
    places = pd.DataFrame({"x": [0.5, 0.3, 0.2, 0.9], "y": [0.5, 0.7, 0.5, 0.5]})
    assert results_tables.central(places)[0] == 0.5


def test_size_effect_compares_sizes_next_to_each_other():
    table = pd.DataFrame(
        [("oct", "resnet50", 1, size, n, share)
         for size, n, share in ((28, 9, 0.9), (64, 9, 0.5), (224, 9, 0.7), (64, 3, 0.0))],
        columns=["dataset", "classifier", "pixels", "size", "n", "rate"],
    )  # fmt: skip
    assert results_tables.size_effect(table) == (1, 1, 2)
    assert results_tables.size_effect(pd.DataFrame()) == (0, 0, 0)


def headings(step):
    cells = jupytext.read(params.ROOT / "notebooks" / f"{step}.md").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.*)$", text, re.M)


PLACES = [(step, None) for step in RESULTS if step != "results_dataset"]
PLACES += [("results_dataset", name) for name in paper.DATASETS]


@pytest.mark.parametrize(("step", "dataset"), PLACES)
def test_every_section_that_a_printed_table_leads_to_is_on_its_page(step, dataset):
    there = headings(step)
    for heading, numbers in results_pages.sections(step, dataset).items():
        assert heading in there and numbers
        text = results_pages.linked(f"## {heading}\n\nText.", step, dataset)
        assert f"({results_pages.anchor(step, dataset, heading)})=\n## {heading} (Table" in text
        assert all(str(number) in text for number in numbers)


def test_measures_and_times_stand_beside_the_printed_ones(found, quality):
    shown = defenses_shown.measures(quality)
    keys = ["classifier", "pixels", "defense"]
    every = results_tables.nearest(found.restored)[keys].drop_duplicates()
    assert set(shown[keys].itertuples(index=False)) == set(every.itertuples(index=False))
    table = results_tables.times(found)
    for row in table[table["printed"].notna()].itertuples():
        minutes = paper.printed(int(row.table)).filter(regex="minutes").to_numpy()
        assert (np.abs(minutes - row.printed) < 0.01).any()
    assert (table["minutes"] > 0).all()


@pytest.mark.parametrize("measure", ["psnr", "ssim"])
def test_quality_has_an_interval_and_the_printed_mean_beside_each_value(quality, measure):
    table = quality
    shown = defenses_shown.quality(table, measure)
    keys = ["size", "classifier", "defense"]
    assert len(shown) == len(table[keys].drop_duplicates())
    row = table[(table["pixels"] == 2) & table[f"printed_{measure}"].notna()].iloc[0]
    own = shown[[results_shown.SIZE, *keys[1:]]].eq(row[keys].to_list()).all(axis=1)
    (line,) = shown[own].to_dict("records")
    low, value, high = (row[name] for name in (f"{measure}_low", measure, f"{measure}_high"))
    found_low, found_high = line["two pixels"].split("(")[1].rstrip(")").split("–")
    assert low - 0.05 <= float(found_low) <= value + 0.05
    assert value - 0.05 <= float(found_high) <= high + 0.05
    assert float(line["printed, two pixels"]) == pytest.approx(row[f"printed_{measure}"], abs=1e-9)
    assert line["n, two pixels"] == row["n"]


def test_weights_change_a_rate_only_where_every_class_was_attacked(found):
    success = results_tables.success(found)
    mixed = results_tables.class_weighted(success)
    known = success["matched"].notna()
    assert (mixed.loc[known, "rate"] == success.loc[known, "matched"]).all()
    assert (mixed.loc[~known, "rate"] == success.loc[~known, "rate"]).all()


def test_pictures_need_the_very_file_of_the_record(found, tmp_path):
    assert real_images.at_hand(found, str(tmp_path), 0) is None
    run = found.runs.iloc[0]
    assert run["npz"] in real_images.missing(found, "data")
    count = params.facts(found.dataset).fewest_phantoms
    path = phantoms.write(found.dataset, run["size"], count, 0, tmp_path)  # not the record's file
    assert path.name == run["npz"] and real_images.at_hand(found, str(tmp_path), 0) is None
    theirs = replace(found, runs=found.runs.assign(md5=md5(path)))
    assert len(real_images.at_hand(theirs, str(tmp_path), 0)) == count


def test_every_table_of_rates_and_quality_leads_to_one_section():
    found = (results_pages.places(number, PLACES) for number in paper.NUMBERS)
    anchors = {anchor for places in found for anchor, _ in places}
    assert len(anchors) == sum(len(results_pages.sections(*place)) for place in PLACES)
    for numbers in paper.TABLES.values():
        for number in numbers.values():
            assert len(results_pages.places(number, PLACES)) == 1
    for number in (3, 4, 5, 13, 32, 33, 43, 51):
        assert len(results_pages.places(number, PLACES)) == 1
    for number in (12, 34, 44):
        assert len(results_pages.places(number, PLACES)) == len(paper.DATASETS)
    assert results_pages.places(17, []) == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """One results page, made through papermill without data and without runs."""
    folder = tmp_path_factory.mktemp("pages")
    source = folder / "results_dataset.ipynb"
    jupytext.write(jupytext.read(params.ROOT / "notebooks/results_dataset.md"), source)
    target = folder / "runs/results" / DATASETS[0] / "results_dataset.ipynb"
    target.parent.mkdir(parents=True)
    given = {"dataset": DATASETS[0], "runs": str(folder / "runs"), "bootstrap_samples": 20}
    result = subprocess.run(
        [sys.executable, "-m", "papermill", str(source), str(target), "--no-progress-bar", "-y",
         json.dumps(given)],
        cwd=params.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def test_a_page_is_made_from_the_record_alone(executed):
    (page,) = run_pages.find_pages(executed / "runs")
    found = recorded_runs.read(RECORD, datasets=[page.dataset])
    assert page.protocols == list(found.runs["protocol"].unique())
    assert not page.phantoms
    outputs = [
        output.get("data", {})
        for cell in nbformat.read(page.path, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    shown = [data[kind] for data in outputs for kind in ("image/png", "text/html") if kind in data]
    # What is seen without a click.
    assert 4 <= len([each for each in shown if not each.startswith("<details")]) <= 8
    tables = "".join(data.get("text/html", "") for data in outputs)
    for cell in results_shown.by_class(found)["one pixel"].dropna():
        assert cell in tables


def test_the_book_has_the_page_with_its_sections(executed, tmp_path):
    pages = run_pages.find_pages(executed / "runs")
    run_pages.write_page(pages[0], tmp_path)
    written = nbformat.read(tmp_path / f"{pages[0].name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in written.cells if cell.cell_type == "markdown")
    for heading in results_pages.sections("results_dataset", pages[0].dataset):
        assert f"({results_pages.anchor('results_dataset', pages[0].dataset, heading)})=" in text
    parts = {part["caption"]: part["chapters"] for part in build.contents(pages)["parts"]}
    assert {"file": pages[0].name} in parts["Results on real images"]


def test_phantoms_stand_in_the_appendix_alone(tmp_path):
    for protocol, source in (("demo", "phantom"), ("compact", "rebuilt")):
        folder = tmp_path / protocol / "oct"
        folder.mkdir(parents=True)
        (folder / "datasets.ipynb").write_text("{}")
        about = {"steps": {"datasets": {"data": {"source": source}}}}
        (folder / "run.json").write_text(json.dumps(about))
    parts = build.contents(run_pages.find_pages(tmp_path))["parts"]
    holding = [part["caption"] for part in parts if "runs/demo/oct/datasets" in json.dumps(part)]
    assert len(holding) == 1 and holding[0].startswith("Appendix")
    real = [part["caption"] for part in parts if "runs/compact/oct/datasets" in json.dumps(part)]
    assert len(real) == 1 and real != holding


def test_the_front_page_is_one_screen_of_the_record(tmp_path, monkeypatch):
    index = (params.ROOT / "book/index.md").read_text()
    first, nothing = front_page.first(RECORD), pd.DataFrame()
    monkeypatch.setattr(front_page, "first", lambda results: first)
    empty = Record(pd.DataFrame(columns=["results", "source", "steps"]), None, nothing, None)
    ledger = claims.ledger([(empty, params.load("compact"))])
    text = front_page.page(index, RECORD, ledger, [], tmp_path)
    assert (tmp_path / front_page.FILE).exists() and "<!--" not in text
    assert first.headline in text and claim_cards.chips(ledger) in text
    assert len(first.findings) == 4
    assert len(" ".join([first.headline, *first.findings]).split()) < 130
    assert not re.search(r"[\[\]()]", " ".join([first.headline, *first.findings]))
    sizes = recorded_runs.read(RECORD).sizes.values()
    assert f"{max(sizes)} px" in first.findings[0]


@pytest.mark.parametrize("weak", [["resnet50"], ["resnet50", "densenet121"]])
def test_the_front_page_counts_no_classifier_that_a_constant_answer_beats(monkeypatch, weak):
    every = recorded_runs.read(RECORD)
    largest = max(every.sizes.values())
    name = next(name for name, size in every.sizes.items() if size == largest)
    runs = every.runs
    worse = (runs["dataset"] == name) & (runs["size"] == largest) & runs["classifier"].isin(weak)
    every = replace(every, runs=runs.assign(weak=worse | runs["weak"]))
    monkeypatch.setattr(recorded_runs, "read", lambda _: every)
    first = front_page.first(RECORD)
    assert shown(name) not in first.findings[0]  # of ResNet50
    rows = every.useful.tested.restored
    rows = rows[(rows["size"] == largest) & rows["success"] & (rows["defense"] == "dae")]
    for dataset, of in rows.groupby("dataset"):
        assert f"{len(of)} successful attacks on {shown(dataset)}" in first.caption
    which = "both classifiers" if len(weak) == 2 else "ResNet50"
    assert any(which in clause and shown(name) in clause for clause in first.caption.split(";"))


def test_the_front_page_without_a_record(tmp_path):
    index = (params.ROOT / "book/index.md").read_text()
    assert front_page.NONE in front_page.page(index, tmp_path, None, [], tmp_path)


def test_figures_of_nothing_say_so():
    nothing = pd.DataFrame(columns=["panel", "printed", "recovered", "n"])
    for draw in (slopes, figures.recovery_over, figures.success_by_class, figures.sizes):
        assert draw(nothing).get_label()
    assert not results_text.detected(nothing) and not results_text.sure_by_size(
        confidence.sizes([])
    )
    assert figures.by_confidence(nothing, confidence.LEVELS).get_label()
    assert figures.search(nothing, nothing).get_label()
