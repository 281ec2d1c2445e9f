"""The rooms of lib: each imports from those above it, and no import goes round or outside."""

import ast
from graphlib import TopologicalSorter

import pytest

from lib.params import ROOT

ROOMS = ("params", "data", "metrics", "models", "attack", "defense", "figures", "evidence")
OUTSIDE = {"notebooks", "book", "benchmarks", "tests"}


def named(path):
    """Dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {named(path): path for path in sorted((ROOT / "lib").rglob("*.py"))}


def imported(code, package):
    """Modules that a piece of Python imports, also inside functions."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(base if node.level else []), *([node.module] if node.module else [])]
            for alias in node.names:
                full = ".".join([*parts, alias.name])
                yield full if full in FILES else ".".join(parts)


def imports(name):
    """Modules that one of ours imports."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return set(imported(path.read_text(), package))


def room(name):
    """Room of a module of ours; None for lib itself."""
    return name.split(".")[1] if name.startswith("lib.") else None


def test_lib_has_these_rooms():
    assert {path.name for path in (ROOT / "lib").iterdir() if any(path.glob("*.py"))} == set(ROOMS)
    assert {room(name) for name in FILES} == {None, *ROOMS}


@pytest.mark.parametrize("place", range(len(ROOMS)))
def test_a_room_imports_only_from_rooms_above_it(place):
    allowed = {None, *ROOMS[: place + 1]}
    below = {
        f"{name} imports {other}"
        for name in FILES
        if room(name) == ROOMS[place]
        for other in imports(name)
        if other.split(".")[0] == "lib" and room(other) not in allowed
    }
    assert not below


def test_no_import_goes_round():
    ours = {name: {other for other in imports(name) if other in FILES} for name in FILES}
    assert all(name not in others for name, others in ours.items())
    assert len(list(TopologicalSorter(ours).static_order())) == len(FILES)


def test_lib_imports_nothing_that_is_built_on_it():
    out = {
        f"{name} imports {other}"
        for name in FILES
        for other in imports(name)
        if other.split(".")[0] in OUTSIDE
    }
    assert not out


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from lib.params import ROOT, files", {"lib.params", "lib.params.files"}),
        ("def f():\n    import lib.data.dataset as d", {"lib.data.dataset"}),
        ("from . import files\nfrom .errors import InputError",
         {"lib.params.files", "lib.params.errors"}),
        ("from book import results_readme", {"book"}),
    ],
)  # fmt: skip
def test_all_kinds_of_import_are_seen(code, found):
    assert set(imported(code, "lib.params")) == found
