"""One recorded run made again from the data, and whether its numbers agree with the record.

The rule, for each number: *identical* if it is the recorded one, of as many images; *within* if it
lies in the record's 95 % interval; else *outside*. A number without an interval is never within.
What is so by definition, as that no defense keeps every prediction, is not compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from book.run_pages import word
from lib import params
from lib.evidence import recorded_runs, results_tables
from lib.figures.formatting import shown
from lib.params import Parameters
from lib.params.device import settled
from lib.params.errors import InputError, first_line, unknown
from lib.params.files import atomic, md5, read_json, visible

RUNS = "reproduced"  # a folder of its own, so that no earlier run is taken over
TABLE = "reproduced.csv"  # in the folder of results
STEPS = ("classifier", "pixel_attack", "restoration")  # whose numbers are compared
IDENTICAL, WITHIN, OUTSIDE = AGREEMENTS = ("identical", "within", "outside")
RUN = ["protocol", "dataset", "classifier"]
REPEATED = [*RUN, "reproduced_on"]  # one run on one machine
NUMBER = ["quantity", "pixels", "of"]  # names a number of a run
# Of `results_tables.quality`, one row a defense.
MEASURES = ("recovered", "kept", *results_tables.METRICS, "error_attacked", "error_elsewhere")
UNDEFENDED = (*results_tables.METRICS, "error_attacked")  # not so by definition without a defense
NEAR = 1e-9  # relative; a number that went through a file or another order of sums differs by less


@dataclass(frozen=True)
class Again:
    """A recorded run, and what makes it again."""

    record: dict[str, Any]  # its run.json
    p: Parameters
    given: dict[str, str]  # words for make, by name
    steps: list[str]

    @property
    def pages(self) -> list[str]:
        """Notebooks to execute, relative to the project."""
        folder = Path(self.p.runs, self.p.run_name, self.p.dataset, self.p.classifier)
        return [str(folder / f"{step}.ipynb") for step in self.steps]


def plan(given: dict[str, str]) -> Again:
    """What makes a recorded run again: its own values wherever today's protocol has others.

    ``given`` has dataset and classifier; perhaps protocol (``compact``), runs, results, data_root.

    Raises:
        InputError: no such record, none that can be made again, or other images than it was made
            on.
    """
    if missing := [name for name in ("dataset", "classifier") if not given.get(name)]:
        raise InputError(f"{missing[0].upper()} is missing: name the recorded run, DATASET=oct "
                         "CLASSIFIER=resnet50.")  # fmt: skip
    given = {"protocol": "compact", "runs": RUNS} | given
    p = params.load(**given)  # not settled, so that a precision is given wherever this is "auto"
    results = params.ROOT / p.results
    kept(results)
    folder = results / p.protocol / p.dataset / p.classifier
    if not (folder / "run.json").exists():
        known = [path.parent.relative_to(results) for path in visible(results, "*/*/*/run.json")]
        known = [str(path) for path in known if path.name != "denoisers"]
        raise unknown("recorded run", f"{p.protocol}/{p.dataset}/{p.classifier}", known)
    record = read_json(folder / "run.json")
    steps = [step for step in STEPS if step in record["steps"]]
    if "pixel_attack" not in steps:
        raise InputError(f"{folder} holds no attack, whose numbers could be compared.")
    values = _values(record, folder.parent / "denoisers" / "run.json", steps)
    now = p.recorded()
    given |= {name: value for name, value in values.items() if now.get(name, value) != value}
    p = settled(params.load(**given))
    _check_images(record, p)
    return Again(record, p, {name: word(value) for name, value in given.items()}, steps)


def _values(record: dict[str, Any], denoisers: Path, steps: list[str]) -> dict[str, Any]:
    """The recorded values that decide the results, by name."""
    sources = [(record["parameters"], steps)]
    if denoisers.exists():
        sources.append((read_json(denoisers)["parameters"], ["denoisers"]))
    fixed = {"protocol", "dataset", "classifier", *params.PLACES}
    values = {
        name: recorded[name]
        for recorded, of in sources
        for step in of
        for name in params.step_fields(step)
        if name in recorded and name not in fixed
    }
    if values.get("classifier_weights") == "auto":  # what it stood for on that machine
        values["classifier_weights"] = record["steps"]["classifier"]["start"]
    return values


def _check_images(record: dict[str, Any], p: Parameters) -> None:
    npz, wanted = record["data"]["npz"], record["data"]["md5"]
    path = params.ROOT / p.data_root / npz
    if not path.exists() or md5(path) != wanted:
        found = f"has the MD5 {md5(path)}" if path.exists() else "is missing"
        raise InputError(
            f"{path} {found}; the record was made on {npz} with the MD5 {wanted}: make it with "
            f"`make data SOURCE=folder SIZE={p.data_size} DATASET={p.dataset}`, or put it there."
        )


def agreement(
    recorded: float, low: float, high: float, n: float, again: float, again_n: float
) -> str:
    """One of `AGREEMENTS`, of two numbers of ``n`` images each; two missing ones are identical."""
    if n == again_n and np.isclose(recorded, again, rtol=NEAR, atol=0, equal_nan=True):
        return IDENTICAL
    return WITHIN if low <= again <= high else OUTSIDE


def numbers(folder: Path, p: Parameters, name: str) -> pd.DataFrame:
    """Every number that is compared of the run with this name, in a folder of records or runs.

    Returns:
        `NUMBER`, ``value, low, high, n``. Rates are of all attacked images, not of the test part
        alone; metrics are means over successful attacks.
    """
    found = recorded_runs.read(folder, [name], [p.dataset]).of(classifier=p.classifier)
    return pd.DataFrame(_rows(found, p), columns=[*NUMBER, "value", "low", "high", "n"])


def _rows(found: recorded_runs.RecordedRuns, p: Parameters) -> Iterator[tuple]:
    boot = p.bootstrap_samples, p.seed
    for row in results_tables.accuracies(found).itertuples():
        yield "test accuracy", "", "", row.accuracy, row.low, row.high, row.n
    for row in results_tables.success_by_class(found).to_dict("records"):
        values = (row[name] for name in ("rate", "low", "high", "n"))
        yield "attack success", row["pixels"], row["class"], *values
    for row in results_tables.quality(found, results_tables.ATTACK, *boot).to_dict("records"):
        for name in MEASURES if row["defense"] != "identity" else UNDEFENDED:
            n = row["images"] if name == "kept" else row["n"]
            at = "restoration, " + name, row["pixels"], row["defense"]
            yield *at, *(row[name + end] for end in ("", "_low", "_high")), n
    defended = results_tables.defenses(found, results_tables.WITHIN, *boot)
    for row in _others(defended).to_dict("records"):
        values = (row["pays_from" + end] for end in ("", "_low", "_high"))
        yield "break-even attack prevalence", "", row["defense"], *values, row["n"]
    for row in _others(found.detection).to_dict("records"):
        at = f"detection, {row['score']} residual, {row['images']}", row["pixels"], row["defense"]
        yield *at, row["auc"], row["auc_low"], row["auc_high"], row["n"]


def _others(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of defenses other than none, whose values are what they are by definition."""
    return table[table["defense"] != "identity"] if len(table) else table


def compare(again: Again) -> pd.DataFrame:
    """Every number of the record beside the one made again.

    Returns:
        `RUN`, `NUMBER`, ``recorded, low, high, n``; ``reproduced, reproduced_n`` and ``agreement``;
        ``recorded_on, reproduced_on``, the machines; ``finished`` (UTC) and ``commit`` of the new
        run.
    """
    p = again.p
    old = numbers(params.ROOT / p.results, p, p.protocol)
    new = numbers(params.ROOT / p.runs, p, p.run_name)
    table = old.rename(columns={"value": "recorded"}).merge(
        new.rename(columns={"value": "reproduced", "n": "reproduced_n"})
        .drop(columns=["low", "high"]), "outer", NUMBER, sort=False,
    )  # fmt: skip
    columns = ["recorded", "low", "high", "n", "reproduced", "reproduced_n"]
    table["agreement"] = [agreement(*row) for row in table[columns].itertuples(index=False)]
    about = read_json(p.run_folder / "run.json")
    table = table.assign(
        protocol=p.protocol, dataset=p.dataset, classifier=p.classifier,
        recorded_on=machine(again.record), reproduced_on=machine(about),
        finished=about["finished"][:10], commit=about["commit"],
    )  # fmt: skip
    return table[[*RUN, *(name for name in table if name not in RUN)]]


def machine(run: dict[str, Any]) -> str:
    """Processor, threads and GPU of an entry of ``run.json``."""
    of = run["hardware"]
    parts = [of["processor"], f"{of['threads']} of {of['cores']} cores"]
    return ", ".join([*parts, of["gpu"]] if of["gpu"] else parts)


def kept(results: Path) -> pd.DataFrame:
    """What earlier calls have put into the folder of results; no rows where there is nothing.

    Raises:
        InputError: the file is no such table.
    """
    path = results / TABLE
    if not path.exists():
        return pd.DataFrame(columns=REPEATED)
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"{path} is no table ({first_line(error)}): delete it.") from None
    if missing := [name for name in REPEATED if name not in table]:
        raise InputError(f"{path} has no column {', '.join(missing)}: delete it.")
    return table


def keep(table: pd.DataFrame, results: Path) -> Path:
    """Put the table into the folder of results, in place of one of the same run and machine."""
    path, earlier = results / TABLE, kept(results)
    if len(earlier):
        same = (earlier[REPEATED] == table[REPEATED].iloc[0]).all(axis=1)
        table = pd.concat([earlier[~same].astype(object), table.astype(object)])
    with atomic(path) as temporary:
        temporary.write_text(table.to_csv(index=False), encoding="utf-8")
    return path


def counted(table: pd.DataFrame) -> str:
    """How many numbers agree, a sentence."""
    counts = table["agreement"].value_counts()
    words = [f"{counts.get(name, 0)} {name}" for name in AGREEMENTS]
    return f"Of {len(table)} numbers: {', '.join(words)}."


def text(table: pd.DataFrame) -> str:
    """The table for a terminal."""
    columns = [*NUMBER, "recorded", "low", "high", "reproduced", "agreement"]
    shown = table[columns].to_string(index=False, float_format="{:.4g}".format, na_rep="-")
    return f"{shown}\n{counted(table)}"


def title(row: dict[str, Any]) -> str:
    """A run in words."""
    return f"{shown(row['dataset'])}, {shown(row['classifier'])}, protocol {row['protocol']}"
