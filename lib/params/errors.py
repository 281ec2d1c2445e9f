"""The one exception users see for bad input, and the search for the name they meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 16  # a longer list of names would bury the hint


class InputError(ValueError):
    """Bad input. The message is one sentence: what is wrong, where, and what would be right."""


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Error for a name that is not in ``known``, naming the nearest one that is.

    Args:
        kind: what the name stands for, such as ``"data set"``.
        name: what was given.
        known: the names that would be right.
    """
    known = sorted(known)
    near = get_close_matches(str(name).lower(), known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else "none is known."
    if len(known) <= LISTED:
        hint += f" Known are {', '.join(known)}."
    return InputError(f"Unknown {kind} {name!r}: {hint}")
