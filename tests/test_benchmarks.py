"""The peers' adapters: what each may spend, what counts as success, and that a seed repeats it."""

import argparse
import json
import platform
import re
import sys
import tomllib
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from packaging.requirements import Requirement

from benchmarks import attack as driver
from benchmarks import scaling
from benchmarks.harness import Counted, Steadfast, throughput
from benchmarks.peers import PEERS, installed
from lib.models.classifiers import logits
from lib.params import ROOT
from lib.params.errors import InputError

CPU = torch.device("cpu")
POPULATION, GENERATIONS = 60, 19  # 1200 candidates: three of ART's populations of 400


@pytest.fixture(params=PEERS)
def peer(request):
    try:
        installed(request.param)
    except InputError as error:
        pytest.skip(str(error))
    return PEERS[request.param]


def most(peer, plan):
    """Evaluations at most: the best member is looked at again, by ART once more at the end."""
    return plan.candidates + plan.generations + (peer.name == "ART")


@pytest.fixture
def case(tiny, images):
    """A network and images that it classifies right, as it decides their labels."""
    model, data = tiny(3, 28, 7).eval(), images("derma", 6)
    return model, data.images, logits(model, data.images, CPU).argmax(1)


@pytest.mark.parametrize("name", PEERS)
def test_plan_spends_the_budget_and_no_more(name):
    budgets = (100, 100), (100, 30), (60, 19)
    for pixels, channels, (population, generations) in product((1, 2), (1, 3), budgets):
        plan = PEERS[name].plan(pixels, channels, population, generations)
        budget = population * (generations + 1)
        assert plan.candidates <= budget < plan.candidates + plan.population


@pytest.mark.parametrize(
    ("name", "pixels", "channels", "population"),
    [
        ("torchattacks", 1, 3, 100),
        ("torchattacks", 1, 1, 99),
        ("torchattacks", 2, 1, 96),
        ("art", 1, 3, 400),
        ("art", 1, 1, 399),
        ("art", 2, 1, 396),
        ("scipy", 1, 1, 100),
    ],
)
def test_population_is_what_the_peer_makes_of_ours(name, pixels, channels, population):
    assert PEERS[name].plan(pixels, channels, 100, 100).population == population


def test_budget_below_the_peers_population_is_an_error():
    with refused("ART", 400, 168):
        PEERS["art"].plan(1, 3, 24, 6)


def test_success_is_that_of_the_stored_image(peer, case, images):
    model, clean, labels = case
    result = peer.attack(model, clean, labels, 1, POPULATION, GENERATIONS, seed=0)
    assert result.adversarial.dtype == np.uint8 and result.adversarial.shape == clean.shape
    assert ((result.adversarial != clean).any(3).sum((1, 2)) <= 1).all()
    for image, label, success in zip(result.adversarial, labels, result.success, strict=True):
        assert success == (logits(model, image[None], CPU)[0].argmax() != label)
    assert result.success.any() and not result.success.all()
    assert result.seconds > 0


@pytest.mark.parametrize("pixels", [1, 2])
def test_evaluations_are_counted_and_within_the_plan(peer, case, pixels):
    model, clean, labels = case
    passed = []
    model.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    result = peer.attack(model, clean, labels, pixels, POPULATION, GENERATIONS, seed=0)
    plan = peer.plan(pixels, 3, POPULATION, GENERATIONS)
    assert result.evaluations.sum() + len(clean) == sum(passed)  # each is judged once more
    assert (result.evaluations <= most(peer, plan)).all()
    assert result.evaluations[result.success].min() < plan.candidates, "no early stop"


def test_a_seed_repeats_the_attack_and_numpys_state_stays(peer, case):
    model, clean, labels = case
    before = np.random.get_state()[1].copy()
    first, again, other = (
        peer.attack(model, clean[:2], labels[:2], 1, POPULATION, GENERATIONS, seed)
        for seed in (3, 3, 4)
    )
    assert (np.random.get_state()[1] == before).all()
    assert (first.adversarial == again.adversarial).all()
    assert (first.evaluations == again.evaluations).all()
    assert (first.adversarial != other.adversarial).any()


def test_gray_images_and_bfloat16(peer, tiny, images):
    model, data = tiny(1, 28, 4).eval(), images("oct", 3)
    labels = logits(model, data.images, CPU).argmax(1)
    result = peer.attack(
        model, data.images, labels, 2, POPULATION, GENERATIONS, seed=0, precision="bfloat16"
    )
    assert ((result.adversarial != data.images).any(3).sum((1, 2)) <= 2).all()
    assert (result.success == (logits(model, result.adversarial, CPU).argmax(1) != labels)).all()


def test_steadfast_network_takes_the_whole_budget(peer, case):
    model, clean, _ = case
    steadfast, labels = Steadfast(model).eval(), np.zeros(len(clean), dtype=np.int64)
    result = peer.attack(steadfast, clean, labels, 1, POPULATION, GENERATIONS, seed=0)
    plan = peer.plan(1, 3, POPULATION, GENERATIONS)
    assert not result.success.any()
    assert (result.evaluations == most(peer, plan)).all()
    assert throughput(peer, model, clean[:1], 1, POPULATION, GENERATIONS) > 0


def test_plateau_neither_stops_nor_breaks_a_peer(peer, case):
    model, clean, _ = case
    torch.nn.init.zeros_(model.linear.weight)
    torch.nn.init.constant_(model.linear.bias[:1], 1000)  # a probability of exactly 1
    labels = np.zeros(len(clean), dtype=np.int64)
    result = peer.attack(model, clean, labels, 1, POPULATION, GENERATIONS, seed=0)
    plan = peer.plan(1, 3, POPULATION, GENERATIONS)
    assert (result.evaluations == most(peer, plan)).all()


def test_steadfast_keeps_the_other_logits(case):
    model, clean, _ = case
    plain, fixed = (logits(network, clean, CPU) for network in (model, Steadfast(model)))
    assert (fixed.argmax(1) == 0).all() and (fixed[:, 1:] == plain[:, 1:]).all()


def test_counted_searches_in_bfloat16_and_answers_in_float32(case):
    model, clean, _ = case
    batch = torch.rand(4, 3, 28, 28)
    exact, rough = Counted(model), Counted(model, "bfloat16")
    assert exact(batch).dtype == rough(batch).dtype == torch.float32
    assert (exact(batch) == model(batch)).all() and (rough(batch) != model(batch)).any()
    assert exact.count == 8


def test_missing_peer_is_an_error_that_says_how_to_install_it(monkeypatch, case):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with refused("torchattacks"):
        PEERS["torchattacks"].attack(*case, 1, POPULATION, GENERATIONS, seed=0)


def test_lock_is_the_group_and_nothing_of_the_project():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["benchmark"]
    text = (ROOT / "benchmarks/requirements.lock").read_text()
    lock = {item.name: item for item in map(Requirement, text.split())}
    assert lock.keys() == {Requirement(item).name for item in group}
    for item in map(Requirement, group):
        (pin,) = lock[item.name].specifier
        assert pin.operator == "==" and item.specifier.contains(pin.version)
    assert not re.search("|".join(lock), (ROOT / "requirements.lock").read_text())


def test_the_driver_writes_a_row_for_each_method(tmp_path, capsys):
    words = ["--only", "resnet50 28", "--no-peers"]
    words += ["--seconds", "0.01", "--generations", "1", "--images", "1"]
    cases = [("resnet50", 28, "float32", "cpu", 1), ("resnet50", 224, "float32", "cpu", 1),
             ("resnet50", 28, "float32", "cuda", 1)]  # fmt: skip
    before = pd.DataFrame(cases, columns=driver.CASE).assign(
        method="ART", candidates_per_second=1.0, ratio_to_plain_dense=1.0
    )
    before.to_csv(tmp_path / "attack.csv", index=False)
    (tmp_path / "attack.json").write_text('{"cuda": {"threads": 3}}')
    driver.main([*words, "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "attack.csv")
    kept = table["method"] == "ART"  # another device; that case on a CPU has no known machine
    assert table.loc[kept, ["size", "device"]].to_numpy().tolist() == [[28, "cuda"]]
    table = table[~kept].set_index("method")
    assert list(table.index) == ["plain dense", "ours, whole maps", "ours, windows", "ours, search"]
    plain = table.loc["plain dense", "candidates_per_second"]
    assert table["ratio_to_plain_dense"].tolist() == pytest.approx(
        (table["candidates_per_second"] / plain).tolist(), rel=0.02
    )
    about = json.loads((tmp_path / "attack.json").read_text())
    assert about["cuda"] == {"threads": 3}
    assert about["cpu"]["hardware"]["cores"] and about["cpu"]["peak_gflops"]["float32"] > 0
    assert list(about["cpu"]["fixed_seconds"]) == ["resnet50 28 float32 1"]
    assert "200" in capsys.readouterr().out
    with refused("'vgg'"):
        driver.main(["--only", "vgg", "--out", str(tmp_path)])


@pytest.mark.parametrize(("python", "kept"), [(platform.python_version(), 2), ("3.0", 1)])
def test_other_cases_stay_if_the_same_machine_measured_them(python, kept, tmp_path):
    given = argparse.Namespace(out=tmp_path, images=1, generations=1, seconds=0.01)

    def measured(size):
        row = dict(zip(driver.CASE, ("resnet50", size, "float32", "cpu", 1), strict=True))
        driver.keep(given, [row | {"candidates_per_second": 1.0}], {f"{size}": 1.0}, 0.0)

    measured(28)
    about = json.loads((tmp_path / "attack.json").read_text())
    about["cpu"]["versions"]["python"] = python
    (tmp_path / "attack.json").write_text(json.dumps(about))
    measured(64)
    assert len(pd.read_csv(tmp_path / "attack.csv")) == kept
    assert len(json.loads((tmp_path / "attack.json").read_text())["cpu"]["fixed_seconds"]) == kept


def test_scaling_prints_seconds_and_memory(capsys):
    scaling.main(["3"])
    seconds, before, peak = map(float, capsys.readouterr().out.split())
    assert seconds > 0 and peak >= before > 0
