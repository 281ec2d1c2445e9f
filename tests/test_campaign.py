"""The attacks of a run: what is evaluated, written and read back."""

import pandas as pd
from safetensors.torch import save_file

from lib import params
from lib.attack import attack_run, attack_runs, campaign
from lib.attack.__main__ import main
from lib.attack.pixel_attack import attack


def test_images_are_classified_once_and_not_for_finished_attacks(
    tiny, images, tmp_path, monkeypatch, capsys
):
    data = images("derma", 40)
    model = tiny(3, 28, 7).eval()
    data.labels[:] = campaign.logits(model, data.images, campaign.pick_device("cpu")).argmax(1)
    save_file(model.state_dict(), tmp_path / "classifier.safetensors")
    p = params.load("demo", "derma", attack_population=4, attack_generations=1, device="cpu")
    asked = []
    monkeypatch.setattr(
        campaign, "correct", lambda *given, real=campaign.correct: asked.append(1) or real(*given)
    )
    records, counts = attack_runs(model, data, p, tmp_path)
    assert asked == [1] and "are classified right" in capsys.readouterr().err
    assert records[1]["part"].eq("test").all() and counts[1]["val_images"].eq(0).all()
    assert counts[2]["val_correct"].sum() == 10  # every fourth image, all of them right
    assert counts[2]["attacked"].sum() == len(records[2])

    def refuse(*_):
        raise AssertionError("a finished attack was run again")

    monkeypatch.setattr(campaign, "attack", refuse)
    # Nor if the other attack is left out or made larger, or the work is done elsewhere.
    moved = p.model_copy(update={"data_root": "there", "attack_two_pixel_images": 9})
    alone, _ = attack_run(model, data, 1, moved, tmp_path)
    pd.testing.assert_frame_equal(alone, records[1])
    again, same = attack_runs(model, data, p, tmp_path)
    assert asked == [1] and "are classified right" in capsys.readouterr().err
    for pixels in (1, 2):
        pd.testing.assert_frame_equal(again[pixels], records[pixels])
        pd.testing.assert_frame_equal(same[pixels], counts[pixels])

    monkeypatch.setattr(campaign, "attack", attack)
    other, _ = attack_run(model, data, 1, p.model_copy(update={"seed": 1}), tmp_path)
    assert asked == [1, 1] and not other.equals(records[1])


def test_shards_on_the_command_line_are_merged_by_the_next_attack(
    tiny, images, tmp_path, monkeypatch
):
    data = images("derma", 40)
    model = tiny(3, 28, 7).eval()
    data.labels[:] = campaign.logits(model, data.images, campaign.pick_device("cpu")).argmax(1)
    folder = tmp_path / "demo/derma/resnet50"
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "classifier.safetensors")
    monkeypatch.setattr("lib.attack.__main__.data.load", lambda *_: data)
    monkeypatch.setattr("lib.attack.__main__.classifiers.load", lambda *_: model)
    words = ["attack_population=4", "attack_generations=1", "device=cpu", f"runs={tmp_path}"]
    for shard in ("1/2", "2/2"):
        assert main([shard, "1", *words]) is None
        # A shard with other settings leaves the others' work alone.
        assert main(["1/9", "1", *words, "seed=5"]) is None
    assert not (folder / "one_pixel.parquet").exists()

    seen = []
    p = params.load(
        "demo", attack_population=4, attack_generations=1, device="cpu", runs=str(tmp_path)
    )
    monkeypatch.setattr(
        campaign, "attack", lambda *a, **k: seen.append(attack(*a, **k, progress=seen.append))
        or seen[-1]
    )  # fmt: skip
    merged, _ = attack_run(model, data, 1, p, folder)
    assert len(seen) == 1 and len(merged) == len(seen[0])  # no image was attacked anew
    assert not list(folder.glob(".one_pixel*"))


def test_wrong_shards_are_named():
    assert "usage" in main([]) and "usage" in main(["2", "1"])
    assert "no shard 3/2" in main(["3/2", "1"])
    assert "no attack with 5 pixels" in main(["1/2", "5"])
    assert "did you mean 'seed'" in main(["1/2", "1", "sed=1"])
