"""The ablation: every variant trained and kept, what is read back, and what the numbers answer."""

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from lib import params
from lib.evidence import ablation, ablation_shown
from lib.metrics import image_quality
from lib.models import training
from lib.params.files import read_json

NAMES = [*ablation.MODULES, "levels_3", "levels_5"]


def settings(**given) -> params.Parameters:
    usual = {"ablation_train": 4, "ablation_test": 2, "ablation_epochs": 1, "ablation_seeds": 1}
    return params.load(device="cpu", **usual | given)


@pytest.fixture
def data(images):
    data = images("abdomen_ct", 12)
    data.part[:] = ["train"] * 8 + ["test"] * 4
    return data


def counted(monkeypatch) -> list[str]:
    """Labels of the variants that are trained from now on."""
    trained, train = [], ablation.fit_denoiser
    monkeypatch.setattr(
        ablation, "fit_denoiser",
        lambda *given, **named: trained.append(named["label"]) or train(*given, **named),
    )  # fmt: skip
    return trained


def test_every_variant_is_trained_once_and_read_back(data, tmp_path, monkeypatch):
    trained, p = counted(monkeypatch), settings()
    first = ablation.run(data, p, tmp_path)
    assert trained == [f"{name}, seed 0" for name in NAMES]
    assert first.metrics["variant"].unique().tolist() == ["identity", *NAMES]
    assert (first.metrics.groupby("variant").size() == 2).all()
    models = first.models.set_index("variant")
    assert models.loc["proposed", "trainable"] == 3_024_545
    assert (models[["seconds", "images_per_second"]] > 0).all(axis=None)
    assert models["validation_psnr"].map(len).tolist() == [p.ablation_epochs] * len(NAMES)
    assert set(first.restored) == set(NAMES)
    expected = image_quality.measure(first.clean, first.restored["proposed"])
    found = first.metrics[first.metrics["variant"] == "proposed"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[list(image_quality.COLUMNS)], expected)
    noise = first.metrics[first.metrics["variant"] == "identity"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        noise[list(image_quality.COLUMNS)], image_quality.measure(first.clean, first.noisy)
    )

    trained.clear()
    # What a page shows, and how many seeds, changes no variant that is there.
    again = ablation.run(data, settings(bootstrap_samples=7), tmp_path)
    assert trained == []
    pd.testing.assert_frame_equal(again.metrics, first.metrics)
    pd.testing.assert_frame_equal(again.models, first.models)
    np.testing.assert_array_equal(again.restored["original"], first.restored["original"])
    (tmp_path / "attention-0.json").unlink()
    ablation.run(data, p, tmp_path)
    assert trained == ["attention, seed 0"]


def test_variants_and_seeds_trained_apart_are_those_of_a_whole_run(data, tmp_path, monkeypatch):
    p = settings(ablation_seeds=2, ablation_epochs=2)
    apart = ablation.run(data, p, tmp_path, ["levels_3"], [1])
    assert set(apart.metrics["variant"]) == {"identity", "levels_3"} and not apart.restored
    assert np.isfinite(apart.models.loc[0, "validation_psnr"]).all()
    trained = counted(monkeypatch)
    whole = ablation.run(data, p, tmp_path, ["original", "levels_3"])
    assert trained == ["original, seed 0", "levels_3, seed 0", "original, seed 1"]
    assert whole.models[["variant", "seed"]].to_numpy().tolist() == [
        ["original", 0], ["levels_3", 0], ["original", 1], ["levels_3", 1]
    ]  # fmt: skip
    with refused("levels_6"):
        ablation.run(data, p, tmp_path, ["levels_6"])


def test_a_killed_ablation_goes_on_in_the_middle_of_a_variant(data, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "MODULES", ("original", "depth_kernels"))
    few = {name: ablation.variants(1)[name] for name in ablation.MODULES}
    monkeypatch.setattr(ablation, "variants", lambda channels: few)
    p = settings(ablation_epochs=3)
    whole = ablation.run(data, p, tmp_path / "whole")
    save, saved = training.save_checkpoint, []

    def killed(*arguments):
        if len(saved) == 4:  # three epochs of the first variant, one of the second
            raise KeyboardInterrupt
        saved.append(1)
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            ablation.run(data, p, tmp_path / "killed")
    done = {f"original-0.{kind}" for kind in ("json", "parquet", "safetensors")}
    left = {path.name for path in (tmp_path / "killed").iterdir()} - done
    assert len(left) == 1  # the checkpoint of the second
    epochs = []
    monkeypatch.setattr(
        training, "save_checkpoint", lambda *given: epochs.append(1) or save(*given)
    )
    again = ablation.run(data, p, tmp_path / "killed")
    assert len(epochs) == 2  # those that were missing
    pd.testing.assert_frame_equal(again.metrics, whole.metrics)
    assert not left & {path.name for path in (tmp_path / "killed").iterdir()}


def test_other_settings_train_anew_in_the_same_place(data, tmp_path, monkeypatch):
    few = {"original": ablation.variants(1)["original"]}
    monkeypatch.setattr(ablation, "variants", lambda channels: few)
    trained = counted(monkeypatch)
    ablation.run(data, settings(), tmp_path)
    for given in (
        {"denoiser_noise": 0.2}, {"ablation_epochs": 2}, {"ablation_train": 3},
        {"denoiser_halving": ["dae"]},
    ):  # fmt: skip
        ablation.run(data, settings(**given), tmp_path)
    assert len(trained) == 5
    key = read_json(tmp_path / "original-0.json")["key"]
    ablation.run(data, settings(ablation_seeds=2), tmp_path)
    assert trained[5:] == ["original, seed 0", "original, seed 1"]
    assert read_json(tmp_path / "original-0.json")["key"] != key


def table(**psnr: list[list[float]]) -> pd.DataFrame:
    """Metrics of variants from their PSNR by seed and image."""
    rows = [
        {"variant": name, "seed": seed, "psnr": value, "mse": 0.1, "ssim": 0.9, "gmsd": 0.1,
         "fsim": 0.9}
        for name, seeds in psnr.items()
        for seed, values in enumerate(seeds)
        for value in values
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_summary_has_the_intervals_of_all_seeds_and_leaves_exact_images_out():
    found = table(proposed=[[30, 40, np.inf, 20], [32, 38, 50, 22]])
    row = ablation.summary(found, params.load()).iloc[0]
    assert row[["n", "seeds", "exact"]].tolist() == [4, 2, 1]
    assert (row["psnr_worst"], row["psnr_best"]) == (30, 35.5)
    assert row["psnr"] == pytest.approx((30 + 35.5) / 2)
    assert row["ssim"] == pytest.approx(0.9)
    apart = table(proposed=[[30, 30, 30], [40, 40, 40]])  # images do not differ, trainings do
    row = ablation.summary(apart, params.load()).iloc[0]
    assert row[["psnr_low", "psnr", "psnr_high"]].tolist() == pytest.approx([30, 35, 40])


def test_printed_values_are_shown_with_the_digits_of_the_paper():
    means = ablation.summary(table(original=[[30, 40]], levels_3=[[30, 40]]), params.load())
    shown = ablation_shown.ablation(means)
    assert shown["printed MSE"].tolist() == ["0.0012", "0.0002"]
    assert shown["printed PSNR, dB"].tolist() == ["29.46 (24.01)", "38.16"]


def test_contrasts_answer_yes_no_not_sure_or_open():
    base = np.linspace(25, 35, 30)

    def seeds(*shifts):
        return [list(base + shift) for shift in shifts]

    found = table(
        original=seeds(0, 0.5), depth_kernels=seeds(2, 3),  # above: yes
        bn_leakyrelu=seeds(1, 1.5),  # below: no
        attention=seeds(1.2, 4),  # higher on average, but one seed is within the other's
        residual=seeds(1.2, 4), proposed=seeds(9, 9.1), levels_3=seeds(5, 5),
        levels_5=seeds(9.05, 9.2),
    )  # fmt: skip
    rows = ablation.contrasts(found, params.load()).set_index(["variant", "reference"])
    assert rows["better"].to_dict() == {
        ("depth_kernels", "original"): "yes", ("bn_leakyrelu", "depth_kernels"): "no",
        ("attention", "bn_leakyrelu"): "inconclusive", ("residual", "attention"): "inconclusive",
        ("proposed", "residual"): "yes", ("proposed", "levels_3"): "yes",
        ("proposed", "levels_5"): "inconclusive",
    }  # fmt: skip
    one = rows.loc[("depth_kernels", "original")]
    assert (one["n"], one["seeds"]) == (30, 2)
    # The images are the same on both sides, so their spread does not widen the interval.
    assert one[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
        [2.25] * 3
    )
    single = ablation.contrasts(found[found["seed"] == 0], params.load())
    assert set(single["better"]) == {ablation.ONE_SEED}
