"""The files of ``params/``: protocols, data sets, classifiers."""

from functools import cache
from typing import Any

import yaml

from lib.params.errors import InputError, unknown
from lib.params.files import ROOT

FOLDER = ROOT / "params"


def names(kind: str) -> list[str]:
    """Names of the files in ``params/<kind>``; kind is protocols, datasets or classifiers."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))


@cache
def read(kind: str, name: str) -> dict[str, Any]:
    """One YAML file of ``params/<kind>`` as a dictionary.

    Raises:
        InputError: no such file; the message names the nearest one.
    """
    if name not in names(kind):
        raise unknown({"datasets": "data set"}.get(kind, kind.rstrip("s")), name, names(kind))
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


def base(protocol: str) -> str:
    """The protocol that a variant changes in a few values; a protocol of its own is its own base.

    Raises:
        InputError: no such file, or a base that is itself a variant.
    """
    named = read("protocols", protocol).get("base", protocol)
    if named != protocol and "base" in read("protocols", named):
        raise InputError(
            f"Protocol {protocol!r} names {named!r} as its base, which is a variant itself: name "
            "the base of that one."
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
        overrides = own.pop("overrides", {})
        merged |= own
        for one in special:
            merged |= overrides.get(one, {})
    return merged
