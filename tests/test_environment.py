"""pyproject, lock file and environment.yml describe one environment."""

import ast
import re
import tomllib

import yaml
from packaging.requirements import Requirement
from setuptools import find_namespace_packages

from lib.params import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]


def test_lock_pins_every_package_exactly_and_names_no_address():
    for requirement in LOCK:
        assert requirement.url is None
        assert [item.operator for item in requirement.specifier] == ["=="], requirement
    assert not re.search(r"https?:|file:|--", (ROOT / "requirements.lock").read_text())


def test_lock_satisfies_pyproject_on_every_python():
    for line in PYPROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        pinned = [item for item in LOCK if item.name.lower() == wanted.name.lower()]
        assert pinned, f"{line} is not in requirements.lock"
        for item in pinned:
            version = next(iter(item.specifier)).version
            assert wanted.specifier.contains(version), f"{item} does not satisfy {line}"


def test_conda_installs_the_lock_and_a_python_that_fits():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item["pip"] for item in content["dependencies"] if isinstance(item, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    python = next(item for item in content["dependencies"] if str(item).startswith("python="))
    version = python.removeprefix("python=")
    assert Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier.contains(
        version
    )
    make = (ROOT / "Makefile").read_text()
    assert PYPROJECT["project"]["requires-python"] == ">=3.11" and "(3, 11)" in make


def test_installed_packages_are_the_locked_ones():
    from importlib.metadata import PackageNotFoundError, version

    for requirement in LOCK:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = None
        assert found is not None and requirement.specifier.contains(found), requirement


def test_every_package_folder_is_packaged():
    folders = {"lib"} | {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in (ROOT / "lib").rglob("__init__.py")
    }
    find = PYPROJECT["tool"]["setuptools"]["packages"]["find"]
    assert folders | {"benchmarks", "book", "notebooks.explorer"} <= set(
        find_namespace_packages(str(ROOT), include=find["include"])
    )


def test_modules_can_be_held_in_the_head():
    for path in (ROOT / "lib").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 330, path


OURS = {
    path: path.read_text(encoding="utf-8")
    for part in ("lib", "book", "benchmarks", "notebooks")
    for path in (ROOT / part).rglob("*.py")
}


def calls():
    """Calls in our files: place, the function's dotted name, and keyword arguments as text."""
    for path, text in OURS.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                yield f"{path}, line {node.lineno}", ast.unparse(node.func), words


def test_text_is_utf8_whatever_the_locale_and_nothing_is_unpickled():
    wrong = []
    for place, name, words in calls():
        last = name.rpartition(".")[2]
        text = last in ("read_text", "write_text") or name == "open"
        text |= name.startswith("subprocess.") and "text" in words
        if text and "encoding" not in words:
            wrong.append(f"{place}: {name} without an encoding")
        if name in ("torch.load", "eval", "exec", "os.system") or "shell" in words:
            wrong.append(f"{place}: {name} runs what it is given")
        if name == "np.load" and words.get("allow_pickle") != "False":
            wrong.append(f"{place}: {name} without allow_pickle=False")
    for path, text in OURS.items():
        names = re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)
        if found := {"pickle", "marshal", "shelve", "dill", "joblib"} & {*names}:
            wrong.append(f"{path}: imports {found}")
    assert len(OURS) > 100 and wrong == []
