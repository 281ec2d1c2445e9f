"""A classifier that learns on from the images of a denoiser."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import changed
from safetensors.torch import save_file
from torch import nn

from lib import data as data_
from lib import params
from lib.data import phantoms
from lib.defense import fine_tuning
from lib.models.denoisers import Identity

P = params.load(
    "demo", "oct", "resnet50", device="cpu", denoiser_names=["dae"], fine_tuning_epochs=20,
    classifier_precision="float32",
)  # fmt: skip


class Negative(nn.Module):
    """In place of a denoiser: bright becomes dark, and nothing is lost."""

    def forward(self, images):
        return 1 - images


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A network that tells bright images from dark ones, and such images."""
    phantoms.write("oct", 28, 80, 0, tmp_path / "data")
    images = data_.load("oct", tmp_path / "data", 28)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, len(images))
    pictures = rng.integers(0, 100, images.images.shape) + 150 * labels[:, None, None, None]
    images = replace(images, images=pictures.astype(np.uint8), labels=labels)
    model = nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(1, 4))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[-1.0], [1], [0], [0]]))
        model[2].bias.copy_(torch.tensor([1.0, 0, -9, -9]))
    folder = tmp_path / "runs" / "demo" / "oct" / "resnet50"
    (folder.parent / "denoisers").mkdir(parents=True)
    folder.mkdir()
    for path in (folder / "classifier", folder.parent / "denoisers" / "dae"):
        save_file({"any": torch.zeros(1)}, path.with_suffix(".safetensors"))
    made = {"identity": Identity(1), "dae": Negative()}
    monkeypatch.setattr(fine_tuning.denoisers, "load", lambda name, *_: made[name].eval())
    return model.eval(), images, folder


def test_what_a_denoiser_does_not_destroy_is_learned_again(run, monkeypatch):
    model, images, folder = run
    monkeypatch.setitem(fine_tuning.SETTINGS, "learning_rate", 0.3)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    table = fine_tuning.fine_tuning(model, images, P, folder)
    shares = table.groupby("defense")[["before", "after"]].mean()
    assert tuple(shares.loc["identity"]) == (1, 1)
    assert tuple(shares.loc["dae"]) == (0, 1)
    assert table["part"].eq("test").all()
    assert len(table) == 2 * len(images.in_part("test"))
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_finished_table_is_read_back(run, monkeypatch):
    model, images, folder = run
    short = P.model_copy(update={"fine_tuning_epochs": 1})
    table = fine_tuning.fine_tuning(model, images, short, folder)
    assert {path.name for path in folder.iterdir()} == {"classifier.safetensors", fine_tuning.FILE}
    fits = []
    monkeypatch.setattr(fine_tuning, "fit_classifier", lambda *_, **how: fits.append(how["epochs"]))
    assert fine_tuning.fine_tuning(model, images, short, folder).equals(table) and not fits
    fine_tuning.fine_tuning(model, images, P, folder)
    assert fits == [20, 20]
    weights = folder / "classifier", folder.parent / "denoisers" / "dae"
    for others in changed(images, *(path.with_suffix(".safetensors") for path in weights)):
        fits.clear()
        fine_tuning.fine_tuning(model, others, P, folder)
        assert fits == [20, 20]
