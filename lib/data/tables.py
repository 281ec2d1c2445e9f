"""Tables from outside: CSV files, checked cell by cell before anything is made of them.

A table is read correctly or refused with file, line and value. UTF-8 (with or without a mark) and
UTF-16 (with one) are read; commas, semicolons and tabs separate; blank lines and spaces around
cells mean nothing.
"""

import codecs
import csv
import io
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)  # fmt: skip

from lib.params.errors import InputError
from lib.params.files import unread

MISSING = {"", "na", "n/a", "nan", "none", "null", "?"}
SEPARATORS = ",;\t"


def _whole(value: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.0*)?", value):
        raise ValueError("a whole number is needed")
    return value.partition(".")[0]


def _known(value: str) -> str | None:
    return None if value.lower() in MISSING else value


Part = Literal["train", "val", "test"]
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
# A name that cannot lead out of a folder or an archive.
Name = Annotated[str, BeforeValidator(_known), StringConstraints(pattern=r"^[^/\\\x00]+$")]
Text = Annotated[str | None, BeforeValidator(_known)]


class Row(BaseModel):
    """A row of a table by the names of its columns; other columns are ignored."""

    split: Part
    row: Whole


class Photo(Row):
    """A photograph of the index of HAM10000's copies."""

    row: Whole | None = None
    image_id: Name
    lesion_id: Text = None
    label: Annotated[Whole, Field(lt=7)]


class Scan(Row):
    """A scan of the index of Kermany's test set."""

    patient: Whole
    label: Annotated[Whole, Field(lt=4)] | None = None


class Film(Row):
    """A film of an index of NIH ChestX-ray14, whose name begins with the patient's number."""

    image: Annotated[Name, StringConstraints(pattern=r"^[0-9]{8}_[0-9]{3}\.[A-Za-z]+$")]
    patient: Whole | None = None

    @model_validator(mode="after")
    def _patient_of_image(self) -> "Film":
        number = int(self.image[:8])
        if self.patient not in (None, number):
            raise ValueError(f"{self.image} is of patient {number}, not {self.patient}")
        self.patient = number
        return self


R = TypeVar("R", bound=BaseModel)


def read(path: Path, kind: type[R], *, unique: str = "", by_part: str = "") -> pd.DataFrame:
    """A table from outside, checked.

    Args:
        path: a CSV file with a line of names.
        kind: what a row must be.
        unique: a column that names each row; no name may come twice, least of all in two parts.
        by_part: a column whose values may each be in one part only, such as the patient.

    Returns:
        The columns of ``kind``, typed, in the order of the file; ``line`` is the line in it.

    Raises:
        InputError: unreadable, a column is missing, a value is wrong or comes twice, or a part has
            no `Row`. The message names the file, and the line and value.
    """
    rows = [_checked(path, line, cells, kind) for line, cells in _lines(path, kind)]
    by_row = issubclass(kind, Row)
    for part in ("train", "val", "test") if by_row else ():
        if not any(row.split == part for _, row in rows):
            raise InputError(f"{path} has no row of the split {part!r}: each needs one at least.")
    if unique:
        _once(path, rows, (unique,))
    if by_part:
        _once(path, rows, (by_part,), in_one_part=True)
    if by_row and kind.model_fields["row"].is_required():
        _once(path, rows, ("row", "split"))
    found = [{**row.model_dump(), "line": line} for line, row in rows]
    return pd.DataFrame(found, columns=[*kind.model_fields, "line"])


def _once(
    path: Path, rows: list[tuple[int, R]], columns: tuple[str, ...], in_one_part: bool = False
) -> None:
    """Refuse a value of the columns that comes again, or only one that does in another part."""
    first: dict[Any, tuple[int, R]] = {}
    for line, row in rows:
        value = tuple(getattr(row, name) for name in columns)
        if value[0] is None:
            continue
        before, other = first.setdefault(value, (line, row))
        if before != line and not (in_one_part and row.split == other.split):
            raise InputError(
                f"{path}, line {line}: {columns[0]} {value[0]!r} ({row.split}) is in line {before} "
                f"({other.split}) too; an image, and a patient of a split by patient, belong to "
                "one place."
            )


def _checked(path: Path, line: int, cells: dict[str, str], kind: type[R]) -> tuple[int, R]:
    given = {
        name: value for name, value in cells.items()
        if name in kind.model_fields
        and (kind.model_fields[name].is_required() or _known(value) is not None)
    }  # fmt: skip
    try:
        return line, kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            name = str(first["loc"][0])
            why = f"{name} is {cells[name]!r} ({why})"
        raise InputError(f"{path}, line {line}: {why}.") from None


def _lines(path: Path, kind: type[BaseModel]) -> list[tuple[int, dict[str, str]]]:
    """Lines of a table that are not blank: their number in the file, and cells by column."""
    text = _text(path)
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    tried = []
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}.") from None
        lines = [(number, cells) for number, cells in lines if any(cells)]
        names = lines[0][1] if lines else []
        missing = [name for name in required if name not in names]
        if missing:
            tried.append((len(missing), -len(names), names, missing))
            continue
        if twice := [name for name in kind.model_fields if names.count(name) > 1]:
            raise InputError(f"{path} has several columns called {twice[0]!r}: leave one.")
        for number, cells in lines[1:]:
            if len(cells) != len(names):
                raise InputError(
                    f"{path}, line {number} has {len(cells)} cells, but there are {len(names)} "
                    "columns: quote a cell that holds the separator."
                )
        return [(number, dict(zip(names, cells, strict=True))) for number, cells in lines[1:]]
    *_, names, missing = min(tried)
    found = f"its first line is {', '.join(names)[:80]!r}" if names else "it is empty"
    raise InputError(f"{path} has no column {', '.join(map(repr, missing))}: {found}.")


def _text(path: Path) -> str:
    """Text of a file in UTF-8, or in UTF-16 with its mark."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {unread(error)}.") from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: {content[error.start : error.end]!r} is not UTF-8; save the "
            "table as UTF-8."
        ) from None
    if "\0" in text:
        raise InputError(f"{path} is not UTF-8 text: it holds zero bytes.")
    return text
