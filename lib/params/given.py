"""Parameters as a user gives them: variables of a notebook, or words of a command line."""

from types import FunctionType, ModuleType
from typing import Any

from lib.params.errors import InputError
from lib.params.parameters import Parameters, load


def from_notebook(namespace: dict[str, Any]) -> Parameters:
    """Parameters out of a notebook's global variables.

    Every variable that the user or papermill has set before the first call must be a parameter;
    papermill alone would only warn of a misspelled one. Variables that appear later are the
    notebook's own, so the cell can be run again. What ``auto`` stands for is filled in, so that
    the record says what was computed.

    Args:
        namespace: ``globals()`` of the notebook, before it defines anything but parameters.

    Raises:
        InputError: as `load`.
    """
    own = {"In", "Out", "exit", "quit", "open", "get_ipython"}  # IPython's
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in own
        and not isinstance(value, ModuleType | FunctionType | type | Parameters)
    }
    first = namespace.setdefault("_parameter_names", frozenset(given))
    known = Parameters.model_fields.keys()
    p = load(**{name: value for name, value in given.items() if name in known or name in first})
    from lib.params.device import settled  # imports torch, for which a wrong name need not wait

    return settled(p)


def from_words(words: list[str]) -> dict[str, str | None]:
    """``["DATASET=oct", "seed=1"]`` as a dictionary: names in any case, values as text for `load`.

    Raises:
        InputError: a word without ``=``.
    """
    given = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise InputError(f"{word!r} is no parameter: write NAME=VALUE.")
        given[name.lower()] = value or None
    return given
