"""The attack that anyone can call: any model, arrays in, arrays and a table out."""

import copy
import dataclasses
import time

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from conftest import alone, refused
from torch import nn

from lib.attack import (
    AnyLabelChange,
    Found,
    Misclassification,
    PixelAttack,
    RandomSearch,
    SparseRS,
    TrueLabelChange,
    criterion_for,
    evaluators,
    rebuild,
    score_cache,
)
from lib.attack.differential_evolution import gene_limits, initial_population, partners
from lib.data import counter_rng
from lib.defense.stronger import MorePixels, Restarts
from lib.models.classifiers import as_text, classify, decide, logits

CPU = torch.device("cpu")
SMALL = PixelAttack(population=12, generations=6, batch=30)


def problem(tiny, images, name="derma", count=8):
    """Images that a tiny network classifies right, because its decisions are their labels."""
    data = images(name, count)
    multi_label = data.facts.multi_label
    model = tiny(data.facts.channels, data.size, len(data.facts.classes)).eval()
    labels = decide(logits(model, data.images, CPU), multi_label)
    return model, data.images, labels, criterion_for("auto", multi_label)


def same(found, expected, batch=True):
    """Tables are equal but for the time that was taken.

    Another batch size may round objectives otherwise.
    """
    if not batch:
        for ours, theirs in zip(found["best"], expected["best"], strict=True):
            assert ours == pytest.approx(theirs, abs=2e-4)
    out = ["seconds"] if batch else ["seconds", "best"]
    pd.testing.assert_frame_equal(found.drop(columns=out), expected.drop(columns=out))


class Convolutional(nn.Sequential):
    """A network of three layers that is not ours, with fixed weights."""

    def __init__(self, channels, classes, size=28):
        super().__init__(
            nn.Conv2d(channels, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 6, 3, 2), nn.ReLU(),
            nn.Flatten(), nn.LazyLinear(classes),
        )  # fmt: skip
        self(torch.zeros(1, channels, size, size))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.3, generator=generator)


# ---------------------------------------------------------------- what is found


def slow_attack(model, image, label, criterion, key, attack):
    """The same search on one image with plain loops, as a reference."""
    image = torch.from_numpy(image).permute(2, 0, 1)
    label, key = torch.from_numpy(label).long(), torch.tensor([key])
    channels, height, width = image.shape
    limits = gene_limits(attack.pixels, height, width, channels, CPU)
    members = initial_population(key, attack.population, limits, channels, "uniform")[0].tolist()

    def score(genes):
        changed = image.clone()
        for k in range(0, len(genes), 2 + channels):
            row, col, *value = genes[k : k + 2 + channels]
            changed[:, row, col] = torch.tensor(value, dtype=torch.uint8)
        with torch.no_grad():
            objective, success = criterion(model(changed.unsqueeze(0).float() / 255), label)
        return objective.item(), success.item()

    scores = [float("inf")] * len(members)
    for generation in range(attack.generations + 1):
        if generation == 0:
            trial = members
        else:
            chosen = partners(key, torch.tensor([generation]), len(members))[0].tolist()
            trial = [
                [
                    min(max(round(x + attack.mutation * (y - z)), 0), limit - 1)
                    for x, y, z, limit in zip(
                        members[a], members[b], members[c], limits.tolist(), strict=True
                    )
                ]
                for a, b, c in chosen
            ]
        tried = [score(genes) for genes in trial]
        fooled = [(value, genes) for (value, hit), genes in zip(tried, trial, strict=True) if hit]
        if fooled:
            return True, min(fooled)[1], generation
        for k, (value, _) in enumerate(tried):
            if value <= scores[k]:
                members[k], scores[k] = trial[k], value
    best = min(range(len(members)), key=lambda k: scores[k])
    return False, members[best], attack.generations


@pytest.mark.parametrize(("name", "pixels"), [("derma", 1), ("derma", 2), ("oct", 1), ("chest", 2)])
def test_equals_a_search_with_plain_loops(tiny, images, name, pixels):
    model, pictures, labels, criterion = problem(tiny, images, name)
    attack = dataclasses.replace(SMALL, pixels=pixels, criterion=criterion)
    keys = counter_rng.mix(torch.arange(8) + 40)
    found = attack(model, pictures, labels, keys)
    for i, row in enumerate(found.table.itertuples()):
        success, genes, generation = slow_attack(
            model, pictures[i], labels[i : i + 1], criterion, int(keys[i]), attack
        )
        flat = [
            gene
            for row_, col, value in zip(row.rows, row.cols, row.values, strict=True)
            for gene in (row_, col, *value)
        ]
        assert (row.success, flat, row.generations) == (success, genes, generation)
        assert row.evaluations == (generation + 1) * attack.population
    assert found.table["success"].nunique() == 2 or (name, pixels) != ("derma", 1)


@pytest.mark.parametrize("name", ["derma", "oct", "chest"])
def test_what_is_returned_is_what_the_stored_image_does_alone(tiny, images, name):
    model, pictures, labels, criterion = problem(tiny, images, name)
    found = dataclasses.replace(SMALL, pixels=2, criterion=criterion)(model, pictures, labels)
    assert found.images.dtype == np.uint8 and found.images.shape == pictures.shape
    assert ((found.images != pictures).any(3).sum((1, 2)) <= 2).all()
    np.testing.assert_array_equal(found.images, rebuild(pictures, found.table))
    values, truth = alone(model, found.images), torch.from_numpy(labels).long()
    assert found.success.tolist() == criterion(values, truth)[1].tolist()
    assert found.success.tolist() == found.table["success"].tolist()
    multi_label = labels.ndim == 2
    assert found.table["adversarial"].tolist() == as_text(decide(values.numpy(), multi_label))
    assert found.table["predicted"].tolist() == found.table["label"].tolist() == as_text(labels)
    assert (found.success == (found.table["adversarial"] != found.table["label"])).all()
    before = criterion.confidence(alone(model, pictures), truth)
    assert found.table["p_before"].tolist() == pytest.approx(before.tolist(), abs=1e-6)
    assert found.table["p_after"].tolist() == pytest.approx(
        criterion.confidence(values, truth).tolist(), abs=1e-6
    )
    assert not found.table["skipped"].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_of_numpy_and_torch_and_gray_images_without_channels(tiny, images, channels):
    model, pictures, labels, _ = problem(tiny, images, "derma" if channels == 3 else "oct", 4)
    expected = SMALL(model, pictures, labels)
    found = SMALL(model, torch.from_numpy(pictures), torch.from_numpy(labels).int())
    assert isinstance(found.images, torch.Tensor) and isinstance(found.success, np.ndarray)
    assert (found.images.numpy() == expected.images).all()
    same(found.table, expected.table)
    if channels == 1:
        flat = SMALL(model, pictures[..., 0], labels)
        assert (flat.images == expected.images[..., 0]).all()
        same(flat.table, expected.table)


def test_views_and_read_only_arrays(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=4)
    expected = SMALL(model, pictures, labels)
    fixed = pictures.copy()
    fixed.flags.writeable = False
    same(SMALL(model, fixed, labels).table, expected.table)
    found = SMALL(model, pictures[::-1], labels[::-1])
    assert (found.images[::-1] == expected.images).all()
    assert (found.success[::-1] == expected.success).all()


class Planted(nn.Module):
    """Class 1 where the pixel in row 2, column 5 is bright; a slope leads there from afar."""

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


DARK = np.random.default_rng(0).integers(0, 100, (10, 9, 9), np.uint8)


def test_finds_the_one_pixel_that_changes_the_class():
    found = PixelAttack(population=60, generations=30)(Planted(2.0).eval(), DARK, [0] * 10)
    assert found.success.sum() >= 9
    for row in found.table[found.success].itertuples():
        assert (row.rows, row.cols) == ([2], [5]) and row.values[0][0] > 204


def test_never_succeeds_where_nothing_changes_the_class():
    found = PixelAttack(population=20, generations=30)(Planted(0.0).eval(), DARK, [0] * 10)
    assert not found.success.any() and (found.table["adversarial"] == 0).all()
    assert (found.table["generations"] == 30).all()


def test_a_population_drifts_across_a_plateau():
    flat = Planted(0.0, slope=0.0).eval()
    first, last = (
        PixelAttack(population=8, generations=n)(flat, DARK, [0] * 10).table for n in (0, 3)
    )
    assert (first["rows"] != last["rows"]).any()


def test_images_that_wait_for_a_slot_are_attacked_as_all_at_once(monkeypatch):
    """Of ten images two are in work: one enters where another left, and finds nothing of it."""
    attack = PixelAttack(population=20, generations=30, batch=1)
    expected = attack(Planted(2.0).eval(), DARK, [0] * 10).table
    assert expected["generations"].nunique() > 2
    monkeypatch.setattr(evaluators, "IMAGES", 2)
    same(attack(Planted(2.0).eval(), DARK, [0] * 10).table, expected)


def test_seconds_of_all_images_are_those_that_were_taken(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    begun = time.monotonic()
    seconds = SMALL(model, pictures, labels).table["seconds"].sum()
    assert 0 < seconds < time.monotonic() - begun


def test_the_last_objective_is_that_of_the_candidate_that_is_returned(tiny, images):
    data = images("derma", 12)
    model = tiny(3, 28, 7).eval()
    labels = logits(model, data.images).argmax(1)
    attack = PixelAttack(40, 12, 6, batch=30, criterion=lambda x, y: (x[:, 0], x.argmax(1) != y))
    found = attack(model, data.images, labels)
    assert found.success.sum() > 3
    first = logits(model, found.images, batch=1)[:, 0]
    for row in found.table[found.success].itertuples():
        assert row.best[-1] == pytest.approx(first[row.image], abs=2e-4)


def test_no_candidate_is_evaluated_twice(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, "oct", 3)
    with torch.no_grad():
        model.linear.weight *= 1e-3  # nothing fools it
    labels = decide(logits(model, pictures, CPU), False)
    seen = []

    class Watched(nn.Module):
        def forward(self, batch):
            seen.append((batch * 255).round().to(torch.uint8))
            return model(batch)

    found = PixelAttack(population=20, generations=30, batch=1)(Watched().eval(), pictures, labels)
    assert not found.success.any() and (found.table["evaluations"] == 20 * 31).all()
    assert (found.table["computed"] < found.table["evaluations"]).all()
    candidates = torch.cat(seen).flatten(1)
    # Besides the candidates: the first image and each clean one, and each best one at the end.
    assert len(candidates) == found.table["computed"].sum() + 1 + 3 + 3
    assert len(candidates.unique(dim=0)) >= len(candidates) - 1 - 3 - 3


# ---------------------------------------------------------------- what it does not depend on


def test_a_full_cache_changes_what_is_computed_and_nothing_else(tiny, images, monkeypatch):
    model, pictures, labels, _ = problem(tiny, images)
    attack = dataclasses.replace(SMALL, generations=20)
    expected = attack(model, pictures, labels).table
    monkeypatch.setattr(score_cache, "MOST", 16)
    found = attack(model, pictures, labels).table
    assert (found["computed"] >= expected["computed"]).all()
    same(found.assign(computed=expected["computed"]), expected)
    monkeypatch.undo()
    endless = dataclasses.replace(SMALL, generations=10**7).iterate_generations
    assert len(next(endless(model, pictures, labels)).best) > 0


@pytest.mark.parametrize("batch", [0, 1, 50])
def test_batch_size_changes_nothing(tiny, images, batch):
    model, pictures, labels, _ = problem(tiny, images)
    found = dataclasses.replace(SMALL, batch=batch)(model, pictures, labels)
    same(found.table, SMALL(model, pictures, labels).table, batch=False)


BUDGET = {"population": 12, "generations": 6, "batch": 30}
SEEDED = [SMALL, dataclasses.replace(SMALL, pixels=2, strategy="best1bin"),
          RandomSearch(2, **BUDGET), SparseRS(2, **BUDGET)]  # fmt: skip


@pytest.mark.parametrize("attack", [*SEEDED, Restarts(SMALL, 3), MorePixels(SMALL, 4)])
def test_order_company_and_shards_change_nothing(attack, images):
    pictures = images("derma", 9, 10).images
    model = Convolutional(3, 7, 10).eval()
    labels = alone(model, pictures).argmax(1)
    every = attack(model, pictures, labels).table
    assert every["success"].any() and every["evaluations"].nunique() > 1
    for positions in ([5, 2], list(range(8, -1, -1)), list(range(0, 9, 3)), [4]):
        found = attack(model, pictures[positions], labels[positions]).table
        expected = every.iloc[positions].reset_index(drop=True)
        same(found.drop(columns="image"), expected.drop(columns="image"))


@pytest.mark.parametrize("attack", SEEDED)
def test_another_seed_searches_elsewhere_and_keys_replace_it(attack, tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    both = attack, dataclasses.replace(attack, seed=1)
    first, second = (each(model, pictures, labels).table for each in both)
    assert list(map(list, first["rows"])) != list(map(list, second["rows"]))
    keys = np.arange(8)
    same(*(each(model, pictures, labels, keys).table for each in both))


def test_nothing_global_is_changed(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    flags = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul]
    before = [flag.fp32_precision for flag in flags]
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    try:
        for flag in flags:
            flag.fp32_precision = "tf32"
        with torch.autocast("cpu", torch.bfloat16):
            for row in SMALL.iterate(model, pictures, labels):
                assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
                assert torch.is_autocast_enabled("cpu")
                assert [flag.fp32_precision for flag in flags] == ["tf32"] * 3
                assert row["p_before"] == pytest.approx(
                    SMALL(model, pictures, labels).table["p_before"][row["image"]], abs=1e-6
                )
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.fp32_precision = value
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize("evaluation", ["exact", "screened"])
def test_a_default_of_64_bits_changes_nothing(images, evaluation):
    model = torchvision.models.resnet18(num_classes=3).eval()
    pictures = images("derma", 2).images
    labels = classify(model, pictures)
    attack = dataclasses.replace(SMALL, evaluation=evaluation)
    before = attack(model, pictures, labels).table
    torch.set_default_dtype(torch.float64)
    try:
        rows = attack.iterate(model, pictures, labels)
        found = [next(rows)]
        assert torch.get_default_dtype() == torch.float64
        found += rows
    finally:
        torch.set_default_dtype(torch.float32)
    same(before, pd.DataFrame(found, columns=list(before)).sort_values("image", ignore_index=True))


# ---------------------------------------------------------------- going through it


def test_iterate_gives_rows_as_images_finish_and_stops_when_left(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    expected = SMALL(model, pictures, labels).table
    rows = list(SMALL.iterate(model, pictures, labels))
    late = pd.DataFrame(rows[::-1])
    same(Found.of(late, pictures).table, expected)
    np.testing.assert_array_equal(
        Found.of(late, pictures).images, SMALL(model, pictures, labels).images
    )
    with refused():
        Found.of(late.assign(image=late["image"] + 1), pictures)
    assert sorted(row["image"] for row in rows) == list(range(8))
    for row in rows:
        given = expected.iloc[row["image"]].to_dict()
        assert {k: v for k, v in row.items() if k != "seconds"} == {
            k: v for k, v in given.items() if k != "seconds"
        }
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    for _ in SMALL.iterate(model, pictures, labels):
        break
    after_one = len(calls)
    list(SMALL.iterate(model, pictures, labels))
    handle.remove()
    assert 0 < after_one < len(calls) - after_one


def test_each_generation_is_told(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    lengths: dict[int, int] = {}
    for generation in SMALL.iterate_generations(model, pictures, labels):
        for image, best in generation.best.items():
            lengths[image] = lengths.get(image, 0) + 1
            assert len(best) == lengths[image]
        for row in generation.finished:
            told = generation.best[row["image"]]
            assert row["best"] == pytest.approx(told, abs=1e-3)
            assert len(told) == row["generations"] + 1
    assert sorted(lengths) == list(range(8))


# ---------------------------------------------------------------- criteria


def test_images_that_the_model_gets_wrong_are_skipped(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)
    expected = SMALL(model, pictures, labels)
    given = labels.copy()
    given[[0, 5]] = (given[[0, 5]] + 1) % 7
    found = SMALL(model, pictures, given)
    assert found.table["skipped"].tolist() == [i in (0, 5) for i in range(8)]
    assert (found.table["reason"] != "").equals(found.table["skipped"])
    skipped = found.table[found.table["skipped"]]
    assert (found.images[[0, 5]] == pictures[[0, 5]]).all() and not found.success[[0, 5]].any()
    assert (skipped["evaluations"] == 0).all() and (skipped["predicted"] != skipped["label"]).all()
    kept = ~found.table["skipped"]
    same(found.table[kept], expected.table[kept])
    nothing = SMALL(model, pictures, (labels + 1) % 7)
    assert nothing.table["skipped"].all() and (nothing.images == pictures).all()


@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_success_and_decisions_have_one_threshold(tiny, images, threshold):
    data = images("chest", 8)
    model = tiny(1, 28, 14).eval()
    labels = decide(logits(model, data.images, CPU), True, threshold)
    attack = dataclasses.replace(SMALL, criterion=AnyLabelChange(threshold))
    table = attack(model, data.images, labels).table
    assert not table["skipped"].any() and table["success"].any()
    assert (table["success"] == (table["adversarial"] != table["label"])).all()


def test_a_true_label_may_be_lost_while_others_are_wrong(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, "chest", 4)
    values = logits(model, pictures, CPU)
    fewer = np.zeros_like(labels)  # the model says more labels than are true
    fewer[np.arange(4), np.where(values > 0, values, np.inf).argmin(1)] = 1
    assert (fewer != labels).any(1).all()
    attack = dataclasses.replace(SMALL, pixels=5, criterion=TrueLabelChange())
    table = attack(model, pictures, fewer).table
    assert not table["skipped"].any() and table["success"].any()
    for row in table[table["success"]].itertuples():
        assert row.adversarial[row.label.index("1")] == "0"


class Toward:
    """A criterion that is not ours: the image is to be taken for a chosen class."""

    def __init__(self, target):
        self.target = target

    def __call__(self, logits, labels):
        return -logits.log_softmax(1)[:, self.target], logits.argmax(1) == self.target


def test_a_criterion_of_ones_own(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=20)
    target = int(np.bincount(labels, minlength=7).argmax())
    given = labels.copy()
    wrong = np.flatnonzero(labels != target)[0]
    given[wrong] = next(k for k in range(7) if k not in (target, labels[wrong]))
    attack = dataclasses.replace(SMALL, pixels=40, criterion=Toward(target))
    found = attack(model, pictures, given)
    skipped = (labels == target) | (np.arange(20) == wrong)
    assert found.table["skipped"].tolist() == skipped.tolist()
    assert found.success.any()
    decided = alone(model, found.images).argmax(1).numpy()
    assert (found.success == (decided == target) & ~skipped).all()
    objective = Toward(target)(alone(model, found.images), None)[0]
    assert found.table["p_after"].tolist() == pytest.approx(objective.tolist(), abs=1e-5)
    # A plain function is a criterion too.
    plain = dataclasses.replace(attack, criterion=lambda x, y: Toward(target)(x, y))
    same(plain(model, pictures, given).table, found.table)


# ---------------------------------------------------------------- precision


def test_a_success_of_the_search_alone_does_not_count(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=4)

    class Wrong(nn.Module):
        """Says in batches of candidates that each is fooled, and the truth to one image alone."""

        def forward(self, batch):
            return -model(batch) if len(batch) > 1 else model(batch)

    found = SMALL(Wrong().eval(), pictures, labels)
    assert (found.success == (alone(model, found.images).argmax(1).numpy() != labels)).all()
    lost = found.table[~found.success]
    assert len(lost) and (lost["disagreements"] == lost["computed"]).all()


def test_a_success_that_the_search_has_not_seen_counts(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=4)
    with torch.no_grad():
        model.linear.weight *= 20  # one pixel changes most decisions

    class Blind(Misclassification):
        """Sees no success in batches of candidates."""

        def __call__(self, values, labels):
            objective, success = super().__call__(values, labels)
            return objective, success & (len(values) == 1)

    found = dataclasses.replace(SMALL, criterion=Blind())(model, pictures, labels)
    assert (found.success == (alone(model, found.images).argmax(1).numpy() != labels)).all()
    assert found.success.any() and (found.table["generations"] == SMALL.generations).all()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_a_low_precision_shifts_is_taken_back(tiny, images, precision):
    model, pictures, labels, _ = problem(tiny, images)

    class Shifted(nn.Module):
        """In low precision every class but the first is far more likely."""

        def forward(self, batch):
            low = torch.is_autocast_enabled("cpu")
            with torch.autocast("cpu", enabled=False):
                values = model(batch)
            return values + low * torch.arange(7) * 8

    expected = SMALL(model, pictures, labels).table
    found = dataclasses.replace(SMALL, precision=precision)(Shifted().eval(), pictures, labels)
    for column in ("success", "rows", "cols", "values", "evaluations", "generations"):
        assert found.table[column].tolist() == expected[column].tolist()
    assert (found.table["disagreements"] == 0).all()


@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float16"])
def test_in_every_precision_success_is_that_of_float32(images, precision):
    pictures = images("derma", 4, 10).images
    model = Convolutional(3, 7, 10).eval()
    labels = alone(model, pictures).argmax(1).numpy()
    found = dataclasses.replace(SMALL, precision=precision)(model, pictures, labels)
    decided = alone(model, found.images).argmax(1).numpy()
    assert (found.success == (decided != labels)).all() and not found.table["skipped"].any()
    assert found.success.any()


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(), MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)  # fmt: skip
def test_out_of_memory_halves_the_batch(tiny, images, error):
    model, pictures, labels, _ = problem(tiny, images)
    sizes = []

    class Small(nn.Module):
        """A model on a device that holds eight images."""

        def forward(self, batch):
            sizes.append(len(batch))
            if len(batch) > 8:
                raise error
            return model(batch)

    with pytest.warns(UserWarning) as told:
        found = SMALL(Small().eval(), pictures, labels)
    same(found.table, SMALL(model, pictures, labels).table, batch=False)
    assert [size for size in sizes if size > 8] == [30, 15] and len(told) == 2


def test_too_little_memory_for_one_image_is_said(tiny, images):
    model, pictures, labels, _ = problem(tiny, images)

    class None_(nn.Module):
        def __init__(self, most):
            super().__init__()
            self.left = most

        def forward(self, batch):
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError
            return model(batch)

    for calls in (0, 1, 2):
        with refused():
            dataclasses.replace(SMALL, batch=1)(None_(calls).eval(), pictures, labels)


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize("shape", [(0, 28, 28, 3), (0, 28, 28, 1), (0, 28, 28)])
def test_no_images_give_an_empty_result(tiny, shape):
    channels = shape[3] if len(shape) == 4 else 1
    model = tiny(channels, 28, 7).eval()
    found = SMALL(model, np.zeros(shape, np.uint8), np.zeros(0, np.int64))
    full = SMALL(model, np.zeros((1, *shape[1:]), np.uint8), [0])
    assert found.success.shape == (0,) and found.success.dtype == bool
    assert found.images.shape == shape and found.images.dtype == np.uint8
    assert len(found.table) == 0 and list(found.table) == list(full.table)
    assert list(SMALL.iterate(model, torch.zeros(shape, dtype=torch.uint8), [])) == []


class NotFinite(nn.Module):
    """Overflows on candidates, not on single images."""

    def __init__(self, model, always=False):
        super().__init__()
        self.model, self.always = model, always

    def forward(self, batch):
        return self.model(batch) * (torch.inf if self.always or len(batch) > 1 else 1)


class First(nn.Sequential):
    """Gives logits of the first image alone, however many it is given."""

    def forward(self, batch):
        return super().forward(batch[:1])


class Complex(nn.Sequential):
    """Gives complex logits, of which no order is known."""

    def forward(self, batch):
        return super().forward(batch).to(torch.complex64)


def with_dropout(model):
    """In evaluation mode, but for one layer."""
    made = nn.Sequential(model, nn.Dropout()).eval()
    made[1].train()
    return made


def instead(**given):
    return lambda model, images, labels: (
        given.get("model", lambda x: x)(model),
        given.get("images", lambda x: x)(images),
        given.get("labels", lambda x: x)(labels),
    )


WRONG = {
    "float images": instead(images=lambda x: x / 255),
    "signed images": instead(images=lambda x: x.astype(np.int16)),
    "two channels": instead(images=lambda x: x[..., :2]),
    "channels first": instead(images=lambda x: x.transpose(0, 3, 1, 2)),
    "one image": instead(images=lambda x: x[0, 0]),
    "fewer labels": instead(labels=lambda x: x[:3]),
    "float labels": instead(labels=lambda x: x.astype(float)),
    "labels too large": instead(labels=lambda x: x + 7),
    "negative labels": instead(labels=lambda x: x - 7),
    "column of labels": instead(labels=lambda x: x[:, None]),
    "labels of two shapes": instead(labels=lambda x: [[1], [1, 2], [3], [4]]),
    "images that NumPy has no type for": instead(images=lambda x: torch.tensor(x).bfloat16()),
    "one logit, which no other class can exceed": instead(
        model=lambda x: nn.Sequential(x, nn.Linear(7, 1)).eval(), labels=lambda x: x * 0
    ),
    "complex logits": instead(model=lambda x: Complex(x).eval()),
    "weights of 64 bits": instead(model=lambda x: copy.deepcopy(x).double()),
    "several labels": instead(labels=lambda x: np.eye(7, dtype=int)[x]),
    "several labels of another number": instead(labels=lambda x: np.eye(9, dtype=int)[x]),
    "training mode": instead(model=lambda x: x.train()),
    "a part in training mode": instead(model=with_dropout),
    "no module": instead(model=lambda x: x.forward),
    "gray images for a color model": instead(images=lambda x: x[..., 0]),
    "another size": instead(images=lambda x: x[:, :20, :20]),
    "no logits": instead(model=lambda x: nn.Sequential(x, nn.Flatten(0)).eval()),
    "infinite logits": instead(model=lambda x: NotFinite(x, always=True).eval()),
    "logits of one image for all": instead(model=lambda x: First(x).eval()),
    "infinite logits of candidates": instead(model=lambda x: NotFinite(x).eval()),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_named(images, tiny, name):
    model, pictures, labels, _ = problem(tiny, images, count=4)
    with refused():
        SMALL(*WRONG[name](model, pictures, labels))


@pytest.mark.parametrize(
    "criterion",
    [
        lambda x, y: x.sum(1),
        lambda x, y: (x.sum(), x.argmax(1) != y),
        lambda x, y: (x.argmax(1), x.argmax(1) != y),
        lambda x, y: (x[:, 0], x[:, 0]),
        lambda x, y: (x.mean().view(1), (x.argmax(1) != y).any().view(1)),
        lambda x: (x[:, 0], x[:, 0] > 0),
        lambda x, y: (x[:, 0] * torch.nan, x[:, 0] > torch.inf),
        AnyLabelChange(),
    ],
)
def test_criteria_that_do_not_fit_are_named(images, tiny, criterion):
    model, pictures, labels, _ = problem(tiny, images, count=4)
    with refused():
        dataclasses.replace(SMALL, criterion=criterion)(model, pictures, labels)


def test_more_pixels_than_the_image_has_are_refused(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=1)
    with refused():
        dataclasses.replace(SMALL, pixels=28 * 28 + 1)(model, pictures, labels)
    assert (
        len(dataclasses.replace(SMALL, pixels=20)(model, pictures, labels).table["rows"][0]) == 20
    )


def test_keys_that_do_not_fit_are_named(tiny, images):
    model, pictures, labels, _ = problem(tiny, images, count=2)
    for keys in ([1], [0.5, 1.5], [[1, 2]]):
        with refused():
            SMALL(model, pictures, labels, keys)
