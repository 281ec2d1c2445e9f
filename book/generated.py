"""Pages of the book that are made from code and records: no number on them is typed."""

import json
from pathlib import Path

from book.run_pages import Page, protocol_order
from lib import paper, params

FOUND, FIGURE = "<!-- found -->", "<!-- figure -->"  # places in index.md


def table(header: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def parameters_page() -> str:
    """All parameters with their meaning and their value in each protocol."""
    every = sorted(params.names("protocols"), key=protocol_order)
    protocols = [name for name in reversed(every) if params.base(name) == name]
    loaded = {name: params.load(name).model_dump() for name in protocols}
    rows = []
    for name, field in params.Parameters.model_fields.items():
        if name in ("protocol", "dataset", "classifier"):
            continue
        values = [f"`{json.dumps(loaded[protocol][name])}`" for protocol in protocols]
        rows.append([f"`{name}`", field.description or "", *values])
    variants = [
        [f"`{name}`", f"`{params.base(name)}`", "; ".join(
            f"`{key}={json.dumps(value)}`"
            for key, value in params.read("protocols", name).items() if key != "base"
        )]
        for name in every if params.base(name) != name
    ]  # fmt: skip
    steps = [
        [f"`{step}`", ", ".join(f"`{name}`" for name in params.step_fields(step))]
        for step in params.STEPS
    ]
    return (
        "# Parameters\n\nEvery value can be given to `make run NAME=VALUE` and to\n"
        "`papermill -p NAME VALUE`. This page is made from the model that checks them.\n\n"
        + table(["parameter", "meaning", *protocols], rows)
        + "\n\n## Variants of a protocol\n\n"
        "As the protocol that they are based on, but for these values.\n\n"
        + table(["variant", "based on", "values"], variants)
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


def front(text: str, results: Path, folder: Path) -> str:
    """The front page with what was found in its two places; the figure is written to ``folder``.

    The libraries for it are imported here, as they cost two seconds and only one page needs them.
    """
    from lib import figures
    from lib.evidence import front

    said, figure, current = front.NONE, "", front.current(results)
    if current is not None:
        found, p = current
        said = "\n\n".join([*front.sentences(found, p), front.counted(found, p)])
        recovery = front.recovery(found)
        if len(recovery):
            png, about = figures.recovery_by_dataset(recovery)._repr_png_()
            (folder / "recovery.png").write_bytes(png)
            figure = f"```{{image}} recovery.png\n:alt: {about['alt']}\n```"
    return text.replace(FOUND, said).replace(FIGURE, figure)
