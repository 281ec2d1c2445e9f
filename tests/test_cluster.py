"""What a cluster is asked for, what the paper would cost, and the page that says so."""

import re
import subprocess

import pandas as pd
import pytest
from conftest import refused

from benchmarks import costs, slurm
from book import cluster_text
from lib import params
from lib.evidence import printed as paper
from lib.params.files import write_json
from lib.params.resources import MOST, asked

GPU = "a GPU"


@pytest.mark.parametrize("protocol", params.names("protocols"))
def test_every_step_asks_for_what_a_cluster_can_give(protocol):
    for p in params.load_all(protocol=protocol):
        for step in params.STEPS:
            found = asked(step, p)
            assert all(type(value) is int and value > 0 for value in found.values())
            assert found["runtime"] <= MOST and found["mem_mb"] < 100 * 1024
    assert asked("audit", p).keys() == {"cores", "mem_mb", "runtime"}


def test_what_is_asked_for_follows_from_the_parameters():
    def of(step, dataset="oct", **given):
        return asked(step, params.load("compact", dataset, **given))

    attack = of("pixel_attack")
    assert "gpu" in attack and "gpu" not in of("pixel_attack", device="cpu")
    assert of("pixel_attack", device="cpu")["runtime"] > attack["runtime"]
    assert of("pixel_attack", attack_generations=200)["runtime"] > attack["runtime"]
    whole = of("pixel_attack", attack_generations=1000)
    split = of("pixel_attack", attack_generations=1000, attack_shards=8)
    assert split["runtime"] < whole["runtime"] and split["mem_mb"] == whole["mem_mb"]
    assert of("classifier", data_size=224)["mem_mb"] > attack["mem_mb"]
    assert of("classifier", dataset="derma")["mem_mb"] < of("classifier", dataset="chest")["mem_mb"]
    assert of("denoisers", denoiser_epochs=50)["runtime"] > of("denoisers")["runtime"]


def test_evaluations_are_those_of_the_tables_of_classes():
    found = costs.attacks().set_index(["classifier", "pixels", "dataset"])
    for (dataset, classifier, pixels), _ in paper.TABLES.items():
        classes = paper.attack_table(dataset, classifier, pixels)
        row = found.loc[classifier, pixels, dataset]
        assert row["images"] == classes["printed_n"].sum()
        assert row["most"] == row["images"] * 10_100
        # Table 33 has another count for Chest than Table 30 (audit C1), and rates are rounded.
        if (dataset, pixels) != ("chest", 2):
            left = (classes["printed_n"] - classes["printed_successes"]).sum()
            assert row["least"] == pytest.approx(left * 10_100, rel=0.001)


def record(folder, gpu=GPU, seconds=10.0):
    """A record of an attack and of trainings at 224 pixels."""
    run, hardware = folder / "sample" / "oct" / "resnet50", {"gpu": gpu, "threads": 2}
    step = {"hardware": hardware, "parameters": {"data_size": 224, "classifier": "resnet50"}}
    attack = {"one_pixel": {"evaluations": 1000, "seconds": seconds}}
    write_json(
        run / "run.json",
        {"steps": {"classifier": step, "pixel_attack": step | {"attacks": attack}}},
    )
    speeds = ((64, 900.0), (224, 100.0))
    epochs = [{"size": n, "images_per_second": speed, "seconds": 2.0} for n, speed in speeds]
    network = {"architecture": "resnet50", "image_size": 224, "history": epochs}
    write_json(run / "classifier.json", network)


def test_rates_are_those_on_record(tmp_path):
    record(tmp_path)
    record(tmp_path / "other", seconds=30.0)
    (tmp_path / "other" / "sample").rename(tmp_path / "seed-1")  # another run of the same
    found = costs.attack_rates(tmp_path)
    assert found[found["device"] == GPU][["pixels", "rate"]].to_numpy().tolist() == [[1, 50.0]]
    trained = costs.training_rates(tmp_path)
    assert trained.to_dict("records") == [
        {"device": GPU, "threads": 2, "network": "resnet50", "rate": 100.0}
    ]
    assert set(costs.attack_rates(tmp_path / "none")["device"]) == {costs.CPU}


def test_attacks_are_shared_among_machines_and_trainings_are_not():
    rows = [
        {"part": ("resnet50", 1), "kind": "attack", "dataset": "oct", "seconds": 900.0},
        {"part": ("resnet50", 1), "kind": "attack", "dataset": "chest", "seconds": 700.0},
        {"part": ("resnet50",), "kind": "classifier", "dataset": "oct", "seconds": 50.0},
        {"part": ("resnet50",), "kind": "classifier", "dataset": "chest", "seconds": 30.0},
        {"part": ("dae",), "kind": "denoiser", "dataset": "oct", "seconds": 40.0},
        {"part": ("autoencoder",), "kind": "denoiser", "dataset": "oct", "seconds": 20.0},
    ]
    found = pd.DataFrame(rows).assign(amount=1.0, least=float("nan"), screened=float("nan"))
    assert costs.together(found)["seconds"].tolist() == [1600.0, 80.0, 60.0]
    assert costs.together(found, 16)["seconds"].tolist() == [100.0, 50.0, 60.0]


@pytest.mark.parametrize("classifier", params.names("classifiers"))
def test_a_screened_search_computes_little_of_an_exact_one(classifier):
    shares = [costs.screened_share(classifier, pixels) for pixels in params.ATTACKS]
    assert 0.05 < shares[0] < shares[1] < 0.5


def test_the_page_has_a_place_for_every_text_and_says_what_was_not_measured(tmp_path):
    page = (params.ROOT / "book" / "cluster.md").read_text(encoding="utf-8")
    without = cluster_text.texts(tmp_path)
    assert set(re.findall(r"<!-- (\w+) -->", page)) == without.keys()
    assert cluster_text.NOT in without["costs"] and GPU not in without["costs"]
    record(tmp_path)
    assert GPU in cluster_text.texts(tmp_path)["costs"]
    assert all(text.strip() for text in without.values())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.0, "1 second"), (90.0, "1.5 minutes"), (86400.0, "1 day"), (3e9, "95 years"),
     (200 * 86400.0, "200 days"), (float("nan"), cluster_text.NOT)],
)  # fmt: skip
def test_durations_have_one_unit(seconds, text):
    assert cluster_text.duration(seconds) == text


def test_without_accounting_sacct_asks_squeue_for_states_and_knows_nothing_else(tmp_path):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho asked for $5\n")
    (tmp_path / "squeue").chmod(0o755)

    def sacct(*words):
        path = f"{slurm.SACCT}:{tmp_path}:/usr/bin:/bin"
        return subprocess.run(
            ["sacct", *words], env={"PATH": path}, capture_output=True, encoding="utf-8"
        )

    asked_for = sacct("-X", "--format=JobIdRaw,State", "--endtime", "now", "--name", "a-run")
    assert asked_for.stdout == "asked for a-run\n"
    assert sacct("-nu", "someone", "-o", "Account").returncode == 1


def test_another_slurm_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "CONFIGURATION", tmp_path / "slurm.conf")
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None if name == "slurmd" else name)
    monkeypatch.setattr(slurm.os, "geteuid", lambda: 0)
    with refused("slurmd", "slurm-wlm"), slurm.cluster(tmp_path):
        pass
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    (tmp_path / "slurm.conf").write_text("ClusterName=theirs\n")
    with refused("slurm.conf"), slurm.cluster(tmp_path):
        pass
    assert (tmp_path / "slurm.conf").read_text() == "ClusterName=theirs\n"
