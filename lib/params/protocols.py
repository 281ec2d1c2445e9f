"""The files of ``params/``: protocols, data sets, classifiers."""

from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from lib.params.errors import InputError, first_line, unknown
from lib.params.files import ROOT, visible

FOLDER = ROOT / "params"
RESERVED = "results"  # in the folder of runs: the pages of the record
_BLANK = ("", "~", "null", "Null", "NULL")
_KINDS = {"datasets": "data set", "protocols": "protocol", "classifiers": "classifier"}


def names(kind: str) -> list[str]:
    """Names of the files in ``params/<kind>``; kind is protocols, datasets or classifiers."""
    return [path.stem for path in visible(FOLDER / kind, "*.yaml") if path.is_file()]


def read(kind: str, name: str) -> dict[str, Any]:
    """One YAML file of ``params/<kind>`` as a dictionary.

    Values of a protocol are texts as they are written, lists of texts, or None: a parameter's type
    says how its text is read, here as on a command line.

    Raises:
        InputError: no such file (the message names the nearest one), or one that is no YAML mapping
            with each name once; the message names file and line.
    """
    return _parsed(kind, name)[0]


def about(protocol: str) -> str:
    """What a protocol is for: the comment at the top of its file, on one line."""
    lines = (FOLDER / "protocols" / f"{protocol}.yaml").read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment)


def base(protocol: str) -> str:
    """The protocol that a variant changes in a few values; a protocol of its own is its own base.

    Raises:
        InputError: no such file, or a base that is itself a variant.
    """
    content = read("protocols", protocol)
    if "base" not in content:
        return protocol
    named, line = content["base"], _where(protocol, "base")
    if not isinstance(named, str) or named not in names("protocols"):
        others = [name for name in names("protocols") if name != protocol]
        raise InputError(f"{line}{unknown('base', named, others)}")
    if named == protocol:
        raise InputError(f"{line}Protocol {protocol!r} names itself as its base: name another.")
    if "base" in read("protocols", named):
        raise InputError(
            f"{line}Protocol {protocol!r} names {named!r} as its base, which is a variant itself: "
            "name the base of that one."
        )
    return named


def variants(protocol: str) -> list[str]:
    """Names of the protocols that have this one as their base, without itself."""
    return [name for name in names("protocols") if name != protocol == base(name)]


def values(protocol: str, *special: str) -> dict[str, Any]:
    """Values of a protocol file on top of its base's, and what both have for ``special``."""
    merged: dict[str, Any] = {}
    for each in dict.fromkeys((base(protocol), protocol)):
        own = dict(read("protocols", each))
        own.pop("base", None)
        overrides = _overrides(each, own.pop("overrides", None))
        if chosen := {"protocol", "dataset", "classifier"} & own.keys():
            name = min(chosen)
            raise InputError(
                f"{_where(each, name)}{name} is set on the command line, not in a protocol."
            )
        merged |= own
        for one in special:
            merged |= overrides.get(one, {})
    return merged


def place(protocol: str, name: str = "", *special: str) -> str:
    """File and line of the value that `values` has of ``name``, as the beginning of a message."""
    for each in dict.fromkeys((protocol, base(protocol))):
        lines = _parsed("protocols", each)[1]
        for keys in (*(("overrides", one, name) for one in reversed(special)), (name,)):
            if keys in lines:
                return _where(each, *keys)
    return _where(protocol)


def _overrides(protocol: str, content: Any) -> dict[str, dict[str, Any]]:
    """Values for single data sets and classifiers; blank ones are none."""
    known = (*names("datasets"), *names("classifiers"))
    if not isinstance(content, dict | None):
        raise InputError(
            f"{_where(protocol, 'overrides')}overrides holds values for data sets or classifiers, "
            "as in `overrides: {oct: {classifier_epochs: 3}}`."
        )
    for name, of in (content or {}).items():
        line = _where(protocol, "overrides", name)
        if name not in known:
            raise InputError(f"{line}{unknown('data set or classifier', name, known)}")
        if not isinstance(of, dict | None):
            raise InputError(f"{line}overrides of {name} must be values by name, not {of!r}.")
    return {name: of or {} for name, of in (content or {}).items()}


def _where(protocol: str, *keys: str) -> str:
    line = _parsed("protocols", protocol)[1].get(keys)
    return f"params/protocols/{protocol}.yaml{f', line {line}' if line else ''}: "


def _parsed(kind: str, name: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """Content of a file, and the line of each key by the keys that lead to it."""
    path, shown = FOLDER / kind / f"{name}.yaml", f"params/{kind}/{name}.yaml"
    if name not in names(kind):
        if "/" not in name and path.is_file():
            raise InputError(f"{shown} is named like a hidden file or a copy: rename it.")
        raise unknown(_KINDS[kind], name, names(kind))
    if kind == "protocols" and ("+" in name or name == RESERVED):
        raise InputError(
            f"{shown}: a protocol cannot be called {name!r}: the folder {RESERVED!r} is taken, and "
            "+ marks changed values in the name of a run."
        )
    return _content(path, path.stat().st_mtime_ns, shown, kind != "protocols")


@cache
def _content(
    path: Path, changed: int, shown: str, typed: bool
) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """`_parsed` of a file that was last changed at a time, for it may be edited while this runs."""
    lines: dict[tuple[str, ...], int] = {}
    try:
        root = yaml.compose(path.read_bytes().decode("utf-8-sig"), yaml.SafeLoader)
        content = None if root is None else _built(root, typed, shown, (), lines)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{shown}, line {line}: not UTF-8: save the file as UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"{shown}, line {mark.line + 1}: {error.problem}.") from None
    except RecursionError:
        raise InputError(f"{shown} cannot be read: a value contains itself.") from None
    except (yaml.YAMLError, OSError) as error:
        raise InputError(f"{shown} cannot be read: {first_line(error)}.") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{shown}, line 1: the file must hold lines of the form `name: value`.")
    return content, lines


def _built(
    node: yaml.Node, typed: bool, shown: str, keys: tuple[str, ...],
    lines: dict[tuple[str, ...], int],
) -> Any:  # fmt: skip
    """A YAML node as a value: of the type that YAML finds, or as text."""
    if isinstance(node, yaml.SequenceNode):
        return [_built(item, typed, shown, keys, lines) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in _BLANK:
            return None
        return yaml.constructor.SafeConstructor().construct_object(node) if typed else node.value
    content = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, key.value
        if not isinstance(name, str):
            raise InputError(f"{shown}, line {line}: a name is a word, not a list.")
        if name in content:
            raise InputError(
                f"{shown}, line {line}: {name} is given twice, first in line "
                f"{lines[(*keys, name)]}: delete one."
            )
        lines[(*keys, name)] = line
        content[name] = _built(value, typed, shown, (*keys, name), lines)
    return content
