"""How the denoisers are trained: noise, loss, crops, validation and files (NOI01 to MED05)."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lib.data import counter_rng, to_tensor, to_uint8
from lib.metrics import image_quality
from lib.models import denoisers
from lib.models.denoisers.base import parameter_counts
from lib.models.denoisers.noise import corrupt, impulse_noise
from lib.models.training import fit
from lib.params import Parameters
from lib.params.device import pick_device
from lib.params.errors import InputError, unknown
from lib.params.files import atomic, fingerprint, read_json, write_json
from lib.params.runs import code

LARGE = ("noise2noise", "median_cnn")  # too dear at full size: crops, fewer images (GEN04, T5, T6)
VALIDATION_IMAGES = 64  # at most, so that validation stays a small part of an epoch
VALIDATION_NOISE = 0.1  # for every denoiser, whatever it was trained on: one scale for all
EPSILON = 1e-8  # of the annealed L0 loss (audit N6)
CODE = code("lib/models/denoiser_training.py", "lib/models/denoisers", "lib/models/training.py",
            "lib/params/device.py", "lib/data/counter_rng.py")  # fmt: skip


def train(
    name: str,
    images_train: np.ndarray,
    images_val: np.ndarray,
    p: Parameters,
    folder: Path,
) -> nn.Module:
    """Train one of the four denoisers and write its files.

    The paper (3.1.2, 4.1.2): Adam, 100 epochs, batches of 16; learning rate missing. We: the same
    in the protocol ``paper`` with a rate of 0.001 (GEN02, GEN03), whole images for the
    autoencoders and crops for the two large networks, whose printed times do not fit whole images
    (GEN04); the rate of these two falls (N2N03, MED05). The weights are those of the last epoch;
    the best one is named beside (GEN06).

    Training goes on where a killed run was, and a denoiser that was finished with the same
    settings and images is read back instead.

    Args:
        name: one of `lib.models.denoisers.TRAINED`.
        images_train: uint8 (N, H, W, C).
        images_val: uint8 (M, H, W, C).
        p: parameters; the fields ``denoiser_...``, ``seed`` and ``device`` count.
        folder: written to are ``<name>.safetensors`` and ``<name>.json``: ``name``, ``channels``,
            ``image_size``, ``parameters`` (see `parameter_counts`), ``settings``, ``history`` (see
            `train_module`), ``wall_seconds`` (of training, without validation),
            ``images_per_second``, the last epoch's ``validation_psnr``, ``identity_psnr`` and
            ``clipped``, and ``best``, epoch and loss of the lowest validation loss.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        InputError: unknown name, unfit images, or training that diverges.
    """
    if name not in denoisers.TRAINED:
        raise unknown("trained denoiser", name, denoisers.TRAINED)
    _check(images_train, images_val)
    channels = images_train.shape[3]
    large = name in LARGE
    settings = {
        "epochs": p.denoiser_epochs,
        "batch": p.denoiser_batch,
        "learning_rate": p.denoiser_learning_rate,
        "noise": p.denoiser_median_noise if name == "median_cnn" else [p.denoiser_noise],
        "seed": p.seed,
        "precision": p.denoiser_precision,
        "limit": (p.denoiser_large_limit if large else 0) or p.denoiser_train_limit,
        "crop": p.denoiser_crop if large else 0,
        "halving": large,
        "noisy_targets": name == "noise2noise",
    }
    torch.manual_seed(p.seed)
    model = denoisers.build(name, channels)
    key = _key(model, images_train, images_val, settings)
    weights, about = folder / f"{name}.safetensors", folder / f"{name}.json"
    if weights.exists() and about.exists() and read_json(about).get("key") == key:
        return denoisers.load(name, folder, channels)
    checkpoint = folder / f"{name}.checkpoint.safetensors"
    history = train_module(
        model, images_train, images_val, **settings, device=pick_device(p.device),
        checkpoint=checkpoint, label=name,
    )  # fmt: skip
    about.unlink(missing_ok=True)  # it is written last and vouches for the weights beside it
    with atomic(weights) as temporary:
        state = model.cpu().to(memory_format=torch.contiguous_format).state_dict()
        save_file({field: value.contiguous() for field, value in state.items()}, temporary)
    seconds = sum(epoch["seconds"] for epoch in history)
    seen = sum(epoch["seconds"] * epoch["images_per_second"] for epoch in history)
    best = min(history, key=lambda epoch: epoch["validation_loss"])
    content = {
        "name": name,
        "channels": channels,
        "image_size": images_train.shape[1],
        "parameters": parameter_counts(model),
        "settings": settings,
        "wall_seconds": round(seconds, 3),
        "images_per_second": round(seen / seconds, 1) if seconds else None,
        **{field: history[-1][field] for field in ("validation_psnr", "identity_psnr", "clipped")},
        "best": {field: best[field] for field in ("epoch", "validation_loss")},
        "history": history,
        "key": key,
    }
    write_json(about, content)
    checkpoint.unlink()
    return model


def train_module(
    model: nn.Module,
    images_train: np.ndarray,
    images_val: np.ndarray,
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    noise: float | Sequence[float],
    seed: int,
    precision: str,
    device: torch.device,
    checkpoint: Path,
    label: str,
    limit: int = 0,
    crop: int = 0,
    halving: bool = False,
    noisy_targets: bool = False,
) -> list[dict]:
    """Train any network from noisy to clean images with Adam; a killed run goes on where it was.

    Call ``torch.manual_seed`` before building the network: its first weights are the caller's.

    Args:
        model: trained in place and left on ``device`` in evaluation mode.
        images_train: uint8 (N, H, W, C).
        images_val: uint8 (M, H, W, C); 64 of them are used at most.
        epochs: passes over the images.
        batch: images a step.
        learning_rate: of Adam (GEN02).
        noise: share of pixels replaced, or several, one of them drawn for each image (NOI05).
        seed: of order, noise and crops; first weights aside, it fixes the result, on a GPU up to
            the order of its sums.
        precision: ``float32`` or ``bfloat16``.
        device: where it runs.
        checkpoint: file written after each epoch; the caller removes it.
        label: shown in the progress bar.
        limit: images an epoch, drawn anew for each; 0: all.
        crop: edge of random crops; 0, or more than the image has: the whole image.
        halving: the rate is halved after each quarter of the steps, as in the public code of
            Noise2Noise (N2N03); that of the median network lowers it too (MED05). At a constant
            rate the steep loss of Noise2Noise's last epochs, where gamma is small, throws away what
            was learned; and weights that still move leave batch normalization with running means of
            weights that are gone.
        noisy_targets: Noise2Noise: the target is noisy too (NOI06) and the loss is annealed L0
            (N2N02). Otherwise the target is clean and the loss the mean squared error (DAE10).

    Returns:
        One dictionary an epoch: ``epoch``, ``loss`` (of training), ``seconds``,
        ``images_per_second``; on validation images with 10 % noise, always the same,
        ``validation_loss`` (mean squared error on 0..1 against the clean image, before clipping),
        ``validation_psnr`` and ``identity_psnr`` (mean over images, dB, of the restored 8-bit
        images and of doing nothing) and ``clipped`` (share of values outside 0..1, GEN07); with
        ``noisy_targets`` also ``gamma``, which makes losses of different epochs incomparable.

    Raises:
        InputError: unfit images or noise levels, or training that diverges.
    """
    _check(images_train, images_val)
    levels = torch.tensor([noise] if isinstance(noise, int | float) else list(noise))
    settings = [batch, learning_rate, levels.tolist(), seed, precision, limit, crop]
    settings += [halving, noisy_targets]
    settings += [epochs] if halving or noisy_targets else []  # rate and gamma depend on it
    model.to(device, memory_format=torch.channels_last)
    clean = _sample(images_val, seed)
    noisy = corrupt(clean, VALIDATION_NOISE, seed, "val")
    nothing = _mean_psnr(clean, noisy)
    target = to_tensor(clean)

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        source, wanted, gamma = batch
        output = network(source).float()
        if noisy_targets:
            return annealed_l0(output, wanted, gamma.item())
        return F.mse_loss(output, wanted)

    def evaluate(network: nn.Module, epoch: int) -> dict[str, float]:
        output = torch.cat(list(denoisers.outputs(network, noisy, device)))
        if not output.isfinite().all():
            raise InputError(
                f"{label} gives values that are no numbers after epoch {epoch + 1}: lower the "
                "learning rate, or train in float32."
            )
        measures = {
            "validation_loss": F.mse_loss(output, target).item(),
            "validation_psnr": _mean_psnr(clean, to_uint8(output)),
            "identity_psnr": nothing,
            "clipped": ((output < 0) | (output > 1)).float().mean().item(),
        }
        return measures | ({"gamma": _gamma(epoch, epochs)} if noisy_targets else {})

    images = min(limit or len(images_train), len(images_train))
    steps = -(-images // batch)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = None
    if halving:
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 ** (4 * step // (epochs * steps))
        )
    return fit(
        model,
        loss,
        _batches(images_train, images, batch, levels, crop, noisy_targets, epochs, seed, device),
        evaluate,
        optimizer=optimizer,
        schedule=schedule,
        epochs=epochs,
        steps_per_epoch=steps,
        checkpoint=checkpoint,
        key=_key(model, images_train, images_val, settings),
        precision=precision,
        device=device,
        label=label,
    )


def annealed_l0(output: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Mean of (|output - target| + 1e-8) ** gamma, the paper's 3.1.2 (3) (N2N02).

    Of Lehtinen et al. (2018), *Noise2Noise*: as gamma falls from 2 to 0 the minimum moves from
    the mean of the targets to their most frequent value, which under impulse noise is the clean
    one.
    """
    return ((output - target).abs() + EPSILON).pow(gamma).mean()


def _gamma(epoch: int, epochs: int) -> float:
    """From 2 in epoch 0 to 2 / epochs in the last; at 0 the loss would be 1 whatever happens."""
    return 2 * (epochs - epoch) / epochs


def _batches(
    images: np.ndarray,
    used: int,
    batch: int,
    levels: Tensor,
    crop: int,
    noisy_targets: bool,
    epochs: int,
    seed: int,
    device: torch.device,
) -> Callable[[int], Iterator[tuple[Tensor, ...]]]:
    """Batches (noisy, target, gamma) of an epoch, the same whenever it is asked for."""

    def keys(purpose: str) -> Tensor:
        every = range(len(images))
        return counter_rng.image_keys(seed, purpose, "", ["train"] * len(images), list(every))

    def draw(keys: Tensor, epoch: int, slots: int) -> Tensor:
        return counter_rng.bits(keys, torch.full_like(keys, epoch), 1, slots)[:, 0]

    noise, target, level, place = map(keys, ("noise", "target", "level", "crop"))
    height, width = images.shape[1:3]
    rows, cols = min(crop or height, height), min(crop or width, width)

    def batches(epoch: int) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(images), generator=generator)[:used]
        for chosen in order.split(batch):
            room = torch.tensor([height - rows + 1, width - cols + 1])
            corners = counter_rng.below(draw(place[chosen], epoch, 2), room).tolist()
            cut = [
                images[i, r : r + rows, c : c + cols]
                for i, (r, c) in zip(chosen.tolist(), corners, strict=True)
            ]
            clean = to_tensor(np.stack(cut)).to(device, memory_format=torch.channels_last)
            drawn = levels[counter_rng.below(draw(level[chosen], epoch, 1)[:, 0], len(levels))]
            source = impulse_noise(clean, drawn, noise[chosen], epoch)
            wanted = clean
            if noisy_targets:  # a second, independent draw (NOI04)
                wanted = impulse_noise(clean, drawn, target[chosen], epoch)
            yield source, wanted, torch.tensor(_gamma(epoch, epochs))

    return batches


def _check(images_train: np.ndarray, images_val: np.ndarray) -> None:
    for what, images in (("Training", images_train), ("Validation", images_val)):
        denoisers.check_images(images, f"{what} images")
        if not len(images):
            raise InputError(f"{what} images are missing: a denoiser needs at least one.")
    if images_train.shape[3] != images_val.shape[3]:
        raise InputError(
            f"Training images have {images_train.shape[3]} channel(s), validation images "
            f"{images_val.shape[3]}: they must be of one data set."
        )


def _sample(images: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(images))
    return images[np.sort(order[:VALIDATION_IMAGES])]


def _mean_psnr(clean: np.ndarray, other: np.ndarray) -> float:
    """Mean PSNR in dB; an exact match counts as one value off by one, to keep the mean finite."""
    return float(
        np.minimum(image_quality.psnr(clean, other), 10 * np.log10(255**2 * clean[0].size)).mean()
    )


def _key(model: nn.Module, images_train: np.ndarray, images_val: np.ndarray, settings: Any) -> str:
    """Fingerprint of what decides the result: code, network, first weights, images, settings."""
    weights = [value.detach().cpu().numpy() for value in model.state_dict().values()]
    digest = hashlib.sha256()
    for values in (*weights, images_train, images_val):
        digest.update(np.ascontiguousarray(values))
    shapes = [images_train.shape, images_val.shape]
    return fingerprint([CODE, str(model), digest.hexdigest(), shapes, settings])
