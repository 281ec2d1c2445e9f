"""Pages of the book that are made from code and records: no number on them is typed."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from book import claim_cards, results_pages
from book.markdown import listing, table
from book.run_pages import Page, machine, protocol_order
from lib import params
from lib.evidence import printed as paper
from lib.evidence import published_lists, verdicts
from lib.evidence.record import Record, step_minutes
from lib.evidence.recorded_runs import RecordedRuns
from lib.figures import formatting
from lib.params.files import read_json, visible
from lib.params.stages import COMMON, RESULTS, WRITES

GIVEN = ("protocol", "dataset", "classifier")


def parameters_page() -> str:
    """Each notebook with what it takes and writes, and each parameter with its values, once."""
    every = sorted(params.names("protocols"), key=protocol_order)
    protocols = [name for name in reversed(every) if params.base(name) == name]
    loaded = {name: params.load(name).model_dump() for name in protocols}
    steps = [[f"`{step}`", _takes(step)] for step in params.STEPS]
    schema = params.Parameters.model_json_schema()["properties"]
    groups: dict[str, list[str]] = {}
    for name in schema:
        prefix, _, rest = name.partition("_")
        groups.setdefault(f"`{prefix}_`" if rest else "Whole run", []).append(name)
    sections = [
        f":::{{dropdown}} {group}\n"
        + table(["parameter", "meaning", *protocols], [
            [f"`{name}`", _meaning(schema[name]),
             *(_value(name, loaded[protocol]) for protocol in protocols)]
            for name in names
        ]) + "\n:::"
        for group, names in groups.items()
    ]  # fmt: skip
    variants = [
        [f"`{name}`", f"`{params.base(name)}`", "; ".join(
            f"`{key}={json.dumps(getattr(params.load(name), key, None))}`"
            for key in params.read("protocols", name) if key not in ("base", "overrides")
        )]
        for name in every if params.base(name) != name
    ]  # fmt: skip
    common = ", ".join(f"`{name}`" for name in COMMON)
    return (
        "# Parameters\n\nThis page lists every parameter of a run, with its meaning and its value "
        "in each protocol.\nSet one with `make run NAME=VALUE` or `papermill -p NAME VALUE`. "
        "Values are those for\nDerma and ResNet50.\n\n"
        "## Inputs and outputs of each notebook\n\n"
        f"All notebooks take {common}. `data_*` means every parameter whose name begins with "
        "`data_`. Files are written below `runs/<protocol>/`.\n\n"
        + table(["notebook", "takes"], steps)
        + "\n\n## All parameters\n\n"
        + "\n\n".join(sections)
        + "\n\n## Variants of a protocol\n\n"
        "A variant has the values of its base, except these.\n\n"
        + table(["variant", "based on", "values"], variants)
        + "\n"
    )


def _takes(step: str) -> str:
    """What a step takes besides what all take (``_*``: a whole group), and what it writes."""
    takes = [f"`{name}*`" if name.endswith("_") else f"`{name}`" for name in params.STEPS[step]]
    writes = [f"`{name}`" for name in (*WRITES[step], "run.json")] if step != "explore" else []
    return f"{', '.join(takes) or 'nothing else'}; writes {', '.join(writes) or 'nothing'}"


def _meaning(schema: dict) -> str:
    """What a parameter means, and its type."""
    said = schema.get("description", "")
    return f"{said} ({kind(schema)})" if said else kind(schema)


def _value(name: str, values: dict) -> str:
    return "as called" if name in GIVEN else f"`{json.dumps(values[name])}`"


def kind(schema: dict) -> str:
    """A parameter's type in words, with its bounds."""
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of: {kind(schema['items'])}"
    words = {"string": "text", "integer": "whole number", "boolean": "yes or no"}
    signs = {
        "minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<",
    }  # fmt: skip
    bounds = [
        f"{sign} {schema[key]:{',' if schema[key] % 1 == 0 else 'g'}}"
        for key, sign in signs.items() if key in schema
    ]  # fmt: skip
    return " ".join([words.get(schema["type"], schema["type"]), *bounds])


def costs(results: Path, pages: list[Page]) -> str:
    """Minutes of each step by protocol and machine, of recorded runs and of this copy's."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    # A run with other values says nothing about its protocol, and each variant would be a column.
    own = [name for name in params.names("protocols") if params.base(name) == name]
    runs = [
        (page.folder, page.step, page.run) for page in pages if page.run and page.protocol in own
    ]
    for path in visible(results, "*/**/run.json"):
        runs += [(path.parent, step, run) for step, run in read_json(path)["steps"].items()]
    for folder, step, run in runs:
        hardware, protocol = run["hardware"], run["parameters"]["protocol"]
        if step in params.STEPS and protocol in own:
            threads = formatting.many(hardware["threads"], "thread")
            device = hardware["gpu"] or f"{threads}, {hardware['processor']}"
            found[step, protocol, device].append(step_minutes(folder, step, run))
    columns = sorted({key[1:] for key in found}, key=lambda of: (protocol_order(of[0]), of[1]))
    rows = [
        [f"`{step}`", *(_minutes(found.get((step, *column))) for column in columns)]
        for step in params.STEPS if any(key[0] == step for key in found)
    ]  # fmt: skip
    if not rows:
        return "No run has finished yet."
    header = ["minutes of", *(f"`{protocol}`, {device}" for protocol, device in columns)]
    return table(header, rows)


def _minutes(values: list[float] | None) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    text = f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
    return f"{text} ({len(values)} runs)" if len(values) > 1 else text


def finder_page(pages: list[Page], results: Path) -> str:
    """Every table and figure of the paper: verdict, reason, and the pages with its counterpart."""
    covered = _covered(results)
    sizes = _class_sizes(results, covered)
    there = [(page.step, page.dataset) for page in pages if page.step in RESULTS]

    def made(step: str, dataset: str | None, classifier: str | None) -> str:
        if step in ("status", "index"):
            return f"{{doc}}`{step}`"
        every = [page for page in pages if page.step == step and dataset in (None, page.dataset)]
        # The other classifier's page where this one did not run; its name stands in the link.
        same = [page for page in every if classifier in (None, page.classifier)] or every
        links = (f"{{doc}}`{page.label} ({page.protocol}) </{page.name}>`" for page in same)
        return ", ".join(links) or "–"

    def place(number: int | str) -> str:
        found = results_pages.places(number, there)
        links = ", ".join(f"{{ref}}`{name} <{anchor}>`" for anchor, name in found)
        if number in sizes:
            return "{ref}`Class sizes <class-sizes>`"
        return links or made(*paper.place(number))

    def judged(kind: str, number: int | str) -> list[str]:
        if (row := covered.get((kind, str(number)))) is None:
            return ["–", ""]
        return [claim_cards.chip(row["verdict"]), row["reason"]]

    tables = [
        [number, paper.caption(number), *judged("table", number), place(number)]
        for number in paper.NUMBERS
    ]  # fmt: skip
    figures = [
        [each["number"], each["shows"], judged("figure", each["number"])[0],
         made(each["step"], each.get("dataset"), each.get("classifier"))]
        for each in paper.figures()
    ]  # fmt: skip
    words = verdicts.counts(row["verdict"] for (kind, _), row in covered.items() if kind == "table")
    counted = formatting.enumerated([f"**{count}** {word}" for word, count in words.items()])
    return (
        "# Find a table or figure\n\nThis page lists every table and figure of the paper, with its "
        "verdict and a link to our counterpart. Of the tables, "
        f"{counted}; {{doc}}`rule` says how.\n\n## Tables\n\n"
        + listing(["table", "shows", "verdict", "why", "where"], tables, "listing whole")
        + "\n\n## Figures\n\n"
        + listing(["figure", "shows", "verdict", "where"], figures, "listing whole")
        + "\n"
        + ("\n(class-sizes)=\n## Class sizes\n\n" + "\n\n".join(sizes.values()) if sizes else "")
        + "\n"
    )


def _class_sizes(results: Path, covered: dict[tuple[str, str], dict[str, str]]) -> dict[int, str]:
    """Images of each class, printed and counted, by number of the table that they decide."""
    counted = {"chest": published_lists.read(results).to_dict("records")}
    for path in visible(results, "*/*/run.json"):
        rows = read_json(path)["steps"].get("datasets", {}).get("counts")
        counted |= {path.parent.name: rows} if rows and path.parent.name != "chest" else {}
    found = {}
    for dataset in paper.DATASETS:
        printed = paper.class_counts(dataset)
        number = printed.attrs["table"]
        judged = covered.get(("table", str(number)), {}).get("verdict", verdicts.NOT_TESTABLE)
        ours = {row["class"]: row["images"] for row in counted.get(dataset, ())}
        if judged != verdicts.NOT_TESTABLE and ours:
            rows = [[row["class"], f"{row['count']:,.0f}", f"{ours[row['class']]:,}"]
                    for row in printed.to_dict("records") if row["class"] in ours]  # fmt: skip
            title = f"**Table {number}, {formatting.shown(dataset)}**"
            found[number] = f"{title}\n\n{table(['class', 'printed', 'counted'], rows)}"
    return found


def _covered(results: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of ``coverage.csv`` by kind and number; nothing where it is missing."""
    path = results / "coverage.csv"
    if not path.exists():
        return {}
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return rows.set_index(["kind", "number"]).to_dict("index")


def status_page(pages: list[Page], record: Mapping[str, Record]) -> str:
    """Versions, hardware, time and data source of each page, and of each recorded run.

    ``record`` is what is recorded, by protocol.
    """
    rows, versions, machines = [], defaultdict(set), set()
    recorded = _recorded(record)
    for page in pages:
        if (run := page.run) is None:
            continue
        for name, version in run["versions"].items():
            versions[name].add(version)
        machines.add(machine(run))
        rows.append([
            f"{{doc}}`{page.step}: {page.label} </{page.name}>`", page.protocol, page.sources,
            f"{run['wall_seconds']:.1f}", run["finished"].replace("T", " ").removesuffix("+00:00"),
            f"`{run['commit']}`" if run["commit"] else "",
        ])  # fmt: skip
    header = ["page", "protocol", "data", "seconds", "finished (UTC)", "commit"]
    of_record = ["run", "data", "steps", "minutes", "precision", "finished", "commit", "machine"]
    return (
        "# Status\n\nThis page lists the runs behind this copy of the book, with their computers "
        "and software. `+` after a commit: files had uncommitted changes.\n\n## Pages\n\n"
        + (listing(header, rows) if rows else "No run has finished yet.")
        + "\n\n## Recorded runs\n\nThese runs give the results on real images. *Precision* is that "
        "of training and search; success is always decided in float32.\n\n"
        + (listing(of_record, recorded) if recorded else "Nothing is recorded yet.")
        + (f"\n\n{_unnamed(record)}" if recorded else "")
        + "\n\n## Machines\n\n"
        + "\n".join(f"- {each}" for each in sorted(machines))
        + "\n\n## Versions\n\n"
        + table(
            ["package", "version"],
            [[name, ", ".join(sorted(of))] for name, of in sorted(versions.items())],
        )
        + "\n"
    )


def _recorded(record: Mapping[str, Record]) -> list[list[object]]:
    """A row for each folder of the record, of protocols and variants."""
    rows = []
    for base, found in record.items():
        own = [(base, row) for row in found.folders.to_dict("records")]
        rows += own + [("", row) for row in found.variants.to_dict("records")]
    return [
        [f"`{f'{base}/' if base else ''}{row['results']}`", f"{row['source']} `{row['file']}`",
         row["steps"], f"{row['minutes']:.0f}", row["precision"], row["finished"],
         f"`{row['commit']}`", row["machine"]]
        for base, row in rows
    ]  # fmt: skip


def _unnamed(record: Mapping[str, Record]) -> str:
    """Which recorded runs do not name the denoisers that restored their images, a sentence."""
    names = {name: unnamed(each.runs) for name, each in record.items() if each.runs}
    without = "; ".join(f"`{name}`: {those}" for name, those in names.items() if those)
    return without and (
        "These runs were recorded before trainings had ids, so the denoiser checkpoints they used "
        f"are not known. {without}."
    )


def unnamed(runs: RecordedRuns) -> str:
    """Runs that do not name the checkpoints behind their images; empty if all do."""
    trained = {*runs.denoisers["dataset"]}
    return ", ".join(
        f"{formatting.shown(run.dataset)} with {formatting.shown(run.classifier)}"
        for run in runs.runs.itertuples()
        if not run.restorers and run.dataset in trained
    )
