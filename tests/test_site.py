"""What scripts do on the pages, in a real browser."""

import re
import shutil
import subprocess

import pytest

from lib.params import ROOT

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = """<!doctype html><html><body class="bd-article"><div class="cell_output"><table>
<thead><tr><th>name</th><th>value</th></tr></thead><tbody>{rows}</tbody></table></div>
<script src="{script}"></script>
<script>
const cells = (n) => [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.cells[n].textContent).join("|");
addEventListener("load", () => {{ {act} }});
</script></body></html>"""
ROWS = [("b", "1,528"), ("a", "12.3 (8.1–17.9)"), ("d", "–"), ("c", "−2")]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")


def seen(tmp_path, act, rows=ROWS):
    """Text of ``document.title`` after some script has run on a page with a table."""
    body = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    page = tmp_path / "page.html"
    script = (ROOT / "book/_static/tables.js").as_uri()
    page.write_text(PAGE.format(rows=body, script=script, act=act))
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/u",
         "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return re.search("<title>(.*?)</title>", done.stdout, re.S)[1]


def test_a_heading_sorts_by_number_and_back(tmp_path):
    click = "document.querySelectorAll('button.sort')[1].click();"
    assert seen(tmp_path, click + "document.title = cells(0);") == "c|a|b|d"  # no value: last
    assert seen(tmp_path, click * 2 + "document.title = cells(0);") == "b|a|c|d"
    told = click + "document.title = document.querySelectorAll('th')[1].ariaSort;"
    assert seen(tmp_path, told) == "ascending"


def test_a_heading_sorts_texts(tmp_path):
    click = "document.querySelector('button.sort').click(); document.title = cells(0);"
    assert seen(tmp_path, click) == "a|b|c|d"


def test_the_rows_shown_are_downloaded(tmp_path):
    act = "const a = document.querySelector('.table-tools a'); a.addEventListener('click', (e) => "
    act += "e.preventDefault()); a.click(); document.title = decodeURIComponent(a.href);"
    text = seen(tmp_path, act)
    assert text.startswith("data:text/csv") and "a,12.3 (8.1–17.9)" in text
    assert 'b,"1,528"' in text


def test_long_tables_have_a_filter(tmp_path):
    rows = [(f"row {n}", n) for n in range(20)]
    act = "const f = document.querySelector('input[type=search]'); f.value = 'ROW 1';"
    act += "f.dispatchEvent(new Event('input')); document.title = cells(1);"
    assert seen(tmp_path, act, rows) == "1|10|11|12|13|14|15|16|17|18|19"
    assert seen(tmp_path, "document.title = document.querySelectorAll('input').length;") == "0"
