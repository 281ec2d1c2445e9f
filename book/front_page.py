"""The first screen of the book and of the README: a headline, a figure, three findings, verdicts.

Every number is of the record: of images of the paper's size where they are recorded.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from book import claim_cards, results_text
from book.run_pages import Page
from lib.defense.restoration import image_columns
from lib.evidence import attackers, recorded_runs, results_tables
from lib.evidence.rates import defense_rates
from lib.figures import results as figures
from lib.figures import style
from lib.figures.formatting import enumerated, percent, rate, shown
from lib.figures.slopes import draw_slopes, slope_keys
from lib.params import DENOISERS
from lib.params.errors import InputError

PLACES = ("headline", "figure", "findings", "chips")  # ``<!-- name -->`` in index.md
NONE = "No run on real images is recorded in this copy yet."
FILE = "recovery.png"
ALT = "Attack success, printed and ours; label recovery and clean retention of each defense"
ENOUGH = 30  # images; a share of fewer is no headline
PROVED = {"median3": "a median filter"}  # in running text
TITLES = "One-pixel attack, ResNet50", "Defenses against one or two pixels"
DEFENSES = ("dae", "median3")  # the paper's proposal, and a filter that learns nothing
RIVALS = tuple(name for name in DENOISERS if name != "dae")


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
    of_size = [
        replace(found, runs=results_tables.nearest(found.runs))
        for name, found in every.items() if record.sizes[name] == largest
    ]  # fmt: skip
    useful = [each for found in of_size if len((each := found.useful).restored)]
    chosen = useful or of_size
    restored = pd.concat([results_tables.nearest(found.restored) for found in chosen])
    restored = recorded_runs.tested(restored)
    defenses = defense_rates(restored)
    of = defenses.set_index("defense")
    weak = pd.concat(map(results_text.weak, of_size))
    left_out = results_text.beaten(weak, numbers=False) if useful else ""
    attacks = results_tables.class_weighted(results_tables.over(every, results_tables.success))
    printed = attacks[(attacks["pixels"] == 1) & attacks["printed"].notna()]
    printed = printed[~printed["weak"]] if useful else printed
    nets = restored.groupby("dataset", sort=False)["classifier"].unique().items()
    names = enumerated(
        [f"{shown(dataset)} ({enumerated([*map(shown, of)])})" for dataset, of in nets]
    )
    fooled = restored[restored["success"]]
    images = len(fooled.drop_duplicates(image_columns(fooled)))
    caption = (
        "Left: rates weighted to the paper's class frequencies, 95 % intervals. "
        f"Right: {of['n'].max()} successful attacks on {images} images of {names} at {largest} "
        "px, by an attacker who does not know the defense. Open marks: with patch selection, which "
        f"the paper describes but does not say it used. {results_text.trained_unlike(chosen)} "
        f"{results_text.past_best(chosen)}"
    ).strip()
    compared = _compared(fooled, of["pays_from_high"].get("dae"))
    return First(
        " ".join(["One pixel can mislead the classifier.", *compared]),
        [*_findings(printed, of, largest), *_holding(attackers.proofs(results))],
        figure_of(printed, defenses),
        f"{caption} Left out: {left_out}." if left_out else caption,
    )


def _compared(fooled: pd.DataFrame, pays_from: float) -> list[str]:
    """How the DAE does beside the other denoisers and the median filter, on the same attacks.

    ``fooled`` are the restored images of successful attacks; ``pays_from`` is the upper end of its
    break-even attack prevalence.
    """
    if not {*DEFENSES} <= set(fooled["defense"]):
        return []

    def ahead(of: pd.DataFrame, other: str) -> tuple[float, float]:
        """95 % interval of the DAE's label recovery rate minus that of another defense."""
        return results_tables.difference(of, "recovered", "dae", other)[1:]

    by_dataset, better = fooled.groupby("dataset", sort=False), []
    for name in RIVALS:
        on = [
            shown(dataset) for dataset, of in by_dataset
            if {"dae", name} <= set(of["defense"]) and ahead(of, name)[1] < 0
        ]  # fmt: skip
        better += [f"{shown(name)} recovers more on {enumerated(on)}"] if on else []
    low, high = ahead(fooled, "median3")
    beside = "worse" if high < 0 else "better" if low > 0 else "not clearly better"
    helps = "helps" if 0 <= float(pays_from) < 1 else "costs too much"
    first, second = ("and", "but") if low > 0 else ("but", "and")
    text = f"The DAE {helps}, {first} is {beside} than a median filter"
    return [f"{text}, {second} {enumerated(better)}." if better else f"{text}."]


def _findings(printed: pd.DataFrame, of: pd.DataFrame, size: int) -> list[str]:
    """What the attack does beside the printed rates, and what the DAE does."""
    found = []
    if len(known := printed[printed["size"] == size]):
        ours = [f"**{rate(row.rate)}** of {shown(row.dataset)}" for row in known.itertuples()]
        theirs = enumerated([rate(share) for share in known["printed"]])
        found.append(
            f"At {size} px, one pixel misleads {shown(known['classifier'].iloc[0])} on "
            f"{enumerated(ours)} images it classified correctly. Paper: {theirs}."
        )
    if not {*DEFENSES} <= set(of.index) or not of["n"].max():
        return found
    back = (100 * of["recovered"]).round()
    lost = (100 * (1 - of["kept"])).round()
    rivals = [name for name in RIVALS if name in of.index]
    best = [of.loc[rivals, "recovered"].idxmax()] if rivals else []
    others = {shown(name): name for name in best} | {"Median filter": "median3"}
    return [
        *found,
        f"Against an oblivious attacker, the DAE recovers **{back['dae']:.0f} of 100** "
        f"misled images and spoils **{lost['dae']:.0f} of 100** clean ones. "
        + " ".join(
            f"{title}: {back[name]:.0f} and {lost[name]:.0f}." for title, name in others.items()
        ),
    ]


def _holding(proofs: pd.DataFrame) -> list[str]:
    """The most that is proved to hold, a sentence; nothing where nothing is proved.

    Args:
        proofs: of `lib.evidence.attackers.proofs`.
    """
    if not len(proofs):
        return []
    defended = proofs[(proofs["defense"] != "identity") & (proofs["n"] >= ENOUGH)]
    if not len(defended):
        return []
    # By the lower end of the interval: a high share of few images proves little.
    best = defended.loc[defended["robust_low"].idxmax()]
    means = PROVED.get(best["defense"], shown(best["defense"]).lower())
    return [
        f"{means.capitalize()} at {best['size']} px: {100 * best['clean']:.0f} of 100 "
        f"{shown(best['dataset'])} images are correct without attack, "
        f"**{100 * best['robust']:.0f}** provably under any one-pixel attack."
    ]


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
def figure_of(printed: pd.DataFrame, defenses: pd.DataFrame) -> Figure:
    """The figure of the front page: attacks beside the printed rates, and what defenses do.

    Args:
        printed: as `lib.figures.results.slopes`, of one panel.
        defenses: as `lib.figures.results.recovery_over`, of one panel.
    """
    if not len(defenses) or not len(printed):
        return style.message(figures.NOTHING)
    of_attacks = [
        f"{shown(row['dataset'])} {percent(row['printed'])} printed, {percent(row['rate'])} here"
        for row in printed.to_dict("records")
    ]
    of_defenses = [
        f"{shown(row['defense'])} {percent(row['recovered'])} and {percent(row['kept'])}"
        for row in defenses.to_dict("records")
    ]
    figure, (left, right) = style.panels(
        3.5, 2, width_ratios=[1, 1.15],
        alt=f"{TITLES[0]}: {'; '.join(of_attacks)}. {TITLES[1]}, label recovery rate and clean "
        f"prediction retention: {'; '.join(of_defenses)}.",
    )  # fmt: skip
    draw_slopes(left, printed)
    # Above 100 %: room for the legend.
    left.set(title=TITLES[0], ylabel="attack success, %", ylim=(-4, 130), yticks=range(0, 101, 20))
    figures.draw_marks(right, defenses)
    right.set(title=TITLES[1], ylabel="label recovery rate, %")
    style.below(figure, figures.defense_keys(defenses["defense"]), 4)
    left.legend(handles=slope_keys(printed), loc="upper right", fontsize=8, borderpad=0)
    return figure
