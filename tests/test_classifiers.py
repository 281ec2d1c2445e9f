"""The classifiers: torchvision's networks, gray inside, training, saving, errors."""

import json
import re

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from lib import params
from lib.metrics import classification
from lib.models import classifier_training, classifiers
from lib.models.classifiers import Classifier
from lib.params.errors import InputError

CPU = torch.device("cpu")


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
    whole = classifiers.logits(networks["resnet50"], images, CPU)
    parts = classifiers.logits(networks["resnet50"], images, CPU, batch=2)
    assert np.allclose(whole, parts, atol=1e-4)
    assert classifiers.logits(networks["resnet50"], images[:0], CPU).shape == (0, 5)


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
    with pytest.raises(InputError, match="classifier.json is missing"):
        classifiers.load(tmp_path)
    classifiers.save(networks["densenet121"], tmp_path)
    with pytest.raises(InputError, match="holds a densenet121, not a resnet50"):
        classifiers.load(tmp_path, "resnet50")
    weights = tmp_path / "classifier.safetensors"
    save_file({"x": torch.zeros(2)}, weights)
    with pytest.raises(InputError, match="does not fit a densenet121 with 5 classes"):
        classifiers.load(tmp_path)
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(InputError, match="cut short or damaged"):
        classifiers.load(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match="safetensors is missing"):
        classifiers.load(tmp_path)
    with pytest.raises(InputError, match="Unknown classifier 'vgg'"):
        Classifier("vgg", 5, 28)


def colored(images, name="derma", count=120):
    """Images whose class shows in their brightness, so that a few steps learn something."""
    data = images(name, count)
    data.part[:] = (["train"] * 3 + ["val", "test"]) * (count // 5)
    level = data.labels if data.labels.ndim == 1 else data.labels.argmax(1)
    data.images[:] = (data.images // 8 + 30 * level[:, None, None, None]).astype(np.uint8)
    return data


@pytest.mark.parametrize("name", ["derma", "chest"])
def test_training_learns_and_resumes(images, tmp_path, name):
    data = colored(images, name)
    p = params.load(
        "demo", name, "densenet121", classifier_epochs=2, classifier_batch=16,
        classifier_learning_rate=0.003,
    )  # fmt: skip
    model, history = classifier_training.fit_classifier(data, p, tmp_path / "c")
    assert len(history) == 2
    assert history[1]["loss"] < history[0]["loss"]
    again, same = classifier_training.fit_classifier(data, p, tmp_path / "c")
    assert same == history
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_classifier_is_read_back_and_other_settings_train_anew(images, tmp_path):
    data = colored(images)
    p = params.load("demo", "derma", "densenet121", classifier_epochs=1, classifier_paper_epochs=1)
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


def test_papers_stop_rule_looks_at_the_validation_part(images, tmp_path):
    data = colored(images)
    p = params.load(
        "paper", "derma", "densenet121", classifier_weights="random", classifier_epochs=3,
        classifier_stop_train=0.0, classifier_stop_validation=0.0,
    )  # fmt: skip
    _, history = classifier_training.fit_classifier(data, p, tmp_path / "c")
    assert len(history) == 1 or history[0]["validation_accuracy"] == 0
    assert {"train_accuracy", "validation_accuracy"} <= history[0].keys()


def test_papers_optimizer_is_the_papers():
    p = classifier_training.paper_optimizer(params.load("compact"))
    paper = params.load("paper")
    for field in ("optimizer", "schedule", "learning_rate", "momentum", "weight_decay", "batch"):
        assert getattr(p, f"classifier_{field}") == getattr(paper, f"classifier_{field}")


def test_chest_trains_without_normal_unless_asked(images):
    data = colored(images, "chest")
    without = classifier_training.training_images(data, params.load("paper", "chest"))
    with_normal = classifier_training.training_images(
        data, params.load("paper", "chest", classifier_include_normal=True)
    )
    assert without.labels.any(1).all() and not with_normal.labels.any(1).all()
    limited = params.load("paper", "chest", classifier_train_limit=10)
    assert len(classifier_training.training_images(data, limited)) == 10


def test_too_few_training_images(images):
    data = colored(images).take(slice(0, 1))
    with pytest.raises(InputError, match="derma has 1 training images"):
        classifier_training.training_images(data, params.load())


def test_imagenet_weights_fall_back_only_where_allowed(networks, monkeypatch):
    monkeypatch.setattr(classifier_training, "_imagenet", lambda architecture: None)
    assert classifier_training.start_weights("resnet50", "auto") is None
    with pytest.raises(InputError, match="set classifier_weights to 'random', or 'auto'"):
        classifier_training.start_weights("resnet50", "imagenet")


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
    return source


def test_imagenet_weights_fill_all_but_the_last_layer(images, published, tmp_path):
    data = colored(images)
    p = params.load("demo", "derma", "densenet121").model_copy(update={"classifier_epochs": 0})
    start = classifier_training.start_weights("densenet121", "imagenet")
    model, _ = classifier_training.fit_classifier(data, p, tmp_path / "c", start)
    plain, _ = classifier_training.fit_classifier(data, p, tmp_path / "c")
    own, theirs = model.network.state_dict(), published.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own if "classifier" not in name)
    assert own["classifier.weight"].shape == (7, 1024)
    assert not torch.equal(plain.network.features.conv0.weight, own["features.conv0.weight"])


def test_the_start_is_decided_once_and_is_part_of_the_checkpoint(
    images, published, tmp_path, monkeypatch
):
    data = colored(images)
    p = params.load(
        "demo", "derma", "densenet121", classifier_epochs=1, classifier_weights="auto",
        classifier_paper_epochs=1,
    )  # fmt: skip
    _, random = classifier_training.fit_classifier(data, p, tmp_path / ".classifier.safetensors")
    tried = []
    get = classifier_training._imagenet
    monkeypatch.setattr(
        classifier_training, "_imagenet", lambda name: tried.append(name) or get(name)
    )
    _, about = classifier_training.train(data, p, tmp_path)
    assert tried == ["densenet121"] and about["start"] == "imagenet"
    assert about["history"][0]["loss"] != random[0]["loss"]  # not the checkpoint of another start


def test_measures_of_a_single_label_set():
    facts = params.facts("oct")
    labels, decisions = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 3])
    table = classification.by_class(labels, decisions, facts).set_index("class")
    assert table["images"].tolist() == [3, 1, 1, 0] and table["correct"].tolist() == [2, 1, 0, 0]
    assert table["precision"].tolist() == [1, 0.5, 0, 0]
    assert table["recall"].round(4).tolist() == [0.6667, 1, 0, 0]
    matrix = classification.confusion(labels, decisions, facts)
    assert matrix[0].tolist() == [2, 1, 0, 0] and matrix.sum() == 5
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
