"""The door to images: what comes out for good files, and what is said about bad ones."""

import http.server
import io
import shlex
import socket
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from medmnist.info import INFO

from lib.data import conversion, download, splits
from lib.data import dataset as data
from lib.models.denoiser_training import training_images
from lib.params import ROOT
from lib.params.errors import InputError
from lib.params.files import md5

Arrays = dict[str, np.ndarray]
COUNTS = {"train": 14, "val": 7, "test": 9}


def contents(dataset: str = "derma", size: int = 28, **changes: np.ndarray) -> Arrays:
    """Arrays of a good npz file, some replaced; None takes one away."""
    known = data.facts(dataset)
    rng = np.random.default_rng(1)
    shape = (size, size, 3)[: 2 + (known.channels == 3)]
    arrays: Arrays = {}
    for part, count in COUNTS.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        if known.multi_label:
            labels = rng.integers(0, 2, (count, len(known.classes)))
        else:
            labels = np.arange(count)[:, None] % len(known.classes)
        arrays[f"{part}_labels"] = labels.astype(np.uint8)
    arrays |= changes
    return {name: array for name, array in arrays.items() if array is not None}


def write(root: Path, arrays: Arrays, dataset: str = "derma", size: int = 28) -> Path:
    path = root / data.facts(dataset).filename(size)
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("dataset", ["derma", "pathology", "oct", "chest", "abdomen_ct"])
@pytest.mark.parametrize("size", [28, 64])
def test_everything_in_the_file_comes_out(tmp_path: Path, dataset: str, size: int) -> None:
    arrays = contents(dataset, size)
    path = write(tmp_path, arrays, dataset, size)
    images = data.load(dataset, tmp_path, size)
    assert len(images) == 30 and images.size == size and images.name == dataset
    assert images.images.shape == (30, size, size, images.facts.channels)
    assert images.images.dtype == np.uint8
    assert (images.part == images.split).all()
    assert (images.group == -1).all() and images.group.dtype == np.int64
    for part, count in COUNTS.items():
        of_part = images.in_part(part)
        assert of_part.index.tolist() == list(range(count)) and of_part.index.dtype == np.int64
        wanted = arrays[f"{part}_images"]
        assert (of_part.images.reshape(wanted.shape) == wanted).all()
        wanted = arrays[f"{part}_labels"]
        if dataset == "chest":
            assert of_part.labels.dtype == np.uint8 and (of_part.labels == wanted).all()
        else:
            assert of_part.labels.dtype == np.int64 and (of_part.labels == wanted[:, 0]).all()
    assert images.provenance.as_dict() == {
        "npz": path.name, "source": "rebuilt", "md5": md5(path), "note": "",
    }  # fmt: skip


def test_source_and_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"source": np.array("phantom"), "note": np.array("Drawn.")}
    path = write(tmp_path, contents(**extra))
    provenance = data.load("derma", tmp_path, 28).provenance
    assert (provenance.source, provenance.note) == ("phantom", "Drawn.")
    monkeypatch.setitem(INFO["dermamnist"], "MD5", md5(path))  # the MD5 outweighs what it says
    assert data.load("derma", tmp_path, 28).provenance.source == "official"
    write(tmp_path, contents(source=np.array("official")))  # no file makes itself official
    assert data.load("derma", tmp_path, 28).provenance.source == "rebuilt"


def test_official_md5_is_that_of_the_size() -> None:
    assert data.official_md5("derma", 28) == "0744692d530f8e62ec473284d019b0c7"
    assert data.official_md5("derma", 64) == "b70a2f5635c6199aeaa28c31d7202e1f"
    assert data.official_md5("abdomen_ct", 64) is None


def test_groups(tmp_path: Path) -> None:
    groups = {f"{part}_groups": np.arange(count) + 5 for part, count in COUNTS.items()}
    write(tmp_path, contents(**groups))
    images = data.load("derma", tmp_path, 28)
    assert images.in_part("val").group.tolist() == list(range(5, 12))
    for bad in (None, np.zeros(3, int), np.zeros(COUNTS["test"])):
        write(tmp_path, contents(**(groups | {"test_groups": bad})))
        with refused("test_groups", 9):
            data.load("derma", tmp_path, 28)


def test_take(tmp_path: Path) -> None:
    write(tmp_path, contents())
    images = data.load("derma", tmp_path, 28)
    rows = [20, 3, 3]
    some = images.take(rows)
    for name in ("images", "labels", "split", "index", "part", "group"):
        assert np.array_equal(getattr(some, name), getattr(images, name)[rows])
    assert np.array_equal(images.take(images.labels == 2).labels, [2] * 4)
    everything, half = images.take(images.labels >= 0), images.take(slice(0, 14))
    assert everything is images and np.shares_memory(half.images, images.images)
    assert np.array_equal(half.index, images.index[:14])
    assert len(images.take([])) == 0 and images.take([]).provenance == images.provenance
    with refused("'val'"):
        images.in_part("valid")


def test_categories(tmp_path: Path) -> None:
    write(tmp_path, contents())
    derma = data.load("derma", tmp_path, 28)
    assert np.array_equal(derma.category, derma.labels)

    labels = np.zeros((8, 14), np.uint8)
    for row, positive in enumerate([[], [0], [2], [3], [5], [1], [0, 2], range(14)]):
        labels[row, list(positive)] = 1
    pixels = np.zeros((8, 28, 28), np.uint8)
    arrays = contents("chest", train_images=pixels, train_labels=labels)
    write(tmp_path, arrays, "chest")
    chest = data.load("chest", tmp_path, 28)
    names = [category.name for category in chest.facts.attack_classes]
    assert names == ["normal", "atelectasis", "effusion", "infiltration", "nodule"]
    assert chest.in_part("train").category.tolist() == [0, 1, 2, 3, 4, -1, -1, -1]


BAD = [
    ("derma", {"val_labels": None}, ("val_labels",)),
    ("derma", {"train_images": np.zeros((14, 28, 28, 3))}, ("train_images", "float64")),
    (
        "derma",
        {"val_images": np.zeros((7, 28, 28), np.uint8)},
        ("val_images", "7x28x28", "Nx28x28x3"),
    ),
    ("oct", {"val_images": np.zeros((7, 28, 28, 3), np.uint8)}, ("7x28x28x3", "Nx28x28")),
    ("oct", {"test_images": np.zeros((9, 64, 64), np.uint8)}, ("9x64x64", "Nx28x28")),
    ("oct", {"test_images": np.uint8(0)}, ("test_images", "Nx28x28")),
    ("oct", {"test_images": np.zeros((0, 28, 28), np.uint8)}, ("test_images",)),
    ("oct", {"test_labels": np.zeros((8, 1), np.uint8)}, ("test", 9, 8)),
    ("oct", {"test_labels": np.zeros(9, np.uint8)}, ("test_labels", 9, "Nx1")),
    ("oct", {"test_labels": np.zeros((9, 1))}, ("test_labels", "float64")),
    ("oct", {"test_labels": np.full((9, 1), 4)}, (4, "0..3")),
    ("oct", {"test_labels": np.full((9, 1), -1)}, (-1,)),
    ("chest", {"test_labels": np.zeros((9, 5), int)}, ("9x5", "Nx14")),
    ("chest", {"test_labels": np.full((9, 14), 2)}, (2, "0..1")),
    ("oct", {"test_labels": np.array([[None]] * 9)}, ()),
    ("oct", {"note": np.array(None)}, ()),
    ("oct", {"note": np.array("<script>alert(1)</script>")}, ("note", "<script>")),
    ("oct", {"note": np.array("![x](https://example.org/x.png)")}, ("note",)),
    ("oct", {"source": np.array(["phantom", "x"])}, ("source",)),
    ("oct", {"note": np.array(b"x")}, ("note",)),
    ("oct", {"test_images": contents("oct")["train_images"][:9]}, ("test_images[0]",)),
]


@pytest.mark.parametrize(("dataset", "change", "named"), BAD)
def test_bad_content(tmp_path: Path, dataset: str, change: Arrays, named: tuple) -> None:
    path = write(tmp_path, contents(dataset, **change), dataset)
    with refused(path, *named):
        data.load(dataset, tmp_path, 28)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_file_cut_short(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path, contents())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with refused(path):
        data.load("derma", tmp_path, 28)


def test_damaged_bytes_and_other_files(tmp_path: Path) -> None:
    path = write(tmp_path, contents())
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(header := io.BytesIO(), "w") as archive:
        for name in contents():
            member = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + b"(".ljust(118)
            archive.writestr(f"{name}.npy", member)
    others = array.getvalue(), header.getvalue()
    for content in (bytes(whole), b"<html>Not found</html>", *others):
        path.write_bytes(content)
        with refused(path):
            data.load("derma", tmp_path, 28)


def test_bad_arguments(tmp_path: Path) -> None:
    with refused(32):
        data.load("derma", tmp_path, 32)
    with refused("'dermma'", "'derma'"):
        data.load("dermma", tmp_path, 28)
    with refused("'papers'", "'paper'"):
        data.load("derma", tmp_path, 28, scheme="papers")  # type: ignore[arg-type]


def test_missing_file_names_three_ways(tmp_path: Path) -> None:
    with refused("dermamnist_64.npz", "data_download=true", "lib.data.rebuild", "phantoms"):
        data.load("derma", tmp_path, 64)
    with refused("abdomen_ct"):
        data.load("abdomen_ct", tmp_path, 64, download=True)


def test_the_command_that_makes_a_missing_file_is_right_for_a_path_with_blanks(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a path's (end)"
    with pytest.raises(InputError) as error:
        data.load("derma", folder, 64)
    words = shlex.split(str(error.value).split("`")[1])
    assert words[words.index("--root") + 1] == str(folder)


# Downloads; the only host is this machine.


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a web server and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", folder
        web.shutdown()


def fails(root: Path, *named: str) -> None:
    started = time.monotonic()
    with refused(*named):
        data.load("derma", root, 28, download=True)
    assert time.monotonic() - started < 30
    assert list(root.iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_download_without_a_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound but not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/dermamnist.npz"
        monkeypatch.setitem(INFO["dermamnist"], "url", url)
        fails(root, url)


def test_download_from_a_host_that_is_silent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dermamnist.npz"
        monkeypatch.setitem(INFO["dermamnist"], "url", url)
        fails(root)


def test_download_when_the_name_look_up_hangs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    fails(root, "0.2 seconds")


def test_download(root: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, folder = server
    path = write(folder, contents())
    monkeypatch.setitem(INFO["dermamnist"], "url", f"{url}/{path.name}")
    fails(root)  # its MD5 is not the published one
    monkeypatch.setitem(INFO["dermamnist"], "MD5", md5(path))
    images = data.load("derma", root, 28, download=True)
    assert images.provenance.source == "official" and len(images) == 30
    assert [file.name for file in root.iterdir()] == [path.name]
    path.unlink()  # what is there is not fetched again
    assert len(data.load("derma", root, 28, download=True)) == 30
    (root / path.name).unlink()
    fails(root, "404")


# The paper's split.

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Images, labels, groups and a seed: patients of about three images, some unknown, repeats."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(100, 180))
    labels = rng.integers(0, draw(st.integers(1, 7)), (count, 1))
    if draw(st.booleans()):
        labels = (rng.random((count, 14)) < 0.1).astype(np.uint8)
    groups = rng.integers(-1, count // 3, count) if draw(st.booleans()) else np.full(count, -1)
    pixels = np.arange(count).repeat(9).reshape(count, 3, 3)
    repeats = rng.choice(count, 8, replace=False).reshape(2, 4)
    pixels[repeats[0]] = pixels[repeats[1]]
    return pixels.astype(np.uint8), labels, groups, draw(st.integers(0, 1000))


@settings(max_examples=15)
@given(samples())
def test_paper_split(sample: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> None:
    images, labels, groups, seed = sample
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = splits.paper_parts(images, labels, groups, seed)
    assert set(parts) == set(SHARES)
    together = splits.linked(groups, images[:, 0, 0].astype(int))
    slack = 0.03 + np.bincount(together).max() / len(parts)  # a patient is never divided
    for part, share in SHARES.items():
        assert abs((parts == part).mean() - share) < slack
    for keys in (groups, images[:, 0, 0].astype(int)):
        for key in set(keys[keys >= 0]):
            assert len(set(parts[keys == key])) == 1
    # The same for the same seed, whatever the patients' numbers, the size and the gray levels are.
    renamed = np.where(groups < 0, -1, 9000 - 7 * groups)
    larger = 255 - images.repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(parts, splits.paper_parts(larger, labels, renamed, seed))


def test_paper_split_is_stratified_and_follows_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [600, 60, 4])[:, None]  # the last has too few for ten folds
    images = np.arange(664, dtype=np.uint16).view(np.uint8).reshape(664, 2)
    drawn = [splits.paper_parts(images, labels, np.full(664, -1), seed) for seed in (0, 1)]
    for parts in drawn:
        for label, count in ((0, 600), (1, 60)):
            of_class = parts[labels[:, 0] == label]
            for part, share in SHARES.items():
                assert abs((of_class == part).sum() - share * count) <= 2
    assert (drawn[0] != drawn[1]).mean() > 0.2


def test_paper_split_through_load(tmp_path: Path) -> None:
    count = 40
    arrays = contents(
        "oct",
        train_images=np.arange(count, dtype=np.uint8).repeat(784).reshape(count, 28, 28),
        train_labels=np.arange(count)[:, None] % 4,
    )
    write(tmp_path, arrays, "oct")
    images = data.load("oct", tmp_path, 28, scheme="paper", seed=3)
    assert (images.part != images.split).any() and len(images) == 56
    assert sum(len(images.in_part(part)) for part in SHARES) == 56
    other = data.load("oct", tmp_path, 28, scheme="paper", seed=4)
    assert (other.part != images.part).any() and (other.images == images.images).all()
    moved = images.in_part("test")
    for row in range(len(moved)):  # split and index still say where in the file an image is
        stored = arrays[f"{moved.split[row]}_images"][moved.index[row]]
        assert (moved.images[row, ..., 0] == stored).all()


def test_a_split_by_image_parts_the_images_of_a_patient(tmp_path: Path) -> None:
    count = 120  # of 30 patients, four images each
    drawn = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
    arrays = contents(
        "oct", train_images=drawn, train_labels=np.arange(count)[:, None] % 4,
        **{f"{part}_groups": np.arange(40, 80)[: len(contents("oct")[f"{part}_images"])]
           for part in ("val", "test")},
        train_groups=np.arange(count) // 4,
    )  # fmt: skip
    write(tmp_path, arrays, "oct")
    for scheme, apart in (("paper", False), ("by_image", True)):
        images = data.load("oct", tmp_path, 28, scheme=scheme)
        parts = pd.Series(images.part).groupby(images.group).nunique()
        assert (parts > 1).any() == apart
        assert (images.group == data.load("oct", tmp_path, 28).group).all()


def test_denoisers_learn_from_the_training_part_or_from_all_images(tmp_path: Path) -> None:
    write(tmp_path, contents("oct"), "oct")
    images = data.load("oct", tmp_path, 28)
    assert set(training_images(images).part) == {"train"}
    assert len(training_images(images, every=True)) == len(images)


def test_paper_split_leaves_out_images_of_another_collection(tmp_path: Path) -> None:
    count = 90  # MedMNIST's test images of Pathology are not of the set that the paper splits
    arrays = contents(
        "pathology",
        train_images=np.random.default_rng(0).integers(0, 256, (count, 28, 28, 3), np.uint8),
        train_labels=np.arange(count)[:, None] % 9,
    )
    write(tmp_path, arrays, "pathology")
    official = data.load("pathology", tmp_path, 28)
    images = data.load("pathology", tmp_path, 28, scheme="paper")
    assert set(official.split) == {"train", "val", "test"}
    assert set(images.split) == {"train", "val"} and set(images.part) == {"train", "val", "test"}
    assert len(images) == (official.split != "test").sum()


def test_paper_split_of_too_few(tmp_path: Path) -> None:
    write(tmp_path, contents("derma"))  # 30 images of 7 classes
    with refused(30):
        data.load("derma", tmp_path, 28, scheme="paper")
    with refused():
        splits.paper_parts(
            np.arange(50, dtype=np.uint8)[:, None], np.zeros((50, 1), int), np.arange(50) % 9, 0
        )


def test_linked_through_others() -> None:
    one, other = np.array([1, 1, 2, 3, -1, -1]), np.array([5, 6, 6, -1, -1, 7])
    result = splits.linked(one, other)
    assert result[0] == result[1] == result[2]
    assert len(set(result)) == 4


# Pixels and tensors.


def test_tensor_and_back() -> None:
    images = np.arange(2 * 16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 16, 16, 3)
    tensor = conversion.to_tensor(images)
    assert tensor.shape == (2, 3, 16, 16) and tensor.dtype == torch.float32
    assert tensor.min() == 0 and tensor.max() == 1
    assert tensor[1, 2, 3, 4] == torch.tensor(int(images[1, 3, 4, 2])) / 255
    assert np.array_equal(conversion.to_uint8(tensor), images)  # all 256 levels


def test_unit_divides() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    expected = (np.arange(256) / np.float64(255)).astype(np.float32)  # correctly rounded
    assert np.array_equal(conversion.unit(values).numpy(), expected)
    assert np.array_equal(conversion.unit(values, torch.float64).numpy(), np.arange(256) / 255)


def test_rounding() -> None:
    values = [-0.2, 0.0, 0.499 / 255, 0.5 / 255, 254.49 / 255, 254.51 / 255, 1.7, float("inf")]
    result = conversion.to_uint8(torch.tensor(values).reshape(8, 1, 1, 1))
    assert result.flatten().tolist() == [0, 0, 0, 1, 254, 255, 255, 255]
    with pytest.raises(ValueError):
        conversion.to_uint8(torch.full((1, 1, 1, 1), float("nan")))


def test_a_relative_root_is_taken_from_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ROOT / "nowhere" / "octmnist.npz"):
        data.load("oct", "nowhere", 28)
