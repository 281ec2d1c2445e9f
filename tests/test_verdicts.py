"""Verdicts: the rule in words, and records made up so that the answer is known."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book import ablation_text, claim_cards, generated, results_readme
from lib import params
from lib.evidence import (
    ablation,
    claims,
    printed_comparison,
    rates,
    record,
    table_verdicts,
    variants,
    verdicts,
)
from lib.evidence import printed as paper
from lib.evidence.claims_attack import (
    densenet_below_on_derma_only,
    larger_is_easier,
    order_of_data_sets,
    two_above_one,
)
from lib.evidence.claims_defense import (
    dae_ahead,
    dae_ahead_of_nothing,
    dae_recovers_more,
    dae_recovers_more_than_a_median,
    independent_of_classifier,
    past_best,
)
from lib.evidence.rates import defense_rates
from lib.evidence.record import Record
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.run_tables import RUN as KEYS
from lib.figures import tables
from lib.figures.formatting import shown
from lib.metrics.intervals import wilson
from lib.params.protocols import about

P = params.load("compact", bootstrap_samples=200)
FOLDERS = pd.DataFrame(
    [
        {"results": "derma/resnet50", "source": "rebuilt", "steps": "classifier, pixel_attack"},
        {"results": "oct/resnet50", "source": "rebuilt", "steps": "classifier"},
        {"results": "abdomen_ct", "source": "rebuilt", "steps": "ablation"},
    ]
)
NOTHING = Record(FOLDERS.iloc[:0], None, pd.DataFrame(), None)


def attacked(dataset, classifier, pixels, rate, n=200, group=-1):
    """Attack records of test images with a success rate, the same in each class but for rounding.

    Images are in the order of their index; those with the lowest are fooled. ``group`` has the
    patient of each, -1 for unknown.
    """
    classes = len(params.facts(dataset).attack_classes)
    return pd.DataFrame(
        {
            "protocol": "compact", "dataset": dataset, "size": 64, "classifier": classifier,
            "pixels": pixels, "split": "test", "part": "test", "index": range(n),
            "category": np.arange(n) % classes, "group": group,
            "success": np.arange(n) < rate * n,
        }
    )  # fmt: skip


MEASURED = {"ssim": 0.9, "mse": 0.001, "gmsd": 0.1, "fsim": 0.9, "exact": False}
RESIDUALS = {"error_attacked": 1.0, "error_elsewhere": 1.0, "clean_residual_mean": 1.0}


def defended(records, **psnr):
    """Restoration rows with a mean PSNR for each defense; images differ by the same in all."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, len(records))
    tables = []
    for name, mean in psnr.items():
        spread = images + rng.normal(0, 0.2, len(records))
        found = {"psnr": mean + spread, "recovered": name != "identity", "kept": True}
        tables.append(records.assign(defense=name, **found, **MEASURED, **RESIDUALS))
    return pd.concat(tables, ignore_index=True)


def runs_of(attacks, **psnr):
    nets = attacks[KEYS].drop_duplicates(ignore_index=True)
    nets = nets.assign(source="rebuilt", seed=0, accuracy=0.9, constant=0.5, weak=False, weights="")
    nets["restorers"] = [{} for _ in nets.index]
    return RecordedRuns(nets, attacks, defended(attacks, **psnr))


def recorded(*runs, ablated=None, **psnr):
    found = runs_of(pd.concat([attacked(*run) for run in runs], ignore_index=True), **psnr)
    return Record(FOLDERS, found, pd.DataFrame(), ablated)


def of_sizes(found, **sizes):
    """Runs as if the images of these data sets had other sizes."""
    tables = {name: getattr(found, name) for name in ("runs", "attacks", "restored")}
    return replace(found, **{
        name: of.assign(size=of["dataset"].map(sizes).fillna(of["size"]).astype(int))
        for name, of in tables.items()
    })  # fmt: skip


def changed(found, **tables):
    """A record whose runs have other tables."""
    return replace(found, runs=replace(found.runs, **tables))


def moved(found, by, column="psnr", where=True):
    """A record with a column changed after attacks on DenseNet121, in all rows or some."""
    table = found.runs.restored.copy()
    table[column] += by * (where & (table["classifier"] == "densenet121"))
    return changed(found, restored=table)


def restored_by(found, *trainings):
    """Runs whose images were restored by these trainings of the DAE, one a run; "" for unknown."""
    named = [{"dae": name} if name else {} for name in trainings]
    return replace(found, runs=found.runs.assign(restorers=named))


BOTH_NETS = [("derma", "resnet50", 2, 0.6), ("derma", "densenet121", 2, 0.3)]
RIGHT = {"chest": 0.9, "oct": 0.6, "derma": 0.3, "pathology": 0.05}  # the printed order
LEVELS = {"identity": 40.0, "dae": 35.0, "noise2noise": 30.0, "median_cnn": 31, "autoencoder": 29}


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("holds", "word"),
    [
        ([True, True], "replicated"), ([True, False], "in part"),
        ([False, False], "not replicated"), ([], "not testable"),
    ],
)  # fmt: skip
def test_values_follow_the_rule(holds, word):
    rows = pd.DataFrame({"holds": holds, "source": "official", "protocol": "paper"})
    assert verdicts.of_values(rows.astype({"holds": bool})).word == word


def test_values_of_another_size_get_no_verdict_but_are_counted():
    rows = pd.DataFrame({"holds": [True, False], "source": "rebuilt", "protocol": "compact"})
    verdict = verdicts.of_values(rows, "it is small")
    assert verdict.word == "not testable" and "1 of 2" in verdict.reason
    assert "it is small" in verdict.reason


@pytest.mark.parametrize(
    ("holds", "signs", "word"),
    [
        ([True], "++", "replicated"), ([True], "+0", "in part"), ([False], "+-", "in part"),
        ([False], "-0", "not replicated"),
    ],
)  # fmt: skip
def test_orders_of_a_table_count_as_its_values_do(holds, signs, word):
    rows = pd.DataFrame({"holds": holds, "source": "rebuilt", "protocol": "sample"})
    orders = verdicts.of_differences(differences(signs), "it is so")
    verdict = verdicts.of_values(rows, orders=orders)
    assert verdict.word == word and orders.reason in verdict.reason
    assert verdicts.of_values(rows, "it is small", orders).word == "not testable"


SIGNS = {"+": (1.0, 0.5, 1.5), "-": (-1.0, -1.5, -0.5), "0": (0.1, -0.5, 0.7)}


def differences(signs):
    return {(f"place {n}",): [SIGNS[sign]] for n, sign in enumerate(signs)}


@given(st.lists(st.sampled_from("+-0"), min_size=1))
def test_orders_follow_the_rule(signs):
    verdict = verdicts.of_differences(differences(signs), "it is so")
    expected = "in part" if "+" in signs else "not replicated"
    assert verdict.word == ("replicated" if set(signs) == {"+"} else expected)
    assert verdict.opposite == (expected == "not replicated" and "-" in signs)
    assert verdict.counts == tuple(signs.count(sign) for sign in "+-0")
    assert all(str(count) in verdict.reason for count in verdict.counts if count)


def test_a_reason_names_a_few_exceptions():
    reason = verdicts.of_differences(differences("+-00"), "it is so").reason
    assert [f"place {n}" in reason for n in range(4)] == [False, True, True, True]
    assert "place" not in verdicts.of_differences(differences("+00000"), "it is so").reason


def test_trainings_are_held_by_one_interval_and_one_image_has_none():
    several = {("oct",): [SIGNS["+"], SIGNS["-"]], ("chest",): [(1.0, np.nan, np.nan)]}
    assert verdicts.of_differences(several, "it is so").counts == (0, 0, 1)
    assert verdicts.holding(several["oct",]) == (0, -1.5, 1.5)


def test_a_reason_counts_trainings_that_point_one_way_and_those_that_do_so_clearly():
    def reason(*trainings):
        return verdicts.of_differences({("oct",): [*trainings]}, "it is so").reason

    clear, open_ = SIGNS["+"], SIGNS["0"]
    claimed = reason(clear, open_, open_)
    opposite = reason(*([-each[0], -each[2], -each[1]] for each in (clear, open_, open_)))
    for text in (claimed, opposite):
        assert re.findall(r"\d+", text)[-2:] == ["3", "1"]
    assert claimed != opposite
    assert len(reason(clear, SIGNS["-"])) < len(claimed)  # they point both ways


def test_a_claim_that_was_not_tested_everywhere_is_at_most_in_part():
    for word in verdicts.WORDS:
        verdict = verdicts.Verdict(word, "So.")
        assert verdicts.over_data_sets(verdict, paper.DATASETS) == verdict
        capped = verdicts.over_data_sets(verdict, {"derma", "oct", "chest"})
        assert capped.word == ("in part" if word == "replicated" else word)
        assert ("Pathology" in capped.reason) == (word != "not testable")


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError):
        verdicts.Verdict("maybe", "so")
    assert verdicts.counts(["in part", "in part"])["in part"] == 2


# ---------------------------------------------------------------- claims


def test_every_claim_has_a_test_and_nothing_recorded_is_not_testable():
    assert [entry["id"] for entry in claims.entries()] == list(claims.TESTS)
    ledger = claims.ledger([(NOTHING, P)])
    assert (ledger["verdict"] == "not testable").all() and ledger["reason"].str.endswith(".").all()


@pytest.fixture
def anywhere(monkeypatch):
    """A claim is about the data sets of the record and no others."""
    monkeypatch.setattr(verdicts, "DATASETS", ())


ANYWHERE = pytest.mark.usefixtures("anywhere")
RUN = ("derma", "resnet50", 2, 0.5)


@ANYWHERE
@pytest.mark.parametrize(
    ("levels", "ahead", "of_nothing"),
    [
        ({}, "replicated", "not replicated"),
        ({"median_cnn": 38}, "in part", "not replicated"),
        ({"dae": 28}, "not replicated", "not replicated"),
        ({"dae": 45}, "replicated", "replicated"),
    ],
)
def test_the_dae_is_compared_on_the_same_images(levels, ahead, of_nothing):
    found = recorded(RUN, **(LEVELS | levels))
    assert dae_ahead(found, P).word == ahead
    assert dae_ahead_of_nothing(found, P).word == of_nothing


@ANYWHERE
def test_only_successful_attacks_tell_of_the_dae():
    found = recorded(RUN, median3=40.0, **(LEVELS | {"dae": 28.0}))
    restored = found.runs.restored
    of_dae, failed = restored["defense"] == "dae", ~restored["success"]
    restored = restored.assign(recovered=of_dae)
    turned = restored.assign(
        psnr=restored["psnr"].mask(of_dae & failed, 90), recovered=of_dae != failed
    )
    for table in (restored, turned):
        of = changed(found, restored=table)
        assert dae_ahead(of, P).counts == (0, 3, 0)
        assert dae_ahead_of_nothing(of, P).counts == (0, 1, 0)
        assert dae_recovers_more(of, P).counts == (3, 0, 0)
        assert dae_recovers_more_than_a_median(of, P).counts == (1, 0, 0)


def test_the_order_of_data_sets_and_classifiers(monkeypatch):
    found = recorded(*((name, "resnet50", 2, rate) for name, rate in RIGHT.items()), **LEVELS)
    verdict = order_of_data_sets(found, P)
    assert verdict.word == "replicated" and verdict.counts == (6, 0, 0)
    # Training images do not count, and without test images of every class there is no rate.
    records = found.runs.attacks.copy()
    records.loc[(records["dataset"] == "chest") & (records["category"] > 0), "part"] = "train"
    fewer = changed(found, attacks=records)
    verdict = order_of_data_sets(fewer, P)
    assert verdict.word == "in part" and verdict.counts == (3, 0, 0) and "Chest" in verdict.reason
    turned = recorded(*((name, "resnet50", 2, 1 - rate) for name, rate in RIGHT.items()), **LEVELS)
    assert order_of_data_sets(turned, P).word == "not replicated"
    other = [(name, "densenet121", 2, 1 - rate) for name, rate in RIGHT.items()]
    both = pd.concat([found.runs.attacks, *(attacked(*run) for run in other)])
    assert order_of_data_sets(changed(found, attacks=both), P).counts == (6, 0, 0)
    assert densenet_below_on_derma_only(recorded(*BOTH_NETS, **LEVELS), P).word == "in part"
    monkeypatch.setattr(verdicts, "DATASETS", ("derma",))
    assert densenet_below_on_derma_only(recorded(*BOTH_NETS, **LEVELS), P).word == "replicated"
    more = [*BOTH_NETS, ("oct", "resnet50", 2, 0.6), ("oct", "densenet121", 2, 0.3)]
    assert densenet_below_on_derma_only(recorded(*more, **LEVELS), P).word == "in part"
    assert independent_of_classifier(recorded(*BOTH_NETS, **LEVELS), P).word == "replicated"
    learned = changed(found, attacks=found.runs.attacks.assign(part="train"))
    assert densenet_below_on_derma_only(learned, P).word == "not testable"


def test_rates_are_compared_at_one_size_only():
    runs = [("oct", "resnet50", 2, 0.6), ("derma", "resnet50", 2, 0.3)]
    found = recorded(*runs, **LEVELS)
    other = replace(found, runs=of_sizes(found.runs, derma=28))
    assert order_of_data_sets(found, P).counts == (1, 0, 0)
    assert order_of_data_sets(other, P).word == "not testable"
    small = of_sizes(recorded(("oct", "resnet50", 2, 0.1), **LEVELS).runs, oct=28)
    both = replace(other, resized=(small,))  # of OCT, below Derma's 0.3
    assert order_of_data_sets(both, P).counts == (0, 1, 0)


@ANYWHERE
def test_two_pixels_against_one():
    for (one, two), word in (((0.2, 0.6), "replicated"), ((0.4, 0.405), "not replicated")):
        runs = [("oct", "resnet50", 1, one), ("oct", "resnet50", 2, two)]
        assert two_above_one(recorded(*runs, **LEVELS), P).word == word


@ANYWHERE
def test_two_pixels_are_held_against_one_on_the_same_images_only():
    one = attacked("oct", "resnet50", 1, 0.5, n=20)
    two = attacked("oct", "resnet50", 2, 0.8, n=20)
    # Harder images that only two pixels were tried on bring its rate to 16 of 60.
    more = attacked("oct", "resnet50", 2, 0.0, n=40).assign(split="train")
    records = pd.concat([one, two, more], ignore_index=True)
    found = recorded(("oct", "resnet50", 1, 0.5), **LEVELS)
    found = changed(found, attacks=records)
    assert two_above_one(found, P).word == "replicated"
    alone = changed(found, attacks=pd.concat([one, more]))
    assert two_above_one(alone, P).word == "not testable"


@ANYWHERE
def test_comparisons_of_two_pixels_that_alone_decide_nothing_may_decide_together():
    runs = [
        (name, "resnet50", pixels, share, 12)
        for name in ("oct", "derma") for pixels, share in ((1, 0.5), (2, 0.75))
    ]  # fmt: skip
    each, both = (two_above_one(recorded(*of, **LEVELS), P) for of in (runs[:2], runs))
    assert both.counts == (0, 0, 2) and both.word == "not replicated"
    low, high = re.search(r"\+25 \(([+-]\d+) to ([+-]\d+)\)", both.reason).groups()
    wide = re.search(r"\+25 \(([+-]\d+) to ([+-]\d+)\)", each.reason).groups()
    assert int(wide[0]) < 0 < int(low) <= 25 <= int(high) < int(wide[1])


@ANYWHERE
def test_images_of_one_patient_decide_nothing():
    for patients, word in ((range(12), "replicated"), (0, "not replicated")):
        runs = [("oct", "resnet50", pixels, pixels - 1, 12, patients) for pixels in (1, 2)]
        verdict = two_above_one(recorded(*runs, **LEVELS), P)
        assert verdict.word == word and not verdict.opposite


def test_rates_are_less_certain_where_images_share_a_patient():
    def widths(group):
        records = attacked("derma", "resnet50", 2, 0.5, n=70, group=group)
        found = pd.concat([pd.DataFrame([rates.success_rate(records)]),
                           rates.success_by_class(records)])  # fmt: skip
        return (found["high"] - found["low"]).to_numpy()

    alone, shared = widths(range(70)), widths(np.arange(70) // 14)  # two of each class
    assert len(alone) > 8 and (shared > alone).all()


@ANYWHERE
def test_a_difference_between_two_models_must_hold_for_every_training():
    def runs(derma, dense):
        rates = [("derma", "resnet50", 2, derma), ("derma", "densenet121", 2, dense)]
        return recorded(*rates, **LEVELS)

    once = runs(0.6, 0.3)
    again, turned = runs(0.55, 0.35).runs, runs(0.4, 0.5).runs
    for repeats, word in (((again,), "replicated"), ((again, turned), "not replicated")):
        found = replace(once, repeats=repeats)
        assert densenet_below_on_derma_only(found, P).word == word
    assert densenet_below_on_derma_only(found, P).counts == (0, 0, 1)
    better, worse = ({**LEVELS, "dae": level} for level in (36.0, 20.0))
    for levels, count in ((better, 3), (worse, 0)):
        repeat = recorded(("derma", "resnet50", 2, 0.6), **levels).runs
        found = replace(recorded(("derma", "resnet50", 2, 0.6), **LEVELS), repeats=(repeat,))
        assert dae_ahead(found, P).counts[0] == count


def test_data_sets_are_compared_between_all_trainings():
    def runs(oct_, derma):
        each = [("oct", "resnet50", 2, oct_), ("derma", "resnet50", 2, derma)]
        return recorded(*each, **LEVELS)

    # In each training OCT is ahead, but the second OCT is behind the first Derma.
    for repeat, counts in (((0.6, 0.3), (1, 0, 0)), ((0.2, 0.05), (0, 0, 1))):
        found = replace(runs(0.6, 0.3), repeats=(runs(*repeat).runs,))
        assert order_of_data_sets(found, P).counts == counts


def test_the_classifier_makes_no_difference_only_if_it_makes_none_in_every_training():
    once = recorded(*BOTH_NETS, **LEVELS)
    assert independent_of_classifier(once, P).counts == (1, 0, 0)
    found = replace(once, repeats=(moved(once, 5).runs,))
    verdict = independent_of_classifier(found, P)
    assert verdict.word == "not replicated" and verdict.counts == (0, 0, 1)
    other = restored_by(found.repeats[0], "b", "")
    assert independent_of_classifier(replace(found, repeats=(other,)), P).counts == (1, 0, 0)


@pytest.mark.parametrize(
    ("shift", "counts"),
    [(0.2, (1, 0, 0)), (5, (0, 1, 0)), (-5, (0, 1, 0)), (1, (0, 0, 1)), (-1, (0, 0, 1))],
)
def test_means_of_two_classifiers_are_the_same_within_a_decibel_either_way(shift, counts):
    found = moved(recorded(*BOTH_NETS, **LEVELS), shift)
    assert independent_of_classifier(found, P).counts == counts


def test_only_two_pixels_and_successes_tell_of_the_classifier():
    found = recorded(*BOTH_NETS, ("derma", "densenet121", 1, 0.3), **LEVELS)
    restored = found.runs.restored
    others = (restored["pixels"] == 1) | ~restored["success"]
    for each in (found, moved(found, 90, where=others)):
        assert independent_of_classifier(each, P).counts == (1, 0, 0)


def test_a_bound_of_zero_is_inconclusive():
    for bounds in ((0.5, 0.0, 1.0), (-0.5, -1.0, 0.0), (0.0, 0.0, 0.0)):
        assert verdicts.of_differences({("oct",): [bounds]}, "it is so").counts == (0, 0, 1)


def test_exact_images_do_not_count():
    found = recorded(RUN, **LEVELS)
    restored = found.runs.restored.copy()
    exact = (restored["defense"] == "dae") & (restored["index"] < 3)
    restored.loc[exact, "psnr"] = np.inf
    of = changed(found, restored=restored)
    assert dae_ahead(of, P).counts == dae_ahead(found, P).counts


def test_too_few_images_are_not_compared():
    found = recorded(RUN, median3=40.0, **LEVELS)
    fooled = found.runs.restored[found.runs.restored["success"]]
    one = replace(found.runs, restored=fooled.groupby("defense").head(1))
    assert dae_ahead(replace(found, repeats=(one,)), P) == dae_ahead(found, P)
    five = replace(found.runs, restored=fooled.groupby("defense").head(5))
    few = replace(found, runs=five)
    assert dae_recovers_more_than_a_median(few, P).word == "not testable"
    both = [("oct", "resnet50", pixels, 0.5, 5) for pixels in (1, 2)]
    assert two_above_one(recorded(*both, **LEVELS), P).word == "not testable"


@ANYWHERE
def test_two_trainings_of_the_denoiser_say_nothing_of_the_classifier():
    found = recorded(*BOTH_NETS, **LEVELS)
    for ids, word in ((("a", "a"), "replicated"), (("a", "b"), "not testable")):
        of = replace(found, runs=restored_by(found.runs, *ids))
        assert independent_of_classifier(of, P).word == word
    of = replace(of, runs=restored_by(found.runs, "", "b"))  # one unknown
    verdict = independent_of_classifier(of, P)
    assert verdict.word == "not testable" and "Derma" in verdict.reason


@ANYWHERE
def test_one_training_of_the_denoiser_is_known_by_what_it_does_to_clean_images():
    found = recorded(*BOTH_NETS, **LEVELS)
    apart = moved(found, 1e-9, "clean_residual_mean")
    for of, word in ((found, "replicated"), (apart, "not testable")):
        assert independent_of_classifier(of, P).word == word


def test_a_claim_about_all_data_sets_needs_all():
    runs = [(name, net, 2, 0.5) for name in ("derma", "oct") for net in ("resnet50", "densenet121")]
    found = recorded(*runs, **LEVELS)
    of_oct = found.runs.restored["dataset"] == "oct"
    verdict = independent_of_classifier(moved(found, 1, "clean_residual_mean", of_oct), P)
    assert verdict.word == "in part" and verdict.counts == (1, 0, 0)
    assert {name for name, _ in verdict.images} == {"derma"}  # OCT is left out


@ANYWHERE
def test_classes_that_come_back_are_compared_image_by_image():
    found = recorded(RUN, median3=40.0, **LEVELS)  # a hundred fooled images
    restored = found.runs.restored.copy()
    for name, share in (("noise2noise", 50), ("median_cnn", 98), ("median3", 20)):
        of = restored["defense"] == name
        restored.loc[of, "recovered"] = restored.loc[of, "index"] < share
    restored.loc[restored["defense"] == "dae", "recovered"] = restored["index"] < 60
    found = changed(found, restored=restored)
    verdict = dae_recovers_more(found, P)
    assert verdict.word == "in part" and verdict.counts == (1, 2, 0)
    assert dae_recovers_more_than_a_median(found, P).word == "replicated"
    assert "Median CNN" in verdict.reason


def test_images_that_were_learned_from_tell_nothing_of_a_defense():
    found = recorded(RUN, median3=40.0, **LEVELS)
    restored = found.runs.restored.copy()
    learned = restored["index"] < 90  # of the hundred fooled
    restored.loc[learned, "part"] = "train"
    # The denoiser does well on what it knows, and a median does well on the rest.
    restored.loc[restored["defense"] == "dae", "recovered"] = learned
    restored.loc[restored["defense"] == "median3", "recovered"] = ~learned
    found = changed(found, restored=restored)
    verdict = dae_recovers_more_than_a_median(found, P)
    assert verdict.word == "not replicated" and verdict.opposite
    each = defense_rates(found.runs.tested.restored).set_index("defense")
    assert each.loc["dae", ["n", "recovered"]].tolist() == [10, 0]
    assert each.loc["dae", "images"] == 110


def test_what_each_training_gave():
    def runs(seed, *rates, **levels):
        found = recorded(*rates, **levels).runs
        return replace(found, runs=found.runs.assign(seed=seed))

    oct_, derma = ("oct", "resnet50", 2, 0.5), ("derma", "resnet50", 2, 0.25)
    once = runs(0, derma, oct_, dae=30.0, identity=40.0)
    again = runs(7, oct_, dae=33.0, identity=40.0)
    table = variants.trained_again((once, again))
    assert table[["dataset", "defense", "seed"]].values.tolist() == [
        ["oct", "dae", 0], ["oct", "dae", 7], ["oct", "identity", 0], ["oct", "identity", 7],
    ]  # fmt: skip
    assert table["psnr"].round(0).tolist() == [30, 33, 40, 40]
    assert table["n"].tolist() == [100] * 4
    assert not len(variants.trained_again((once,))) and not len(variants.trained_again(()))


def test_a_run_that_does_not_name_its_denoisers_is_named():
    runs = recorded(RUN, ("derma", "densenet121", 2, 0.5), **LEVELS).runs
    found = restored_by(runs, "", "a")
    assert not generated.unnamed(found)  # nothing was trained
    trained = pd.DataFrame({"dataset": ["derma"], "denoiser": ["dae"]})
    named = generated.unnamed(replace(found, denoisers=trained))
    assert "ResNet50" in named and "DenseNet121" not in named


def test_runs_that_differ_in_the_seed_or_in_the_size_alone_are_known():
    assert variants.repeats("compact") == ["compact-seed-1", "compact-seed-2"]
    assert variants.resized("compact") == ["compact-128", "compact-224", "compact-28"]


@pytest.mark.parametrize(
    ("rates", "word"),
    [
        ({64: [0.5], 28: [0.2]}, "replicated"),
        ({64: [0.5], 28: [0.2], 224: [0.4]}, "in part"),
        ({64: [0.2], 28: [0.5]}, "not replicated"),
        ({64: [0.2]}, "not testable"),
        ({64: [0.5, 0.21], 28: [0.2]}, "not replicated"),  # open: not so in every training
    ],
)
def test_sizes_are_compared_with_nothing_else_changed(rates, word):
    def runs(size, rate):
        found = recorded(("oct", "resnet50", 1, rate), **LEVELS).runs
        found = replace(found, runs=found.runs.assign(accuracy=rate + 0.3))
        return of_sizes(found, oct=size)

    own, *repeats = (runs(64, rate) for rate in rates[64])
    resized = tuple(runs(size, rate) for size in rates if size != 64 for rate in rates[size])
    found = replace(recorded(RUN, **LEVELS), runs=own, repeats=tuple(repeats), resized=resized)
    verdict = larger_is_easier(found, P)
    assert verdict.word == word
    if word == "replicated":  # a weak classifier is easy to fool
        assert all(part in verdict.reason for part in ("50.0 %", "28 px", "80.0 %", "64 px"))
    assert verdict.images == ({("oct", size) for size in rates} if len(rates) > 1 else set())
    if len(rates[64]) > 1:
        assert verdict.counts == (0, 0, 1)


def test_sizes_are_compared_on_the_images_that_were_attacked_at_both():
    large = recorded(("oct", "resnet50", 1, 0.5), **LEVELS).runs
    first = large.attacks.head(100)  # all of them were fooled at 64 pixels
    small = of_sizes(replace(large, attacks=first.assign(success=first.index < 90)), oct=28)
    found = replace(recorded(RUN, **LEVELS), runs=large, resized=(small,))
    assert larger_is_easier(found, P).word == "replicated"  # by rates it is 50 to 90 %


def test_a_variant_stands_beside_its_base():
    def runs(rate, n=100):
        found = recorded(("oct", "resnet50", 1, rate), **LEVELS).runs
        return replace(found, attacks=found.attacks.head(n))

    both = {"compact": runs(0.5, 200), "compact-true-label": runs(0.3)}
    row = variants.contrasts(both, "compact").iloc[0]
    assert (row["variant"], row["base_rate"], row["rate"]) == ("compact-true-label", 0.5, 0.6)
    assert (row["n"], row["shared"]) == (100, 100)
    # Of the hundred that both attacked, the base fooled all and the variant sixty.
    assert row["difference"] == pytest.approx(-0.4)
    assert row["difference_low"] < -0.4 < row["difference_high"] < 0
    assert row["base_rate_low"] < 0.5 < row["base_rate_high"]
    again = {"compact": runs(0.5), "compact-seed-2": runs(0.3, n=5)}
    few = variants.contrasts(again, "compact").iloc[0]
    assert few["variant"] == "compact-seed-2" and few["shared"] == 5 and np.isnan(few["difference"])
    assert not len(variants.contrasts({"compact-seed-2": runs(0.3)}, "compact"))  # no base
    same = {"sample": runs(0.5), "sample-attackers": runs(0.5)}  # other attackers, the same attack
    assert not len(variants.contrasts(same, "sample"))
    other = {"compact": runs(0.5), "compact-28": recorded(RUN, **LEVELS).runs}
    assert not len(variants.contrasts(other, "compact"))


def test_a_variant_stands_in_for_runs_that_no_defense_has_restored():
    own = recorded(*BOTH_NETS, **LEVELS).runs
    alone = replace(own, restored=own.restored[own.restored["classifier"] == "resnet50"])
    every = {"sample-short": replace(own, runs=own.runs.assign(weights=""))}
    table = variants.restored_instead(alone, every)
    assert set(table["classifier"]) == {"densenet121"} and set(table["variant"]) == {"sample-short"}
    assert table.set_index("defense")["psnr"].to_dict() == pytest.approx(LEVELS, rel=0.01)
    about = table.assign(accuracy=0.7, constant=0.6688)
    said = ablation_text.instead("sample", about)
    assert {"70.0 %", "66.9 %"} == set(re.findall(r"[\d.]+ %", said))
    assert len(variants.restored_instead(replace(own, restored=pd.DataFrame()), every)) == 2 * len(
        table
    )
    assert not len(variants.restored_instead(own, every))  # nothing is lacking
    assert not len(variants.restored_instead(alone, {}))
    other = {"sample-short": of_sizes(every["sample-short"], derma=28)}
    assert not len(variants.restored_instead(alone, other))


def test_each_data_set_has_its_own_nearest_protocol():
    found = recorded(("oct", "resnet50", 2, 0.5), ("derma", "resnet50", 2, 0.5), **LEVELS).runs
    far = found.runs[found.runs["dataset"] == "oct"].assign(protocol="farther")
    only = found.runs.assign(protocol=np.where(found.runs["dataset"] == "derma", "other", "near"))
    runs = pd.concat([only, far], ignore_index=True)
    lacking = replace(found, runs=runs, restored=pd.DataFrame()).unrestored
    assert sorted(zip(lacking["dataset"], lacking["protocol"], strict=True)) == [
        ("derma", "other"), ("oct", "near"),
    ]  # fmt: skip


def test_denoisers_trained_otherwise_stand_beside_the_protocols_own():
    def runs(weights="", **levels):
        found = recorded(("oct", "resnet50", 2, 0.5), **levels).runs
        return replace(found, runs=found.runs.assign(weights=weights))

    every = {
        "compact": runs(dae=30.0, autoencoder=25.0, noise2noise=26.0, identity=40.0),
        "compact-equal": runs(dae=34.0, noise2noise=29.0, identity=40.0),
        "compact-true-label": runs(dae=99.0),  # another attack
    }
    table = variants.denoisers_trained_otherwise(every, "compact")
    assert table[["defense", "variant"]].values.tolist() == [
        ["dae", "compact"], ["dae", "compact-equal"],
        ["noise2noise", "compact"], ["noise2noise", "compact-equal"],
    ]  # fmt: skip
    assert table["psnr"].round(0).tolist() == [30, 34, 26, 29]
    text = ablation_text.classifiers(table)  # no checksum: maybe another classifier
    assert "`compact` (90.0 %" in text and "`compact-equal` (90.0 %" in text
    every |= {name: runs("a", dae=30.0) for name in ("compact", "compact-equal")}
    same = variants.denoisers_trained_otherwise(every, "compact")
    assert "`compact` and `compact-equal` (90.0 %" in ablation_text.classifiers(same)
    assert set(variants.contrasts(every, "compact")["variant"]) == {"compact-true-label"}
    del every["compact-equal"]
    assert not len(variants.denoisers_trained_otherwise(every, "compact"))
    screened = {name: runs(dae=level) for name, level in (("sample", 30.0), ("sample-equal", 34.0))}
    table = variants.denoisers_trained_otherwise(screened, "sample")  # the same attack, cheaper
    assert table["variant"].tolist() == ["sample", "sample-equal"]
    assert not len(variants.contrasts(screened, "sample"))


def test_each_variant_is_listed_with_what_its_file_says_of_it():
    names = ["compact-equal", "compact-equal-ten"]
    lines = ablation_text.changes("compact", names).splitlines()
    assert [line.split(":")[0] for line in lines] == ["- `equal`", "- `equal-ten`"]
    for name, line in zip(names, lines, strict=True):
        assert line.endswith(about(name)) and "#" not in line and len(about(name)) > 40


def ablated(unsettled=(), **levels):
    """Two seeds and twenty images for each variant, at given levels of PSNR."""
    rng = np.random.default_rng(0)
    names = [ablation.IDENTITY, *ablation.variants(1)]
    tables = [
        pd.DataFrame(
            {
                "variant": name, "seed": seed, "psnr": levels.get(name, 20 + place) + image,
                "mse": 0.01, "ssim": 0.9, "gmsd": 0.1, "fsim": 0.9,
            }
        )
        for seed in (0, 1)
        for place, name in enumerate(names)
        for image in [rng.normal(0, 0.01, 20)]
    ]  # fmt: skip
    metrics = pd.concat(tables, ignore_index=True)
    trained = metrics.loc[metrics["variant"] != ablation.IDENTITY, ["variant", "seed"]]
    models = trained.drop_duplicates(ignore_index=True)
    curves = [[20.0, 25.0, 30.0] if name in unsettled else [30.0] * 3 for name in models["variant"]]
    return metrics, models.assign(validation_psnr=curves)


def test_modules_and_depth():
    found = recorded(RUN, ablated=ablated(levels_3=20, levels_5=20), **LEVELS)
    assert claims.modules_help(found, P).word == "replicated"
    assert claims.four_levels_best(found, P).word == "replicated"
    found = recorded(RUN, ablated=ablated(attention=10, levels_3=40, levels_5=40), **LEVELS)
    assert claims.modules_help(found, P).word == "in part"
    assert claims.four_levels_best(found, P).word == "not replicated"


def test_only_models_whose_trainings_have_settled_are_compared():
    def verdict(*names):
        return claims.modules_help(recorded(RUN, ablated=ablated(names), **LEVELS), P)

    assert verdict("levels_3", "levels_5").word == "replicated"  # not among the modules
    some = verdict("attention")
    assert (some.word, some.counts) == ("in part", (3, 0, 0)) and "2 comparisons" in some.reason
    none = verdict("depth_kernels", "attention", "proposed")
    assert none.word == "not testable" and not any(none.counts)
    assert "not settled" in none.reason and "5 of 5" in none.reason
    metrics, models = ablated()
    unknown = recorded(RUN, ablated=(metrics, models[["variant", "seed"]]), **LEVELS)
    assert claims.four_levels_best(unknown, P).word == "not testable"


def test_the_page_of_the_ablation_says_what_the_record_tells_of_the_training():
    models = ablated(["attention"])[1]
    assert "1 of 8 models still rose" in ablation_text.rising(models)
    assert not ablation_text.rising(ablated()[1])
    text = ablation_text.rising(models[["variant", "seed"]])
    assert "not recorded" in text and "rose" not in text


# ---------------------------------------------------------------- values and coverage


def test_each_value_has_the_image_size_of_its_data_set():
    found = recorded(RUN, ("pathology", "resnet50", 2, 0.5), ablated=ablated(), **LEVELS)
    found = replace(found, runs=of_sizes(found.runs, pathology=28))
    table = printed_comparison.nearest([(found, P.model_copy(update={"ablation_size": 32}))])
    sizes = {number: of["size"].iloc[0] for number, of in table.groupby("table")}
    assert (sizes[19], sizes[22], sizes[4]) == (64, 28, 32)
    totals = table[table["table"] == 33]
    assert totals["size"].tolist() == [64 if "derma" in row else 28 for row in totals["row"]]
    assert pd.isna(sizes[1]) and pd.isna(sizes[6])  # counts need no images of a size
    assert "NA" not in tables.table(printed_comparison.shown(table)).to_html()
    assert "0 of 0 values" in claim_cards.tested(table)  # at 224 px


def test_printed_numbers_stand_beside_ours():
    found = recorded(RUN, ("derma", "densenet121", 2, 0.2), ablated=ablated(), **LEVELS)
    table = printed_comparison.compare(found, P)
    assert set(table["table"]) == {1, 2, 3, 4, 5, 6, 19, 20, 33, 35, 36, 43}
    total = table[(table["table"] == 33)].iloc[0]
    assert (total["printed"], total["n"]) == (0.2614, 200)
    assert total["ours"] == pytest.approx(0.5, abs=0.01)  # each class as often as in Table 19
    assert not total["holds"]
    assert (table["low"] <= table["ours"] + 1e-9).all()
    assert (table["ours"] <= table["high"] + 1e-9).all()
    sizes = table[table["source"] == "code"]
    assert sizes["holds"].all() and sizes["printed"].tolist() == [7009, 8163]
    assert set(table["source"]) == {"code", "MedMNIST", "rebuilt"}
    told = printed_comparison.shown(table)
    assert len(told) == len(table)
    of = told[told["table"] == 35].iloc[0]
    assert (of["data set, classifier"], of["quantity"]) == ("Derma, DenseNet121", "success rate, %")
    assert float(of["printed"]) == pytest.approx(28.0) and of["ours"].endswith(")")
    assert set(told.loc[told["table"].isin([4, 5]), "data set, classifier"]) == {"AbdomenCT"}
    assert told.loc[told["table"] == 1, "quantity"].item() == "parameters"


def test_coverage_has_a_row_for_each_table_and_figure():
    for found in (NOTHING, recorded(RUN, **LEVELS)):
        table = table_verdicts.judge(printed_comparison.compare(found, P), found, P)
        assert len(table) == 78 and table["reason"].str.len().min() > 10
        tables = table[table["kind"] == "table"]
        assert tables["number"].tolist() == [*range(1, 52), "A1"]
        assert table.loc[table["kind"] == "figure", "number"].tolist() == list(range(1, 27))
        assert set(table["notebook"]) <= {*params.STEPS, "status", "index"}
        judged = tables[tables["verdict"] != "not testable"]
        assert judged["number"].tolist() == [6]  # which needs no run
    assert "of 7" in tables.set_index("number").loc[19, "reason"]


def test_a_table_of_which_a_class_was_hardly_attacked_is_at_most_in_part():
    keys = "derma", "resnet50", 2
    printed = paper.attack_table(*keys)
    classes = [attacked(*keys, share, n=100) for share in printed["printed_rate"]]
    every = pd.concat([of.assign(category=at) for at, of in enumerate(classes)], ignore_index=True)
    few = every[(every["category"] != 3) | (every["index"] < 5)]
    p = params.load("paper", bootstrap_samples=20)
    found = []
    for records in (every, few):
        official = FOLDERS.assign(source="official")
        of = Record(official, runs_of(records, **LEVELS), pd.DataFrame(), None)
        table = table_verdicts.judge(printed_comparison.compare(of, p), of, p)
        found.append(table[table["kind"] == "table"].set_index("number").loc[19])
        if records is every:  # of one data set of four
            assert set(table.set_index("number").loc[[33, 43], "verdict"]) == {"in part"}
    assert [row["verdict"] for row in found] == ["replicated", "in part"]
    assert printed["class"][3] in found[1]["reason"]


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1), st.floats(0, 1))
def test_rates_agree_unless_their_difference_excludes_zero(n, other, one, two):
    ours, theirs = (round(share * of) for share, of in ((one, n), (two, other)))
    rate = (ours / n, *wilson(ours, n))
    printed = (theirs / other, *wilson(theirs, other))
    agree = rates.agrees(rate, theirs / other, other)
    assert agree == rates.agrees(printed, ours / n, n)  # whoever is printed
    if rate[1] <= printed[0] <= rate[2] and printed[1] <= rate[0] <= printed[2]:
        assert agree  # each interval contains the other rate
    if rate[2] < printed[1] or printed[2] < rate[1]:
        assert not agree  # intervals apart


def test_only_runs_with_the_papers_size_and_budget_test_a_value():
    sample, compact = (params.load(name) for name in ("sample", "compact"))
    assert not table_verdicts.unlike(33, {"rebuilt"}, NOTHING, sample)
    assert table_verdicts.unlike(33, {"rebuilt"}, NOTHING, compact)
    assert table_verdicts.unlike(33, {"phantom"}, NOTHING, sample)
    assert table_verdicts.unlike(33, set(), NOTHING, sample)
    assert table_verdicts.unlike(12, {"rebuilt"}, NOTHING, sample)  # of which it has too few
    small = sample.model_copy(update={"attack_generations": 30})
    assert table_verdicts.unlike(33, {"rebuilt"}, NOTHING, small)


def test_a_table_is_judged_on_the_first_protocol_that_has_its_counterpart():
    first = recorded(RUN, **LEVELS)
    second = recorded(RUN, ("oct", "resnet50", 2, 0.5), **LEVELS)
    of = [(first, params.load("sample", bootstrap_samples=50)), (second, P)]
    table = table_verdicts.judge_all(of)
    assert len(table) == 78
    protocols = table[table["kind"] == "table"].set_index("number")["protocol"]
    assert protocols[19] == "sample" and protocols[26] == P.protocol


# ---------------------------------------------------------------- the front page


@pytest.fixture
def small():
    """A record of Derma with both attacks."""
    return recorded(RUN, ("derma", "resnet50", 1, 0.25), **LEVELS)


def test_the_front_page_has_the_numbers_of_the_tables(small):
    text = " ".join(results_readme.paragraphs(small, P))
    low, high = wilson(50, 200)
    share = f"25.0 % ({100 * low:.1f}–{100 * high:.1f})"
    for part in ("rebuilt", "Derma (64 px)", "200 images", share, "| DAE (proposed) | 100.0 % ("):
        assert part in text


def test_a_record_of_attacks_alone_has_verdicts(small):
    alone = replace(small, runs=replace(small.runs, restored=pd.DataFrame()))
    every, ledger = (claims.ledger([(each, P)]).set_index("id") for each in (small, alone))
    testable = ledger["verdict"] != "not testable"
    of_attacks = (
        order_of_data_sets, two_above_one, densenet_below_on_derma_only, larger_is_easier,
    )  # fmt: skip
    attacks = [name for name, test in claims.TESTS.items() if test in of_attacks]
    assert testable.any() and {*ledger.index[testable]} <= {*attacks}
    pd.testing.assert_frame_equal(ledger.loc[attacks], every.loc[attacks])
    table = printed_comparison.compare(alone, P)
    assert {19, 33, 43} <= {*table["table"]} and not {*table["table"]} & {18, 20}


def test_one_class_of_few_images_is_left_out_on_both_sides():
    keys = "derma", "resnet50", 2
    printed = paper.attack_table(*keys).set_index("class")
    every = pd.concat([attacked(*keys, 0.5, n=100).assign(category=at) for at in range(7)])
    few = every[(every["category"] != 3) | (every["index"] < 5)]
    found = rates.success_rate(few)
    others = printed.drop(index=found["omitted"])
    assert found["omitted"] == printed.index[3] and found["matched"] == pytest.approx(0.5)
    assert found["matched_printed_n"] == others["printed_n"].sum() < found["printed_n"]
    share = others["printed_successes"].sum() / others["printed_n"].sum()
    assert found["matched_printed"] == pytest.approx(share)
    assert rates.success_rate(every)["omitted"] == ""
    fewer = rates.success_rate(few[(few["category"] != 4) | (few["index"] < 5)])
    assert np.isnan(fewer["matched"]) and fewer["omitted"] == ""


def test_a_class_makes_the_difference_if_the_others_do_not_differ():
    keys = "oct", "resnet50", 1
    printed = paper.attack_table(*keys).set_index("class")

    def found(shares):
        return rates.apart(pd.concat([
            attacked(*keys, share, n=100).assign(category=at) for at, share in enumerate(shares)
        ]))  # fmt: skip

    same = [*printed["printed_rate"]]
    one = found([*same[:3], same[3] - 0.5])
    assert one["class"] == printed.index[3]
    rest = printed.iloc[:3]
    share = rest["printed_successes"].sum() / rest["printed_n"].sum()
    assert one["printed_others"] == pytest.approx(share) == pytest.approx(one["others"], abs=0.02)
    assert found([share + 0.3 for share in same[:3]] + [same[3] - 0.5]) is not None  # other side
    assert found([min(share + 0.4, 1) for share in same]) is None
    assert rates.apart(attacked(*keys, 0.5, n=100).assign(category=0)) is None
    assert rates.apart(attacked("chest", "densenet121", 1, 0.5)) is None  # nothing is printed


def test_classifiers_that_a_constant_answer_beats_stay_out_of_the_pooled_rates(small):
    attacks = pd.concat([small.runs.attacks, attacked("chest", "resnet50", 1, 1.0)])

    def judged(*accuracies):
        found = runs_of(attacks, **LEVELS)
        nets = found.runs.assign(accuracy=accuracies, weak=[each < 0.5 for each in accuracies])
        return results_readme.paragraphs(replace(small, runs=replace(found, runs=nets)), P)[0]

    text = judged(0.6, 0.4)
    assert "200 attempts on 200 images" in text and "25.0 %" in text
    assert all(part in text for part in ("Chest", "ResNet50", "40 %", "50 %"))
    assert "400 attempts" in judged(0.6, 0.6) and "50 %" not in judged(0.6, 0.6)
    both = judged(0.3, 0.4)  # nothing better: all are shown, and named
    assert "400 attempts" in both and "30 %" in both and "40 %" in both


def test_the_front_page_without_runs():
    assert results_readme.paragraphs(NOTHING, P) == [results_readme.NONE]


def test_the_front_page_counts_the_claims_of_the_paper(small):
    ledger = claims.ledger([(small, P)])
    total = sum(int(n) for n in re.findall(r"\*\*(\d+)\*\*", claim_cards.counted(ledger)))
    assert total == sum(not entry.get("added") for entry in claims.entries())
    ledger.loc[0, ["verdict", "opposite"]] = ["not replicated", True]
    ledger.loc[1, ["verdict", "opposite"]] = ["not replicated", False]
    ledger.loc[2:, "verdict"] = "in part"
    assert "**2** not replicated" in claim_cards.counted(ledger)


def test_an_empty_folder_has_no_record(tmp_path):
    assert record.every(tmp_path) == []


def test_a_claim_is_judged_on_the_first_record_that_decides_it(monkeypatch, small):
    paper_size, smaller = replace(small), replace(small)
    at = frozenset({("oct", 224), ("derma", 64), ("oct", 64)})
    undecided = verdicts.Verdict("not replicated", "Undecided.", (0, 0, 2), at)
    decided = verdicts.Verdict("in part", "Decided.", (1, 0, 1), frozenset({("chest", 28)}))
    untested = verdicts.Verdict("not testable", "No run.")
    (name, *_) = claims.TESTS
    (entry, *_) = claims.entries()
    monkeypatch.setattr(claims, "entries", lambda: [entry])

    def judged(first, second):
        answers = {id(paper_size): first, id(smaller): second}
        monkeypatch.setitem(claims.TESTS, name, lambda record, p: answers[id(record)])
        return claims.ledger([(paper_size, P), (smaller, P)]).iloc[0]

    assert judged(decided, undecided)["reason"] == "Decided."
    row = judged(undecided, decided)
    assert (row["verdict"], row["holds"], row["inconclusive"]) == ("in part", 1, 1)
    assert row["reason"].startswith("Decided.") and row["images"] == "Chest at 28 px"
    assert "On Derma at 64 px; OCT at 64 and 224 px, 2 comparisons" in row["reason"]
    assert judged(undecided, undecided)["reason"] == "Undecided."
    assert judged(untested, undecided)["verdict"] == "not replicated"
    row = judged(untested, untested)
    assert row["verdict"] == "not testable" and row["images"] == ""


@pytest.mark.parametrize("word", verdicts.WORDS)
def test_what_the_paper_does_not_claim_is_never_called_replicated(word):
    ledger = claims.ledger([(NOTHING, P)]).assign(verdict=word, holds=1)
    own, asked = (
        re.sub("<[^>]*>", "", claim_cards.cards(ledger[ledger["added"] == added]))
        for added in (False, True)
    )
    assert word in own and "replicated" not in asked


def test_every_claim_has_a_card_and_every_claim_of_the_paper_a_chip():
    ledger = claims.ledger([(NOTHING, P)])
    cards, strip = claim_cards.cards(ledger), claim_cards.strip(ledger)
    for row in ledger.itertuples():
        assert f'id="claim-{row.id}"' in cards
        assert (f'href="#claim-{row.id}"' in strip) == (not row.added)
    ledger.loc[0, ["holds", "against", "inconclusive"]] = [3, 1, 0]
    widths = re.findall(r"width:([\d.]+)%", claim_cards.cards(ledger))
    assert widths == ["75.0", "25.0"]


def test_denoisers_that_ended_below_their_best_epoch_are_named():
    table = pd.DataFrame({
        "denoiser": ["dae", "noise2noise", "autoencoder"], "dataset": "oct",
        "psnr": [30.0, 25.0, 27.0], "best_psnr": [30.2, 30.0, np.nan],
    })  # fmt: skip
    text = past_best(table)
    assert shown("noise2noise") in text and "5.0 dB" in text
    assert shown("dae") not in text and shown("autoencoder") not in text
    assert past_best(table[:1]) == past_best(table[:0]) == ""
