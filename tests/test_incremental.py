"""Incremental evaluation against the whole network."""

import dataclasses
import warnings
from functools import cache

import pandas as pd
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import Grayscale, Normalize

from lib.attack import PixelAttack
from lib.attack.differential_evolution import gene_limits, paint
from lib.attack.evaluators import WholeImages, make_evaluator
from lib.attack.incremental import Incremental, NotIncremental
from lib.attack.incremental.windows import Level, Reach, Windows
from lib.models.classifiers import Classifier
from lib.models.denoisers import Median3

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("architecture", ["resnet50", "densenet121"])
# Basic blocks, bottlenecks with groups, other widths and depths.
OTHERS = ("resnet18", "resnext50_32x4d", "densenet169", "densenet161")


def shaken(model, seed=0):
    """The model in evaluation mode with batch norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return model


def network(architecture, size, input_size=None, seed=0, dtype=torch.float64):
    """A classifier with random weights."""
    torch.manual_seed(seed)
    return shaken(Classifier(architecture, 5, size, input_size), seed).to(dtype)


def bare(name, **how):
    """A torchvision network with random weights."""
    torch.manual_seed(0)
    return shaken(getattr(torchvision.models, name)(num_classes=5, **how))


MODELS = [
    (architecture, size, enlarged)
    for architecture in ("resnet50", "densenet121")
    for size, enlarged in ((28, 32), (28, 45), (64, None))
]


@cache
def made(*which):
    """The network of an entry of `MODELS`, made once."""
    return network(*which)


def difference(model, images, slots, candidates, pixels, dtype=torch.float64, **how):
    """Largest difference to the whole network, relative to the largest logit; both logits."""
    whole = torch.promote_types(dtype, torch.float32)
    model = model.to(whole)
    with torch.inference_mode():
        painted = paint(images[slots], candidates.unsqueeze(1))
        expected = model(painted.to(whole) / 255)
        engine = Incremental(
            model, *images.shape[1:3], pixels, dtype=dtype, slots=len(images), **how
        )
        engine.enter(torch.arange(len(images)), images)
        found = engine.logits(slots, candidates)
    model.to(torch.float64)
    return ((found - expected).abs().max() / expected.abs().max()).item(), found, expected


def some_candidates(images, pixels, count, seed):
    """Random candidates of random images."""
    generator = torch.Generator().manual_seed(seed)
    limits = gene_limits(pixels, *images.shape[2:], images.shape[1], CPU)
    uniform = torch.rand(count, len(limits), generator=generator)
    slots = torch.randint(0, len(images), (count,), generator=generator)
    return slots, (uniform * limits).long()


def some_images(channels, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@given(
    st.sampled_from(MODELS),
    st.sampled_from([1, 3]),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(0, 2**31),
)
@settings(max_examples=12)
def test_equals_the_whole_network(which, channels, pixels, batch, seed):
    images = some_images(channels, which[1], seed)
    slots, candidates = some_candidates(images, pixels, 4, seed)
    relative, found, expected = difference(
        made(*which), images, slots, candidates, pixels, batch=batch
    )
    assert relative <= 1e-9
    assert (expected - expected[:1]).abs().max() > 1e-6 and found.dtype == torch.float64


@BOTH
@pytest.mark.parametrize("switch", [0, 1, 4, 13])
def test_equals_the_whole_network_wherever_whole_maps_begin(architecture, switch):
    images = some_images(3, 64)
    slots, candidates = some_candidates(images, 2, 5, 1)
    model = made(architecture, 64, None)
    assert difference(model, images, slots, candidates, 2, batch=3, switch=switch)[0] <= 1e-9


@BOTH
@pytest.mark.parametrize("pixels", [1, 2])
def test_equals_the_whole_network_at_edges_and_corners_and_side_by_side(architecture, pixels):
    size, middle = 64, 31
    images = some_images(3, size)
    ends = (0, middle, size - 2, size - 1)
    places = [(row, col) for row in ends for col in (0, middle, size - 1)]
    value = [7, 250, 0]
    if pixels == 1:
        genes = [[row, col, *value] for row, col in places]
    else:  # beside it, on top of it, and in the opposite corner
        near = [[r, c, *value, max(r - 1, 0), min(c + 1, size - 1), 255, 0, 9] for r, c in places]
        same = [[r, c, *value, r, c, 1, 2, 3] for r, c in places[::6]]
        far = [[r, c, *value, size - 1 - r, size - 1 - c, 1, 2, 3] for r, c in places[::4]]
        genes = near + same + far
    candidates = torch.tensor(genes)
    slots = torch.arange(len(genes)) % 2
    model = made(architecture, 64, None)
    assert difference(model, images, slots, candidates, pixels, batch=8)[0] <= 1e-9


@BOTH
@pytest.mark.parametrize("size", [28, 224])
def test_equals_the_whole_network_in_float32(architecture, size):
    model = network(architecture, size, dtype=torch.float32)
    images = some_images(3, size)
    slots, candidates = some_candidates(images, 2, 3, 2)
    assert difference(model, images, slots, candidates, 2, torch.float32, batch=3)[0] <= 1e-4


@BOTH
def test_bfloat16_tells_candidates_apart_that_its_own_logits_would_not(architecture):
    """The last layer stays in float32: a search cannot rank equal scores."""
    model = made(architecture, 64, None)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    slots, candidates = some_candidates(images, 1, 40, 0)
    error, found, _ = difference(model, images, slots, candidates, 1, torch.bfloat16)
    assert error < 0.1
    scores = found[:, 0]
    assert len(scores.bfloat16().unique()) < len(scores.unique()) == 40


def test_an_image_that_takes_a_slot_replaces_the_one_before():
    model, images = made("resnet50", 64, None), some_images(3, 64)
    slots, candidates = some_candidates(images[:1], 1, 3, 4)
    with torch.inference_mode():
        engine = Incremental(model, 3, 64, 1, 2, torch.float64)
        engine.enter(torch.tensor([0]), images[:1])
        before = engine.logits(slots, candidates)
        engine.enter(torch.tensor([0]), images[1:])
        after = engine.logits(slots, candidates)
        painted = paint(images[1:], candidates.unsqueeze(0))
        assert torch.allclose(after, model(painted.double() / 255), rtol=1e-9)
    assert (before - after).abs().max() > 1e-3


@BOTH
def test_logits_do_not_depend_on_company(architecture):
    """Bit for bit in float32: what a candidate is evaluated with is filled up to one batch."""
    model = network(architecture, 64, dtype=torch.float32)
    images = some_images(3, 64)
    slots, candidates = some_candidates(images, 1, 40, 3)
    with torch.inference_mode():
        engine = Incremental(model, 3, 64, 1, 16, slots=2)
        engine.enter(torch.arange(2), images)
        together = engine.logits(slots, candidates)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
        assert torch.equal(engine.logits(slots[order], candidates[order]), together[order])
        assert torch.equal(engine.logits(slots[7:8], candidates[7:8]), together[7:8])


@BOTH
def test_the_plan_takes_whole_maps_where_windows_are_more_work(architecture):
    large = Incremental(network(architecture, 224), 3, 224, 1, 1)
    small = Incremental(network(architecture, 32), 3, 32, 1, 1)
    assert large.plan.work(large.plan.switch) < 0.55 * large.plan.work(0)
    assert small.plan.switch < large.plan.switch


@given(st.integers(1, 7), st.integers(1, 2), st.integers(0, 3), st.integers(8, 30), st.data())
def test_spread_names_the_outputs_that_depend_on_an_input(kernel, stride, padding, size, data):
    padding = min(padding, kernel // 2)
    reach = Reach(kernel, stride, padding)
    low = data.draw(st.integers(0, size - 1))
    high = data.draw(st.integers(low, size - 1))
    out = reach.map_size(size)
    depends = [
        place for place in range(out)
        if any(low <= place * stride - padding + k <= high for k in range(kernel))
    ]  # fmt: skip
    first, last = (int(x) for x in reach.spread(torch.tensor(low), torch.tensor(high), out))
    if depends:
        assert (first, last) == (depends[0], depends[-1])
    else:
        assert first == last and 0 <= first < out


def test_windows_are_found_among_clean_maps_padding_and_other_windows():
    level = Level(2, 5, 1, 2 * 2 * 4, torch.float64, CPU)
    clean = torch.arange(2 * 25, dtype=torch.float64).view(2, 5, 5, 1) + 100
    level.keep(torch.arange(2), clean)
    held = Windows(torch.tensor([[[0, 0], [3, 3]], [[2, 2], [3, 3]]]), 2)
    new = torch.arange(16, dtype=torch.float64).view(4, 2, 2, 1)
    new[3, 0, 0] = new[2, 1, 1]  # where windows overlap they agree
    level.write(new)
    whole = level.assemble(torch.tensor([1, 0]), held)[..., 0]
    expected = clean[[1, 0], ..., 0].clone()
    expected[0, :2, :2], expected[0, 3:, 3:] = new[0, ..., 0], new[1, ..., 0]
    expected[1, 2:4, 2:4], expected[1, 3:, 3:] = new[2, ..., 0], new[3, ..., 0]
    assert torch.equal(whole, expected)
    wanted = Windows(torch.tensor([[[-1, -1], [4, 4]], [[1, 1], [2, 3]]]), 2)
    found = level.read(level.lookup(torch.tensor([1, 0]), held, wanted))[..., 0]
    padded = torch.nn.functional.pad(expected, (1, 1, 1, 1))
    corners = [(0, 0, 0), (0, 5, 5), (1, 2, 2), (1, 3, 4)]
    for window, (image, row, col) in zip(found, corners, strict=True):
        assert torch.equal(window, padded[image, row : row + 2, col : col + 2])


# ---------------------------------------------------------------- other networks


@pytest.mark.parametrize(("name", "pixels"), list(zip(OTHERS, (2, 1, 2, 1), strict=True)))
def test_other_depths_and_blocks_equal_the_whole_network(name, pixels):
    model, images = bare(name).double(), some_images(3, 64)
    slots, candidates = some_candidates(images, pixels, 6, 1)
    edges = torch.tensor([[0, 0, 9, 9, 9], [63, 63, 1, 2, 3], [0, 63, 5, 0, 255]])
    candidates[:3, :5] = edges
    for switch in (None, 5, 9) if name == "resnet18" else (None,):
        error, found, expected = difference(
            model, images, slots, candidates, pixels, batch=4, switch=switch
        )
        assert error <= 1e-9 and (expected - expected[:1]).abs().max() > 1e-6
        assert found.dtype == torch.float64


class Repeated(nn.Module):
    """A gray image in three channels."""

    def forward(self, images):
        return images.expand(-1, 3, -1, -1)


class Halved(nn.Module):
    """A normalization that is not torchvision's."""

    def forward(self, images):
        return (images - 0.5) / 0.25


def changed(name, change, **how):
    model = bare(name, **how)
    change(model)
    return model.eval()


def cifar(model):
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()


INCREMENTAL = {
    "bare": (lambda: bare("resnet18"), 3),
    "normalized": (lambda: nn.Sequential(Normalize([0.5] * 3, [0.2] * 3), bare("resnet18")), 3),
    "in place": (
        lambda: nn.Sequential(Normalize([0.5] * 3, [0.2] * 3, inplace=True), bare("resnet18")),
        3,
    ),
    "own normalization": (lambda: nn.Sequential(Halved(), bare("densenet121")), 3),
    "nested": (lambda: nn.Sequential(Halved(), nn.Sequential(Halved(), bare("resnet18"))), 3),
    "gray to color": (lambda: nn.Sequential(Repeated(), bare("resnet18")), 1),
    "gray": (
        lambda: changed(
            "resnet18", lambda m: setattr(m, "conv1", nn.Conv2d(1, 64, 7, 2, 3, bias=False))
        ),
        1,
    ),
    "small stem": (lambda: changed("resnet18", cifar), 3),
    "other head": (
        lambda: changed(
            "resnet18",
            lambda m: setattr(m, "fc", nn.Sequential(nn.Dropout(), nn.Linear(512, 6))),
        ),
        3,
    ),
    "classifier": (lambda: Classifier("resnet50", 5, 32), 1),
}


def example_of(channels, size=32):
    return some_images(channels, size)[0]


@pytest.mark.parametrize("name", INCREMENTAL)
def test_models_that_are_incremental_by_themselves(name):
    make, channels = INCREMENTAL[name]
    model = make().eval()
    example = example_of(channels)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        made = make_evaluator(model, example, 1, 20, torch.float32, 0, 2)
        assert isinstance(made, Incremental)
        _, candidates = some_candidates(example.unsqueeze(0), 1, 30, 0)
        slots = torch.zeros(30, dtype=torch.long)
        made.enter(slots[:1], example.unsqueeze(0))
        expected = model(paint(example.unsqueeze(0), candidates.unsqueeze(0)).float() / 255)
        found = made.logits(slots, candidates)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


class Doubled(torchvision.models.ResNet):
    """A subclass does what it likes."""

    def forward(self, images):
        return 2 * super().forward(images)


def doubled():
    torch.manual_seed(0)
    return Doubled(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=5)


def patched():
    model = bare("resnet18")
    forward = model.forward
    model.forward = lambda images: forward(images.flip(3))
    return model


def hooked():
    model = bare("resnet18")
    model.layer1.register_forward_hook(lambda module, given, made: made * 1.5)
    return model


def dilated():
    model = bare("resnet50")
    model.layer4[2].conv2.dilation = model.layer4[2].conv2.padding = (2, 2)
    return model


def activated(kind):
    """The same network but for a few layers; what ReLU6 cuts off, no small activation shows."""
    model = bare("resnet18")
    model.relu = kind()
    return model


WHOLE = {
    "a subclass": (doubled, 0),
    "another network": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)), 0),
    "no network": (nn.Identity, 0),
    "an empty sequence": (nn.Sequential, 0),
    "behind it something else": (lambda: nn.Sequential(bare("resnet18"), nn.Softmax(1)), 0),
    "its forward replaced": (patched, 1),
    "a hook": (hooked, 1),
    "a filter in front": (lambda: nn.Sequential(nn.AvgPool2d(3, 1, 1), bare("resnet18")), 1),
    "a median in front": (lambda: nn.Sequential(Median3(3), bare("resnet18")), 1),
    "a resize in front": (lambda: nn.Sequential(nn.Upsample(64), bare("resnet18")), 1),
    "colors mixed in front": (lambda: nn.Sequential(Grayscale(3), bare("resnet18")), 1),
    "dilation": (dilated, 1),
    "another activation": (lambda: activated(nn.Tanh), 1),
    "an activation that hardly differs": (lambda: activated(nn.ReLU6), 1),
    "no number": (lambda: changed("resnet18", lambda m: m.fc.bias.data.fill_(torch.nan)), 1),
    "another norm": (lambda: bare("resnet18", norm_layer=lambda n: nn.GroupNorm(8, n)), 1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", WHOLE)
def test_models_that_are_not_get_whole_images(name, dtype):
    """With one warning where the network looks like one that could be incremental."""
    make, told = WHOLE[name]
    model, example = make().eval(), example_of(3)
    with torch.inference_mode(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = make_evaluator(model, example, 1, 20, dtype, 0, 2)
    assert isinstance(made, WholeImages) and len(said) == told


def test_images_that_are_not_square_get_whole_images():
    model = bare("resnet18")
    with torch.inference_mode(), pytest.warns(UserWarning):
        made = make_evaluator(model, example_of(3)[:, :28], 1, 20, torch.float32, 0, 2)
    assert isinstance(made, WholeImages)
    with torch.inference_mode(), pytest.raises(NotIncremental):
        Incremental.of(model, example_of(3)[:, :28], 1)


# ---------------------------------------------------------------- the attack on them


@pytest.mark.parametrize(
    ("name", "precision"),
    [("resnet18", "bfloat16"), ("densenet121", "float32")],
)
def test_attacks_do_not_depend_on_batch_order_or_shards(name, precision):
    model = bare(name)
    images = torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8)
    model = nn.Sequential(Repeated(), model).eval()
    with torch.no_grad():
        labels = model(images.unsqueeze(1) / 255).argmax(1)
    attack = PixelAttack(population=8, generations=2, batch=16, precision=precision)

    def run(positions, attack=attack):
        table = attack(model, images[positions], labels[positions]).table
        return table.drop(columns=["seconds", "image"]).set_axis(positions).sort_index()

    expected = run(list(range(4)))
    assert not expected["skipped"].any()
    parts = [run([3, 1, 0]), run([2])]
    pd.testing.assert_frame_equal(pd.concat(parts).sort_index(), expected)
    # Other shapes may round otherwise, but decide the same.
    other = run(list(range(4)), dataclasses.replace(attack, batch=5))
    for column in ("success", "adversarial", "predicted", "evaluations"):
        assert other[column].tolist() == expected[column].tolist()
