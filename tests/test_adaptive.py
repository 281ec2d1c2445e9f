"""An attacker who knows the defense: one model of both, and what is counted."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Counting, changed, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib import data as data_
from lib import params
from lib.attack import PixelAttack, attack_run, locate, rebuild
from lib.data import phantoms
from lib.defense import adaptive
from lib.defense.adaptive import Defended
from lib.defense.patch_selection import scan_patches, select_patches
from lib.models import classifiers, denoisers
from lib.models.classifiers import Classifier
from lib.models.denoisers import restore
from lib.models.denoisers.reference import Identity, Median3
from lib.params.files import read_table, write_table

P = params.load(
    "demo", "oct", "resnet50", attack_population=8, attack_generations=2, attack_pixels=[1],
    attack_one_pixel_images=3, device="cpu", denoiser_names=[], adaptive_images=2,
    adaptive_defenses=["median3", "dae"],
)  # fmt: skip


class Toy(nn.Module):
    """Logits from the mean and the brightest value: an attack can raise the latter."""

    classes = 2

    def forward(self, images):
        return torch.stack([images.amax((1, 2, 3)), images.mean((1, 2, 3)) + 0.5], 1)


class Shifted(nn.Module):
    """A defense that leaves 8-bit values: it must be rounded before it is classified."""

    def forward(self, images):
        return images * 0.98 + 0.013


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([None, (1, 0.0), (3, 0.02), (5, 0.2)]))
def test_one_model_gives_what_restoring_storing_and_classifying_gives(seed, patches):
    images = np.random.default_rng(seed).integers(0, 256, (3, 9, 7, 3), np.uint8)
    for defense in (Shifted(), Identity(3), Median3(3)):
        stored = restore(defense, images, "cpu")
        if patches:
            stored = select_patches(images, stored, *patches)
        model = Defended(Toy(), defense, patches)
        found = classifiers.logits(model, images, torch.device("cpu"))
        np.testing.assert_array_equal(found, classifiers.logits(Toy(), stored, torch.device("cpu")))


@pytest.mark.parametrize("patches", [3, (), (3,), (3, 0.1, 1), "x", (4, 0.1), (3, 2)])
def test_settings_of_patch_selection_that_do_not_fit_are_refused(patches):
    with refused():
        Defended(Toy(), Shifted(), patches)


def test_settings_of_patch_selection_may_be_numbers_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), np.uint8)
    given, typed = (3, 0.02), (np.int64(3), np.float64(0.02))
    found = [
        classifiers.logits(Defended(Toy(), Median3(3), each), images) for each in (given, typed)
    ]
    np.testing.assert_array_equal(*found)


class Detached(nn.Module):
    """A defense that hides its gradient and does next to nothing else."""

    def forward(self, images):
        return images.detach().clone()


def gradient(model, images):
    """Of the first logit at stored images."""
    batch = data_.to_tensor(images).requires_grad_()
    return torch.autograd.grad(model(batch)[:, 0].sum(), batch)[0]


@pytest.mark.parametrize("patches", [None, (3, 0.1)])
@pytest.mark.parametrize("defense", [Identity(1), Detached()])
def test_a_defense_that_does_nothing_changes_no_attack(defense, patches):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    torch.manual_seed(0)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    behind = Defended(bare, defense, patches).eval()
    wanted = gradient(bare, images)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(gradient(behind, images), wanted)
    labels = classifiers.logits(bare, images).argmax(1)
    attack = PixelAttack(population=8, generations=4)
    one, other = attack(bare, images, labels), attack(behind, images, labels)
    columns = ["success", "rows", "cols", "values", "p_after"]
    pd.testing.assert_frame_equal(one.table[columns], other.table[columns])


def test_a_gradient_goes_through_rounding_and_the_defense():
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 1), np.uint8)
    through_both = gradient(Defended(Toy(), Shifted()), images)
    torch.testing.assert_close(through_both, 0.98 * gradient(Toy(), images))


def test_a_scan_says_what_each_window_and_threshold_restores():
    rng = np.random.default_rng(0)
    clean = np.full((8, 9, 9, 1), 90, np.uint8)
    attacked = clean.copy()
    # Two pixels side by side survive a median; half of the images have a mild attack.
    attacked[:, 4, 4] = np.where(np.arange(8) < 4, 255, 225)[:, None]
    clean[:, ::3, ::3] = rng.integers(80, 100, (8, 3, 3, 1))
    table = scan_patches(Toy(), Median3(1), clean, attacked, (1, 3), (0.1, 0.6, 1.0))
    found = table.set_index(["size", "threshold"])
    assert len(table) == 7 and (table["n"] == 8).all()
    for size in (1, 3):
        shares = found.loc[size, "recovered"]
        assert (shares[0.1], shares[0.6], shares[1.0]) == (1, 0.5, 0)
    for (size, threshold), row in found.iterrows():
        made = restore(Median3(1), clean)
        made = select_patches(clean, made, size, threshold) if size else made
        same = classifiers.logits(Toy(), made).argmax(1) == classifiers.logits(Toy(), clean).argmax(
            1
        )
        assert row["kept"] == same.mean()


@pytest.fixture(scope="module")
def run(tmp_path_factory, shallow):
    """A run folder with a classifier of random weights, its images labeled by itself, attacked."""
    base = tmp_path_factory.mktemp("adaptive")
    phantoms.write("oct", 28, 60, 0, base / "data")
    folder = base / "runs" / "demo" / "oct" / "resnet50"
    torch.manual_seed(0)
    model = Classifier("resnet50", 4, 28).eval()
    classifiers.save(model, folder, key="none", history=[])
    images = data_.load("oct", base / "data", 28)
    labels = classifiers.logits(model, images.images, torch.device("cpu")).argmax(1)
    images = replace(images, labels=labels.astype(np.int64))
    records, _ = attack_run(model, images, 1, P, folder)
    return model, images, {1: records}, folder


def test_rows_are_what_the_defenses_do_to_the_same_images(run):
    model, images, records, folder = run
    table = adaptive.attack_defended(model, images, records, P, folder)[1]
    assert adaptive.names(P) == ["median3"]  # the run has no DAE
    assert list(table.columns) == list(adaptive.COLUMNS)
    bare, behind = (table[table["defense"] == name] for name in ("identity", "median3"))
    chosen = records[1].groupby("category").head(2)
    for rows in (bare, behind):
        assert rows["index"].tolist() == chosen["index"].tolist()
    assert bare["clean"].all() and (bare["adaptive"] == ~chosen["success"].to_numpy()).all()
    defended = Defended(model, Median3(1)).eval()
    clean = locate(images, behind)

    def right(pictures):
        values = classifiers.logits(defended, pictures, torch.device("cpu"))
        return (values.argmax(1) == clean.labels).tolist()

    assert behind["clean"].tolist() == right(clean.images)
    spoiled = ~behind["clean"].to_numpy()
    after = np.array(right(rebuild(clean.images, bare)))
    assert behind["oblivious"].tolist() == (after & ~spoiled).tolist()
    assert behind["adaptive"].tolist() == right(rebuild(clean.images, behind))
    unsearched = behind[~behind["clean"]]
    assert (unsearched["evaluations"] == 0).all() and not unsearched["adaptive"].any()
    assert (unsearched["rows"].map(len) == 0).all()
    assert (behind.loc[behind["clean"], "evaluations"] > 0).all()
    # However the bare classifier is searched.
    fast = P.model_copy(update={"attack_precision": "bfloat16", "attack_evaluation": "screened"})
    again = adaptive.attack_defended(model, images, records, fast, folder)[1]
    pd.testing.assert_frame_equal(*(each.drop(columns="seconds") for each in (again, table)))


class Crowded(Toy):
    """Decides otherwise among others, as rounding may near the edge of a decision."""

    def forward(self, images):
        return super().forward(images) * (1 if len(images) == 1 else -1)


def test_an_image_is_decided_alone_after_either_attack(run, tmp_path):
    _, images, records, _ = run
    behind, chosen = Defended(Crowded(), Identity(1)).eval(), records[1]
    labels = classifiers.logits(behind, images.images, batch=1).argmax(1)
    images = replace(images, labels=labels.astype(np.int64))
    table = adaptive.through(behind, "identity", images, chosen, 1, P, tmp_path)
    clean = locate(images, chosen)
    after = classifiers.logits(behind, rebuild(clean.images, chosen), batch=1).argmax(1)
    assert table["oblivious"].tolist() == (after == clean.labels).tolist()


def test_a_finished_table_is_read_back_and_other_settings_are_not(run, tmp_path):
    model, images, records, folder = run
    folder = shutil.copytree(folder, tmp_path / "oct" / "resnet50")
    first = adaptive.attack_defended(model, images, records, P, folder)[1]
    # What an unfinished training of a denoiser leaves does not concern it.
    unfinished = folder.parent / "denoisers" / "dae.checkpoint.safetensors"
    unfinished.parent.mkdir(exist_ok=True)
    unfinished.write_bytes(b"anything")
    counting = Counting(model).eval()
    again = adaptive.attack_defended(counting, images, records, P, folder)[1]
    pd.testing.assert_frame_equal(first, again)
    assert not counting.calls
    other = P.model_copy(update={"attack_generations": 1})
    adaptive.attack_defended(counting, images, records, other, folder)
    assert counting.calls
    assert not list(folder.glob(".adaptive*"))
    table = read_table(folder / "adaptive_one_pixel.parquet")
    assert table.loc[table["defense"] == "median3", "evaluations"].max() == 16
    for others in changed(images, folder / "classifier.safetensors"):
        counting.calls = 0
        adaptive.attack_defended(counting, others, records, other, folder)
        assert counting.calls


def test_a_killed_run_goes_on_to_the_same_table(run, tmp_path, monkeypatch):
    model, images, records, folder = run
    whole = adaptive.attack_defended(model, images, records, P, folder)[1]
    part = tmp_path / "demo" / "oct" / "resnet50"
    part.mkdir(parents=True)
    (part / "classifier.safetensors").symlink_to(folder / "classifier.safetensors")

    def killed(path, table):
        if path == part / "adaptive_one_pixel.parquet":  # what is written last
            raise KeyboardInterrupt
        write_table(path, table)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(adaptive, "write_table", killed)
        adaptive.attack_defended(model, images, records, P, part)
    assert list(part.glob(".adaptive-1-*/median3/*.parquet"))
    counting = Counting(model).eval()
    found = adaptive.attack_defended(counting, images, records, P, part)[1]
    # The two images of the attacker who does not know the defense, each alone.
    assert counting.calls == 2
    same = [column for column in whole if column != "seconds"]
    pd.testing.assert_frame_equal(found[same], whole[same])


def test_shares_count_every_image():
    rows = [("dae", True, True, False), ("dae", True, False, False), ("dae", False, False, False),
            ("dae", True, True, True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["defense", "clean", "oblivious", "adaptive"])
    table = table.assign(dataset="oct", split="test", index=range(4), evaluations=1)
    row = adaptive.summary(table).iloc[0]
    assert (row["n"], row["searched"]) == (4, 3)
    assert (row["clean"], row["oblivious"], row["adaptive"]) == (0.75, 0.5, 0.25)
    assert row["adaptive_low"] < 0.25 < row["adaptive_high"] < 0.8
    twice = adaptive.summary(pd.concat([table, table])).iloc[0]
    assert (twice["clean"], twice["clean_low"]) == (0.75, row["clean_low"])


def test_a_defense_that_nobody_knows_is_refused():
    with refused():
        params.load("demo", adaptive_defenses=["dea"])
    with refused():
        params.load("demo", adaptive_defenses=["identity"])


def test_denoisers_come_from_the_runs_folder(run, tmp_path):
    with refused():
        adaptive.defended(run[0], ["dae+patches"], tmp_path, 1, P)
    made = adaptive.defended(run[0], ["median3"], tmp_path, 1, P)
    assert isinstance(made["median3"].defense, type(denoisers.build("median3", 1)))
    assert made["median3"].patches is None and not made["median3"].training
