"""Tables and banners of the pages, and numbers and names in words."""

import base64
import html
import re

import pandas as pd
import pytest

from lib import params
from lib.data import Provenance
from lib.figures import formatting, tables
from lib.figures.style import message

NAN = float("nan")


def test_numbers_are_told_in_words():
    assert formatting.many(1, "image") == "1 image" and formatting.many(0, "image") == "0 images"
    assert formatting.many(1234, "seed") == "1,234 seeds"
    assert [formatting.percent(share) for share in (0.4204, 1.0, NAN)] == ["42.0 %", "100.0 %", "–"]
    numbers = (0.003851, 0.05, 1.523, 67.8, 1523.4, -1234567.0, 0.0, NAN)
    told = ["0.00385", "0.0500", "1.52", "67.8", "1,523", "-1,234,567", "0", "nan"]
    assert [formatting.figures(number) for number in numbers] == told
    assert formatting.pixels(12) == "12 pixels"
    assert formatting.gain(0.14, 0.04, 0.27) == "+14 (+4 to +27)"
    assert formatting.gain(-0.004, -0.03, -0.004) == "+0 (-3 to +0)"  # no negative zero


def test_ids_are_told_by_their_names():
    assert formatting.attack(1, 2) == "one-pixel and two-pixel attack"
    place = formatting.place("oct", "resnet50", 1, "dae")
    assert place == "OCT, ResNet50, one pixel, DAE (proposed)"
    assert formatting.place("oct", 2, "at 64 px") == "OCT, two pixels, at 64 px"
    said = [formatting.enumerated(list("abc")[:count]) for count in range(4)]
    assert said == ["", "a", "a and b", "a, b and c"]
    shown = [formatting.shown(name) for name in ("median_cnn", "dae+patches", "printed_rate")]
    assert shown == ["Median CNN", "DAE + patches", "printed rate"]
    assert formatting.listed("oct, resnet50") == "OCT, ResNet50"


def test_intervals_say_what_is_known():
    assert tables.interval(37.456, 36.0, 38.123) == "37.5 (36.0–38.1)"
    assert tables.interval(0.000123, 0.0001, 0.0002) == "0.000123 (0.000100–0.000200)"
    assert tables.interval(NAN, NAN, NAN) == "–"
    assert tables.interval(5.0, NAN, NAN) == "5.00"
    assert tables.interval(37.456, 36.0, 38.123, digits=0) == "37 (36–38)"


def test_intervals_of_a_table():
    frame = pd.DataFrame({"rate": [0.5, NAN], "low": [0.25, NAN], "high": [0.75, NAN]})
    assert tables.rates(frame, digits=1).tolist() == ["50.0 % (25.0–75.0)", "–"]
    frame = pd.DataFrame({"psnr": [30.0], "psnr_low": [29.0], "psnr_high": [31.0]})
    assert tables.intervals(frame, "psnr").tolist() == ["30.0 (29.0–31.0)"]
    assert tables.intervals(frame.iloc[:0], "psnr").tolist() == []


def test_an_interval_of_another_column_is_refused():
    frame = pd.DataFrame({"rate": [0.5], "low": [0.4], "high": [0.6], "base_rate": [0.9]})
    with pytest.raises(ValueError):
        tables.intervals(frame, "base_rate")


def test_the_banner_names_run_source_and_what_it_allows():
    data = Provenance("dermamnist.npz", "phantom", "f" * 32, "Drawn.")
    text = tables.banner(params.load(seed=7), data, classifier=True)
    named = ("`demo+seed=7`", "Derma", "ResNet50", "**seed** 7", "`phantom`", data.md5, data.note)
    assert all(part in text for part in named)
    assert tables.WARNINGS["phantom"] in text
    assert "ResNet50" not in tables.banner(params.load(), data)


def test_tables_escape_and_mark_missing_values():
    frame = pd.DataFrame({"class": ["<b>x</b>", "y"], "n": [1200, 3], "share": [0.5, NAN]})
    html = tables.table(frame, "A caption.", percent=["share"]).to_html()
    assert "&lt;b&gt;" in html and "<b>x" not in html
    assert "1,200" in html and "50.0 %" in html and "–" in html and "A caption." in html


def test_tables_show_names_for_ids_and_leave_other_text():
    frame = pd.DataFrame(
        {"defense": ["dae"], "row": ["oct, resnet50"], "note": ["dae"], "psnr": [1]}
    )
    text = tables.table(frame).to_html()
    assert "DAE (proposed)" in text and "OCT, ResNet50" in text
    assert ">dae</td>" in text and ">PSNR</th>" in text


def test_a_verdict_has_a_class_for_its_color():
    frame = pd.DataFrame({"claim": ["a", "b"], "verdict": ["in part", "not testable"]})
    html = tables.table(frame).to_html()
    assert "verdict in-part" in html and "verdict not-testable" in html


def test_printed_values_stand_below_ours():
    ours = pd.DataFrame(
        {"defense": ["identity", "dae"], "n": [4, 4], "psnr": [40.0, 30.0],
         "psnr_low": [39.0, 29.0], "psnr_high": [41.0, 31.0]}
    )  # fmt: skip
    printed = pd.DataFrame({"defense": ["dae", "other"], "psnr": [37.6, 1.0]})
    shown = tables.ours_and_printed(ours, printed, "defense", ["psnr"])
    assert shown[["defense", "values", "psnr"]].values.tolist() == [
        ["identity", "ours", "40.0 (39.0–41.0)"],
        ["dae", "ours", "30.0 (29.0–31.0)"],
        ["dae", "printed", 37.6],
    ]
    alone = tables.ours_and_printed(ours, None, "defense", ["psnr"])
    assert alone["values"].tolist() == ["ours", "ours"]
    assert "37.6" in tables.table(shown).to_html()


def test_a_folded_figure_keeps_its_picture_and_its_alternative_text():
    figure = message('Not "recorded" yet')
    text = tables.folded(figure, "More").data
    (alt, source), = re.findall(r'<img [^>]*alt="([^"]*)"[^>]*base64,([^"]+)"', text)  # fmt: skip
    assert html.unescape(alt) == figure.get_label()
    assert base64.b64decode(source) == figure._repr_png_()[0]
