"""Every table and figure of the paper: its counterpart here, and the verdict with its reason.

``results/coverage.csv`` has one row for each of the 52 tables and 26 figures.
"""

from dataclasses import replace

import pandas as pd

from lib.evidence import ablation, claims, published_lists, training_times
from lib.evidence import printed as paper
from lib.evidence.printed_comparison import MEDMNIST, compare
from lib.evidence.rates import FEWEST
from lib.evidence.record import Record
from lib.evidence.verdicts import NOT_TESTABLE, Verdict, limited, of_values, over_data_sets
from lib.figures.formatting import enumerated, many, shown
from lib.params import PRINTED_BUDGET, PRINTED_SIZE, Parameters

REAL = {"official", "rebuilt"}
TOTALS = (32, 33, 43)  # of the data sets
ACCURACIES = (12, 34)  # they depend on the training images, of which rebuilt files have a sample
ABLATED = {3: claims.proposed_beats_baseline, 4: claims.modules_help, 5: claims.four_levels_best}
ABLATION_TEST, ABLATION_TRAIN, ABLATION_SEEDS = 2000, (0, 8000), 3  # DAT10, EVA12
COUNTED = {
    6: "Compared with the counts that MedMNIST publishes for the original data sets.",
    **dict.fromkeys((7, 8, 9), "Compared with the labels of our images, which are all of the data "
                               "set."),
    10: "Counted in the list of findings that NIH publishes beside all images.",
}  # fmt: skip
PARTIAL = "Class sizes need all images of a data set, and no such file is recorded."
TIMED = (44, 45, 48, 49, 50, 51)  # only their orders can agree
TIMES = "Times on other hardware are not expected to agree (EVA13)."
# Tables whose numbers cannot be ours, whatever is run, and the reason.
OTHER = {
    **dict.fromkeys((11, "A1"), "The table lists the authors' computers and software; ours are on "
                                "the page Status."),
    **dict.fromkeys((46, 47), TIMES),
    **dict.fromkeys((1, 2), "Our network is built from this table, so agreement only shows that "
                            "the table is consistent."),
    **dict.fromkeys((13, 14, 15, 16), "Precision, recall and F1 depend on the split, and we do "
                                      "not have the paper's."),
}  # fmt: skip
EXAMPLES = "Example images have no value to compare; ours are on the page of the run."
NOT_RECORDED = "Example images; no such run is recorded yet."
# By kind of figure: its counterpart where runs are recorded, and the reason.
FIGURES = {
    "model": (
        "description",
        "A drawing has no value to compare. We did not have it: our model follows the text.",
    ),
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
            "notebook": entry["step"],
            "protocol": p.protocol if sources - {"code", MEDMNIST, published_lists.NIH} else "",
            "source": " and ".join(sorted(sources)), "verdict": verdict.word,
            "reason": verdict.reason,
        })  # fmt: skip

    for number in paper.NUMBERS:
        values, step = compared[compared["table"] == number], paper.place(number)[0]
        sources = set(values["source"])
        ours = f"{many(len(values), 'value')} with interval" if len(values) else ""
        if number in OTHER:
            verdict = Verdict(NOT_TESTABLE, OTHER[number])
        elif number in COUNTED:
            verdict = _counted(number, values)
            ours = many(len(values), "count") if len(values) else ""
        elif number in TIMED:
            verdict = _timed(number, record)
            ours = many(sum(verdict.counts), "order") if any(verdict.counts) else ""
        else:
            why = unlike(number, sources, record, p)
            verdict = (
                _ablated(number, values, record, p)
                if number in ABLATED and not why
                else _complete(number, values, of_values(values, why))
            )
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


def _complete(number: int | str, values: pd.DataFrame, verdict: Verdict) -> Verdict:
    """At most *in part* for a table of success rates of which classes or data sets are missing."""
    if number in TOTALS:
        return over_data_sets(verdict, {row.split(",")[0] for row in values["row"]})
    keys = [key for key, of in paper.TABLES.items() if of.get("attack") == number]
    if not keys or not len(values):
        return verdict
    classes = paper.attack_table(*keys[0])["class"]
    missing = [name for name in classes if name not in {*values["row"]}]
    if not missing:
        return verdict
    why = f"with fewer than {FEWEST} correct test images: {enumerated(missing)}"
    return limited(verdict, f"Not compared, {why}.")


def unlike(number: int | str, sources: set[str], record: Record, p: Parameters) -> str:
    """Why a table's values cannot be tested; empty if they can.

    They need real images of the paper's size. Accuracies also need its training images, and all
    others its search budget. The ablation needs no search, but all images, and trainings that have
    settled.
    """
    if number in ABLATED and sources and sources <= REAL:
        return _unlike_ablation(number, record, p)
    budget = p.attack_population * (p.attack_generations + 1)
    wanted = {"official"} if number in ACCURACIES else REAL
    why = [f"the images have fewer than {PRINTED_SIZE} px"] * (p.data_size < PRINTED_SIZE)
    if budget < PRINTED_BUDGET and number not in ACCURACIES:
        why.append(f"the search has {budget:,} queries")
    if not sources or not sources <= wanted:
        why.append("the images are not MedMNIST's own" if sources <= REAL else "no image is real")
    return f"{enumerated(why)} ({p.protocol}, {enumerated(sorted(sources))})" if why else ""


def _unlike_ablation(number: int, record: Record, p: Parameters) -> str:
    metrics, models = (
        table[table["variant"].isin(paper.ABLATIONS[number])] for table in record.ablation
    )
    images = metrics.groupby(["variant", "seed"]).size()
    if p.ablation_size not in (64, PRINTED_SIZE):
        return f"the images have {p.ablation_size} px"
    if set(images) != {ABLATION_TEST} or p.ablation_train not in ABLATION_TRAIN:
        return f"not all images were used for training or measured ({p.protocol})"
    if models.groupby("variant")["seed"].nunique().min() < ABLATION_SEEDS:
        return f"a model was trained with fewer than {ABLATION_SEEDS} seeds"
    return "" if ablation.settled_variants(models) else "the trainings have not settled"


def _ablated(number: int, values: pd.DataFrame, record: Record, p: Parameters) -> Verdict:
    """Values and orders of the models whose trainings have settled; the others are left out."""
    metrics, models = record.ablation
    names = ablation.settled_variants(models)
    left_out = [shown(name) for name in paper.ABLATIONS[number] if name not in names]
    settled = replace(record, ablation=(metrics[metrics["variant"].isin(names)], models))
    orders = ABLATED[number](settled, p)
    verdict = of_values(values[values["row"].isin(names)], orders=orders)
    verdict = replace(verdict, reason=f"{verdict.reason} At {p.ablation_size} px.")
    if not left_out:
        return verdict
    why = f"Left out, because a training has not settled: {'; '.join(left_out)}."
    return limited(verdict, why)


def _counted(number: int, values: pd.DataFrame) -> Verdict:
    if not len(values):
        return Verdict(NOT_TESTABLE, PARTIAL)
    verdict = of_values(values, unit="counts equal the printed ones")
    odd = [
        f"{shown(row['row'])}, {row['quantity']} (printed {row['printed']:,.0f}, "
        f"{row['ours']:,.0f} here)"
        for row in values[~values["holds"]].to_dict("records")
    ]
    more = f" Unequal: {'; '.join(odd)}." if odd else ""
    return replace(verdict, reason=f"{verdict.reason} {COUNTED[number]}{more}")


def _timed(number: int, record: Record) -> Verdict:
    dataset, times = paper.place(number)[1], record.times
    verdict = (
        training_times.denoisers(times, dataset) if dataset else training_times.classifiers(times)
    )
    if verdict.word == NOT_TESTABLE:
        return replace(verdict, reason=f"{TIMES} Their order has not been measured yet.")
    return verdict


def _sources(entry: dict, record: Record) -> set[str]:
    """Data sources of the recorded runs that a figure belongs to; empty without any."""
    folders = record.folders
    if entry["kind"] == "times":
        folders = folders[folders["steps"].str.contains("classifier|denoisers")]
    else:
        wanted = "/".join(entry[key] for key in ("dataset", "classifier") if key in entry)
        of_step = folders["steps"].str.contains(entry["step"], regex=False)
        folders = folders[(folders["results"] == wanted) & of_step]
    return set(folders["source"])
