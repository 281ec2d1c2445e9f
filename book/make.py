"""What the Makefile's targets do: ``python -m book.make TARGET [NAME=VALUE ...]``.

make gives values in its own flags, where they are read whole (`lib.params.given.make_words`),
whatever signs are in them. Every target takes the names in `TAKES` and refuses all others.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from book.say import START, say
from lib import params
from lib.params.errors import InputError, unknown
from lib.params.files import shown
from lib.params.given import make_words, only

ROOT = params.ROOT
LOGS = ROOT / "build" / "logs"
# PYTHON is make's own: the interpreter that .venv is made with.
TAKES: dict[str, tuple[str, ...]] = {
    "book": (*params.Parameters.model_fields, "jobs", "force", "profile"),
    "run": (*params.Parameters.model_fields, "jobs", "force", "profile"),
    "data": ("source", "size", "dataset", "data_root"),
    "record": ("protocol", "runs", "results"),
    "verify": ("runs", "results", "data_root", "archive"),
    "reproduce": ("dataset", "classifier", "protocol", "runs", "results", "data_root", "jobs"),
    "archive": ("runs", "results"),
    "weights": ("protocol", "runs", "results"),
    "lab": ("options",),
    "notebooks": ("jobs",),
    "test": ("jobs",),
    "check": ("jobs",),
}
# Names that users write in capitals; they may be in the environment, too.
IN_CAPITALS = (
    "PROTOCOL", "DATASET", "CLASSIFIER", "SOURCE", "SIZE", "JOBS", "FORCE", "PROFILE", "ARCHIVE",
)  # fmt: skip
SOURCE = "../shared/data"  # of `make data`
CHECKED = ("tests/test_site_pages.py", "tests/test_lab.py")
PATIENCE = 3, 30  # seconds for Snakemake to end by itself, and after it was asked
# What Snakemake says besides the reason of a failure.
_NOISE = re.compile(
    r"\s*$|\s+(File|\[)|(Workflow|Input|Rule)\w* in (file|rule)|Assuming|Building|Using|Provided|"
    r"Select jobs|Execute \d|Complete log|Shutting down|Exiting|Traceback|host:|\[\w{3} \w{3} "
)
PLANNED = "Building DAG"  # what Snakemake says when it has read the parameters
_NAMED = re.compile(r"[\w.]*(Error|Exception|Interrupt): \S")


def main(words: list[str]) -> int:
    """Do what a target, the first of the words, is for; the exit code.

    Raises:
        InputError: no target, a name that it does not take, or a value that is impossible.
    """
    target, *values = words or [""]
    if target not in TAKES:
        raise unknown("target", target, TAKES)
    given = params.from_words([*values, *make_words(os.environ.get("MAKEFLAGS", ""))])
    # Not for the programs that are called, which may be make again.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"):
        os.environ.pop(name, None)
    given.pop("python", None)
    _check(target, given)
    for name in IN_CAPITALS:
        if name in os.environ and name.lower() in {*TAKES[target]} - given.keys():
            say(f"The environment variable {name} is not used: write make {target} {name}=VALUE.")
    os.environ.setdefault(START, str(int(time.time())))
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join((here, os.environ.get("PATH", os.defpath)))
    signal.signal(signal.SIGTERM, _interrupt)
    given = {name: value for name, value in given.items() if value is not None}
    return {
        "book": run, "run": run, "data": data, "record": evidence, "verify": evidence,
        "reproduce": reproduce, "archive": packed, "weights": packed,
        "lab": lab, "notebooks": notebooks, "test": tests, "check": tests,
    }[target](target, given)  # fmt: skip


def _check(target: str, given: dict[str, Any]) -> None:
    for name in given:
        if not any(name in takes for takes in TAKES.values()):
            kind = "parameter" if "seed" in TAKES[target] else "variable"
            raise unknown(kind, name, TAKES[target])
    only(given, TAKES[target], f"make {target}")
    if not re.fullmatch(r"all|[1-9][0-9]{0,4}", jobs := given.get("jobs") or "all"):
        raise InputError(f"JOBS must be a number of cores or all, not {jobs!r}.")
    if (force := given.get("force") or "1") not in ("0", "1"):
        raise InputError(f"FORCE must be 1 or 0, not {force!r}.")
    profiles = [path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml")]
    if (profile := given.get("profile")) and profile not in profiles:
        raise unknown("profile", profile, profiles)
    if profile and shlex.quote(str(ROOT)) != str(ROOT):  # Snakemake writes it into jobs as it is
        raise InputError(
            "On a cluster the path of the project must have letters, digits and ._-+ only, not "
            f"{ROOT}: move the project."
        )


def run(target: str, given: dict[str, str]) -> int:
    """Execute the notebooks of the runs asked for, then build the site of their folder."""
    jobs, force = given.pop("jobs", ""), given.pop("force", "0") == "1"
    where = ["--cores", jobs or "all"]
    if profile := given.pop("profile", ""):  # which says how many jobs; cores are those of a node
        where = ["--profile", f"profiles/{profile}", *(["--jobs", jobs] if jobs else [])]
    p = params.load_all(**given)[0]
    words = json.dumps([f"{name}={value}" for name, value in given.items()], ensure_ascii=False)
    snakemake(*where, *["--forceall"] * force, "--config", f"words={words}")
    from book import build  # takes a while, for which a misspelled name need not wait

    build.site(ROOT / p.runs, ROOT / p.results)
    return 0


def notebooks(target: str, given: dict[str, str]) -> int:
    """Write the text notebooks as .ipynb files."""
    snakemake("--cores", given.get("jobs", "all"), "--", "notebooks")
    return 0


def data(target: str, given: dict[str, str]) -> int:
    """Files of real images out of other public copies."""
    places = {name: given[name] for name in ("dataset", "data_root") if name in given}
    p = params.load(**places)
    root = ROOT / (p.data_root if "data_root" in given else "data")
    return _python(
        "lib.data.rebuild", f"--source={os.path.expanduser(given.get('source', SOURCE))}",
        f"--root={root}", f"--size={given.get('size', '64')}",
        *([given["dataset"]] if "dataset" in given else ()),
    )  # fmt: skip


def evidence(target: str, given: dict[str, str]) -> int:
    """Record what finished runs found, or check the record; then the texts that follow from it.

    With ``archive`` such a folder is checked instead.
    """
    if "archive" in given:
        only(given, ["archive"], "make verify ARCHIVE=folder")
        from book import archive

        archive.check(Path(given["archive"]).expanduser())
        return 0
    words = [f"{name}={value}" for name, value in given.items()]
    results = [word for word in words if word.startswith("results=")]
    return _python("lib.evidence", target, *words) or _python("book.summaries", target, *results)


def reproduce(target: str, given: dict[str, str]) -> int:
    """One recorded run again, from the data, and which of its numbers agree with the record."""
    from book import reproduce as again

    jobs = given.pop("jobs", "all")
    plan = again.plan(given)
    words = json.dumps([f"{name}={value}" for name, value in plan.given.items()])
    snakemake("--cores", jobs, "--config", f"words={words}", "--", *plan.pages)
    table = again.compare(plan)
    print(again.text(table))
    say(f"table: {shown(again.keep(table, ROOT / plan.p.results))}")
    return 0


def packed(target: str, given: dict[str, str]) -> int:
    """One folder for a repository, or weights to use elsewhere."""
    from book import archive, weights

    (archive if target == "archive" else weights).main(given)
    return 0


def lab(target: str, given: dict[str, str]) -> int:
    """JupyterLab on the text notebooks; .jupyter makes a click open one as a notebook."""
    before = os.environ.get("JUPYTER_CONFIG_PATH")
    paths = (str(ROOT / ".jupyter"), *([before] if before else ()))
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    # JupyterLab refuses root, who in a container is the only user.
    root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    words = ["--notebook-dir=.", *root, *shlex.split(given.get("options", ""))]
    return _become("jupyterlab", *words, "notebooks/explore.md")


def tests(target: str, given: dict[str, str]) -> int:
    """The test suite without what needs a browser and a built site, or that alone."""
    jobs = given.get("jobs", "2").replace("all", "auto")
    files = CHECKED if target == "check" else [f"--ignore={name}" for name in CHECKED]
    return _become("pytest", "-n", jobs, "--dist", "loadfile", "--no-loadscope-reorder", *files)


def _python(module: str, *words: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT).returncode


def _become(module: str, *words: str) -> int:
    """Replace this process by a program that handles interruptions itself."""
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", module, *words])


def snakemake(*words: str) -> None:
    """Run Snakemake; each step says its own line, and what Snakemake has to say goes to a log.

    On a cluster the steps say it there, so what Snakemake says of its jobs is shown.

    Raises:
        InputError: not everything ran; the reason is in the message, or a step has said it.
        KeyboardInterrupt: interrupted; all processes have ended.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"snakemake-{os.getpid()}.log"
    remote = "--profile" in words
    quiet = ("host", "reason", "rules", *(() if remote else ("progress",)))
    options = ("--nolock", "--rerun-incomplete", "--quiet", *quiet)
    said = False
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *options, *words], cwd=ROOT,
            stderr=subprocess.STDOUT if remote else errors, stdout=subprocess.PIPE,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        try:
            for line in process.stdout:
                said |= " failed: " in line
                print(line, end="", flush=True)
            code = process.wait()
        except KeyboardInterrupt:
            _end(process)
            log.unlink(missing_ok=True)
            raise
    if code == 0:
        log.unlink(missing_ok=True)
        return
    if remote:
        log.unlink()
        raise InputError("some steps failed, Snakemake's lines say why; finished work is kept.")
    text = log.read_text(encoding="utf-8", errors="replace")
    why = "" if said else _why(text, code)
    if PLANNED not in text:
        log.unlink()
        raise InputError(f"{why}no step was begun.")
    raise InputError(f"{why}some steps failed, log {log.relative_to(ROOT)}; finished work is kept.")


def _why(text: str, code: int) -> str:
    """What Snakemake gives as the reason of a failure, in a few lines."""
    lines = [line.strip() for line in text.splitlines() if not _NOISE.match(line)]
    # What a step's own Python says comes among lines about jobs.
    lines = [line for line in lines if _NAMED.match(line)] or lines
    return "\n".join([*lines[:6], ""]) if lines else f"Snakemake ended with code {code}: "


def _end(process: subprocess.Popen) -> None:
    """End Snakemake and all of its steps. On a terminal all have been interrupted already."""
    try:
        process.wait(PATIENCE[0])
        return
    except subprocess.TimeoutExpired:
        pass
    try:
        every = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for each in every:
        _signal(each, signal.SIGINT)
    for each in psutil.wait_procs(every, PATIENCE[1])[1]:
        _signal(each, signal.SIGKILL)


def _signal(process: psutil.Process, kind: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(kind)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        say("interrupted; the same command continues.")
        sys.exit(130)
