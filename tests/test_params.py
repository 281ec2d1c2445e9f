"""Parameters: merging, overrides, and errors that name the nearest valid name."""

import re
import shutil
import subprocess
import sys
from itertools import product

import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st

from lib import params
from lib.params import loading, protocols, stages


def test_every_combination_of_files_is_valid():
    for names in product(*map(params.names, ("protocols", "datasets", "classifiers"))):
        loaded = params.load(*names)
        assert (loaded.protocol, loaded.dataset, loaded.classifier) == names


def test_paper_protocol_has_the_papers_settings():
    p = params.load("paper")
    assert (p.attack_population, p.attack_generations, p.attack_mutation_factor) == (100, 100, 0.5)
    assert (p.classifier_optimizer, p.classifier_learning_rate) == ("sgd", 0.001)
    assert (p.classifier_momentum, p.classifier_batch, p.classifier_epochs) == (0.9, 64, 100)
    assert (p.data_size, p.data_split, p.attack_two_pixel_images) == (224, "paper", 100)


def test_a_data_set_may_override_its_protocol_and_the_caller_both():
    assert params.load("compact", "derma").data_size == 64
    assert params.load("compact", "pathology").data_size == 28
    assert params.load("compact", "pathology", data_size=128).data_size == 128
    assert params.load("demo", data_size=None).data_size == params.load("demo").data_size


def test_a_variant_differs_from_its_base_in_its_own_values_alone():
    for name in params.variants("compact"):
        given = dict(params.read("protocols", name))
        overrides = given.pop("overrides", {})
        assert given.pop("base") and given, f"{name} changes nothing"
        for dataset in params.names("datasets"):
            one = params.load("compact", dataset).model_dump()
            other = params.load(name, dataset).model_dump()
            assert {key for key in one if one[key] != other[key]} <= (
                given.keys() | overrides.get(dataset, {}).keys() | {"protocol"}
            )
    assert params.load("compact-28", "derma").data_size == 28
    assert params.load("compact-paper-split", "pathology").data_size == 28  # its base's override
    assert params.base("compact-28") == params.base("compact") == "compact"
    assert params.variants("demo") == []


def test_a_variant_of_a_variant_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "FOLDER", tmp_path)
    (tmp_path / "protocols").mkdir()
    for name, text in (("a", "seed: 0"), ("b", "base: a"), ("c", "base: b")):
        (tmp_path / "protocols" / f"{name}.yaml").write_text(text)
    with refused("'c'", "'b'"):
        params.base("c")


@pytest.mark.parametrize(
    ("given_names", "named"),
    [
        ({"protocol": "papper"}, ("protocol", "'papper'", "'paper'")),
        ({"dataset": "dermma"}, ("'dermma'", "'derma'")),
        ({"classifier": "resnet5"}, ("'resnet5'", "'resnet50'")),
        ({"atack_population": 3}, ("'atack_population'", "'attack_population'")),
        ({"attack_population": 3}, ("attack_population", 4, 3)),
        ({"data_size": 100}, ("data_size", 28, 64, 128, 224, 100)),
        ({"seed": "x"}, ("seed", "x")),
        ({"seed": 20260101120000}, ("seed",)),
        ({"data_download": True}, ("data_download",)),
    ],
)
def test_errors_name_what_would_be_right(given_names, named):
    with refused(*named):
        params.load(**given_names)


@given(st.sampled_from(sorted(params.Parameters.model_fields)), st.integers(0, 30))
def test_a_dropped_letter_still_names_the_parameter(name, place):
    place %= len(name)
    wrong = name[:place] + name[place + 1 :]
    if wrong in params.Parameters.model_fields:
        return
    # A short name may be nearer to another one.
    with refused(repr(wrong), *([repr(name)] if len(name) >= 9 else [])):
        params.load(**{wrong: 1})


def test_a_notebook_refuses_a_variable_that_is_no_parameter():
    with refused("'atack_population'", "'attack_population'"):
        params.from_notebook({"dataset": "oct", "atack_population": 10, "_x": 1, "In": []})


def test_a_notebook_cell_can_run_again_after_the_notebook_made_variables():
    namespace = {"dataset": "oct", "seed": 5, "attack_population": None, "params": params}
    first = params.from_notebook(namespace)
    namespace.update(images=[1], figure=2, p=first)
    assert params.from_notebook(namespace) == first
    namespace["seed"] = 6
    assert params.from_notebook(namespace).seed == 6


def test_steps_depend_on_what_they_use_and_no_more():
    fields = params.step_fields("pixel_attack")
    assert {"dataset", "classifier", "attack_population", "classifier_threshold"} <= set(fields)
    assert "classifier_epochs" not in fields and "denoiser_epochs" not in fields
    assert "classifier_epochs" in params.step_fields("classifier")
    p = params.load(seed=3)
    assert p.of_step("comparison") == {
        "protocol": "demo", "seed": 3, "device": "cpu", "runs": "runs"
    }  # fmt: skip
    with refused("'pixel_atack'", "'pixel_attack'"):
        params.step_fields("pixel_atack")


def test_a_key_holds_what_can_change_a_result(monkeypatch):
    def key(**values):
        return params.load("demo", **values).key("pixel_attack", "attack_pixels")

    same = {"device": "cpu", "runs": "x", "data_root": "y", "attack_batch": 7,
            "attack_shards": 9, "attack_pixels": [2]}  # fmt: skip
    assert key() == key(**same) and not set(same) & set(key())
    others = {"seed": 1, "attack_generations": 9, "data_split": "paper"}
    for name, value in (others | {"attack_evaluation": "screened"}).items():
        assert key() != key(**{name: value})
    # Work that was finished before there was a choice stays valid.
    assert "attack_evaluation" not in key(attack_evaluation="exact")
    before = key()
    monkeypatch.setitem(stages.VERSIONS, "pixel_attack", 2)
    assert key() != before


def folder(protocol="demo", dataset="derma", **given):
    return params.load(protocol, dataset, **given).run_folder


def test_changed_values_give_a_run_a_folder_of_its_own():
    own = folder()
    given = [
        {"attack_generations": 2}, {"attack_generations": 3}, {"seed": 1}, {"seed": 2},
        {"attack_pixels": [1]}, {"attack_dither": [0.1, 0.2]}, {"denoiser_names": []},
        {"attackers_defenses": ["dae+patches"]}, {"data_phantom_images": 900},
        {"seed": 1, "attack_generations": 2},
    ]  # fmt: skip
    folders = [folder(**each) for each in given]
    assert len({own, *folders}) == len(given) + 1
    assert folder(attack_generations=2, seed=1) == folders[-1]
    for each in folders:
        assert each.relative_to(own.parents[2]).parts[1:] == ("derma", "resnet50")
    assert folders[0].parents[1].name == "demo+attack_generations=2"


def test_places_and_values_of_the_protocol_itself_change_no_folder():
    same = {"device": "cuda", "attack_batch": 9, "attack_shards": 4, "data_root": "elsewhere",
            "data_download": None}  # fmt: skip
    assert folder(**same) == folder() == folder(seed=0, attack_pixels=[1, 2], attack_generations=5)
    assert folder(runs="there").parents[2].name == "there"


def test_a_protocol_that_is_written_anew_is_read_anew(tmp_path, monkeypatch):
    shutil.copytree(protocols.FOLDER, tmp_path / "params")
    for module in (protocols, loading):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "params")
    path = tmp_path / "params" / "protocols" / "demo.yaml"
    text = path.read_text()
    name = params.load("demo", attack_generations=7).run_name
    path.write_text(text.replace("attack_generations: 5", "attack_generations: 7"))
    assert text != path.read_text()
    assert params.load("demo", attack_generations=7).run_name == "demo" != name


def test_a_run_has_one_folder_for_all_data_sets():
    """Pathology has 28 pixels under this protocol anyway."""
    names = {params.load("compact", d, data_size=28).run_name for d in params.names("datasets")}
    assert len(names) == 1 and names != {"compact"}


def test_a_folder_stays_when_values_are_settled_later():
    p = params.load("compact", seed=3)
    later = p.model_copy(update={"dataset": "oct", "attack_precision": "float32"})
    assert later.run_folder == folder("compact", "oct", seed=3)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "attackers_defenses": st.lists(
                st.sampled_from(["median3", "dae", "dae+patches"]), min_size=1, unique=True
            ),
            "classifier_sizes": st.lists(st.integers(28, 10**9)),
            "denoiser_median_noise": st.lists(st.floats(1e-9, 1), min_size=1),
            "seed": st.integers(0, 2**32 - 1),
            "denoiser_noise": st.floats(1e-9, 1),
            "data_split": st.just("paper"),
            "classifier_include_normal": st.booleans(),
        },
    )
)
def test_any_values_give_a_name_that_file_systems_take(values):
    name = params.load("demo", **values).run_name
    assert re.fullmatch(r"[A-Za-z0-9_=+,.-]{1,150}", name) and not name.endswith(".")


def test_other_phantoms_lie_elsewhere():
    roots = [
        params.load("demo", **given).data_root
        for given in ({}, {"seed": 1}, {"seed": 2}, {"data_phantom_images": 900})
    ]
    assert len(set(roots)) == len(roots)
    assert params.load("demo", attack_generations=2).data_root == roots[0]
    assert params.load("demo", seed=1, data_root="mine").data_root == "mine"


def test_command_line_prints_one_sentence_and_fails():
    command = [sys.executable, "-m", "lib.params", "DATASET=derma", "SEEED=1"]
    result = subprocess.run(command, cwd=params.ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert (
        result.stderr.count("\n") == 1 and "'seeed'" in result.stderr and "'seed'" in result.stderr
    )


@pytest.mark.parametrize("name", [n for n in params.names("datasets") if n != "abdomen_ct"])
def test_facts_agree_with_medmnist(name):
    from medmnist.info import INFO

    facts = params.facts(name)
    info = INFO[facts.flag]
    assert len(info["label"]) == len(facts.classes)
    assert info["n_channels"] == facts.channels
    assert ("multi-label" in info["task"]) == facts.multi_label
    for place, item in enumerate(facts.classes):
        ours, theirs = item.name.split()[0][:4].lower(), info["label"][str(place)].lower()
        known = {"stro": "cancer-associated stroma", "aden": "colorectal adenocarcinoma epithelium"}
        assert ours in theirs or known.get(ours) == theirs or ours == "plea"
