"""One folder fit for a repository with a DOI, and the check that it is whole.

``make archive`` writes ``build/archive``: the source of the last commit with its record, executed
notebooks and the site where they are built, weights on which the record rests where they are at
hand, RO-Crate metadata, and the SHA-256 of every file. No image of a patient is taken.
"""

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from book import build, weights
from book.run_pages import Page, find_pages
from book.say import say
from lib import params
from lib.evidence import verify
from lib.params.errors import InputError
from lib.params.files import sha256, visible
from lib.params.runs import commit
from lib.params.stages import RESULTS

TARGET = params.ROOT / "build" / "archive"
SUMS = "manifest-sha256.txt"  # one line a file, as sha256sum writes it
CRATE = params.ROOT / ".venv-archive" / "bin" / "python"  # has the libraries of RO-Crate
ON_TOP = ("LICENSE", "CITATION.cff", "codecheck.yml")  # where repositories and readers look
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def shows_patients(page: Page) -> bool:
    """Whether an executed notebook may show real images.

    Pages of the record show them where the files are at hand, and say so in ``run.json``.
    """
    if page.run is None:
        return True
    if page.step in RESULTS:
        return page.run.get("pictures", page.step == "results_dataset")
    return bool({"official", "rebuilt", "unknown"} & {*page.sources.split(" and ")})


def write(runs: Path, results: Path, target: Path = TARGET) -> list[str]:
    """Write the archive of the last commit, whole or not at all, in place of an earlier one.

    Returns:
        What was left out, and why, a sentence each.

    Raises:
        InputError: no commit, changed files, or metadata that do not validate.
    """
    of = commit()
    if not of or of.endswith("+"):
        why = "files were changed since the last commit" if of else "this is no git checkout"
        raise InputError(f"An archive is of one commit, and {why}: commit first.")
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _source(fresh / "source")
        for name in ON_TOP:
            shutil.copy(fresh / "source" / name, fresh)
        pages = find_pages(runs)
        left = [*_notebooks(pages, runs, fresh / "notebooks"), *_site(pages, runs, results, fresh)]
        number = weights.export_all(runs, results, fresh / "weights", only=True)
        if not number:
            left.append("Weights: none of those that the record names are at hand.")
        (fresh / "README.md").write_text(_readme(of, left), encoding="utf-8")
        _crate(fresh)
        write_sums(fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return left


def _source(folder: Path) -> None:
    """The files of the last commit."""
    folder.mkdir(parents=True)
    git = ["git", "-c", f"safe.directory={params.ROOT}", "archive", "--format=tar", "HEAD"]
    tar = folder.with_suffix(".tar")
    done = subprocess.run([*git, f"--output={tar}"], cwd=params.ROOT)
    if done.returncode:
        raise InputError("git archive has failed, so there is no source to archive.")
    with tarfile.open(tar) as content:
        content.extractall(folder, filter="data")
    tar.unlink()


def _notebooks(pages: list[Page], runs: Path, folder: Path) -> Iterator[str]:
    """Copy executed notebooks, each with the ``run.json`` of its folder."""
    kept = [page for page in pages if not shows_patients(page)]
    for page in kept:
        files = [page.path, *([page.folder / "run.json"] if page.run else [])]
        for path in files:
            copy = folder / path.relative_to(runs)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    if not kept:
        yield "Executed notebooks: none that may be distributed; `make book` makes them."
    if number := len(pages) - len(kept):
        yield f"{number} executed notebooks: they may show images of patients."


def _site(pages: list[Page], runs: Path, results: Path, target: Path) -> Iterator[str]:
    """Copy the site if it is of the present files and shows no patient."""
    stamp = build.SITE / build.STAMP
    if not stamp.exists():
        yield "The site: it is not built; `make book` builds it."
    elif stamp.read_text(encoding="utf-8") != build.fingerprint(runs.resolve(), results.resolve()):
        yield "The site: it was built before something changed; `make book` builds it anew."
    elif any(map(shows_patients, pages)):
        yield "The site: pages may show images of patients; build it where no such image is."
    else:
        shutil.copytree(build.SITE, target / "site", ignore=shutil.ignore_patterns(build.STAMP))


def _readme(of: str, left: list[str]) -> str:
    listed = "\n".join(f"- {each}" for each in left) or "Nothing."
    return f"""# Archive of the replication

Commit `{of}` of the replication of *Adversarial Defense for Medical Images*.

| | |
| --- | --- |
| `source/` | the files of the commit; `requirements.lock` pins every package |
| `source/results/` | the record: small tables and provenance of every run that a result rests on |
| `notebooks/` | executed notebooks, with the `run.json` of each |
| `site/` | the book; open `index.html` |
| `weights/` | trained networks that the record names, with a card each |
| `ro-crate-metadata.json` | RO-Crate: inputs, parameters, software, machine and times of each run |
| `{SUMS}` | SHA-256 of every other file |

Check that nothing is missing, added or changed, and that the record holds:

```sh
sha256sum --check --quiet {SUMS}    # the files, without our code
cp -r source ../replication && cd ../replication
make verify ARCHIVE=path/of/this/folder
```

Begin with the page "For reviewers", `source/book/reviewers.md`. No medical image is part of this
archive.

## Left out

{listed}
"""


def _crate(folder: Path) -> None:
    """RO-Crate metadata, written and validated in an environment of their own."""
    if not CRATE.exists():
        raise InputError(f"{CRATE} is missing: `make archive` installs it.")
    done = subprocess.run([CRATE, "-m", "book.crate", folder], cwd=params.ROOT)
    if done.returncode:
        raise InputError("The RO-Crate metadata are not valid, so no archive was written.")


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path, but for the list itself."""
    return {
        name: sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := path.relative_to(folder).as_posix()) != SUMS
    }


def write_sums(folder: Path) -> None:
    """Write the list of checksums."""
    lines = [f"{value}  {name}\n" for name, value in sums(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def problems(folder: Path) -> Iterator[str]:
    """One sentence for each file that is missing, added or changed, and each problem of the record.

    Raises:
        InputError: no archive.
    """
    listed = folder / SUMS
    if not listed.is_file():
        raise InputError(f"{folder} has no {SUMS}: it is no archive.")
    known = {}
    for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (found := LINE.fullmatch(line)):
            raise InputError(f"{listed}: {line[:80]!r} is no line of a list of checksums.")
        known[found[2]] = found[1]
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    yield from (f"{path} is a link, which an archive has none of." for path in links)
    yield from verify.differing(folder, known, sums(folder), SUMS)
    yield from verify.problems(folder / "source" / "results")


def check(folder: Path) -> None:
    """``make verify ARCHIVE=folder``.

    Raises:
        InputError: something is wrong with it.
    """
    if wrong := list(problems(folder)):
        raise InputError("\n".join(wrong))
    files = len((folder / SUMS).read_text(encoding="utf-8").splitlines())
    records = len(visible(folder / "source" / "results", "**/run.json"))
    print(f"verified: {files} files, {records} folders of results")


def main(given: dict[str, str]) -> None:
    """``make archive``; raises `InputError` as `write`."""
    p = params.load(**given)
    for each in write(params.ROOT / p.runs, params.ROOT / p.results):
        say(f"left out: {each}")
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    say(f"archive: {TARGET.relative_to(params.ROOT)}, {size / 1e6:.0f} MB; SHA-256 of {SUMS}: "
        f"{sha256(TARGET / SUMS)}")  # fmt: skip
