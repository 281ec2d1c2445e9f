"""Numbers and names in words."""

import math

from lib.figures import formatting


def test_counts_have_the_noun_that_fits():
    assert formatting.many(1, "image") == "1 image"
    assert formatting.many(0, "image") == "0 images"
    assert formatting.many(1234, "seed") == "1,234 seeds"


def test_shares_are_read_in_percent():
    assert formatting.percent(0.4204) == "42.0 %"
    assert formatting.percent(1.0) == "100.0 %"
    assert formatting.percent(math.nan) == "–"


def test_numbers_keep_their_figures_and_have_no_exponent():
    numbers = (0.003851, 0.05, 1.523, 67.8, 1523.4, -1234567.0, 0.0)
    told = ["0.00385", "0.0500", "1.52", "67.8", "1,523", "-1,234,567", "0"]
    assert [formatting.figures(number) for number in numbers] == told
    assert formatting.figures(math.nan) == "nan"


def test_attacks_are_called_by_their_pixels():
    assert formatting.attack(1) == "one-pixel attack"
    assert formatting.attack(1, 2) == "one-pixel and two-pixel attack"


def test_places_are_named():
    assert (
        formatting.place("oct", "resnet50", 1, "dae") == "OCT, ResNet50, one pixel, DAE (proposed)"
    )
    assert formatting.place("oct", 2, "at 64 px") == "OCT, two pixels, at 64 px"
    assert formatting.pixels(12) == "12 pixels"


def test_items_are_enumerated():
    said = [formatting.enumerated(list("abc")[:count]) for count in range(4)]
    assert said == ["", "a", "a and b", "a, b and c"]


def test_ids_are_shown_by_their_names():
    assert formatting.shown("derma") == "Derma"
    assert formatting.shown("median_cnn") == "Median CNN"
    assert formatting.shown("dae+patches") == "DAE + patches"
    assert formatting.shown("printed_rate") == "printed rate"
    assert formatting.listed("oct, resnet50") == "OCT, ResNet50"


def test_a_gain_has_a_sign_and_no_negative_zero():
    assert formatting.gain(0.14, 0.04, 0.27) == "+14 (+4 to +27)"
    assert formatting.gain(-0.004, -0.03, -0.004) == "+0 (-3 to +0)"
