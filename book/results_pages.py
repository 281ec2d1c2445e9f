"""The results pages in the book: which printed tables each section has the counterparts of."""

import re

from lib.evidence import printed as paper
from lib.figures.formatting import enumerated, shown

FOLDER = "results"  # below the run folders, beside those of the protocols
TITLES = {
    "results_overview": "Overview",
    "results_ablation": "Ablation and sensitivity",
    "results_size": "Size of the image",
    "results_attackers": "Strongest attacks",
    "results_certificates": "Certificates",
    "verdicts": "Verdicts on claims",
}
# Headings of the notebooks, with the printed tables and figures that they show a counterpart of.
_FIXED = {
    ("results_overview", "Attack success by data set"): [32, 33, 43],
    ("results_ablation", "Modules and depth of the DAE"): [3, 4, 5],
}


def sections(step: str, dataset: str | None) -> dict[str, list[int]]:
    """Numbers of the printed tables by heading of a results page, in the page's order.

    ``dataset`` is that of the step ``results_dataset``, else None.
    """
    if step != "results_dataset":
        return {heading: tables for (of, heading), tables in _FIXED.items() if of == step}
    places = {key: tables for key, tables in paper.TABLES.items() if key[0] == dataset}
    order = paper.DATASETS.index(dataset)

    def numbers(kind: str) -> list[int]:
        return sorted(tables[kind] for tables in places.values() if kind in tables)

    return {
        "Classifiers": [12, 13 + order, 34],
        "Attack success by class": numbers("attack"),
        "Image quality after each defense": numbers("denoise"),
        "Training and attack time": [*range(44, 48), 48 + order],
    }


def anchor(step: str, dataset: str | None, heading: str) -> str:
    """Label of a section that the finder leads to."""
    name = dataset or step.removeprefix("results_")
    return f"{name}-{re.sub('[^a-z]+', '-', heading.lower())}"


def places(number: int | str, there: list[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Anchor and name of each section that has a counterpart of a printed table.

    ``there`` has step and data set (or None) of each results page in the book.
    """
    found = [
        (anchor(step, dataset, heading), title, heading)
        for step, dataset in there
        for title in [shown(dataset) if dataset else TITLES[step]]
        for heading, tables in sections(step, dataset).items()
        if number in tables
    ]
    alone = len(found) == 1
    return [(place, f"{title}: {heading}" if alone else title) for place, title, heading in found]


def linked(text: str, step: str, dataset: str | None) -> str:
    """A cell's Markdown with labels before the headings, and the printed tables named in them."""
    for heading, tables in sections(step, dataset).items():
        word = "Table" if len(tables) == 1 else "Tables"
        named = f"{heading} ({word} {enumerated([str(number) for number in tables])})"
        label = f"({anchor(step, dataset, heading)})=\n"
        text = re.sub(
            f"^## {re.escape(heading)}$", lambda _, new=f"{label}## {named}": new, text, flags=re.M
        )
    return text
