"""Tables of a run with the paper's printed values beside ours, ready to show."""

from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from torch import nn

from lib.evidence import printed as paper
from lib.figures import formatting, tables
from lib.models.denoisers.base import parameter_counts


def source(printed: pd.DataFrame | None) -> str:
    """Number of a printed table and what is odd about it, or that there is none."""
    if printed is None:
        return "The paper prints no such table."
    return f"Printed: Table {printed.attrs['table']}. {printed.attrs['note']}".strip()


def class_counts(classes: pd.DataFrame, dataset: str) -> Styler:
    """Images of each class, of `lib.data.statistics.by_class`."""
    printed = paper.class_counts(dataset)
    if printed is None:
        return tables.table(classes, source(printed))
    shown = classes.join(printed.set_index("class").add_prefix("printed_"), on="class")
    shown["share"] = shown["images"] / shown["images"].sum()
    return tables.table(shown, source(printed), percent=["share", "printed_share"])


def accuracy(
    measured: dict[str, Any], training_accuracy: float, dataset: str, classifier: str
) -> Styler:
    """Accuracy of a classifier, and of what needs no classifier (audit K6).

    ``measured`` is of `lib.metrics.classification.summary` on the test part.
    """
    printed = paper.classifier_table(classifier)
    row = printed[printed["dataset"] == dataset].iloc[0]
    rows = [
        ["training", training_accuracy, row["training_accuracy"]],
        ["test", measured["accuracy"], row["test_accuracy"]],
        ["always predicting the most frequent class", measured.get("majority_accuracy"), None],
        ["test, single labels", measured.get("label_accuracy"), None],
        ["never predicting a label", measured.get("all_zero_accuracy"), None],
        ["the same, single labels", measured.get("all_zero_label_accuracy"), None],
    ]
    shown = pd.DataFrame(rows, columns=["accuracy", "ours", "printed"])
    shown = shown.astype({"ours": float, "printed": float}).dropna(subset="ours")
    caption = (
        f"{measured['correct']:,} of {measured['images']:,} test images are correct. Printed: "
        f"{row['correct']:,} (Table {printed.attrs['table']})."
    )
    return tables.table(shown, caption, percent=["ours", "printed"])


def by_class(quality: pd.DataFrame, dataset: str, classifier: str) -> Styler:
    """Precision, recall and F1 of each class, of `lib.metrics.classification.by_class`."""
    printed, shown = paper.prf_table(dataset, classifier), quality
    if printed is not None:
        shown = quality.join(printed.set_index("class").add_prefix("printed_"), on="class")
    shares = [c for c in shown if c.removeprefix("printed_") in ("precision", "recall", "f1")]
    return tables.table(shown, source(printed), percent=shares)


def layers(baseline: nn.Module, channels: int) -> Styler:
    """Parameters of each layer of the baseline, an autoencoder (Tables 1 and 2)."""
    printed = paper.printed(1 if channels == 1 else 2)
    names = {"parameters": "printed_parameters", "output_channels": "printed_channels"}
    shown = printed.loc[printed["row_kind"] == "layer", ["layer_index", "layer_type", *names]]
    shown = shown.rename(columns=names)
    shown.insert(2, "printed_channels", shown.pop("printed_channels"))
    convolutions = shown["layer_type"].str.startswith("Convolution")
    shown["our_parameters"] = 0
    shown.loc[convolutions, "our_parameters"] = [
        sum(value.numel() for value in layer.parameters())
        for layer in baseline.modules()
        if hasattr(layer, "out_channels")
    ]
    total = parameter_counts(baseline)["trainable"]
    caption = f"Total: ours {total:,}, printed {shown['printed_parameters'].sum():,}."
    return tables.table(shown, caption)


def denoisers(about: dict[str, dict[str, Any]], dataset: str) -> Styler:
    """Validation PSNR and training time of each denoiser; ``about`` has its JSON file."""
    shown = pd.DataFrame([
        {
            "defense": name, "parameters": content["parameters"]["trainable"],
            "epochs": len(content["history"]), "validation psnr, dB": content["validation_psnr"],
            "no defense, dB": content["identity_psnr"],
            "better than no defense": content["validation_psnr"] > content["identity_psnr"],
            "minutes": content["wall_seconds"] / 60, "images/s": content["images_per_second"],
        }
        for name, content in about.items()
    ])  # fmt: skip
    printed = paper.denoiser_minutes(dataset)
    if printed is not None:
        minutes = printed[["defense", "minutes"]].rename(columns={"minutes": "printed_minutes"})
        shown = shown.merge(minutes, how="left")
    return tables.table(shown, f"{source(printed)} Hardware, image size and epochs differ.")


def success(
    rates: pd.DataFrame, available: pd.DataFrame, dataset: str, classifier: str, pixels: int
) -> Styler:
    """Success rate of each class, with the images that there were to attack.

    Args:
        rates: of `lib.evidence.rates.success_by_class`.
        available: counts of images by class, of the attack.
    """
    printed = paper.attack_table(dataset, classifier, pixels)
    shown = rates.assign(rate=tables.rates(rates, digits=1))
    shown = shown.drop(columns=["low", "high"])
    shown = shown.merge(available[["class", "test_images", "test_correct"]], how="left")
    if printed is not None:
        shown = shown.merge(printed, how="left")
    caption = f"{formatting.attack(pixels).capitalize()}. {source(printed)}"
    return tables.table(shown, caption, percent=[c for c in shown if c == "printed_rate"])


def attack_times(records: dict[int, pd.DataFrame], dataset: str) -> Styler:
    """Queries and minutes of the attacks; ``records`` are of one run, by number of pixels."""
    rows, numbers = [], []
    for pixels, found in records.items():
        minutes = paper.attack_minutes(pixels)
        printed = minutes[minutes["dataset"] == dataset].iloc[0]
        seconds, evaluations = found["seconds"].sum(), int(found["evaluations"].sum())
        numbers.append(str(minutes.attrs["table"]))
        rows.append({
            "pixels": pixels, "images": len(found), "queries": evaluations,
            "computed": found["computed"].sum() / max(evaluations, 1), "minutes": seconds / 60,
            "queries/s": evaluations / max(seconds, 1e-9),
            "printed_images": printed["images"], "printed_minutes": printed["minutes"],
        })  # fmt: skip
    where = f"Table{'s' * (len(numbers) > 1)} {formatting.enumerated(numbers)}"
    caption = f"Computed: queries not answered by the cache. Printed: {where}, ResNet50."
    return tables.table(pd.DataFrame(rows), caption, percent=["computed"])


def quality(summary: pd.DataFrame, dataset: str, classifier: str, pixels: int) -> Styler:
    """Means of the image measures after each defense, of `lib.defense.restoration.summary`."""
    printed = paper.denoise_table(dataset, classifier, pixels)
    shown = tables.ours_and_printed(summary, printed, "defense", paper.METRICS.values())
    return tables.table(shown, f"{formatting.attack(pixels).capitalize()}. {source(printed)}")
