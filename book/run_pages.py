"""Pages of finished runs: executed notebooks with a heading, a badge and where they came from."""

import json
import re
import shlex
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat

from book import results_pages
from book._ext.pages import PARTED
from book.markdown import table
from lib import params
from lib.params.errors import InputError
from lib.params.files import read_json, visible
from lib.params.stages import RESULTS

OVERALL = {
    "walkthrough": "one image",
    "comparison": "all data sets",
    "engine": "both classifiers",
    "audit": "the paper's own tables",
    **results_pages.TITLES,
}
ORDER = {name: i for i, name in enumerate(("derma", "pathology", "oct", "chest", "abdomen_ct"))}
PROTOCOL_ORDER = {name: i for i, name in enumerate(("paper", "sample", "compact", "demo"))}
WIDGET = "application/vnd.jupyter.widget-view+json"
BADGES = {"phantom": "warning", "rebuilt": "info", "official": "success"}


class Page:
    """An executed notebook: ``<runs>/<run name>/[<dataset>/[<classifier>/]]<step>.ipynb``.

    ``protocol`` is the name of the run: the protocol, and what was changed in it.
    """

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
    def folder(self) -> Path:
        """Where ``run.json`` of this page lies."""
        own = {name: name for name in ("denoisers", *OVERALL)}
        return self.path.parent / own.get(self.step, "")

    @cached_property
    def run(self) -> dict | None:
        """The entry of this step in ``run.json``."""
        file = self.folder / "run.json"
        return read_json(file)["steps"].get(self.step) if file.exists() else None

    @property
    def changed(self) -> dict:
        """Parameters of this run that are not as in the protocol's files now."""
        protocol = _protocol(self.protocol)
        if protocol not in params.names("protocols"):
            return {}
        given = (self.run or {}).get("parameters", {})
        names = {"dataset": self.dataset, "classifier": self.classifier}
        p = params.load(protocol, **{key: name for key, name in names.items() if name})
        return {
            name: given[name]
            for name, value in p.model_dump().items()
            if name not in {*params.PLACES, "protocol", *names}
            and value != "auto"  # each machine settles it
            and given.get(name, value) != value
        }

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
    def files(self) -> list[dict]:
        """Provenance of the images, a file each."""
        data = (self.run or {}).get("data", {})
        return [data] if "source" in data else list(data.values())

    @property
    def sources(self) -> str:
        """Data source or sources, in words."""
        return " and ".join(sorted({file["source"] for file in self.files})) or "unknown"

    @property
    def protocols(self) -> list[str]:
        """Protocols whose runs the page shows."""
        if self.step not in RESULTS:
            return [self.protocol]
        return list(dict.fromkeys(name.split("/")[0] for name in (self.run or {}).get("data", {})))

    @property
    def phantoms(self) -> bool:
        """Whether the page shows synthetic images and nothing else."""
        return self.sources == "phantom"

    @property
    def order(self) -> tuple:
        """Place among the pages of a step."""
        return (
            *protocol_order(self.protocol),
            ORDER.get(self.dataset, 9),
            self.classifier != "resnet50",
        )


def protocol_order(name: str) -> tuple:
    """Protocols from the paper's down to the demo, each before its variants and changed runs."""
    protocol = _protocol(name)
    base = params.base(protocol) if protocol in params.names("protocols") else protocol
    return PROTOCOL_ORDER.get(base, 9), base, name != base, name


def _protocol(run_name: str) -> str:
    """Protocol of a run, without what was changed in it."""
    return run_name.partition("+")[0]


def find_pages(runs: Path) -> list[Page]:
    """Pages of all finished runs, in the book's order: steps in their places, and nothing else."""
    found = [Page(path, runs) for path in visible(runs, "*/**/*.ipynb")]
    return sorted(filter(_in_place, found), key=lambda page: (page.step, page.order))


def _in_place(page: Page) -> bool:
    return (
        page.step in params.STEPS
        and len(page.parts) <= 4
        and page.dataset in (None, *params.names("datasets"))
        and page.classifier in (None, *params.names("classifiers"))
    )


def write_page(page: Page, source: Path) -> None:
    """Copy a notebook into the book below ``source``: heading, badge, and how it was made."""
    try:
        notebook = nbformat.read(page.path, as_version=4)
    except Exception as error:  # of several kinds, by what is wrong with the text
        raise InputError(f"{page.path} is not a notebook: delete it and run again.") from error
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    texts[0].source = re.sub(
        r"^# (.*)$",
        lambda heading: f"# {_title(page, heading[1])}\n\n{badges(page)}",
        texts[0].source,
        count=1,
        flags=re.M,
    )
    if page.step in RESULTS:
        for cell in texts:
            cell.source = results_pages.linked(cell.source, page.step, page.dataset)
        for cell in notebook.cells:
            if "injected-parameters" in (tags := cell.metadata.get("tags", [])):
                tags.append("remove-cell")
    # Progress bars live in a kernel only, and would ask another host for their scripts.
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [each for each in cell.outputs if WIDGET not in each.get("data", {})]
        alts = [
            output.metadata["image/png"]["alt"]
            for output in cell.get("outputs", [])
            if "alt" in output.get("metadata", {}).get("image/png", {})
        ]
        if alts:  # one text a cell is all that myst-nb takes; book/_ext/pages.py parts them
            cell.metadata["mystnb"] = {"image": {"alt": PARTED.join(alts)}}
    target = source / f"{page.name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    if page.run:
        shutil.copy(page.folder / "run.json", target.with_suffix(".json"))
        notebook.cells.append(nbformat.v4.new_markdown_cell(made_by(page)))
    nbformat.write(notebook, target)


def _title(page: Page, heading: str) -> str:
    """Title of a page: what it is about, and of which run."""
    if page.step in RESULTS:
        return page.label
    if page.dataset is None:  # the heading says it, and the badges say of which images
        return heading if page.protocol == _protocol(page.protocol) else (
            f"{heading} ({page.protocol})")  # fmt: skip
    return f"{heading}: {page.label} ({page.protocol}, {page.sources})"


def badges(page: Page) -> str:
    """Where the images of a page are from, as marks that are seen at once."""
    kinds = page.sources.split(" and ")
    found = [f"{{bdg-{BADGES[kind]}}}`{kind} images`" for kind in kinds if kind in BADGES]
    names = [] if page.sources == "printed" else page.protocols
    return " ".join([*found, *(f"{{bdg-dark}}`protocol {name}`" for name in names)])


def _file(data: dict) -> str:
    """Source of images, with the file and its checksum if they are from one."""
    named = f" `{data['npz']}`" if data["npz"] else ", drawn by the notebook"
    return data["source"] + named + (f", MD5 `{data['md5']}`" if data["md5"] else "")


def word(value: Any) -> str:
    """A parameter's value as on a command line, not quoted."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def machine(run: dict) -> str:
    """The machine of an entry of ``run.json``."""
    of = run["hardware"]
    memory, gpu = f"{of['memory_gib']} GiB", of["gpu"] or "none"
    return f"{of['processor']}, {of['cores']} cores, {memory}, GPU: {gpu}"


def made_by(page: Page) -> str:
    """Section at the end of a page: notebook, parameters, data, commit, machine, and the way."""
    run, changed = page.run, page.changed
    finished = run["finished"].replace("T", " ")[:16]
    words = {} if page.step in RESULTS else {"PROTOCOL": _protocol(page.protocol)}
    if page.dataset and words:
        words["DATASET"] = page.dataset
    if page.classifier:
        words["CLASSIFIER"] = page.classifier
    command = ["make", "run" if page.dataset and words else "book"]
    command += [f"{name}={shlex.quote(word(value))}" for name, value in (words | changed).items()]
    rows = {
        "notebook": f"`notebooks/{page.step}.md`, executed: {{download}}`{page.step}.ipynb`",
        "parameters": "; ".join(f"`{name}={json.dumps(v)}`" for name, v in changed.items())
        or f"those of the protocol `{run['parameters']['protocol']}`, in {{doc}}`/parameters`",
        "record": f"{{download}}`run.json <{page.step}.json>`: all parameters and versions",
        "data": "; ".join(dict.fromkeys(map(_file, page.files))) or "none",
        "commit": f"`{run['commit']}`" if run["commit"] else "none",
        "machine": machine(run),
        "time": f"{run['wall_seconds']:.1f} s, finished {finished} UTC",
        "run again": f"`{' '.join(command)}`",
    }  # fmt: skip
    return f"## How this page was made\n\n{table(['', ''], [*rows.items()])}"
