"""npz files from outside: plain arrays, read whole and checked before anything is made of them."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lib.data.splits import content
from lib.params.dataset_info import Facts
from lib.params.errors import InputError
from lib.params.files import unread

PARTS = ("train", "val", "test")
ARRAYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
REPEATED = 0.01  # of a part's images may be in another part
GROUPS = tuple(f"{part}_groups" for part in PARTS)
# RuntimeError: an encrypted archive, or one packed in a way that Python does not know.
# TokenError: a header that NumPy reads as Python.
READ_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, RuntimeError,
    MemoryError, tokenize.TokenError,
)  # fmt: skip


def unreadable(path: Path, error: BaseException | str) -> InputError:
    """What is wrong with a file that no array can be read from; it is the user's to remove."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
        return InputError(f"{path} cannot be read: {unread(error)}.")
    why = error if isinstance(error, str) else unread(error)
    return InputError(
        f"{path} cannot be read as an npz file of plain arrays ({why}): it is truncated or "
        "not a MedMNIST file; move it away and download or rebuild it."
    )


def arrays(path: Path, names: Iterable[str], required: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Those of the named arrays that a file holds; plain arrays alone.

    Args:
        path: of the file.
        names: of the arrays to read.
        required: of arrays that the file must hold, read or not.

    Raises:
        InputError: unreadable, no npz file, or a required array is missing.
    """
    try:
        if not path.stat().st_size:
            raise unreadable(path, "it is empty")
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise unreadable(path, "it has no zip directory")
        with np.load(path, allow_pickle=False) as file:
            held = set(file.files)
            if missing := sorted(set(required) - held):
                raise InputError(
                    f"{path} has no {', '.join(missing)}: it holds {', '.join(sorted(held))}."
                )
            return {name: file[name] for name in names if name in held}
    except InputError:
        raise
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


def joined(
    path: Path, known: Facts, size: int, held: dict[str, np.ndarray], used: Sequence[str] = PARTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels (uint8) and split of all rows of some parts, after all parts were checked.

    Args:
        path: of the file, for the message.
        known: of the data set.
        size: edge of the images in pixels.
        held: `ARRAYS` of the file. Images must be uint8 (N, size, size), or (N, size, size, 3) for
            color; N above 0. Labels must be integers (N, 1) below the number of classes, or 0/1
            (N, L).
        used: the parts, in the order of the rows.

    Raises:
        InputError: they are not; the message names array, row and value.
    """
    labels = {part: _checked(path, known, size, part, held) for part in PARTS}
    images = [held[f"{part}_images"] for part in used]
    split = np.repeat(used, [len(part) for part in images])
    return np.concatenate(images), np.concatenate([labels[part] for part in used]), split


def _checked(
    path: Path, known: Facts, size: int, part: str, held: dict[str, np.ndarray]
) -> np.ndarray:
    """Labels of one part, after images and labels were checked as `joined` says."""
    images, labels = held[f"{part}_images"], held[f"{part}_labels"]
    columns = len(known.classes) if known.multi_label else 1
    highest = 1 if known.multi_label else len(known.classes) - 1
    shape = (size, size, 3) if known.channels == 3 else (size, size)
    form = "x".join(map(str, ("N", *shape)))

    def wrong(what: str) -> InputError:
        return InputError(f"{path}: {what}.")

    if images.dtype != np.uint8:
        raise wrong(f"{part}_images are {images.dtype}, but must be uint8")
    if images.shape[1:] != shape:
        raise wrong(f"{part}_images are {'x'.join(map(str, images.shape))}, but must be {form}")
    if not len(images):
        raise wrong(f"{part}_images are empty, but each split needs at least one image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise wrong(f"{part}_labels are {labels.dtype}, but must be integers")
    if labels.ndim != 2 or labels.shape[1] != columns:
        raise wrong(
            f"{part}_labels are {'x'.join(map(str, labels.shape))}, but must be Nx{columns}"
        )
    if len(labels) != len(images):
        raise wrong(f"{part} has {len(images)} images but {len(labels)} labels")
    bad = np.argwhere((labels < 0) | (labels > highest))
    if len(bad):
        row, column = bad[0]
        raise wrong(
            f"{part}_labels have the value {labels[row, column]} in row {row}, but must be in "
            f"0..{highest}"
        )
    return labels.astype(np.uint8)


def groups(path: Path, held: dict[str, np.ndarray], used: Sequence[str]) -> np.ndarray:
    """Patient numbers of the images of some parts, int64 (N,); -1 in a file without any.

    Raises:
        InputError: they are no integers, or not one an image.
    """
    given = [name for name in GROUPS if name in held]
    if not given:
        return np.full(sum(len(held[f"{part}_images"]) for part in used), -1)
    for part, name in zip(PARTS, GROUPS, strict=True):
        values, length = held.get(name), len(held[f"{part}_images"])
        if values is None or values.dtype.kind not in "iu" or values.shape != (length,):
            raise InputError(
                f"{path}: {name} must hold {length} integers, one per image, because "
                f"{given[0]} is there."
            )
    return np.concatenate([held[f"{part}_groups"] for part in used]).astype(np.int64)


def check_apart(path: Path, images: np.ndarray, split: np.ndarray, index: np.ndarray) -> None:
    """Refuse images that are in two parts: one both trained on and tested counts as learned.

    Large collections repeat an image now and then (HAM10000 does); up to `REPEATED` of a part is
    left to the page that counts them, `lib.data.statistics.overlap`. An image, uint8 (N, ...), is
    named by its part (N,) and its row there (N,).

    Raises:
        InputError: more images of a part have the same pixels as one in an earlier part.
    """
    _, first, number = np.unique(content(images), return_index=True, return_inverse=True)
    first = first[number]
    again = split != split[first]
    for part in PARTS:
        rows = np.flatnonzero(again & (split == part))
        if len(rows) > REPEATED * (split == part).sum():
            row, other = rows[0], first[rows[0]]
            raise InputError(
                f"{path}: {part}_images[{index[row]}] has the same pixels as "
                f"{split[other]}_images[{index[other]}], as {len(rows)} images of {part!r} do for "
                "another part: an image may be in only one part."
            )
