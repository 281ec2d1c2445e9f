"""Figures: every one is drawn, says what it shows, and copes with nothing to show."""

import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import PNGFormatter
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

from lib import figures, params
from lib.attack import rebuild
from lib.evidence import forensics
from lib.evidence import printed as paper
from lib.figures import gallery, style
from lib.figures.slopes import slopes
from lib.figures.story import Scene
from lib.metrics import intervals

NAN = float("nan")
DERMA, CHEST = params.facts("derma"), params.facts("chest")
LABELS = {"history": "this run", "second": "another"}
DEFENSES = (*params.REFERENCES, *params.DENOISERS)


def pictures(count: int, size: int = 28, channels: int = 3) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def attack_records(success: list[bool], pixels: int = 1, chest: bool = False) -> pd.DataFrame:
    clean, attacked = ("1" + 13 * "0", "1001" + 10 * "0") if chest else (5, 4)
    rows = []
    for place, fooled in enumerate(success):
        generations = place + 1 if fooled else 9
        rows.append({
            "predicted": clean, "adversarial": attacked if fooled else clean, "success": fooled,
            "p_before": 0.93, "p_after": -0.02 if chest else 0.41,
            "rows": [3 + place, 20][:pixels], "cols": [7, 0][:pixels],
            "values": [[255, 0, 9][: 1 if chest else 3]] * pixels,
            "evaluations": 10 * (generations + 1),
            "best": list(np.linspace(2, -0.1 if fooled else 1, generations + 1)),
        })  # fmt: skip
    columns = "predicted adversarial success p_before p_after rows cols values evaluations best"
    return pd.DataFrame(rows, columns=columns.split()).astype({"success": bool})


def epochs(count: int) -> list[dict]:
    return [
        {"epoch": n + 1, "loss": 1 / (n + 1), "train_accuracy": 0.5, "validation_accuracy": 0.4}
        for n in range(count)
    ]


def psnr_epochs(count: int) -> list[dict]:
    return [
        {"epoch": n + 1, "loss": 0.1, "validation_psnr": 20.0 + n, "identity_psnr": 18.5}
        for n in range(count)
    ]


def class_table(success: dict[str, list[bool]]) -> pd.DataFrame:
    frame = pd.DataFrame(
        [(name, value) for name, found in success.items() for value in found],
        columns=["class", "success"],
    ).astype({"success": bool})
    return intervals.rate_table(frame, "class", "success", success)


def restored_summary(n: int, images: int = 20) -> pd.DataFrame:
    rows = []
    for name in DEFENSES:
        value = NAN if not n or name == "median3" else 31.25
        low, high = intervals.wilson(n // 2, n)
        kept = intervals.wilson(images, images)
        rows.append(
            {
                "defense": name, "images": images, "n": n, "exact": n * (name == "median3"),
                "recovered": n // 2 / n if n else NAN, "recovered_low": low,
                "recovered_high": high, "kept": 1.0 if images else NAN, "kept_low": kept[0],
                "kept_high": kept[1], "psnr": value, "psnr_low": value - 1, "psnr_high": value + 1,
                "ssim": 0.9, "ssim_low": 0.8, "ssim_high": 0.95,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def roc(finds: dict[str, bool]) -> tuple[dict, pd.DataFrame]:
    """Curves and areas of defenses that find every attacked image, or do nothing."""
    corner, chance = (np.array([0, 0, 1]), np.array([0, 1, 1])), (np.array([0, 1]),) * 2
    curves = {name: corner if found else chance for name, found in finds.items()}
    areas = [1.0 if found else 0.5 for found in finds.values()]
    return curves, pd.DataFrame({"defense": list(finds), "n": 7, "auc": areas})


def rate_rows(n: int) -> pd.DataFrame:
    row = {"panel": "One pixel", "size": 224, "rate": 0.25, "low": 0.1, "high": 0.5}
    printed = (("derma", 0.2614), ("oct", 0.9), ("chest", NAN))
    return pd.DataFrame([
        row | {"dataset": name, "printed": value if n else NAN, "agrees": value < 0.5}
        for name, value in printed
    ])  # fmt: skip


def scene(correct: bool, confidence: float | None = 0.5) -> Scene:
    return Scene("Clean image", pictures(1, 28)[0], "melanoma", correct, confidence)


def readings(count: int) -> Figure:
    clean = pictures(count)
    restored = {"dae": clean // 2, "median_cnn": clean[:, ::-1].copy()}
    printed = paper.denoise_table("derma", "resnet50", 1)
    table = forensics.compare(clean, 255 - clean, restored, clean // 3, printed, 9, 0)
    return figures.readings(table, 18)


def restorations(count: int) -> Figure:
    clean, records = pictures(count), attack_records([True] * count)
    attacked = rebuild(clean, records)
    restored = {"identity": attacked, "median3": clean, "dae": attacked}
    classes = {"identity": [4] * count, "median3": np.full(count, 5), "dae": [4] * count}
    confidences = {name: [0.25] * count for name in classes}
    return figures.restorations(clean, attacked, restored, records, classes, confidences, DERMA)


def attacks(success: list[bool], pixels: int = 1) -> Figure:
    clean, records = pictures(len(success)), attack_records(success, pixels)
    return figures.attacks(clean, rebuild(clean, records), records, DERMA)


NOISY = {"10%": pictures(2)[::-1], "50%": pictures(2)}
COUNTS = pd.DataFrame({"class": ["melanoma", "x"], "train": [7, 0], "val": [1, 0], "test": [2, 0]})
SUCCESS = {"melanoma": [True, False, False, False], "vascular lesions": []}
POINTS = pd.DataFrame(
    {"variant": ["identity", "proposed"], "n": 9, "mean": [18.0, 30.5], "low": [17.0, 30.0],
     "high": [19.0, 31.0], "printed": [NAN, 40.42]}
)  # fmt: skip

DRAWN = {
    "samples": lambda: figures.samples(pictures(9), np.arange(9) % 4 - 1, DERMA),
    "class_counts": lambda: figures.class_counts(COUNTS, paper.class_counts("derma")),
    "class_counts, unprinted": lambda: figures.class_counts(COUNTS, None),
    "history": lambda: figures.history(epochs(3), 0.3, epochs(2), LABELS),
    "history, one epoch": lambda: figures.history(epochs(1), 0.3, None, LABELS),
    "confusion": lambda: figures.confusion([[3, 1], [0, 0]], ["a", "b"]),
    "label_auc": lambda: figures.label_auc({"mass": 0.75, "hernia": None}),
    "attacks": lambda: attacks([True] * 7),
    "attacks, one": lambda: attacks([False], 2),
    "convergence": lambda: figures.convergence(attack_records([True, False])),
    "pixel_map": lambda: figures.pixel_map(attack_records([True, False], 2), 28),
    "success_by_class": lambda: figures.success_by_class(
        class_table(SUCCESS), paper.attack_table("derma", "resnet50", 1)
    ),
    "success_by_class, unprinted": lambda: figures.success_by_class(class_table(SUCCESS), None),
    "evaluations": lambda: figures.evaluations(attack_records([True, False]), 100),
    "story": lambda: figures.story([scene(True), scene(False), scene(True, None)], 3, 20),
    "noise_examples": lambda: figures.noise_examples(pictures(2), NOISY),
    "denoised_examples": lambda: figures.denoised_examples(
        pictures(2), NOISY["10%"], {"dae": pictures(2)}
    ),
    "denoised_examples, long names": lambda: figures.denoised_examples(
        pictures(2), NOISY["10%"], {"proposed": pictures(2)}
    ),
    "denoiser_history": lambda: figures.denoiser_history(
        {"dae": psnr_epochs(3), "median_cnn": psnr_epochs(1)}
    ),
    "restorations": lambda: restorations(5),
    "recovery": lambda: figures.recovery(restored_summary(8)),
    "recovery, none fooled": lambda: figures.recovery(restored_summary(0)),
    "quality": lambda: figures.quality(
        restored_summary(8), paper.denoise_table("derma", "resnet50", 1)
    ),
    "detection": lambda: figures.detection(
        *roc({"identity": False, "dae": True, "dae+patches": True})
    ),
    "quality, unprinted": lambda: figures.quality(restored_summary(8), None),
    "readings": lambda: readings(2),
    "minutes": lambda: figures.minutes(
        {"dae": 0.5, "autoencoder": 0.0}, {"dae": 1523.4}, "Training"
    ),
    "variants": lambda: figures.variants(POINTS, "PSNR, dB"),
    "attackers": lambda: figures.attackers(worst(4)),
    "vulnerability": lambda: vulnerable(3),
    "vulnerability, one": lambda: vulnerable(1),
}


def worst(count: int) -> pd.DataFrame:
    """Shares of images that the worst attackers leave correct."""
    budgets = [("", 0), ("pixels", 1), ("pixels", 64), ("linf", 8)]
    return pd.DataFrame(
        [
            {"defense": name, "family": family, "budget": budget, "n": 8, "correct": share,
             "correct_low": share / 2, "correct_high": (1 + share) / 2}
            for name in ("identity", "dae+patches", "double_masking")
            for (family, budget), share in zip(budgets[:count], (1, 0.5, 0.1, 0), strict=False)
        ],
        columns=["defense", "family", "budget", "n", "correct", "correct_low", "correct_high"],
    )  # fmt: skip


def vulnerable(count: int) -> Figure:
    objective = np.random.default_rng(0).normal(1, 1, (count, 28, 28))
    fooled = np.zeros((count, 28, 28), bool)
    fooled[:, 3, 4] = True
    return figures.vulnerability(pictures(count), objective, fooled, [5] * count, DERMA)


# Nothing to show.
EMPTY = {
    "samples": lambda: figures.samples(pictures(0), np.arange(0), DERMA),
    "class_counts": lambda: figures.class_counts(COUNTS.iloc[1:], None),
    "history": lambda: figures.history([], 0.5, None, LABELS),
    "confusion": lambda: figures.confusion(np.zeros((2, 2), int), ["a", "b"]),
    "label_auc": lambda: figures.label_auc({}),
    "attacks": lambda: attacks([]),
    "convergence": lambda: figures.convergence(attack_records([])),
    "pixel_map": lambda: figures.pixel_map(attack_records([]), 28),
    "success_by_class": lambda: figures.success_by_class(class_table({"melanoma": []}), None),
    "evaluations": lambda: figures.evaluations(attack_records([]), 10),
    "evaluations, none fooled": lambda: figures.evaluations(attack_records([False] * 3), 100),
    "story": lambda: figures.story([], 0, 0),
    "noise_examples": lambda: figures.noise_examples(pictures(0), {"10%": pictures(0)}),
    "denoised_examples": lambda: figures.denoised_examples(
        pictures(0), pictures(0), {"dae": pictures(0)}
    ),
    "denoiser_history": lambda: figures.denoiser_history({}),
    "restorations": lambda: restorations(0),
    "recovery": lambda: figures.recovery(restored_summary(0, 0)),
    "detection": lambda: figures.detection({}, pd.DataFrame()),
    "quality": lambda: figures.quality(restored_summary(0), None),
    "readings": lambda: readings(0),
    "minutes": lambda: figures.minutes({}, {"dae": 3.0}, "Training"),
    "variants": lambda: figures.variants(POINTS.iloc[:0], "PSNR, dB"),
    "attackers": lambda: figures.attackers(worst(0)),
    "vulnerability": lambda: vulnerable(0),
}


def written(figure: Figure) -> str:
    """All text of a figure, line breaks as spaces."""
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return " ".join(found).replace("\n", " ")


def rendered(figure: Figure) -> tuple[bytes, dict[str, str]]:
    """What a notebook shows: a PNG, and what stands beside it."""
    return PNGFormatter()(figure)


def test_every_figure_is_tried_here():
    for cases in (DRAWN, EMPTY):
        assert {name.partition(",")[0] for name in cases} == set(figures.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_each_is_drawn_labeled_legible_small_and_whole(name):
    check_drawn(DRAWN[name])


def check_drawn(make: Callable[[], Figure]) -> None:
    before = dict(matplotlib.rcParams)
    figure = make()
    assert isinstance(figure, Figure) and figure.axes
    png, metadata = rendered(figure)
    assert dict(matplotlib.rcParams) == before
    assert len(metadata["alt"].split()) > 3
    assert len(png) < 300_000
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    shown = [metadata["width"], metadata["height"]]
    assert shown[0] == 770 and np.allclose(picture.size, 2 * np.array(shown), atol=2)
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert np.asarray(picture).std() > 1  # something is drawn
    for text in figure.findobj(matplotlib.text.Text):
        assert text.get_fontsize() >= 8
        # Ticks outside the limits are kept by matplotlib and not drawn.
        if text.get_text() and not _beyond_the_axis(figure, text):
            box, page = text.get_window_extent(), figure.bbox
            inside = box.x0 > -1 and box.y0 > -1 and box.x1 < page.x1 + 1 and box.y1 < page.y1 + 1
            assert inside, (text.get_text(), box, page)


def _beyond_the_axis(figure: Figure, text: matplotlib.text.Text) -> bool:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if text in (tick.label1, tick.label2):
                    return not low <= tick.get_loc() <= high
    return False


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_show_is_said_in_words(name):
    check_empty(EMPTY[name]())


def check_empty(figure: Figure) -> None:
    assert written(figure) and not figure.axes
    assert rendered(figure)[1]["alt"]


def test_nothing_goes_through_pyplot():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    DRAWN["confusion"](), DRAWN["recovery"](), DRAWN["attacks"]()
    assert plt.get_fignums() == before


def test_the_reader_s_own_style_changes_nothing():
    plain, _ = rendered(DRAWN["recovery"]())
    with matplotlib.rc_context(
        {"font.size": 30, "xtick.labelsize": 30, "figure.facecolor": "black", "savefig.dpi": 50}
    ):
        assert rendered(DRAWN["recovery"]())[0] == plain


def test_defenses_and_classifiers_have_colors_of_their_own():
    names = [*DEFENSES, *params.names("classifiers")]
    assert len({style.COLORS[name] for name in names}) == len(names)
    assert style.PRINTED not in style.COLORS.values()
    lines = DRAWN["denoiser_history"]().axes[0].get_lines()
    assert [to_hex(line.get_color()) for line in lines] == [
        style.COLORS[name].lower() for name in ("dae", "median_cnn", "identity")
    ]


def test_patch_selection_is_told_from_its_denoiser_by_the_line():
    axes = DRAWN["detection"]().axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    plain, patched = (lines[f"DAE {more}, 1.00"] for more in ("(proposed)", "+ patches"))
    assert to_hex(plain.get_color()) == to_hex(patched.get_color())
    assert (plain.get_linestyle(), patched.get_linestyle()) == ("-", "--")
    assert list(plain.get_xdata()) == [0, 0, 100] and list(plain.get_ydata()) == [0, 100, 100]


def test_a_slope_is_green_where_the_rates_agree_and_gray_at_another_size():
    rows = rate_rows(8)
    axes = slopes(rows).axes[0]
    lines = [line for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert [list(line.get_ydata()) for line in lines] == [[26.14, 25], [90, 25]]
    assert [line.get_color() for line in lines] == [style.GOOD, style.BAD]
    small = slopes(rows.assign(size=28)).axes[0].get_lines()
    assert {line.get_color() for line in small} & {style.GOOD, style.BAD} == set()


def test_labels_of_slopes_stay_beside_their_own_lines():
    rows = rate_rows(8).assign(dataset=["pathology", "derma", "oct"], size=[28, 224, 28])
    panels = pd.concat([rows.assign(panel=name) for name in ("One", "Two", "Three")])
    figure = slopes(panels)
    for axes in figure.axes:
        for label in axes.texts:
            assert label.get_window_extent().x1 < axes.bbox.x1, label.get_text()


def test_the_story_magnifies_the_changed_pixel():
    figure = figures.story([scene(True), scene(False), scene(True, None)], 3, 20)
    tiles = [axes for axes in figure.axes if axes.images]
    assert len(tiles) == 3
    edges = [tile.spines["left"].get_edgecolor() for tile in tiles]
    assert [to_hex(edge) for edge in edges] == [style.GOOD, style.BAD, style.GOOD]
    (lens,) = [child for child in tiles[1].child_axes if child.images]
    part = lens.images[0].get_array()
    assert part.shape[:2] == (9, 9)
    assert np.array_equal(part, scene(False).image[0:9, 16:25].squeeze())


def test_the_changed_pixels_are_circled_where_they_are():
    figure = attacks([True], 2)
    centers = [
        tuple(patch.center)
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Circle)
    ]
    assert centers == [(7, 3), (0, 20)]  # column, row
    clean, attacked, _ = (axes.images[0].get_array() for axes in figure.axes)
    changed = (clean != attacked).any(axis=2)
    assert set(zip(*np.nonzero(changed), strict=True)) == {(3, 7), (20, 0)}


def test_the_magnified_part_stays_inside_and_holds_the_pixel():
    for row, col in ((0, 0), (27, 27), (0, 27), (14, 3)):
        records = attack_records([True])
        records.at[0, "rows"], records.at[0, "cols"] = [row], [col]
        axes = figures.attacks(pictures(1), pictures(1), records, DERMA).axes[2]
        part, (x, y) = axes.images[0].get_array(), axes.patches[-1].get_xy()
        assert part.shape[:2] == (9, 9)
        top, left = row - int(y + 0.5), col - int(x + 0.5)  # of the part
        assert np.array_equal(part, pictures(1)[0, top : top + 9, left : left + 9].squeeze())


def test_a_multi_label_attack_is_told_by_the_labels_that_change():
    records = attack_records([True], chest=True)
    clean = pictures(1, channels=1)
    figure = figures.attacks(clean, rebuild(clean, records), records, CHEST)
    assert "infiltration" in written(figure) and "−0.02" in written(figure)
    before, other = "10" + "0" * 12, "0" * 14
    assert gallery.change(before, other, CHEST) != gallery.change(other, before, CHEST)
    assert "atelectasis" in gallery.change(before, other, CHEST)
    assert gallery.decision(other, CHEST)


def test_what_is_recovered_is_told_by_its_color():
    texts = restorations(1).findobj(matplotlib.text.Text)
    for paint in (style.GOOD, style.BAD):  # of the median, of the DAE; the identity has no column
        assert sum(text.get_color() == paint for text in texts) == 1
    # The confidence in the true class, not in the one that was decided.
    shown = " ".join(text.get_text() for text in texts)
    assert "0.41" in shown and "0.25" in shown


def test_evaluations_count_all_attacked_images():
    axes = figures.evaluations(attack_records([True, False, True, False]), 100).axes[0]
    x, y = axes.get_lines()[0].get_data()
    assert list(x) == [20, 20, 40, 100] and list(y) == [0, 25, 50, 50]


def test_noise_is_shown_as_it_is():
    clean = pictures(1, size=64)
    figure = figures.noise_examples(clean, {"10%": clean[:, ::-1]})
    shown = figure.axes[0].images[0].get_array()
    assert (shown == clean[0, 8:56, 8:56]).all()


def test_small_images_keep_every_pixel_and_large_ones_their_mean():
    small, large = pictures(1, size=28), np.full((1, 224, 224, 3), 77, np.uint8)
    for images, edge in ((small, 28), (large, 48)):
        shown = figures.samples(images, np.array([0]), DERMA).axes[0].images[0].get_array()
        assert shown.shape == (edge, edge, 3)
    assert (shown == 77).all()


@given(
    st.lists(st.text("abcdefghij", min_size=1, max_size=30), min_size=1, max_size=6),
    st.integers(4, 30),
)
def test_wrapped_text_fits_and_loses_no_letter(parts, width):
    text = style.wrap(" ".join(parts), width)
    assert max(map(len, text.split("\n"))) <= width
    assert "".join(text.replace("-", "").split()) == "".join(parts)


def test_input_that_does_not_fit_is_refused():
    with refused():
        figures.samples(pictures(9), np.arange(8), DERMA)
    with refused():
        figures.confusion(np.zeros((3, 3)), ["a", "b"])
    with refused():
        figures.denoised_examples(pictures(2), pictures(2), {"dae": pictures(2, size=14)})
    with refused():
        figures.noise_examples(pictures(2) / 255, {})
