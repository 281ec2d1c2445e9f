"""lib.models.denoiser_training: what the networks see, what they learn, resuming, and the files."""

import json

import numpy as np
import pytest
import torch
from conftest import photographs, refused
from safetensors.torch import load_file
from torch import nn

from lib import params
from lib.models import denoiser_training as subject
from lib.models import denoisers, training
from lib.models.denoisers.autoencoder import Autoencoder
from lib.models.denoisers.dae import DAE, ablation_variants
from lib.params.files import md5

CPU = torch.device("cpu")
USUAL = {
    "epochs": 2, "batch": 4, "learning_rate": 0.001, "noise": 0.1, "seed": 0,
    "precision": "float32", "device": CPU, "label": "toy",
}  # fmt: skip


def numbered(count: int, size: int = 28) -> np.ndarray:
    """Images of one value each: 100 + their number, so that what was fed can be told."""
    return np.broadcast_to(
        100 + np.arange(count, dtype=np.uint8)[:, None, None, None], (count, size, size, 1)
    ).copy()


class Recorder(nn.Module):
    """Keeps what it is fed in training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(images.mul(255).round().byte().clone())
        return images * self.weight


def fed(tmp_path, images, **given) -> list[torch.Tensor]:
    model = Recorder()
    settings = USUAL | {"learning_rate": 1e-9} | given
    subject.fit_denoiser(model, images, images, checkpoint=tmp_path / "checkpoint", **settings)
    return model.seen


def numbers(batches: list[torch.Tensor]) -> list[int]:
    """Number of each image fed, from its most frequent value."""
    return [int(image.flatten().mode().values) - 100 for batch in batches for image in batch]


def settings(**given) -> params.Parameters:
    usual = {
        "device": "cpu", "denoiser_epochs": 3, "denoiser_batch": 4, "denoiser_train_limit": 0,
        "denoiser_large_limit": 4, "denoiser_crop": 12, "denoiser_precision": "float32",
    }  # fmt: skip
    return params.load("demo", **usual | given)


# ---- what the networks see


def test_every_image_once_an_epoch_in_another_order_with_fresh_noise(tmp_path):
    seen = fed(tmp_path, numbered(10))
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = numbers(seen[:3]), numbers(seen[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    one, two = (torch.cat(part)[np.argsort(order)] for part, order in
                ((seen[:3], first), (seen[3:], second)))  # fmt: skip
    hits = one != two
    assert 0.15 < hits.float().mean() < 0.23  # 1 - 0.9 ** 2: two independent draws


def test_limit_draws_other_images_each_epoch(tmp_path):
    seen = fed(tmp_path, numbered(40), limit=8, epochs=3)
    epochs = [set(numbers(seen[i : i + 2])) for i in (0, 2, 4)]
    assert [len(epoch) for epoch in epochs] == [8, 8, 8]
    assert len(epochs[0] | epochs[1] | epochs[2]) > 12


def test_crops_are_cut_from_everywhere_in_the_image(tmp_path):
    ramp = (np.arange(28)[:, None] + np.arange(28) * 7).astype(np.uint8)
    images = np.broadcast_to(ramp[None, :, :, None], (40, 28, 28, 1)).copy()
    seen = torch.cat(fed(tmp_path, images, crop=16, noise=0.01))
    assert seen.shape == (80, 1, 16, 16)
    corners = {int(image[0, 0, 0]) for image in seen}
    assert len(corners) > 40
    whole = torch.cat(fed(tmp_path, images, crop=64, noise=0.01))
    assert whole.shape == (80, 1, 28, 28)


def test_a_level_is_drawn_for_each_image(tmp_path):
    levels = [0.1, 0.5, 0.9]
    seen = torch.cat(fed(tmp_path, np.full((60, 28, 28, 1), 7, np.uint8), noise=levels))
    shares = (seen != 7).float().mean((1, 2, 3))
    nearest = (shares[:, None] - torch.tensor(levels)).abs().min(1)
    assert nearest.values.max() < 0.07
    assert (torch.bincount(nearest.indices, minlength=3) > 20).all()  # of 120, 40 each


def test_targets(tmp_path, monkeypatch):
    compared = []

    def spy(output, target, *gamma):
        compared.append(((output * 255).round(), (target * 255).round(), gamma))
        return (output - target).abs().mean()

    monkeypatch.setattr(subject, "annealed_l0", spy)
    images = np.full((40, 28, 28, 1), 7, np.uint8)
    fed(tmp_path, images, noisy_targets=True, epochs=4)
    source, target = (torch.cat([pair[i] for pair in compared]) != 7 for i in (0, 1))
    for share, expected in (
        (source, 0.1), (target, 0.1), (source & target, 0.01)  # independent draws
    ):  # fmt: skip
        assert share.float().mean().item() == pytest.approx(expected, rel=0.06)
    assert [gamma for *_, (gamma,) in compared[::10]] == pytest.approx([2, 1.5, 1, 0.5])

    compared.clear()
    monkeypatch.setattr(subject.F, "mse_loss", spy)
    fed(tmp_path, images)
    assert all((target == 7).all() for _, target, _ in compared)


def test_annealed_l0():
    output, target = torch.rand(2, 50, generator=torch.manual_seed(0))
    assert subject.annealed_l0(output, target, 2).item() == pytest.approx(
        nn.functional.mse_loss(output, target).item(), rel=1e-5
    )
    targets, guesses = torch.tensor([0.2, 0.2, 0.2, 0.8]), torch.linspace(0, 1, 101)
    best = {
        gamma: guesses[np.argmin([subject.annealed_l0(g, targets, gamma) for g in guesses])]
        for gamma in (2, 0.1)
    }
    assert best[2].item() == pytest.approx(0.35)  # the mean
    assert best[0.1].item() == pytest.approx(0.2)  # the most frequent value


@pytest.mark.parametrize(("halving", "last"), [(True, 0.125), (False, 1)])
def test_the_rate_is_halved_after_each_quarter(tmp_path, monkeypatch, halving, last):
    rates = []

    def spy(network, loss, batches, evaluate, *, optimizer, schedule, epochs, **rest):
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule:
                schedule.step()

    monkeypatch.setattr(subject, "fit", spy)
    given = {"epochs": 8, "learning_rate": 1.0, "halving": halving}
    fed(tmp_path, photographs(4), **given)
    assert (rates[0], rates[1], rates[-1]) == (1, 1, last)
    assert len(set(rates)) == (4 if halving else 1)


# ---- what they learn


@pytest.mark.parametrize(("name", "epochs"), [("original", 15), ("proposed", 4)])
def test_a_tiny_set_is_learned(tmp_path, name, epochs):
    torch.manual_seed(0)
    model = ablation_variants(1)[name]()
    images = photographs(4).repeat(10, axis=0)
    history = subject.fit_denoiser(
        model, images, images, checkpoint=tmp_path / "checkpoint",
        **USUAL | {"epochs": epochs, "learning_rate": 0.003},
    )  # fmt: skip
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["validation_loss"] < 0.5 * history[0]["validation_loss"]
    assert 10 < history[-1]["identity_psnr"] < 25
    if name == "proposed":
        assert history[-1]["validation_psnr"] > history[-1]["identity_psnr"]


def test_measures_of_doing_nothing(tmp_path):
    images = photographs(70)
    history = subject.fit_denoiser(
        Recorder(), images[:4], images, checkpoint=tmp_path / "checkpoint",
        **USUAL | {"learning_rate": 1e-12},
    )  # fmt: skip
    for epoch in history:
        assert epoch["validation_psnr"] == pytest.approx(epoch["identity_psnr"])
        assert epoch["clipped"] == 0
    assert history[0]["validation_loss"] == pytest.approx(history[1]["validation_loss"])


def test_a_perfect_network_has_a_finite_psnr():
    images = photographs(2)
    assert subject.mean_psnr(images, images) == pytest.approx(10 * np.log10(255**2 * 28 * 28))


def test_divergence_is_said(tmp_path):
    torch.manual_seed(0)
    images = photographs(8)
    with refused():
        subject.fit_denoiser(
            DAE(1, normalization=False), images, images, checkpoint=tmp_path / "checkpoint",
            **USUAL | {"learning_rate": 1e30},
        )  # fmt: skip


# ---- resuming


def interrupted(monkeypatch, after: int):
    """Training is killed when the epoch after the ``after``-th has been trained, unsaved."""
    save, saved = training.save_checkpoint, []

    def killed(*arguments):
        if len(saved) == after:
            raise KeyboardInterrupt
        saved.append(1)
        save(*arguments)

    monkeypatch.setattr(training, "save_checkpoint", killed)


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch):
    p, images, name = settings(), photographs(8), "noise2noise"  # batch norms, noisy targets
    subject.train(name, images, images[:4], p, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            subject.train(name, images, images[:4], p, tmp_path / "killed")
    assert len(list((tmp_path / "killed").iterdir())) == 1  # the checkpoint
    torch.manual_seed(99)  # nothing may hang on the state of the global generator
    subject.train(name, images, images[:4], p, tmp_path / "killed")
    whole, killed = (load_file(tmp_path / f / f"{name}.safetensors") for f in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)
    histories = [
        json.loads((tmp_path / folder / f"{name}.json").read_text())["history"]
        for folder in ("whole", "killed")
    ]
    varying = ("seconds", "images_per_second")
    for history in histories:
        for epoch in history:
            for field in varying:
                epoch.pop(field)
    assert histories[0] == histories[1]


def test_other_weights_images_or_settings_start_anew(tmp_path):
    images = photographs(4)

    def epochs_trained(seed: int, images: np.ndarray, **given) -> int:
        torch.manual_seed(seed)
        model = Autoencoder(1)
        shown = []
        model.register_forward_pre_hook(lambda m, _: shown.append(m.training))
        subject.fit_denoiser(
            model, images, images, checkpoint=tmp_path / "checkpoint", **USUAL | given
        )
        return sum(shown)

    assert epochs_trained(0, images) == 2
    assert epochs_trained(0, images) == 0
    assert epochs_trained(0, images, epochs=3) == 1
    assert epochs_trained(1, images) == 2
    assert epochs_trained(1, images[::-1].copy()) == 2
    assert epochs_trained(1, images[::-1].copy(), noise=0.2) == 2


def test_training_with_other_settings_leaves_a_checkpoint_alone(tmp_path, monkeypatch):
    images = photographs(4)
    with monkeypatch.context() as patch:
        interrupted(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            subject.train("dae", images, images, settings(), tmp_path)
    (left,) = tmp_path.iterdir()
    content = left.read_bytes()
    subject.train("dae", images, images, settings(denoiser_noise=0.3), tmp_path)
    assert left.read_bytes() == content
    subject.train("dae", images, images, settings(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dae.safetensors", "dae.json"}


# ---- files


@pytest.mark.parametrize("name", denoisers.TRAINED)
def test_files_of_a_trained_denoiser(tmp_path, name):
    p = settings(denoiser_epochs=1, denoiser_precision="bfloat16")
    images = photographs(6, channels=3)
    model = subject.train(name, images, images, p, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.safetensors", f"{name}.json"}
    about = json.loads((tmp_path / f"{name}.json").read_text())
    large = name in p.denoiser_large
    assert about["name"] == name
    assert about["channels"] == 3
    assert about["image_size"] == 28
    assert about["settings"]["crop"] == (12 if large else 0)
    assert about["settings"]["limit"] == (4 if large else 0)
    assert len(about["settings"]["noise"]) == (9 if name == "median_cnn" else 1)
    assert about["settings"]["halving"] == (name in p.denoiser_halving)
    assert about["settings"]["noisy_targets"] == (name == "noise2noise")
    assert len(about["history"]) == 1
    assert about["best"]["epoch"] == 1
    assert about["wall_seconds"] > 0
    assert about["images_per_second"] > 0
    assert about["validation_psnr"] > 0
    assert about["identity_psnr"] > 0
    state = load_file(tmp_path / f"{name}.safetensors")
    buffers = ("running_mean", "running_var")
    non_trainable = sum(v.numel() for key, v in state.items() if key.endswith(buffers))
    counted = sum(v.numel() for v in state.values() if v.is_floating_point())
    assert about["parameters"]["non_trainable"] == non_trainable
    assert about["parameters"]["trainable"] == counted - non_trainable
    assert about["weights_md5"] == md5(tmp_path / f"{name}.safetensors")
    loaded = denoisers.load(name, tmp_path, 3)
    np.testing.assert_array_equal(
        denoisers.restore(loaded, images, CPU), denoisers.restore(model, images, CPU)
    )
    with refused(1, 3):
        denoisers.load(name, tmp_path, 1)


def test_a_finished_denoiser_is_not_trained_again(tmp_path, monkeypatch):
    images = photographs(4)
    subject.train("autoencoder", images, images, settings(), tmp_path)
    fits = []
    monkeypatch.setattr(
        subject,
        "fit",
        lambda *given, fit=subject.fit, **named: fits.append(1) or fit(*given, **named),
    )
    again = subject.train("autoencoder", images, images, settings(), tmp_path)
    assert not fits
    assert not again.training
    subject.train("autoencoder", images, images, settings(denoiser_epochs=1), tmp_path)
    assert fits
    assert len(json.loads((tmp_path / "autoencoder.json").read_text())["history"]) == 1


def test_unfit_input(tmp_path):
    images = photographs(4)
    with refused("'identity'"):
        subject.train("identity", images, images, settings(), tmp_path)
    with refused():
        subject.train("dae", images / 255, images, settings(), tmp_path)
    with refused():
        subject.train("dae", images, images[:0], settings(), tmp_path)
    with refused(1, 3):
        subject.train("dae", images, photographs(4, channels=3), settings(), tmp_path)
    for model in (nn.Conv2d(1, 3, 1), nn.Conv2d(1, 1, 3), nn.Conv2d(3, 1, 1)):
        before = model.weight.clone()
        with refused():
            subject.fit_denoiser(model, images, images, **USUAL)
        assert torch.equal(model.weight, before)
    assert list(tmp_path.iterdir()) == []
