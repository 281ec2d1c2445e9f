"""What the fast search must not change: memory, planted truth, kills, shards, wrong inputs."""

import multiprocessing
import os
import random
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TinyNet, make_images
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from lib import params, streams
from lib.attack import attack, criterion_for, evolution, search, vulnerability_map
from lib.attack.score_cache import Memory, keys_of
from lib.attack.vulnerability import colour_grid
from lib.classifiers import Classifier, decide, logits
from lib.data import to_tensor
from lib.errors import InputError

CPU = torch.device("cpu")
SETTINGS = params.load(
    "demo", attack_population=20, attack_generations=30, attack_batch=64, attack_initial="uniform"
)
SINGLE = criterion_for("auto", False)


# ---------------------------------------------------------------- memory


@given(st.sampled_from([1, 3]), st.integers(1, 2), st.integers(0, 2**31))
def test_keys_tell_candidates_apart(channels, pixels, seed):
    limits = evolution.bounds(pixels, 6, 5, channels, CPU).clamp(max=7)
    generator = torch.Generator().manual_seed(seed)
    candidates = (torch.rand(1, 60, len(limits), generator=generator) * limits).long()
    pairs = list(zip(*(key[0].tolist() for key in keys_of(candidates, pixels)), strict=True))
    assert len(set(pairs)) == len(set(map(tuple, candidates[0].tolist())))


@given(st.integers(1, 3), st.integers(0, 2**31))
def test_memory_evaluates_each_candidate_once_and_gives_its_score_again(pixels, seed):
    generator = torch.Generator().manual_seed(seed)
    genes, members, rounds = 3 * pixels, 8, 6
    memory = Memory(3, members * rounds, pixels, CPU)
    seen: dict[tuple, float] = {}
    for _ in range(rounds):
        slots = torch.randperm(3, generator=generator)[:2]
        candidates = torch.randint(0, 2, (2, members, genes), generator=generator)
        asked = []

        def evaluate(rows, chosen, slots=slots, asked=asked):
            names = [
                (int(slots[row]), *genes)
                for row, genes in zip(rows.tolist(), chosen.tolist(), strict=True)
            ]
            asked.extend(names)
            for name in names:
                seen.setdefault(name, len(seen))
            values = torch.tensor([float(seen[name]) for name in names])
            return values, values % 2 == 0

        before = set(seen)
        scores, hits, computed = memory.scored(slots, candidates, evaluate)
        assert len(asked) == len(set(asked)) == int(computed.sum()) and not set(asked) & before
        for row in range(2):
            for member in range(members):
                name = (int(slots[row]), *candidates[row, member].tolist())
                assert scores[row, member] == seen[name]
                assert not hits[row, member] or (name in asked and seen[name] % 2 == 0)
        assert int(hits.sum()) == sum(seen[name] % 2 == 0 for name in asked)
    memory.forget(torch.tensor([1]))
    _, _, computed = memory.scored(
        torch.tensor([1]), torch.zeros(1, 2, genes, dtype=torch.long),
        lambda rows, chosen: (torch.zeros(len(rows)), torch.zeros(len(rows), dtype=torch.bool)),
    )  # fmt: skip
    assert computed.tolist() == [1]


def test_repeats_are_counted_as_evaluations_but_not_computed(tiny, images):
    data = images("oct", 3, size=8)
    model = tiny(1, 8, 4).eval()
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    with torch.no_grad():
        model.linear.weight *= 1e-3  # nothing fools it
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    found = attack(model, data, np.arange(3), SINGLE, 1, SETTINGS, CPU)
    assert not found["success"].any() and (found["evaluations"] == 20 * 31).all()
    assert (found["computed"] < found["evaluations"]).all() and (found["computed"] > 20).all()


# ---------------------------------------------------------------- best1bin


def test_children_of_best_follow_the_formula():
    members = torch.randint(0, 9, (2, 6, 3), generator=torch.Generator().manual_seed(0))
    scores = torch.rand(2, 6, generator=torch.Generator().manual_seed(1))
    keys, generation = torch.tensor([5, 6]), torch.tensor([1, 4])
    limits = evolution.bounds(1, 9, 9, 1, CPU)
    found = evolution.children_of_best(members, scores, keys, generation, limits, [0.5, 1.0], 0.7)
    chosen = evolution.partners(keys, generation, 6)
    draws = streams.bits(keys, generation, 6, 8)[..., 3:].double() / 2**31
    for i in range(2):
        best = members[i, scores[i].argmin()]
        factor = 0.5 + 0.5 * draws[i, 0, 0].item()
        for j in range(6):
            b, c = members[i, chosen[i, j, 0]], members[i, chosen[i, j, 1]]
            always = int(draws[i, j, 1] * 3)
            for gene in range(3):
                value = round(best[gene].item() + factor * (b[gene] - c[gene]).item())
                value = min(max(value, 0), int(limits[gene]) - 1)
                mutated = gene == always or draws[i, j, 2 + gene] < 0.7
                assert found[i, j, gene] == (value if mutated else members[i, j, gene])


def test_both_strategies_find_what_is_there(tiny, images):
    data = images("derma", 6)
    model = tiny(3, 28, 7).eval()
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    results = {}
    for strategy in ("rand1", "best1bin"):
        p = SETTINGS.model_copy(update={"attack_strategy": strategy})
        results[strategy] = attack(model, data, np.arange(6), SINGLE, 2, p, CPU)
    assert results["rand1"]["success"].any() and results["best1bin"]["success"].any()
    assert not results["rand1"]["rows"].equals(results["best1bin"]["rows"])


# ---------------------------------------------------------------- planted truth


class Planted(torch.nn.Module):
    """Class 1 where the pixel in row 2, column 5 is bright; a slope leads there from afar."""

    classes = 2

    def __init__(self, height, slope=0.01):
        super().__init__()
        self.height, self.slope = height, slope

    def forward(self, images):
        bright = images[:, 0, 2, 5]
        rows = torch.arange(images.shape[2]).view(-1, 1)
        cols = torch.arange(images.shape[3]).view(1, -1)
        near = 1 / (1 + (rows - 2).abs() + (cols - 5).abs())
        hint = self.slope * (images[:, 0] * near).amax((1, 2))
        second = self.height * (bright > 0.8) + hint
        return torch.stack([torch.full_like(second, 1.0), second], 1)


def dark(images, count):
    data = images("oct", count, size=9)
    data.images[:] = np.random.default_rng(0).integers(0, 100, data.images.shape)
    data.labels[:] = 0
    return data


def test_finds_the_one_pixel_that_flips_the_class(images):
    data = dark(images, 10)
    p = SETTINGS.model_copy(update={"attack_population": 60})
    found = attack(Planted(2.0).eval(), data, np.arange(10), SINGLE, 1, p, CPU)
    assert found["success"].sum() >= 9
    for record in found[found["success"]].itertuples():
        assert (record.rows, record.cols) == ([2], [5]) and record.values[0][0] > 204


def test_never_succeeds_where_nothing_flips_the_class(images):
    data = dark(images, 6)
    found = attack(Planted(0.0).eval(), data, np.arange(6), SINGLE, 1, SETTINGS, CPU)
    assert not found["success"].any() and (found["adversarial"] == 0).all()
    assert (found["generations"] == SETTINGS.attack_generations).all()


# ---------------------------------------------------------------- kills


def attack_forty(started=None, **how):
    """The search that is killed; a process of its own builds all of it anew."""
    # tqdm's own lock is shared by forks: one killed while it holds it would stop the others.
    tqdm.set_lock(threading.RLock())
    search.CHECKPOINT_SECONDS = 0.0
    data = make_images("derma", 40)
    model = TinyNet(3, 28, 7).eval()
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    p = SETTINGS.model_copy(update={"attack_generations": 8})
    if started:
        started.set()
    return attack(model, data, np.arange(40), SINGLE, 1, p, CPU, **how)


def test_a_search_killed_twenty_times_ends_with_the_same_records(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "CHECKPOINT_SECONDS", 0.0)
    begun = time.monotonic()
    expected = attack_forty()
    whole = time.monotonic() - begun
    # Not a fork of this process: what its threads hold would be held in the fork for good.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["hypothesis", "lib.attack", "lib.classifiers", "lib.data", "pytest"]
    )
    rng, kills = random.Random(0), 0
    for _ in range(20):
        started = context.Event()
        child = context.Process(
            target=attack_forty, args=(started,), kwargs={"checkpoint": tmp_path}
        )
        child.start()
        assert started.wait(60)
        time.sleep(rng.uniform(0, whole / 4))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += child.exitcode == -signal.SIGKILL
    assert kills >= 10
    found = attack_forty(checkpoint=tmp_path)
    for column in expected.columns.drop("seconds"):
        ours, theirs = (
            [np.stack(v).tolist() if isinstance(v, np.ndarray) else v for v in table[column]]
            for table in (found, expected)
        )
        assert ours == theirs, column


def test_shards_make_up_the_whole(tiny, images, tmp_path):
    data = images("derma", 9)
    model = tiny(3, 28, 7).eval()
    data.labels[:] = decide(logits(model, data.images, CPU), False)

    def run(**how):
        found = attack(model, data, np.arange(9), SINGLE, 1, SETTINGS, CPU, **how)
        return found.drop(columns="seconds")

    parts = [run(checkpoint=tmp_path, shard=(shard, 4)) for shard in range(4)]
    assert sorted(len(part) for part in parts) == [2, 2, 2, 3]
    merged = pd.concat(parts).set_index("index").sort_index()
    pd.testing.assert_frame_equal(merged, run().set_index("index"))
    asked = []
    attack(model, data, np.arange(9), SINGLE, 1, SETTINGS, CPU, tmp_path, asked.append)
    assert not asked  # all was there


# ---------------------------------------------------------------- the exhaustive map


@pytest.mark.parametrize(("name", "channels", "levels"), [("derma", 3, 2), ("chest", 1, 4)])
def test_the_map_tries_every_position_and_colour(tiny, images, name, channels, levels):
    data = images(name, 1, size=28)
    model = tiny(channels, 28, len(data.facts.classes)).eval()
    values = logits(model, data.images, CPU)
    data.labels[:] = decide(values, data.facts.multi_label)
    criterion = criterion_for("auto", data.facts.multi_label)
    found = vulnerability_map(
        model, data.images[0], data.labels[0], criterion, levels, SETTINGS, CPU
    )
    assert found.colours == levels**channels and found.success.shape == (28, 28)
    grid = colour_grid(channels, levels)
    label = torch.from_numpy(data.labels[:1]).long()
    for row, col in ((0, 0), (27, 13), (9, 27)):
        changed = data.images.repeat(len(grid), 0)
        changed[:, row, col] = grid
        with torch.no_grad():
            values = model(to_tensor(changed))
        every = label.expand(len(grid), *label.shape[1:])
        objective = criterion.objective(values, every)
        assert found.objective[row, col] == pytest.approx(objective.min().item(), abs=1e-4)
        at = (grid == found.colour[row, col]).all(1).argmax()
        assert objective[at] - objective.min() < 1e-4
        assert found.confidence[row, col] == pytest.approx(
            criterion.confidence(values, every)[at].item(), abs=1e-4
        )
        assert found.success[row, col] == criterion.success(values, every).any().item()


def test_colour_grid():
    assert colour_grid(1, 3).tolist() == [[0], [128], [255]]
    assert len(np.unique(colour_grid(3, 3), axis=0)) == 27
    with pytest.raises(InputError, match="give 2 to 256"):
        colour_grid(1, 1)


# ---------------------------------------------------------------- wrong inputs


def wrong(make, tiny, changes):
    """An attack that fails, after changes to a task that would run."""
    data = make("derma", 4)
    model = tiny(3, 28, 7).eval()
    data.labels[:] = decide(logits(model, data.images, CPU), False)
    pixels = changes.get("pixels", 1)
    p = SETTINGS.model_copy(update={"attack_population": changes.get("population", 20)})
    for name, change in changes.items():
        if name == "model":
            model = change(model)
        elif name in ("images", "labels"):
            data = data.__class__(**{**vars(data), name: change(getattr(data, name))})
    attack(model, data, np.arange(4), SINGLE, pixels, p, CPU)


class NotFinite(torch.nn.Module):
    """Overflows on candidates, not on clean images."""

    classes = 7

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, batch):
        self.calls += 1
        return self.model(batch) * (1 if self.calls == 1 else torch.inf)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": lambda x: x / 255}, r"float64 .*an attack needs uint8 \(N, H, W, 1 or 3\)"),
        ({"images": lambda x: x[..., :2]}, "uint8 of shape"),
        ({"labels": lambda x: x + 7}, "the model knows 0 to 6"),
        ({"labels": lambda x: (x + 1) % 7}, "4 of 4 images are not classified right"),
        ({"population": 3}, "population of 3 is too small"),
        ({"pixels": 0}, "0 pixels are to be changed in images of 784: give 1 to 784"),
        ({"pixels": 785}, "785 pixels"),
        ({"model": lambda x: x.train()}, r"training mode: call model.eval\(\)"),
        ({"model": lambda x: NotFinite(x).eval()}, "logits that are not finite"),
    ],
)
def test_wrong_inputs_are_named(images, tiny, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        wrong(images, tiny, changes)


def test_images_of_another_size_than_the_classifier_are_refused(images):
    data = images("derma", 2, size=32)
    model = Classifier("resnet50", 7, 28).eval()
    with pytest.raises(InputError, match="32 x 32 pixels, the model was made for 28"):
        attack(model, data, np.arange(2), SINGLE, 1, SETTINGS, CPU)
