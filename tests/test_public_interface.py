"""What a reader of the README types: the example runs, and public names are where it says."""

import re
from importlib import import_module

import numpy as np
import pytest

from lib.metrics import psnr
from lib.models import DAE, fit_denoiser, restore
from lib.params import ROOT


def test_the_readmes_example_runs(capsys):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert len(names["found"].table) == len(names["images"])
    assert names["found"].images.shape == names["images"].shape
    assert len(capsys.readouterr().out.splitlines()) > 2


@pytest.mark.parametrize("room", ["attack", "data", "defense", "metrics", "models"])
def test_public_names_are_there_and_documented(room):
    module = import_module(f"lib.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        assert not callable(thing) or thing.__doc__, name


def test_a_denoiser_in_four_lines():
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    denoiser = DAE(channels=3)
    history = fit_denoiser(denoiser, images[:4], images[4:], epochs=1, batch=2)
    restored = restore(denoiser, images)
    assert len(history) == 1 and restored.shape == images.shape
    assert psnr(images, restored).shape == (6,)
