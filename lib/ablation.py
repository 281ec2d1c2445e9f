"""Which part of the proposed autoencoder helps, and how deep it should be (Tables 3, 4 and 5).

The paper trains on AbdomenCT with 10 % noise and measures the restored test images; which images,
how many and on what scale is not all said (audit D9; decisions DAT10, NOI08, DAE11, DAE12).
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from lib import metrics
from lib.data import Images
from lib.denoisers import ablation_variants, depth_variants, restore
from lib.denoisers.base import parameter_counts
from lib.denoisers.noise import corrupt
from lib.denoisers.train import train_module
from lib.params import Parameters
from lib.records import code, fingerprint, read_table, write_table
from lib.statistics import bootstrap_mean
from lib.training import pick_device

IDENTITY = "identity"
CODE = code("lib/denoisers", "lib/training.py", "lib/streams.py", "lib/metrics.py")


def variants(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Builders of the six models of Table 4 and of the other two depths of Table 5."""
    depths = depth_variants(channels)
    return ablation_variants(channels) | {f"levels_{n}": depths[n] for n in depths if n != 4}


def run(data: Images, p: Parameters, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every variant with every seed and measure it on noisy test images.

    A finished variant is kept in ``folder`` and not trained again by a run with the same settings.

    Args:
        data: AbdomenCT; training and validation parts are trained on (DAT10), the test part is
            measured.
        p: ablation_*, denoiser_* and seed are used.
        folder: for finished parts.

    Returns:
        Metrics, one row a variant, seed and test image (``identity``: the noisy image itself),
        and models, one row a variant and seed: parameters, seconds, images_per_second.
    """
    learn = data.take(data.part != "test")
    learn = learn.take(slice(0, p.ablation_train or None))
    test = data.in_part("test").take(slice(0, p.ablation_test or None))
    noisy = corrupt(test.images, p.denoiser_noise, p.seed, "test")
    device = pick_device(p.device)
    tables = [metrics.measure(test.images, noisy).assign(variant=IDENTITY, seed=p.seed)]
    models = []
    for seed in range(p.seed, p.seed + p.ablation_seeds):
        for name, build in variants(data.facts.channels).items():
            key = fingerprint([CODE, p.of_step("ablation"), data.provenance.md5, name, seed])
            place = folder / f"{name}-{seed}-{key}"
            torch.manual_seed(seed)
            model = build()
            if not (place / "model.parquet").exists():
                history = train_module(
                    model, learn.images, test.images, epochs=p.ablation_epochs,
                    batch=p.denoiser_batch, learning_rate=p.denoiser_learning_rate,
                    noise=p.denoiser_noise, seed=seed, precision=p.denoiser_precision,
                    device=device, checkpoint=place / "checkpoint.safetensors", label=name,
                )  # fmt: skip
                restored = restore(model, noisy, device)
                found = metrics.measure(test.images, restored).assign(variant=name, seed=seed)
                write_table(place / "metrics.parquet", found)
                seconds = sum(epoch["seconds"] for epoch in history)
                about = {"variant": name, "seed": seed, **parameter_counts(model)}
                about |= {"seconds": seconds, "loss": history[-1]["loss"]}
                write_table(place / "model.parquet", pd.DataFrame([about]))
                (place / "checkpoint.safetensors").unlink()
            tables.append(read_table(place / "metrics.parquet"))
            models.append(read_table(place / "model.parquet"))
    return pd.concat(tables, ignore_index=True), pd.concat(models, ignore_index=True)


def summary(found: pd.DataFrame, p: Parameters) -> pd.DataFrame:
    """Mean and bootstrap interval of each metric and variant over images and seeds.

    Resampled are images, each with its mean over seeds; ``n`` images and ``seeds`` are printed.
    """
    rows = []
    for name, group in found.groupby("variant", sort=False):
        by_image = group.assign(image=group.groupby("seed").cumcount()).groupby("image")
        row = {"variant": name, "n": by_image.ngroups, "seeds": group["seed"].nunique()}
        for metric in metrics.COLUMNS:
            row[metric], row[f"{metric}_low"], row[f"{metric}_high"] = bootstrap_mean(
                by_image[metric].mean(), p.bootstrap_samples, p.seed
            )
        rows.append(row)
    return pd.DataFrame(rows)
