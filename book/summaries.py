"""Files that follow from the whole record: verdicts on tables, and the results in words and as a
figure, in the folder of results and on the project's first page.

``python -m book.summaries record|verify [NAME=VALUE ...]`` writes them, or compares them with the
record.
"""

import io
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from book import claim_cards, front_page, results_readme
from book.markdown import table
from lib import params
from lib.evidence import archive, claims, table_verdicts
from lib.evidence.record import Record, every
from lib.evidence.verify import FIGURE
from lib.params import Parameters
from lib.params.errors import InputError, run_command
from lib.params.files import atomic, shown

COVERAGE, README = "coverage.csv", "README.md"
# In the project's README, beside the folder of results.
PLACE = re.compile(r"(?<=<!-- found -->\n).*?(?=<!-- /found -->)", re.DOTALL)
ABOUT = "Description"  # of a PNG: the figure in words, with its numbers


Drawn = tuple[bytes, str] | None  # a PNG, and what it shows in words


def made(results: Path) -> tuple[dict[Path, str], Drawn]:
    """Content of each text by path, and the front page's figure if there are runs.

    The README beside ``results`` is among the texts if it has the place for it.

    Raises:
        InputError: nothing is recorded.
    """
    records = every(results)
    if not records:
        raise InputError(f"{results} holds no results: run `make record` after a run.")
    judged = table_verdicts.judge_all(records)
    ledger, screen = claims.ledger(records), front_page.first(results)
    texts = {
        results / COVERAGE: judged.to_csv(index=False),
        results / README: readme(results, records, ledger, screen),
    }
    first = results.parent / README
    if first.exists() and PLACE.search(text := first.read_text(encoding="utf-8")):
        block = _first_page(screen, ledger, results.name)
        texts[first] = PLACE.sub(lambda _: block, text)
    if screen is None:
        return texts, None
    png, about = screen.figure._repr_png_()
    return texts, (png, about["alt"])


def readme(
    results: Path,
    records: list[tuple[Record, Parameters]],
    ledger: pd.DataFrame,
    screen: front_page.First | None,
) -> str:
    """The results as Markdown for those who look into the folder before they build the book."""
    rows = [
        [f"{row['claim']}{' *(our question)*' if row['added'] else ''}",
         f"**{claim_cards.answer(row)}**", row["images"], row["reason"]]
        for row in ledger.to_dict("records")
    ]  # fmt: skip
    parts = [
        "# Results",
        "`make record` makes this page from the tables in this folder; `make verify` checks it. "
        "The book's pages of results and claims have the details, with the printed values beside "
        "ours. [book/rule.md](../book/rule.md) says how verdicts are made.",
        *(text for each in records for text in results_readme.paragraphs(*each)),
        results_readme.COUNTED,
        *results_readme.adaptive_attack(results),
        *([f"![{front_page.ALT}]({FIGURE})"] if screen else []),
        claim_cards.counted(ledger),
        table(["claim", "verdict", "images", "why"], rows),
        "[coverage.csv](coverage.csv) lists each table and figure of the paper with its verdict.",
    ]
    return "\n\n".join(parts) + "\n"


def _first_page(screen: front_page.First | None, ledger: pd.DataFrame, folder: str) -> str:
    """The first screen of the project's README."""
    if screen is None:
        return f"{front_page.NONE}\n"
    parts = [
        f"**{screen.headline}**",
        "\n".join(f"- {each}" for each in screen.findings),
        f"{claim_cards.counted(ledger)} Reasons: [{folder}/{README}]({folder}/{README}).",
        f"![{front_page.ALT}]({folder}/{FIGURE})",
        f"<sub>{screen.caption}</sub>",
    ]
    return "\n\n".join(parts) + "\n"


def write(results: Path) -> list[Path]:
    """Write the files and return their paths."""
    texts, drawn = made(results)
    for path, text in texts.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if drawn:
        png, about = drawn
        words = PngInfo()
        words.add_text(ABOUT, about)
        with atomic(results / FIGURE) as temporary:
            Image.open(io.BytesIO(png)).save(temporary, "png", optimize=True, pnginfo=words)
    return [*texts, *([results / FIGURE] if drawn else [])]


def problems(results: Path) -> Iterator[str]:
    """One sentence for each file that is missing or not what the record says now."""
    texts, drawn = made(results)
    for path, text in texts.items():
        if not path.exists():
            yield f"{path} is missing: run `make record`."
            continue
        both = zip_longest(path.read_text(encoding="utf-8").splitlines(), text.splitlines())
        line = next((place for place, (old, new) in enumerate(both, start=1) if old != new), None)
        if line:
            yield f"{path}, line {line} does not follow from the record: run `make record`."
    if drawn:
        path = results / FIGURE
        try:
            about = Image.open(path).text.get(ABOUT)
        except FileNotFoundError:
            yield f"{path} is missing: run `make record`."
        except (UnidentifiedImageError, AttributeError):
            yield f"{path} is no PNG: run `make record`."
        else:
            if about != drawn[1]:
                yield f"{path} shows other numbers than the record: run `make record`."


def main(arguments: list[str]) -> None:
    """Raises `InputError` for an unknown command, or files that do not follow from the record."""
    command, *settings = arguments or [""]
    results = params.ROOT / params.load(**params.from_words(settings)).results
    if command == "record":
        for path in write(results):
            print(shown(path))
        archive.write_sums(results)  # again: a figure was drawn
    elif command == "verify":
        if wrong := list(problems(results)):
            raise InputError("\n".join(wrong))
    else:
        raise InputError(f"{command!r} is not a command: write record or verify.")


if __name__ == "__main__":
    run_command(main)
