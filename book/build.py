"""Builds the site: narrative pages, the executed notebooks of all finished runs, generated pages.

``python -m book.build`` assembles ``build/book``, runs Jupyter Book on it with warnings as errors
and puts the result at ``build/site``. Nothing is done when nothing has changed.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from book import front_page, generated
from book.run_pages import Page, find_pages, write_page
from lib import params

ROOT = params.ROOT
SOURCE, BUILT, SITE = ROOT / "build/book", ROOT / "build/html", ROOT / "build/site"
STAMP = ".fingerprint"
KINDS = {
    ".ipynb", ".md", ".yml", ".yaml", ".bib", ".py", ".json", ".css", ".js", ".png", ".csv",
    ".parquet",
}  # fmt: skip
CODE = ("*.py", "*.sh", "__*")


def say(text: str) -> None:
    """One line of progress."""
    subprocess.run(["sh", str(ROOT / "book/say.sh"), text], check=True)


def contents(pages: list[Page]) -> dict:
    """The table of contents with each ``runs: <step>`` replaced by the pages of that step.

    ``images: phantom`` takes only pages of synthetic images, ``images: real`` only the others. What
    has no pages is left out.
    """
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    for part in toc["parts"]:
        part["chapters"] = _chapters(part["chapters"], pages)
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    return toc


def _chapters(entries: list[dict], pages: list[Page]) -> list[dict]:
    chapters = []
    for entry in entries:
        if "runs" in entry:
            chapters += [
                {"file": page.name}
                for page in pages
                if page.step == entry["runs"]
                and entry.get("images", "any") in ("any", "phantom" if page.phantoms else "real")
            ]
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
    shutil.copytree(ROOT / "book", SOURCE, ignore=shutil.ignore_patterns(*CODE))
    shutil.copytree(ROOT / "book/_ext", SOURCE / "_ext", dirs_exist_ok=True)
    shutil.copy(ROOT / "_config.yml", SOURCE)
    for page in pages:
        write_page(page, SOURCE)
    index = SOURCE / "index.md"
    index.write_text(front_page.page(index.read_text(), results, pages, SOURCE))
    rerun = SOURCE / "rerun.md"
    rerun.write_text(rerun.read_text().replace(generated.COSTS, generated.costs(results, pages)))
    (SOURCE / "status.md").write_text(generated.status_page(pages, results))
    (SOURCE / "parameters.md").write_text(generated.parameters_page())
    (SOURCE / "finder.md").write_text(generated.finder_page(pages, results))
    (SOURCE / "_toc.yml").write_text(yaml.safe_dump(contents(pages), sort_keys=False))
    return pages


def fingerprint(runs: Path) -> str:
    """Hash over size and time of everything the site is made from."""
    folders = [runs, *(ROOT / name for name in ("book", "lib", "params", "results"))]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    files += [ROOT / "_config.yml", ROOT / "_toc.yml"]
    kept = [path for path in files if path.suffix in KINDS and ".partial." not in path.name]
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in kept]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def main() -> None:
    """Build the site unless it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="run folders")
    runs = parser.parse_args().runs.resolve()
    state = fingerprint(runs)
    stamp = SITE / STAMP
    if stamp.exists() and stamp.read_text() == state:
        say(f"site: nothing has changed, open {SITE.relative_to(ROOT)}/index.html")
        return
    began = time.monotonic()
    pages = assemble(runs, ROOT / "results")
    say(f"site: building {len(pages)} pages of runs")
    log = ROOT / "build/logs/site.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    book = Path(sys.executable).with_name("jupyter-book")
    command = [str(book), "build", str(SOURCE), "--path-output", str(BUILT)]
    with log.open("w") as file:
        result = subprocess.run(
            [*command, "-n", "-W", "--keep-going", "-q"], stdout=file, stderr=subprocess.STDOUT
        )
    if result.returncode:
        bad = [line for line in log.read_text().splitlines() if re.search("WARNING|ERROR", line)]
        print("\n".join(bad[:20]), file=sys.stderr)
        sys.exit(f"error: the site was not built, log {log.relative_to(ROOT)}.")
    fresh = SITE.with_name("site.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(BUILT / "_build/html", fresh)
    (fresh / STAMP).write_text(state)
    shutil.rmtree(SITE, ignore_errors=True)
    fresh.rename(SITE)
    say(f"site: {time.monotonic() - began:.0f} s, open {SITE.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
