"""The audit's hypotheses: each quirk against its source or a slow loop, and the rule that judges.

`PACKAGE` holds what the package itself gave; all else is computed here.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from book import forensics_text
from lib import figures
from lib.evidence import forensics
from lib.evidence import printed as paper
from lib.evidence.forensic_hypotheses import (
    HYPOTHESES,
    NEEDLESS,
    NO,
    PART,
    UNTRIED,
    YES,
    judge,
    tried,
    undefended,
)
from lib.metrics import image_quality
from lib.metrics.legacy_fsim import fsim_measures, psnr_measures, ssim_measures
from lib.models.denoisers.median_cnn import MedianCNN, MedianLayer
from lib.params.files import write_json, write_table

DEFENSES = ("dae", "noise2noise", "median_cnn", "autoencoder")


def pattern(height, width, channels):
    """A picture made by formulas and one that differs from it, uint8 (1, H, W, C)."""
    y, x, c = np.mgrid[:height, :width, :channels].astype(float)
    clean = 120 + 60 * np.sin(x / 3 + c) * np.cos(y / 5) + 50 * ((x - 2 * y) % 23 < 9) - 20 * c
    other = clean + 12 * np.sin(x * 1.7) + 9 * np.cos(y * 1.3 + c)
    return tuple(np.clip(np.floor(v), 0, 255).astype(np.uint8)[None] for v in (clean, other))


# What image-similarity-measures 0.3.6 gave for `pattern` (with phasepack 1.5, numpy 1.26.4,
# OpenCV 4.11.0): as 8-bit images, both on 0..1, the second alone on 0..1, the first alone on 0..1.
PACKAGE = {
    (28, 28, 1): (0.6645042010, 0.9486331879, 0.2755379546, 0.2724585098),
    (28, 28, 3): (0.6526649222, 0.9369869362, 0.2894623952, 0.2801795709),
    (64, 64, 3): (0.6628330703, 0.9388178129, 0.2485420771, 0.2424791830),
    (224, 224, 1): (0.6557133172, 0.9337310884, 0.2390493597, 0.2373464560),
    (45, 33, 3): (0.6727362660, 0.9536060775, 0.2720754452, 0.2661988013),
}
PACKAGE_PSNR_SSIM = {
    (28, 28, 1): (51.699953962, 0.9932672127),
    (28, 28, 3): (51.754513819, 0.9932413560),
}


@pytest.mark.parametrize("shape", PACKAGE)
def test_fsim_is_that_of_the_package(shape):
    pair = pattern(*shape)
    peaks = [(255, 255), (1, 1), (255, 1), (1, 255)]
    found = [fsim_measures(*pair, reference_peak=a, image_peak=b)[0] for a, b in peaks]
    np.testing.assert_allclose(found, PACKAGE[shape], atol=1e-6)


@pytest.mark.parametrize("shape", PACKAGE_PSNR_SSIM)
def test_psnr_and_ssim_are_those_of_the_package(shape):
    pair = pattern(*shape)
    found = psnr_measures(*pair)[0], ssim_measures(*pair)[0]
    np.testing.assert_allclose(found, PACKAGE_PSNR_SSIM[shape], rtol=1e-7)


@pytest.mark.parametrize("shape", PACKAGE)
def test_without_quirks_fsim_is_the_published_one(shape):
    pair = pattern(*shape)
    found = fsim_measures(*pair, **forensics.PUBLISHED)
    np.testing.assert_allclose(found, image_quality.fsim(*pair), atol=1e-4)


@pytest.mark.parametrize("quirk", forensics.PUBLISHED)
def test_every_quirk_changes_fsim(quirk):
    pair = pattern(28, 28, 3)
    published = fsim_measures(*pair, **forensics.PUBLISHED)
    assert abs(fsim_measures(*pair, **forensics.PUBLISHED | {quirk: True}) - published) > 0.01


def test_fsim_of_a_batch_is_that_of_each_image(monkeypatch):
    clean, other = (np.concatenate([v, v[:, ::-1], v[:, :, ::-1]]) for v in pattern(28, 28, 3))
    together = fsim_measures(clean, other)
    monkeypatch.setattr("lib.metrics.legacy_fsim.CHUNK_PIXELS", 1)
    alone = [fsim_measures(clean[i : i + 1], other[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert fsim_measures(clean[:0], other[:0]).shape == (0,)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 3]))
def test_wrapped_mse_is_the_sum_of_remainders(seed, channels):
    a, b = np.random.default_rng(seed).integers(0, 256, (2, 2, 5, 4, channels), dtype=np.uint8)
    slow = [
        np.mean([(int(x) - int(y)) ** 2 % 256 for x, y in zip(p.flat, q.flat, strict=True)])
        for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(forensics.mse_wrapped(a, b), slow, rtol=1e-12)
    np.testing.assert_allclose(
        forensics.psnr_wrapped(a, b), 10 * np.log10(65025 / np.array(slow)), rtol=1e-12
    )
    assert np.isinf(forensics.psnr_wrapped(a, a)).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), target=st.floats(20, 36))
def test_errors_scaled_to_a_psnr_keep_their_shape(seed, target):
    random = np.random.default_rng(seed)
    clean = random.integers(90, 166, (6, 28, 28, 3), dtype=np.uint8)
    error = random.integers(-8, 9, clean.shape) * random.integers(1, 4, (6, 1, 1, 1))
    restored = (clean + error).astype(np.uint8)
    scaled = forensics.at_psnr(clean, restored, target)
    before, after = image_quality.psnr(clean, restored), image_quality.psnr(clean, scaled)
    assert after.mean() == pytest.approx(target, abs=0.5)
    np.testing.assert_allclose(before - after, before.mean() - target, atol=1.5)
    moved = scaled.astype(int) - clean
    assert (np.sign(moved) * np.sign(error) >= 0).all()


def test_an_exact_image_cannot_be_scaled():
    clean = pattern(28, 28, 1)[0]
    with refused():
        forensics.at_psnr(clean, clean, 30)


@pytest.mark.parametrize("psnr", [17.67, 37.52])
def test_an_offset_has_the_psnr_it_is_made_for(psnr):
    gray = np.full((1, 8, 8, 1), 100, np.uint8)
    lighter = forensics.brighter(gray, forensics.levels_of(psnr))
    assert image_quality.psnr(gray, lighter)[0] == pytest.approx(psnr, abs=1.1)
    assert (lighter > gray).all()
    assert forensics.brighter(np.array([[250, 3]], np.uint8), 9).tolist() == [[255, 12]]
    assert forensics.brighter(np.array([[250, 3]], np.uint8), -9).tolist() == [[241, 0]]


def test_inactive_medians_return_their_input_and_leave_the_network_alone():
    network = nn.Sequential(MedianLayer(5), nn.Sequential(nn.Identity(), MedianLayer(3)))
    images = torch.rand(2, 1, 12, 12)
    assert torch.equal(forensics.inactive(network)(images), images)
    assert not torch.equal(network(images), images)
    torch.manual_seed(0)
    model = MedianCNN(1, blocks=2).eval()
    without = forensics.inactive(model)
    assert not any(isinstance(part, MedianLayer) for part in without.modules())
    assert any(isinstance(part, MedianLayer) for part in model.modules())
    for key, value in model.state_dict().items():
        assert torch.equal(value, without.state_dict()[key])


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 1), (32, 32), (33, 32), (500, 32)])
def test_a_sample_is_spread_over_all_images(count, kept):
    chosen = forensics.some(count)
    assert len(chosen) == kept and len(set(chosen)) == kept
    assert all(0 <= i < count for i in chosen)
    if count == 500:
        assert np.diff(chosen).max() - np.diff(chosen).min() <= 1 and chosen[-1] > 480


def example(count=3, channels=3):
    """Clean, attacked and restored images, and a printed table."""
    clean, other = (v.repeat(count, 0) for v in pattern(28, 28, channels))
    attacked = clean.copy()
    attacked[:, 4, 5] = 255 - attacked[:, 4, 5]
    restored = {name: np.roll(other, i, axis=2) for i, name in enumerate(DEFENSES)}
    return clean, attacked, restored, paper.denoise_table("derma", "resnet50", 1)


@pytest.fixture(scope="module")
def table():
    """All readings of `example`."""
    clean, attacked, restored, printed = example()
    return forensics.compare(clean, attacked, restored, restored["dae"], printed, 20, 0)


def test_every_reading_stands_beside_the_printed_value(table):
    clean, attacked, restored, printed = example()
    assert list(table.columns) == forensics.COLUMNS
    assert not table.duplicated(["metric", "variant", "images", "defense"]).any()
    of = table.set_index(["metric", "variant", "images", "defense"])
    for metric in image_quality.COLUMNS:
        for name in DEFENSES:
            for images, shown in ((forensics.AS_RESTORED, restored[name]),
                                  (forensics.UNDEFENDED, attacked)):  # fmt: skip
                row = of.loc[(metric, "standard", images, name)]
                assert row["value"] == pytest.approx(
                    image_quality.measure(clean, shown)[metric].mean()
                )
                assert row["least"] - 1e-9 <= row["value"] <= row["most"] + 1e-9
            number = printed.set_index("defense").loc[name, metric]
            assert row["printed"] == number and row["distance"] == number - row["value"]
    matched = of.sort_index().loc[("psnr", "standard", forensics.MATCHED)]
    np.testing.assert_allclose(matched["value"], matched["printed"], atol=0.3)
    only = table[table["images"].isin([forensics.BRIGHTER_INPUT, forensics.INACTIVE])]
    assert set(only["defense"]) == {"median_cnn"}
    low, high = forensics.scaling([table])
    changes = [printed.set_index("defense").loc[n, "psnr"]
               - image_quality.psnr(clean, restored[n]).mean() for n in DEFENSES]  # fmt: skip
    assert (low, high) == pytest.approx((min(changes), max(changes)))


def test_a_printed_value_is_reached_within_its_rounding():
    clean, attacked, restored, printed = example(1)
    value = image_quality.ssim(clean, restored["dae"])[0]
    for shift, reached in ((0.0049, True), (-0.0049, True), (0.0051, False)):
        printed.loc[printed["defense"] == "dae", "ssim"] = value + shift
        one = {"dae": restored["dae"]}
        table = forensics.compare(clean, attacked, one, None, printed, 5, 0)
        row = table[(table["images"] == forensics.AS_RESTORED) & (table["defense"] == "dae")
                    & (table["metric"] == "ssim") & (table["variant"] == "standard")]  # fmt: skip
        assert row["reached"].tolist() == [reached]


@pytest.mark.parametrize("channels", [1, 3])
def test_no_success_and_exact_images_leave_gaps_but_no_error(channels):
    clean, attacked, restored, printed = example(2, channels)
    nothing = {name: image[:0] for name, image in restored.items()}
    table = forensics.compare(clean[:0], attacked[:0], nothing, nothing["dae"], printed, 5, 0)
    assert table["value"].isna().all() and not table["reached"].any()
    assert forensics.scaling([table]) is None and forensics.scaling([]) is None
    assert set(judge(table)["verdict"]) == {UNTRIED}
    assert undefended(table, 1)["denoisers"] and not figures.readings(table, 18).axes
    exact = restored | {"dae": clean}
    table = forensics.compare(clean, attacked, exact, None, printed, 5, 0)
    assert table.loc[table["defense"] == "dae", "n"].min() == 0
    assert len(forensics_text.hypotheses(judge(table))) == len(HYPOTHESES)


def test_every_hypothesis_asks_for_readings_that_exist(table):
    keys = ["metric", "variant", "images", "defense"]
    there = set(table[keys].itertuples(index=False, name=None))
    for each in HYPOTHESES:
        assert len(each.readings) == len(each.plain)
        for reading in (*each.readings, *each.plain):
            for name in each.defenses:
                assert (*reading, name) in there, (each.item, reading, name)


def readings_table(**of):
    """Rows for F1, GMSD with the other constant: ``defense=(value, plain value, printed)``."""
    rows = []
    for name, (value, plain, printed) in of.items():
        for variant, mean in (("unit_constant", value), ("standard", plain)):
            rows.append(
                {"metric": "gmsd", "variant": variant, "images": forensics.MATCHED,
                 "defense": name, "value": mean, "printed": printed, "distance": printed - mean,
                 "reached": abs(printed - mean) < 0.03}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("of", "verdict", "order"),
    [
        ({"dae": (0.13, 0.01, 0.13), "noise2noise": (0.24, 0.02, 0.25)}, YES, "as printed"),
        ({"dae": (0.13, 0.01, 0.13), "noise2noise": (0.24, 0.02, 0.50)}, PART, "as printed"),
        ({"dae": (0.14, 0.01, 0.13), "noise2noise": (0.13, 0.02, 0.14)}, PART, "another"),
        ({"dae": (0.30, 0.01, 0.13), "noise2noise": (0.40, 0.02, 0.25)}, NO, "as printed"),
        ({"dae": (0.30, 0.14, 0.13), "noise2noise": (0.40, 0.26, 0.25)}, NEEDLESS, "as printed"),
        ({"dae": (0.12, 0.01, 0.13), "noise2noise": (0.14, 0.02, 0.13)}, YES, ""),
        ({"dae": (0.13, 0.01, 0.13)}, YES, ""),
        ({"median_cnn": (0.13, 0.01, 0.13)}, UNTRIED, ""),
    ],
)  # fmt: skip
def test_the_rule(of, verdict, order):
    judged = judge(readings_table(**of))
    row = judged.set_index("item").loc["F1"]
    assert (row["verdict"], row["order"]) == (verdict, order)
    assert verdict in forensics_text.hypotheses(judged)[1]


def test_recorded_tables_of_one_size_are_counted_together(tmp_path):
    both = {"dae": (0.13, 0.01, 0.13), "noise2noise": (0.24, 0.02, 0.25)}
    part = {"dae": (0.13, 0.01, 0.13), "noise2noise": (0.24, 0.02, 0.50)}
    for protocol, size in (("sample", 224), ("compact", 64)):
        run = tmp_path / protocol / "oct" / "resnet50"
        about = {"parameters": {"data_size": size}, "data": {"source": "rebuilt"}}
        write_json(run / "run.json", about)
        write_table(run / "forensics_one_pixel.parquet", readings_table(**both))
        write_table(run / "forensics_two_pixel.parquet", readings_table(**part))
    row = tried(tmp_path, 224).set_index("audit").loc["F1"]
    assert (row["reached"], row["plain reading"]) == ("3 of 4", "0 of 4")
    assert row[[YES, PART, NO]].tolist() == [1, 1, 0]
    assert not len(tried(tmp_path, 28))


def test_undefended_images_are_counted_against_denoisers_and_printed_values(table):
    clean, attacked, restored, printed = example()
    found = undefended(table, 1)
    score = image_quality.psnr(clean, attacked).mean()
    worse = sum(image_quality.psnr(clean, image).mean() < score for image in restored.values())
    assert found["psnr"] == pytest.approx(score)
    assert (found["denoisers"], found["denoisers_below"]) == (4, worse)
    assert (found["printed"], found["printed_below"]) == (4, (printed["psnr"] < score).sum())
    # One pixel of 224 x 224 costs at most so much: no undefended image is worse.
    for pixels, bound in ((1, 47.0), (2, 44.0)):
        found = undefended(table, pixels)
        assert found["bound"] == pytest.approx(bound, abs=0.05)
        assert found["printed_below_bound"] == (printed["psnr"] < found["bound"]).sum()
    assert f"{score:.1f}" in forensics_text.undefended(found)


def test_the_figure_has_a_line_for_each_reading_and_marks_what_is_printed(table):
    figure = figures.readings(table, 18)
    assert len(figure.axes) == 5 * 4
    labels = [text.get_text() for text in figure.axes[-4].get_yticklabels()]
    assert labels == list(dict.fromkeys(table.loc[table["metric"] == "fsim", "label"]))
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines]
    first = table.loc[table["metric"] == "psnr", "printed"].iloc[0]
    assert lines[0] == first
