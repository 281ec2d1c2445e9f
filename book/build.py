"""Builds the site: narrative pages, the executed notebooks of all finished runs, generated pages.

``python -m book.build`` assembles ``build/book``, runs Jupyter Book on it with warnings as errors
and puts the result at ``build/site``. Nothing is done when nothing has changed.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml

from book import cluster_text, front_page, generated, reviewers
from book.run_pages import Page, find_pages, write_page
from book.say import say
from lib import params
from lib.evidence import claims, record, recorded_runs
from lib.params.errors import InputError, run_command
from lib.params.files import left_over, visible
from lib.params.given import only
from lib.params.locks import Lock

ROOT = params.ROOT
SOURCE, BUILT, SITE = ROOT / "build/book", ROOT / "build/html", ROOT / "build/site"
STAMP = ".fingerprint"
KINDS = {
    ".ipynb", ".md", ".html", ".yml", ".yaml", ".bib", ".py", ".json", ".css", ".js", ".png",
    ".csv", ".parquet",
}  # fmt: skip


def _skipped(folder: str, names: list[str]) -> list[str]:
    """What of ``book/`` is no page: code, and what editors leave."""
    return [name for name in names if left_over(name) or name.endswith(".py") or name[:2] == "__"]


def contents(pages: list[Page]) -> dict:
    """The table of contents with each ``runs: <step>`` replaced by the pages of that step.

    ``images: phantom`` takes only pages of synthetic images, ``images: real`` only the others. What
    has no pages is left out.
    """
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["chapters"] = _chapters(part["chapters"], pages)
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    return toc


def _chapters(entries: list[dict], pages: list[Page]) -> list[dict]:
    chapters = []
    for entry in entries:
        if "runs" in entry:
            of_step = [page for page in pages if page.step == entry["runs"]]
            if images := entry.get("images"):
                of_step = [page for page in of_step if page.phantoms == (images == "phantom")]
            chapters += [{"file": page.name} for page in of_step]
        elif "sections" in entry:
            within = _chapters(entry["sections"], pages)
            chapters.append({"file": entry["file"]} | ({"sections": within} if within else {}))
        else:
            chapters.append(entry)
    return chapters


def assemble(runs: Path, results: Path) -> list[Page]:
    """Write ``build/book``."""
    pages = find_pages(runs)
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "book", SOURCE, ignore=_skipped)
    shutil.copytree(ROOT / "book/_ext", SOURCE / "_ext", dirs_exist_ok=True)
    shutil.copy(ROOT / "_config.yml", SOURCE)
    for page in pages:
        write_page(page, SOURCE)
    recorded, ledger = _record(results)
    index = SOURCE / "index.md"
    page = front_page.page(index.read_text(encoding="utf-8"), results, ledger, pages, SOURCE)
    index.write_text(page, encoding="utf-8")
    _fill("rerun", {"costs": generated.costs(results, pages)})
    _fill("cluster", cluster_text.texts(results))
    _fill("reviewers", reviewers.texts(results, ledger, pages))
    texts = {
        "status.md": generated.status_page(pages, recorded),
        "parameters.md": generated.parameters_page(),
        "finder.md": generated.finder_page(pages, results),
        "_toc.yml": yaml.safe_dump(contents(pages), sort_keys=False),
    }
    for name, text in texts.items():
        (SOURCE / name).write_text(text, encoding="utf-8")
    return pages


def _record(results: Path) -> tuple[dict[str, record.Record], pd.DataFrame | None]:
    """Each recorded protocol, and the verdicts on the claims: read once, which takes seconds."""
    if not visible(results, "*/**/run.json"):
        return {}, None
    found = {name: record.read(results / name) for name in recorded_runs.protocols(results)}
    judged = [(found[name], params.load(name)) for name in record.PROTOCOLS if name in found]
    return found, claims.ledger(judged) if judged else None


def _fill(name: str, texts: dict[str, str]) -> None:
    """Put texts at the places ``<!-- name -->`` of a page."""
    page = SOURCE / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    for place, said in texts.items():
        text = text.replace(f"<!-- {place} -->", said)
    page.write_text(text, encoding="utf-8")


def fingerprint(runs: Path, results: Path) -> str:
    """Hash over size and time of everything the site is made from."""
    folders = [runs, results, *(ROOT / name for name in ("benchmarks", "book", "lib", "params"))]
    files = [path for folder in folders for path in visible(folder, "**/*") if path.is_file()]
    files += [ROOT / "_config.yml", ROOT / "_toc.yml"]
    kept = [path for path in files if path.suffix in KINDS]
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in kept]
    return hashlib.sha256(json.dumps([str(runs), str(results), state]).encode()).hexdigest()


def site(runs: Path, results: Path) -> None:
    """Build the site of these folders unless it is up to date; one process at a time.

    Raises:
        InputError: the book has an error.
    """
    lock = Lock(ROOT / "build" / ".site.lock", "The site", wait=True)
    try:
        _site(runs.resolve(), results.resolve())
    finally:
        lock.release()


def _site(runs: Path, results: Path) -> None:
    state, stamp = fingerprint(runs, results), SITE / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        say(f"site: nothing has changed, open {SITE.relative_to(ROOT)}/index.html")
        return
    began = time.monotonic()
    pages = assemble(runs, results)
    say(f"site: building {len(pages)} pages of runs")
    log = ROOT / "build/logs/site.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # Not by the program's script, whose first line cannot name every folder.
    book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    places = [str(SOURCE.relative_to(ROOT)), "--path-output", str(BUILT.relative_to(ROOT))]
    with log.open("w") as file:
        result = subprocess.run(
            [*book, *places, "-n", "-W", "--keep-going", "-q"], cwd=ROOT, stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    if result.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        bad = [line for line in lines if re.search("WARNING|ERROR|Error", line)] or lines[-5:]
        raise InputError(
            "\n".join([*bad[:20], f"The site was not built; see {log.relative_to(ROOT)}."])
        )
    fresh = SITE.with_name("site.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(BUILT / "_build/html", fresh)
    (fresh / STAMP).write_text(state, encoding="utf-8")
    shutil.rmtree(SITE, ignore_errors=True)
    fresh.rename(SITE)
    say(f"site: {time.monotonic() - began:.0f} s, open {SITE.relative_to(ROOT)}/index.html")


def main(words: list[str]) -> None:
    """Build the site, of other folders with ``runs=`` and ``results=``; raises as `site`."""
    given = params.from_words(words)
    only(given, ("runs", "results"), "book.build")
    p = params.load(**given)
    site(ROOT / p.runs, ROOT / p.results)


if __name__ == "__main__":
    run_command(main)
