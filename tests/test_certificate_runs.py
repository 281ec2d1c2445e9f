"""Certificates of a run: order, shards, interruptions, and what the record checks."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TinyNet, changed, make_images, refused
from safetensors.torch import save_file

from lib import params
from lib.attack import certificate
from lib.attack.run_certificates import certify_run, main, order, search_run, searches
from lib.evidence import schema
from lib.models.classifiers import decide, logits

P = params.load("demo", "oct", device="cpu")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A model with its weights on disk, and images of 10 x 10 pixels, some classified wrong."""
    monkeypatch.setattr("lib.attack.run_certificates.BUDGET", 300)
    model = TinyNet(1, 10, 4).eval()
    with torch.no_grad():
        model.linear.weight *= 3
    data = make_images("oct", 24, 10)
    data.labels[::2] = decide(logits(model, data.images, torch.device("cpu")), False)[::2]
    save_file(model.state_dict(), tmp_path / "classifier.safetensors")
    return model, data, P, tmp_path


def same(found, expected):
    pd.testing.assert_frame_equal(
        found.drop(columns="seconds"), expected.drop(columns="seconds"), check_dtype=False
    )


def test_more_images_add_to_those_that_are_done(run, monkeypatch):
    model, data, *rest = run
    few = certify_run(*run, "bare", 4)
    calls = []
    real = certificate._Work.begin
    monkeypatch.setattr(
        certificate._Work, "begin", lambda *args: calls.append(args[1]) or real(*args)
    )
    many = certify_run(*run, "bare", 9)
    same(many[:4], few)
    assert calls == list(range(4, 9))
    one, other = order(data, 0).tolist(), order(data, 1).tolist()
    assert one != other and sorted(one) == sorted(other)
    assert set(data.part[one]) == {"test"}
    assert few["skipped"].any() or many["skipped"].any()


def test_shards_share_the_images(run, tmp_path):
    whole = certify_run(*run, "median3", 6)
    other = (*run[:3], tmp_path / "other")
    other[3].mkdir()
    (other[3] / "classifier.safetensors").write_bytes(
        (tmp_path / "classifier.safetensors").read_bytes()
    )
    half = certify_run(*other, "median3", 6, (1, 2))
    assert len(half) == 0  # the first image is another shard's
    same(certify_run(*other, "median3", 6, (0, 2)), whole)


def test_a_killed_run_goes_on_within_an_image(run, monkeypatch):
    monkeypatch.setattr(certificate, "CHUNK", 4000)
    real, done = certificate._Work.chunk, []

    def chunk(self, state):
        done.append(state["image"])
        if len(done) == kill_at:
            raise KeyboardInterrupt
        return real(self, state)

    kill_at = None
    monkeypatch.setattr(certificate._Work, "chunk", chunk)
    whole, chunks = certify_run(*run, "bare", 3, save_every=0), len(done)
    done.clear()
    for path in run[3].glob("certificates/*/*.json"):
        path.unlink()
    kill_at = 3
    with pytest.raises(KeyboardInterrupt):
        certify_run(*run, "bare", 3, save_every=0)
    same(certify_run(*run, "bare", 3, save_every=0), whole)
    assert len(done) - 1 == chunks  # the one that was killed is done again, and no other


def test_searches_find_only_vulnerable_images(run):
    model, data, p, folder = run
    certified = certify_run(*run, "bare", 12)
    found = search_run(*run, 12)
    vulnerable = certified[~certified["robust"] & ~certified["skipped"]]
    assert len(vulnerable) and set(found["method"]) == set(searches(p, False))
    for _, rows in found.groupby("method"):
        assert rows["index"].tolist() == vulnerable["index"].tolist()
    spent = found["computed"].where(found["method"] == "map", found["evaluations"])
    assert found["success"].any() and (spent <= 300).all()
    for name in ("certificate_bare", "certificate_searches"):
        path = folder / f"{name}.parquet"
        assert not list(schema.problems(path, pd.read_parquet(path), size=10))
    for others in changed(data, folder / "classifier.safetensors"):
        with refused("certificate_bare.parquet"):
            search_run(model, others, p, folder, 12)
        certify_run(model, others, p, folder, "bare", 12)


def test_all_searches_compute_every_candidate():
    """Also where the run itself would predict most of them."""
    p = params.load("demo", "oct", attack_evaluation="screened")
    found = [each for name, each in searches(p, False).items() if name != "map"]
    budgets = {(each.evaluation, each.population, each.generations, each.seed) for each in found}
    assert len(budgets) == 1 and "exact" in budgets.pop()


@pytest.mark.parametrize(
    ("column", "value"),
    [("robust", True), ("counterexamples", -1), ("candidates", 10**9), ("row", 10), ("value", 256),
     ("through", "mean")],
)  # fmt: skip
def test_a_damaged_certificate_is_named(run, column, value):
    table = certify_run(*run, "bare", 12)
    table.loc[int(np.flatnonzero(~table["robust"])[0]), column] = value
    assert list(schema.problems(run[3] / "certificate_bare.parquet", table, size=10))


def test_the_command_line_says_what_is_wrong():
    for words in ("", "bare ten", "mean 2", "bare 2 0/3", "bare 2 protocol=nothing"):
        with refused():
            main(words.split())
