"""The page for reviewers: every claim leads to its evidence, every run made again is shown."""

import re

import pandas as pd
import pytest

from book import reproduce, results_pages, reviewers
from book.run_pages import Page
from lib import params
from lib.evidence import claims, record
from lib.params.files import visible

TEXT = (params.ROOT / "book" / "reviewers.md").read_text(encoding="utf-8")
RESULTS = params.ROOT / "results"


@pytest.fixture(scope="module")
def ledger():
    return claims.ledger(record.every(RESULTS))


def rows(text):
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


def test_every_claim_has_its_evidence(ledger):
    assert set(ledger["id"]) == set(claims.TESTS)
    assert len(rows(reviewers.claims_table(ledger, []))) == len(claims.TESTS)
    for files in ledger["files"]:
        assert visible(RESULTS, f"**/{files.replace('<one|two>', '*')}"), files
    assert set(ledger["page"]) - {""} <= set(results_pages.TITLES)


def test_claims_lead_to_pages_that_are_built(tmp_path, ledger):
    pages = [
        Page(tmp_path / "results" / name, tmp_path)
        for name in ("verdicts.ipynb", "oct/results_dataset.ipynb", "results_size.ipynb")
    ]
    text = reviewers.claims_table(ledger, pages)
    for page in pages:
        assert f"</{page.name}>`" in text, page.name
    assert "results_ablation>" not in text


def test_all_places_are_filled_also_where_nothing_is_recorded(tmp_path, ledger):
    for results, judged in ((RESULTS, ledger), (tmp_path, None)):
        texts = reviewers.texts(results, judged, [])
        assert {*re.findall(r"<!-- (\w+) -->", TEXT)} == texts.keys() and all(texts.values())


def test_runs_come_with_the_shortest_first():
    listed = rows(reviewers.runs(RESULTS))
    minutes = [float(line.split("|")[4]) for line in listed]
    assert minutes == sorted(minutes) and len(listed) > 10


def test_runs_made_again_are_shown_with_every_number(tmp_path):
    table = pd.DataFrame({
        "protocol": "compact-28", "dataset": "oct", "classifier": "resnet50",
        "quantity": ["test accuracy", "restoration, error_attacked"], "pixels": ["", 1],
        "of": ["", "median3"],
        "recorded": [0.505, None], "low": [0.4, None], "high": [0.6, None], "n": [200, 0],
        "reproduced": [0.525, None], "reproduced_n": [200, 0], "agreement": ["within", "identical"],
        "recorded_on": "a", "reproduced_on": "b", "finished": "2026-01-02", "commit": "abc+",
    })  # fmt: skip
    reproduce.keep(table, tmp_path)
    reproduce.keep(table.assign(dataset="chest"), tmp_path)
    text = reviewers.reproduced(tmp_path)
    assert len([line for line in text.splitlines() if line.startswith("| test accuracy")]) == 2
    assert "error_attacked" not in text and "| error at the pixel |" in text
    for part in ("0.505", "0.4–0.6", "0.525", "2026-01-02", "abc+", "1 within", "1 identical"):
        assert part in text, part
