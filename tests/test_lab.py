"""The explorer in a running JupyterLab, as a hand would use it; needs the runs of `make book`."""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from playwright.sync_api import expect, sync_playwright

from lib.params import ROOT

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
RUN = ROOT / "runs/demo/derma/resnet50/classifier.json"
TOKEN = "of-the-test"

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not RUN.exists(), reason="no finished run: run `make book` first"),
]


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab that was started as `make lab` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter"), "HOME": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }  # fmt: skip
    command = [
        str(ROOT / ".venv/bin/jupyter"), "lab", "--no-browser", f"--port={port}",
        f"--IdentityProvider.token={TOKEN}", f"--notebook-dir={ROOT}", "--allow-root",
    ]  # fmt: skip
    log = (tmp_path / "lab.log").open("w")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2)
            break
        except OSError:
            assert process.poll() is None, (tmp_path / "lab.log").read_text()[-2000:]
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(30)


def test_the_explorer_in_a_browser(lab):
    before = {path: path.read_bytes() for path in (ROOT / "notebooks").glob("*.md")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1400})
        page.set_default_timeout(60_000)
        page.goto(f"{lab}/lab/tree/notebooks/explore.md?token={TOKEN}")
        # A text notebook opens as a notebook, not as text.
        panel = page.locator(".jp-NotebookPanel")
        panel.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # what runs earlier is lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        canvas = page.locator("canvas[role=img]")
        canvas.scroll_into_view_if_needed()
        bars = page.locator("table", has=page.locator("caption", has_text="confidence"))
        expect(bars).to_contain_text("(true)")

        # The mouse moves the pixel, and the sliders follow.
        area = canvas.bounding_box()
        canvas.click(position={"x": area["width"] * 3.5 / 28, "y": area["height"] * 5.5 / 28})
        row, column = (page.locator(".widget-slider", has_text=name).locator(".widget-readout")
                       for name in ("row", "column"))  # fmt: skip
        expect(row).to_have_text("5")
        expect(column).to_have_text("3")
        page.keyboard.press("ArrowDown")
        expect(row).to_have_text("6")

        # A map can be stopped, an attack says how it ended, defenses show their pictures.
        page.get_by_role("button", name="where is it vulnerable?").click()
        stop = page.get_by_role("button", name="stop")
        expect(stop).to_be_enabled()
        stop.click()
        expect(page.get_by_text("stopped", exact=True)).to_be_visible()
        attack = page.get_by_role("button", name="attack", exact=True)
        attack.click()
        expect(page.get_by_text("stopped", exact=True)).to_have_count(0)  # it says something else
        expect(attack).to_be_enabled(timeout=60_000)  # it searches
        expect(stop).to_be_disabled()
        page.get_by_role("button", name="defend").click()
        expect(page.get_by_role("img", name="DAE (proposed)").first).to_be_visible()

        # All attackers go through the defense that is chosen; a proof is given or not.
        page.get_by_label("through").select_option("Median 3x3")
        page.get_by_role("button", name="all attackers").click()
        expect(stop).to_be_enabled()
        expect(stop).to_be_disabled(timeout=300_000)
        page.get_by_role("button", name="prove").click()
        expect(page.get_by_text(re.compile("^(not )?proved: "))).to_be_visible(timeout=300_000)

        # JupyterLab saves by itself after two minutes: what was only looked at stays as it is.
        changed = page.locator(".jp-mod-dirty")
        expect(changed).not_to_have_count(0)
        page.keyboard.press("Control+s")
        expect(changed).to_have_count(0)
        browser.close()
    assert {path: path.read_bytes() for path in before} == before
