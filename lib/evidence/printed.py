"""What the paper prints: its tables as data frames, to stand beside our values.

`printed` gives a table as it is in ``results/printed``; the other functions give the same numbers
under our names: data sets, classes and defenses as in ``params``, percentages as shares 0..1. They
return ``None`` where the paper has no such table. Every frame carries ``attrs["table"]`` (the
number) and ``attrs["note"]`` (what is odd about it, or ``""``); printed values are never corrected.
"""

from functools import cache
from typing import Any

import pandas as pd
import yaml

from lib import params
from lib.params.errors import InputError, unknown

FOLDER = params.ROOT / "results" / "printed"

# (data set, classifier, pixels): tables of success rates and of the images after denoising.
# Missing are denoising after the one-pixel attack on Pathology (audit M12) and all one-pixel
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
    "Proposed DAE": "dae",
    "Noise2Noise": "noise2noise",
    "MedianDenoise": "median_cnn",
    "Autoencoder": "autoencoder",
}
METRICS = {"psnr_db": "psnr", "ssim": "ssim", "mse": "mse", "gmsd": "gmsd", "fsim": "fsim"}
# The scale (1 or 255) that PSNR and MSE of a row fit, NaN for neither; and whether the split of
# the run-together cells is sure (audit 4.1).
NUMBERS = (*range(1, 52), "A1")  # of the tables
READING = {"derived_consistent_scale": "mse_scale", "reading_certain": "reading_certain"}


def place(number: int | str) -> tuple[str, str | None, str | None]:
    """Where the counterpart of a table is: notebook, data set and classifier, None for all.

    The two tables of hardware and software are on the page "Status".
    """
    for (dataset, classifier, _), numbers in TABLES.items():
        for kind, step in (("attack", "pixel_attack"), ("denoise", "restoration")):
            if numbers.get(kind) == number:
                return step, dataset, classifier
    for first, step, classifier in ((7, "datasets", None), (13, "classifier", "resnet50"),
                                    (48, "denoisers", None)):  # fmt: skip
        if number in range(first, first + len(DATASETS)):
            return step, DATASETS[number - first], classifier
    return {
        **dict.fromkeys((1, 2), ("denoisers", None, None)),
        **dict.fromkeys((3, 4, 5), ("ablation", "abdomen_ct", None)),
        6: ("datasets", None, None),
        **dict.fromkeys((11, "A1"), ("status", None, None)),
        **dict.fromkeys((12, 44), ("classifier", None, "resnet50")),
        **dict.fromkeys((34, 45), ("classifier", None, "densenet121")),
        **dict.fromkeys((32, 33, 43), ("comparison", None, None)),
        **dict.fromkeys((46, 47), ("pixel_attack", None, "resnet50")),
    }[number]


@cache
def figures() -> list[dict[str, Any]]:
    """The paper's figures: ``number, shows, kind, step``, and where it has one ``dataset`` and
    ``classifier``."""
    return yaml.safe_load((FOLDER / "figures.yml").read_text())


@cache
def _index() -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "tables.yml").read_text())
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
    """A table with all columns of its CSV file.

    Columns that start with ``derived_`` are computed from the printed numbers;
    ``alternative_reading`` and ``reading_certain`` tell how sure the reading of a row is.

    Args:
        number: 1 to 51 or ``"A1"``.

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
    """Success rates by class: ``class, printed_n, printed_successes, printed_rate``.

    Raises:
        InputError: unknown data set, classifier or number of pixels.
    """
    number = _number("attack", dataset, classifier, pixels)
    if number is None:
        return None
    columns = {
        "test_count": "printed_n",
        "success_count": "printed_successes",
        "success_rate_percent": "printed_rate",
    }
    return _by_class(number, dataset, columns)


def denoise_table(dataset: str, classifier: str, pixels: int) -> pd.DataFrame | None:
    """Means after denoising: ``defense, psnr, ssim, mse, gmsd, fsim, mse_scale, reading_certain``.

    PSNR is in dB; ``mse_scale`` is the largest gray value (1 or 255) that the row's MSE and PSNR
    fit, NaN where they fit neither (audit P1 to P3).

    Raises:
        InputError: unknown data set, classifier or number of pixels.
    """
    number = _number("denoise", dataset, classifier, pixels)
    if number is None:
        return None
    return _defenses(_select(number, {"model": "defense", **METRICS, **READING}))


def classifier_table(classifier: str) -> pd.DataFrame:
    """Tables 12 and 34: ``dataset, training_accuracy, test_accuracy, correct``.

    Raises:
        InputError: unknown classifier.
    """
    columns = {
        "dataset": "dataset",
        "training_accuracy_percent": "training_accuracy",
        "test_accuracy_percent": "test_accuracy",
        "accurate_images": "correct",
    }
    return _datasets(_select(_of_classifier(classifier, 12, 34), columns))


def prf_table(dataset: str, classifier: str) -> pd.DataFrame | None:
    """Tables 13 to 16 (ResNet50 only): ``class, precision, recall, f1``.

    Rows keep the printed label, also in Table 15, where labels are permuted (audit K10).

    Raises:
        InputError: unknown data set or classifier.
    """
    _known("classifier", classifier, params.names("classifiers"))
    number = _of_dataset(dataset, 13)
    if number is None or classifier != "resnet50":
        return None
    names = ("precision", "recall", "f1")
    return _by_class(number, dataset, {f"{name}_percent": name for name in names})


def training_minutes(classifier: str) -> pd.DataFrame:
    """Tables 44 and 45: ``dataset, images, computer, minutes`` of training a classifier.

    Raises:
        InputError: unknown classifier.
    """
    return _datasets(_minutes(_of_classifier(classifier, 44, 45), "dataset"))


def attack_minutes(pixels: int) -> pd.DataFrame:
    """Tables 46 and 47: ``dataset, images, computer, minutes`` of the attacks on ResNet50.

    Raises:
        InputError: pixels is neither 1 nor 2.
    """
    _known("number of pixels", pixels, params.ATTACKS)
    return _datasets(_minutes(45 + pixels, "dataset"))


def denoiser_minutes(dataset: str) -> pd.DataFrame | None:
    """Tables 48 to 51: ``defense, images, computer, minutes`` of training the denoisers.

    Raises:
        InputError: unknown data set.
    """
    number = _of_dataset(dataset, 48)
    return None if number is None else _defenses(_minutes(number, "model"))


def class_counts(dataset: str) -> pd.DataFrame | None:
    """Tables 7 to 10: ``class, count, share`` of the images of each class.

    Raises:
        InputError: unknown data set.
    """
    number = _of_dataset(dataset, 7)
    columns = {"count": "count", "share_percent": "share"}
    return None if number is None else _by_class(number, dataset, columns)


def totals(pixels: int) -> pd.DataFrame:
    """Tables 32 and 33: ``dataset, n, successes, rate`` of the attacks on ResNet50.

    Table 33 prints 387 successes for Chest where its rate and Table 30 have 468 (audit C1).

    Raises:
        InputError: pixels is neither 1 nor 2.
    """
    _known("number of pixels", pixels, params.ATTACKS)
    columns = {
        "dataset": "dataset",
        "total_images": "n",
        "success_count": "successes",
        "success_rate_percent": "rate",
    }
    return _datasets(_select(31 + pixels, columns))


def rates() -> pd.DataFrame:
    """Table 43: ``dataset, n, resnet50, densenet121``, two-pixel success rates of both."""
    columns = {
        "dataset": "dataset",
        "total_images": "n",
        "resnet50_success_rate_percent": "resnet50",
        "densenet121_success_rate_percent": "densenet121",
    }
    return _datasets(_select(43, columns))


def ablation() -> pd.DataFrame:
    """Table 4: ``variant`` and metrics while modules are added; columns as `denoise_table`."""
    return _select(4, {"variant": "variant", **METRICS, **READING})


def depth() -> pd.DataFrame:
    """Table 5: ``variant`` and metrics by number of layers; columns as `denoise_table`."""
    return _select(5, {"variant": "variant", **METRICS, **READING})


def _known(kind: str, value: object, values: Any) -> None:
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
    """Number of a data set's table where four follow each other in the order of `DATASETS`."""
    _known("data set", dataset, params.names("datasets"))
    return first + DATASETS.index(dataset) if dataset in DATASETS else None


def _select(number: int, columns: dict[str, str]) -> pd.DataFrame:
    """Some columns under our names; those that end in _percent become shares."""
    frame = printed(number)
    for column in columns:
        if column.endswith("_percent"):
            # Rounded to undo the binary noise of the division; no printed digit is lost.
            frame[column] = (frame[column] / 100).round(8)
    return frame[list(columns)].rename(columns=columns)


def _by_class(number: int, dataset: str, columns: dict[str, str]) -> pd.DataFrame:
    """Rows of a table by class, in our order and under our names."""
    frame = _select(number, {"class": "class", **columns})
    ours = {each.paper: each.name for each in params.facts(dataset).attack_classes}
    order = {name: place for place, name in enumerate(ours.values())}
    frame["class"] = frame["class"].map(ours)
    return frame.sort_values("class", key=lambda names: names.map(order), ignore_index=True)


def _minutes(number: int, key: str) -> pd.DataFrame:
    columns = {"image_count": "images", "computer": "computer", "time_minutes": "minutes"}
    return _select(number, {key: "defense" if key == "model" else key, **columns})


def _datasets(frame: pd.DataFrame) -> pd.DataFrame:
    ours = {params.facts(name).title: name for name in DATASETS}
    order = {name: place for place, name in enumerate(DATASETS)}
    frame["dataset"] = frame["dataset"].map(ours)
    return frame.sort_values("dataset", key=lambda names: names.map(order), ignore_index=True)


def _defenses(frame: pd.DataFrame) -> pd.DataFrame:
    frame["defense"] = frame["defense"].map(DEFENSES)
    return frame
