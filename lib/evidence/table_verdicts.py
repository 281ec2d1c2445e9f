"""Every table and figure of the paper: what stands beside it here, and the verdict or the reason.

``results/coverage.csv`` has one row for each of the 52 tables and 26 figures.
"""

import pandas as pd

from lib.evidence import printed as paper
from lib.evidence.findings import Recorded
from lib.evidence.verdicts import NOT_TESTABLE, Verdict, of_values
from lib.figures.formatting import many
from lib.params import Parameters

COLUMNS = (
    "kind", "number", "shows", "ours", "notebook", "protocol", "source", "verdict", "reason",
)  # fmt: skip
# Tables whose numbers cannot be ours, whatever is run.
OTHER = {
    **dict.fromkeys((11, "A1"), "It lists the authors' machines and software; ours are on the "
                                "status page."),
    **dict.fromkeys(range(44, 52), "A time on other hardware, with other sizes and budgets, agrees "
                                   "only by chance (EVA13); ours stands beside it."),
    **dict.fromkeys((1, 2), "The network is built from this table: that its counts agree "
                            "shows no more than that the table fits itself."),
    **dict.fromkeys((6, 7, 8, 9, 10), "It counts images of the source sets. Ours come from "
                                      "MedMNIST's form of them; the page of each data set has both "
                                      "counts."),
    **dict.fromkeys((13, 14, 15, 16), "Precision, recall and F1 by class stand on the pages of the "
                                      "classifiers; without the paper's split they need not "
                                      "agree."),
}  # fmt: skip


def coverage(compared: pd.DataFrame, found: Recorded, p: Parameters) -> pd.DataFrame:
    """One row a table and figure: `COLUMNS`.

    Args:
        compared: of `compare.compare`.
        found: the record that it was made from.
        p: its parameters; values are comparable with the paper's where the protocol has the
            paper's size and the images are MedMNIST's own.
    """
    rows = [_table(number, compared, p) for number in paper.NUMBERS]
    rows += [_figure(entry, found, p) for entry in paper.figures()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _table(number: int | str, compared: pd.DataFrame, p: Parameters) -> dict:
    rows = compared[compared["table"] == number]
    sources = set(rows["source"])
    if number in OTHER:
        verdict = Verdict(NOT_TESTABLE, OTHER[number])
    else:
        verdict = of_values(rows, p.data_size == 224 and sources == {"official"})
    count = f"{many(len(rows), 'value')} with interval" if len(rows) else ""
    return _row(
        "table", number, paper.caption(number), count, paper.place(number)[0], p, sources, verdict
    )


def _figure(entry: dict, found: Recorded, p: Parameters) -> dict:
    there, sources = _recorded(entry, found)
    if entry["kind"] == "model":
        reason = "The model is built and counted by code; a drawing has no value to compare."
    elif entry["kind"] == "times":
        reason = OTHER[44]
    elif entry["kind"] == "process":
        reason = "It outlines the steps, which are the parts of this book."
    else:
        reason = (
            "Examples have no value to compare; ours are on the page of the run."
            if there
            else "Examples of runs that are not recorded yet."
        )
    ours = {"examples": "examples" if there else "", "times": "chart" if there else ""}
    made = ours.get(entry["kind"], "description")
    verdict = Verdict(NOT_TESTABLE, reason)
    return _row("figure", entry["number"], entry["shows"], made, entry["step"], p, sources, verdict)


def _recorded(entry: dict, found: Recorded) -> tuple[bool, set[str]]:
    """Whether the run that a figure belongs to is recorded, and its data source."""
    wanted = "/".join(entry[key] for key in ("dataset", "classifier") if key in entry)
    if entry["kind"] == "times":
        of = found.folders[found.folders["steps"].str.contains("classifier|denoisers")]
    else:
        of = found.folders[found.folders["results"] == wanted]
    return bool(len(of)), set(of["source"])


def _row(kind, number, shows, ours, notebook, p, sources, verdict) -> dict:
    names, protocol = " and ".join(sorted(sources)), p.protocol if sources - {"code"} else ""
    return {
        "kind": kind, "number": number, "shows": shows, "ours": ours, "notebook": notebook,
        "protocol": protocol, "source": names,
        "verdict": verdict.word, "reason": verdict.reason,
    }  # fmt: skip
