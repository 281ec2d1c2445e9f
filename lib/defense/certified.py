"""The proved defense of a run: accuracy and certified accuracy on clean test images."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from lib.attack import select
from lib.data import Images
from lib.defense.double_masking import DoubleMasking
from lib.models.classifiers import Classifier, as_text, classify
from lib.models.inference import placed
from lib.params import Parameters
from lib.params.files import fingerprint, md5, read_table, write_table

IMAGE = ["dataset", "split", "index", "label", "category", "part", "group"]  # of attack records


def masking_of(model: Classifier, data: Images, p: Parameters) -> DoubleMasking:
    """Double masking with masking_size, classifier_threshold and device of the parameters."""
    multi_label = data.facts.multi_label
    defense = DoubleMasking(
        model, p.masking_size, multi_label=multi_label, threshold=p.classifier_threshold
    )
    placed(defense, p.device)
    return defense.eval()


def named(images: Images) -> pd.DataFrame:
    """What attack records say of each image: the columns `IMAGE`."""
    return pd.DataFrame({
        "dataset": images.name, "split": images.split, "index": images.index,
        "label": as_text(images.labels), "category": images.category, "part": images.part,
        "group": images.group,
    })  # fmt: skip


def certified_accuracy(
    model: Classifier, data: Images, p: Parameters, folder: Path
) -> pd.DataFrame:
    """Double masking on clean test images, right or wrong, ``masking_images`` of each class.

    A finished image is not certified again.

    Args:
        model: the trained classifier of the run folder.
        data: all images.
        p: masking_*, classifier_threshold, seed and device are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``; ``masking.parquet`` is written there.

    Returns:
        One row an image: the columns `IMAGE`, and `measured`.
    """
    every = np.ones(len(data), dtype=bool)
    chosen = data.take(select(data, every, ("test",), p.masking_images, p.seed))
    settings = [p.masking_size, p.classifier_threshold, data.provenance.md5]
    key = fingerprint([*settings, md5(folder / "classifier.safetensors")])
    defense = masking_of(model, data, p)
    path, rows = folder / "masking.parquet", []
    done = read_table(path) if path.exists() else pd.DataFrame()
    known = {} if done.attrs.get("key") != key else {
        (row["split"], row["index"]): row for row in done.to_dict("records")
    }  # fmt: skip
    for place, about in enumerate(tqdm(named(chosen).to_dict("records"), "double masking")):
        name = about["split"], about["index"]
        if name not in known:
            one = chosen.take(np.array([place]))
            known[name] = about | measured(defense, one.images, one.labels)
            _write(path, list(known.values()), key)
        rows.append(known[name])
    _write(path, rows, key)  # without images that an earlier run asked for
    return pd.DataFrame(rows)


def _write(path: Path, rows: list[dict[str, Any]], key: str) -> None:
    table = pd.DataFrame(rows)
    table.attrs["key"] = key
    write_table(path, table)


def measured(
    defense: DoubleMasking, image: np.ndarray, label: np.ndarray
) -> dict[str, bool | float]:
    """What double masking does to a clean image, uint8 (1, H, W, C), and what it proves.

    ``label`` is its class, int (1,), or its 0/1 labels (1, L).

    Returns:
        ``clean`` (the classifier alone is right), ``defended`` (the defense is right),
        ``certified`` (and no patch can change that), ``seconds`` of the decision,
        ``seconds_certify`` of the certificate.
    """

    def right(model: nn.Module) -> bool:
        decision = classify(model, image, defense.multi_label, defense.threshold)
        return bool((decision == label).all())

    started = time.perf_counter()
    row = {"defended": right(defense), "seconds": time.perf_counter() - started}
    row["clean"], started = right(defense.classifier), time.perf_counter()
    row["certified"] = bool(defense.certify(image, label)[0])
    return row | {"seconds_certify": time.perf_counter() - started}
