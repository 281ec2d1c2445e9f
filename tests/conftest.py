"""Fixtures shared by the tests: tiny models and images that need no file."""

import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: xdist runs a worker a core

import numpy as np
import pytest
import torch
from hypothesis import settings
from safetensors.torch import save_file
from scipy import ndimage
from torch import nn

from lib import params
from lib.data import Images, Provenance, to_tensor
from lib.params.errors import InputError

torch.set_num_threads(1)
# A machine that is busy fails no test.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


# Files that take minutes, most of them before their first test. xdist begins with files of many
# tests otherwise, so that at the end one worker is left with these.
LONGEST = ("test_notebooks.py", "test_end_to_end.py", "test_workflow.py", "test_explorer.py")


def pytest_collection_modifyitems(items):
    """The longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@contextmanager
def refused(*named):
    """Bad input is refused in a short line that names the values, fields or files."""
    with pytest.raises(InputError) as raised:
        yield
    message = str(raised.value)
    assert "\n" not in message and len(message) < 700
    assert [name for name in map(str, named) if name not in message] == []


def changed(data, *weights):
    """The data after each file of weights has become another, then with another checksum."""
    for path in weights:
        path.unlink()  # it may be a link to weights that others read
        save_file({"other": torch.ones(1)}, path)
        yield data
    yield replace(data, provenance=replace(data.provenance, md5="1" * 32))


class SmallResNet(nn.Module):
    """Stands for torchvision's network: a head called fc, a norm with a counter."""

    def __init__(self, weights=None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 1000)

    def forward(self, x):
        return self.fc(self.bn1(self.conv1(x)).mean((2, 3)))


class TinyNet(nn.Module):
    """A fixed linear network over all pixels, with the classifier's interface."""

    def __init__(self, channels: int, size: int, classes: int, seed: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(channels * size * size, classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.linear.weight.normal_(0, 0.5, generator=generator)
            self.linear.bias.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1) - 0.5)


class Counting(nn.Module):
    """A classifier that counts how often it is called."""

    architecture = "resnet50"

    def __init__(self, model):
        super().__init__()
        self.model, self.calls, self.classes = model, 0, model.classes

    def forward(self, images):
        self.calls += 1
        return self.model(images)


def alone(model, images):
    """Logits of each stored image by itself."""
    with torch.no_grad():
        return torch.cat([model(to_tensor(image[None])) for image in images])


def photographs(count: int, size: int = 28, channels: int = 1) -> np.ndarray:
    """Smooth uint8 images (N, size, size, C)."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, channels))
    return ndimage.zoom(coarse, (1, size / 6, size / 6, 1), order=1).round().astype(np.uint8)


def make_images(name: str, count: int, size: int = 28, seed: int = 0) -> Images:
    """Random images of a data set with labels in range; three quarters of them test images."""
    facts = params.facts(name)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, size, size, facts.channels), dtype=np.uint8)
    if facts.multi_label:
        labels = (rng.random((count, len(facts.classes))) < 0.2).astype(np.uint8)
    else:
        labels = rng.integers(0, len(facts.classes), count)
    split = np.array(["test", "test", "val", "test"] * count, dtype="<U5")[:count]
    index = np.arange(count)
    return Images(
        name, pixels, labels, split, index, split.copy(), np.full(count, -1),
        Provenance(facts.filename(size), "phantom", "0" * 32),
    )  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """A network that trains in a moment; `make run` and the notebooks train those of the paper."""
    from lib.models import classifiers

    monkeypatch.setitem(classifiers.NETWORKS, "resnet50", SmallResNet)


@pytest.fixture(scope="module")
def shallow():
    """One block a stage for ResNet50: attacked as it is, with a fifth of the weights."""
    from torchvision.models.resnet import BasicBlock, ResNet

    from lib.models import classifiers

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            classifiers.NETWORKS, "resnet50", lambda weights=None: ResNet(BasicBlock, [1, 1, 1, 1])
        )
        yield


@pytest.fixture
def git(monkeypatch):
    """Calls git in a folder, without variables that a hook of this repository has set."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    command = ["git", "-c", "user.name=x", "-c", "user.email=x"]
    return lambda folder, *words: subprocess.run(
        [*command, *words], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture
def tiny():
    """Factory of tiny networks."""
    return TinyNet


@pytest.fixture
def images():
    """Factory of random images."""
    return make_images
