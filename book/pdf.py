"""The narrative and results pages of the built site as one PDF, printed by headless chromium.

``python -m book.pdf`` writes ``build/book.pdf``.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urljoin

from book.build import ROOT, SITE, say
from lib.params.errors import InputError, run_command

TARGET = ROOT / "build/book.pdf"
LEFT_OUT = re.compile(r"runs/(?!results/|[^/]*/walkthrough)|status|finder|search|genindex")
_LINK = re.compile(r'\b(src|href)="([^"]+)"')


def pages(site: Path) -> list[Path]:
    """Pages in the book's order, without those of single runs and without the indexes.

    Raises:
        InputError: no site was built.
    """
    index = site / "index.html"
    if not index.exists():
        raise InputError(f"{site} has no site: run `make book` first.")
    links = re.findall(
        r'class="reference internal" href="([^"#]+\.html)"', index.read_text(encoding="utf-8")
    )
    names = ["index.html", *dict.fromkeys(links)]
    return [site / name for name in names if not LEFT_OUT.match(name)]


def joined(found: list[Path]) -> str:
    """One HTML document of the pages' articles; links among them stay, others to files go."""
    places = {page.as_uri(): f"#page-{at}" for at, page in enumerate(found)}

    def article(at: int, page: Path) -> str:
        def absolute(link: re.Match[str]) -> str:
            kind, url = link[1], urljoin(page.as_uri(), link[2])
            if kind == "src" or not url.startswith("file:"):
                return f'{kind}="{url}"'
            target, _, _ = url.partition("#")
            return f'href="{places[target]}"' if target in places else 'class="gone"'

        body = re.search(
            r'<article class="bd-article">(.*)</article>', page.read_text(encoding="utf-8"), re.S
        )[1]
        return f'<section id="page-{at}" class="printed">{_LINK.sub(absolute, body)}</section>'

    head = re.search(r"<head>(.*?)</head>", found[0].read_text(encoding="utf-8"), re.S)[1]
    styles = "".join(re.findall(r'<link[^>]*rel="stylesheet"[^>]*>', head))
    styles = _LINK.sub(lambda link: f'{link[1]}="{urljoin(found[0].as_uri(), link[2])}"', styles)
    articles = "".join(article(at, page) for at, page in enumerate(found))
    title = re.search(r"<title>.*?</title>", head, re.S)[0]
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">{title}'
        f'{styles}</head><body><main class="bd-article">{articles}</main></body></html>'
    )


def browser() -> str:
    """The installed chromium.

    Raises:
        InputError: there is none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise InputError(
        "Chromium is needed to print the pages and was not found: apt-get install chromium."
    )


def write(site: Path = SITE, target: Path = TARGET) -> Path:
    """Print the pages of a site; raises as `pages` and `browser`, or InputError."""
    chromium, text = browser(), joined(pages(site))
    with tempfile.TemporaryDirectory() as folder:
        source, printed = Path(folder, "book.html"), Path(folder, "book.pdf")
        source.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
             f"--user-data-dir={folder}/profile", "--allow-file-access-from-files",
             f"--print-to-pdf={printed}", source.as_uri()],
            capture_output=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        if done.returncode or not printed.exists():
            said = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
            raise InputError(f"Chromium could not print the pages: {said}.")
        shutil.move(printed, target)
    return target


if __name__ == "__main__":
    run_command(lambda _: say(f"pdf: open {write().relative_to(ROOT)}"))
