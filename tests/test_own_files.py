"""Weights that users bring: checked, never changed, and named in what rests on them."""

import json
import pickle
import shutil

import pytest
import torch
from conftest import refused
from safetensors.torch import load_file, save_file

from lib import params
from lib.models import classifier_training, classifiers, pretrained
from lib.params.errors import InputError
from lib.params.files import md5
from lib.params.own_files import recorded
from lib.params.runs import Run

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def good():
    """A state dict for Derma."""
    return classifiers.Classifier("resnet50", 7, 28).network.state_dict()


def bring(state, folder, **beside):
    path = folder / "mine.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    if beside:
        (folder / "mine.json").write_text(json.dumps(beside), encoding="utf-8")
    return classifiers.bring(path, "resnet50", 7, 28)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state,
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
        lambda state: {f"network.{name}": value for name, value in state.items()},
        lambda state: {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")},
        lambda state: {n: v.double() if v.is_floating_point() else v for n, v in state.items()},
    ],
)
def test_the_same_weights_in_other_clothes(good, tmp_path, change):
    model = bring(change(good), tmp_path)
    assert not model.training
    for name, value in model.network.state_dict().items():
        assert value.dtype == good[name].dtype and torch.equal(value, good[name]), name


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_become_float32(good, tmp_path, kind):
    model = bring(
        {n: v.to(kind) if v.is_floating_point() else v for n, v in good.items()}, tmp_path
    )
    value = model.network.conv1.weight
    assert value.dtype == torch.float32 and torch.equal(
        value, good["conv1.weight"].to(kind).float()
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("fc.weight", torch.zeros(1000, 4), "1000"),
        ("conv1.weight", torch.zeros(4, 1, 3, 3), "conv1.weight"),
        ("bn1.running_mean", torch.tensor([0, 0, float("nan"), 0]), "bn1.running_mean"),
        ("fc.bias", torch.tensor([float("inf")] * 7), "fc.bias"),
        ("bn1.running_var", torch.tensor([1.0, 1, -1, 1]), "bn1.running_var"),
        ("fc.weight", torch.zeros(7, 4, dtype=torch.int8), "int8"),
        ("fc.weight", None, "fc.weight"),
        ("fc.1.weight", torch.zeros(7, 4), "fc.1.weight"),
        ("fc.bias", torch.full((7,), 1e300, dtype=torch.float64), "fc.bias"),
    ],
)
def test_what_does_not_fit_is_named(good, tmp_path, name, value, said):
    state = {**good, name: value}
    state = {key: tensor for key, tensor in state.items() if tensor is not None}
    with refused(said, tmp_path / "mine.safetensors"):
        bring(state, tmp_path)


def damaged(path, good):
    """Files that hold no weights, by what is wrong with them."""
    save_file(good, path)
    whole = path.read_bytes()
    yield "cut", whole[: len(whole) // 2]
    yield "cut in the header", whole[:20]
    yield "empty", b""
    yield "pickle", pickle.dumps({"fc.weight": [0.0]})
    torch.save(good, path)
    yield "torch", path.read_bytes()
    torch.save(good, path, _use_new_zipfile_serialization=False)
    yield "old torch", path.read_bytes()
    yield "text", b"version https://git-lfs.github.com/spec/v1\n"


def test_files_that_hold_no_weights(good, tmp_path):
    path = tmp_path / "mine.safetensors"
    for what, content in damaged(path, good):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            classifiers.bring(path, "resnet50", 7, 28)
        message = str(error.value)
        assert str(path) in message and "\n" not in message, what
        assert ("weights_only" in message) == (what in ("pickle", "torch", "old torch")), message
        assert path.read_bytes() == content


def test_a_header_that_begins_like_a_pickle_is_read(good, tmp_path):
    """The first byte is the length of the header, which may be any."""
    path = tmp_path / "mine.safetensors"
    for padding in range(300):
        save_file(good, path, {"x": " " * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    classifiers.bring(path, "resnet50", 7, 28)


def test_a_file_beside_says_how_images_enter(good, tmp_path):
    model = bring(good, tmp_path, mean=[0.5, 0.5, 0.5], std=[0.25, 0.5, 1], input_size=56, other=1)
    assert model.input_size == 56
    black = model.prepare(torch.zeros(1, 3, 28, 28))
    assert black.shape == (1, 3, 56, 56) and black[0, :, 0, 0].tolist() == [-2.0, -1.0, -0.5]
    classifiers.save(model, tmp_path / "run")
    again = classifiers.load(tmp_path / "run")
    assert torch.equal(again.prepare(torch.zeros(1, 3, 28, 28)), black)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"architecture": "densenet121"}, "densenet121"), ({"classes": 5}, "classes"),
        ({"image_size": 64}, "image_size"), ({"input_size": 20}, "input_size"),
        ({"mean": [0.5]}, "mean"), ({"std": [1, 0, 1]}, "std"), ({"mean": None}, "mean"),
        ({"input_size": "56"}, "input_size"), ({"std": [1, float("nan"), 1]}, "std"),
    ],
)  # fmt: skip
def test_a_file_beside_that_says_another_network(good, tmp_path, beside, said):
    with refused(said, tmp_path / "mine.json"):
        bring(good, tmp_path, **beside)


def run(data, folder, path, **given):
    p = params.load("demo", "derma", runs=str(folder), classifier_weights=str(path), **given)
    model, about = classifier_training.train(data, p, p.run_folder)
    Run(p.run_folder, "classifier", p, data.provenance.as_dict()).finish()
    return p, model, about


def test_results_say_what_they_rest_on(good, images, tmp_path):
    bring(good, tmp_path)
    path, data = tmp_path / "mine.safetensors", images("derma", 12)
    before = path.read_bytes(), path.stat().st_mtime_ns
    p, model, about = run(data, tmp_path / "runs", path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert torch.equal(model.network.fc.weight, good["fc.weight"])
    assert about["own_weights"]["md5"] == md5(path) and about["start"] == "own"
    assert about["history"] == [] and about["mean"] == list(classifiers.MEAN)
    written = load_file(p.run_folder / "classifier.safetensors")
    assert torch.equal(written["fc.weight"], good["fc.weight"])
    record = (p.run_folder / "run.json").read_text(encoding="utf-8")
    assert md5(path) in record and str(tmp_path) not in record
    assert str(tmp_path) not in json.dumps(about)
    assert p.protocol_folder != params.load("demo", runs=str(tmp_path / "runs")).protocol_folder

    # The same file elsewhere is the same run; another file of this name is another.
    (tmp_path / "other").mkdir()
    shutil.copy(path, tmp_path / "other" / path.name)
    assert run(data, tmp_path / "runs", tmp_path / "other" / path.name)[0].run_name == p.run_name
    bring({**good, "fc.bias": good["fc.bias"] + 1}, tmp_path)
    q, other, _ = run(data, tmp_path / "runs", path)
    assert q.run_name != p.run_name and not torch.equal(other.network.fc.bias, good["fc.bias"])
    assert torch.equal(
        load_file(p.run_folder / "classifier.safetensors")["fc.bias"], good["fc.bias"]
    )


def test_a_file_in_the_run_folder_is_never_written_over(good, images, tmp_path):
    bring(good, tmp_path)
    p = params.load(
        "demo", runs=str(tmp_path), classifier_weights=str(tmp_path / "mine.safetensors")
    )
    p.run_folder.mkdir(parents=True)
    inside = p.run_folder / "classifier.safetensors"
    shutil.copy(tmp_path / "mine.safetensors", inside)
    content = inside.read_bytes()
    same = params.load("demo", runs=str(tmp_path), classifier_weights=str(inside))
    with refused(inside):
        classifier_training.train(images("derma", 12), same, inside.parent)
    assert inside.read_bytes() == content


def test_weights_put_where_the_run_keeps_its_own_are_seen(good, tmp_path):
    model = bring(good, tmp_path)
    classifiers.save(model, tmp_path / "run")
    path = tmp_path / "run" / "classifier.safetensors"
    foreign = {**good, "fc.bias": good["fc.bias"] + 1}
    for state, said in (
        (foreign, "MD5"), ({**good, "fc.bias": torch.zeros(9)}, "fc.bias"),
        ({"module.x": torch.zeros(1)}, "resnet50 with 7 classes"),
    ):  # fmt: skip
        save_file(state, path)
        with refused(said):
            classifiers.load(tmp_path / "run")
    (tmp_path / "run" / "classifier.json").write_text('{"classes": 7}', encoding="utf-8")
    with refused("architecture"):
        classifiers.load(tmp_path / "run")


@pytest.mark.parametrize(
    "value", ["imagnet", "", "weights.pth", ".", "~nobody-of-this-name/x", "a\0b", "x" * 5000]
)
def test_what_names_no_file_is_refused_at_once(value):
    with refused():
        params.load("demo", classifier_weights=value)


def test_relative_paths_and_the_home_folder(good, tmp_path, monkeypatch):
    bring(good, tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert params.load("demo", classifier_weights="~/mine.safetensors").changed
    with refused():  # from the project's folder, wherever a notebook is started
        params.load("demo", classifier_weights="mine.safetensors")


def test_settings_of_the_training_that_is_left_out_are_refused(good, tmp_path):
    bring(good, tmp_path)
    path = str(tmp_path / "mine.safetensors")
    with refused("classifier_epochs"):
        params.load("demo", classifier_weights=path, classifier_epochs=7)
    assert params.load("demo", classifier_weights=path, classifier_threshold=0.4)


def test_no_folder_of_this_machine_is_recorded(tmp_path):
    values = params.load("demo", runs=str(tmp_path), data_root=str(params.ROOT / "data"))
    found = recorded(values.model_dump())
    assert str(tmp_path.parent) not in found["runs"] and found["data_root"] == "data"


def test_other_bytes_in_the_cache_are_said_to_be_other(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened before it was checked"))
    path = tmp_path / "checkpoints" / "densenet121-a639ec97.pth"
    path.parent.mkdir()
    for content in (b"", b"PK\3\4 cut short", pickle.dumps(print)):
        path.write_bytes(content)
        for wanted in ("imagenet", "auto"):
            with refused(path, f"{len(content)} bytes"):
                pretrained.start_weights("densenet121", wanted)
        assert path.read_bytes() == content
