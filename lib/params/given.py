"""Parameters as a user gives them: variables of a notebook, or words of a command line."""

import ast
import json
import shlex
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import FunctionType, ModuleType
from typing import Any

from lib.params.errors import InputError
from lib.params.loading import load
from lib.params.parameters import Parameters


def from_notebook(namespace: dict[str, Any]) -> Parameters:
    """Parameters out of ``globals()`` of a notebook that has defined nothing else so far.

    Every variable that a cell has set before the first call must be a parameter; papermill alone
    would only warn of a misspelled one. What start-up files and imports define is no cell's.
    Variables that appear later are the notebook's own, so the cell can be run again. What ``auto``
    stands for is filled in, so that the record says what was computed. Errors are those of `load`.
    """
    cells = [source for source in namespace.get("In") or () if source]
    own = _assigned(cells) if cells else namespace.keys() - {"In", "Out"}  # not in a kernel
    given = {
        name: namespace[name]
        for name in own & namespace.keys()
        if not name.startswith("_")
        and not isinstance(namespace[name], ModuleType | FunctionType | type | Parameters)
    }
    first = namespace.setdefault("_parameter_names", frozenset(given))
    known = Parameters.model_fields.keys()
    p = load(**{name: value for name, value in given.items() if name in known or name in first})
    from lib.params.device import settled  # imports torch, for which a wrong name need not wait

    return settled(p)


def _assigned(cells: Iterable[str]) -> set[str]:
    """Names that cells assign a value to, each by itself and outside of any block."""
    return {
        target.id
        for source in cells
        for line in _lines(source)
        if isinstance(line, ast.Assign | ast.AnnAssign)
        for target in getattr(line, "targets", None) or [line.target]
        if isinstance(target, ast.Name)
    }


def _lines(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # which the kernel has shown
        return []


def from_words(words: Iterable[str]) -> dict[str, str | None]:
    """``["DATASET=oct", "seed=1"]`` as a dictionary: names in any case, values as text for `load`.

    Raises:
        InputError: a word without a name or without ``=``, or a name given twice.
    """
    given: dict[str, str | None] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise InputError(f"{word!r} is not of the form NAME=VALUE.")
        if name.lower() in given:
            raise InputError(f"{name} is given twice: write it once.")
        given[name.lower()] = value or None
    return given


def from_config(config: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Parameters given to Snakemake.

    ``config`` is what Snakemake has read from files and from its command line; what it takes for
    numbers has lost how it was written. ``words`` are those of ``--config`` as they were written.
    Called by make, ``config["words"]`` is the whole command line of make, as JSON or a list. Errors
    are those of `from_words`.
    """
    if "words" in config:
        of_make = config["words"]
        return from_words(json.loads(of_make) if isinstance(of_make, str) else of_make)
    return {name.lower(): value for name, value in config.items()} | from_words(words)


def only(given: Iterable[str], known: Iterable[str], command: str) -> None:
    """Refuse a name (in small letters) that a command does not take; the nearest one is named."""
    known = list(known)
    for name in given:
        if name in known:
            continue
        near = [each for each in known if each.endswith(f"_{name}")]
        near = near or get_close_matches(name, known, n=1, cutoff=0.6)
        takes = f"it takes {', '.join(known)}" if known else "it takes no values"
        hint = f"did you mean {near[0]!r}?" if near else f"{takes}."
        raise InputError(f"{command} takes no {name!r}: {hint}")


def make_words(flags: str) -> list[str]:
    """The words ``NAME=VALUE`` of make's command line, out of its ``MAKEFLAGS``.

    make puts a backslash before blanks and backslashes and doubles ``$``. Its own lists, such as
    ``MAKEOVERRIDES``, split values at their blanks. A ``$`` counts as written once or, as make
    wants it, twice.
    """
    given = f" {flags}".partition(" -- ")[2].replace("$$", "$").replace("$$", "$")
    words = shlex.shlex(given, posix=True)
    words.whitespace, words.whitespace_split, words.quotes, words.commenters = " \t", True, "", ""
    return list(words)
