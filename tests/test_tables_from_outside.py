"""Tables and photographs from outside: read rightly, or refused with file, line and value."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib import data
from lib.data import photos, rebuild, tables
from lib.params.errors import InputError

IDS = [f"ISIC_{number:07d}" for number in range(12)]
SPLIT = ["train"] * 6 + ["val"] * 3 + ["test"] * 3


def index(**columns: list) -> pd.DataFrame:
    rows = [*range(6), *range(3), *range(3)]
    lesions = [f"HAM_{number // 2:07d}" for number in range(12)]
    table = pd.DataFrame({"split": SPLIT, "row": rows, "image_id": IDS, "lesion_id": lesions})
    return table.assign(dx="Nävus", label=[number % 7 for number in range(12)]).assign(**columns)


def pil(array: np.ndarray, kind: str = "png", mode: str = "", **options) -> bytes:
    image, file = Image.fromarray(array), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def picture(seed: int, size: tuple[int, int] = (150, 200)) -> np.ndarray:
    """A smooth picture, so that JPEG changes it little."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize(size[::-1], Image.BILINEAR))


@pytest.fixture(scope="module")
def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number, name in enumerate(IDS):
            made.writestr(f"{name}.jpg", pil(picture(number)))
    return file.getvalue()


@pytest.fixture
def source(tmp_path: Path, archive: bytes) -> Path:
    folder = tmp_path / "source" / "ham10000_200x150"
    folder.mkdir(parents=True)
    (folder / "images.zip").write_bytes(archive)
    return tmp_path / "source"


def made(source: Path, content: bytes | str) -> data.Images:
    """What is read back from the npz file that an index gives."""
    content = content.encode() if isinstance(content, str) else content
    (source / "ham10000_200x150" / "split_index.csv").write_bytes(content)
    rebuild.rebuild("derma", source, source.parent / "made", 28)
    return data.load("derma", source.parent / "made", 28)


TEXT = index().to_csv(index=False)


@pytest.mark.parametrize(
    "content",
    [
        TEXT, b"\xef\xbb\xbf" + TEXT.encode(), TEXT.encode("utf-16"), TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"), TEXT.replace(",", ";"), TEXT.replace(",", "\t"),
        TEXT.replace(",", " , "), TEXT.replace("\n", "\n\n") + "\n,,,,,\n  \n", index().to_csv(),
        index(split=[f"{part} " for part in SPLIT]).to_csv(index=False),
        index(image_id=[f"{name}.jpg" for name in IDS]).to_csv(index=False),
        index(label=[float(number % 7) for number in range(12)]).to_csv(index=False),
        index(dx='"a, b"').to_csv(index=False),
    ],
    ids=range(14),
)  # fmt: skip
def test_the_same_table_in_another_form(source: Path, content: bytes | str) -> None:
    images = made(source, content)
    assert images.split.tolist() == SPLIT and images.labels.tolist() == [n % 7 for n in range(12)]
    for number in range(12):
        wanted = Image.fromarray(picture(number)).resize((28, 28), Image.BILINEAR)
        assert np.array_equal(images.images[number], np.asarray(wanted))


def test_an_unknown_patient_is_nobodys_relative(source: Path) -> None:
    lesions = [None, "NA", "", "HAM_1", "HAM_1", *[f"HAM_{n}" for n in range(2, 9)]]
    group = made(source, index(lesion_id=lesions).to_csv(index=False)).group
    assert group[:3].tolist() == [-1] * 3 and group[3] == group[4] >= 0


def at(place: int, value: object, values: list) -> list:
    return [value if number == place else each for number, each in enumerate(values)]


LABELS = [number % 7 for number in range(12)]
BAD = {
    "validation": (index(split=at(7, "validation", SPLIT)), 9),
    "blank": (index(split=at(7, None, SPLIT)), 9),
    "Train": (index(split=at(2, "Train", SPLIT)), 4),
    "nan": (index(label=at(3, None, LABELS)), 5),
    "1.5": (index(label=at(3, 1.5, LABELS)), 5),
    "257": (index(label=at(3, 257, LABELS)), 5),
    "7": (index(label=at(11, 7, LABELS)), 13),
    "-1": (index(label=at(0, -1, LABELS)), 2),
    "inf": (index(label=at(0, "inf", LABELS)), 2),
    "1e0": (index(label=at(0, "1e0", LABELS)), 2),
    "nv": (index(label=["nv"] * 12), 2),
    "ISIC_0000000": (index(image_id=at(10, "ISIC_0000000", IDS)), 12),  # in train and test
    "../ISIC": (index(image_id=at(4, "../ISIC", IDS)), 6),
}


@pytest.mark.parametrize("value", BAD)
def test_a_wrong_value_is_named_with_its_line(source: Path, value: str) -> None:
    good = made(source, TEXT).provenance.md5
    table, line = BAD[value]
    with refused(f"split_index.csv, line {line}:", *[value] * (value not in ("blank", "nan"))):
        made(source, table.to_csv(index=False))
    assert data.load("derma", source.parent / "made", 28).provenance.md5 == good
    assert len(list((source.parent / "made").iterdir())) == 1


@pytest.mark.parametrize(
    "content",
    [
        "", "\n\n", TEXT.splitlines()[0], TEXT.encode("latin-1"), TEXT.encode("utf-16-le"),
        TEXT.replace("image_id", "IMAGE_ID"), "# my split\n" + TEXT, TEXT.replace(",", "|"),
        TEXT.replace("\ntrain,1,", "\ntrain,1,,"), TEXT.replace("\ntrain,1,", "\ntrain,"),
        TEXT + 'test,4,"ISIC', TEXT.replace("dx", "label"), TEXT[: TEXT.index("test")],
        b"\x89PNG\r\n\x1a\n\0\0", TEXT.replace("ISIC_0000003", "ISIC_9999999"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_named(source: Path, content: bytes | str) -> None:
    with refused(source):
        made(source, content)
    assert not (source.parent / "made").exists()


@given(st.binary(max_size=200), st.integers(0, len(TEXT)))
def test_whatever_is_in_a_table_it_is_read_or_refused(tmp_path_factory, junk, place) -> None:
    path = tmp_path_factory.getbasetemp() / "index.csv"
    path.write_bytes(TEXT.encode()[:place] + junk + TEXT.encode()[place:])
    try:
        found = tables.read(path, tables.Photo, unique="image_id")
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert found["label"].between(0, 6).all() and set(found["split"]) == set(SPLIT)
        assert found["image_id"].is_unique


def test_a_patient_of_a_split_by_patient_is_in_one_part(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    table = pd.DataFrame({"split": ["train", "train", "val", "test"], "row": [0, 1, 0, 0]})
    table.assign(patient=[1, 1, 2, 3]).to_csv(path, index=False)
    assert len(tables.read(path, tables.Scan, by_part="patient")) == 4
    table.assign(patient=[1, 2, 2, 3]).to_csv(path, index=False)
    with refused("line 4: patient 2"):
        tables.read(path, tables.Scan, by_part="patient")
    table.assign(patient=[1, 1, 2, 3], row=[0, 0, 0, 0]).to_csv(path, index=False)
    with refused("line 3: row 0"):
        tables.read(path, tables.Scan)
    films = [f"0000000{number}_000.png" for number in (1, 2, 3, 4)]
    table.assign(image=films, patient=[1, 2, 3, 5]).to_csv(path, index=False)
    with refused("line 5", "00000004_000.png"):
        tables.read(path, tables.Film)


def test_the_same_picture_in_two_parts(source: Path) -> None:
    with zipfile.ZipFile(source / "ham10000_200x150" / "images.zip", "w") as archive:
        for number, name in enumerate(IDS):
            archive.writestr(f"{name}.jpg", pil(picture(number % 11)))
    with refused("test_images[2]", "train_images[0]"):
        made(source, TEXT)


# Photographs.

RGB = picture(1, (6, 10))
GRAY = RGB[..., 0]


def turned(orientation: int) -> bytes:
    exif = Image.new("RGB", (1, 1)).getexif()
    exif[0x0112] = orientation
    return pil(RGB, exif=exif)


def with_alpha(value: int) -> np.ndarray:
    return np.dstack([RGB, np.full(GRAY.shape, value, np.uint8)])


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (pil(RGB), RGB), (pil(RGB, "bmp"), RGB), (pil(RGB, "tiff"), RGB),
        (pil(GRAY), np.dstack([GRAY] * 3)), (pil(with_alpha(255)), RGB),
        (pil(GRAY // 128 * 255, mode="1"), np.dstack([GRAY // 128 * 255] * 3)),
        (pil(GRAY, mode="P"), np.dstack([GRAY] * 3)),
        # As viewers show them: 3 upside down, 6 turned clockwise, 8 counterclockwise.
        (turned(1), RGB), (turned(2), RGB[:, ::-1]), (turned(3), RGB[::-1, ::-1]),
        (turned(4), RGB[::-1]), (turned(6), np.rot90(RGB, -1)), (turned(8), np.rot90(RGB)),
    ],
    ids=range(13),
)  # fmt: skip
def test_pictures_are_as_viewers_show_them(content: bytes, wanted: np.ndarray) -> None:
    assert np.array_equal(photos.decode(content, "RGB"), wanted)


def test_gray_stays_gray_and_color_becomes_gray() -> None:
    assert np.array_equal(photos.decode(pil(GRAY), "L"), GRAY)
    assert np.array_equal(photos.decode(pil(np.dstack([GRAY] * 3)), "L"), GRAY)


WIDE = GRAY.astype(np.uint16) * 257
FRAMES = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
BROKEN = {
    "empty": b"", "text": b"<html>404</html>", "cut": pil(picture(1), "jpeg")[:-600],
    "cut png": pil(picture(1))[:-600], "sixteen bits": pil(WIDE), "wide tiff": pil(WIDE, "tiff"),
    "floats": pil(GRAY.astype(np.float32), "tiff"), "ink": pil(RGB, "jpeg", "CMYK"),
    "transparent": pil(with_alpha(9)),
    "one color transparent": pil(RGB, transparency=tuple(map(int, RGB[0, 0]))),
    "animated": pil(RGB, save_all=True, append_images=FRAMES[1:]),
    "pages": pil(RGB, "tiff", save_all=True, append_images=FRAMES[1:]),
    "other format": pil(RGB, "gif"), "bit flip": pil(RGB)[:40] + b"\xff" * 9 + pil(RGB)[49:],
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_picture_that_cannot_be_used_is_named(source: Path, what: str) -> None:
    with zipfile.ZipFile(source / "ham10000_200x150" / "images.zip", "w") as archive:
        for number, name in enumerate(IDS):
            content = BROKEN[what] if number == 7 else pil(picture(number))
            archive.writestr(f"{name}.jpg", content)
    with refused(IDS[7]):
        made(source, TEXT)
    assert not (source.parent / "made").exists()


def test_folders_and_hidden_files_of_an_archive(source: Path) -> None:
    path = source / "ham10000_200x150" / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(IDS):
            archive.writestr(f"my images/{name}.JPG.png", b"")
            archive.writestr(f"my images/{name}.png", pil(picture(number)))
            archive.writestr(f"__MACOSX/my images/._{name}.png", b"\0\5\x16\7")
    assert len(made(source, TEXT)) == 12
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"again/{IDS[3]}.png", pil(picture(3)))
    with refused(IDS[3]):
        made(source, TEXT)
