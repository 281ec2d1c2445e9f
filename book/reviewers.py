"""What the page for reviewers shows of the record: evidence of each claim, and runs made again."""

from pathlib import Path

import pandas as pd

from book import claim_cards, markdown, reproduce, results_pages
from book.run_pages import Page
from lib.evidence.record import step_minutes
from lib.figures.formatting import many, shown
from lib.params.files import read_json, visible
from lib.params.stages import RESULTS

QUANTITIES = {
    "recovered": "label recovery rate", "kept": "clean prediction retention",
    "error_attacked": "error at the pixel", "error_elsewhere": "error elsewhere",
    "fooled": "misclassified images", "all": "all attacked images",
}  # fmt: skip


def texts(results: Path, ledger: pd.DataFrame | None, pages: list[Page]) -> dict[str, str]:
    """What the places of the page are filled with, by name."""
    return {
        "claims": claims_table(ledger, pages), "reproduced": reproduced(results),
        "runs": runs(results),
    }  # fmt: skip


def claims_table(ledger: pd.DataFrame | None, pages: list[Page]) -> str:
    """Each claim with its verdict, the results pages, the recorded files and the test.

    ``ledger`` is of `lib.evidence.claims.ledger`; None where nothing is recorded.
    """
    if ledger is None:
        return "Nothing is recorded yet."
    cards = next((f"/{page.name}" for page in pages if page.step == "verdicts"), None)
    rows = []
    for row in ledger.to_dict("records"):
        linked = f"{{doc}}`{row['name']} <{cards}>`" if cards else row["name"]
        where = f"`{row['files']}`<br>`{row['id']}`"
        chip = claim_cards.chip(row["verdict"], claim_cards.answer(row))
        rows.append([linked, chip, _links(row["page"], pages), where])
    return markdown.table(["claim", "verdict", "pages", "files and test"], rows)


def _links(step: str, pages: list[Page]) -> str:
    """Links to the results pages of a step, or of all data sets; names where they are not built."""
    chosen = [page for page in pages if page.step == (step or "results_dataset")]
    if not chosen:
        return results_pages.TITLES.get(step, "each data set")
    return ", ".join(
        f"{{doc}}`{shown(page.dataset) if page.dataset else page.label} </{page.name}>`"
        for page in chosen if page.step in RESULTS
    )  # fmt: skip


def reproduced(results: Path) -> str:
    """What `book.reproduce` has found, run by run and machine by machine."""
    every = reproduce.kept(results)
    if not len(every):
        return "No run has been made again yet."
    parts = []
    for _, table in every.groupby(reproduce.REPEATED, sort=False):
        first = table.iloc[0]
        rows = [
            [_quantity(row["quantity"]), _of(row), row["n"],
             _number(row["recorded"]) + _range(row["low"], row["high"]),
             _number(row["reproduced"]), row["agreement"]]
            for row in table.to_dict("records")
        ]  # fmt: skip
        header = ["number", "of", "n", "recorded", "again", "agreement"]
        parts.append(
            f"**{reproduce.title(first)}.** {reproduce.counted(table)} Recorded on "
            f"{first['recorded_on']}; made again on {first['reproduced_on']}, "
            f"{first['finished']}, commit `{first['commit']}`.\n\n"
            f"{markdown.listing(header, rows)}"
        )
    return "\n\n".join(parts)


def _quantity(name: str) -> str:
    """Name of a compared number for readers."""
    parts = name.removeprefix("restoration, ").split(", ")
    return ", ".join(QUANTITIES.get(part, shown(part)) for part in parts)


def _of(row: dict) -> str:
    """Class or defense, and the number of pixels."""
    pixels = [many(int(row["pixels"]), "pixel")] if row["pixels"] != "" else []
    return ", ".join([*([shown(row["of"])] if row["of"] else []), *pixels])


def _number(value: object) -> str:
    return f"{float(value):.4g}" if value != "" else "–"


def _range(low: object, high: object) -> str:
    return f" ({_number(low)}–{_number(high)})" if low != "" else ""


def runs(results: Path) -> str:
    """Minutes of each recorded run with an attack, the shortest first."""
    rows = []
    for path in visible(results, "*/*/*/run.json"):
        about = read_json(path)
        if "pixel_attack" not in about["steps"]:
            continue
        minutes = sum(step_minutes(path.parent, step, run)
                      for step, run in about["steps"].items())  # fmt: skip
        names = [f"`{part}`" for part in path.parent.relative_to(results).parts]
        rows.append((minutes, names, about["hardware"]["gpu"] or about["hardware"]["processor"]))
    listed = [[*names, f"{minutes:.0f}", machine] for minutes, names, machine in sorted(rows)]
    header = ["PROTOCOL", "DATASET", "CLASSIFIER", "minutes", "on"]
    return markdown.listing(header, listed)
