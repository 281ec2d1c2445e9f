"""Seconds an image of training takes, of all networks alone on one machine.

``python -m benchmarks.training_times`` writes ``results/training_times.csv``: for the four
denoisers in batches of 16 and for both classifiers in batches of 64, whole images of 224 pixels,
float32. Absolute times are this machine's; their order is compared with Tables 48 to 51. A batch
that the memory does not hold is halved, and the row names the batch.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.attack import write_csv
from lib.models import classifiers, denoisers
from lib.models.classifier_training import fit_classifier
from lib.models.denoiser_training import fit_denoiser
from lib.params import ROOT
from lib.params.device import is_out_of_memory, pick_device
from lib.params.errors import InputError, run_command
from lib.params.runs import hardware

CASES = [
    (name, channels) for channels in (1, 3) for name in (*denoisers.TRAINED, *classifiers.NETWORKS)
]


def seconds(name: str, channels: int, size: int, batch: int, steps: int) -> float:
    """Seconds of training by image, of the second of two epochs."""
    shape = (batch * steps, size, size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    settings = {"epochs": 2, "batch": batch, "device": "auto", "label": name}
    torch.manual_seed(0)
    if name in denoisers.TRAINED:
        other = name == "noise2noise"
        model = denoisers.build(name, channels)
        history = fit_denoiser(model, images, images[:1], noisy_targets=other, **settings)
    else:
        labels = np.arange(len(images)) % 4
        model = classifiers.Classifier(name, 4, size)
        history = fit_classifier(model, images, labels, images[:1], labels[:1], **settings)
    return history[-1]["seconds"] / len(images)


def row(name: str, channels: int, size: int, steps: int) -> dict:
    """One row of the table."""
    batch = 16 if name in denoisers.TRAINED else 64
    while True:
        try:
            found = seconds(name, channels, size, batch, steps)
            break
        except InputError as error:
            if batch == 1 or not is_out_of_memory(error.__context__):
                raise
        batch //= 2
        torch.cuda.empty_cache()
    about = hardware()
    return {
        "device": pick_device("auto").type, "hardware": about.get("gpu") or about["processor"],
        "torch": torch.__version__, "network": name, "channels": channels, "size": size,
        "batch": batch, "precision": "float32", "steps": steps,
        "seconds_per_image": round(found, 6),
    }  # fmt: skip


def main(words: list[str]) -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_times")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=8, help="of each of two epochs")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "training_times.csv")
    given = parser.parse_args(words)
    rows = []
    for name, channels in CASES:
        rows.append(row(name, channels, given.size, given.steps))
        print(rows[-1], flush=True)
        write_csv(given.out, pd.DataFrame(rows))


if __name__ == "__main__":
    run_command(main)
