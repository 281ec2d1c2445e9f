"""Phantoms: form, proportions, patients, reproducibility, the same scene at every size."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st

from lib.data import phantoms
from lib.data.phantoms.__main__ import main
from lib.params import ROOT, facts

NAMES = ("derma", "pathology", "oct", "chest", "abdomen_ct")
FEWEST = {"derma": 70, "pathology": 90, "oct": 40, "chest": 150, "abdomen_ct": 10}
PARTS = {"train": 0.7, "val": 0.1, "test": 0.2}


@pytest.fixture(scope="module")
def files():
    return {name: phantoms.generate(name, 28, 400, 0) for name in NAMES}


def joined(file, kind):
    return np.concatenate([file[f"{part}_{kind}"] for part in PARTS])


def by_picture(file):
    """Labels of each picture, by its pixels."""
    rows = zip(joined(file, "images"), joined(file, "labels"), strict=True)
    return {image.tobytes(): tuple(label) for image, label in rows}


@pytest.mark.parametrize("name", NAMES)
def test_form(files, name):
    file, known = files[name], facts(name)
    columns = 14 if name == "chest" else 1
    shape = (28, 28, 3) if known.channels == 3 else (28, 28)
    for part, share in PARTS.items():
        count = round(400 * share)
        assert file[f"{part}_images"].shape == (count, *shape)
        assert file[f"{part}_images"].dtype == np.uint8
        assert file[f"{part}_labels"].shape == (count, columns)
        assert file[f"{part}_labels"].dtype == np.uint8
        assert file[f"{part}_groups"].shape == (count,)
        assert file[f"{part}_groups"].dtype == np.int64
    assert str(file["source"]) == "phantom"
    assert "seed 0" in str(file["note"])
    assert len(file) == 11
    assert len(by_picture(file)) == 400, "two images are the same"
    assert joined(file, "images").std(axis=0).min() > 0, "a pixel never changes"


@pytest.mark.parametrize("name", NAMES)
def test_every_class_in_every_part_even_of_the_smallest_file(name):
    file, known = phantoms.generate(name, 28, FEWEST[name], 1), facts(name)
    for part, least in (("train", 4), ("val", 1), ("test", 2)):
        labels = file[f"{part}_labels"]
        if known.multi_label:
            counts = np.append(labels.sum(0), (labels.sum(1) == 0).sum())
        else:
            counts = np.bincount(labels[:, 0], minlength=len(known.classes))
        assert counts.min() >= least
    if known.multi_label:
        alone = file["test_labels"][file["test_labels"].sum(1) == 1]
        for category in known.categories[1:]:
            assert alone[:, category.label].any(), category.name


def test_proportions(files):
    for name in ("pathology", "oct"):
        counts = np.array([each.count for each in facts(name).classes])
        found = np.bincount(joined(files[name], "labels")[:, 0])
        assert np.abs(found - 400 * counts / counts.sum()).max() < 1
    nevi = (phantoms.generate("derma", 28, 700, 0)["train_labels"] == 5).mean()
    assert nevi == pytest.approx(6705 / 10015, abs=0.01)


def test_chest_findings(files):
    labels = joined(files["chest"], "labels")
    findings = labels.sum(1)
    assert findings.max() == 3
    assert (findings == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert (findings[findings > 0] == 1).mean() == pytest.approx(0.6, abs=0.08)
    assert labels.sum(0).argmax() == 3, "infiltration is the most frequent"


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=15),
    st.integers(0, 8),
    st.integers(0, 500),
)
def test_apportion(weights, fewest, more):
    weights = np.array(weights)
    total = fewest * len(weights) + more
    found = phantoms.apportion(total, weights, fewest)
    assert found.sum() == total and found.min() >= fewest
    order = np.argsort(weights, kind="stable")
    assert (np.diff(found[order]) >= -1).all(), "a larger class got fewer images"
    free = found > fewest
    if free.all():
        assert np.abs(found - total * weights / weights.sum()).max() < 1


@pytest.mark.parametrize("name", NAMES)
def test_patients(files, name):
    groups = [files[name][f"{part}_groups"] for part in PARTS]
    sets = [set(map(int, group)) for group in groups]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    repeats = np.unique(np.concatenate(groups), return_counts=True)[1]
    assert repeats.max() == 2 and 0 < (repeats == 2).mean() < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes_other_seed_other_pictures(name, tmp_path):
    one, two, other = (
        phantoms.write(name, 28, FEWEST[name], seed, tmp_path / folder)
        for folder, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one.read_bytes() == two.read_bytes()
    with np.load(one) as first, np.load(other) as second:
        assert not by_picture(first).keys() & by_picture(second).keys()


@pytest.mark.parametrize("name", NAMES)
def test_pictures_do_not_depend_on_the_count(files, name):
    few = by_picture(phantoms.generate(name, 28, FEWEST[name], 0))
    many = by_picture(files[name])
    same = few.keys() & many.keys()
    assert len(same) >= 0.4 * len(few)  # the counts of rare classes are held up in a small file
    assert all(few[picture] == many[picture] for picture in same)


@pytest.mark.parametrize("name", NAMES)
def test_same_scene_at_every_size(name):
    known = facts(name)
    for index in range(len(known.classes) + known.multi_label):
        small, labels = phantoms.draw(name, 28, index, 0)
        middle, others = phantoms.draw(name, 64, index, 0)
        assert others == labels and abs(middle.mean() - small.mean()) < 4
        large, others = phantoms.draw(name, 224, index, 0)
        assert others == labels
        reduced = large.reshape(28, 8, 28, 8, -1).mean((1, 3))
        difference = small.reshape(28, 28, -1) - reduced
        # What is left is noise, once in each picture, and edges finer than a pixel.
        assert np.abs(difference.mean()) < 4
        assert difference.std() < (22 if name == "oct" else 16), index
        if small.std() > 25:
            correlation = np.corrcoef(small.ravel(), reduced.ravel())[0, 1]
            assert correlation > 0.85, (index, correlation)


def test_signs_are_where_they_belong():
    """Each sign changes the film in the way a reader would look for it."""

    def film(*labels):
        scenes = [phantoms.chest.scene(np.random.default_rng(seed), labels, 64)
                  for seed in range(40)]  # fmt: skip
        return np.mean(scenes, axis=0)

    normal = film()
    lungs = np.s_[20:40, 14:26], np.s_[20:40, 38:50]
    assert all(normal[lung].mean() < normal[30:40, 30:34].mean() - 0.2 for lung in lungs)
    bases = np.s_[42:46, 12:20], np.s_[42:46, 46:52]
    assert sum(film(2)[base].mean() - normal[base].mean() for base in bases) > 0.1
    assert film(1)[36:42, 42:46].mean() > normal[36:42, 42:46].mean() + 0.1  # wider heart
    assert all(film(10)[lung].mean() < normal[lung].mean() - 0.02 for lung in lungs)  # more air


def test_tissue_colors():
    def mean(label):
        streams = map(np.random.default_rng, range(10))
        return np.mean([phantoms.tissue.scene(rng, (label,), 56) for rng in streams], (0, 1, 2))

    assert mean(1).min() > 0.85, "background is nearly white"
    red, green, blue = mean(5)
    assert red > blue > green, "muscle is pink"
    assert mean(3)[0] < mean(5)[0] - 0.1, "lymphocytes are darker than muscle"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("dermo", 28, 100, 0), ("'dermo'", "'derma'")),
        (("derma", 32, 100, 0), (32, 28, 64, 128, 224)),
        (("derma", 28, 69, 0), (69, 70)),
        (("chest", 28, 149, 0), (149, 150)),
        (("derma", 28, 100, -1), (-1,)),
    ],
)
def test_bad_input(arguments, named, tmp_path):
    with refused(*named):
        phantoms.write(*arguments, tmp_path)
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    words = ["--root", str(tmp_path), "--size", "64", "--images", "40", "abdomen_ct", "oct"]
    main(words)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "abdomenctmnist_64.npz", "octmnist_64.npz",
    ]  # fmt: skip
    with np.load(tmp_path / "octmnist_64.npz", allow_pickle=False) as file:
        assert file["train_images"].shape == (28, 64, 64)
        assert str(file["source"]) == "phantom"


def test_command_line_names_the_error_before_any_work(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lib.data.phantoms", "--root", str(tmp_path / "new"), "oct",
         "dermo"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "'dermo'" in done.stderr and "'derma'" in done.stderr
    assert not (tmp_path / "new").exists()
