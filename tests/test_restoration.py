"""lib.defense.restoration on synthetic images, toy defenses and a toy classifier."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import refused
from torch import nn

from lib import params
from lib.attack import AnyLabelChange, PixelAttack, rebuild
from lib.attack.pgd import PGD
from lib.defense import (
    Patches,
    break_even_prevalence,
    evaluate_defense,
    restoration,
    shares,
    summary,
)
from lib.defense.dense import APGD, AutoAttack
from lib.defense.restoration import restore_all
from lib.metrics import image_quality
from lib.metrics.intervals import wilson
from lib.models.classifiers import classify
from lib.models.denoisers import restore
from lib.models.denoisers.reference import Median3

N, SIZE = 12, 16


class Lift(nn.Module):
    """Adds a constant to every value."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.share = levels / 255

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.share


class Median(nn.Module):
    """Median of 3 x 3 pixels, border repeated."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(dim=-1).values


def toy_class(images: np.ndarray) -> np.ndarray:
    """Toy class: 1 if any pixel is brighter than 200, 2 if the image is bright overall."""
    bright = images.max(axis=(1, 2, 3)) > 200
    return np.where(images.mean(axis=(1, 2, 3)) > 150, 2, bright.astype(int))


def labels(images: np.ndarray) -> list[str]:
    """The same as a multi-label string."""
    return [("00", "01", "10")[each] for each in toy_class(images)]


def case(channels: int = 3, pixels: int = 1, multi_label: bool = False):
    """Gray-ish clean images of class 0; even ones have a bright pixel put in and become class 1."""
    random = np.random.default_rng(channels + pixels)
    clean = np.full((N, SIZE, SIZE, channels), 100, np.uint8)
    clean += (np.arange(SIZE) * 2).astype(np.uint8)[None, :, None, None]  # smooth
    rows = [random.choice(np.arange(2, SIZE - 2), pixels, replace=False) for _ in range(N)]
    won = np.arange(N) % 2 == 0
    kind = labels if multi_label else toy_class
    records = pd.DataFrame(
        {
            "dataset": "toy",
            "split": "test",
            "index": np.arange(N) + 40,
            "label": 0,
            "predicted": list(kind(clean)),
            "adversarial": [
                ("00", "01")[each] if multi_label else each for each in won.astype(int)
            ],
            "success": won,
            "rows": rows,
            "cols": [np.arange(pixels) * 5 + 3 for _ in range(N)],
            "values": [[[250 if each else 90] * channels] * pixels for each in won],
        }
    )
    return clean, rebuild(clean, records), records, kind


DEFENSES = {"identity": nn.Identity(), "median": Median(), "lift": Lift(30), "glare": Lift(120)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [1, 2])
@pytest.mark.parametrize("multi_label", [False, True])
def test_columns_and_classes(channels, pixels, multi_label):
    clean, adversarial, records, predict = case(channels, pixels, multi_label)
    assert list(predict(adversarial)) == records["adversarial"].tolist()
    frame = restore_all(clean, adversarial, records, DEFENSES, predict, "cpu")
    assert set(frame.columns) == {
        "dataset", "split", "index", "label", "success", "defense", *image_quality.COLUMNS, "exact",
        "restored_class", "recovered", "clean_class", "kept", "error_attacked", "error_elsewhere",
        "attacked_residual_largest", "attacked_residual_mean", "clean_residual_largest",
        "clean_residual_mean",
    }  # fmt: skip
    assert frame["defense"].tolist() == [name for name in DEFENSES for _ in range(N)]
    for name in DEFENSES:
        part = frame[frame["defense"] == name]
        for key in ("dataset", "split", "index", "label", "success"):
            assert part[key].tolist() == records[key].tolist()
    by = dict(list(frame.groupby("defense")))
    won = records["success"].to_numpy()
    # Doing nothing: the attack stays, clean images keep their class.
    assert by["identity"]["recovered"].tolist() == (~won).tolist()
    assert by["identity"]["restored_class"].tolist() == records["adversarial"].tolist()
    assert by["identity"]["kept"].all()
    # The median removes the pixel; glare turns everything into class 2.
    assert by["median"]["recovered"].all() and by["median"]["kept"].all()
    assert not by["glare"]["recovered"].any() and not by["glare"]["kept"].any()
    assert set(by["glare"]["clean_class"]) == {"10" if multi_label else 2}
    for column in ("success", "exact", "recovered", "kept"):
        assert frame[column].dtype == bool


def test_metrics_compare_restored_with_clean_images():
    clean, adversarial, records, predict = case()
    frame = restore_all(clean, adversarial, records, DEFENSES, predict, "cpu")
    none = frame[frame["defense"] == "identity"].reset_index(drop=True)
    expected = image_quality.measure(clean, adversarial)
    pd.testing.assert_frame_equal(none[list(image_quality.COLUMNS)], expected)
    lift = frame[frame["defense"] == "lift"]
    lifted = image_quality.measure(
        clean, adversarial.astype(int).__add__(30).clip(0, 255).astype("u1")
    )
    np.testing.assert_allclose(lift[list(image_quality.COLUMNS)], lifted, rtol=1e-6)


def test_residuals_are_those_of_the_image_given():
    clean, adversarial, records, predict = case()
    frame = restore_all(clean, adversarial, records, DEFENSES, predict, "cpu")
    by = {name: part.reset_index(drop=True) for name, part in frame.groupby("defense")}
    for state, images in (("attacked", adversarial), ("clean", clean)):
        assert (by["identity"][f"{state}_residual_largest"] == 0).all()
        residual = np.abs(restore(Median(), images, "cpu").astype(int) - images)
        found = by["median"][[f"{state}_residual_largest", f"{state}_residual_mean"]]
        np.testing.assert_allclose(found.iloc[:, 0], residual.max(axis=(1, 2, 3)))
        np.testing.assert_allclose(found.iloc[:, 1], residual.mean(axis=(1, 2, 3)))


class Counting(nn.Module):
    """Counts its forward passes and brightens."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return Median()(images) + 8 / 255


def test_patch_selection_takes_the_pixel_and_leaves_the_rest(monkeypatch):
    monkeypatch.setattr(restoration, "CHUNK", 5)  # rows of a defense stay together all the same
    clean, adversarial, records, predict = case()
    model, patches = Counting(), Patches(("bright",), 1, 0.3)
    defenses = {"bright": model, "identity": nn.Identity()}
    frame = restore_all(clean, adversarial, records, defenses, predict, "cpu", patches)
    assert frame["defense"].tolist() == [
        name for name in ("bright", "bright+patches", "identity") for _ in range(N)
    ]
    assert model.images == 2 * N  # attacked and clean once each, none for the patches
    by = {name: part.reset_index(drop=True) for name, part in frame.groupby("defense")}
    won = records["success"].to_numpy()
    assert (by["bright"]["error_elsewhere"] > 7).all()
    assert (by["bright+patches"]["error_elsewhere"] == 0).all()
    assert by["bright+patches"]["recovered"].all() and by["bright+patches"]["kept"].all()
    assert (by["bright+patches"]["error_attacked"][won] < 16).all()
    assert by["bright+patches"].loc[won, "attacked_residual_largest"].gt(76).all()
    assert (by["bright+patches"]["clean_residual_largest"] == 0).all()


def test_patches_of_parameters_are_those_of_trained_denoisers():
    p = params.load(
        denoiser_names=["dae", "autoencoder"], 
        restoration_patch_denoisers=["median3", "noise2noise", "dae"],
        restoration_patch_size=5, restoration_patch_threshold=0.25,
    )  # fmt: skip
    assert Patches.of(p) == Patches(("median3", "dae"), 5, 0.25)
    with refused("restoration_patch_size", 4):
        params.load(restoration_patch_size=4)


@pytest.mark.parametrize("pixels", [1, 2])
def test_errors_at_the_attacked_pixels_and_elsewhere(pixels):
    clean, adversarial, records, predict = case(3, pixels)
    frame = restore_all(clean, adversarial, records, DEFENSES, predict, "cpu")
    by = {name: part.reset_index(drop=True) for name, part in frame.groupby("defense")}
    size = []
    for i, record in enumerate(records.itertuples()):
        at = [(r, c) for r, c in zip(record.rows, record.cols, strict=True)]
        size.append(np.mean([abs(int(clean[i, r, c, 0]) - record.values[0][0]) for r, c in at]))
    np.testing.assert_allclose(by["identity"]["error_attacked"], size)
    assert (by["identity"]["error_elsewhere"] == 0).all()
    np.testing.assert_allclose(by["lift"]["error_elsewhere"], 30)
    # All errors together give the mean over the image.
    share = pixels / SIZE**2
    for name, defense in (("identity", nn.Identity()), ("median", Median())):
        restored = restore(defense, adversarial, "cpu").astype(int)
        both = by[name]["error_attacked"] * share + by[name]["error_elsewhere"] * (1 - share)
        np.testing.assert_allclose(both, np.abs(restored - clean).mean(axis=(1, 2, 3)))


def test_one_pixel_hit_twice_counts_once():
    clean, _, records, predict = case(1, 2)
    records["rows"] = [[4, 4]] * N
    records["cols"] = [[7, 7]] * N
    records["values"] = [[[0], [220]]] * N
    adversarial = rebuild(clean, records)
    frame = restore_all(clean, adversarial, records, {"none": nn.Identity()}, predict, "cpu")
    np.testing.assert_allclose(frame["error_attacked"], 220 - clean[:, 4, 7, 0].astype(int))


def test_the_table_does_not_depend_on_the_chunk(monkeypatch):
    arguments = (*case()[:3], DEFENSES, toy_class, "cpu")
    whole = restore_all(*arguments)
    monkeypatch.setattr(restoration, "CHUNK", 5)
    pd.testing.assert_frame_equal(restore_all(*arguments), whole)


def test_records_keep_their_images_whatever_their_row_labels():
    clean, adversarial, records, predict = case()
    odd = records.set_axis(np.arange(N)[::-1] * 3)
    pd.testing.assert_frame_equal(
        restore_all(clean, adversarial, odd, DEFENSES, predict, "cpu"),
        restore_all(clean, adversarial, records, DEFENSES, predict, "cpu"),
    )


def test_bad_input_is_named():
    clean, adversarial, records, predict = case()
    with refused(11, 12):
        restore_all(clean[1:], adversarial, records, DEFENSES, predict, "cpu")
    with refused():
        restore_all(clean[:0], adversarial[:0], records[:0], DEFENSES, predict, "cpu")
    with refused():
        restore_all(clean, adversarial, records, {}, predict, "cpu")
    with refused("'01'", 0):
        restore_all(clean, adversarial, records, DEFENSES, labels, "cpu")
    with refused(3, 96):
        restore_all(clean, adversarial, records, DEFENSES, lambda images: [0, 0, 0], "cpu")
    with refused("10 x 10"):
        small = clean[:, :10, :10], adversarial[:, :10, :10]
        within = records.assign(rows=[[0]] * N, cols=[[0]] * N)
        restore_all(*small, within, DEFENSES, predict, "cpu")
    outside = records.assign(rows=[[SIZE]] * N, cols=[[0]] * N)
    with refused((16, 0), "16 x 16"):
        restore_all(clean, adversarial, outside, DEFENSES, predict, "cpu")


class Brightest(nn.Module):
    """Class 1 if a value is above 200, else 0."""

    def forward(self, images):
        return torch.stack([torch.full((len(images),), 200 / 255), images.amax((1, 2, 3))], 1)


def hiding(images):
    """A defense that makes all bright values dark."""
    return images.where(images < 0.8, 0.3)


@pytest.fixture(scope="module")
def found():
    images = np.full((6, 12, 12), 100, np.uint8)
    images += np.arange(6, dtype=np.uint8)[:, None, None]
    images[1, 3, 4] = 250
    labels = np.array([0, 1, 0, 0, 1, 0])  # the fifth is wrong from the start
    return PixelAttack(population=30, generations=8)(Brightest().eval(), images, labels)


def test_a_defense_is_evaluated_on_what_an_attack_found(found):
    table = evaluate_defense(Brightest(), hiding, found)
    assert table["image"].tolist() == [0, 1, 2, 3, 5]  # not the skipped one
    assert table["defense"].unique().tolist() == ["hiding"]
    assert table["success"].tolist() == found.success[[0, 1, 2, 3, 5]].tolist()
    assert table["success"][[0, 2, 3, 4]].all()
    assert table["restored_class"].tolist() == [0] * 5
    assert table["recovered"].tolist() == [True, False, True, True, True]
    assert table["kept"].tolist() == [True, False, True, True, True]
    rates = shares(table).iloc[0]
    won = table[table["success"]]
    assert (rates["images"], rates["attacks"], rates["n"]) == (5, 5, len(won))
    assert rates["recovered"] == won["recovered"].mean() and rates["kept"] == 0.8
    assert len(summary(table, 20, 0)) == 1


def test_several_defenses_are_compared_and_one_breaks_even(found):
    both = {"identity": nn.Identity(), "hiding": hiding}
    table = evaluate_defense(Brightest(), both, found, device="auto")
    assert table["defense"].tolist() == ["identity"] * 5 + ["hiding"] * 5
    even = break_even_prevalence(table, 20)
    assert np.isnan(even.loc["identity", "pays_from"])
    assert 0 < even.loc["hiding", "pays_from"] < 1


@pytest.mark.parametrize("attack", [PGD(16, steps=4), AutoAttack(16, APGD)])
def test_a_defense_against_an_attack_on_whole_images(attack):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).eval()
    images = np.random.default_rng(0).integers(0, 256, (6, 12, 12), np.uint8)
    labels = classify(model, images)
    labels[0] = (labels[0] + 1) % 3
    found = attack(model, images, labels)
    assert found.success.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = evaluate_defense(model, {"identity": nn.Identity(), "median3": Median3(1)}, found)
        means = summary(table, 20, 0).set_index("defense")
    assert table["image"].tolist() == 2 * [1, 2, 3, 4, 5]
    bare = table[:5]
    np.testing.assert_array_equal(bare["recovered"], ~bare["success"])
    changed = (found.images != images)[1:]
    apart = np.abs(found.images.astype(float) - images)[1:]
    for error, row, where in zip(bare["error_attacked"], apart, changed, strict=True):
        assert error == pytest.approx(row[where].mean()) if where.any() else np.isnan(error)
    alone = bare["error_elsewhere"].dropna()  # NaN where no pixel was left as it was
    assert (alone == 0).all() and len(alone) == (~changed.all((1, 2))).sum()
    assert means.loc["identity", "n"] == found.success.sum()
    assert means.loc["median3", "error_attacked"] > 0


def test_a_mean_over_no_pixel_is_left_out():
    gap = table(error_elsewhere=[1.0, np.nan, 0.0, 2.0, 99.0, 99.0])
    rows = summary(gap, 50, 0).iloc[0], summary(table(), 50, 0).iloc[0]
    assert rows[0]["error_elsewhere"] == 1
    names = [name for name in rows[0].index if not name.startswith("error_elsewhere")]
    assert rows[0][names].equals(rows[1][names])


def test_a_defense_of_a_multi_label_model():
    class Labels(nn.Module):
        def forward(self, images):
            return torch.stack([images.amax((1, 2, 3)) - 0.8, -torch.ones(len(images))], 1)

    images = np.full((2, 12, 12, 3), 90, np.uint8)
    labels = np.zeros((2, 2), np.int64)
    attack = PixelAttack(population=30, generations=8, criterion=AnyLabelChange(0.5))
    found = attack(Labels().eval(), images, labels)
    table = evaluate_defense(Labels(), hiding, found)
    assert table["restored_class"].tolist() == ["00", "00"] and table["recovered"].all()

    # Undefended images keep their class at the threshold of the attack; no other is accepted.
    labels = classify(Labels(), images, multi_label=True, threshold=0.1)
    strict = PixelAttack(population=4, generations=0, criterion=AnyLabelChange(0.1))
    found = strict(Labels().eval(), images, labels)
    table = evaluate_defense(Labels(), nn.Identity(), found, threshold=0.1)
    assert table["kept"].all() and table["clean_class"].tolist() == ["11", "11"]
    for threshold in (0.5, 0, 1, 5):
        with refused():
            evaluate_defense(Labels(), nn.Identity(), found, threshold=threshold)
    with refused():
        evaluate_defense(lambda x: 9 * Labels()(x), nn.Identity(), found, threshold=0.1)


def table(**changes) -> pd.DataFrame:
    """A hand-made restoration table of one defense."""
    frame = pd.DataFrame(
        {
            "dataset": "oct",
            "split": "test",
            "index": range(6),
            "success": [True, True, True, True, False, False],
            "defense": "toy",
            "psnr": [30.0, 40.0, np.inf, 35.0, 99.0, 99.0],
            "mse": [0.4, 0.2, 0.0, 0.2, 9.0, 9.0],
            "ssim": [0.9, 0.8, 1.0, 0.9, 0.0, 0.0],
            "gmsd": [0.1, 0.3, 0.0, 0.2, 9.0, 9.0],
            "fsim": [0.9, 0.7, 1.0, 0.8, 0.0, 0.0],
            "exact": [False, False, True, False, True, False],
            "recovered": [True, False, True, True, True, True],
            "kept": [True, True, True, False, False, False],
            "error_attacked": [4.0, 8.0, 0.0, 4.0, 99.0, 99.0],
            "error_elsewhere": [1.0, 2.0, 0.0, 1.0, 99.0, 99.0],
        }
    )
    return frame.assign(**changes)


def test_shares_of_several_runs_count_an_image_once_in_the_interval():
    once = shares(table()).iloc[0]
    twice = shares(pd.concat([table(), table()])).iloc[0]
    apart = shares(pd.concat([table(), table(index=range(6, 12))])).iloc[0]
    for name in ("recovered", "kept"):
        assert once[name] == twice[name] == apart[name]
        bounds = [f"{name}_low", f"{name}_high"]
        assert twice[bounds].tolist() == pytest.approx(once[bounds].tolist())
        assert apart[bounds[0]] > once[bounds[0]] and apart[bounds[1]] < once[bounds[1]]
    assert twice["n"] == 2 * once["n"] and twice["attacks"] == 2 * once["attacks"] == 2 * len(
        table()
    )
    assert once["right"] == table()["recovered"].mean()  # of failed attacks, too
    assert twice["images"] == once["images"]  # the same clean images of the same classifier
    nets = [table(classifier=name) for name in ("resnet50", "densenet121")]
    assert shares(pd.concat(nets)).iloc[0]["images"] == 2 * once["images"]


def test_means_over_one_patient_have_no_interval():
    assert summary(table(group=3), 50, 0)[["mse_low", "psnr_low"]].isna().all(axis=None)


def test_an_error_is_the_mean_over_channels():
    clean, _, records, predict = case(3, 1)
    adversarial = rebuild(clean, records.assign(values=[[[10, 70, 100]]] * N))
    frame = restore_all(clean, adversarial, records, {"none": nn.Identity()}, predict, "cpu")
    apart = np.abs(adversarial.astype(int) - clean).sum((1, 2, 3)) / 3
    np.testing.assert_allclose(frame["error_attacked"], apart)


def test_summary_by_hand():
    row = summary(table(), 200, 0).iloc[0]
    assert row[["images", "n", "exact"]].tolist() == [6, 4, 1]
    assert row["psnr"] == pytest.approx(35) and row["psnr_median"] == 35  # without the exact one
    assert row["psnr_deviation"] == pytest.approx(5)
    assert row["mse"] == pytest.approx(0.2) and row["mse_median"] == pytest.approx(0.2)
    assert row["ssim"] == pytest.approx(0.9) and row["fsim"] == pytest.approx(0.85)
    assert row["gmsd"] == pytest.approx(0.15) and row["gmsd_median"] == pytest.approx(0.15)
    assert row["error_attacked_median"] == 4 and row["error_elsewhere_median"] == 1
    for name in (*image_quality.COLUMNS, "error_attacked", "error_elsewhere"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row[f"{name}_low"] < row[f"{name}_high"]
    assert row[["recovered", "recovered_low", "recovered_high"]].tolist() == pytest.approx(
        [0.75, *wilson(3, 4)]
    )
    # Clean images count whether or not the attack on them succeeded.
    assert row[["kept", "kept_low", "kept_high"]].tolist() == pytest.approx([0.5, *wilson(3, 6)])
    assert row[["error_attacked", "error_elsewhere"]].tolist() == [4.0, 1.0]


def test_summary_keeps_the_order_of_defenses_and_the_seed():
    frame = pd.concat([table(defense=name) for name in ("zeta", "alpha", "mid")])
    result = summary(frame, 100, 1)
    assert result["defense"].tolist() == ["zeta", "alpha", "mid"]
    pd.testing.assert_frame_equal(result, summary(frame, 100, 1))
    assert not result.equals(summary(frame, 100, 2))


@pytest.mark.parametrize(
    "changes", [{"success": False}, {"exact": True, "psnr": np.inf}], ids=["no success", "exact"]
)
def test_summary_without_values_has_nan_and_no_warning(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = summary(table(**changes), 50, 0).iloc[0]
    assert row[["psnr", "psnr_low", "psnr_high", "psnr_median"]].isna().all()
    if changes.get("success") is False:
        assert row["n"] == 0 and row["images"] == 6
        assert row[["mse", "recovered", "recovered_low", "error_attacked"]].isna().all()
        assert row["kept"] == 0.5
    else:
        assert row["exact"] == 4 and row["mse"] == pytest.approx(0.2)
