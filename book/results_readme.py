"""What the README of the results says of the record: a small table and sentences."""

from pathlib import Path

import pandas as pd

from book import attackers_text
from book.front_page import NONE
from book.markdown import table
from book.results_text import beaten, defended, unrestored
from lib import params
from lib.defense import restoration
from lib.evidence import attackers
from lib.evidence.rates import defense_rates
from lib.evidence.record import Record
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.run_tables import by_group
from lib.figures.formatting import attack, break_even, enumerated, pixels, rate, shown
from lib.figures.tables import rates
from lib.metrics import clusters, intervals
from lib.params import Parameters

# The paper's four denoisers, the DAE with patch selection, the plainest filter, and no defense.
DEFENSES = (
    "dae", "noise2noise", "median_cnn", "autoencoder", f"dae{params.PATCHES}", "median3",
    "identity",
)  # fmt: skip

COUNTED = (
    "All images are test images. An attacked image counts once for each classifier and number of "
    "pixels, a clean image once for each classifier. Confidence intervals allow for several rows "
    "of one image and for several images of one patient. These rates are not weighted: each class "
    "counts by its number of attacked images, so rare classes weigh more than in practice."
)


def paragraphs(record: Record, p: Parameters) -> list[str]:
    """The results, and on which data: paragraphs of Markdown."""
    if not record.runs:
        return [NONE]
    names = [f"{shown(name)} ({record.runs.sizes[name]} px)" for name in record.runs.datasets]
    runs, weak, title = _useful(record.runs)
    text = " ".join([
        f"Protocol `{p.protocol}`; images (*{' and '.join(record.sources)}*, see "
        f"[book/data.md](../book/data.md)): {enumerated(names)}.",
        *([f"{title}: {beaten(weak)}."] if len(weak) else []),
        *(_success(runs.attacks, count) for count in params.ATTACKS),
        unrestored([runs.of(dataset=name) for name in runs.datasets]),
    ]).strip()  # fmt: skip
    if not len(runs.restored):
        return [text]
    boot = p.bootstrap_samples, p.seed
    pooled = defense_rates(runs.restored, *boot).set_index("defense")
    attacked, clean = int(pooled["n"].max()), int(pooled["images"].max())
    columns = [
        "", f"label recovery rate of {attacked:,} successful attacks",
        f"clean prediction retention of {clean:,} clean images", "break-even attack prevalence",
    ]  # fmt: skip
    recovered, kept = (rates(pooled, name, digits=1) for name in ("recovered", "kept"))
    rows = [
        [shown(name), recovered[name], kept[name], _break_even(pooled.loc[name])]
        for name in DEFENSES if name in pooled.index
    ]  # fmt: skip
    patched = f"dae{params.PATCHES}"
    if not {"dae", "median3", patched} <= set(pooled.index):
        return [text, table(columns, rows)]
    patches = pooled.loc[patched]
    each = by_group(runs.restored, ["dataset"], lambda of: defense_rates(of, *boot))
    each = each[each["defense"] == "dae"].set_index("dataset")
    pays = "; ".join(f"{shown(name)} {_break_even(row)}" for name, row in each.iterrows())
    sentences = [
        defended(pooled.reset_index()),
        "A defense is worth using only above its break-even attack prevalence. For the DAE, and an "
        f"attacker who does not know it: {pays}.",
        "With patch selection (*+ patches*; described in the paper, which does not say that it was "
        "used), the DAE's first two numbers are "
        f"{100 * patches['recovered']:.0f} and {100 * (1 - patches['kept']):.0f}.",
    ]
    return [text, table(columns, rows), " ".join(sentences)]


def adaptive_attack(results: Path) -> list[str]:
    """Results of the adaptive attack, sentences and a table; none where it was not run."""
    rows, weak = attackers.to_pool(results, attackers.read(results)[0])
    shares = attackers.pooled(rows)
    knowing, oblivious = (attackers.one_pixel(shares, of) for of in ("adaptive", "oblivious"))
    if not len(knowing):
        return []
    columns = [
        "defense", "correct after an adaptive attack",
        "correct if the attacker does not know the defense",
    ]  # fmt: skip
    aware, unaware = (rates(of, "correct", digits=1) for of in (knowing, oblivious))
    cells = [[shown(name), aware[name], unaware[name]] for name in DEFENSES if name in aware]
    return [
        "An adaptive attack searches through defense and classifier together, here for one pixel. "
        + attackers_text.pooled(rows, weak, "table"),
        table(columns, cells),
    ]


def _useful(runs: RecordedRuns) -> tuple[RecordedRuns, pd.DataFrame, str]:
    """Attacks on test images, without those on classifiers that a constant answer beats.

    Returns:
        The runs; those left out, as `beaten` takes them; and what is to be said of these. If a
        constant answer beats every classifier, none is left out.
    """
    weak = runs.runs["weak"]
    if weak.all():
        return runs.tested, runs.runs, "Read this with care"
    return runs.tested.useful, runs.runs[weak], "Left out"


def _break_even(row: pd.Series) -> str:
    return break_even(*row[["pays_from", "pays_from_low", "pays_from_high"]], digits=1)


def _success(records: pd.DataFrame, count: int) -> str:
    of_count = records[records["pixels"] == count]
    if not len(of_count):
        return f"No attack with {pixels(count)} is recorded."
    images = len(of_count[restoration.IMAGE].drop_duplicates())
    estimate = intervals.share(of_count["success"], clusters.of(of_count))
    attempts = f"{len(of_count):,} attempts on {images:,} images"
    return f"The {attack(count)} succeeded in {rate(*estimate, digits=1)} of {attempts}."
