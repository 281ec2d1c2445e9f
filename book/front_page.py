"""The first screen of the book and of the README: a headline, a figure, findings, verdicts.

Every number is of the record: of images of the paper's size where they are recorded. ``defenses``
are of `results_tables.defenses`, one row a data set and defense.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from book import claim_cards, results_text
from book.run_pages import Page
from lib.defense import detection
from lib.evidence import attackers, confidence, recorded_runs, results_tables
from lib.evidence.recorded_runs import RecordedRuns
from lib.figures import results as figures
from lib.figures import style
from lib.figures.formatting import enumerated, rate, shown
from lib.metrics.clusters import image_columns
from lib.params.errors import InputError

PLACES = ("headline", "figure", "findings", "chips")  # ``<!-- name -->`` in index.md
NONE = "No run on real images is recorded in this copy yet."
FILE = "recovery.png"
ALT = "Attack success by confidence; label recovery and clean retention of each defense"
ENOUGH = 30  # images; a share of fewer is no headline
PROVED = {"median3": "a median filter"}  # in running text
DEFENSES = ("dae", "median3")  # the paper's proposal, and a filter that learns nothing


@dataclass(frozen=True)
class First:
    """What the first screen says: Markdown, and the figure with its caption."""

    headline: str
    findings: list[str]
    figure: Figure
    caption: str


def first(results: Path) -> First | None:
    """The first screen of a record; None where no restored attack is recorded."""
    try:
        record = recorded_runs.read(results)
    except InputError:
        return None
    every = {name: record.of(dataset=name) for name in record.datasets}
    every = {name: found for name, found in every.items() if len(found.restored)}
    if not every:
        return None
    largest = max(record.sizes[name] for name in every)
    of_size = [found for name, found in every.items() if record.sizes[name] == largest]
    of_size = [found.of(protocol=found.protocol) for found in of_size]
    useful = [each for found in of_size if len((each := found.useful).restored)]
    chosen = useful or of_size
    weak = pd.concat(map(results_text.weak, of_size))
    left_out = results_text.beaten(weak, numbers=False) if useful else ""
    by_name = {found.dataset: found for found in chosen}
    defenses = results_tables.over(
        by_name, lambda found: results_tables.defenses(found, ["protocol", "size"])
    )
    attacks = results_tables.class_weighted(results_tables.over(by_name, results_tables.success))
    printed = attacks[(attacks["pixels"] == 1) & attacks["printed"].notna()]
    fooled = pd.concat([found.tested.restored for found in chosen])
    fooled = fooled[fooled["success"]]
    sure = pd.concat([confidence.success(found, ["dataset"]) for found in chosen])
    won = confidence.counted(sure, confidence.SURE)
    findings = [
        _attacked(printed, *won), _defended(defenses), _revealed(chosen),
        _holding(attackers.proofs(results)),
    ]  # fmt: skip
    return First(
        f"{_misled(*won)} {_compared(fooled, defenses)}".strip(),
        [each.replace(" %", "\N{NO-BREAK SPACE}%") for each in findings if each],
        figure_of(sure, defenses),
        _caption(chosen) + (f" Left out: {left_out}." if left_out else ""),
    )


def _caption(chosen: list[RecordedRuns]) -> str:
    """What the figure shows, sentences."""
    of = []
    for found in chosen:
        rows = found.tested.restored
        won = rows[rows["success"]].drop_duplicates([*image_columns(rows), "classifier", "pixels"])
        nets = enumerated([*map(shown, rows["classifier"].unique())])
        of.append(f"{len(won)} successful attacks on {shown(found.dataset)} ({nets})")
    text = (
        "Left: share of correctly classified images that are misled, by the classifier's "
        f"confidence in the correct class. Right: {enumerated(of)}, by an attacker who does not "
        "know the defense. Upper right is best. Bars: 95 % intervals. Open marks: with patch "
        "selection, which the paper describes but does not say it used."
    )
    return f"{text} {results_text.past_best(chosen, ['dae'])}".strip()


def _misled(won: int, n: int) -> str:
    """That one pixel can mislead a classifier, and whether also one that is sure."""
    seldom = n >= ENOUGH and won <= results_text.SELDOM * n
    return f"One pixel can mislead {'an unsure' if seldom else 'the'} classifier."


def _compared(fooled: pd.DataFrame, defenses: pd.DataFrame) -> str:
    """Whether the DAE helps, and how it does beside the median filter, on the same attacks.

    ``fooled`` are restored images of successful attacks.
    """
    if not {*DEFENSES} <= set(fooled["defense"]):
        return ""
    _, low, high = results_tables.difference(fooled, "recovered", *DEFENSES)
    beside = "worse" if high < 0 else "better" if low > 0 else "not clearly better"
    pays = defenses.loc[defenses["defense"] == "dae", "pays_from_high"]
    helps = "helps" if (pays < 1).all() else "costs too much"
    return f"The DAE {helps}, {'and' if low > 0 else 'but'} is {beside} than a median filter."


def _attacked(printed: pd.DataFrame, won: int, n: int) -> str:
    """What the attack does beside the printed rates, and to sure predictions."""
    if not len(printed):
        return ""
    ours = [f"**{rate(row.rate)}** of {shown(row.dataset)}" for row in printed.itertuples()]
    theirs = enumerated([rate(share) for share in printed["printed"]])
    size, net = printed[["size", "classifier"]].iloc[0]
    text = (
        f"At {size} px, one pixel misleads {shown(net)} on {enumerated(ours)} images. "
        f"Paper: {theirs}."
    )
    if n >= ENOUGH:
        text += f" **{won} of {n}** attacks succeed at 99 % confidence or more."
    return text


def _defended(defenses: pd.DataFrame) -> str:
    """What the DAE and the median filter do with 100 misled and 100 clean images."""
    if not {*DEFENSES} <= set(defenses["defense"]):
        return ""
    found = []
    for dataset, of in defenses.groupby("dataset", sort=False):
        of = of.set_index("defense").loc[[*DEFENSES]]
        back, lost = (100 * of["recovered"]).round(), (100 * (1 - of["kept"])).round()
        (dae, median), (spoiled, also) = back.map("{:.0f}".format), lost.map("{:.0f}".format)
        found.append(
            f"{shown(dataset)}: **{dae}** and **{spoiled}**, a median filter {median} and {also}."
            if found
            else f"{shown(dataset)}: the DAE recovers **{dae} of 100** misled images and spoils "
            f"**{spoiled} of 100** clean ones, a median filter {median} and {also}."
        )
    return " ".join(found)


def _revealed(chosen: list[RecordedRuns]) -> str:
    """How many of the attacks the DAE and the median filter reveal at few false alarms."""
    tables = [detection.detected(found.tested.restored) for found in chosen]
    if not all({*DEFENSES} <= {*of["defense"][of["n"] > 0]} for of in tables):
        return ""
    tables = [of.set_index("defense")["rate"] for of in tables]
    dae, median = ([rate(of[name]) for of in tables] for name in DEFENSES)
    dae = [f"**{share}**" for share in dae]
    return (
        f"With {rate(detection.ALARMS)} false alarms, the DAE reveals {enumerated(dae)} of these "
        f"attacks, a median filter {enumerated(median)}."
    )


def _holding(proofs: pd.DataFrame) -> str:
    """The most that is proved to hold, of `attackers.proofs`; nothing where nothing is proved."""
    proofs = proofs.query("defense != 'identity' and n >= @ENOUGH") if len(proofs) else proofs
    if not len(proofs):
        return ""
    # By the lower end of the interval: a high share of few images proves little.
    best = proofs.loc[proofs["robust_low"].idxmax()]
    means = PROVED.get(best["defense"], shown(best["defense"]).lower())
    return (
        f"{means.capitalize()} at {best['size']} px keeps {100 * best['clean']:.0f} of 100 clean "
        f"{shown(best['dataset'])} images correct, **{100 * best['robust']:.0f}** provably under "
        "any one-pixel attack."
    )


def page(
    text: str, results: Path, ledger: pd.DataFrame | None, pages: list[Page], folder: Path
) -> str:  # fmt: skip
    """The front page with its places filled; the figure is written to ``folder``.

    ``ledger`` is of `lib.evidence.claims.ledger`; None where nothing is recorded.
    """
    content = dict.fromkeys(PLACES, "") | {"headline": NONE}
    if found := first(results):
        content["headline"] = found.headline
        png, about = found.figure._repr_png_()
        (folder / FILE).write_bytes(png)
        content["figure"] = (
            f"```{{image}} {FILE}\n:class: figure\n:alt: {about['alt']}\n```\n\n"
            f"```{{div}} caption\n{found.caption}\n```"
        )
        content["findings"] = "\n".join(f"- {each}" for each in found.findings)
        content["chips"] = claim_cards.chips(ledger)
    door = next((page.name for page in pages if page.step == "results_overview"), "question")
    text = text.replace("<!-- results -->", f"/{door}")
    for name, words in content.items():
        text = text.replace(f"<!-- {name} -->", words)
    return text


@style.styled
def figure_of(sure: pd.DataFrame, defenses: pd.DataFrame) -> Figure:
    """The figure of the front page: which images are misled, and what defenses do.

    ``sure`` is of `lib.evidence.confidence.success`; each data set of ``defenses`` is a panel.
    """
    panels = defenses.groupby("dataset", sort=False)
    attacks = style.in_words(sure, ["dataset", "confidence"], ["rate"])
    said = style.in_words(defenses, ["dataset", "defense"], ["recovered", "kept"])
    figure, (left, *right) = style.panels(
        3.5, 1 + len(panels), width_ratios=[1.2, *[1] * len(panels)],
        alt=f"Attack success by confidence in percent: {attacks}. Label recovery rate and clean "
        f"prediction retention of each defense: {said}.",
    )  # fmt: skip
    sure = sure.assign(line=sure["dataset"].map(shown))
    paints = figures.line_colors(sure["line"])
    figures.draw_confidence(left, sure, confidence.LEVELS, paints)
    left.set(title="One or two pixels", ylabel="attack success, %")
    left.legend(handles=figures.line_keys(paints), loc="lower left")
    for axes, (name, of) in zip(right, panels, strict=True):
        figures.draw_marks(axes, of)
        axes.set(title=f"Defenses, {shown(name)}", xlabel=figures.NARROW["kept"])
    right[0].set_ylabel("label recovery rate, %")
    style.below(figure, figures.defense_keys(defenses["defense"]), 4)
    return figure
