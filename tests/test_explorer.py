"""The explorer, driven without a browser: what it shows is what the library computes."""

import re
import threading

import numpy as np
import pytest
import torch
from conftest import refused
from torch import nn

from lib import data, params
from lib.data.phantoms import write
from lib.models import classifiers, denoisers
from lib.models.classifiers import Classifier
from notebooks.explorer import Explorer, Session, finished_runs, view


@pytest.fixture(scope="module", params=["derma", "chest"])
def p(request, tmp_path_factory, shallow):
    """A finished run on phantoms: color, and gray with several labels.

    Weights are random, and the labels are what the classifier says, so that it is always right.
    """
    base = tmp_path_factory.mktemp("explorer")
    p = params.load(
        "demo", request.param, "resnet50", runs=str(base / "runs"), data_root=str(base / "data"),
        attack_population=6, attack_generations=5, device="cpu",
    )  # fmt: skip
    path = write(p.dataset, 28, 150, 0, base / "data")
    classes = len(params.facts(p.dataset).classes)
    torch.manual_seed(1)  # the first image withstands medians and first generations
    model = Classifier("resnet50", classes, 28).eval()
    folder = base / "runs" / "demo" / p.dataset / "resnet50"
    classifiers.save(model, folder, key="none", history=[], start="random")
    images = data.load(p.dataset, p.data_root, 28)
    said = classifiers.decide(classifiers.logits(model, images.images, "cpu"), classes == 14, 0.5)
    with np.load(path) as file:
        arrays = dict(file)
    for part in ("train", "val", "test"):
        of_part = np.asarray(said)[images.split == part]
        arrays[f"{part}_labels"] = of_part.reshape(len(of_part), -1).astype(np.uint8)
    np.savez(path, **arrays)
    return p


@pytest.fixture
def explorer(p):
    return Explorer(p.model_copy(update={"masking_size": 14}))  # few masks take little time


class Constant(nn.Module):
    """A classifier that is right about one image and says the same of every other."""

    def __init__(self, truth):
        super().__init__()
        self.register_buffer("logits", torch.from_numpy(20 * truth - 10).float())

    def forward(self, images):
        # Added, so that a gradient passes.
        return self.logits + 0 * images.mean((1, 2, 3)).unsqueeze(1)


def shown(explorer):
    """Confidences in the picture of bars, after the arrows."""
    return [float(part.split(" %")[0]) for part in explorer.bars.value.split("<b>")[1:]
            if " %" in part.split("</b>")[0]]  # fmt: skip


def test_confidence_follows_the_pixel(explorer):
    session = explorer.session
    explorer.row.value, explorer.col.value = 3, 5
    assert (explorer.canvas.row, explorer.canvas.col) == (3, 5)
    explorer.color.value, explorer.gray.value = "#ff0080", 200
    channels = session.images.facts.channels
    value = [255, 0, 128] if channels == 3 else [200]
    assert explorer.value == value
    picture = session.painted(0, 3, 5, value)
    assert (picture != session.image(0)).any(2).sum() <= 1
    assert (explorer.picture == picture).all()
    expected = 100 * session.confidence(picture[None])[0]
    assert shown(explorer) == pytest.approx(expected, abs=0.06)
    pixels = np.frombuffer(explorer.canvas.rgb, np.uint8).reshape(28, 28, 3)
    assert (pixels[3, 5] == (value if channels == 3 else value * 3)).all()
    explorer.canvas.row = 7  # as the mouse does
    assert explorer.row.value == 7 and (explorer.picture[3, 5] == session.image(0)[3, 5]).all()
    explorer.clean.value = True
    assert (explorer.picture == session.image(0)).all()


def test_another_image_forgets_what_was_found(explorer):
    explorer.adversarial = explorer.session.image(0).copy()
    explorer.index.value = 1
    assert explorer.adversarial is None
    assert (explorer.session.image(1) == explorer.picture).all(2).sum() >= 28 * 28 - 1


def test_the_search_tells_each_generation_and_can_be_stopped(explorer):
    session = explorer.session
    told = []
    record = session.search(0, 1, lambda best: told.append(list(best)))
    assert [len(best) for best in told] == list(range(1, len(told) + 1))
    assert len(told) <= session.p.attack_generations + 1
    assert record["predicted"] == record["label"]
    assert record["best"] == pytest.approx(told[-1], abs=1e-3)
    assert session.search(0, 2, lambda best: session.stop.set()) is None


def test_an_image_that_is_already_wrong_is_refused(p):
    session = Session(p)
    labels = session.images.labels
    labels[session.positions[0]] = 1 - labels[session.positions[0]].clip(max=1)
    with refused():
        session.search(0, 1)
    with refused():
        session.worst(0, 1, "identity")
    assert not session.proved(0)


def test_the_worst_attack_goes_through_the_defense(p, monkeypatch):
    # Two that differ; the others repeat the first with larger budgets.
    monkeypatch.setattr("notebooks.explorer.session.ATTACKERS", ["adaptive", "sparse_rs"])
    session, told = Session(p), []
    for defense in ("identity", "median3"):
        told.clear()
        row = session.worst(0, 2, defense, told.append)
        assert row["attacker"] == told[-1] and len(set(told)) == len(told)
        picture = session.image(0)[None].copy()
        for at in zip(row["rows"], row["cols"], row["values"], strict=True):
            picture[0, at[0], at[1]] = at[2]
        decide = classifiers.predictor(session.models[defense], session.p, session.device)
        clean, attacked = decide(np.concatenate([session.image(0)[None], picture]))
        assert row["success"] == (clean != attacked)


def test_all_attackers_can_be_stopped_between_two(p):
    session, told = Session(p), []
    session.model = Constant(session.truth(0))  # the first attacker does not win
    stopped = session.worst(0, 1, "identity", lambda name: told.append(name) or session.stop.set())
    assert stopped is None and len(told) == 1


@pytest.mark.parametrize("constant", [True, False])
def test_a_proof_holds_against_the_attackers(explorer, constant, monkeypatch):
    monkeypatch.setattr("notebooks.explorer.session.ATTACKERS", ["adaptive"])  # one of many
    session = explorer.session
    if constant:
        session.model = Constant(session.truth(0))
    proved = session.proved(0)
    assert proved or not constant
    if proved:
        assert not session.worst(0, 1, params.MASKING)["success"]
    explorer.prove.click()
    explorer.thread.join(60)
    assert (view.GOOD in explorer.said.value) == proved and not explorer.prove.disabled


def test_the_buttons(explorer):
    explorer.attack.click()
    explorer.thread.join(60)
    assert re.search(r">.*\d", explorer.said.value) and "<svg" in explorer.line.value
    if explorer.session.images.name == "derma":  # the others' maps take as long and say the same
        explorer.map.click()
        explorer.thread.join(120)
        assert explorer.found.success.shape == (28, 28)
        assert f"{explorer.found.success.sum():,} of 784" in explorer.said.value
    explorer.defend.click()
    assert explorer.restored.value.count("<img") == len(explorer.session.defenses)
    assert not explorer.attack.disabled and explorer.stop.disabled


def test_stop_ends_a_map(explorer):
    reached = threading.Event()
    told = explorer.session.map

    def slow(index, told_share):
        def watched(share):
            reached.set()
            told_share(share)
            explorer.session.stop.wait(30)

        return told(index, watched)

    explorer.session.map = slow
    explorer.map.click()
    assert reached.wait(60) and not explorer.stop.disabled
    thread = explorer.thread
    explorer.attack.click()
    assert explorer.thread is thread  # refused: the map goes on
    explorer.stop.click()
    explorer.thread.join(60)
    assert explorer.found is None and "stopped" in explorer.said.value


def test_every_trained_denoiser_is_a_defense(p):
    session = Session(p)
    assert list(session.defenses) == list(params.REFERENCES)
    restored = session.defended(session.image(0))
    assert (restored["identity"] == session.image(0)).all()
    assert isinstance(denoisers.build("median3", 1), type(session.defenses["median3"]))


def test_runs_are_listed_and_a_missing_one_is_named(p):
    runs = params.ROOT / p.runs
    assert finished_runs(runs) == [f"demo/{p.dataset}/resnet50"]
    with refused("densenet121"):
        Session(p.model_copy(update={"classifier": "densenet121"}))


def test_another_run_is_opened_with_what_the_user_gave(tmp_path):
    """From 64 pixels to 28 with fewer images, and back to a precision that the machine chooses."""
    given = {"attack_generations": 7, "device": "cpu"}
    given |= {"runs": str(tmp_path / "runs"), "data_root": str(tmp_path / "data")}
    for protocol, count in (("compact", 90), ("demo", 40)):
        p = params.load(protocol, "oct", "resnet50", **given)
        write("oct", p.data_size, count, 0, tmp_path / "data")
        torch.manual_seed(0)
        model = Classifier("resnet50", 4, p.data_size).eval()
        folder = tmp_path / "runs" / protocol / "oct" / "resnet50"
        classifiers.save(model, folder, key="none", history=[], start="random")
    explorer = Explorer(params.load("compact", "oct", "resnet50", **given))
    explorer.index.value = explorer.index.max
    explorer.row.value = explorer.col.value = 63
    explorer.run.value = "demo/oct/resnet50"
    assert explorer.said.value.endswith("></span>")  # nothing to complain of
    assert (explorer.canvas.size, explorer.row.max, explorer.index.value) == (28, 27, 0)
    assert explorer.session.p.attack_generations == 7
    explorer.run.value = "compact/oct/resnet50"
    assert explorer.canvas.size == 64
    (tmp_path / "data" / "octmnist.npz").unlink()
    explorer.run.value = "demo/oct/resnet50"
    assert "octmnist.npz" in explorer.said.value
    assert (explorer.run.value, explorer.canvas.size) == ("compact/oct/resnet50", 64)
    assert explorer.session.p.attack_precision in ("float32", "bfloat16")


def test_what_was_found_for_an_image_is_not_shown_on_another(explorer):
    real = explorer.session.search

    def left(index, pixels, told):
        record = real(index, pixels, told)
        explorer.index.value = 1 - index
        return record

    explorer.session.search = left
    explorer.attack.click()
    explorer.thread.join(60)
    assert explorer.adversarial is None and "stopped" in explorer.said.value


def test_convergence_is_drawn_between_its_ends():
    picture = view.convergence([3.0, 1.0, -1.0], 11)
    assert 'points="0.0,8.0 32.0,60.0 64.0,112.0"' in picture
    assert view.convergence([0.0], 1).count("0.0,8.0") == 1
