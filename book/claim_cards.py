"""Claims of the paper as chips and cards: HTML and Markdown from the ledger of claims."""

from html import escape

import pandas as pd

from lib.evidence import verdicts
from lib.figures.formatting import many

# The paper's claims in a few words, and our own questions; see results/printed/claims.yml.
NAMES = {
    "dae_ahead": "DAE restores best",
    "modules_help": "Every module helps",
    "four_levels_best": "Four levels are best",
    "independent_of_classifier": "Classifier does not matter",
    "order_of_data_sets": "Order of data sets",
    "two_above_one": "Two pixels beat one",
    "densenet_below_on_derma_only": "DenseNet121 is easier",
    "larger_is_easier": "Larger images are easier",
    "time_a_third_more": "DAE trains slower",
    "detection_better": "Detection is better",
    "dae_ahead_of_nothing": "DAE raises the PSNR",
    "dae_recovers_more": "DAE recovers more labels",
    "dae_recovers_more_than_a_median": "DAE beats a median filter",
}
COUNTS = {"holds": "as claimed", "against": "the opposite", "inconclusive": "inconclusive"}


def chips(ledger: pd.DataFrame) -> str:
    """The paper's claims by verdict, as chips in MyST Markdown.

    Args:
        ledger: of `lib.evidence.claims.ledger`.
    """
    own, lines = ledger[~ledger["added"]], []
    for word in verdicts.WORDS:
        names = own.loc[own["verdict"] == word, "id"]
        if len(names):
            found = " ".join(f'<span class="chip {_kind(word)}">{NAMES[name]}</span>'
                             for name in names)  # fmt: skip
            lines.append(f"**{word.capitalize()}** {found}")
    return "\n\n".join(lines)


def strip(ledger: pd.DataFrame) -> str:
    """The same as HTML, each chip a link to its card."""
    own, lines = ledger[~ledger["added"]], []
    for word in verdicts.WORDS:
        names = own.loc[own["verdict"] == word, "id"]
        links = " ".join(
            f'<a class="chip {_kind(word)}" href="#claim-{name}">{NAMES[name]}</a>'
            for name in names
        )
        if links:
            lines.append(f"<p><b>{word.capitalize()}</b> {links}</p>")
    return f'<div class="strip">{"".join(lines)}</div>'


def cards(ledger: pd.DataFrame) -> str:
    """A card each: what the paper says, what we found, the verdict, and the numbers folded."""
    return f'<div class="claims">{"".join(map(_card, ledger.to_dict("records")))}</div>'


def chip(word: str) -> str:
    """A verdict as a chip."""
    return f'<span class="chip {_kind(word)}">{word}</span>'


def _kind(word: str) -> str:
    return word.replace(" ", "-")


def _card(row: dict) -> str:
    number = sum(row[name] for name in COUNTS)
    asks = "Our question" if row["added"] else "Paper"
    folded = "" if not number else (
        f"<details><summary>Numbers</summary><p>{escape(row['reason'])}</p></details>"
    )  # fmt: skip
    return (
        f'<section class="claim {_kind(row["verdict"])}" id="claim-{row["id"]}">'
        f'<p class="title">{NAMES[row["id"]]} '
        f"{chip(row['verdict'])}</p>"
        f"<p><b>{asks}.</b> {escape(row['claim'])} <small>{escape(row['where'])}</small></p>"
        f"<p><b>Found.</b> {escape(found(row))}</p>{_bar(row, number)}{folded}</section>"
    )


def found(row: dict) -> str:
    """What was found of a claim, a sentence or two.

    Args:
        row: of `lib.evidence.claims.ledger`.
    """
    holds, against, inconclusive = (row[name] for name in COUNTS)
    number = holds + against + inconclusive
    if not number:
        return row["reason"]
    text = f"As claimed in {holds} of {many(number, 'comparison')}"
    text += verdicts.exceptions(against, inconclusive)
    if holds == number and row["verdict"] != verdicts.REPLICATED:
        text += ", but not all data sets could be compared"
    return f"{text}. Images: {row['images']}."


def _bar(row: dict, number: int) -> str:
    """Shares of the comparisons that hold, do not, and are inconclusive, as a bar."""
    if not number:
        return ""
    told = ", ".join(f"{row[name]} {title}" for name, title in COUNTS.items())
    parts = "".join(
        f'<i class="{name}" style="width:{100 * row[name] / number:.1f}%"></i>'
        for name in COUNTS if row[name]
    )  # fmt: skip
    return f'<div class="bar" role="img" aria-label="{told}">{parts}</div>'
