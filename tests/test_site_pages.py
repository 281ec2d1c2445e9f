"""Every page of the site that `make book` built, in a real browser, opened from the file system."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from lib.params import ROOT

SITE = ROOT / "build" / "site"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
PAGES = sorted(str(path.relative_to(SITE)) for path in SITE.glob("**/*.html")
               if "_static" not in path.parts)  # fmt: skip
FRONT_LIMIT, PAGE_LIMIT = 1_000_000, 5_000_000  # bytes, with what a page loads

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not PAGES, reason="no site: run `make book` first"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a page of the site by its name; afterwards nothing may have gone wrong on it."""
    contexts = []

    def opened(name, **look):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | look))
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.wrong, page.asked = [], []
        page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((SITE / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


def kinds():
    """One page of each kind: the narrative pages, and one run page of each step."""
    found = {}
    for name in PAGES:
        found.setdefault(Path(name).name, name)
    return sorted(found.values())


def size(page):
    """Bytes of a page and of every file that it asked for."""
    files = {unquote(urlsplit(url).path) for url in page.asked if url.startswith("file:")}
    return sum(Path(file).stat().st_size for file in files if Path(file).is_file())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_errors_and_without_a_network(open_page, name):
    page = open_page(name)
    assert page.wrong == []
    outside = [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert page.title() and page.locator("h1").count() >= 1
    assert size(page) < (FRONT_LIMIT if name == "index.html" else PAGE_LIMIT)
    broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
    assert page.evaluate(broken) == []
    bare = """[...document.images].filter((i) => !i.alt || i.alt.includes("\u241e"))
        .map((i) => i.outerHTML.slice(0, 80))"""
    assert page.evaluate(bare) == [], "pictures without a text for readers who cannot see them"
    # Outputs of code know Markdown, but none of the book's roles, such as {doc}. An empty output
    # shows the name of its class.
    raw = r"\{(?:doc|ref|cite\S*)\}.*|<IPython\.\S+"
    assert re.findall(raw, page.locator("main").text_content()) == []


class Anchors(HTMLParser):
    """Identifiers of a page, and where its links lead."""

    def __init__(self, name):
        super().__init__()
        self.page, self.ids, self.links = SITE / name, set(), set()
        self.feed(self.page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        if tag == "a" and found.get("href"):
            self.links.add(urljoin(self.page.as_uri(), found["href"]))


def test_every_internal_link_leads_somewhere():
    pages = {name: Anchors(name) for name in PAGES}
    dead = []
    for name, page in pages.items():
        for url in page.links:
            parts = urlsplit(url)
            path = Path(unquote(parts.path))
            if parts.scheme != "file":
                continue
            if not path.exists():
                dead.append((name, url))
            elif parts.fragment and path.suffix == ".html":
                target = pages.get(str(path.relative_to(SITE)))
                if target and unquote(parts.fragment) not in target.ids:
                    dead.append((name, url))
    assert all(page.links for page in pages.values())
    assert dead == []


@pytest.mark.parametrize("name", kinds())
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, name, scheme):
    page = open_page(name, color_scheme=scheme)
    # Rows of a table are alike, and a thousand of them take axe a minute.
    page.evaluate(
        "document.querySelectorAll('tbody tr:nth-child(n+25)').forEach((e) => e.remove())"
    )
    # Without preload, which would fetch style sheets that a page from the file system may not.
    options = {"resultTypes": ["violations"], "preload": False}
    if scheme == "dark":  # nothing but colors differs
        options["runOnly"] = {"type": "rule", "values": ["color-contrast"]}
    found = Axe().run(page, options=options).response["violations"]
    serious = [
        (each["id"], each["help"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("name", kinds())
def test_a_page_fits_a_phone(open_page, name):
    page = open_page(name, viewport={"width": 390, "height": 844}, is_mobile=True)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 1, "the page itself scrolls sideways"
    squashed = """[...document.querySelectorAll('.bd-article img')].filter((i) => i.clientHeight &&
        Math.abs(i.clientWidth / i.clientHeight / i.naturalWidth * i.naturalHeight - 1) > 0.03)
        .map((i) => i.alt.slice(0, 60))"""
    assert page.evaluate(squashed) == [], "pictures that lost their shape"
    tiny = """[...document.querySelectorAll('.bd-article :is(a.image-reference img, img.figure)')]
        .filter((i) => i.clientWidth && i.clientWidth < 500).map((i) => i.alt.slice(0, 60))"""
    assert page.evaluate(tiny) == [], "figures whose words cannot be read"
    broken = """[...document.querySelectorAll('.bd-article td code')]
        .filter((c) => c.getClientRects().length > c.textContent.split(/[\\s/_-]/).length)
        .map((c) => c.textContent)"""
    assert page.evaluate(broken) == [], "names that break inside a word"


def test_search_finds_a_term(open_page):
    page = open_page("index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("impulse")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert page.locator("#search-results li a").count() >= 2


def test_from_a_printed_table_to_ours_in_two_clicks(open_page):
    page = open_page("index.html")
    page.locator(".bd-sidebar-primary a", has_text="Find a table or figure").first.click()
    row = page.locator("xpath=//article//tr[td[1][normalize-space()='17']]")
    row.locator("a[href*=results_dataset]").first.click()
    page.wait_for_url("**/derma/results_dataset.html*")
    headings = page.locator("article h2").all_inner_texts()
    assert any(re.search(r"Tables? .*\b17\b", heading) for heading in headings)


def test_the_three_doors(open_page):
    for text, title in (
        ("Results", "Overview"),
        ("Re-run", "Re-running"),
        ("Explore", "Exploring"),
    ):
        page = open_page("index.html")
        page.locator(".sd-card", has_text=text).click()
        page.locator("article h1", has_text=title).wait_for()


def test_a_slider_moves_the_border(open_page):
    restored = (name for name in PAGES if name.endswith("/restoration.html"))
    # A run without a successful attack has nothing to compare.
    found = (name for name in restored if 'class="compare' in (SITE / name).read_text("utf-8"))
    page = open_page(next(found))
    box = page.locator(".compare.ready").first
    slider, after = box.locator("input[type=range]"), box.locator("img").nth(1)
    slider.focus()
    page.keyboard.press("End")
    assert "100%" in after.evaluate("e => e.style.clipPath")
    page.keyboard.press("Home")
    assert "0%" in after.evaluate("e => e.style.clipPath")


def test_a_probe_tells_the_worst_color_and_sets_the_pixel(open_page):
    page = open_page(next(name for name in PAGES if name.endswith("/vulnerability.html")))
    box = page.locator(".probe.ready").first
    canvas, told = box.locator("canvas"), box.locator("output")
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    assert told.inner_text().startswith("row 0, column 0, color (")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    assert told.inner_text().startswith("row 0, column 1, color (")
    page.keyboard.press("Enter")
    assert told.inner_text().endswith("pixel set")


def test_a_chart_tells_and_filters(open_page):
    page = open_page(next(name for name in PAGES if name.endswith("/results_overview.html")))
    box = page.locator(".chart.ready").first
    marks = box.locator(".mark")
    count = marks.count()
    assert count > 0
    marks.first.focus()
    assert "printed" in box.locator("output").inner_text()
    box.locator("select").select_option(index=1)
    shown = box.locator(".mark:visible").count()
    assert 0 < shown <= count


def test_a_table_sorts_and_downloads(open_page):
    page = open_page(next(name for name in PAGES if name.endswith("/verdicts.html")))
    button = page.locator("th button.sort").first
    button.click()
    assert page.locator("th[aria-sort=ascending]").count() == 1
    with page.expect_download() as download:
        page.locator(".table-tools a").first.click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.count("\n") > 5 and "," in text
