"""What users give: words of command lines, variables of notebooks, protocol files, paths."""

import json
import os
import subprocess
import sys

import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from lib import params
from lib.params import files, protocols
from lib.params.given import from_config, make_words

MAKEFILE = "all:\n\t@printf '%s' \"$$MAKEFLAGS\"\n"
# What a file system allows and make takes on its command line.
SIGNS = " '\"$&%#()[]{}\\;=,äß雪~!*?|<>`"


@pytest.fixture(scope="module")
def makefile(tmp_path_factory):
    path = tmp_path_factory.mktemp("make") / "Makefile"
    path.write_text(MAKEFILE)
    return path


def flags(makefile, *words):
    """What make tells its recipes of its command line."""
    command = ["make", "--no-print-directory", "-f", str(makefile), *words]
    clean = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout


def test_values_reach_us_through_make_as_they_were_written(makefile):
    words = [f"v{place}=a{sign}b" for place, sign in enumerate(SIGNS)] + ["seed=010"]
    assert sorted(make_words(flags(makefile, *words, "-j2"))) == sorted(words)


def test_make_may_be_given_no_values_options_alone_and_dollars_its_own_way(makefile):
    assert make_words(flags(makefile)) == make_words(flags(makefile, "-k", "-j3")) == []
    assert make_words(flags(makefile, "runs=a$$b")) == make_words(flags(makefile, "runs=a$b"))


def through_snakemake(word):
    config = pytest.importorskip("snakemake.cli").parse_config([word])
    return from_config(config, [word])


def through_make(word):
    words = json.dumps([word], ensure_ascii=False)
    config = pytest.importorskip("snakemake.cli").parse_config([f"words={words}"])
    return from_config(config, [f"words={words}"])


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("runs=010", "010"), ("runs=1e3", "1e3"), ("runs=yes", "yes"), ("runs=null", "null"),
        ("runs=True", "True"), ("runs=[1]", "[1]"), ("runs=#x", "#x"), ("runs=my runs", "my runs"),
        ("runs=a//b/", "a/b"), ("seed=010", 10), ("classifier_learning_rate=1e-3", 0.001),
        ("classifier_include_normal=off", False), ("data_download=0", False), ("seed=True", None),
        ("seed=1e3", None), ("seed=null", None), ("denoiser_noise=nan", None),
        ("denoiser_noise=inf", None), ("attack_pixels=[1,1]", None), ("seed=4294967296", None),
        ("seed=-1", None), ("runs=a\x07b", None), ("attack_pixels={a: 1}", None),
        ("SEED=3", 3), ("seed=1_000", 1000), ("data_size=64", 64), ("attack_pixels=[1, 2]", [1, 2]),
        ("attack_dither=[0.1,1]", [0.1, 1.0]), ("denoiser_names=[dae]", ["dae"]),
        ("denoiser_names=[]", []), ("attackers_defenses=[dae+patches]", ["dae+patches"]),
        ("attack_batch=", 0), ("attack_pixels=1", None), ("seed=x", None), ("seed=1.5", None),
        ("data_size=065", None), ("attack_pixels=[1", None), ("attack_pixels=[x]", None),
    ],
)  # fmt: skip
def test_a_word_has_one_meaning_in_every_command(word, value):
    name = word.partition("=")[0].lower()
    ways = [params.from_words([word]), through_make(word)]
    if "#" not in word:  # which Snakemake itself takes for a remark
        ways.append(through_snakemake(word))
    for way in ways:
        if value is None:
            with refused():
                params.load("demo", **way)
        else:
            found = params.load("demo", **way)
            assert getattr(found, name) == value and type(getattr(found, name)) is type(value)


@pytest.mark.parametrize("value", [0.5, True, 1e3])
def test_a_number_for_a_text_is_refused_because_nobody_knows_how_it_was_written(value):
    for name in ("runs", "protocol"):
        with refused(name):
            params.load(**{name: value})
    assert params.load(runs=2025).runs == "2025"


@pytest.mark.parametrize("words", [["seed=1", "SEED=2"], ["oct"], ["=1"]])
def test_a_word_that_says_nothing_or_twice_is_refused(words):
    with refused():
        params.from_words(words)


NUMBERS = [
    name for name, field in params.Parameters.model_fields.items()
    if field.annotation in (int, float)
]  # fmt: skip


@given(st.sampled_from(NUMBERS), st.sampled_from([2**63, -1, "nan", "inf", "-inf", 10**400, 1e300]))
def test_every_number_has_bounds(name, value):
    with refused(name):
        params.load("demo", **{name: value})


@pytest.mark.parametrize("place", [".", "..", "lib/.."])
def test_runs_and_results_are_never_the_project_itself(place):
    for name in ("runs", "results"):
        with refused(name):
            params.load(**{name: place})


@pytest.mark.parametrize(
    ("runs", "results"),
    [("results", "results"), ("results/x", "results"), ("x", "x/results"), ("x/../y", "./y")],
)
def test_runs_never_lie_in_the_record_nor_the_record_in_runs(runs, results):
    with refused(results.removeprefix("./")):
        params.load(runs=runs, results=results)


def test_folders_beside_each_other_may_begin_with_one_name():
    p = params.load(runs="results-2", results="results")
    assert (p.runs, p.results) == ("results-2", "results")


def notebook(*cells, before=""):
    """Parameters that the last cell of a notebook finds; ``before`` is run by no cell."""
    shell = InteractiveShell()
    shell.run_cell(before, store_history=False)
    read = "from lib import params\nfound = params.from_notebook(globals())"
    for cell in (*cells, read):
        result = shell.run_cell(cell, store_history=True)
        if result.error_in_exec:
            raise result.error_in_exec
    return shell.user_ns["found"]


def test_what_startup_files_and_imports_define_is_no_parameter():
    cells = ["seed = None\ndataset = 'oct'", "from string import digits", "seed = 5"]
    found = notebook(*cells, before="DATA = 1\nimport os\ndevice = 'xpu'\nseed = 7")
    assert (found.dataset, found.seed, found.device) == ("oct", 5, "cpu")
    with refused("'attack_population'"):
        notebook("dataset = 'oct'", "atack_population = 5", before="DATA = 1")


PROTOCOLS = {
    "": 1, "- 1": 1, "base: demo\noverrides: {octt: {seed: 1}}": 2, "base: demo\nseed:\t1": 2,
    "base: demo\nsed: 1": 2, "base: demo\n\nseed: x": 3, "base: nope": 1, "base: mine": 1,
    "base: demo\nseed: 1\nseed: 2": 3, "base: demo\ndevice:": 2, "base: compact-28": 1,
    "base: demo\ndataset: oct": 2, "base: demo\noverrides: [oct]": 2, "base: [demo]": 1,
    "base: demo\noverrides:\n  oct: 3": 3,
    "base: demo\noverrides:\n  oct:\n    classifier_epochs: 0": 4, "base: demo\nruns: \udcff": 2,
    "base: demo\noverrides:\n  oct:\n    nothing: 0": 4, "base: demo\nruns: 'a": 2,
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), PROTOCOLS.items())
def test_a_fault_in_a_protocol_file_is_told_with_its_line(text, line, tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "FOLDER", copied(tmp_path))
    path = tmp_path / "protocols" / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with refused(f"params/protocols/mine.yaml, line {line}"):
        params.load("mine")


def copied(place):
    for kind in ("protocols", "datasets", "classifiers"):
        (place / kind).mkdir()
        for path in (params.ROOT / "params" / kind).glob("*.yaml"):
            (place / kind / path.name).write_bytes(path.read_bytes())
    return place


@pytest.mark.parametrize("name", ["2025", "010", "1e3", "yes", "null", "my own", "größe"])
def test_a_protocol_is_found_whatever_yaml_takes_its_name_for(name, tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "FOLDER", copied(tmp_path))
    content = "\ufeffbase: demo\nruns: 010\nseed: 010\noverrides:\n"
    (tmp_path / "protocols" / f"{name}.yaml").write_text(content, encoding="utf-8")
    for way in (params.from_words, through_snakemake, through_make):
        found = params.load(**way([f"protocol={name}"] if way is params.from_words
                                  else f"protocol={name}"))  # fmt: skip
        assert (found.protocol, found.runs, found.seed) == (name, "010", 10)


@pytest.mark.parametrize("name", ["a+b", "results", "demo-Copy1", ".hidden"])
def test_a_protocol_cannot_have_every_name(name, tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "FOLDER", copied(tmp_path))
    (tmp_path / "protocols" / f"{name}.yaml").write_text("base: demo\n")
    with refused("params/protocols/"):
        params.load(name)


LEFT = ("._a.yaml", ".a.yaml", ".#a.yaml", "#a.yaml#", "a.yaml~", ".a.yaml.swp", "a-Copy1.yaml",
        "a-Copy.yaml", "~$a.yaml", ".ipynb_checkpoints/a.yaml", "a copy.yaml")  # fmt: skip


def test_files_that_editors_and_jupyter_leave_are_not_seen(tmp_path):
    for name in (*LEFT, "a.yaml", "b/c.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff")
    assert [path.name for path in files.visible(tmp_path, "*.yaml")] == ["a.yaml"]
    assert [path.name for path in files.visible(tmp_path, "**/*")] == ["a.yaml", "b", "c.yaml"]
    hidden = tmp_path / ".hidden"  # a clone may lie in a hidden folder
    (hidden / "x").mkdir(parents=True)
    assert files.visible(hidden, "*") == [hidden / "x"]


def test_broken_files_that_are_not_seen_disturb_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "FOLDER", copied(tmp_path))
    before = params.names("protocols")
    for name in LEFT:
        (tmp_path / "protocols" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "protocols" / name).write_bytes(b"\xff\x00")
    assert params.names("protocols") == before
    assert params.variants("compact") and params.load("demo").protocol == "demo"


def test_the_command_line_prints_what_make_would_use():
    command = [sys.executable, "-m", "lib.params", "DATASET=oct", "attack_pixels=[1]", "runs=é ü"]
    result = subprocess.run(
        command, cwd=params.ROOT, capture_output=True, env=os.environ | {"LC_ALL": "C"}
    )
    assert result.returncode == 0, result.stderr
