"""The paper's tables as data frames.

`printed` gives a table as stored in ``results/printed``. The other functions give the same numbers
under our names: data sets, classes and defenses as in ``params``, percentages as shares 0..1. They
return ``None`` where the paper has no such table, and raise `InputError` for an unknown data set,
classifier or number of pixels. Every frame carries ``attrs["table"]`` (the number) and
``attrs["note"]`` (what is odd about it, or ``""``). Printed values are never corrected.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd
import yaml

from lib import params
from lib.params.errors import InputError, unknown

FOLDER = params.ROOT / "results" / "printed"

# (data set, classifier, pixels): tables of success rates and of the images after denoising.
# Missing are denoising after the one-pixel attack on Pathology (audit R7) and all one-pixel
# attacks on DenseNet121 (audit C8).
TABLES: dict[tuple[str, str, int], dict[str, int]] = {
    ("derma", "resnet50", 1): {"attack": 17, "denoise": 18},
    ("derma", "resnet50", 2): {"attack": 19, "denoise": 20},
    ("pathology", "resnet50", 1): {"attack": 21},
    ("pathology", "resnet50", 2): {"attack": 22, "denoise": 23},
    ("oct", "resnet50", 1): {"attack": 24, "denoise": 25},
    ("oct", "resnet50", 2): {"attack": 26, "denoise": 27},
    ("chest", "resnet50", 1): {"attack": 28, "denoise": 29},
    ("chest", "resnet50", 2): {"attack": 30, "denoise": 31},
    ("derma", "densenet121", 2): {"attack": 35, "denoise": 36},
    ("pathology", "densenet121", 2): {"attack": 37, "denoise": 38},
    ("oct", "densenet121", 2): {"attack": 39, "denoise": 40},
    ("chest", "densenet121", 2): {"attack": 41, "denoise": 42},
}
DATASETS = ("derma", "pathology", "oct", "chest")
DEFENSES = {
    "Proposed DAE": "dae", "Noise2Noise": "noise2noise", "MedianDenoise": "median_cnn",
    "Autoencoder": "autoencoder",
}  # fmt: skip
METRICS = {"psnr_db": "psnr", "ssim": "ssim", "mse": "mse", "gmsd": "gmsd", "fsim": "fsim"}
# With the scale (1 or 255) that PSNR and MSE of a row fit, NaN for neither.
SCALED = METRICS | {"derived_consistent_scale": "mse_scale"}
TIMES = {"image_count": "images", "computer": "computer", "time_minutes": "minutes"}
NUMBERS = (*range(1, 52), "A1")  # of the tables
ABLATIONS = {
    3: ("original", "proposed"),
    4: ("original", "depth_kernels", "bn_leakyrelu", "attention", "residual", "proposed"),
    5: ("levels_3", "proposed", "levels_5"),
}  # variants of Tables 3 to 5
# Tables that follow each other, one a data set: the first, and where their counterparts are.
BY_DATASET = {7: ("datasets", None), 13: ("classifier", "resnet50"), 48: ("denoisers", None)}
# Where the counterparts of other tables are: step, data set and classifier, None for all.
ELSEWHERE = {
    ("denoisers", None, None): (1, 2), ("ablation", "abdomen_ct", None): (3, 4, 5),
    ("datasets", None, None): (6,), ("status", None, None): (11, "A1"),
    ("classifier", None, "resnet50"): (12, 44), ("classifier", None, "densenet121"): (34, 45),
    ("comparison", None, None): (32, 33, 43), ("pixel_attack", None, "resnet50"): (46, 47),
}  # fmt: skip


def decimals(quantity: str, value: float) -> int:
    """Printed decimals: MSE below 1 has four, all else two (shares in percent)."""
    return 4 if quantity == "mse" and value < 1 else 2


def half_digit(quantity: str, value: float) -> float:
    """Half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -decimals(quantity, value)


@cache
def _places() -> dict[int | str, tuple[str, str | None, str | None]]:
    found = {number: place for place, numbers in ELSEWHERE.items() for number in numbers}
    for (dataset, classifier, _), numbers in TABLES.items():
        for kind, step in (("attack", "pixel_attack"), ("denoise", "restoration")):
            if kind in numbers:
                found[numbers[kind]] = step, dataset, classifier
    for first, (step, classifier) in BY_DATASET.items():
        for after, dataset in enumerate(DATASETS):
            found[first + after] = step, dataset, classifier
    return found


def place(number: int | str) -> tuple[str, str | None, str | None]:
    """Step, data set and classifier of the counterpart of a table, None for all."""
    return _places()[number]


@cache
def figures() -> list[dict[str, Any]]:
    """The paper's figures: ``number, shows, kind, step``, and where it has one ``dataset`` and
    ``classifier``."""
    return yaml.safe_load((FOLDER / "figures.yml").read_text(encoding="utf-8"))


@cache
def _index() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "tables.yml").read_text(encoding="utf-8"))
    return {str(table["number"]): table for table in content["tables"]}


def _entry(number: int | str) -> dict[str, Any]:
    if str(number) not in _index():
        raise InputError(f"The paper has no table {number!r}: its tables are 1 to 51 and 'A1'.")
    return _index()[str(number)]


def caption(number: int | str) -> str:
    """What a table shows, in our words; raises `InputError` for an unknown number."""
    return _entry(number)["caption"]


def note(number: int | str) -> str:
    """What is odd about a table, ``""`` if nothing; raises `InputError` for an unknown number."""
    return " ".join(_entry(number).get("notes", []))


def printed(number: int | str) -> pd.DataFrame:
    """Table 1 to 51 or ``"A1"`` with all columns of its CSV file.

    Columns that start with ``derived_`` are computed from the printed numbers;
    ``alternative_reading`` and ``reading_certain`` tell how sure the reading of a row is.

    Raises:
        InputError: no such table, or its file is missing.
    """
    path = FOLDER / _entry(number)["file"]
    if not path.exists():
        raise InputError(f"{path} is missing: take it from the repository again.")
    frame = pd.read_csv(path)
    frame.attrs = {"table": number, "note": note(number)}
    return frame


def attack_table(dataset: str, classifier: str, pixels: int) -> pd.DataFrame | None:
    """Success rates by class: ``class, printed_n, printed_successes, printed_rate``."""
    return _select(
        _number("attack", dataset, classifier, pixels), "class", test_count="printed_n",
        success_count="printed_successes", success_rate_percent="printed_rate",
    )  # fmt: skip


def denoise_table(dataset: str, classifier: str, pixels: int) -> pd.DataFrame | None:
    """Means after denoising: ``defense, psnr, ssim, mse, gmsd, fsim, mse_scale``.

    PSNR is in dB; ``mse_scale`` is the largest gray value (1 or 255) that the row's MSE and PSNR
    fit, NaN where they fit neither (audit P1 to P3).
    """
    return _select(_number("denoise", dataset, classifier, pixels), "model", **SCALED)


def classifier_table(classifier: str) -> pd.DataFrame:
    """Tables 12 and 34: ``dataset, training_accuracy, test_accuracy, correct``."""
    return _select(
        _of_classifier(classifier, 12, 34), "dataset", accurate_images="correct",
        training_accuracy_percent="training_accuracy", test_accuracy_percent="test_accuracy",
    )  # fmt: skip


def prf_table(dataset: str, classifier: str) -> pd.DataFrame | None:
    """Tables 13 to 16 (ResNet50 only): ``class, precision, recall, f1``.

    Rows keep the printed label, also in Table 15, where labels are permuted (audit K10).
    """
    _known("classifier", classifier, params.names("classifiers"))
    number = _of_dataset(dataset, 13) if classifier == "resnet50" else None
    return _select(number, "class", precision_percent="precision", recall_percent="recall",
                   f1_percent="f1")  # fmt: skip


def training_minutes(classifier: str) -> pd.DataFrame:
    """Tables 44 and 45: ``dataset, images, computer, minutes`` of training a classifier."""
    return _select(_of_classifier(classifier, 44, 45), "dataset", **TIMES)


def attack_minutes(pixels: int) -> pd.DataFrame:
    """Tables 46 and 47: ``dataset, images, computer, minutes`` of the attacks on ResNet50."""
    _known("number of pixels", pixels, params.ATTACKS)
    return _select(45 + pixels, "dataset", **TIMES)


def denoiser_minutes(dataset: str) -> pd.DataFrame | None:
    """Tables 48 to 51: ``defense, images, computer, minutes`` of training the denoisers."""
    return _select(_of_dataset(dataset, 48), "model", **TIMES)


def overview() -> pd.DataFrame:
    """Table 6: ``dataset, images, classes`` of the original data sets."""
    return _select(6, "dataset", image_count="images", class_count="classes")


def class_counts(dataset: str) -> pd.DataFrame | None:
    """Tables 7 to 10: ``class, count, share`` of the images of each class."""
    return _select(_of_dataset(dataset, 7), "class", count="count", share_percent="share")


def totals(pixels: int) -> pd.DataFrame:
    """Tables 32 and 33: ``dataset, n, successes, rate`` of the attacks on ResNet50.

    Table 33 prints 387 successes for Chest where its rate and Table 30 have 468 (audit C1).
    """
    _known("number of pixels", pixels, params.ATTACKS)
    return _select(31 + pixels, "dataset", total_images="n", success_count="successes",
                   success_rate_percent="rate")  # fmt: skip


def rates() -> pd.DataFrame:
    """Table 43: ``dataset, n, resnet50, densenet121``, two-pixel success rates of both."""
    return _select(
        43, "dataset", total_images="n", resnet50_success_rate_percent="resnet50",
        densenet121_success_rate_percent="densenet121",
    )  # fmt: skip


def ablation(number: int) -> pd.DataFrame:
    """Tables 3 to 5: ``variant`` and metrics; columns as `denoise_table`, those that are printed.

    3 has the baseline and the full model, 4 has modules added one by one, 5 the depth.
    """
    if number == 3:
        table = printed(3).set_index("series").loc[["test", "proposed_dae"]]
        table = table.rename(columns=METRICS)
    else:
        table = _select(number, "variant", **SCALED)
    return table.assign(variant=ABLATIONS[number])


def _known(kind: str, value: object, values: Iterable[object]) -> None:
    if value not in values:
        raise unknown(kind, value, map(str, values))


def _number(kind: str, dataset: str, classifier: str, pixels: int) -> int | None:
    _known("data set", dataset, params.names("datasets"))
    _known("classifier", classifier, params.names("classifiers"))
    _known("number of pixels", pixels, params.ATTACKS)
    return TABLES.get((dataset, classifier, pixels), {}).get(kind)


def _of_classifier(classifier: str, resnet50: int, densenet121: int) -> int:
    numbers = {"resnet50": resnet50, "densenet121": densenet121}
    _known("classifier", classifier, numbers)
    return numbers[classifier]


def _of_dataset(dataset: str, first: int) -> int | None:
    """Number of a data set's table among those that follow each other from ``first``."""
    _known("data set", dataset, params.names("datasets"))
    return first + DATASETS.index(dataset) if dataset in DATASETS else None


def _select(number: int | None, key: str, **columns: str) -> pd.DataFrame | None:
    """Some columns of a table under our names, in our order of data sets or classes.

    ``key`` is the column of row names. Columns that end in _percent become shares.
    """
    if number is None:
        return None
    frame = printed(number)
    for column in columns:
        if column.endswith("_percent"):
            # Rounded to undo the binary noise of the division; no printed digit is lost.
            frame[column] = (frame[column] / 100).round(8)
    frame = frame[[key, *columns]].rename(columns=columns | {"model": "defense"})
    if key == "model":
        return frame.assign(defense=frame["defense"].map(DEFENSES))
    if key == "dataset":
        ours = {params.facts(name).title: name for name in DATASETS}
    elif key == "class":
        classes = params.facts(place(number)[1]).attack_classes
        ours = {each.paper: each.name for each in classes}
    else:
        return frame
    frame[key] = frame[key].map(ours)
    order = list(ours.values()).index
    return frame.sort_values(key, key=lambda names: names.map(order), ignore_index=True)
