"""The paper against itself: arithmetic on its printed numbers, recomputed from the tables.

Every function returns a table with what is printed, what follows from it, and whether the two
agree. Nothing here uses a result of ours, and nothing says why something does not agree.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from lib import params
from lib.evidence import printed as paper
from lib.evidence.printed import DATASETS, TABLES

CLASSIFIERS = {"resnet50": (12, 44), "densenet121": (34, 45)}  # accuracy, time
TEST_SHARE = 0.2  # the printed split (section 3.2.2)
EPOCHS, TRAIN_SHARE = 100, 0.8  # if all printed epochs ran on 80 % of the images
PIXELS = 224 * 224
MOST_EVALUATIONS = 100 * 101  # population times (generations and the first one)


def _dataset(name: str) -> str:
    return params.facts(name).title


def attack_sums() -> pd.DataFrame:
    """Sums and rates of the attack tables beside the printed totals (audit C1 to C3).

    Returns:
        One row an attack table: its number, sums over classes, rate, mean of the class rates, the
        total printed elsewhere (Tables 32 and 33; for DenseNet121 the rate of Table 43 alone), and
        ``agrees``.
    """
    rows = []
    for (dataset, classifier, pixels), numbers in TABLES.items():
        table = paper.attack_table(dataset, classifier, pixels)
        images, wins = int(table["printed_n"].sum()), int(table["printed_successes"].sum())
        rate = wins / images
        if classifier == "resnet50":
            total = paper.totals(pixels).set_index("dataset").loc[dataset]
            elsewhere, count, printed = 31 + pixels, int(total["successes"]), total["rate"]
        else:
            elsewhere, count = 43, None
            printed = paper.rates().set_index("dataset").loc[dataset, classifier]
        same = abs(printed - rate) <= 0.0005 and count in (None, wins)
        rows.append(
            {
                "table": numbers["attack"], "data set": _dataset(dataset), "pixels": pixels,
                "images": images, "successes": wins, "rate": rate,
                "mean of classes": (table["printed_successes"] / table["printed_n"]).mean(),
                "total in table": elsewhere, "printed successes": count, "printed rate": printed,
                "agrees": same,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def row_rates() -> tuple[int, int]:
    """Rows of the attack tables whose printed rate is successes over images, and all rows."""
    agree = total = 0
    for dataset, classifier, pixels in TABLES:
        table = paper.attack_table(dataset, classifier, pixels)
        rate = table["printed_successes"] / table["printed_n"]
        agree += int(((rate - table["printed_rate"]).abs() <= 0.00005 + 1e-9).sum())
        total += len(table)
    return agree, total


def accuracy_sizes() -> pd.DataFrame:
    """Test-set sizes that the printed accuracy and number of right images allow (K1 to K4).

    A size n fits if right / n rounds to the printed accuracy.
    """
    images = paper.printed(6).set_index("dataset")["image_count"]
    rows = []
    for classifier in CLASSIFIERS:
        for row in paper.classifier_table(classifier).to_dict("records"):
            half = 0.00005
            low = math.ceil(row["correct"] / (row["test_accuracy"] + half) - 1e-9)
            high = math.floor(row["correct"] / (row["test_accuracy"] - half) + 1e-9)
            fifth = round(images[_dataset(row["dataset"])] * TEST_SHARE)
            rows.append(
                {
                    "data set": _dataset(row["dataset"]), "classifier": classifier,
                    "right images": row["correct"], "accuracy, %": 100 * row["test_accuracy"],
                    "sizes that fit": f"{low:,} to {high:,}" if low <= high else "none",
                    "a fifth of the images": fifth,
                    "agrees": low <= fifth <= high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def recalls(dataset: str, names: Callable[[list[str]], list[str]] = list) -> pd.DataFrame:
    """Right images of each class from its recall, beside those that were attacked (K5, K10).

    One fifth of the class times its recall must be the number of right test images, which is what
    the one-pixel attack was made on.

    Args:
        dataset: with a table of recalls.
        names: takes the labels of that table in their printed order and gives those they are read
            as.
    """
    printed = paper.prf_table(dataset, "resnet50")
    counts = paper.class_counts(dataset).set_index("class")["count"]
    attacked = paper.attack_table(dataset, "resnet50", 1).set_index("class")["printed_n"]
    read_as = names(list(printed["class"]))
    rows = []
    for label, name, recall in zip(printed["class"], read_as, printed["recall"], strict=True):
        size = counts[name] * TEST_SHARE
        low, high = (math.floor(size * (recall - 0.005)), math.ceil(size * (recall + 0.005)))
        rows.append(
            {
                "printed label": label, "read as": name, "recall": recall,
                "a fifth of the class": round(size),
                "right images that fit": f"{low:,} to {high:,}",
                "attacked": int(attacked[name]), "agrees": low <= attacked[name] <= high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def alphabetical(labels: list[str]) -> list[str]:
    """Table 15's rows read as the classes in alphabetical order: CNV, DME, drusen, normal."""
    order = [item.name for item in params.facts("oct").classes]
    by_paper = ["normal", *[name for name in order if name != "normal"]]
    assert set(labels) == set(order) == set(by_paper)
    places = {name: place for place, name in enumerate(by_paper)}
    return [order[places[label]] for label in labels]


def jensen() -> pd.DataFrame:
    """Mean PSNR against the bound that the mean MSE sets, on either scale (P1, P2).

    PSNR is convex in MSE, so mean PSNR >= 10 log10(MAX^2 / mean MSE). Rounding is allowed for.
    "other split": whether the run-together cells, cut elsewhere, would meet the bound on 0..255.
    """
    tables = [4, 5, *sorted(n["denoise"] for n in TABLES.values() if "denoise" in n)]
    rows = []
    for number in tables:
        table = paper.printed(number)
        name = "model" if "model" in table else "variant"
        for row in table.to_dict("records"):
            digits = 4 if row["mse"] < 1 else 2
            most = row["mse"] + 0.5 * 10**-digits
            bounds = {peak: 10 * math.log10(peak**2 / most) for peak in (1, 255)}
            met = {peak: row["psnr_db"] + 0.005 >= bound for peak, bound in bounds.items()}
            # A row that meets the bound of 8-bit values meets that of 0..1 by far: the scale is
            # the largest whose bound is met and near.
            scale = "0..1" if row["mse"] < 1 and met[1] else "0..255" if met[255] else "neither"
            rows.append(
                {
                    "table": number, "row": row[name], "PSNR, dB": row["psnr_db"],
                    "MSE": row["mse"], "bound on 0..1": bounds[1], "bound on 0..255": bounds[255],
                    "scale that fits": scale,
                    "other split": "scale 255" in str(row.get("alternative_reading")),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def floor() -> pd.DataFrame:
    """PSNR of an attacked image left as it is, at least, beside the best denoised one (U1)."""
    best = max(
        paper.printed(n["denoise"])["psnr_db"].max() for n in TABLES.values() if "denoise" in n
    )
    return pd.DataFrame(
        [
            {
                "pixels changed": pixels,
                "PSNR of doing nothing, at least, dB": 10 * math.log10(PIXELS / pixels),
                "best printed PSNR after denoising, dB": best,
            }
            for pixels in params.ATTACKS
        ]
    )


def repeats() -> pd.DataFrame:
    """Rows of different denoising tables that are equal in all five measures (R1, R3)."""
    names = list(paper.METRICS)
    found: dict[tuple, list[str]] = {}
    for numbers in TABLES.values():
        if "denoise" in numbers:
            for row in paper.printed(numbers["denoise"]).to_dict("records"):
                key = (row["model"], *(row[name] for name in names))
                found.setdefault(key, []).append(str(numbers["denoise"]))
    rows = [
        {"row": key[0], "tables": ", ".join(tables), **dict(zip(names, key[1:], strict=True))}
        for key, tables in found.items()
        if len(tables) > 1
    ]
    return pd.DataFrame(rows, columns=["row", "tables", *names])


def shares() -> pd.DataFrame:
    """Class counts and shares of Tables 7 to 10 beside the number of images in Table 6 (D)."""
    images = paper.printed(6).set_index("dataset")["image_count"]
    rows = []
    for dataset in DATASETS:
        table = paper.class_counts(dataset)
        all_images = int(images[_dataset(dataset)])
        off = (table["count"] / all_images - table["share"]).abs() > 0.00005 + 1e-9
        rows.append(
            {
                "data set": _dataset(dataset), "images": all_images, "classes": len(table),
                "sum of classes": int(table["count"].sum()), "sum of shares": table["share"].sum(),
                "shares that do not fit": ", ".join(table["class"][off]) or "none",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def parameters() -> pd.DataFrame:
    """Parameters of Tables 1 and 2 from their channels: 3 x 3 kernels with bias."""
    rows = []
    for number in (1, 2):
        table = paper.printed(number)
        layers = table[table["row_kind"] == "layer"]
        before = layers["output_channels"].shift()
        convolutions = layers["layer_type"].str.contains("Conv")
        ours = np.where(convolutions, (9 * before + 1) * layers["output_channels"], 0)
        total = table.loc[table["layer_type"] == "Total parameters", "parameters"].iloc[0]
        rows.append(
            {
                "table": number, "layers": len(layers),
                "layers that agree": int((np.nan_to_num(ours) == layers["parameters"]).sum()),
                "sum": int(np.nansum(ours)), "printed sum": int(total),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def training_rates() -> pd.DataFrame:
    """Images a second in training, if all printed epochs ran on 80 % of the images (K9, K16)."""
    rows = []
    for classifier in CLASSIFIERS:
        for row in paper.training_minutes(classifier).to_dict("records"):
            seconds = 60 * row["minutes"]
            rows.append(
                {
                    "data set": _dataset(row["dataset"]), "classifier": classifier,
                    "images": row["images"], "minutes": row["minutes"],
                    "images a second": TRAIN_SHARE * EPOCHS * row["images"] / seconds,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def denoiser_times() -> pd.DataFrame:
    """Training time of the proposed autoencoder over the baseline's (T4)."""
    rows = []
    for dataset in DATASETS:
        minutes = paper.denoiser_minutes(dataset).set_index("defense")["minutes"]
        rows.append(
            {
                "data set": _dataset(dataset), "proposed, minutes": minutes["dae"],
                "baseline, minutes": minutes["autoencoder"],
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    sums = table.sum(numeric_only=True)
    table.loc[len(table)] = ["all", *sums]
    return table.assign(ratio=table["proposed, minutes"] / table["baseline, minutes"])


def evaluation_rates() -> pd.DataFrame:
    """Evaluations a second of the attacks, if each failed image had the whole budget (A9)."""
    rows = []
    for pixels in params.ATTACKS:
        totals = paper.totals(pixels).set_index("dataset")
        for row in paper.attack_minutes(pixels).to_dict("records"):
            name = row["dataset"]
            wins = paper.attack_table(name, "resnet50", pixels)["printed_successes"].sum()
            failed = totals.loc[name, "n"] - wins
            rows.append(
                {
                    "data set": _dataset(name), "pixels": pixels, "computer": row["computer"],
                    "failed images": int(failed), "minutes": row["minutes"],
                    "evaluations a second": failed * MOST_EVALUATIONS / (60 * row["minutes"]),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
