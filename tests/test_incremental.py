"""Incremental evaluation against the whole network."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import params
from lib.attack import attack, criterion_for, evolution
from lib.attack.incremental import Incremental
from lib.attack.incremental.windows import Level, Reach, Windows
from lib.models.classifiers import Classifier, decide, logits

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize("architecture", ["resnet50", "densenet121"])


def network(architecture, size, input_size=None, seed=0, dtype=torch.float64):
    """A classifier with random weights and batch norms that do something."""
    torch.manual_seed(seed)
    model = Classifier(architecture, 5, size, input_size).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model.to(dtype)


MODELS = {
    (architecture, size, enlarged): network(architecture, size, enlarged)
    for architecture in ("resnet50", "densenet121")
    for size, enlarged in ((28, 32), (28, 45), (64, None))
}


def difference(model, images, slots, candidates, pixels, **how):
    """Largest difference to the whole network, relative to the largest logit; both logits."""
    dtype = how.setdefault("dtype", torch.float64)
    model = model.to(dtype)
    with torch.inference_mode():
        painted = evolution.paint(images[slots], candidates.unsqueeze(1))
        expected = model(painted.to(dtype) / 255)
        engine = Incremental(model, images.shape[1], pixels, slots=len(images), **how)
        engine.enter(torch.arange(len(images)), images)
        found = engine.logits(slots, candidates)
    model.to(torch.float64)
    return ((found - expected).abs().max() / expected.abs().max()).item(), found, expected


def some_candidates(images, pixels, count, seed):
    """Random candidates of random images."""
    generator = torch.Generator().manual_seed(seed)
    limits = evolution.bounds(pixels, *images.shape[2:], images.shape[1], CPU)
    uniform = torch.rand(count, len(limits), generator=generator)
    slots = torch.randint(0, len(images), (count,), generator=generator)
    return slots, (uniform * limits).long()


def some_images(channels, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@given(
    st.sampled_from(sorted(MODELS, key=str)),
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
        MODELS[which], images, slots, candidates, pixels, batch=batch
    )
    assert relative <= 1e-9
    assert (expected - expected[:1]).abs().max() > 1e-6 and found.dtype == torch.float64


@BOTH
@pytest.mark.parametrize("switch", [0, 1, 2, 4, 7, 13])
def test_equals_the_whole_network_wherever_whole_maps_begin(architecture, switch):
    images = some_images(3, 64)
    slots, candidates = some_candidates(images, 2, 5, 1)
    model = MODELS[architecture, 64, None]
    assert difference(model, images, slots, candidates, 2, batch=3, switch=switch)[0] <= 1e-9


@BOTH
@pytest.mark.parametrize("pixels", [1, 2])
def test_equals_the_whole_network_at_edges_and_corners_and_side_by_side(architecture, pixels):
    size, middle = 64, 31
    images = some_images(3, size)
    ends = (0, 1, middle, size - 2, size - 1)
    places = [(row, col) for row in ends for col in ends]
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
    model = MODELS[architecture, 64, None]
    assert difference(model, images, slots, candidates, pixels, batch=8)[0] <= 1e-9


@BOTH
@pytest.mark.parametrize("size", [28, 224])
def test_equals_the_whole_network_in_float32(architecture, size):
    model = network(architecture, size, dtype=torch.float32)
    images = some_images(3, size)
    slots, candidates = some_candidates(images, 2, 3, 2)
    how = {"batch": 3, "dtype": torch.float32}
    assert difference(model, images, slots, candidates, 2, **how)[0] <= 1e-4


@BOTH
def test_bfloat16_tells_candidates_apart_that_its_own_logits_would_not(architecture):
    """The last layer stays in float32: a search cannot rank equal scores."""
    model = MODELS[architecture, 64, None]
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    slots, candidates = some_candidates(images, 1, 40, 0)
    error, found, _ = difference(model, images, slots, candidates, 1, dtype=torch.bfloat16)
    assert error < 0.1
    scores = found[:, 0]
    assert len(scores.bfloat16().unique()) < len(scores.unique()) == 40


@BOTH
def test_a_candidate_that_changes_nothing_gives_the_clean_logits(architecture):
    model, images = MODELS[architecture, 28, 32], some_images(1, 28)
    candidate = torch.tensor([[5, 27, int(images[1, 0, 5, 27])]])
    with torch.inference_mode():
        engine = Incremental(model, 1, 1, 2, torch.float64, slots=2)
        engine.enter(torch.arange(2), images)
        found = engine.logits(torch.tensor([1]), candidate)
        assert torch.allclose(found, model(images[1:].double() / 255), rtol=1e-9)


def test_an_image_that_takes_a_slot_replaces_the_one_before():
    model, images = MODELS["resnet50", 64, None], some_images(3, 64)
    slots, candidates = some_candidates(images[:1], 1, 3, 4)
    with torch.inference_mode():
        engine = Incremental(model, 3, 1, 2, torch.float64)
        engine.enter(torch.tensor([0]), images[:1])
        before = engine.logits(slots, candidates)
        engine.enter(torch.tensor([0]), images[1:])
        after = engine.logits(slots, candidates)
        painted = evolution.paint(images[1:], candidates.unsqueeze(0))
        assert torch.allclose(after, model(painted.double() / 255), rtol=1e-9)
    assert (before - after).abs().max() > 1e-3


@BOTH
def test_logits_do_not_depend_on_company(architecture):
    """Bit for bit in float32: what a candidate is evaluated with is filled up to one batch."""
    model = network(architecture, 64, dtype=torch.float32)
    images = some_images(3, 64)
    slots, candidates = some_candidates(images, 1, 40, 3)
    with torch.inference_mode():
        engine = Incremental(model, 3, 1, 16, slots=2)
        engine.enter(torch.arange(2), images)
        together = engine.logits(slots, candidates)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
        assert torch.equal(engine.logits(slots[order], candidates[order]), together[order])
        assert torch.equal(engine.logits(slots[7:8], candidates[7:8]), together[7:8])


@BOTH
def test_the_plan_takes_whole_maps_where_windows_are_more_work(architecture):
    large = Incremental(network(architecture, 224), 3, 1, 1)
    small = Incremental(network(architecture, 32), 3, 1, 1)
    assert large.plan.work(large.plan.switch) < 0.55 * large.plan.work(0)
    assert small.plan.switch < large.plan.switch
    for engine in (large, small):
        works = [engine.plan.work(switch) for switch in range(len(engine.plan.chain))]
        assert engine.plan.work(engine.plan.switch) == min(works)


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


@BOTH
def test_records_do_not_depend_on_batch_order_or_shards(architecture, images, tmp_path):
    data = images("oct", 6, size=32)
    model = network(architecture, 32, dtype=torch.float32)
    model.network = model.network.float()
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    p = params.load("demo", attack_population=8, attack_generations=4)
    criterion = criterion_for("auto", False)

    def run(positions, **how):
        settings_ = p.model_copy(update={"attack_batch": how.pop("batch", 16)})
        found = attack(model, data, np.array(positions), criterion, 1, settings_, CPU, **how)
        return found.drop(columns="seconds").set_index("index").sort_index()

    expected = run(range(6))
    pd.testing.assert_frame_equal(run([4, 2, 0, 5, 3, 1]), expected)
    for shard in range(3):
        run(range(6), checkpoint=tmp_path, shard=(shard, 3))
    merged = run(range(6), checkpoint=tmp_path)
    for column in ("success", "evaluations", "computed", "adversarial"):
        assert merged[column].tolist() == expected[column].tolist()
    # Other shapes may round otherwise, but decide the same.
    other = run(range(6), batch=5)
    assert other["success"].tolist() == expected["success"].tolist()
