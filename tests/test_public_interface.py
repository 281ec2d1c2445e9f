"""What a reader of the README types: the example runs, and public names are where it says."""

import re
from importlib import import_module
from textwrap import dedent

import numpy as np
import pytest

from lib.attack import (
    AnyLabelChange,
    LinearMapAttack,
    PixelAttack,
    RandomSearch,
    SparseRS,
    TrueLabelChange,
    VulnerabilityMap,
)  # fmt: skip
from lib.attack.pgd import PGD
from lib.defense import DoubleMasking, evaluate_defense
from lib.defense.dense import AutoAttack
from lib.metrics import psnr
from lib.models import DAE, corrupt, fit_classifier, fit_denoiser, restore
from lib.params import ROOT
from tests.conftest import TinyNet, refused

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
CLASSES = np.array([0, 1, 2, 0])
# Settings of every public object, and values that each must refuse besides those of `WRONG`.
SETTINGS = {
    PixelAttack: {
        "pixels": (0, 1.5), "population": (3, 65_537, True), "generations": (-1,),
        "strategy": ("rand2", np.array(["rand1", "best1bin"])), "mutation": (0, 2.1),
        "dither": ((1, 0.5), (0.5,)), "crossover": (1.1,), "initial": ("zero",),
        "criterion": (AnyLabelChange, "class"), "precision": ("float8",),
        "evaluation": ("guessed",), "batch": (-1,), "seed": (2**63, 0.5),
    },
    RandomSearch: {"population": (3,)}, SparseRS: {"share": (0, 1.5)},
    LinearMapAttack: {
        "pixels": (0,), "evaluations": (0,), "predictions": (0, 1.5), "precision": ("half",),
    },
    VulnerabilityMap: {"levels": (1, 257), "precision": ("half",), "batch": (-1, 65_537)},
    PGD: {"epsilon": (0, 256, 1.5, True), "steps": (1.5,), "starts": (0,), "seed": (0.5,),
          "step": (-1,), "criterion": ("class",)},
    AutoAttack: {"epsilon": (0, 256, 1.5, True),
                 "attacks": (("x",), "apgd-ce", 5, [["apgd-ce"]])},
    AnyLabelChange: {"threshold": (1,)}, TrueLabelChange: {"threshold": (0,)},
    DoubleMasking: {"mask": (0,), "patch": (9,), "fill": (2,), "threshold": (0,), "batch": (-1,)},
}  # fmt: skip
WRONG = (None, float("nan"), "x", [], {})
TRAINING = {
    "epochs": -1, "batch": 0, "learning_rate": 0, "seed": -1, "precision": "float8",
}  # fmt: skip


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
        # A dataclass without a text is documented by its signature.
        said = getattr(thing, "__doc__", None) or ""
        assert not callable(thing) or said.partition("(")[0] not in ("", name), name
    # A sample in the introduction is code, indented so that no tool reflows it.
    sample = dedent("".join(re.findall(r"^    .*\n", module.__doc__, re.MULTILINE)))
    compile(sample, module.__name__, "exec")
    assert room == "data" or f"from lib.{room} import" in sample


def test_a_denoiser_in_four_lines():
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8)
    denoiser = DAE(channels=3)
    history = fit_denoiser(denoiser, images[:4], images[4:], epochs=1, batch=2)
    restored = restore(denoiser, images)
    assert len(history) == 1 and restored.shape == images.shape
    assert psnr(images, restored).shape == (6,)


@pytest.mark.parametrize("made", SETTINGS)
def test_every_setting_is_checked_before_the_work_begins(made):
    first = (TinyNet(3, 8, 4).eval(),) if made is DoubleMasking else ()
    made(*first)
    for name, wrong in SETTINGS[made].items():
        for value in (*wrong, *WRONG):
            if (name, value) not in [("step", None), ("attacks", [])]:  # the attack's own choice
                with refused():
                    made(*first, **{name: value})


@pytest.mark.parametrize(("name", "wrong"), TRAINING.items())
def test_settings_of_a_training_are_checked(name, wrong):
    for value in (wrong, float("nan"), "x", None):
        with refused():
            fit_denoiser(DAE(3), IMAGES, IMAGES, **{"epochs": 1, name: value})
        with refused():
            fit_classifier(
                TinyNet(3, 8, 4), IMAGES, CLASSES, IMAGES, CLASSES, **{"epochs": 1, name: value}
            )


def test_what_cannot_be_used_is_refused():
    net, denoiser = TinyNet(3, 8, 4).eval(), DAE(3)
    found = PixelAttack(population=4, generations=0)(net, IMAGES, CLASSES)
    for model, defense, of in (
        (None, denoiser, found),
        (net, "dae", found),
        (net, [denoiser], found),
        (net, denoiser, IMAGES),
    ):
        with refused():
            evaluate_defense(model, defense, of)
    for ragged in ([IMAGES[0], IMAGES[1][:4]], [1, 2], None):
        with refused():
            restore(denoiser, ragged)
        with refused():
            PixelAttack()(net, ragged, [0, 1])
    with refused():
        corrupt(IMAGES, "much")
    with refused():
        fit_denoiser(denoiser, IMAGES, IMAGES, epochs=1, noise=[])
    for labels in (CLASSES + 4, CLASSES - 1, CLASSES * 1.0):
        with refused():
            fit_classifier(net, IMAGES, labels, IMAGES, CLASSES, epochs=1)
    for labels in (CLASSES + 4, CLASSES[:2], [[0, 1, 0, 1]] * 4):
        with refused():
            DoubleMasking(net, 4).certify(IMAGES, labels)


def test_a_list_of_images_is_as_good_as_an_array():
    listed = PixelAttack(population=4, generations=1)(
        TinyNet(3, 8, 4).eval(), list(IMAGES), CLASSES
    )
    array = PixelAttack(population=4, generations=1)(TinyNet(3, 8, 4).eval(), IMAGES, CLASSES)
    assert np.array_equal(listed.images, array.images)
    assert np.array_equal(restore(DAE(3), list(IMAGES)).shape, IMAGES.shape)


def test_settings_given_as_numbers_of_numpy_or_a_list_are_the_same():
    given = {"pixels": 1, "population": 12, "generations": 2, "batch": 8, "seed": 3}
    typed = PixelAttack(
        **{name: np.int64(value) for name, value in given.items()}, mutation=np.float64(0.5),
        strategy="best1bin", dither=[np.float32(0.25), np.float64(1.5)],
    )  # fmt: skip
    plain = PixelAttack(**given, mutation=0.5, strategy="best1bin", dither=(0.25, 1.5))
    assert typed == plain and repr(typed) == repr(plain)
