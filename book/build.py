"""Builds the site: narrative pages, the executed notebooks of all finished runs, generated pages.

``python book/build.py`` assembles ``build/book``, runs Jupyter Book on it with warnings as errors
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

import nbformat
import yaml

from lib import paper, params
from lib.records import read_json

ROOT = params.ROOT
SOURCE, BUILT, SITE = ROOT / "build/book", ROOT / "build/html", ROOT / "build/site"
OVERALL = {
    "comparison": "all data sets",
    "engine": "both classifiers",
    "audit": "the paper's own tables",
    "findings": "recorded runs",
    "verdicts": "recorded runs",
}
ORDER = {name: i for i, name in enumerate(("derma", "pathology", "oct", "chest", "abdomen_ct"))}
PROTOCOL_ORDER = {name: i for i, name in enumerate(("paper", "compact", "demo"))}
STAMP = ".fingerprint"


def say(text: str) -> None:
    """One line of progress."""
    subprocess.run(["sh", str(ROOT / "book/say.sh"), text], check=True)


class Page:
    """An executed notebook: ``<runs>/<protocol>/[<dataset>/[<classifier>/]]<step>.ipynb``."""

    def __init__(self, path: Path, runs: Path) -> None:
        self.path = path
        self.parts = path.relative_to(runs).parts
        self.step = path.stem
        self.protocol = self.parts[0]
        self.dataset = self.parts[1] if len(self.parts) > 2 else None
        self.classifier = self.parts[2] if len(self.parts) > 3 else None

    @property
    def name(self) -> str:
        """Document name in the book."""
        return "/".join(("runs", *self.parts[:-1], self.step))

    @property
    def run(self) -> dict | None:
        """``run.json`` beside the notebook, the entry of this step."""
        folder = self.path.parent
        folder = folder / {name: name for name in ("denoisers", *OVERALL)}.get(self.step, "")
        file = folder / "run.json"
        return read_json(file)["steps"].get(self.step) if file.exists() else None

    @property
    def label(self) -> str:
        """What tells this page from others of its step."""
        names = []
        if self.dataset:
            names.append(params.facts(self.dataset).title)
        if self.classifier:
            names.append(params.read("classifiers", self.classifier)["title"])
        return ", ".join(names) or OVERALL.get(self.step, self.step)

    @property
    def sources(self) -> str:
        """Data source or sources, in words."""
        data = (self.run or {}).get("data", {})
        found = {data["source"]} if "source" in data else {d["source"] for d in data.values()}
        return " and ".join(sorted(found)) or "unknown"

    @property
    def order(self) -> tuple:
        """Place among the pages of a step."""
        return (
            PROTOCOL_ORDER.get(self.protocol, 9),
            self.protocol,
            ORDER.get(self.dataset, 9),
            self.classifier != "resnet50",
        )


def find_pages(runs: Path) -> list[Page]:
    """Pages of all finished runs, in the book's order."""
    found = [
        Page(path, runs)
        for path in runs.glob("*/**/*.ipynb")
        if ".partial." not in path.name and ".ipynb_checkpoints" not in path.parts
    ]
    return sorted(found, key=lambda page: (page.step, page.order))


def write_page(page: Page) -> None:
    """Copy a notebook into the book with a heading that names its run."""
    notebook = nbformat.read(page.path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    title = f"{page.label} ({page.protocol}, {page.sources})"
    first.source = re.sub(
        r"^# (.*)$", lambda m: f"# {m[1]}: {title}", first.source, count=1, flags=re.M
    )
    for cell in notebook.cells:
        alts = [
            output.metadata["image/png"]["alt"]
            for output in cell.get("outputs", [])
            if "alt" in output.get("metadata", {}).get("image/png", {})
        ]
        if alts:  # one text a cell is all that myst-nb takes
            cell.metadata["mystnb"] = {"image": {"alt": " ".join(alts)}}
    target = SOURCE / f"{page.name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def contents(pages: list[Page]) -> dict:
    """The table of contents with each ``runs: <step>`` replaced by the pages of that step."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    for part in toc["parts"]:
        chapters = []
        for chapter in part["chapters"]:
            if "runs" not in chapter:
                chapters.append(chapter)
                continue
            of_step = [page for page in pages if page.step == chapter["runs"]]
            chapters += [{"file": page.name} for page in of_step]
        part["chapters"] = chapters
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    return toc


def table(header: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def parameters_page() -> str:
    """All parameters with their meaning and their value in each protocol."""
    protocols = sorted(params.names("protocols"), key=lambda name: -PROTOCOL_ORDER.get(name, 9))
    loaded = {name: params.load(name).model_dump() for name in protocols}
    rows = []
    for name, field in params.Parameters.model_fields.items():
        if name in ("protocol", "dataset", "classifier"):
            continue
        values = [f"`{json.dumps(loaded[protocol][name])}`" for protocol in protocols]
        rows.append([f"`{name}`", field.description or "", *values])
    steps = [
        [f"`{step}`", ", ".join(f"`{name}`" for name in params.step_fields(step))]
        for step in params.STEPS
    ]
    return (
        "# Parameters\n\nEvery value can be given to `make run NAME=VALUE` and to\n"
        "`papermill -p NAME VALUE`. This page is made from the model that checks them.\n\n"
        + table(["parameter", "meaning", *protocols], rows)
        + "\n\n## Parameters of each notebook\n\n"
        + table(["notebook", "parameters"], steps)
        + "\n"
    )


def finder_page(pages: list[Page]) -> str:
    """Every table and figure of the paper with the pages that have its counterpart."""

    def links(step: str, dataset: str | None, classifier: str | None) -> str:
        if step in ("status", "index"):
            return f"{{doc}}`{step}`"
        found = [
            f"{{doc}}`{page.label} ({page.protocol}) </{page.name}>`"
            for page in pages
            if page.step == step
            and dataset in (None, page.dataset)
            and classifier in (None, page.classifier)
        ]
        return ", ".join(found) or f"no run of `{step}` in this copy"

    tables = [
        [number, paper.caption(number), links(*paper.place(number))] for number in paper.NUMBERS
    ]
    figures = [
        [each["number"], each["shows"],
         links(each["step"], each.get("dataset"), each.get("classifier"))]
        for each in paper.figures()
    ]  # fmt: skip
    return (
        "# Find a table or figure\n\nWhat the paper prints, and the pages of this copy that have "
        "its counterpart, with the printed value beside ours.\n\n## Tables\n\n"
        + table(["table", "shows", "here"], tables)
        + "\n\n## Figures\n\n"
        + table(["figure", "shows", "here"], figures)
        + "\n"
    )


def status_page(pages: list[Page]) -> str:
    """Versions, hardware, time and data source of each page."""
    rows, versions, machines = [], {}, set()
    for page in pages:
        run = page.run
        if run is None:
            continue
        versions |= run["versions"]
        hardware = run["hardware"]
        machine = (
            f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, "
            f"GPU: {hardware['gpu'] or 'none'}"
        )
        machines.add(machine)
        rows.append(
            [
                f"{{doc}}`{page.step}: {page.label} </{page.name}>`",
                page.protocol,
                page.sources,
                f"{run['wall_seconds']:.1f}",
                run["finished"].replace("T", " ").removesuffix("+00:00"),
                f"`{run['commit']}`" if run["commit"] else "",
            ]
        )
    header = ["page", "protocol", "data", "seconds", "finished (UTC)", "commit"]
    return (
        "# Status\n\nWhat this copy of the book was made from. `+` after a commit: the working "
        "tree had changes.\n\n## Runs\n\n"
        + (table(header, rows) if rows else "No run has finished yet.")
        + "\n\n## Machines\n\n"
        + "\n".join(f"- {machine}" for machine in sorted(machines))
        + "\n\n## Versions\n\n"
        + table(["package", "version"], sorted([k, v] for k, v in versions.items()))
        + "\n"
    )


def assemble(runs: Path) -> list[Page]:
    """Write ``build/book``."""
    pages = find_pages(runs)
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "book", SOURCE, ignore=shutil.ignore_patterns("build.py", "*.sh", "__*"))
    shutil.copy(ROOT / "_config.yml", SOURCE)
    for page in pages:
        write_page(page)
    (SOURCE / "status.md").write_text(status_page(pages))
    (SOURCE / "parameters.md").write_text(parameters_page())
    (SOURCE / "finder.md").write_text(finder_page(pages))
    (SOURCE / "_toc.yml").write_text(yaml.safe_dump(contents(pages), sort_keys=False))
    return pages


def fingerprint(runs: Path) -> str:
    """Hash over size and time of everything the site is made from."""
    folders = [runs, ROOT / "book", ROOT / "params"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    files += [ROOT / "_config.yml", ROOT / "_toc.yml", ROOT / "lib/params.py"]
    kept = [path for path in files if path.suffix in {".ipynb", ".md", ".yml", ".yaml", ".bib",
            ".py", ".json", ".css", ".png", ".csv"} and ".partial." not in path.name]  # fmt: skip
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
    pages = assemble(runs)
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
