"""The attacks of a run: what is evaluated, written and read back."""

import pandas as pd
from safetensors.torch import save_file

from lib import params
from lib.attack import attack_run, attack_runs, campaign
from lib.attack.search import attack


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
    again, same = attack_runs(model, data, p, tmp_path)
    assert asked == [1] and "are classified right" in capsys.readouterr().err
    for pixels in (1, 2):
        pd.testing.assert_frame_equal(again[pixels], records[pixels])
        pd.testing.assert_frame_equal(same[pixels], counts[pixels])

    monkeypatch.setattr(campaign, "attack", attack)
    other, _ = attack_run(model, data, 1, p.model_copy(update={"seed": 1}), tmp_path)
    assert asked == [1, 1] and not other.equals(records[1])
