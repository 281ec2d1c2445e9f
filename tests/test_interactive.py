"""What the pages' scripts are given: it must be what the library found."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from PIL import Image
from test_figures import pictures

from lib import params
from lib.figures import interactive

DERMA, CHEST, OCT = (params.facts(name) for name in ("derma", "chest", "oct"))


def decoded(html):
    """The pictures in a piece of HTML."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def content(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_slider_holds_both_pictures_exactly(channels):
    before, after = pictures(2, channels=channels), 255 - pictures(2, channels=channels)
    html = interactive.sliders(before, after, ["one <b>", "two"]).data
    shown = decoded(html)
    for place, image in enumerate([before[0], after[0], before[1], after[1]]):
        assert (shown[place].reshape(image.shape) == image).all()
    assert html.count('class="compare"') == 2 and "<b>" not in html and "one &lt;b&gt;" in html


def test_a_probe_holds_the_map():
    image = pictures(1)[0]
    confidence = np.linspace(0, 1, 28 * 28).reshape(28, 28)
    color = pictures(2)[1]
    given = (image[None], confidence[None], color[None], np.array([5]))
    html = interactive.probes(*given, DERMA, ["A caption"]).data
    found = content(html)
    assert (found["size"], found["channels"], found["truth"]) == (28, 3, "melanocytic nevi")
    worst = np.frombuffer(base64.b64decode(found["worst"]), np.uint8).reshape(28, 28) / 255
    assert np.abs(worst - confidence).max() <= 0.5 / 255 + 1e-9
    assert base64.b64decode(found["color"]) == color.tobytes()
    assert base64.b64decode(found["image"]) == image.tobytes()


def test_what_cannot_be_probed_is_refused():
    image, shares, label = pictures(1, channels=1), np.zeros((1, 28, 28)), np.zeros(1, int)
    with refused():
        interactive.probes(image, shares, image, label, CHEST, [""])
    with refused():
        interactive.probes(image[:, 1:], shares[:, 1:], image[:, 1:], label, OCT, [""])


def test_a_chart_holds_each_value_in_per_cent():
    table = pd.DataFrame(
        {
            "printed": [0.1067, 0.9], "ours": [0.25, 0.5], "low": [0.1, 0.4], "high": [0.4, 0.6],
            "n": [8, 100], "label": ["Table 17, </script>", "x"], "dataset": ["derma", "oct"],
        }
    )  # fmt: skip
    html = interactive.chart(table, "dataset").data
    assert html.count("</script>") == 1
    found = content(html)
    assert found["points"][0] == {
        "x": 10.67, "y": 25, "low": 10, "high": 40, "n": 8, "label": "Table 17, </script>",
        "group": "Derma",
    }  # fmt: skip
    assert [group["name"] for group in found["groups"]] == ["Derma", "OCT"]
    assert len({group["color"] for group in found["groups"]}) == 2
