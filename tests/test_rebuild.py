"""Rebuilt npz files: from a small source folder made here, and from the real one if it is there."""

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from medmnist.info import INFO
from PIL import Image

from lib import data
from lib.data import rebuild
from lib.data.splits import content
from lib.params.files import md5

REAL = Path(os.environ.get("REAL_DATA") or Path(__file__).parents[2] / "shared" / "data")
PARTS = ("train", "val", "test")


def npz(path: Path, counts: tuple[int, int, int], shape: tuple[int, ...], labels: int = 1) -> None:
    rng = np.random.default_rng(len(path.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in zip(PARTS, counts, strict=True):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (count, labels), np.uint8)
    np.savez_compressed(path, **arrays)


def index(path: Path, counts: tuple[int, int, int], **columns: list) -> None:
    """An index in another order than the rows of the npz, to see that it is put in order."""
    table = pd.DataFrame(
        {"split": np.repeat(PARTS, counts), "row": np.concatenate([*map(np.arange, counts)])}
    )
    table.assign(**columns)[::-1].to_csv(path, index=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder laid out like the real one."""
    root = tmp_path / "source"
    folder = root / "ham10000_200x150"
    folder.mkdir(parents=True)
    table = pd.DataFrame(
        {
            "split": ["train"] * 3 + ["val"] * 2 + ["test"],
            "row": [0, 1, 2, 0, 1, 0],
            "image_id": list("abcdef"),
            "lesion_id": ["HAM_2", "HAM_1", "HAM_2", "HAM_3", "HAM_1", "HAM_4"],
            "label": [0, 1, 2, 3, 4, 6],
        }
    )
    table.to_csv(folder / "split_index.csv", index=False)
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name in "fabcde":
            file = io.BytesIO()
            pixels = rng.integers(0, 256, (150, 200, 3), np.uint8)
            Image.fromarray(pixels).save(file, "jpeg")
            archive.writestr(f"{name}.jpg", file.getvalue())

    npz(root / "pathmnist_official_part" / "pathmnist_28_part.npz", (4, 2, 3), (28, 28, 3))

    folder = root / "kermany_oct1000"
    for size in (64, 224):
        npz(folder / f"kermany1000_{size}.npz", (3, 1, 1), (size, size))
    index(folder / "kermany1000_index.csv", (3, 1, 1), patient=[7, 7, 8, 9, 6])

    folder = root / "nih_chestxray"
    names = {
        # Patient 2 is mostly in train, but also in val; patient 3 once in train, once in test.
        "nih1000": ["00000002_000.png", "00000002_001.png", "00000003_000.png",
                    "00000002_002.png", "00000009_000.png", "00000003_001.png"],
        # The fourth image is in nih1000 too.
        "nih1000b": ["00000005_000.png", "00000005_001.png", "00000006_000.png",
                     "00000002_001.png", "00000008_000.png", "00000007_000.png"],
    }  # fmt: skip
    for name, images in names.items():
        for size in (28, 64):
            npz(folder / f"{name}_{size}.npz", (3, 2, 1), (size, size), 14)
        index(folder / f"{name}_index.csv", (3, 2, 1), image=images)

    (root / "medical_mnist").mkdir()
    images = rng.integers(0, 256, (100, 64, 64), np.uint8)
    images[80:] = images[:20]
    np.savez_compressed(root / "medical_mnist" / "abdomenct_64_all.npz", images=images)
    return root


def made(dataset: str, source: Path, root: Path, size: int) -> data.Images:
    line = rebuild.rebuild(dataset, source, root, size)
    images = data.load(dataset, root, size)
    assert images.provenance.source == "rebuilt"
    assert images.provenance.note.endswith(".") and "\n" not in line
    assert images.provenance.md5 in line and images.provenance.npz in line
    return images


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_derma(source: Path, tmp_path: Path, size: int) -> None:
    images = made("derma", source, tmp_path, size)
    assert images.split.tolist() == ["train"] * 3 + ["val"] * 2 + ["test"]
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 6]
    assert images.group.tolist() == [1, 0, 1, 2, 0, 3]
    with zipfile.ZipFile(source / "ham10000_200x150" / "images.zip") as archive:
        photo = Image.open(io.BytesIO(archive.read("f.jpg")))
    wanted = np.asarray(photo.resize((size, size), Image.BILINEAR))
    assert (images.images[5] == wanted).all()
    assert "1 lesions" in images.provenance.note


def test_pathology(source: Path, tmp_path: Path) -> None:
    images = made("pathology", source, tmp_path, 28)
    with np.load(source / "pathmnist_official_part" / "pathmnist_28_part.npz") as stored:
        assert (images.in_part("val").images == stored["val_images"]).all()
    numbers = re.findall(r"\d+", images.provenance.note)
    assert numbers[-6:] == ["4", "89996", "2", "10004", "3", "7180"]
    assert (images.group == -1).all()
    with refused(64):
        rebuild.rebuild("pathology", source, tmp_path, 64)


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_oct(source: Path, tmp_path: Path, size: int) -> None:
    images = made("oct", source, tmp_path, size)
    assert images.group.tolist() == [7, 7, 8, 9, 6]
    stored = source / "kermany_oct1000" / f"kermany1000_{64 if size == 64 else 224}.npz"
    with np.load(stored) as file:
        wanted = Image.fromarray(file["train_images"][1])
    if size not in (64, 224):  # the source's 28 is a center crop
        wanted = wanted.resize((size, size), Image.BILINEAR)
    assert (images.images[1, ..., 0] == np.asarray(wanted)).all()


@pytest.mark.parametrize("size", [28, 64])
def test_chest(source: Path, tmp_path: Path, size: int) -> None:
    images = made("chest", source, tmp_path, size)
    assert len(images) == 11  # one of twelve was there twice
    assert images.in_part("train").group.tolist() == [2, 2, 3, 2, 3, 5, 5, 6]
    assert images.in_part("val").group.tolist() == [9, 8]
    assert images.in_part("test").group.tolist() == [7]
    assert re.search(r"\b1\b.*\b2\b", images.provenance.note)  # dropped, and moved
    with np.load(source / "nih_chestxray" / f"nih1000_{size}.npz") as stored:
        assert (images.images[3, ..., 0] == stored["val_images"][0]).all()
        assert (images.labels[3] == stored["val_labels"][0]).all()


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_abdomen_ct(source: Path, tmp_path: Path, size: int) -> None:
    images = made("abdomen_ct", source, tmp_path, size)
    assert [len(images.in_part(part)) for part in PARTS] == [70, 10, 20]
    same = content(images.images)
    assert len(set(same)) == 80
    for number in range(80):
        assert len(set(images.split[same == number])) == 1
    with np.load(source / "medical_mnist" / "abdomenct_64_all.npz") as file:
        wanted = [Image.fromarray(image) for image in file["images"]]
    if size != 64:
        wanted = [image.resize((size, size), Image.BILINEAR) for image in wanted]
    as_bytes = sorted(image.tobytes() for image in images.images)
    assert as_bytes == sorted(np.asarray(image).tobytes() for image in wanted)


def test_same_input_same_bytes(source: Path, tmp_path: Path) -> None:
    for dataset in rebuild.SOURCES:
        for folder in ("one", "other"):
            rebuild.rebuild(dataset, source, tmp_path / folder, 28)
    files = sorted((tmp_path / "one").iterdir())
    assert [file.name for file in files] == [
        "abdomenctmnist.npz", "chestmnist.npz", "dermamnist.npz", "octmnist.npz", "pathmnist.npz",
    ]  # fmt: skip
    for file in files:
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("dataset", "gone"),
    [
        ("derma", "ham10000_200x150/images.zip"),
        ("derma", "ham10000_200x150/split_index.csv"),
        ("pathology", "pathmnist_official_part/pathmnist_28_part.npz"),
        ("oct", "kermany_oct1000/kermany1000_224.npz"),
        ("oct", "kermany_oct1000/kermany1000_index.csv"),
        ("chest", "nih_chestxray/nih1000b_28.npz"),
        ("abdomen_ct", "medical_mnist/abdomenct_64_all.npz"),
    ],
)
def test_source_missing_or_damaged(source: Path, tmp_path: Path, dataset: str, gone: str) -> None:
    path, root = source / gone, tmp_path / "root"
    if path.suffix != ".csv":
        path.write_bytes(path.read_bytes()[:300])
        with refused(path):
            rebuild.rebuild(dataset, source, root, 28)
    path.unlink()
    with refused(path):
        rebuild.rebuild(dataset, source, root, 28)
    assert not root.exists()


def test_index_of_other_rows(source: Path, tmp_path: Path) -> None:
    index(source / "kermany_oct1000" / "kermany1000_index.csv", (2, 2, 1), patient=[1, 1, 2, 2, 3])
    with refused("kermany1000_index.csv"):
        rebuild.rebuild("oct", source, tmp_path, 28)


def test_official_file_is_kept(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "octmnist.npz"
    path.write_bytes(b"official")
    monkeypatch.setitem(INFO["octmnist"], "MD5", md5(path))
    with refused(path):
        rebuild.rebuild("oct", source, tmp_path, 28)
    assert path.read_bytes() == b"official"


def test_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--source", str(source), "--root", str(tmp_path / "root")]
    assert rebuild.main([*words, "--size", "128"]) == 0  # all that are offered
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "dermamnist_128.npz", "left", "octmnist_128.npz", "left", "abdomenctmnist_128.npz",
    ]  # fmt: skip
    assert "3/2/1" in lines[0] and md5(tmp_path / "root" / "dermamnist_128.npz") in lines[0]
    assert rebuild.main([*words, "--size", "128", "chest", "oct"]) == 1  # asked for by name
    out, error = capsys.readouterr()
    assert all(part in error for part in ("chest", "128", "28", "64"))
    assert out.startswith("octmnist_128.npz")
    assert rebuild.main([*words, "skin"]) == 1
    assert "'skin'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "folder"), [("30", ""), ("x", ""), ("64.0", ""), ("28", "no"), ("28", "file")]
)
def test_what_is_wrong_for_all_data_sets_is_said_once(
    tmp_path: Path, size: str, folder: str
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / folder
    words = ["--source", str(place), "--root", str(tmp_path / "root"), "--size", size]
    with refused(place if folder else size):
        rebuild.main(words)
    assert not (tmp_path / "root").exists()


# The real images: counts as the folder's README has them.

real = pytest.mark.skipif(not REAL.is_dir(), reason="no real images: set REAL_DATA to their folder")
CLASSES = {
    "derma": [[228, 359, 769, 80, 779, 4693, 99], [33, 52, 110, 12, 111, 671, 14],
              [66, 103, 220, 23, 223, 1341, 29]],
    "oct": [[175] * 4, [25] * 4, [50] * 4],
    "abdomen_ct": [[7000], [1000], [2000]],
}  # fmt: skip


@real
@pytest.mark.parametrize("dataset", CLASSES)
def test_real_counts(tmp_path: Path, dataset: str) -> None:
    images = made(dataset, REAL, tmp_path, 28)
    counts = [np.bincount(images.in_part(part).labels).tolist() for part in PARTS]
    assert counts == CLASSES[dataset]
    if dataset == "oct":
        assert [len(set(images.in_part(part).group)) for part in PARTS] == [448, 59, 126]
    if dataset == "abdomen_ct":  # at 28 pixels no two different images became the same
        assert len(set(content(images.images))) == 9654


@real
def test_real_chest(tmp_path: Path) -> None:
    images = made("chest", REAL, tmp_path, 64)
    assert len(images) == 1993
    assert images.labels[:, 13].sum() == 9 + 3  # hernia: 9/0/0 and 0/0/3
    patients = [set(images.in_part(part).group) for part in PARTS]
    assert not (patients[0] & patients[1] | patients[0] & patients[2] | patients[1] & patients[2])
    # Single labels are in the first sample alone: 34, 65, 64, 19 (499 and 500 without finding).
    assert np.bincount(images.category + 1)[2:].tolist() == [34, 65, 64, 19]
    again = data.load("chest", tmp_path, 64, scheme="paper")
    for part, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert abs(len(again.in_part(part)) / 1993 - share) < 0.01
