"""All attackers of a run through all defenses, on a small network."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TinyNet, changed, make_images, refused
from safetensors.torch import save_file
from torch import nn

from lib import data as data_
from lib import params
from lib.attack import (
    LinearMapAttack,
    PixelAttack,
    RandomSearch,
    SparseRS,
    attack_images,
    attack_of,
    criterion_for,
    locate,
    rebuild,
)
from lib.attack.pgd import PGD
from lib.data import phantoms
from lib.defense import Defended, DoubleMasking, attackers, certified
from lib.defense.dense import APGD, AutoAttack
from lib.defense.stronger import MorePixels, Restarts
from lib.defense.worst_case import sanity, worst_case
from lib.models.classifiers import logits
from lib.models.denoisers.reference import Median3
from lib.params.files import read_table, write_table

P = params.load(
    "demo", "oct", "resnet50", attack_population=8, attack_generations=2, attack_pixels=[1],
    device="cpu", denoiser_names=[], attackers_images=2, masking_size=7, masking_images=2,
    attackers_defenses=["identity", "dae", "median3+patches", "double_masking"],
    attackers_names=["adaptive", "restarts", "more_pixels", "fgsm", "pgd"],
    attackers_epsilons=[1, 16],
)  # fmt: skip


class Small(nn.Module):
    """A network on gray images that counts what it evaluates."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.calls = 0
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
        )  # fmt: skip
        self.eval()

    def forward(self, images):
        self.calls += 1
        return 20 * self.body(images - 0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with that network, images labeled by it, and attacks on it and another one."""
    base = tmp_path_factory.mktemp("attackers")
    phantoms.write("oct", 28, 60, 0, base / "data")
    images = data_.load("oct", base / "data", 28)
    model, folder = Small(), base / "runs" / "demo" / "oct" / "resnet50"
    folder.mkdir(parents=True)
    save_file({"any": torch.zeros(1)}, folder / "classifier.safetensors")
    labels = logits(model, images.images).argmax(1).astype(np.int64)
    images = replace(images, labels=labels)
    attack = attack_of(P, 1, False)
    positions = np.concatenate([np.flatnonzero(labels == label)[:3] for label in range(4)])
    records = attack_images(attack, model, images, positions)
    (folder.parent / "densenet121").mkdir()
    write_table(folder.parent / "densenet121" / "one_pixel.parquet", records.iloc[[1]])
    return model, images, {1: records}, folder


@pytest.fixture(scope="module")
def table(run):
    return attackers.attack_all(*run[:3], P, run[3])[1]


def beside(folder, tmp_path):
    """A run folder of its own with the same weights."""
    part = tmp_path / "oct" / "resnet50"
    part.mkdir(parents=True)
    (part / "classifier.safetensors").symlink_to(folder / "classifier.safetensors")
    return part


def test_rows_say_what_the_attacked_images_do_through_each_defense(run, table):
    model = run[0]
    records = run[2][1].groupby("category", sort=False).head(2).reset_index(drop=True)
    clean = locate(run[1], records)
    models = {
        "identity": model,
        "median3+patches": Defended(model, Median3(1), (3, P.restoration_patch_threshold)).eval(),
        "double_masking": DoubleMasking(model, 7).eval(),
    }
    assert list(table.columns) == list(attackers.COLUMNS)
    assert set(table["defense"]) == set(models)  # the run has no DAE
    counts = table.groupby(["defense", "attacker", "budget"]).size().to_dict()
    one, dense = ("none", "oblivious", "adaptive", "shared"), ("fgsm", "pgd")
    for name, behind in models.items():
        right = logits(behind, clean.images, batch=1).argmax(1) == clean.labels
        of = table[table["defense"] == name].set_index("attacker")
        assert of.loc["none", "correct"].tolist() == right.tolist()
        moved = logits(behind, rebuild(clean.images, records), batch=1).argmax(1) == clean.labels
        assert of.loc["oblivious", "correct"].tolist() == (moved & right).tolist()
        found = of.loc["adaptive"]
        after = logits(behind, rebuild(clean.images, found), batch=1).argmax(1) == clean.labels
        assert found["correct"].tolist() == (after & right).tolist()
        held = right.copy()
        for other in models.keys() - {name}:
            own = table[(table["defense"] == other) & (table["attacker"] == "adaptive")]
            images = rebuild(clean.images, own)
            held &= logits(behind, images, batch=1).argmax(1) == clean.labels
        assert of.loc["shared", "correct"].tolist() == held.tolist()
        for attacker in one:
            assert counts[(name, attacker, 0 if attacker == "none" else 1)] == len(records)
        assert of.loc[["transfer"], "index"].tolist() == records["index"].iloc[[1]].tolist()
        if name != "double_masking":
            assert all(counts[(name, a, e)] == len(records) for a in dense for e in (1, 16))
            assert all(counts[(name, "more_pixels", 2**n)] == len(records) for n in range(7))
            for budget, stage in of.loc["more_pixels"].groupby("budget"):
                after = logits(behind, rebuild(clean.images, stage), batch=1).argmax(1)
                stands = (after == clean.labels) | (stage["rows"].map(len) > budget)
                assert stage["correct"].tolist() == (stands & right).tolist()
                assert budget > 1 or stage["correct"].tolist() == found["correct"].tolist()
    masked = table[table["defense"] == "double_masking"]
    sure = models["double_masking"].certify(clean.images, clean.labels)
    none = masked[masked["attacker"] == "none"]
    assert none["certified"].tolist() == sure.tolist() and sure.any() and not sure.all()
    assert not table.loc[table["defense"] != "double_masking", "certified"].any()
    checks = sanity(table).set_index(["check", "defense"])["holds"]
    assert checks["certificate"].all() and checks["budget"].all() and checks["steps"].all()
    steps = table[table["attacker"] == "fgsm"]["evaluations"]
    assert set(steps) == {0, 1}  # one step, and none where the defense alone misleads
    shares = worst_case(table)
    assert (shares.loc[shares["attacker"] == "none", "n"] == len(records)).all()


def test_a_finished_table_is_read_back_and_a_killed_run_goes_on(run, table, tmp_path, monkeypatch):
    model, images, records, folder = run
    model.calls = 0
    again = attackers.attack_all(model, images, records, P, folder)[1]
    pd.testing.assert_frame_equal(again, table)
    assert not model.calls and not list(folder.glob(".attackers*"))
    other = P.model_copy(update={"attackers_names": ["adaptive"]})
    part = beside(folder, tmp_path)
    write = attackers.write_table

    def full(path, frame):
        if path.name.startswith("attackers"):
            raise OSError("no space left")
        write(path, frame)

    with monkeypatch.context() as patch:
        patch.setattr(attackers, "write_table", full)
        with pytest.raises(OSError, match="no space"):
            attackers.attack_all(model, images, records, other, part)
    searched, model.calls = model.calls, 0
    found = attackers.attack_all(model, images, records, other, part)[1]
    assert model.calls < searched
    names = ["adaptive", "none", "oblivious"]
    kept = table[table["attacker"].isin(names)].reset_index(drop=True)
    found = found[found["attacker"].isin(names)].reset_index(drop=True)
    same = [column for column in kept if column != "seconds"]
    pd.testing.assert_frame_equal(found[same], kept[same])


def test_other_weights_and_other_data_are_attacked_anew(run, tmp_path):
    model, images, records, folder = run
    part = beside(folder, tmp_path)
    least = {"attackers_names": ["adaptive"], "attackers_defenses": ["identity"]}
    p = P.model_copy(update=least)
    attackers.attack_all(model, images, records, p, part)
    for others in changed(images, part / "classifier.safetensors"):
        model.calls = 0
        attackers.attack_all(model, others, records, p, part)
        assert model.calls


NAMES = ["adaptive", "doubled", "restarts", "map", "random", "sparse_rs", "more_pixels", "fgsm",
         "pgd", "apgd", "autoattack"]  # fmt: skip


@pytest.mark.parametrize("name", ["oct", "chest"])
@pytest.mark.parametrize("pixels", [1, 2])
def test_each_name_is_the_attack_that_it_says(name, pixels):
    p = P.model_copy(update={
        "attackers_names": NAMES, "attackers_epsilons": [4], "attack_pixels": [1, 2],
        "attack_generations": 20, "attack_batch": 32, "attack_strategy": "best1bin", "seed": 5,
        "attack_precision": "bfloat16", "attack_evaluation": "screened",  # of a bare network alone
    })  # fmt: skip
    data = make_images(name, 1)
    several = data.facts.multi_label
    criterion = criterion_for("auto", several)
    how = {"criterion": criterion, "population": 8, "batch": 32, "precision": "float32", "seed": 5}
    attack = PixelAttack(pixels, generations=20, strategy="best1bin", **how)
    expected = {
        "adaptive": ("pixels", pixels, attack),
        "doubled": ("pixels", pixels, replace(attack, generations=40)),
        "restarts": ("pixels", pixels, Restarts(attack)),
        "map": ("pixels", pixels, LinearMapAttack(pixels, criterion=criterion)),
        "random": ("pixels", pixels, RandomSearch(pixels, generations=20, **how)),
        "sparse_rs": ("pixels", pixels, SparseRS(pixels, generations=20, **how)),
    }
    if pixels == 1:
        expected |= {
            "more_pixels": ("pixels", 64, MorePixels(attack, 64)),
            "fgsm": ("linf", 4, PGD(4, 1, 4.0, 1, criterion, seed=5)),
            "pgd": ("linf", 4, PGD(4, criterion=criterion, seed=5)),
        }
    if pixels == 1 and not several:
        whole = {"apgd": AutoAttack(4, APGD, 5), "autoattack": AutoAttack(4, seed=5)}
        expected |= {name: ("linf", 4, each) for name, each in whole.items()}
    model = TinyNet(data.facts.channels, 28, len(data.facts.classes)).eval()

    def found(behind):
        made = attackers.attackers_of(p, pixels, behind, data)
        return {one.name: (one.family, one.budget, one.attack) for one in made}

    assert found(model) == expected
    shorter = {name: expected[name][2] for name in ("adaptive", "random")}
    assert found(DoubleMasking(model, 7, multi_label=several).eval()) == {
        name: ("pixels", pixels, replace(each, generations=2)) for name, each in shorter.items()
    }


def test_certified_accuracy_is_of_test_images_and_goes_on(run, tmp_path):
    model, images, _, folder = run
    folder = beside(folder, tmp_path)
    table = certified.certified_accuracy(model, images, P, folder)
    assert (table["split"] == "test").all() and (table.groupby("category").size() <= 2).all()
    assert not (table["certified"] & ~table["defended"]).any()
    model.calls = 0
    more = P.model_copy(update={"masking_images": 3})
    assert len(certified.certified_accuracy(model, images, more, folder)) > len(table)
    first = model.calls
    certified.certified_accuracy(model, images, more, folder)
    assert first > 0 and model.calls == first
    again = certified.certified_accuracy(model, images, P, folder)  # and of no others
    pd.testing.assert_frame_equal(read_table(folder / "masking.parquet"), again)
    for others in changed(images, folder / "classifier.safetensors"):
        model.calls = 0
        certified.certified_accuracy(model, others, more, folder)
        assert model.calls > first


def test_names_of_the_run_are_those_it_has(run):
    made = attackers.defended(run[0], run[1], P, run[3].parent / "denoisers")
    assert list(made) == ["identity", "median3+patches", "double_masking"]
    assert made["median3+patches"].patches == (3, P.restoration_patch_threshold)
    behind = made["median3+patches"]
    assert isinstance(behind.defense, Median3) and not behind.training
    with refused("dae"):
        attackers.defended(run[0], run[1], P.model_copy(update={"denoiser_names": ["dae"]}), run[3])
