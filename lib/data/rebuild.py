"""Makes npz files in MedMNIST's form from other public copies of the same images.

``python -m lib.data.rebuild --source FOLDER --root data --size 64 [derma pathology ...]``

The folder holds, in subfolders, what the constants below name. Each file made says in ``note`` what
it is; `lib.data` reports it as *rebuilt*, never as official.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from medmnist.info import INFO
from PIL import Image

from lib.data import lesions, npz, photos, tables
from lib.data.dataset import PARTS, SIZES, official_md5
from lib.data.splits import content, in_whole_groups
from lib.params import facts
from lib.params.errors import InputError, check_name, run_command
from lib.params.files import atomic, md5

# Data sets that are not offered at all sizes, and why.
LIMITS = {
    "pathology": ((28,), "the source has 28-pixel images, which the classifier enlarges inside"),
    "chest": ((28, 64, 224), "the source has these sizes of the images"),
}


class Rebuilt(NamedTuple):
    """A data set before it is written; row i of all arrays is one image.

    Attributes:
        images: uint8 (N, H, W) or (N, H, W, 3).
        labels: uint8 (N, L).
        split: str (N,), ``train``, ``val`` or ``test``.
        group: int64 (N,), patient; None where the source names none.
        note: one sentence: from what, how resized, which split.
        boxes: of marked lesions, as `lib.data.lesions.of_list` gives them; None for none.
    """

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    group: np.ndarray | None
    note: str
    boxes: pd.DataFrame | None = None


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Whole images, uint8 (N, H, W) or (N, H, W, 3), to ``size`` x ``size`` pixels: bilinear,
    antialiased when smaller (DAT09).
    """
    if images.shape[1:3] == (size, size):
        return images
    pictures = (Image.fromarray(image).resize((size, size), Image.BILINEAR) for image in images)
    return np.stack([np.asarray(picture) for picture in pictures])


def derma(source: Path, size: int) -> Rebuilt:
    """HAM10000 from 200x150 JPEGs; the folder's split of MedMNIST's sizes, drawn by image."""
    folder = source / "ham10000_200x150"
    index = tables.read(_there(folder / "split_index.csv"), tables.Photo, unique="image_id")
    images = _photos(folder / "images.zip", index["image_id"], size, "RGB")
    lesions = pd.factorize(index["lesion_id"], sort=True)[0]
    crossing = (index.groupby("lesion_id")["split"].nunique() > 1).sum()
    return Rebuilt(
        images,
        index["label"].to_numpy(np.uint8)[:, None],
        index["split"].to_numpy(str),
        lesions,
        f"HAM10000 from 200x150 JPEG copies, whole image {_verb(150, size)} with bilinear "
        "interpolation; split of MedMNIST's sizes drawn anew by image within each class, "
        f"{crossing} lesions are in more than one split; groups are lesions.",
    )


def pathology(source: Path, size: int) -> Rebuilt:
    """PathMNIST's own 28-pixel images and labels, part of train and val, the whole test set."""
    images, labels, split = _npz(
        source / "pathmnist_official_part" / "pathmnist_28_part.npz", "pathology", 28
    )
    counts = [int((split == part).sum()) for part in PARTS]
    official = INFO["pathmnist"]["n_samples"]
    shares = (f"{n} of {official[part]} {part}" for n, part in zip(counts, PARTS, strict=True))
    return Rebuilt(
        images, labels, split, None,
        f"PathMNIST's own pixels, labels and splits, but only {', '.join(shares)} images.",
    )  # fmt: skip


def oct(source: Path, size: int) -> Rebuilt:
    """The 1,000 images of Kermany's test set, split by patient."""
    folder = source / "kermany_oct1000"
    # The source folder's copy at 28 pixels is a center crop; sizes are to differ in nothing else.
    stored = size if size in (64, 224) else 224
    path = folder / f"kermany1000_{stored}.npz"
    images, labels, split = _npz(path, "oct", stored)
    source = folder / "kermany1000_index.csv"
    index = _ordered(source, tables.Scan, split, path, by_part="patient")
    if not (index["label"].isna() | (index["label"] == labels[:, 0])).all():
        raise InputError(f"{source} has other labels than {path}: get both files again.")
    reduced = "" if size == stored else "to 224 pixels, then reduced "
    return Rebuilt(
        resize(images, size), labels, split, index["patient"].to_numpy(np.int64),
        f"The 1,000 test images of Kermany 2018, whole image squashed {reduced}to {size} pixels "
        "with bilinear interpolation; split anew by patient; groups are patients.",
    )  # fmt: skip


def chest(source: Path, size: int) -> Rebuilt:
    """Two samples of NIH ChestX-ray14 joined; no image twice, no patient in two splits.

    All images of a patient go to the split that holds most of them, on a tie to the earlier one.
    """
    if size == 224:
        return _boxed_chest(source / "nih_bbox1860", size)
    folder = source / "nih_chestxray"
    parts, indexes = [], []
    for name in ("nih1000", "nih1000b"):
        path = folder / f"{name}_{size}.npz"
        parts.append(_npz(path, "chest", size))
        source = folder / f"{name}_index.csv"
        indexes.append(_ordered(source, tables.Film, parts[-1][2], path, unique="image"))
    images, labels, split = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    index = pd.concat(indexes, ignore_index=True)
    keep = ~index.duplicated("image").to_numpy()
    images, labels, split, index = images[keep], labels[keep], split[keep], index[keep]
    patient = index["patient"].to_numpy(np.int64)
    counts = pd.crosstab(patient, split)[list(PARTS)]
    home = counts.idxmax(axis=1)[patient].to_numpy(str)
    return Rebuilt(
        images, labels, home, patient,
        "Two samples of NIH ChestX-ray14 (the start of its list, half without finding; and half "
        f"pneumonia, half without finding) at {size} pixels as the source folder has them"
        f"{' (bicubic and bilinear)' if size == 28 else ''}; {(~keep).sum()} repeated images "
        f"dropped and {(home != split).sum()} moved so that no patient is in two splits; groups "
        "are patients.",
    )  # fmt: skip


def _boxed_chest(folder: Path, size: int) -> Rebuilt:
    """The 880 images of NIH's list of boxes and 980 without finding, split by patient."""
    # Labels and the order of rows are those of the folder's small copy.
    small = folder / "nih1860_64.npz"
    _, labels, split = _npz(small, "chest", 64)
    rules = {"unique": "image", "by_part": "patient"}
    index = _ordered(folder / "nih1860_index.csv", tables.Film, split, small, **rules)
    images = _photos(folder / f"nih1860_{size}.zip", index["image"], size, "L")
    return Rebuilt(
        images, labels, split, index["patient"].to_numpy(np.int64),
        f"{len(index)} images of NIH ChestX-ray14 (the 880 with marked lesions and 980 without "
        f"finding), whole image reduced from 1024 to {size} pixels with bilinear interpolation; "
        "split anew by patient; groups are patients.",
        lesions.of_list(_there(folder / "nih1860_boxes.csv"), index),
    )  # fmt: skip


def abdomen_ct(source: Path, size: int) -> Rebuilt:
    """AbdomenCT of Medical MNIST: 8,000 for training, 1,000 of them val, and 2,000 test (DAT10)."""
    path = source / "medical_mnist" / "abdomenct_64_all.npz"
    stored = npz.arrays(_there(path), ["images"], ["images"])["images"]
    if stored.dtype != np.uint8 or stored.shape[1:] != (64, 64) or len(stored) < 10:
        raise InputError(
            f"{path}: images are {stored.dtype} {stored.shape}, but must be uint8 (N, 64, 64), N "
            "at least 10."
        )
    same = content(stored)
    split = in_whole_groups(same, {"test": len(stored) // 5, "val": len(stored) // 10})
    how = "as they are" if size == 64 else f"{_verb(64, size)} with bilinear interpolation"
    # The note is part of the file, whose MD5 is on record: its words stay, their spelling too.
    return Rebuilt(
        resize(stored, size), np.zeros((len(stored), 1), np.uint8), split, None,
        f"All {len(stored)} 64-pixel AbdomenCT images of Medical MNIST, {how}; split at random "
        f"(70/10/20), the {same.max() + 1} different images each in one split, but neighbouring "
        "slices, which are nearly the same, are not kept together.",
    )  # fmt: skip


SOURCES: dict[str, Callable[[Path, int], Rebuilt]] = {
    "derma": derma, "pathology": pathology, "oct": oct, "chest": chest, "abdomen_ct": abdomen_ct,
}  # fmt: skip


def rebuild(dataset: str, source: Path, root: Path, size: int) -> str:
    """Write the npz file of a data set of `SOURCES` under ``root``, and its marked lesions if any.

    It appears whole or not at all; the same input gives the same bytes.

    Returns:
        One line: file, counts, MD5, seconds.

    Raises:
        InputError: unknown data set; a size that is not offered; source missing or damaged; an
            official file stands where this one would go.
    """
    check_name("data set", dataset, SOURCES)
    if refusal := _refusal(dataset, size):
        raise InputError(refusal)
    started = time.monotonic()
    path = Path(root) / facts(dataset).filename(size)
    if path.is_file() and md5(path) == official_md5(dataset, size):
        raise InputError(f"{path} is MedMNIST's own file, better than a rebuilt one: it was kept.")
    made = SOURCES[dataset](Path(source), size)
    for part in PARTS:
        if part not in made.split:
            raise InputError(f"{source} leaves no image of {dataset} for the split {part!r}.")
    index = pd.Series(made.split).groupby(made.split).cumcount().to_numpy()
    npz.check_apart(Path(source), made.images, made.split, index)
    arrays = {"note": np.array(made.note)}
    for part in PARTS:
        rows = made.split == part
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = made.images[rows], made.labels[rows]
        if made.group is not None:
            arrays[f"{part}_groups"] = made.group[rows].astype(np.int64)
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **arrays)
        checksum = md5(temporary)
        if made.boxes is not None:
            lesions.write(made.boxes, path, checksum)
    counts = "/".join(str((made.split == part).sum()) for part in PARTS)
    return f"{path.name}  {counts}  {checksum}  {time.monotonic() - started:.1f} s"


def main(words: list[str]) -> int:
    """The command line; 1 if a file could not be made, else 0. Raises `InputError` before any."""
    parser = argparse.ArgumentParser(prog="python -m lib.data.rebuild", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder of the other copies")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the npz files go")
    sizes = {str(size): size for size in SIZES}
    parser.add_argument("--size", default="64", help=f"edge in pixels: {', '.join(sizes)}")
    parser.add_argument("datasets", nargs="*", help="default: all that are offered at this size")
    given = parser.parse_args(words)
    if given.size not in sizes:
        raise InputError(f"The size must be one of {', '.join(sizes)} pixels, not {given.size!r}.")
    if not given.source.is_dir():
        raise InputError(
            f"{given.source} is no folder: name the folder of the other copies as the source."
        )
    size, failed = sizes[given.size], 0
    for dataset in given.datasets or SOURCES:
        if not given.datasets and (refusal := _refusal(dataset, size)):
            print(f"left out: {refusal}")
            continue
        try:
            print(rebuild(dataset, given.source, given.root, size), flush=True)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = 1
    return failed


def _refusal(dataset: str, size: int) -> str:
    sizes, why = LIMITS.get(dataset, (SIZES, ""))
    if size in sizes:
        return ""
    offered = " and ".join(map(str, sizes))
    reason = f": {why}" if why else ""
    return f"{dataset} cannot be rebuilt at {size!r} pixels, only at {offered}{reason}."


def _verb(edge: int, size: int) -> str:
    return f"{'enlarged' if size > edge else 'reduced'} to {size} pixels"


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"{path} is missing: the source must be the folder that holds {path.parent.name}/"
            f"{path.name}."
        )
    return path


def _photos(path: Path, names: Iterable[str], size: int, mode: str) -> np.ndarray:
    """Images of a zip file, upright, in Pillow's mode L or RGB, as `resize` gives them."""
    found = photos.of_archive(_there(path), names, mode)
    return np.concatenate([resize(image[None], size) for image in found])


def _npz(path: Path, dataset: str, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and split of all rows, train first, then val, then test; checked."""
    held = npz.arrays(_there(path), npz.ARRAYS, npz.ARRAYS)
    return npz.joined(path, facts(dataset), size, held)


def _ordered(
    source: Path, kind: type[tables.Row], split: np.ndarray, path: Path, **rules: str
) -> pd.DataFrame:
    """An index in the order of the rows of an npz file; an error if it is of other rows."""
    index = tables.read(_there(source), kind, **rules)
    index = index.assign(place=index["split"].map(PARTS.index)).sort_values(["place", "row"])
    rows = index.groupby("split").cumcount()
    if not (
        np.array_equal(index["split"].to_numpy(str), split)
        and np.array_equal(index["row"].to_numpy(), rows.to_numpy())
    ):
        raise InputError(f"{source} does not list the rows of {path}: get both files again.")
    return index


if __name__ == "__main__":
    run_command(main)
