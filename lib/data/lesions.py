"""Marked lesions of radiographs: the boxes that come with NIH ChestX-ray14 (Wang et al. 2017)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, Field

from lib.data import tables
from lib.params.errors import InputError
from lib.params.files import atomic, write_table

FILE = "lesions.parquet"  # in the folder of a run
EDGE = 1024  # of the radiographs that the list of boxes is made for, pixels
CORNER_AND_SIZE = ["x", "y", "width", "height"]
IMAGE = ["split", "index"]
COLUMNS = [*IMAGE, "label", *CORNER_AND_SIZE]
_Pixels = Annotated[float, Field(ge=0, le=EDGE)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Listed(BaseModel):
    """A row of NIH's list ``BBox_List_2017``."""

    image: tables.Name
    label: tables.Name
    x: _Pixels
    y: _Pixels
    w: _Pixels
    h: _Pixels


class _Marked(BaseModel):
    """A row of the file beside an npz file."""

    split: tables.Part
    index: tables.Whole
    label: tables.Name
    x: _Share
    y: _Share
    width: _Share
    height: _Share


def of_list(path: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Boxes of NIH's list by the rows of an npz file.

    Args:
        path: the list: ``image, label, x, y, w, h`` in pixels of the original.
        images: ``split, row, image`` (name) of each image of the npz file.

    Returns:
        `COLUMNS`, a row a box; left, top, width and height are shares 0..1 of the edge.

    Raises:
        InputError: as `lib.data.tables.read`, or no box is of these images.
    """
    boxes = tables.read(path, _Listed)
    found = images[["split", "row", "image"]].merge(boxes, on="image")
    if not len(found):
        raise InputError(f"{path} has no box of these images: get the list again.")
    found = found.rename(columns={"row": "index", "w": "width", "h": "height"})
    found[CORNER_AND_SIZE] = (found[CORNER_AND_SIZE] / EDGE).round(5)
    return found[COLUMNS]


def file(npz: Path, md5: str) -> Path:
    """Where the boxes of an npz file lie; the checksum keeps them from another file's images."""
    return npz.with_name(f"{npz.stem}_lesions_{md5[:8]}.csv")


def write(boxes: pd.DataFrame, npz: Path, md5: str) -> None:
    """Write boxes beside their npz file."""
    with atomic(file(npz, md5)) as temporary:
        boxes.to_csv(temporary, index=False)


def read(npz: Path, md5: str) -> pd.DataFrame:
    """The boxes beside an npz file, `COLUMNS`; empty where there are none.

    Raises:
        InputError: as `lib.data.tables.read`.
    """
    path = file(npz, md5)
    return tables.read(path, _Marked)[COLUMNS] if path.exists() else pd.DataFrame(columns=COLUMNS)


def keep(npz: Path, md5: str, attacks: Iterable[pd.DataFrame], path: Path) -> None:
    """Write the boxes of attacked images, if any, as the table ``path`` of a run."""
    if len(boxes := of_attacked(read(npz, md5), attacks)):
        write_table(path, boxes)


def of_attacked(boxes: pd.DataFrame, attacks: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The boxes of the images in attack tables: what a run keeps of `read`'s."""
    images = pd.concat([table[IMAGE] for table in attacks]).drop_duplicates()
    return boxes.merge(images, on=IMAGE)
