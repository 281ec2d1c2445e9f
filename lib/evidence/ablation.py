"""Which part of the proposed autoencoder helps, and how deep it should be (Tables 3, 4 and 5).

The paper trains on AbdomenCT with 10 % noise and measures the restored test images; which images,
how many and on what scale is not all said (audit D9; decisions DAT10, NOI08, DAE11, DAE12).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lib.data import Images
from lib.evidence import printed as paper
from lib.figures import tables as report
from lib.metrics import image_quality
from lib.metrics.intervals import bootstrap_mean
from lib.models.denoiser_training import fit_denoiser
from lib.models.denoisers import ablation_variants, depth_variants, restore
from lib.models.denoisers.base import parameter_counts
from lib.models.denoisers.noise import corrupt
from lib.params import VERSIONS, Parameters
from lib.params.device import pick_device
from lib.params.files import atomic, fingerprint, read_json, read_table, write_json, write_table

IDENTITY = "identity"
EXAMPLES = 4  # restored images kept of each variant, for the paper's Figure 2
# What is asked of Table 4, each module against the model without it, and of Table 5.
MODULES = ("original", "depth_kernels", "bn_leakyrelu", "attention", "residual", "proposed")
DEPTHS = {"levels_3": 3, "proposed": 4, "levels_5": 5}
ONE_SEED = "one seed, open"


@dataclass(frozen=True)
class Result:
    """What `run` found."""

    found: pd.DataFrame  # metrics, one row a variant, seed and test image
    models: pd.DataFrame  # one row a variant and seed: sizes, seconds, images_per_second, loss
    clean: np.ndarray  # the first test images, uint8 (n, H, W, C)
    noisy: np.ndarray  # the same with noise
    restored: dict[str, np.ndarray]  # and after each variant, trained with the first seed


def variants(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Builders of the six models of Table 4 and of the other two depths of Table 5."""
    depths = depth_variants(channels)
    return ablation_variants(channels) | {f"levels_{n}": depths[n] for n in depths if n != 4}


def run(data: Images, p: Parameters, folder: Path) -> Result:
    """Train every variant with every seed and measure it on noisy test images.

    A variant that was finished with the same data and settings is read back from ``folder``,
    and one that was killed goes on after its last epoch.

    Args:
        data: AbdomenCT; training and validation parts are trained on (DAT10), the test part is
            measured.
        p: ablation_*, denoiser_* and seed are used.
        folder: for each variant and seed ``<variant>-<seed>.json`` (parameters, times and the key
            to what made it), ``.parquet`` (metrics) and ``.safetensors`` (some restored images).

    Returns:
        Metrics of every image (``identity``: the noisy image itself), models and examples.

    Raises:
        InputError: training diverges.
    """
    learn = data.take(data.part != "test")
    learn = learn.take(slice(0, p.ablation_train or None))
    test = data.in_part("test").take(slice(0, p.ablation_test or None))
    noisy = corrupt(test.images, p.denoiser_noise, p.seed, "test")
    device = pick_device(p.device)
    tables = [
        image_quality.measure(test.images, noisy, device).assign(variant=IDENTITY, seed=p.seed)
    ]
    models, examples = [], {}
    settings = [
        p.seed, p.ablation_train, p.ablation_test, p.ablation_epochs, p.denoiser_batch,
        p.denoiser_learning_rate, p.denoiser_noise, p.denoiser_precision,
    ]  # fmt: skip
    for seed in range(p.seed, p.seed + p.ablation_seeds):
        for name, build in variants(data.facts.channels).items():
            key = fingerprint([VERSIONS["ablation"], data.provenance.md5, settings, name, seed])
            about, table, images = (
                folder / f"{name}-{seed}.{kind}" for kind in ("json", "parquet", "safetensors")
            )
            if not about.exists() or read_json(about)["key"] != key:
                checkpoint = folder / f".{name}-{seed}-{key}.safetensors"
                torch.manual_seed(seed)
                model = build()
                history = fit_denoiser(
                    model, learn.images, test.images, epochs=p.ablation_epochs,
                    batch=p.denoiser_batch, learning_rate=p.denoiser_learning_rate,
                    noise=p.denoiser_noise, seed=seed, precision=p.denoiser_precision,
                    device=device, checkpoint=checkpoint, label=f"{name}, seed {seed}",
                )  # fmt: skip
                about.unlink(missing_ok=True)  # written last, it vouches for the files beside it
                restored = restore(model, noisy, device)
                write_table(table, image_quality.measure(test.images, restored, device))
                with atomic(images) as temporary:
                    save_file({"restored": torch.from_numpy(restored[:EXAMPLES])}, temporary)
                seconds = sum(epoch["seconds"] for epoch in history)
                seen = sum(epoch["seconds"] * epoch["images_per_second"] for epoch in history)
                content = {"variant": name, "seed": seed, **parameter_counts(model)}
                content |= {"seconds": round(seconds, 3), "loss": history[-1]["loss"]}
                content["images_per_second"] = round(seen / seconds, 1) if seconds else None
                write_json(about, content | {"key": key})
                checkpoint.unlink()
            tables.append(read_table(table).assign(variant=name, seed=seed))
            models.append({k: v for k, v in read_json(about).items() if k != "key"})
            if seed == p.seed:
                examples[name] = load_file(images)["restored"].numpy()
    return Result(
        pd.concat(tables, ignore_index=True), pd.DataFrame(models), test.images[:EXAMPLES],
        noisy[:EXAMPLES], examples,
    )  # fmt: skip


def summary(found: pd.DataFrame, p: Parameters) -> pd.DataFrame:
    """Mean and bootstrap interval of each metric and variant over images and seeds.

    Resampled are images, each with its mean over seeds; ``n`` images and ``seeds`` are printed.
    Images restored exactly have no PSNR: they are counted in ``exact`` (over all seeds) and left
    out of its mean (EVA04). ``psnr_worst`` and ``psnr_best`` are the means of single seeds.
    """
    rows = []
    for name, group in found.groupby("variant", sort=False):
        images = _by_image(group)
        row = {"variant": name, "n": len(images), "seeds": group["seed"].nunique()}
        row["exact"] = int(np.isinf(group["psnr"]).sum())
        for metric in image_quality.COLUMNS:
            row[metric], row[f"{metric}_low"], row[f"{metric}_high"] = bootstrap_mean(
                images[metric].dropna(), p.bootstrap_samples, p.seed
            )
        of_seeds = _of_seeds(group)
        row |= {"psnr_worst": of_seeds.min(), "psnr_best": of_seeds.max()}
        rows.append(row)
    return pd.DataFrame(rows)


def contrasts(found: pd.DataFrame, p: Parameters) -> pd.DataFrame:
    """Does each module help (Table 4), and are four levels best (Table 5)?

    Returns:
        One row a pair, ``variant`` against ``reference``, which lacks its module or has another
        depth: ``n`` images, ``seeds``, ``difference`` of PSNR in dB with its 95 % bootstrap
        interval over images (the same images on both sides), and ``better``: ``yes`` or ``no`` if
        that interval excludes 0 and every training of the one is above every training of the
        other, else ``not sure``; with a single training of each, `ONE_SEED`.
    """
    groups = {name: group for name, group in found.groupby("variant", sort=False)}
    pairs = [(MODULES[i + 1], MODULES[i]) for i in range(len(MODULES) - 1)]
    pairs += [("proposed", name) for name in DEPTHS if name != "proposed"]
    rows = []
    for variant, reference in pairs:
        one, other = groups[variant], groups[reference]
        both = (_by_image(one)["psnr"] - _by_image(other)["psnr"]).dropna()
        mean, low, high = bootstrap_mean(both, p.bootstrap_samples, p.seed)
        ours, theirs = _of_seeds(one), _of_seeds(other)
        if min(len(ours), len(theirs)) < 2:
            better = ONE_SEED
        elif low > 0 and ours.min() > theirs.max():
            better = "yes"
        elif high < 0 and ours.max() < theirs.min():
            better = "no"
        else:
            better = "not sure"
        row = {"variant": variant, "reference": reference, "n": len(both), "seeds": len(ours)}
        row |= {"difference": mean, "difference_low": low, "difference_high": high}
        rows.append(row | {"better": better})
    return pd.DataFrame(rows)


def printed() -> pd.DataFrame:
    """Tables 4 and 5 under our names of the variants; Table 5's four levels are the full model."""
    modules = paper.ablation().assign(variant=MODULES)
    depths = paper.depth().assign(variant=list(DEPTHS))
    return pd.concat([modules, depths[depths["variant"] != "proposed"]], ignore_index=True)


def answers(compared: pd.DataFrame) -> pd.DataFrame:
    """The table of `contrasts` for a page, with the paper's difference beside each of ours."""
    values = printed().set_index("variant")["psnr"]
    table = compared[["variant", "reference", "n", "seeds"]].copy()
    table["difference, dB"] = report.intervals(compared, "difference")
    table["printed difference, dB"] = (
        values[table["variant"]].to_numpy() - values[table["reference"]].to_numpy()
    )
    return table.assign(better=compared["better"].to_numpy())


def conclusion(means: pd.DataFrame, compared: pd.DataFrame) -> str:
    """In words: how many modules helped, and which depth is best, beside the paper's answer."""
    modules = compared["reference"].isin(MODULES)
    steps, levels = compared.loc[modules, "better"], compared.loc[~modules, "better"]
    depths = means[means["variant"].isin(DEPTHS)]
    best = depths.loc[depths["psnr"].idxmax(), "variant"]
    return (
        f"Modules that helped: {(steps == 'yes').sum()} of {len(steps)}; that harmed: "
        f"{(steps == 'no').sum()}; open: {(~steps.isin(['yes', 'no'])).sum()}. Highest mean: "
        f"{DEPTHS[best]} levels; four levels are "
        + ("better than both others" if (levels == "yes").all() else "not shown to be best")
        + " here. A step is open where not every training of the one is above, or below, every "
        "training of the other. The paper reports that each module helps and that four levels are "
        "best."
    )


def _by_image(group: pd.DataFrame) -> pd.DataFrame:
    """Each image's mean over seeds; PSNR is NaN where a seed restored the image exactly."""
    place = group.groupby("seed").cumcount()
    means = group.groupby(place.to_numpy())[list(image_quality.COLUMNS)].mean()
    return means.assign(psnr=means["psnr"].where(np.isfinite(means["psnr"])))


def _of_seeds(group: pd.DataFrame) -> pd.Series:
    """Mean PSNR of each seed, without exact matches."""
    return group[np.isfinite(group["psnr"])].groupby("seed")["psnr"].mean()
