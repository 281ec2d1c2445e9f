"""Types of the parameters' fields: their ranges, and how the text of a command line is read."""

from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from lib.params.errors import InputError, unknown


def _items(value: Any) -> Any:
    """The text ``[a, b]`` as a list of texts; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.load(value, yaml.BaseLoader)  # which leaves numbers to the field's type
    except yaml.YAMLError:
        raise InputError(f"{value!r} cannot be read: a list is written [1,2].") from None


def _whole(value: Any) -> Any:
    """The text of a whole number as a number: pydantic compares choices as they are."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


T = TypeVar("T")
ListOf = Annotated[list[T], BeforeValidator(_items)]
Pixels = Annotated[Literal[1, 2], BeforeValidator(_whole)]
Size = Annotated[Literal[28, 64, 128, 224], BeforeValidator(_whole)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # generators are seeded with multiples of it
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Denoiser = Literal["autoencoder", "dae", "noise2noise", "median_cnn"]
DENOISERS = get_args(Denoiser)
MASKING = "double_masking"  # the proved defense
PATCHES = "+patches"  # ends the name of a denoiser that is used with patch selection
_BASES = ("median3", *DENOISERS)
_DEFENSES = (*_BASES, *(name + PATCHES for name in _BASES))


def _among(*known: str) -> AfterValidator:
    """A name of these, else an error that names the nearest."""

    def check(value: str) -> str:
        if value not in known:
            raise unknown("defense", value, known)
        return value

    return AfterValidator(check)


# Doing nothing is no defense: to know it is to attack the bare classifier.
Defense = Annotated[str, _among(*_DEFENSES)]
AnyDefense = Annotated[str, _among(*_DEFENSES, "identity", MASKING)]
Attacker = Literal[
    "adaptive", "doubled", "restarts", "random", "more_pixels", "pgd", "apgd", "autoattack"
]
# "auto" is settled where a step begins: `lib.params.device.settled`.
Precision = Literal["auto", "float32", "bfloat16"]
SearchPrecision = Literal["auto", "float32", "bfloat16", "float16"]
