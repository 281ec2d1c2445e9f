"""Sentences of the page of one data set; every number in them is of its record.

``found`` is this record, ``success`` of `results_tables.class_weighted`.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from book.results_text import beaten, defended, screened, weak
from lib.data.lesions import IMAGE
from lib.evidence import rates
from lib.evidence import results_tables as recorded
from lib.evidence.lesions import against_chance
from lib.evidence.recorded_runs import RecordedRuns
from lib.figures import formatting
from lib.figures.formatting import enumerated, percent, place, rate, shown
from lib.params import PRINTED_BUDGET, PRINTED_SIZE
from lib.params.files import read_json


def answer(found: RecordedRuns, success: pd.DataFrame, pooled: pd.DataFrame) -> str:
    """What came out on one data set, in two or three sentences.

    ``pooled`` is of `results_tables.defenses` of the protocol nearest to the paper's, one row a
    defense; it may be empty.
    """
    if not len(success):
        return f"No attack on {shown(found.dataset)} is recorded yet."
    near = recorded.nearest(success)
    known = near[near["printed"].notna()]
    first = (known if len(known) else near).iloc[0]
    mix = ", class-weighted" if first["weighted"] else ""
    mix += f" without {first['omitted']}" if mix and first["omitted"] else ""
    text = (
        f"At {first['size']} px, the {formatting.attack(first['pixels'])} on "
        f"{shown(first['classifier'])} succeeds on {rate(first['rate'])} of correctly classified "
        f"{shown(found.dataset)} images (n = {first['n']}{mix})."
    )
    text += f" The paper reports {percent(first['printed'])}." if len(known) else ""
    if worse := beaten(weak(found)):
        text += f" Read this with care: {worse}."
    return f"{text} {defended(pooled)}".strip()


def reasons(found: RecordedRuns, success: pd.DataFrame) -> str:
    """Whether our rates are far from the printed ones, and what differs from the paper's runs."""
    near = recorded.nearest(success)
    known = near[near["printed"].notna()]
    apart = known[~known["agrees"]]
    if not len(apart):
        return "All printed rates agree with ours within sampling error." if len(known) else ""
    each = [
        f"{rate(row.rate)} against {percent(row.printed)} printed "
        f"({place(row.pixels, row.classifier)})"
        for row in apart.itertuples()
    ]
    run = recorded.nearest(found.runs).iloc[0]
    trained = f"classifiers trained on {run['training_images']:,} images"
    if run["optimizer"] != "sgd":
        trained += f" with {shown(run['optimizer'])} (the paper: SGD)"
    if run["start"] == "random":
        trained += " from random weights"
    differ = [trained, "another copy and split of the images"]
    if run["size"] != PRINTED_SIZE:
        differ.append(f"images of {run['size']} px instead of {PRINTED_SIZE}")
    if run["budget"] < PRINTED_BUDGET:
        differ.append(f"{run['budget']:,} queries per image instead of {PRINTED_BUDGET:,}")
    return (
        f"These rates differ: {enumerated(each)}.{_single_class(found, apart)} Our runs differ "
        f"from the paper's: {'; '.join(differ)}. We do not know which of these explains the gap: "
        "the paper publishes neither weights nor attacked images."
    )


def _single_class(found: RecordedRuns, differing: pd.DataFrame) -> str:
    """The class that alone makes rates differ, see `rates.apart`; ``differing`` as in `reasons`."""
    attacks = recorded.nearest(found.tested.attacks).groupby(["classifier", "pixels"])
    classes = {}
    for row in differing.itertuples():
        if one := rates.apart(attacks.get_group((row.classifier, row.pixels))):
            classes.setdefault(one["class"], []).append(
                f"{rate(one['others'])} against {percent(one['printed_others'])} printed "
                f"({place(row.pixels, row.classifier)})"
            )
    return "".join(
        f" One class makes the difference: without *{name}*, our rate"
        f"{'s are' if len(of) > 1 else ' is'} {enumerated(of)}."
        for name, of in classes.items()
    )


def weighted(found: RecordedRuns, success: pd.DataFrame) -> str:
    """Which searches were screened, rates in the paper's mix of classes, other parts' images."""
    near = recorded.nearest(success)
    mixed = [
        f"{rate(row['rate'], row['low'], row['high'])} ({formatting.attack(row['pixels'])}, "
        f"{shown(row['classifier'])}; printed {percent(row['printed'])}{_same(row)})"
        for _, row in near[near["weighted"]].iterrows()
    ]
    learned = [
        f"{row.learned_misled} of {row.learned} ({formatting.attack(row.pixels)}, "
        f"{shown(row.classifier)}; {row.successes} of {row.n} test images)"
        for row in near[near["learned"] > 0].itertuples()
    ]
    text = screened([found])
    if mixed:
        text += f" Weighted to the paper's class frequencies: {enumerated(mixed)}."
    if learned:
        text += (
            " Where a class has too few correct test images, correct training and validation "
            "images were attacked, too, to measure image quality. They are not in the rates above. "
            f"The attack misled {enumerated(learned)}."
        )
    return text.strip()


def _same(row: pd.Series) -> str:
    """The printed rate of the classes that a rate of ours has, where it leaves one out."""
    if not row["omitted"]:
        return ""
    return f", {percent(row['matched_printed'])} without {row['omitted']}"


def validation(found: RecordedRuns) -> str:
    """PSNR of the denoisers on noisy validation images, a sentence; empty without denoisers."""
    trained = recorded.nearest(found.denoisers)
    if not len(trained):
        return ""
    reached = [f"{shown(row.denoiser)} {row.psnr:.1f} dB" for row in trained.itertuples()]
    text = (
        "Validation images with training noise have a PSNR of "
        f"{trained['noisy_psnr'].iloc[0]:.1f} dB. After each denoiser: {enumerated(reached)}. "
    )
    constant = [shown(name) for name in trained.loc[~trained["halving"], "denoiser"]]
    if not constant:
        return f"{text}The learning rate of each was halved after each quarter of the steps."
    return (
        f"{text}The learning rate of {enumerated(constant)} was constant, so their values "
        "fluctuate from epoch to epoch."
    )


def related(results: Path, found: RecordedRuns) -> str:
    """How many test images share a patient or lesion with a training image, or nothing."""
    path = results / found.protocol / found.dataset / "run.json"
    if not path.exists():
        return ""
    step = read_json(path)["steps"].get("datasets", {})
    test = next((row for row in step.get("leaks", []) if row["part"] == "test"), {})
    if not test.get("same_patient"):
        return ""
    text = (
        f"{test['same_patient']:,} of {test['images']:,} test images show a patient or a lesion "
        "that is also in the training images. So the accuracy may be too high."
    )
    others = found.attacks[~found.attacks["group"].isin(step.get("related", []))]
    every, alone = (
        recorded.nearest(recorded.class_weighted(recorded.success(replace(found, attacks=of))))
        for of in (found.attacks, others)
    )
    both = every.merge(alone, on=["classifier", "pixels"], suffixes=("", "_alone"))
    both = both[both["weighted"] & both["weighted_alone"] & (both["n_alone"] < both["n"])]
    if len(both):
        each = [
            f"{rate(row.rate_alone, row.low_alone, row.high_alone)} instead of {rate(row.rate)} "
            f"({place(row.pixels, row.classifier)})"
            for row in both.itertuples()
        ]
        text += f" Without them, the class-weighted attack success is {enumerated(each)}."
    return text


def lesions(boxes: pd.DataFrame, pixels: pd.DataFrame) -> str:
    """Whether changed pixels lie in marked lesions, of `lesions.recorded` and `lesions.changed`."""
    if not len(boxes):
        return "No attacked image has a marked lesion on record."
    if not len(pixels):
        return "None of the images of successful attacks has a marked lesion."
    inside, expected, low, high = against_chance(pixels)
    images = formatting.many(len(pixels[IMAGE].drop_duplicates()), "image")
    if low <= inside <= high:
        verdict = "This does not differ from chance"
    else:
        verdict = f"This is {'more' if inside > high else 'less'} than chance explains"
    return (
        f"Do attacks change the lesion? Among the images of successful attacks, {images} have "
        f"lesions that NIH marked with boxes. {inside} of {len(pixels)} changed pixels there "
        f"{'lies' if inside == 1 else 'lie'} in a box (blue dot; the others are red). Random "
        f"positions would give {expected:.1f} (95 % range: {low} to {high}). {verdict}. "
        "Boxes: NIH ChestX-ray14 (Wang et al. 2017)."
    )
