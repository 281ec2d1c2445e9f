"""Claims of the paper in sentences, chips and cards: Markdown and HTML.

A ``ledger`` is of `lib.evidence.claims.ledger`, a ``row`` is one of its rows.
"""

from collections.abc import Iterator
from html import escape

import pandas as pd

from lib.evidence import verdicts
from lib.evidence.printed_comparison import EXACT
from lib.figures.formatting import enumerated, many, shown
from lib.params import PRINTED_SIZE

# Nothing of ours can be replicated: our questions have words of their own.
ANSWERS = {
    verdicts.REPLICATED: "holds", verdicts.IN_PART: "holds in part",
    verdicts.NOT_REPLICATED: "does not hold", verdicts.NOT_TESTABLE: verdicts.NOT_TESTABLE,
}  # fmt: skip
COUNTS = {"holds": "hold", "against": "the opposite", "inconclusive": "inconclusive"}


def counted(ledger: pd.DataFrame) -> str:
    """How many claims of the paper got which verdict, a sentence; of `claims.ledger`."""
    own = ledger[~ledger["added"]]
    words = {word: f"**{n}** {word}" for word, n in verdicts.counts(own["verdict"]).items() if n}
    failed = own[own["verdict"] == verdicts.NOT_REPLICATED]
    if len(failed):
        opposite = int(failed["opposite"].sum())
        said = verdicts.exceptions(opposite, len(failed) - opposite).removeprefix("; ")
        words[verdicts.NOT_REPLICATED] += f" ({said})"
    return f"Verdicts on {len(own)} claims of the paper: {enumerated([*words.values()])}."


def tested(compared: pd.DataFrame) -> str:
    """How many values of `printed_comparison.nearest` agree, at the paper's size and below."""
    compared = compared[~compared["quantity"].isin([*EXACT, "test accuracy"])]
    full, held = compared["size"] == PRINTED_SIZE, compared["holds"]
    kinds = compared[full].groupby("quantity", sort=False)["holds"].agg(["sum", "size"])
    each = [f"{shown(kind)} {agree} of {n}" for kind, agree, n in kinds.itertuples()]
    each = f" ({enumerated(each)})" if each else ""
    return (
        f"At {PRINTED_SIZE} px, {held[full].sum()} of {full.sum()} values agree with the printed "
        f"ones{each}, at smaller sizes {held[~full].sum()} of "
        f"{(~full).sum()}. Accuracies are not counted: they decide no verdict."
    )


def chips(ledger: pd.DataFrame) -> str:
    """The paper's claims by verdict, as chips in MyST Markdown."""
    lines = [
        f"**{word.capitalize()}** " + " ".join(chip(word, row.name) for row in rows)
        for word, rows in _by_verdict(ledger)
    ]
    return "\n\n".join(lines)


def strip(ledger: pd.DataFrame) -> str:
    """The same as HTML, each chip a link to its card."""
    lines = "".join(
        f"<p><b>{word.capitalize()}</b> "
        + " ".join(
            f'<a class="chip {_kind(word)}" href="#claim-{row.id}">{row.name}</a>' for row in rows
        )
        + "</p>"
        for word, rows in _by_verdict(ledger)
    )
    return f'<div class="strip">{lines}</div>'


def _by_verdict(ledger: pd.DataFrame) -> Iterator[tuple[str, list]]:
    """Each verdict that was given with rows of the paper's claims, in the order of `WORDS`."""
    own = ledger[~ledger["added"]]
    for word in verdicts.WORDS:
        if rows := list(own[own["verdict"] == word].itertuples(index=False)):
            yield word, rows


def cards(ledger: pd.DataFrame) -> str:
    """A card each: what the paper says, what we found, the verdict, and the numbers folded."""
    return f'<div class="claims">{"".join(map(_card, ledger.to_dict("records")))}</div>'


def chip(word: str, text: str = "") -> str:
    """A verdict as a chip, with its word or another text."""
    return f'<span class="chip {_kind(word)}">{text or word}</span>'


def answer(row: dict) -> str:
    """The verdict in the words for claims of the paper, or in those for our questions."""
    return ANSWERS[row["verdict"]] if row["added"] else row["verdict"]


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
        f'<p class="title">{row["name"]} {chip(row["verdict"], answer(row))}</p>'
        f"<p><b>{asks}.</b> {escape(row['claim'])} <small>{escape(row['where'])}</small></p>"
        f"<p><b>Found.</b> {escape(found(row))}</p>{_bar(row, number)}{folded}</section>"
    )


def found(row: dict) -> str:
    """What was found of a claim, a sentence or two."""
    holds, against, inconclusive = (row[name] for name in COUNTS)
    number = holds + against + inconclusive
    if not number:
        return row["reason"]
    text = "Holds" if row["added"] else "As claimed"
    text += f" in {holds} of {many(number, 'comparison')}"
    text += verdicts.exceptions(against, inconclusive)
    missing = f" Not compared: {row['missing']}." if row["missing"] else ""
    return f"{text}. Images: {row['images']}.{missing}"


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
