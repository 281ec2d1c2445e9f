"""Every table and figure of the paper: its counterpart here, and the verdict with its reason.

``results/coverage.csv`` has one row for each of the 52 tables and 26 figures.
"""

import pandas as pd

from lib.evidence import printed as paper
from lib.evidence.printed_comparison import compare
from lib.evidence.record import Record
from lib.evidence.verdicts import NOT_TESTABLE, Verdict, of_values
from lib.figures.formatting import many
from lib.params import Parameters

REAL = {"official", "rebuilt"}
BUDGET = 10_100  # candidates an image, the paper's
ACCURACIES = (12, 34)  # they depend on the training images, of which rebuilt files have a sample
TIMES = "Times on other hardware, with other sizes and budgets, are not expected to agree (EVA13)."
# Tables whose numbers cannot be ours, whatever is run, and the reason.
OTHER = {
    **dict.fromkeys((11, "A1"), "The table lists the authors' computers and software; ours are on "
                                "the page Status."),
    **dict.fromkeys(range(44, 52), TIMES),
    **dict.fromkeys((1, 2), "Our network is built from this table, so agreement only shows that "
                            "the table is consistent."),
    **dict.fromkeys((6, 7, 8, 9, 10), "The table counts images of the original data sets. Ours "
                                      "come from the MedMNIST format; the page of each data set "
                                      "has both counts."),
    **dict.fromkeys((13, 14, 15, 16), "Precision, recall and F1 depend on the split, and we do "
                                      "not have the paper's."),
}  # fmt: skip
EXAMPLES = "Example images have no value to compare; ours are on the page of the run."
NOT_RECORDED = "Example images; no such run is recorded yet."
# By kind of figure: its counterpart where runs are recorded, and the reason.
FIGURES = {
    "model": ("description", "A drawing has no value to compare; our code builds the model."),
    "times": ("chart", TIMES),
    "process": ("description", "The figure outlines the steps of the study."),
    "examples": ("examples", EXAMPLES),
}  # fmt: skip


def judge(compared: pd.DataFrame, record: Record, p: Parameters) -> pd.DataFrame:
    """One row per table and figure: ``kind, number, shows, ours, notebook, protocol, source,
    verdict, reason``. ``compared`` is of `printed_comparison.compare` of the same record.
    """
    rows = []

    def add(kind: str, entry: dict, ours: str, sources: set[str], verdict: Verdict) -> None:
        rows.append({
            "kind": kind, "number": entry["number"], "shows": entry["shows"], "ours": ours,
            "notebook": entry["step"], "protocol": p.protocol if sources - {"code"} else "",
            "source": " and ".join(sorted(sources)), "verdict": verdict.word,
            "reason": verdict.reason,
        })  # fmt: skip

    for number in paper.NUMBERS:
        values, step = compared[compared["table"] == number], paper.place(number)[0]
        sources = set(values["source"])
        if number in OTHER:
            verdict = Verdict(NOT_TESTABLE, OTHER[number])
        else:
            verdict = of_values(values, comparable(number, sources, p))
        ours = f"{many(len(values), 'value')} with interval" if len(values) else ""
        entry = {"number": number, "shows": paper.caption(number), "step": step}
        add("table", entry, ours, sources, verdict)
    for entry in paper.figures():
        sources = _sources(entry, record)
        ours, reason = FIGURES[entry["kind"]]
        if not sources and entry["kind"] in ("examples", "times"):
            ours, reason = "", NOT_RECORDED if entry["kind"] == "examples" else reason
        add("figure", entry, ours, sources, Verdict(NOT_TESTABLE, reason))
    return pd.DataFrame(rows)


def judge_all(records: list[tuple[Record, Parameters]]) -> pd.DataFrame:
    """`judge` several protocols, nearest to the paper's first: each row is of the first
    counterpart.
    """
    first, *others = (judge(compare(record, p), record, p) for record, p in records)
    for other in others:
        first = first.where(first["protocol"] != "", other)
    return first


def comparable(number: int | str, sources: set[str], p: Parameters) -> bool:
    """Whether a table's values can be tested: real images, the paper's size and search budget.

    Accuracies also need the paper's training images.
    """
    size = p.ablation_size if paper.place(number)[0] == "ablation" else p.data_size
    budget = p.attack_population * (p.attack_generations + 1)
    wanted = {"official"} if number in ACCURACIES else REAL
    return size == 224 and budget >= BUDGET and bool(sources) and sources <= wanted


def _sources(entry: dict, record: Record) -> set[str]:
    """Data sources of the recorded runs that a figure belongs to; empty without any."""
    folders = record.folders
    if entry["kind"] == "times":
        folders = folders[folders["steps"].str.contains("classifier|denoisers")]
    else:
        wanted = "/".join(entry[key] for key in ("dataset", "classifier") if key in entry)
        folders = folders[folders["results"] == wanted]
    return set(folders["source"])
