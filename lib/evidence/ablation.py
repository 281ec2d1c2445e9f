"""Which module of the proposed autoencoder helps, and the best depth (Tables 3, 4 and 5).

The paper trains on AbdomenCT with 10 % noise and measures the restored test images. It does not
state all of which images, how many and on what scale (audit D9; decisions DAT10, NOI08, DAE11,
DAE12).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from lib.data import Images
from lib.evidence import printed as paper
from lib.evidence.verdicts import holding
from lib.metrics import image_quality
from lib.metrics.intervals import bootstrap_mean, bootstrap_means, columns
from lib.models.denoiser_training import fit_denoiser
from lib.models.denoisers import ablation_variants, depth_variants, restore
from lib.models.denoisers.base import parameter_counts
from lib.models.denoisers.noise import corrupt
from lib.models.training import throughput
from lib.models.weights import write_tensors
from lib.params import VERSIONS, Parameters
from lib.params.device import pick_device
from lib.params.errors import check_name
from lib.params.files import fingerprint, read_json, read_table, write_json, write_table

IDENTITY = "identity"
EXAMPLES = 4  # restored images kept of each variant, for the paper's Figure 2
MODULES, DEPTHS = paper.ABLATIONS[4], paper.ABLATIONS[5]
# Each model with that without its module, and the model of four levels with the other depths.
STEPS = tuple(zip(MODULES[1:], MODULES[:-1], strict=True))
DEEPER = tuple(("proposed", name) for name in DEPTHS if name != "proposed")
SETTLED = 0.1  # dB an epoch, see `settled`
ONE_SEED = "one seed, inconclusive"


class Result(NamedTuple):
    """Result of `run`."""

    metrics: pd.DataFrame  # one row per variant, seed and test image
    models: pd.DataFrame  # one row per variant and seed: sizes, times, loss, validation_psnr
    clean: np.ndarray  # the first test images, uint8 (n, H, W, C)
    noisy: np.ndarray  # the same images with noise
    restored: dict[str, np.ndarray]  # the same after each variant, trained with the first seed


def variants(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Builders of the six models of Table 4 and of the other two depths of Table 5."""
    depths = depth_variants(channels)
    return ablation_variants(channels) | {f"levels_{n}": depths[n] for n in depths if n != 4}


def run(
    data: Images,
    p: Parameters,
    folder: Path,
    names: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Result:
    """Train every variant with every seed and measure it on noisy test images.

    A variant finished with the same data and settings is read back from ``folder``; an interrupted
    one is resumed after its last epoch. `IDENTITY` stands for the noisy image itself.

    Args:
        data: AbdomenCT; training and validation parts are trained on (DAT10), the test part is
            measured.
        p: ablation_*, denoiser_* and seed are used; rates as the DAE's (``denoiser_halving``).
        folder: receives for each variant and seed ``<variant>-<seed>.json`` (parameters, times,
            ``validation_psnr`` after each epoch in dB, and key), ``.parquet`` (metrics) and
            ``.safetensors`` (some restored images).
        names: variants to train; None for all.
        seeds: to train with; None for ``ablation_seeds`` from ``seed`` on.

    Raises:
        InputError: an unknown variant, or training that diverges.
    """
    builders = variants(data.facts.channels)
    for name in names or ():
        check_name("variant", name, builders)
    train = data.take(data.part != "test")
    train = train.take(slice(0, p.ablation_train or None))
    test = data.in_part("test").take(slice(0, p.ablation_test or None))
    noisy = corrupt(test.images, p.denoiser_noise, p.seed, "test")
    device = pick_device(p.device)
    measured = image_quality.measure(test.images, noisy, device)
    tables, models, examples = [measured.assign(variant=IDENTITY, seed=p.seed)], [], {}
    settings = [
        p.seed, p.ablation_train, p.ablation_test, p.ablation_epochs, p.denoiser_batch,
        p.denoiser_learning_rate, p.denoiser_noise, p.denoiser_precision,
    ]  # fmt: skip
    halving = "dae" in p.denoiser_halving  # all variants are stages of the DAE
    settings += ["halving"] if halving else []
    for seed in range(p.seed, p.seed + p.ablation_seeds) if seeds is None else seeds:
        for name in builders if names is None else names:
            key = fingerprint([VERSIONS["ablation"], data.provenance.md5, settings, name, seed])
            about, table, images = (
                folder / f"{name}-{seed}.{kind}" for kind in ("json", "parquet", "safetensors")
            )
            checkpoint = folder / f".{name}-{seed}-{key}.safetensors"
            if not about.exists() or read_json(about)["key"] != key:
                torch.manual_seed(seed)
                model = builders[name]()
                history = fit_denoiser(
                    model, train.images, test.images, epochs=p.ablation_epochs,
                    batch=p.denoiser_batch, learning_rate=p.denoiser_learning_rate,
                    noise=p.denoiser_noise, halving=halving, seed=seed,
                    precision=p.denoiser_precision, device=device, checkpoint=checkpoint,
                    label=f"{name}, seed {seed}",
                )  # fmt: skip
                about.unlink(missing_ok=True)  # written last, it vouches for the files beside it
                restored = restore(model, noisy, device)
                write_table(table, image_quality.measure(test.images, restored, device))
                write_tensors(images, {"restored": torch.from_numpy(restored[:EXAMPLES])})
                seconds, speed = throughput(history)
                write_json(about, {
                    "variant": name, "seed": seed, **parameter_counts(model), "seconds": seconds,
                    "loss": history[-1]["loss"], "images_per_second": speed,
                    "validation_psnr": [epoch["validation_psnr"] for epoch in history], "key": key,
                })  # fmt: skip
                checkpoint.unlink()
            tables.append(read_table(table).assign(variant=name, seed=seed))
            models.append({k: v for k, v in read_json(about).items() if k != "key"})
            if seed == p.seed:
                examples[name] = load_file(images)["restored"].numpy()
    return Result(
        pd.concat(tables, ignore_index=True), pd.DataFrame(models), test.images[:EXAMPLES],
        noisy[:EXAMPLES], examples,
    )  # fmt: skip


def summary(metrics: pd.DataFrame, p: Parameters) -> pd.DataFrame:
    """Mean of each metric and variant over seeds, with an interval that holds those of all seeds.

    The interval of a seed is the bootstrap's over images. Images restored exactly have infinite
    PSNR: ``exact`` counts them (over all seeds), and its mean leaves them out (EVA04).
    ``psnr_worst`` and ``psnr_best`` are the lowest and highest mean of a single seed.
    """
    rows = []
    for name, group in metrics.groupby("variant", sort=False):
        by_seed, trained = _by_seed(group), group.groupby("seed")
        row = {"variant": name, "n": int(trained.size().max()), "seeds": len(trained)}
        row["exact"] = int(np.isinf(group["psnr"]).sum())
        means = [
            bootstrap_means(
                {metric: images[metric][np.isfinite(images[metric])]
                 for metric in image_quality.COLUMNS},
                p.bootstrap_samples, p.seed,
            )
            for _, images in trained
        ]  # fmt: skip
        for metric in image_quality.COLUMNS:
            row |= columns(metric, holding(each[metric] for each in means))
        rows.append(row | {"psnr_worst": by_seed.min(), "psnr_best": by_seed.max()})
    return pd.DataFrame(rows)


def settled_variants(models: pd.DataFrame) -> list[str]:
    """Variants of which each training has `settled`; ``models`` is of `run`."""
    if "validation_psnr" not in models:
        return []
    every = models["validation_psnr"].map(settled).groupby(models["variant"], sort=False).all()
    return every[every].index.tolist()


def settled(curve: Sequence[float] | None) -> bool:
    """Whether the best PSNR so far rose by less than `SETTLED` an epoch in the last two epochs.

    ``curve`` is ``validation_psnr`` of `run`; None or NaN in older records, which are unsettled.
    """
    if np.ndim(curve) != 1 or len(curve) < 3:
        return False
    return max(curve) - max(curve[:-2]) < 2 * SETTLED


def contrasts(
    metrics: pd.DataFrame, p: Parameters, pairs: Sequence[tuple[str, str]] = STEPS + DEEPER
) -> pd.DataFrame:
    """Does each module help (Table 4), and are four levels best (Table 5)?

    Returns:
        One row per pair with metrics. ``variant`` is compared with ``reference``, which lacks its
        module or has another depth: ``n`` images, ``seeds``, ``difference`` of PSNR in dB on the
        same images with its 95 % bootstrap interval, and ``better``: ``yes`` or ``no`` if the
        interval excludes 0 and all seeds agree, else ``inconclusive``, or `ONE_SEED`.
    """
    groups = {name: group for name, group in metrics.groupby("variant", sort=False)}
    rows = []
    for variant, reference in pairs:
        if not {variant, reference} <= groups.keys():
            continue
        one, other = groups[variant], groups[reference]
        both = (_by_image(one)["psnr"] - _by_image(other)["psnr"]).dropna()
        mean, low, high = bootstrap_mean(both, p.bootstrap_samples, p.seed)
        ours, theirs = _by_seed(one), _by_seed(other)
        better = "inconclusive"
        if min(len(ours), len(theirs)) < 2:
            better = ONE_SEED
        elif low > 0 and ours.min() > theirs.max():
            better = "yes"
        elif high < 0 and ours.max() < theirs.min():
            better = "no"
        row = {"variant": variant, "reference": reference, "n": len(both), "seeds": len(ours)}
        rows.append(row | columns("difference", (mean, low, high)) | {"better": better})
    return pd.DataFrame(rows)


def printed() -> pd.DataFrame:
    """Tables 4 and 5; Table 5's four levels are the full model."""
    both = pd.concat([paper.ablation(4), paper.ablation(5)])
    return both.drop_duplicates("variant", ignore_index=True)


def _by_image(group: pd.DataFrame) -> pd.DataFrame:
    """Each image's mean over seeds; PSNR is NaN where a seed restored the image exactly."""
    place = group.groupby("seed").cumcount()
    means = group.groupby(place.to_numpy())[list(image_quality.COLUMNS)].mean()
    return means.assign(psnr=means["psnr"].where(np.isfinite(means["psnr"])))


def _by_seed(group: pd.DataFrame) -> pd.Series:
    """Mean PSNR of each seed, without exact matches."""
    return group[np.isfinite(group["psnr"])].groupby("seed")["psnr"].mean()
