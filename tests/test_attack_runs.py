"""The attacks of a run: what is attacked, kept, killed, shared and read back."""

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Counting, TinyNet, changed, make_images, refused
from safetensors.torch import save_file
from tqdm import tqdm

from lib import params
from lib.attack import (
    PixelAttack,
    attack_images,
    attack_of,
    attack_run,
    attack_runs,
    attack_table,
    locate,
    rebuild,
)
from lib.attack.__main__ import main
from lib.models.classifiers import as_text, decide, logits

CPU = torch.device("cpu")
SMALL = PixelAttack(population=20, generations=8, batch=64)
P = params.load("demo", "derma", attack_population=4, attack_generations=1, device="cpu")


def labeled(model, data):
    """The images with the model's decisions as labels."""
    data.labels[:] = decide(logits(model, data.images, CPU), data.facts.multi_label)
    return data


def run_of(tmp_path, count=40):
    """A model with its weights on disk and images that it classifies right."""
    model = TinyNet(3, 28, 7).eval()
    data = labeled(model, make_images("derma", count))
    tmp_path.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), tmp_path / "classifier.safetensors")
    return model, data


def plain(column):
    """A column as Python values; parquet gives arrays where a search gives lists."""
    return [np.stack(v).tolist() if isinstance(v, np.ndarray) and len(v) else v for v in column]


def same(found, expected):
    for column in expected.columns.drop("seconds"):
        assert plain(found[column]) == plain(expected[column]), column


@pytest.mark.parametrize("name", ["derma", "oct", "chest"])
def test_rows_name_their_images(tiny, name):
    data = replace(make_images(name, 8), group=np.arange(8) // 2)
    model = tiny(data.facts.channels, 28, len(data.facts.classes)).eval()
    attack = attack_of(P, 2, data.facts.multi_label)
    found = attack_images(attack, model, labeled(model, data), np.array([6, 1, 3, 0]))
    clean = locate(data, found)
    assert clean.index.tolist() == [6, 1, 3, 0] and (found["seed"] == P.seed).all()
    assert found["category"].tolist() == data.category[[6, 1, 3, 0]].tolist()
    assert found["group"].tolist() == data.group[[6, 1, 3, 0]].tolist()
    changed = rebuild(clean.images, found)
    decided = as_text(decide(logits(model, changed, CPU), data.facts.multi_label))
    assert found["adversarial"].tolist() == decided
    for row in found.itertuples():
        if isinstance(row.label, int):
            assert row.true_label_changed == row.success
        elif "1" in row.label:
            lost = [i for i, a in enumerate(row.label) if a == "1" and row.adversarial[i] == "0"]
            assert row.true_label_changed == bool(lost)


def test_only_classes_that_lack_test_images_are_looked_for_in_other_parts(tmp_path):
    model, data = run_of(tmp_path, 200)
    parts = {"test": 60, "val": 40, "train": 100}
    data = replace(data, part=np.repeat([*parts], [*parts.values()]))
    counting, given = Counting(model).eval(), {"attack_pixels": [2], "attack_two_pixel_images": 3}
    few, counts = attack_run(counting, data, 2, P.model_copy(update=given), tmp_path)
    assert counts["test_correct"].sum() == 60 and counts["attacked"].max() == 3
    filled = counts["test_correct"] >= 3
    assert (
        filled.any() and counts.loc[filled, ["val_correct", "train_correct"]].eq(0).to_numpy().all()
    )
    chosen = attack_table.select(data, np.ones(200, bool), ("test", "val", "train"), 3, P.seed)
    assert few[["split", "index"]].to_numpy().tolist() == [
        [data.split[at], data.index[at]] for at in chosen
    ]


def test_an_image_keeps_its_stream_when_the_file_changes(tiny):
    model = tiny(3, 28, 7).eval()
    data = labeled(model, make_images("derma", 4))
    every = attack_images(SMALL, model, data, np.arange(4))
    some = attack_images(SMALL, model, data.take(np.array([2, 3])), np.array([1]))
    same(some, every.iloc[[3]].reset_index(drop=True))


def test_images_are_classified_once_and_not_for_finished_attacks(tmp_path, capsys):
    model, data = run_of(tmp_path)
    counting = Counting(model).eval()
    records, counts = attack_runs(counting, data, P, tmp_path)
    assert capsys.readouterr().err  # fewer images than wanted
    assert records[1]["part"].eq("test").all() and counts[1]["val_images"].eq(0).all()
    assert counts[2]["test_correct"].sum() == (data.part == "test").sum()  # all of them right
    assert counts[2]["attacked"].sum() == len(records[2])
    both = counting.calls
    alone = Counting(model).eval()
    for pixels in (1, 2):
        attack_run(alone, data, pixels, P, _linked(tmp_path, pixels))
    assert both < alone.calls  # one batch for both attacks

    # Nor if the other attack is left out or made larger, or the work is done elsewhere.
    moved = P.model_copy(update={"data_root": "there", "attack_two_pixel_images": 9})
    counting.calls = 0
    read, _ = attack_run(counting, data, 1, moved, tmp_path)
    pd.testing.assert_frame_equal(read, records[1])
    again, counted = attack_runs(counting, data, P, tmp_path)
    for pixels in (1, 2):
        pd.testing.assert_frame_equal(again[pixels], records[pixels])
        pd.testing.assert_frame_equal(counted[pixels], counts[pixels])
    assert counting.calls == 0
    for others in changed(data, tmp_path / "classifier.safetensors"):
        counting.calls = 0
        attack_run(counting, others, 1, P, tmp_path)
        assert counting.calls
    other, _ = attack_run(counting, data, 1, P.model_copy(update={"seed": 1}), tmp_path)
    assert not other.equals(records[1])


def _linked(tmp_path, pixels):
    folder = tmp_path / f"{pixels}" / "run"
    folder.mkdir(parents=True)
    (folder / "classifier.safetensors").symlink_to(tmp_path / "classifier.safetensors")
    return folder


def test_a_borderline_image_is_left_out_and_stops_no_run(tmp_path):
    model, data = run_of(tmp_path)

    class Borderline(torch.nn.Module):
        """Classifies the first image otherwise alone than in a batch."""

        classes, architecture = 7, "resnet50"

        def forward(self, batch):
            values = model(batch)
            if len(batch) == 1 and (batch * 255).round().byte().flatten().equal(first):
                return -values
            return values

    first = torch.from_numpy(data.images[0]).permute(2, 0, 1).flatten()
    found, counts = attack_run(Borderline().eval(), data, 1, P, tmp_path)
    assert 0 not in found["index"].tolist() and len(found) > 10
    assert counts["attacked"].sum() == len(found) and "skipped" not in found


def test_a_killed_attack_goes_on_with_the_images_left(tiny, tmp_path):
    model = tiny(3, 28, 7).eval()
    data = labeled(model, make_images("derma", 8))
    expected = attack_images(SMALL, model, data, np.arange(8), tmp_path)
    (file,) = tmp_path.glob("*.parquet")
    pd.read_parquet(file).iloc[[0, 4, 7]].to_parquet(tmp_path / "000-001-00000003.parquet")
    file.unlink()
    left = Counting(model).eval()
    same(attack_images(SMALL, left, data, np.arange(8), tmp_path), expected)
    again = Counting(model).eval()
    same(attack_images(SMALL, again, data, np.arange(8), tmp_path), expected)
    assert left.calls and not again.calls


def test_checkpoints_are_written_and_those_of_other_settings_stay(tmp_path):
    model, data = run_of(tmp_path)
    folder = tmp_path / "checkpoint"
    attack_images(SMALL, model, data, np.arange(8), folder, save_every=-1.0)
    saved = [pd.read_parquet(file) for file in folder.glob("*.parquet")]
    assert len(saved) == 8
    assert sorted(pd.concat(saved)["index"]) == list(range(8))
    other = tmp_path / ".one_pixel-old"
    other.mkdir()
    attack_run(model, data, 1, P, tmp_path)
    assert list(tmp_path.glob(".one_pixel*")) == [other]


def attack_forty(started=None, **how):
    """The search that is killed; a process of its own builds all of it anew."""
    # tqdm's own lock is shared by forks: one killed while it holds it would stop the others.
    tqdm.set_lock(threading.RLock())
    model = TinyNet(3, 28, 7).eval()
    data = labeled(model, make_images("derma", 40))
    if started:
        started.set()
    return attack_images(SMALL, model, data, np.arange(40), save_every=0.0, **how)


def test_a_search_killed_again_and_again_ends_with_the_same_rows(tmp_path):
    """Each time when a row more has been saved, a moment later or earlier within the next."""
    expected, rng, counts = attack_forty(), random.Random(0), [0]
    # Not a fork of this process: what its threads hold would be held in the fork for good.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lib.attack", "lib.models.classifiers", "lib.data", "pytest", "torchvision.models"]
    )

    def saved():
        return len(list(tmp_path.glob("[!.]*.parquet")))

    for _ in range(3):
        child = context.Process(target=attack_forty, kwargs={"checkpoint": tmp_path})
        child.start()
        while saved() == counts[-1] and child.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        counts.append(saved())
    assert 0 < counts[-1] < 40 and counts == sorted(set(counts))
    same(attack_forty(checkpoint=tmp_path), expected)


def test_shards_make_up_the_whole(tiny, tmp_path):
    model = tiny(3, 28, 7).eval()
    data = labeled(model, make_images("derma", 9))

    def run(model=model, **how):
        return attack_images(SMALL, model, data, np.arange(9), **how)

    parts = [run(checkpoint=tmp_path, shard=(shard, 4)) for shard in range(4)]
    assert sorted(len(part) for part in parts) == [2, 2, 2, 3]
    merged = pd.concat(parts).set_index("index").sort_index()
    same(merged, run().set_index("index"))
    counting = Counting(model).eval()
    run(counting, checkpoint=tmp_path)
    assert not counting.calls  # all was there


def test_jobs_of_an_attack_are_merged_to_the_table_of_one_job(tmp_path, monkeypatch):
    def run_folder(name, **given):
        p = params.load(
            "demo", "derma", **P.changed, device="cpu", runs=f"{tmp_path}/{name}", **given
        )
        model, data = run_of(p.run_folder)
        return p, model, data

    p, model, data = run_folder("one")
    alone, counts = attack_run(model, data, 1, p, p.run_folder)
    p, model, data = run_folder("many", attack_shards=3)
    other, *_ = run_folder("many", seed=5)
    monkeypatch.setattr("lib.attack.__main__.data.of", lambda _: data)
    monkeypatch.setattr("lib.attack.__main__.classifiers.load", lambda *_: model)
    given = P.changed | {"device": "cpu", "runs": f"{tmp_path}/many"}
    for shard in (2, 3, 1, 2):  # in any order, one of them again
        main([f"{shard}/3", "1", json.dumps(given)])
        main(["1/9", "1", json.dumps(given | {"seed": 5})])  # of other values: works elsewhere
    assert not (p.run_folder / "one_pixel.parquet").exists()
    counting = Counting(model).eval()
    merged, counted = attack_run(counting, data, 1, p, p.run_folder)
    assert counting.calls == 1  # to choose the images; none was attacked anew
    assert len(merged) == len(alone) > 10
    pd.testing.assert_frame_equal(merged.drop(columns="seconds"), alone.drop(columns="seconds"))
    pd.testing.assert_frame_equal(counted, counts)
    assert not list(p.run_folder.glob(".one_pixel*"))
    assert len(list(other.run_folder.glob(".one_pixel*"))) == 1


@pytest.mark.parametrize(
    "words",
    [
        [], ["x"], ["1/2", "1", "{"], ["1/2", "1", "[1]"], ["1/2", "3", "{}"], ["0/2", "1", "{}"],
        ["3/2", "1", "{}"], ["1/2", "1", "{}", "more"], ["1/2", "1", '{"foo": 1}'],
        ["1/2", "1"],
    ],
)  # fmt: skip
def test_words_that_name_no_shard_are_refused(words):
    with refused():
        main(words)
