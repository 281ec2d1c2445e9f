"""The training loop: resume equals an uninterrupted run, bad numbers stop it."""

import json
import warnings

import numpy as np
import pytest
import torch
from conftest import refused
from torch import nn

from lib import params
from lib.attack import __main__ as shard
from lib.metrics import gmsd
from lib.models.training import fit
from lib.params import device
from lib.params.device import no_tf32, pick_device, settled
from lib.params.errors import InputError

CPU = torch.device("cpu")


class Killed(Exception):
    """Stands for a kill between two epochs."""


def setup(optimizer="adam"):
    torch.manual_seed(0)
    if optimizer.endswith("convolution"):  # as the classifiers: channels last, fused
        model = nn.Sequential(
            nn.Unflatten(1, (2, 1, 2)), nn.Conv2d(2, 3, (1, 2), padding=1), nn.BatchNorm2d(3),
            nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2, 1),
        ).to(memory_format=torch.channels_last)  # fmt: skip
    else:
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    kinds = {
        "adam": lambda: torch.optim.AdamW(model.parameters(), 0.05),
        "sgd": lambda: torch.optim.SGD(model.parameters(), 0.01, 0.9),
        "adam, convolution": lambda: torch.optim.AdamW(model.parameters(), 0.05, fused=True),
        "sgd, convolution": lambda: torch.optim.SGD(model.parameters(), 0.01, 0.9, fused=True),
    }
    made = kinds[optimizer]()
    schedule = torch.optim.lr_scheduler.OneCycleLR(made, 0.05, total_steps=18)
    return model, made, schedule


def batches(epoch):
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(3):
        x = torch.randn(8, 4, generator=generator)
        yield x, x.sum(1, keepdim=True)


def loss(model, batch):
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def die(model, epoch):
    if epoch == 3:
        raise Killed
    return {}


def run(path, evaluate=lambda model, epoch: {}, key="k", optimizer="adam", epochs=6, **kwargs):
    model, made, schedule = setup(optimizer)
    history = fit(
        model, kwargs.pop("loss", loss), batches, evaluate, optimizer=made, schedule=schedule,
        epochs=epochs, steps_per_epoch=3, checkpoint=path, key=key, **{"device": CPU} | kwargs,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adam, convolution", "sgd, convolution"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, optimizer):
    whole, expected = run(tmp_path / "whole", optimizer=optimizer)
    with pytest.raises(Killed):
        run(tmp_path / "part", die, optimizer=optimizer)
    epochs = []
    resumed, history = run(
        tmp_path / "part", lambda model, epoch: epochs.append(epoch) or {}, optimizer=optimizer
    )
    assert epochs == [3, 4, 5]
    assert [e["loss"] for e in history] == [e["loss"] for e in expected]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_other_settings_start_anew(tmp_path):
    run(tmp_path / "c", key="one")
    epochs = []
    run(tmp_path / "c", lambda model, epoch: epochs.append(epoch) or {}, key="two")
    assert epochs == [0, 1, 2, 3, 4, 5]


def test_a_longer_training_is_not_taken_for_a_shorter_one(tmp_path):
    run(tmp_path / "c")
    with refused(tmp_path / "c", 6, 2):
        run(tmp_path / "c", epochs=2)


def test_what_a_model_draws_depends_on_the_seed_alone(tmp_path):
    """A network with dropout: with other numbers drawn in between, and interrupted."""

    def dropping(model, batch):
        return loss(model, (nn.functional.dropout(batch[0]), batch[1]))

    first = run(None, loss=dropping)[1]
    again = run(None, lambda model, epoch: {"drawn": torch.rand(7)}, loss=dropping)[1]
    other = run(None, loss=dropping, seed=1)[1]
    with pytest.raises(Killed):
        run(tmp_path / "c", die, loss=dropping)
    resumed = run(tmp_path / "c", loss=dropping)[1]
    losses = [[epoch["loss"] for epoch in history] for history in (first, again, resumed, other)]
    assert losses[0] == losses[1] == losses[2] != losses[3]


def test_a_finished_run_is_not_trained_again(tmp_path):
    trained, history = run(tmp_path / "c")
    again, same = run(tmp_path / "c", lambda model, epoch: pytest.fail("trained again"))
    assert same == history
    assert torch.equal(trained[0].weight, again[0].weight)


def test_stop_rule_ends_training(tmp_path):
    _, history = run(tmp_path / "c", stop=lambda history: len(history) == 2)
    assert len(history) == 2


def test_learns(tmp_path):
    _, history = run(tmp_path / "c")
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path):
    def broken(model, batch):
        return loss(model, batch) * torch.nan

    with refused("nan", "net"):
        run(tmp_path / "c", loss=broken, label="net")
    assert not (tmp_path / "c").exists()


def test_too_little_memory_names_the_batch_to_halve(tmp_path):
    for error in (torch.OutOfMemoryError(), MemoryError(), RuntimeError("can't allocate memory")):

        def greedy(model, batch, error=error):
            raise error

        with refused(8, "net"):
            run(tmp_path / "c", loss=greedy, label="net")


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "c").write_bytes(b"not a checkpoint")
    with refused(tmp_path / "c"):
        run(tmp_path / "c")


@pytest.mark.parametrize("name", ["cuda:99", "meta"])  # the latter has no float64
def test_a_device_that_cannot_be_used(name):
    with refused(repr(name)):
        pick_device(name)


def test_tf32_is_off_inside_and_as_the_caller_wants_it_outside():
    backends = torch.backends
    flags = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul]
    before, inside = [flag.fp32_precision for flag in flags], []

    def spying(model, batch):
        inside.extend(flag.fp32_precision for flag in flags)
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    pictures = np.zeros((1, 16, 16, 1), np.uint8)
    try:
        for flag in flags:
            flag.fp32_precision = "tf32"
        for act in (
            lambda: pick_device("auto"), lambda: run(None, loss=spying),
            lambda: gmsd(pictures, pictures),
        ):  # fmt: skip
            act()
            assert {flag.fp32_precision for flag in flags} == {"tf32"}
        with refused(), no_tf32():
            assert {flag.fp32_precision for flag in flags} == {"ieee"}
            raise InputError
        assert {flag.fp32_precision for flag in flags} == {"tf32"}
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.fp32_precision = value
    assert set(inside) == {"ieee"}


def test_precision_that_is_inherited_stays_inherited():
    backends = torch.backends
    before = backends.fp32_precision
    try:
        backends.fp32_precision = "tf32"
        with no_tf32():
            pass
        backends.fp32_precision = "ieee"
        assert backends.cuda.matmul.fp32_precision == backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = before


def test_a_gpu_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "NVIDIA", tmp_path / "none")
    with warnings.catch_warnings(action="error"):
        assert pick_device("auto") == CPU
    monkeypatch.setattr(device, "NVIDIA", tmp_path)
    with pytest.warns(UserWarning):
        assert pick_device("auto") == CPU


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"architecture": "aarch64", "bf16": True}, "bfloat16"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_has_instructions_for_it(
    monkeypatch, capabilities, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    p = settled(params.load("compact", device="cpu", denoiser_precision="bfloat16"))
    assert (p.classifier_precision, p.attack_precision) == (expected, expected)
    assert p.denoiser_precision == "bfloat16"  # what was asked for by name stays
    large = settled(params.load("compact", device="cpu", data_size=224))
    assert (large.classifier_precision, large.attack_precision) == (expected, "float32")
    assert settled(p) is p


@pytest.mark.parametrize("native", [True, False])
def test_auto_in_the_loop_is_what_the_device_computes_in(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    kinds = set()

    def spying(model, batch):
        output = model(batch[0])
        kinds.add(output.dtype)
        return nn.functional.mse_loss(output.float(), batch[1])

    measured = []
    run(None, lambda model, _: measured.append(model(torch.ones(2, 4)).dtype) or {}, loss=spying,
        precision="auto", device="auto")  # fmt: skip
    assert kinds == {torch.bfloat16 if native else torch.float32}
    assert set(measured) == {torch.float32}
    with refused("'half'"):
        run(None, precision="half")
    with refused("'nowhere'"):
        run(None, device="nowhere")


def test_notebooks_and_shards_record_what_was_computed_in(monkeypatch, images):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    given = {"protocol": "compact", "device": "cpu"}
    assert params.from_notebook(dict(given)).attack_precision == "float32"
    found = []
    monkeypatch.setattr(shard, "attack_run", lambda *a, **k: found.append(a[3].attack_precision))
    monkeypatch.setattr(shard.data, "of", lambda _: images("derma", 4))
    monkeypatch.setattr(shard.classifiers, "load", lambda *a: None)
    shard.main(["1/2", "1", json.dumps({"protocol": "compact", "device": "cpu"})])
    assert found == ["float32"]
