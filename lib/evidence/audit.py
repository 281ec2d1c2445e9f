"""The paper against itself: arithmetic on its printed numbers.

Every function returns a table of what is printed, what follows from the other tables, and whether
the two agree. No result of ours is used, and no cause is guessed. Ids in parentheses are those of
the book's page "Audit".
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from lib import params
from lib.evidence import printed as paper
from lib.evidence.printed import DATASETS, TABLES
from lib.figures.formatting import shown

CLASSIFIERS = ("resnet50", "densenet121")
TEST_SHARE = 0.2  # the printed split (section 3.2.2)
EPOCHS, TRAIN_SHARE = 100, 0.8  # if all printed epochs ran on 80 % of the images
PIXELS = params.PRINTED_SIZE**2
NEITHER, UNCERTAIN = "neither", "reading uncertain"
HALF = 0.00005 + 1e-9  # of the last printed digit of a share
DENOISING = sorted(numbers["denoise"] for numbers in TABLES.values() if "denoise" in numbers)


def _range(low: float, high: float) -> str:
    return f"{low:,} to {high:,}" if low <= high else "none"


def attack_sums() -> pd.DataFrame:
    """Sums and rates of the attack tables beside the printed totals (C1 to C3).

    One row per attack table. The total is printed in Table 32 or 33; for DenseNet121 there is only
    the rate of Table 43.
    """
    rows = []
    for (dataset, classifier, pixels), numbers in TABLES.items():
        table = paper.attack_table(dataset, classifier, pixels)
        images, wins = int(table["printed_n"].sum()), int(table["printed_successes"].sum())
        if classifier == "resnet50":
            total = paper.totals(pixels).set_index("dataset").loc[dataset]
            elsewhere, count, printed = 31 + pixels, int(total["successes"]), total["rate"]
        else:
            elsewhere, count = 43, None
            printed = paper.rates().set_index("dataset").loc[dataset, classifier]
        rows.append({
            "table": numbers["attack"], "data set": shown(dataset), "pixels": pixels,
            "images": images, "successes": wins, "rate": wins / images,
            "mean of classes": (table["printed_successes"] / table["printed_n"]).mean(),
            "total in table": elsewhere, "printed successes": count, "printed rate": printed,
            "agrees": abs(printed - wins / images) <= 0.0005 and count in (None, wins),
        })  # fmt: skip
    return pd.DataFrame(rows)


def row_rates() -> tuple[int, int]:
    """Rows of the attack tables whose printed rate is successes over images, and all rows."""
    table = pd.concat([paper.attack_table(*key) for key in TABLES])
    rates = table["printed_successes"] / table["printed_n"]
    return int(((rates - table["printed_rate"]).abs() <= HALF).sum()), len(table)


def accuracy_sizes() -> pd.DataFrame:
    """Test-set sizes that the printed accuracy and number of correct images allow (K1 to K4).

    A size n fits if correct / n rounds to the printed accuracy.
    """
    images = paper.printed(6).set_index("dataset")["image_count"]
    rows = []
    for classifier in CLASSIFIERS:
        for row in paper.classifier_table(classifier).to_dict("records"):
            low = math.ceil(row["correct"] / (row["test_accuracy"] + 0.00005) - 1e-9)
            high = math.floor(row["correct"] / (row["test_accuracy"] - 0.00005) + 1e-9)
            fifth = round(images[shown(row["dataset"])] * TEST_SHARE)
            rows.append({
                "data set": shown(row["dataset"]), "classifier": classifier,
                "correct images": row["correct"], "accuracy, %": 100 * row["test_accuracy"],
                "sizes that fit": _range(low, high), "a fifth of the images": fifth,
                "agrees": low <= fifth <= high,
            })  # fmt: skip
    return pd.DataFrame(rows)


def recalls(dataset: str, names: Callable[[list[str]], list[str]] = list) -> pd.DataFrame:
    """Correct images of each class by its recall, beside those that were attacked (K5, K10).

    One fifth of the class times its recall must be the number of correct test images, all of which
    the one-pixel attack was made on. ``names`` gives the classes that the labels are read as.
    """
    printed = paper.prf_table(dataset, "resnet50")
    counts = paper.class_counts(dataset).set_index("class")["count"]
    attacked = paper.attack_table(dataset, "resnet50", 1).set_index("class")["printed_n"]
    read_as = names(list(printed["class"]))
    rows = []
    for label, name, recall in zip(printed["class"], read_as, printed["recall"], strict=True):
        size = counts[name] * TEST_SHARE
        low, high = (math.floor(size * (recall - 0.005)), math.ceil(size * (recall + 0.005)))
        rows.append({
            "printed label": label, "read as": name, "recall": recall,
            "a fifth of the class": round(size), "correct images that fit": _range(low, high),
            "attacked": int(attacked[name]), "agrees": low <= attacked[name] <= high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def alphabetical(labels: list[str]) -> list[str]:
    """Table 15's rows read as the classes in alphabetical order: CNV, DME, drusen, normal."""
    order = [item.name for item in params.facts("oct").classes]
    by_paper = ["normal", *[name for name in order if name != "normal"]]
    return [order[by_paper.index(label)] for label in labels]


def jensen() -> pd.DataFrame:
    """Mean PSNR against the bound that the mean MSE sets, on either scale (P1, P2).

    PSNR is convex in MSE, so mean PSNR >= 10 log10(MAX^2 / mean MSE), up to rounding. A row meets
    the bound on 0..1, on 0..255 or on neither; its reading is uncertain where its cells run
    together in the available text and would meet the bound on 0..255 if they were split elsewhere.
    """
    rows = []
    for number in (4, 5, *DENOISING):
        for row in paper.printed(number).to_dict("records"):
            most = row["mse"] + paper.half_digit("mse", row["mse"])
            bounds = {peak: 10 * math.log10(peak**2 / most) for peak in (1, 255)}
            met = {peak: row["psnr_db"] + 0.005 >= bound for peak, bound in bounds.items()}
            # A row that meets the bound of 8-bit values meets that of 0..1 by far: the scale is
            # the largest whose bound is met and near.
            scale = "0..1" if row["mse"] < 1 and met[1] else "0..255" if met[255] else NEITHER
            if scale == NEITHER and "scale 255" in str(row.get("alternative_reading")):
                scale = UNCERTAIN
            rows.append({
                "table": number, "row": row.get("model", row.get("variant")),
                "PSNR, dB": row["psnr_db"], "MSE": row["mse"], "bound on 0..1": bounds[1],
                "bound on 0..255": bounds[255], "scale that fits": scale,
            })  # fmt: skip
    return pd.DataFrame(rows)


def floor() -> pd.DataFrame:
    """PSNR of an attacked image without a defense, at least, beside the best denoised one (U1)."""
    floors = [10 * math.log10(PIXELS / pixels) for pixels in params.ATTACKS]
    best = max(paper.printed(number)["psnr_db"].max() for number in DENOISING)
    return pd.DataFrame({
        "pixels changed": [*params.ATTACKS], "PSNR without a defense, at least, dB": floors,
        "best printed PSNR after denoising, dB": best,
    })  # fmt: skip


def repeats() -> pd.DataFrame:
    """Rows of different denoising tables that are equal in all five measures (R1, R3)."""
    names = list(paper.METRICS)
    every = pd.concat([paper.printed(number).assign(tables=str(number)) for number in DENOISING])
    same = every.groupby(["model", *names], sort=False)["tables"].agg(list).reset_index()
    same = same[same["tables"].str.len() > 1].rename(columns={"model": "row"})
    return same.assign(tables=same["tables"].str.join(", "))[["row", "tables", *names]]


def shares() -> pd.DataFrame:
    """Class counts and shares of Tables 7 to 10 beside the number of images in Table 6 (D)."""
    images = paper.printed(6).set_index("dataset")["image_count"]
    rows = []
    for dataset in DATASETS:
        table, total = paper.class_counts(dataset), int(images[shown(dataset)])
        off = (table["count"] / total - table["share"]).abs() > HALF
        rows.append({
            "data set": shown(dataset), "images": total, "classes": len(table),
            "sum of classes": int(table["count"].sum()), "sum of shares": table["share"].sum(),
            "shares that do not fit": ", ".join(table["class"][off]) or "none",
        })  # fmt: skip
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
        rows.append({
            "table": number, "layers": len(layers),
            "layers that agree": int((np.nan_to_num(ours) == layers["parameters"]).sum()),
            "sum": int(np.nansum(ours)), "printed sum": int(total),
        })  # fmt: skip
    return pd.DataFrame(rows)


def training_rates() -> pd.DataFrame:
    """Images a second in training, if all printed epochs ran on 80 % of the images (K9, K16)."""
    times = [paper.training_minutes(name).assign(classifier=name) for name in CLASSIFIERS]
    table = pd.concat(times, ignore_index=True)
    rates = TRAIN_SHARE * EPOCHS * table["images"] / (60 * table["minutes"])
    table = table.assign(**{"data set": table["dataset"].map(shown), "images a second": rates})
    return table[["data set", "classifier", "images", "minutes", "images a second"]]


def denoiser_times() -> pd.DataFrame:
    """Training time of the proposed autoencoder over the baseline's (T4)."""
    minutes = pd.DataFrame({
        shown(name): paper.denoiser_minutes(name).set_index("defense")["minutes"]
        for name in DATASETS
    }).T[["dae", "autoencoder"]]  # fmt: skip
    minutes.loc["all"] = minutes.sum()
    minutes.columns = ["proposed, minutes", "baseline, minutes"]
    minutes["ratio"] = minutes["proposed, minutes"] / minutes["baseline, minutes"]
    return minutes.rename_axis("data set").reset_index()


def evaluation_rates() -> pd.DataFrame:
    """Queries a second of the attacks, if each failed image had the whole budget (A9)."""
    rows = []
    for pixels in params.ATTACKS:
        totals = paper.totals(pixels).set_index("dataset")["n"]
        for row in paper.attack_minutes(pixels).to_dict("records"):
            name = row["dataset"]
            wins = paper.attack_table(name, "resnet50", pixels)["printed_successes"].sum()
            failed = int(totals[name] - wins)
            rows.append({
                "data set": shown(name), "pixels": pixels, "computer": row["computer"],
                "failed images": failed, "minutes": row["minutes"],
                "queries a second": failed * params.PRINTED_BUDGET / (60 * row["minutes"]),
            })  # fmt: skip
    return pd.DataFrame(rows)
