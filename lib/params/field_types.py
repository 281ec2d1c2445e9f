"""Types of the parameters' fields: their ranges, and how the text of a command line is read."""

import os
import re
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from lib.params.errors import InputError, shortened, unknown
from lib.params.own_files import checked_weights


def plain(value: Any) -> Any:
    """A number or truth value as the text that would be written for it; anything else as it is.

    Texts of a command line, values of a notebook and values of a file then mean the same.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, int | float) else value


def written(value: Any, name: str) -> Any:
    """A value for a field of text: texts and whole numbers, which lose nothing as numbers.

    Raises:
        InputError: another value, of which it is not known how it was written.
    """
    if isinstance(value, float | bool):
        raise InputError(
            f"{name} must be text, but the value was read as {value!r}: put it in quotes in a "
            f"file, or use papermill -r {name} TEXT."
        )
    return plain(value)


def _items(value: Any, info: ValidationInfo) -> Any:
    """The text ``[a, b]`` as a list of texts; anything else as it is."""
    if isinstance(value, str):
        try:
            value = yaml.load(value, yaml.BaseLoader)  # which leaves numbers to the field's type
        except (yaml.YAMLError, RecursionError):
            value = None
        if not isinstance(value, list):
            raise InputError(f"{info.field_name} must be a list: write it as [1,2] or [a,b].")
    return value


def _different(value: list) -> list:
    if len(set(value)) < len(value):
        raise InputError(f"The list {value} has a value twice: give it once.")
    return value


def _whole(value: Any) -> Any:
    """The text of a whole number as a number: pydantic compares choices as they are."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


def _line(value: str, info: ValidationInfo) -> str:
    if not value.strip() or any(ord(each) < 32 or ord(each) == 127 for each in value):
        raise InputError(f"{info.field_name} must be text on one line, not {shortened(value)}.")
    return value


def _folder(value: str) -> str:
    """The shortest way to write a path; ``~`` is the user's home."""
    return os.path.normpath(os.path.expanduser(value))


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,2})?", value):
        raise InputError(
            f"device must be auto, cpu, cuda, xpu, mps or such as cuda:1, not {shortened(value)}."
        )
    return value


T = TypeVar("T")
ListOf = Annotated[list[T], BeforeValidator(_items)]
SetOf = Annotated[list[T], BeforeValidator(_items), AfterValidator(_different)]
Text = Annotated[str, AfterValidator(_line)]
Folder = Annotated[str, AfterValidator(_line), AfterValidator(_folder)]
Device = Annotated[str, AfterValidator(_device)]
Pixels = Annotated[Literal[1, 2], BeforeValidator(_whole)]
Size = Annotated[Literal[28, 64, 128, 224], BeforeValidator(_whole)]
# Upper bounds are far above what anyone runs and below what a machine integer or memory holds.
MOST = 10**9
Positive = Annotated[int, Field(gt=0, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Batch = Annotated[int, Field(ge=1, le=10**6)]
Rounds = Annotated[int, Field(ge=0, le=10**6)]  # epochs, generations
Epochs = Annotated[int, Field(ge=1, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # generators are seeded with multiples of it
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=1e-12, le=1)]
Noise = Annotated[float, Field(gt=0, le=1)]
Weights = Annotated[str, AfterValidator(_line), AfterValidator(checked_weights)]
Denoiser = Literal["autoencoder", "dae", "noise2noise", "median_cnn"]
DENOISERS = get_args(Denoiser)
Filter = Literal[Denoiser, "median3"]
MASKING = "double_masking"  # the proved defense
PATCHES = "+patches"  # ends the name of a denoiser that is used with patch selection
_BASES = ("median3", *DENOISERS)
_DEFENSES = (*_BASES, *(name + PATCHES for name in _BASES), "identity", MASKING)


def _defense(value: str) -> str:
    if value not in _DEFENSES:
        raise unknown("defense", value, _DEFENSES)
    return value


Defense = Annotated[str, AfterValidator(_defense)]
Attacker = Literal[
    "adaptive", "doubled", "restarts", "map", "random", "sparse_rs", "more_pixels", "fgsm", "pgd",
    "apgd", "autoattack",
]  # fmt: skip
# "auto" is settled where a step begins: `lib.params.device.settled`.
Precision = Literal["auto", "float32", "bfloat16"]
SearchPrecision = Literal["auto", "float32", "bfloat16", "float16"]
