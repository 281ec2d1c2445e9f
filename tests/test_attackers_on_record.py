"""What recorded attackers say, and what a record of them must not contradict."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from book import attackers_text, results_readme
from lib.evidence import attackers, consistency, defenses_shown, schema
from lib.params.files import write_json, write_table

GIVEN = {"dataset": "oct", "data_split": "official"}
# Per image: correct when clean, after the paper's attack, and after the adaptive one.
OUTCOMES = {"identity": [(1, 0, 0), (1, 1, 1)], "double_masking": [(1, 1, 1), (0, 0, 0)]}


def rows(defense, image, clean, oblivious, adaptive):
    about = {
        "dataset": "oct", "split": "test", "index": image, "label": 0, "category": 0,
        "part": "test", "group": -1, "defense": defense, "p_after": 0.5, "rows": [], "cols": [],
        "values": [], "evaluations": 10, "seconds": 0.1,
        "certified": defense == "double_masking" and not image,
    }  # fmt: skip
    found = [("none", "", 0, clean), ("oblivious", "pixels", 1, oblivious)]
    found += [("adaptive", "pixels", 1, adaptive), ("more_pixels", "pixels", 64, 0)]
    found += [("pgd", "linf", 8, 0)]
    return [
        about | {"attacker": name, "family": family, "budget": budget, "correct": bool(correct)}
        for name, family, budget, correct in found
    ]


@pytest.fixture
def table():
    return pd.DataFrame([
        row for defense, images in OUTCOMES.items() for image, each in enumerate(images)
        for row in rows(defense, image, *each)
    ])  # fmt: skip


@pytest.fixture
def results(tmp_path, table):
    """A record of two images."""
    folder = tmp_path / "compact-certified" / "oct" / "resnet50"
    write_table(folder / "attackers_one_pixel.parquet", table)
    image = table.loc[[0, 1], ["dataset", "split", "index", "label", "category", "part", "group"]]
    proof = {"clean": True, "defended": [True, False], "certified": [True, False]}
    masking = image.assign(index=[0, 1], **proof, seconds=0.5, seconds_certify=2.0)
    write_table(folder / "masking.parquet", masking)
    write_json(folder / "run.json", {"parameters": {"data_size": 28}, "data": {"npz": "a"}})
    test = {"images": 20, "accuracy": 0.8, "majority_accuracy": 0.5}
    write_json(folder / "classifier.json", {"test": test})
    return tmp_path


def test_the_text_on_the_printed_size_counts_images_of_that_size_alone(results):
    attacked = attackers.read(results)[0]
    assert attackers_text.at_printed_size(attacked) == ""
    large = attacked.assign(size=224).replace({"defense": {"double_masking": "dae"}})
    numbers = re.findall(r"\d+", attackers_text.at_printed_size(large))
    assert numbers[:4] == ["224", "1", "2", "1"] and numbers[-3:] == ["8", "255", "1"]


def test_the_worst_attack_counts_for_each_image(results):
    attacked, _, sources = attackers.read(results)
    found = attackers.worst(attacked).set_index("defense")
    bare = found.loc["identity"]
    assert (bare["n"], bare["size"], bare["pixels"]) == (2, 28, 1)
    assert [bare[name] for name in attackers.CASES] == [1, 0.5, 0.5, 0.5, 0, 0]
    assert bare["same_low"] < 0.5 < bare["same_high"]
    assert found.loc["double_masking", "clean"] == 0.5
    assert sources == {"compact-certified/oct/resnet50": {"npz": "a"}}


def test_rows_of_two_runs_that_look_alike_name_their_run(results):
    attacked = attackers.read(results)[0]
    table = attackers.worst(attacked)
    assert "run" not in defenses_shown.worst(table)
    both = pd.concat([table, table.assign(protocol="compact-attackers")])
    assert not defenses_shown.worst(both).duplicated().any()
    masks = pd.concat([table, table.assign(protocol="masks", training="masks")])
    assert "run" not in defenses_shown.worst(masks)


def test_the_texts_on_the_adaptive_attack_are_of_one_pixel(results):
    rows, _ = attackers.to_pool(results, attackers.read(results)[0])
    dae = rows.replace({"defense": {"double_masking": "dae"}})
    text = attackers_text.adaptive(dae, attackers.pooled(dae))
    assert text.count("50 % (") == 3 and "inconclusive" in text
    none = attackers_text.adaptive(rows, attackers.pooled(rows))  # no DAE
    assert (
        none == attackers_text.adaptive(rows[:0], attackers.pooled(rows[:0])) and "50" not in none
    )
    said, table = results_readme.adaptive_attack(results)
    assert "n = 2" in said and "2 of OCT" in said
    assert table.splitlines()[-1].count("50.0 % (") == 2  # no defense
    assert results_readme.adaptive_attack(results / "nothing") == []


def test_an_attack_that_was_not_tried_has_no_share(results):
    attacked = attackers.read(results)[0]
    found = attackers.worst(attacked[attacked["attacker"] != "pgd"])
    assert found["dense"].isna().all() and found["same"].notna().all()


def test_weak_classifiers_stay_out_of_pooled_rates(results):
    attacked = attackers.read(results)[0]
    rows, weak = attackers.to_pool(results, attacked)
    pooled = attackers.pooled(rows)
    assert "2 of OCT" in attackers_text.pooled(rows, weak, "figure") and not len(weak)
    assert set(pooled["defense"]) == {*OUTCOMES}
    ends = attackers.ends(pooled)
    assert set(ends["budget"]) == {0, 1, 8, 64}
    assert attackers_text.strongest(rows, ends) == ""  # no DAE
    named = ends.replace({"defense": {"double_masking": "dae"}})
    assert "28 px" in attackers_text.strongest(rows, named)
    path = results / "compact-certified" / "oct" / "resnet50" / "classifier.json"
    write_json(path, {"test": {"images": 20, "accuracy": 0.4, "majority_accuracy": 0.5}})
    rows, weak = attackers.to_pool(results, attacked)
    assert not len(attackers.pooled(rows)) and len(weak) == 1
    assert attackers_text.pooled(rows, weak, "figure") == ""
    text = attackers_text.pooled(attacked, weak, "figure")
    assert all(share in text for share in ("40 %", "50 %", "ResNet50", "OCT"))


def test_runs_of_a_protocol_with_fewer_images_are_not_pooled(results):
    attacked = attackers.read(results)[0]
    other = attacked[attacked["index"] == 0].assign(protocol="more", budget=16)
    mixed = pd.concat([other, attacked], ignore_index=True)
    expected, found = (attackers.to_pool(results, table)[0] for table in (attacked, mixed))
    pd.testing.assert_frame_equal(attackers.pooled(found), attackers.pooled(expected))


def test_an_image_attacked_on_two_classifiers_counts_once_in_an_interval(results):
    rows, _ = attackers.to_pool(results, attackers.read(results)[0])
    more = [rows.assign(index=rows["index"] + 100 * copy) for copy in range(10)]
    once = attackers.pooled(pd.concat(more, ignore_index=True))
    again = [table.assign(classifier="densenet121") for table in more]
    twice = attackers.pooled(pd.concat([*more, *again], ignore_index=True))
    assert (twice["n"] == 2 * once["n"]).all()
    for name in ("correct", "correct_low", "correct_high"):
        np.testing.assert_allclose(twice[name], once[name])


def test_training_under_masks_is_told_apart(results):
    here, other = (results / name / "oct" / "resnet50" for name in ("compact-certified", "masks"))
    shutil.copytree(here, other)
    given = {"data_size": 28, "classifier_masking": 7}
    write_json(other / "run.json", {"parameters": given, "data": {"npz": "a"}})
    attacked, masked, _ = attackers.read(results)
    assert list(attackers.proved(masked)["training"]) == ["plain", "masks"]
    assert list(attackers.proofs(results)["n"]) == [2, 2]
    assert attackers.pooled(attackers.to_pool(results, attacked)[0])["n"].eq(2).all()


def test_certified_accuracy_is_of_all_test_images(results):
    row = attackers.proved(attackers.read(results)[1]).iloc[0]
    assert (row["n"], row["clean"], row["defended"], row["certified"]) == (2, 1, 0.5, 0.5)
    assert row["seconds_certify"] == 2.0


def test_what_fine_tuning_gains_is_paired_by_image(results):
    folder = results / "compact-certified" / "oct" / "resnet50"
    image = pd.read_parquet(folder / "masking.parquet").loc[[0] * 10]
    image = image[["dataset", "split", "label", "group"]]
    before, after = [True] * 2 + [False] * 8, [True] * 9 + [False]
    learned = image.assign(
        index=range(10), category=0, part="test", defense="dae", before=before, after=after
    )
    write_table(folder / "fine_tuning.parquet", learned)
    assert not problems(learned, "fine_tuning")
    row = attackers.fine_tuned(results).iloc[0]
    assert (row["n"], row["before"], row["after"]) == (10, 0.2, 0.9)
    assert row["gain"] == 0.7 and 0 < row["gain_low"] < 0.7 < row["gain_high"]


def test_nothing_recorded_gives_empty_tables(tmp_path):
    attacked, masked, sources = attackers.read(tmp_path)
    tables = [attackers.worst(attacked), attackers.proved(masked), attackers.checks(attacked)]
    tables += [
        attackers.ends(attackers.pooled(attackers.to_pool(tmp_path, attacked)[0])),
        attackers.proofs(tmp_path),
    ]
    tables += [defenses_shown.worst(tables[0]), defenses_shown.checks(tables[2])]
    tables += [defenses_shown.fine_tuned(attackers.fine_tuned(tmp_path))]
    tables += [defenses_shown.proofs(attackers.proofs(tmp_path))]
    assert not any(map(len, tables)) and not sources


def problems(table, name="attackers_one_pixel"):
    return list(schema.problems(Path(f"{name}.parquet"), table))


def test_a_record_must_not_contradict_itself(table):
    assert not problems(table)
    broken = table.copy()
    certified = (table["certified"]) & (table["attacker"] == "adaptive")
    broken.loc[certified, "correct"] = False
    assert len(problems(broken)) == 1
    assert len(problems(pd.concat([table, table[:1]], ignore_index=True))) == 1
    assert len(problems(table[table["attacker"] != "none"].reset_index(drop=True))) == 1
    wrong = table.assign(correct=table["correct"] | (table["attacker"] == "adaptive"))
    assert len(problems(wrong)) == 1  # correct again, though the defense alone is not


def test_a_certificate_needs_a_correct_prediction(results):
    masked = pd.read_parquet(results / "compact-certified/oct/resnet50/masking.parquet")
    assert not problems(masked, "masking")
    assert len(problems(masked.assign(certified=True), "masking")) == 1


def test_attacked_images_are_those_of_the_attack(table, tmp_path):
    known = table.iloc[[0, 5]].reset_index(drop=True)
    write_table(tmp_path / "one_pixel.parquet", known)
    tables = {"attackers_one_pixel": table, "one_pixel": known}
    assert not list(consistency.problems(tmp_path, GIVEN, tables))
    tables["one_pixel"] = known[:1]
    assert len(list(consistency.problems(tmp_path, GIVEN, tables))) == 1


@pytest.mark.parametrize(("through", "defense"), [("bare", "identity"), ("median3", "median3")])
def test_no_attacker_beats_a_certificate(table, tmp_path, through, defense):
    attacked = table[table["defense"] == "identity"].assign(defense=defense)
    certificate = attacked.iloc[[0, 5]].assign(robust=[False, True]).reset_index(drop=True)
    known, name = certificate.assign(success=False), f"certificate_{through}"
    tables = {"attackers_one_pixel": attacked.reset_index(drop=True), "one_pixel": known}
    write_table(tmp_path / "one_pixel.parquet", known)
    assert not list(consistency.problems(tmp_path, GIVEN, tables | {name: certificate}))
    broken = {name: certificate.assign(robust=True)}
    assert len(list(consistency.problems(tmp_path, GIVEN, tables | broken))) == 1


def test_proofs_are_of_classifiers_better_than_a_constant_answer(results):
    (row,) = attackers.proofs(results).to_dict("records")
    about = (row["dataset"], row["size"], row["defense"], row["n"])
    assert about == ("oct", 28, "double_masking", 2)
    assert row["robust"] == 0.5 and row["robust_low"] < 0.5 < row["robust_high"]
    assert row["clean"] == 0.5  # behind double masking
    (shown,) = defenses_shown.proofs(attackers.proofs(results)).to_dict("records")
    assert shown["n"] == 2 and shown["proof"] == "pairs of masks"
    path = results / "compact-certified" / "oct" / "resnet50" / "classifier.json"
    write_json(path, {"test": {"images": 20, "accuracy": 0.4, "majority_accuracy": 0.5}})
    assert not len(attackers.proofs(results))
