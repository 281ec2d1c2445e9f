"""Files beside the record that follow from all of it: the coverage, and what was found in words."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from lib.errors import InputError
from lib.evidence import claims, compare, coverage, findings, front
from lib.evidence.findings import Recorded
from lib.params import Parameters
from lib.records import atomic

COVERAGE, README = "coverage.csv", "README.md"


def texts(results: Path) -> dict[str, str]:
    """Content of each file by name, from what is recorded of the protocol nearest to the paper's.

    Raises:
        InputError: nothing is recorded.
    """
    recorded = findings.current(results)
    if recorded is None:
        raise InputError(f"{results} holds no results: run `make record` after a run.")
    found, p = recorded
    covered = coverage.coverage(compare.compare(found, p), found, p)
    return {COVERAGE: covered.to_csv(index=False), README: readme(found, p)}


def readme(found: Recorded, p: Parameters) -> str:
    """What was found as Markdown for those who look into the folder before they build the book."""
    ledger = claims.ledger(found, p)
    rows = [
        f"| {row['claim']} | **{row['verdict']}** | {row['reason']} |"
        for row in ledger.to_dict("records")
    ]
    parts = [
        "# What was found",
        "Made by `make record` from the tables in this folder and held against them by "
        "`make verify`; nothing here is typed. The book's pages Findings and Verdicts say it in "
        "full, with the printed values beside ours. How verdicts are made: "
        "[book/rule.md](../book/rule.md).",
        *front.paragraphs(found, p),
        front.counted(ledger),
        "\n".join(["| claim of the paper | verdict | why |", "| --- | --- | --- |", *rows]),
        "What each table and figure of the paper has here: [coverage.csv](coverage.csv).",
    ]
    return "\n\n".join(parts) + "\n"


def write(results: Path) -> list[Path]:
    """Write the files and return their paths."""
    for name, text in texts(results).items():
        with atomic(results / name) as temporary:
            temporary.write_text(text)
    return [results / COVERAGE, results / README]


def problems(results: Path) -> Iterator[str]:
    """One sentence for each file that is missing or not what the record says now."""
    for name, text in texts(results).items():
        path = results / name
        if not path.exists():
            yield f"{path} is missing: run `make record`."
            continue
        both = zip_longest(path.read_text().splitlines(), text.splitlines())
        line = next((place for place, (old, new) in enumerate(both, start=1) if old != new), None)
        if line:
            yield f"{path}, line {line}: it does not follow from the record; run `make record`."
