"""The classifiers: torchvision's networks, gray inside, training, saving, errors."""

import json
import re
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest
import torch
import torchvision
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from lib import params
from lib.data import unit
from lib.metrics import classification
from lib.models import classifier_training, classifiers, fit_classifier, pretrained
from lib.models.classifiers import Classifier
from lib.models.weights import checksums
from lib.params.files import md5


@pytest.fixture(scope="module")
def networks():
    """Both networks at the smallest size, made once."""
    torch.manual_seed(0)
    return {name: Classifier(name, 5, 28).eval() for name in classifiers.NETWORKS}


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_forward_is_torchvisions_on_the_normalized_image(networks, name):
    model = networks[name]
    reference = getattr(torchvision.models, name)(num_classes=5).eval()
    reference.load_state_dict(model.network.state_dict())
    size = {"resnet50": 28, "densenet121": 32}[name]
    assert model.input_size == size
    images = torch.rand(3, 3, size, size)
    normalize = torchvision.transforms.Normalize(classifiers.MEAN, classifiers.STD)
    with torch.no_grad():
        assert torch.allclose(model(images), reference(normalize(images)), atol=1e-5)


def test_a_gray_image_is_repeated_inside(networks):
    gray = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        same = networks["resnet50"](gray.expand(-1, 3, -1, -1))
        assert torch.allclose(networks["resnet50"](gray), same, atol=1e-6)


def test_enlarging_keeps_one_pixel_one_value(networks):
    images = torch.zeros(1, 3, 28, 28)
    images[0, :, 13, 7] = 1
    large = networks["densenet121"].prepare(images)
    values = torch.unique(large[0, 0])
    assert large.shape[-1] == 32 and len(values) == 2


def test_logits_do_not_depend_on_the_batch(networks):
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28, 3), dtype=np.uint8)
    whole = classifiers.logits(networks["resnet50"], images)
    parts = classifiers.logits(networks["resnet50"], images, batch=2)
    assert np.allclose(whole, parts, atol=1e-4)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("shape", [(0, 28, 28, 3), (0, 28, 28, 1), (0, 28, 28)])
def test_no_images_have_no_logits_and_no_decisions(networks, shape):
    none = np.empty(shape, np.uint8)
    assert classifiers.logits(networks["resnet50"], none).shape == (0, 5)
    assert classifiers.classify(networks["resnet50"], none).shape == (0,)
    assert classifiers.classify(networks["resnet50"], none, multi_label=True).shape == (0, 5)
    foreign = torchvision.models.resnet18(num_classes=3)
    assert classifiers.logits(foreign, np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 3)


def test_logits_are_float32_inside_autocast_and_leave_the_model_as_it_was(networks):
    model, images = networks["resnet50"], np.full((2, 28, 28, 3), 90, np.uint8)
    expected = classifiers.logits(model, images)
    model.train()
    model.network.layer1.eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = classifiers.logits(model, images, "auto")
    assert model.training and not model.network.layer1.training
    model.eval()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def leaning(images):
    """Equal logits, but for a rounding that favors the second class in a batch of several."""
    values = torch.zeros(len(images), 2)
    values[:, 0] = images.amax((1, 2, 3)) + 1e-6
    values[:, 1] = 1e-5 * (len(images) - 1)
    return values


def test_a_borderline_image_is_decided_as_if_it_were_alone():
    images = np.zeros((3, 8, 8, 1), np.uint8)
    images[2] = 255
    assert classifiers.logits(leaning, images).argmax(1).tolist() == [1, 1, 0]
    assert classifiers.logits(leaning, images[:1]).argmax(1).tolist() == [0]
    assert classifiers.classify(leaning, images).tolist() == [0, 0, 0]
    labels = classifiers.classify(lambda x: leaning(x) - 5e-6, images, multi_label=True)
    assert labels.tolist() == [[0, 0], [0, 0], [1, 0]]


def test_large_logits_round_more_and_are_decided_alone_too():
    images = np.zeros((3, 8, 8, 1), np.uint8)

    def large(x):
        values = torch.full((len(x), 2), 1e4)
        values[:, 1] += 0.02 * (len(x) - 2)
        return values

    alone = classifiers.classify(large, images[:1]).tolist()
    assert classifiers.classify(large, images).tolist() == alone * 3


def test_logits_that_are_none_decide_nothing():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    for wrong in (lambda x: leaning(x) * float("nan"), lambda x: leaning(x) / 0, torch.zeros_like,
                  lambda x: x.amax((1, 2, 3))):  # fmt: skip
        with refused():
            classifiers.logits(wrong, images)
        with refused():
            classifiers.classify(wrong, images)
    with refused():
        classifiers.decide(np.full((2, 2), np.nan), True)
    for known in (np.zeros((1, 2)), np.zeros((2, 0)), [[0, np.nan], [0, 1]]):
        with refused():
            classifiers.classify(leaning, images, values=known)
    for threshold in (0, 1, 5, float("nan"), "x"):
        with refused("threshold"):
            classifiers.classify(leaning, images, True, threshold)


def test_decisions_and_their_text():
    values = np.array([[0.1, 2.0, -3.0], [-1.0, -2.0, 0.0]])
    assert classifiers.as_text(classifiers.decide(values, False)) == [1, 2]
    assert classifiers.as_text(classifiers.decide(values, True)) == ["110", "000"]
    assert classifiers.as_text(classifiers.decide(values, True, 0.9)) == ["000", "000"]
    assert classifiers.as_text(classifiers.decide(values, True, 0.2)) == ["110", "101"]


def test_save_and_load_give_the_same_network_and_torchvisions_names(networks, tmp_path):
    classifiers.save(networks["densenet121"], tmp_path, task="single-label")
    again = classifiers.load(tmp_path, "densenet121")
    images = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.allclose(again(images), networks["densenet121"](images), atol=1e-5)
    reference = torchvision.models.densenet121(num_classes=5)
    reference.load_state_dict(load_file(tmp_path / "classifier.safetensors"))
    about = json.loads((tmp_path / "classifier.json").read_text())
    assert about["architecture"] == "densenet121" and about["classes"] == 5
    assert (about["image_size"], about["input_size"]) == (28, 32)
    assert about["mean"] == list(classifiers.MEAN) and about["std"] == list(classifiers.STD)


def test_wrong_weights_are_named(networks, tmp_path):
    with refused(tmp_path / "classifier.json"):
        classifiers.load(tmp_path)
    classifiers.save(networks["densenet121"], tmp_path)
    about = json.loads((tmp_path / "classifier.json").read_text())
    weights = tmp_path / "classifier.safetensors"
    assert about["weights_md5"] == md5(weights)
    assert checksums(tmp_path, ["identity", "median3+patches"]) == {"classifier": md5(weights)}
    with refused("dae.safetensors"):
        checksums(tmp_path, ["dae+patches"])
    with refused("densenet121", "resnet50"):
        classifiers.load(tmp_path, "resnet50")
    save_file({"x": torch.zeros(2)}, weights)
    with refused(weights, "densenet121"):
        classifiers.load(tmp_path)
    weights.write_bytes(weights.read_bytes()[:20])
    with refused(weights):
        classifiers.load(tmp_path)
    weights.unlink()
    with refused(weights):
        classifiers.load(tmp_path)
    with refused("'vgg'"):
        Classifier("vgg", 5, 28)


def colored(images, name="derma", count=120):
    """Images whose class shows in their brightness, so that a few steps learn something."""
    data = images(name, count)
    data.part[:] = (["train"] * 3 + ["val", "test"]) * (count // 5)
    level = data.labels if data.labels.ndim == 1 else data.labels.argmax(1)
    data.images[:] = (data.images // 8 + 30 * level[:, None, None, None]).astype(np.uint8)
    return data


def fitted(data, see=None, **given):
    """A network trained on the images' parts, and its history; ``see`` is shown what it is fed."""
    torch.manual_seed(0)
    model = Classifier("resnet50", len(data.facts.classes), data.size)
    if see:
        model.register_forward_pre_hook(lambda network, fed: see(network.training, fed[0].clone()))
    train, val = data.in_part("train"), data.in_part("val")
    settings = {"epochs": 2, "batch": 16, "optimizer": "adamw", "learning_rate": 0.003} | given
    return model, fit_classifier(
        model, train.images, train.labels, val.images, val.labels, **settings
    )


@pytest.mark.parametrize("name", ["derma", "chest"])
def test_training_learns_and_resumes(small, images, tmp_path, name):
    data = colored(images, name)
    model, history = fitted(data, checkpoint=tmp_path / "c")
    assert len(history) == 2 and not model.training
    assert history[1]["loss"] < history[0]["loss"]
    again, same = fitted(data, checkpoint=tmp_path / "c")
    assert same == history
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    _, other = fitted(data, checkpoint=tmp_path / "c", seed=1)
    assert other != history


def test_bad_input_of_training(small, images):
    data = colored(images).take(slice(0, 5))
    with refused("'adam'"):
        fitted(data, optimizer="adam")
    with refused("'cycle'"):
        fitted(data, schedule="cycle")
    with refused("'float64'"):
        fitted(data, precision="float64")
    with refused(2, 3):
        pictures = np.zeros((3, 28, 28, 3), np.uint8)
        fit_classifier(Classifier("resnet50", 2, 28), pictures, np.zeros(2, int), pictures, None)
    with refused():
        fitted(data.take(slice(2, 4)))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28 * 3, 1), nn.Flatten(0))
    with refused():  # one number an image, without a dimension of classes
        fit_classifier(flat, pictures, np.zeros(3, int), pictures, np.zeros(3, int))


def test_sizes_grow_and_only_the_last_may_stop(small, images):
    data = colored(images)
    data = replace(data, images=data.images.repeat(2, 1).repeat(2, 2))
    seen = []
    _, history = fitted(data, lambda *fed: seen.append(fed), sizes=[32, 56], stop=(-1, -1))
    assert [epoch["size"] for epoch in history] == [32, 56]
    assert {x.shape[-1] for training, x in seen if training} == {32, 56}
    assert {x.shape[-1] for training, x in seen if not training} == {56}


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32)])
def test_images_keep_their_shape_at_every_size(height, width):
    seen, model = set(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    model.register_forward_pre_hook(lambda net, fed: seen.add((net.training, *fed[0].shape[2:])))
    images = np.zeros((8, height, width, 3), np.uint8)
    labels = np.arange(8) % 2
    for sizes in ((), (16, 32)):
        seen.clear()
        fit_classifier(model, images, labels, images, labels, sizes=sizes, epochs=2, batch=4)
        expected = {(True, height * size // 32, width * size // 32) for size in sizes or [32]}
        assert seen == expected | {(False, height, width)}


def test_measuring_costs_less_than_the_steps_at_a_small_size():
    fed, model = [], nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    model.register_forward_pre_hook(lambda net, x: fed.append((net.training, x[0])))
    images = np.random.default_rng(0).integers(0, 256, (900, 32, 32, 3), np.uint8)
    labels = np.arange(900) % 2
    given = {"epochs": 2, "batch": 50, "sizes": [16, 32]}
    fit_classifier(model, images, labels, images[:400], labels[:400], **given)
    # Of one epoch after the other; a first image only shows how many logits the model has.
    parts = [[x for _, x in of] for _, of in groupby(fed[1:], key=itemgetter(0))]
    costs = [sum(len(x) * x.shape[2] * x.shape[3] for x in part) for part in parts]
    assert costs[::2] == [900 * 16**2, 900 * 32**2]
    # A step costs about three evaluations of as many pixels.
    assert 0 < costs[1] <= 3 * costs[0] / 2
    # At the last size the stopping rule needs them all. A batch may be filled up.
    assert len(costs) == 4 and 1 <= costs[3] / ((400 + 800) * 32**2) < 1.05


def test_masks_hide_parts_of_training_images_alone(small, images):
    data, seen = colored(images), []
    stored = unit(torch.from_numpy(data.images).permute(0, 3, 1, 2))
    fitted(data, lambda *fed: seen.append(fed), masking=7, epochs=1)
    assert seen
    for training, batch in seen:
        for image in batch:
            hidden = (stored != image).any(1).sum((1, 2)).min()
            assert 0 < hidden <= 2 * 7**2 if training else hidden == 0
    with refused(29):
        fitted(data, masking=29)


def test_the_stopping_rule_reads_float32():
    kinds, model = set(), Flat()
    model.register_forward_hook(lambda net, _, found: kinds.add((net.training, found.dtype)))
    trained(model=model, precision="bfloat16")
    assert kinds == {(True, torch.bfloat16), (False, torch.float32)}


def test_a_finished_classifier_is_read_back_and_other_settings_train_anew(small, images, tmp_path):
    data = colored(images)
    p = params.load("demo", "derma", "resnet50", classifier_epochs=1, classifier_paper_epochs=1)
    model, about = classifier_training.train(data, p, tmp_path)
    assert len(about["history"]) == len(about["paper_optimizer_history"]) == 1
    assert about["start"] == "random" and about["training_images"] == 72
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"classifier.safetensors", "classifier.json"}
    written = (tmp_path / "classifier.safetensors").stat().st_mtime_ns
    again, same = classifier_training.train(data, p, tmp_path)
    assert same == about and (tmp_path / "classifier.safetensors").stat().st_mtime_ns == written
    with torch.no_grad():
        x = torch.rand(2, 3, 28, 28)
        assert torch.allclose(model.eval()(x), again(x), atol=1e-5)
    other = p.model_copy(update={"seed": 1, "classifier_paper_epochs": 0})
    _, different = classifier_training.train(data, other, tmp_path)
    assert different["history"] != about["history"]
    assert different["paper_optimizer_history"] is None


def test_stopping_rule(small, images):
    data = colored(images)
    _, history = fitted(data, stop=(0.0, 0.0), epochs=3)
    assert len(history) == 1 or history[0]["validation_accuracy"] == 0
    _, history = fitted(data, stop=(-1.0, 1.0), epochs=2)
    assert len(history) == 2


def test_papers_optimizer_is_the_papers():
    paper = params.load("paper")
    for name, value in classifier_training.PAPER.items():
        assert getattr(paper, f"classifier_{name}") == value


def test_chest_trains_without_normal_unless_asked(images):
    data = colored(images, "chest")
    without = classifier_training.training_images(data, params.load("paper", "chest"))
    with_normal = classifier_training.training_images(
        data, params.load("paper", "chest", classifier_include_normal=True)
    )
    assert without.labels.any(1).all() and not with_normal.labels.any(1).all()
    limited = params.load("paper", "chest", classifier_train_limit=10)
    assert len(classifier_training.training_images(data, limited)) == 10


def test_imagenet_weights_fall_back_only_where_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))  # an empty cache
    monkeypatch.setattr(pretrained, "unreachable", lambda url: "no network")
    assert pretrained.start_weights("resnet50", "auto") is None
    assert pretrained.start_weights("resnet50", "random") is None
    with refused("no network"):
        pretrained.start_weights("resnet50", "imagenet")


@pytest.fixture
def published(monkeypatch):
    """ImageNet weights as torchvision's file has them: of an older form, with other names."""
    source = torchvision.models.densenet121()
    file = {
        re.sub(r"(denselayer\d+)\.(norm|relu|conv)(\d)\.", r"\1.\2.\3.", name): value
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert file.keys() != source.state_dict().keys()
    weights = torchvision.models.DenseNet121_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **_: dict(file))
    monkeypatch.setattr(pretrained, "unreachable", lambda url: "")
    return source


def test_imagenet_weights_fill_all_but_the_last_layer(images, published, tmp_path):
    data = colored(images)
    p = params.load(
        "demo", "derma", "densenet121", classifier_epochs=1, classifier_weights="auto",
        classifier_learning_rate=1e-12, classifier_optimizer="sgd", classifier_momentum=0.0,
        classifier_weight_decay=0.0, classifier_paper_epochs=0,
    )  # fmt: skip
    model, about = classifier_training.train(data, p, tmp_path)
    own, theirs = dict(model.network.named_parameters()), dict(published.named_parameters())
    assert about["start"] == "imagenet"
    assert all(torch.allclose(own[name], theirs[name], atol=1e-6)
               for name in own if "classifier" not in name)  # fmt: skip
    assert own["classifier.weight"].shape == (7, 1024)


def test_measures_of_a_single_label_set():
    facts = params.facts("oct")
    labels, decisions = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 3])
    assert classification.by_class(labels, decisions, facts)["correct"].tolist() == [2, 1, 0, 0]
    found = classification.summary(labels, decisions, np.zeros((5, 4)), facts)
    assert found["correct"] == 3 and found["accuracy"] == 0.6 and found["majority_accuracy"] == 0.6


def test_measures_of_a_multi_label_set():
    facts = params.facts("chest")
    labels = np.zeros((4, 14), dtype=np.uint8)
    labels[0, 2] = labels[1, 2] = labels[1, 5] = 1
    decisions = np.zeros_like(labels)
    decisions[0, 2] = decisions[2, 5] = 1
    scores = np.tile(np.array([[3.0], [2.0], [1.0], [0.0]]), (1, 14))
    found = classification.summary(labels, decisions, scores, facts)
    assert found["correct"] == 2 and found["accuracy"] == 0.5
    assert found["label_accuracy"] == pytest.approx(1 - 3 / 56)
    assert found["all_zero_accuracy"] == 0.5
    assert found["all_zero_label_accuracy"] == pytest.approx(1 - 3 / 56)
    assert found["auc"]["effusion"] == 1.0 and found["auc"]["hernia"] is None
    assert found["auc"]["nodule"] == pytest.approx(2 / 3)
    table = classification.by_class(labels, decisions, facts).set_index("class")
    assert table.loc["effusion", ["images", "decided", "correct"]].tolist() == [2, 1, 1]
    assert table.loc["nodule", "precision"] == 0


@pytest.mark.parametrize("name", ["oct", "chest"])
def test_measures_of_no_images(name):
    facts = params.facts(name)
    count = len(facts.classes)
    none = np.empty((0, count) if facts.multi_label else 0, np.int64)
    found = classification.summary(none, none, np.empty((0, count)), facts)
    assert found["images"] == found["correct"] == 0 and np.isnan(found["accuracy"])
    assert np.isnan(classification.accuracy(none, none))
    table = classification.by_class(none, none, facts)
    assert len(table) == count and (table[["images", "precision", "recall", "f1"]] == 0).all(
        axis=None
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
)
def test_measures_are_those_of_scikit_learn(pairs):
    from sklearn import metrics

    labels, decisions = np.array(pairs).T
    facts = params.facts("oct")
    expected = metrics.precision_recall_fscore_support(
        labels, decisions, labels=range(4), zero_division=0
    )
    table = classification.by_class(labels, decisions, facts)
    for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        np.testing.assert_allclose(table[name], values)
    np.testing.assert_array_equal(
        classification.confusion(labels, decisions, facts),
        metrics.confusion_matrix(labels, decisions, labels=range(4)),
    )


# ---- what users bring


class Flat(nn.Module):
    """A small classifier of images of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images):
        return self.layer(images.flatten(1))


PICTURES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
CLASSES = np.array([0, 1, 2, 0, 1, 2])


def trained(labels=CLASSES, model=None, **given):
    """Loss of one epoch."""
    given = {"validation_labels": labels} | given
    return fit_classifier(
        model or Flat(), PICTURES, labels, PICTURES, epochs=1, **given
    )[0]["loss"]  # fmt: skip


@pytest.mark.parametrize(
    "labels", [CLASSES.tolist(), torch.tensor(CLASSES), CLASSES.astype(">i8"), CLASSES[::-1][::-1]]
)
def test_labels_of_any_kind_train_alike(labels):
    assert trained(labels) == trained()


def test_training_needs_no_gradients_of_its_caller():
    expected = trained()
    model = Flat()
    with torch.inference_mode():
        assert trained(model=model) == expected and torch.is_inference_mode_enabled()
    with torch.no_grad():
        assert trained() == expected and not torch.is_grad_enabled()


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": None}, {"labels": [[1], [1, 2], [1], [1], [1], [1]]},
        {"labels": 2 * np.eye(4, dtype=int)[CLASSES]}, {"labels": CLASSES[:, None]},
        {"validation_labels": np.eye(4, dtype=int)[CLASSES]}, {"sizes": 8}, {"stop": 0.9},
        {"batch": 1},
        {"stop": ("a", "b")}, {"seed": 1 << 62}, {"seed": 0.5}, {"model": lambda x: x},
        {"model": Flat().requires_grad_(False)}, {"model": nn.Flatten()}, {"model": Flat().half()},
        {"model": Flat().to("meta")}, {"checkpoint": "/proc/x/y"},
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_named(wrong):
    with refused():
        trained(**wrong)


def test_seeds_of_numpy_and_checkpoints_by_name(tmp_path):
    assert trained(seed=np.int64(1 << 40)) == trained(seed=1 << 40)
    trained(checkpoint=f"{tmp_path}/c")
    assert trained(checkpoint=tmp_path / "c") == trained()


@pytest.mark.parametrize("shape", [(3,), (6, 1), ()])
def test_labels_and_decisions_of_two_shapes_are_not_compared(shape):
    with refused():
        classification.right(CLASSES, np.zeros(shape, int))


@pytest.mark.parametrize(
    "wrong",
    [
        {"architecture": ["resnet50"]}, {"classes": 0}, {"image_size": -28}, {"mean": (1, 2)},
        {"std": (0, 0, 0)}, {"input_size": 0.5}, {"input_size": 0}, {"input_size": 27},
        {"mean": (0, 0, float("inf"))},
    ],
)  # fmt: skip
def test_a_classifier_has_possible_sizes(wrong):
    with refused():
        Classifier(**({"architecture": "resnet50", "classes": 2, "image_size": 28} | wrong))
