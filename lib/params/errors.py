"""The one exception users see for bad input, and the checks that all packages share."""

import math
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

LISTED = 16  # a longer list of names would bury the hint


class InputError(ValueError):
    """Bad input. The message is one sentence: what is wrong, where, and what would be right."""


def run_command(main: Callable[[list[str]], int | None]) -> None:
    """Run a command with the words of the command line; an `InputError` ends it in one line.

    What the command returns is the exit code; None is 0.
    """
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")


def shortened(value: Any) -> str:
    """A value as it would be written in Python, on one line, cut where it is long."""
    text = " ".join(line.strip() for line in repr(value).splitlines())
    return text if len(text) <= 80 else f"{text[:70]} ... ({len(text)} characters)"


def first_line(error: BaseException) -> str:
    """What an error of a library says, for use in a sentence; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Error for a ``name`` that is not in ``known``, with the nearest one that is.

    ``kind`` says what it is the name of, such as "data set".
    """
    known = sorted(known)
    near = get_close_matches(str(name).lower(), known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else "none is known."
    if len(known) <= LISTED:
        hint += f" Known are {', '.join(known)}."
    return InputError(f"Unknown {kind} {shortened(name)}: {hint}")


def check_name(kind: str, name: Any, known: Iterable[str]) -> None:
    """Refuse what is not one of the names in ``known``, of whatever type it is; see `unknown`."""
    known = list(known)
    if not isinstance(name, str) or name not in known:
        raise unknown(kind, name, known)


def check_number(
    name: str, value: Any, low: float, high: float, whole: bool = False, ends: str = "[]"
) -> Any:
    """The value of a setting as a number of Python: one of NumPy overflows, and torch refuses it.

    ``ends`` says which ends of the range are values too: ``[]``, ``(]``, ``[)`` or ``()``.

    Raises:
        InputError: it is no number, not ``whole`` where it must be, or outside its range.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    inside = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
    if inside and not (value == low and ends[0] == "(" or value == high and ends[1] == ")"):
        return value.item() if isinstance(value, np.generic) else value
    limits = {"[]": "from {} to {}", "(]": "above {}, at most {}", "[)": "from {} to below {}",
              "()": "between {} and {}"}[ends]  # fmt: skip
    if high == math.inf:
        limits = "above {}" if ends[0] == "(" else "of at least {}"
    kind = "a whole number" if whole else "a number"
    limits = limits.format(f"{low:,}", f"{high:,}")
    raise InputError(f"{name} is {shortened(value)}: give {kind} {limits}.")


def check_numbers(
    name: str, values: Any, low: float, high: float, whole: bool = False, ends: str = "[]",
    count: int = 0,
) -> list:  # fmt: skip
    """`check_number` for each of several values, ``count`` of them where it is above 0."""
    found = None if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    if found is None or count and len(found) != count:
        wanted = f"{count} numbers" if count else "several numbers, such as [1, 3]"
        raise InputError(f"{name} is {shortened(values)}: give {wanted}.")
    return [check_number(name, value, low, high, whole, ends) for value in found]


def check_field(
    settings: Any, name: str, low: float, high: float, whole: bool = False, ends: str = "[]"
) -> None:
    """`check_number` for a field of a frozen dataclass, which then holds what is returned."""
    value = check_number(name, getattr(settings, name), low, high, whole, ends)
    object.__setattr__(settings, name, value)


def check_images(what: str, /, **arrays: np.ndarray) -> None:
    """Refuse anything but stored images, uint8 (N, H, W, C) with C = 1 (gray) or 3 (RGB).

    Raises:
        InputError: another type or shape, or shapes that differ. It begins with ``what``.
    """
    for name, array in arrays.items():
        kind = getattr(array, "dtype", type(array).__name__)
        shape = getattr(array, "shape", ())
        if kind != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise InputError(
                f"{what} must be uint8 of shape (N, H, W, 1) or (N, H, W, 3): {name} is {kind} of "
                f"shape {tuple(shape)}."
            )
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} has {array.shape}" for name, array in arrays.items())
        raise InputError(f"{what} must have one shape: {shapes}.")
