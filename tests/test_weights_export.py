"""Exported weights: taken back as they were, with a card that says where they are from."""

import shutil

import numpy as np
import pytest
from conftest import SmallResNet, refused

from book import weights
from lib import data, params
from lib.data import phantoms
from lib.models import classifier_training, classifiers, denoisers
from lib.models.weights import save_weights
from lib.params.files import md5, read_json, write_json
from lib.params.runs import Run


@pytest.fixture
def place(tmp_path, small):
    """A finished run on phantoms: a classifier that was trained, a denoiser that was not."""
    phantoms.write("oct", 28, 60, 0, tmp_path / "data")
    p = params.load(
        "demo", "oct", runs=str(tmp_path / "runs"), data_root=str(tmp_path / "data"), device="cpu",
        data_phantom_images=60, classifier_epochs=1, classifier_paper_epochs=0,
    )  # fmt: skip
    images = data.load("oct", tmp_path / "data", 28)
    provenance = images.provenance.as_dict()
    model, about = classifier_training.train(images, p, p.run_folder)
    test = {"images": 12, "correct": 6, "accuracy": 0.5, "majority_accuracy": 0.25}
    Run(p.run_folder, "classifier", p, provenance).finish(test=test)
    folder = p.dataset_folder / "denoisers"
    dae = denoisers.build("dae", 1)
    checksum = save_weights(dae, folder / "dae.safetensors")
    write_json(folder / "dae.json", {
        "name": "dae", "channels": 1, "parameters": {"trainable": 3}, "settings": {"limit": 5},
        "history": [{}], "validation_psnr": 20.0, "identity_psnr": 10.0, "weights_md5": checksum,
    })  # fmt: skip
    Run(folder, "denoisers", p, provenance).finish()
    return tmp_path, p, images, model, dae


def exported(place, **options):
    root, p, *_ = place
    target = root / "exported"
    number = weights.export_all(root / "runs", root / "results", target, **options)
    return number, target / p.run_name / "oct"


def test_a_classifier_is_taken_back_as_it_was(place):
    root, p, images, model, _ = place
    number, folder = exported(place)
    assert number == 2
    own = params.load(
        "demo", "oct", runs=str(root / "again"), data_root=str(root / "data"), device="cpu",
        classifier_weights=str(folder / "resnet50.safetensors"),
    )  # fmt: skip
    again, about = classifier_training.train(images, own, own.run_folder)
    assert about["start"] == "own"
    both = [classifiers.logits(each.eval(), images.images[:9]) for each in (model, again)]
    np.testing.assert_array_equal(*both)


def test_a_denoiser_is_taken_back_as_it_was(place):
    *_, images, _, dae = place
    _, folder = exported(place)
    again = denoisers.load("dae", folder, 1)
    both = [denoisers.restore(each, images.images[:3]) for each in (dae.eval(), again)]
    np.testing.assert_array_equal(*both)


def test_a_card_says_what_somebody_must_know(place):
    _, p, images, *_ = place
    _, folder = exported(place)
    for name in ("resnet50", "dae"):
        card = (folder / f"{name}.md").read_text(encoding="utf-8")
        path = folder / f"{name}.safetensors"
        for part in (md5(path), images.provenance.md5, images.provenance.npz, "phantom",
                     weights.OWN_LICENSE, "synthetic", f"{name}"):  # fmt: skip
            assert part in card, (name, part)
        assert str(folder) not in card
    assert "50.0 %" in (folder / "resnet50.md").read_text(encoding="utf-8")


def test_real_images_give_their_license_on(place):
    root, p, *_ = place
    about = read_json(p.run_folder / "run.json")
    for of in (about, *about["steps"].values()):
        of["data"]["source"] = "rebuilt"
    write_json(p.run_folder / "run.json", about)
    _, folder = exported(place)
    card = (folder / "resnet50.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card and weights.OWN_LICENSE not in card


def test_only_what_the_record_names(place):
    root, p, *_ = place
    assert exported(place, only=True)[0] == 0
    beside = root / "results" / p.run_folder.relative_to(root / "runs") / "classifier.json"
    beside.parent.mkdir(parents=True)
    shutil.copy(p.run_folder / "classifier.json", beside)
    number, folder = exported(place, only=True)
    assert number == 1 and "results/" in (folder / "resnet50.md").read_text(encoding="utf-8")
    write_json(beside, read_json(beside) | {"weights_md5": "0" * 32})
    assert exported(place, only=True)[0] == 0


def test_weights_that_were_changed_are_refused_and_unfinished_ones_left(place):
    root, p, *_ = place
    path = p.run_folder / "classifier.safetensors"
    (p.dataset_folder / "denoisers" / "run.json").unlink()
    assert [each.name for each in weights.finished(root / "runs")] == ["resnet50"]
    save_weights(SmallResNet(), path)
    with refused(path):
        list(weights.finished(root / "runs"))
