"""Files beside the record that follow from all of it: coverage, and what was found in words and as
a figure, here and on the project's first page.

``python -m book.summaries record|verify [NAME=VALUE ...]`` writes them, or holds them against the
record.
"""

import io
import re
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from book import front, front_page
from lib import params
from lib.evidence import archive, claims, compare, coverage, findings
from lib.evidence.findings import Recorded
from lib.evidence.verify import FIGURE
from lib.params import Parameters
from lib.params.errors import InputError
from lib.params.files import atomic

COVERAGE, README = "coverage.csv", "README.md"
# In the project's README, beside the folder of results.
PLACE = re.compile(r"(?<=<!-- found -->\n).*?(?=<!-- /found -->)", re.DOTALL)
ABOUT = "Description"  # of a PNG: the figure in words, with its numbers


Drawn = tuple[bytes, str] | None  # a PNG, and what it shows in words


def made(results: Path) -> tuple[dict[Path, str], Drawn]:
    """Content of each text by path, and the front page's figure if there are runs, from what is
    recorded of the protocol nearest to the paper's.

    The README beside ``results`` is among the texts if it has the place for it.

    Raises:
        InputError: nothing is recorded.
    """
    recorded = findings.current(results)
    if recorded is None:
        raise InputError(f"{results} holds no results: run `make record` after a run.")
    found, p = recorded
    covered = coverage.coverage(compare.compare(found, p), found, p)
    ledger = claims.ledger(found, p)
    screen = front_page.first(results)
    written = {
        results / COVERAGE: covered.to_csv(index=False),
        results / README: readme(found, p, ledger, screen),
    }
    first = results.parent / README
    if first.exists() and PLACE.search(text := first.read_text()):
        block = _first_page(screen, ledger, results.name)
        written[first] = PLACE.sub(lambda _: block, text)
    return written, _drawn(screen)


def readme(
    found: Recorded, p: Parameters, ledger: pd.DataFrame, screen: front_page.First | None
) -> str:
    """What was found as Markdown for those who look into the folder before they build the book."""
    rows = [
        f"| {row['claim']}{' *Added here.*' if row['added'] else ''} | **{row['verdict']}** "
        f"| {row['reason']} |"
        for row in ledger.to_dict("records")
    ]
    parts = [
        "# What was found",
        "Made by `make record` from the tables in this folder and held against them by "
        "`make verify`; nothing here is typed. The book's results pages and Verdicts say it "
        "in full, with the printed values beside ours. How verdicts are made: "
        "[book/rule.md](../book/rule.md).",
        *front.paragraphs(found, p),
        *([front.COUNTED] if found.runs else []),
        *front.knowing(found),
        *_shown(screen, FIGURE),
        front.counted(ledger),
        "\n".join(["| claim | verdict | why |", "| --- | --- | --- |", *rows]),
        "What each table and figure of the paper has here: [coverage.csv](coverage.csv).",
    ]
    return "\n\n".join(parts) + "\n"


def _first_page(first: front_page.First | None, ledger: pd.DataFrame, folder: str) -> str:
    """The first screen of the project's README."""
    if first is None:
        return f"{front_page.NONE}\n"
    parts = [
        f"**{first.headline}**",
        "\n".join(f"- {each}" for each in first.findings),
        front_page.counted(ledger) + f" Every verdict and its reason: [{folder}/{README}]"
        f"({folder}/{README}).",
        f"![{front_page.ALT}]({folder}/{FIGURE})",
    ]
    return "\n\n".join(parts) + "\n"


def _shown(first: front_page.First | None, path: str) -> list[str]:
    """The figure as Markdown; nothing without runs."""
    return [f"![{front_page.ALT}]({path})"] if first else []


def _drawn(first: front_page.First | None) -> Drawn:
    if first is None:
        return None
    png, about = first.figure._repr_png_()
    return png, about["alt"]


def write(results: Path) -> list[Path]:
    """Write the files and return their paths."""
    written, drawn = made(results)
    for path, text in written.items():
        with atomic(path) as temporary:
            temporary.write_text(text)
    if drawn:
        png, about = drawn
        words = PngInfo()
        words.add_text(ABOUT, about)
        with atomic(results / FIGURE) as temporary:
            Image.open(io.BytesIO(png)).save(temporary, "png", optimize=True, pnginfo=words)
    return [*written, *([results / FIGURE] if drawn else [])]


def problems(results: Path) -> Iterator[str]:
    """One sentence for each file that is missing or not what the record says now."""
    written, drawn = made(results)
    for path, text in written.items():
        if not path.exists():
            yield f"{path} is missing: run `make record`."
            continue
        both = zip_longest(path.read_text().splitlines(), text.splitlines())
        line = next((place for place, (old, new) in enumerate(both, start=1) if old != new), None)
        if line:
            yield f"{path}, line {line}: it does not follow from the record; run `make record`."
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
                yield f"{path} shows other numbers than the record; run `make record`."


def main(words: list[str]) -> None:
    """Raises `InputError` for an unknown word, or files that do not follow from the record."""
    what, *settings = words or [""]
    p = params.load(**({"protocol": "compact"} | params.from_words(settings)))
    results = params.ROOT / p.results
    if what == "record":
        for path in write(results):
            print(path.relative_to(params.ROOT))
        archive.write_sums(results)  # again: a figure was drawn
    elif what == "verify":
        if wrong := list(problems(results)):
            raise InputError("\n".join(wrong))
    else:
        raise InputError(f"{what!r} is none of record and verify.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
