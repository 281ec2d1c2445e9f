"""Training of the denoisers: noise, loss, crops, validation and files (NOI01 to MED05)."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.data import Images, as_images, counter_rng, to_tensor, to_uint8
from lib.metrics import image_quality
from lib.models import denoisers
from lib.models.denoisers import corrupt, impulse_noise, parameter_counts, restore
from lib.models.inference import Device, outputs, placed, uses_bfloat16
from lib.models.training import STEPS, check_training, fit, key_of, throughput
from lib.models.weights import save_weights
from lib.params import VERSIONS, Parameters
from lib.params.device import settled
from lib.params.errors import InputError, check_name, check_number, check_numbers
from lib.params.files import read_json, write_json

VALIDATION_IMAGES = 64  # at most, so that validation stays a small part of an epoch
VALIDATION_NOISE = 0.1  # for every denoiser, whatever it was trained on: one scale for all
EPSILON = 1e-8  # of the annealed L0 loss (audit N6)


def training_images(data: Images, every: bool = False) -> Images:
    """The training part of a data set, or every image (SPL05).

    The paper trains on 70 % of the images (3.2.2), but its Tables 48 to 51 count all of them.
    """
    return data if every else data.in_part("train")


def train(name: str, images_train: Any, images_val: Any, p: Parameters, folder: Path) -> nn.Module:
    """Train one of the four denoisers and write its files.

    The paper (3.1.2, 4.1.2): Adam, 100 epochs, batches of 16; learning rate missing. We: the same
    in the protocol ``paper`` with a rate of 0.001 (GEN02, GEN03), whole images for the
    autoencoders, and crops for the two large networks, whose printed times do not fit whole images
    (GEN04, T5, T6); the rate of these two decays (N2N03, MED05), in ``sample`` that of all four,
    because at a constant rate the last epoch is one of luck. The weights are those of the last
    epoch; the best epoch is reported (GEN06).

    An interrupted training is resumed. A denoiser finished with the same settings and images, uint8
    (N, H, W, C), is read back.

    Writes ``<name>.safetensors`` and ``<name>.json``: ``name``, ``channels``, ``image_size``,
    ``parameters`` (see `parameter_counts`), ``settings``, ``history`` (see `fit_denoiser`),
    ``wall_seconds`` (of training, without validation), ``images_per_second``, the last epoch's
    ``validation_psnr``, ``identity_psnr`` and ``clipped``, and ``best``, epoch and loss of the
    lowest validation loss.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        InputError: unknown name, unfit images, or training that diverges.
    """
    check_name("trained denoiser", name, denoisers.TRAINED)
    images_train, images_val = _checked(images_train, images_val)
    p, large, channels = settled(p), name in p.denoiser_large, images_train.shape[3]
    settings = {
        "epochs": p.denoiser_epochs, "batch": p.denoiser_batch,
        "learning_rate": p.denoiser_learning_rate,
        "noise": p.denoiser_median_noise if name == "median_cnn" else [p.denoiser_noise],
        "seed": p.seed, "precision": p.denoiser_precision,
        "limit": (p.denoiser_large_limit if large else 0) or p.denoiser_train_limit,
        "crop": p.denoiser_crop if large else 0, "halving": name in p.denoiser_halving,
        "noisy_targets": name == "noise2noise",
    }  # fmt: skip
    torch.manual_seed(p.seed)
    model = denoisers.build(name, channels)
    key = key_of(model, (images_train, images_val), [VERSIONS["denoisers"], settings])
    about = folder / f"{name}.json"
    if about.exists() and read_json(about).get("key") == key:
        return denoisers.load(name, folder, channels)
    checkpoint = folder / f".{name}-{key}.safetensors"
    history = fit_denoiser(
        model, images_train, images_val, **settings, device=p.device, checkpoint=checkpoint,
        label=name,
    )  # fmt: skip
    about.unlink(missing_ok=True)  # it is written last and vouches for the weights beside it
    model = model.cpu().to(memory_format=torch.contiguous_format)
    checksum = save_weights(model, folder / f"{name}.safetensors")
    seconds, speed = throughput(history)
    best = min(history, key=lambda epoch: epoch["validation_loss"])
    content = {
        "name": name, "channels": channels, "image_size": images_train.shape[1],
        "parameters": parameter_counts(model), "settings": settings, "wall_seconds": seconds,
        "images_per_second": speed,
        **{field: history[-1][field] for field in ("validation_psnr", "identity_psnr", "clipped")},
        "best": {field: best[field] for field in ("epoch", "validation_loss")},
        "history": history, "weights_md5": checksum, "key": key,
    }  # fmt: skip
    write_json(about, content)
    checkpoint.unlink()
    return model.to(memory_format=torch.channels_last)  # as `load` gives it, to the last bit


@torch.inference_mode(False)
@torch.enable_grad()
def fit_denoiser(
    model: nn.Module,
    images_train: Any,
    images_val: Any,
    *,
    epochs: int = 100,
    batch: int = 16,
    learning_rate: float = 0.001,
    noise: float | Sequence[float] = 0.1,
    limit: int = 0,
    crop: int = 0,
    halving: bool = False,
    noisy_targets: bool = False,
    seed: int = 0,
    precision: str = "float32",
    device: Device = None,
    checkpoint: Path | None = None,
    label: str = "the denoiser",
) -> list[dict]:
    """Train any network from noisy to clean images with Adam.

    Call ``torch.manual_seed`` before building the network: its first weights are the caller's.

    Args:
        model: from images (N, C, H, W) in 0..1 to images; trained in place, left in evaluation
            mode.
        images_train: uint8 (N, H, W, C).
        images_val: uint8 (M, H, W, C); at most 64 of them are used.
        epochs, batch: passes over the images, and images per step.
        learning_rate: of Adam (GEN02).
        noise: share of pixels replaced, or several, one of them drawn for each image (NOI05).
        limit: images per epoch, drawn anew for each; 0: all.
        crop: edge of random crops; 0, or more than the image has: the whole image.
        halving: the rate is halved after each quarter of the steps, as in the public code of
            Noise2Noise (N2N03); that of the median network decays too (MED05). With a constant rate
            the steep loss of Noise2Noise's last epochs undoes what was learned, and running means
            of batch normalization lag behind the weights.
        noisy_targets: Noise2Noise: the target is noisy too (NOI06) and the loss is annealed L0
            (N2N02). Otherwise the target is clean and the loss the mean squared error (DAE10).
        seed: of order, noise and crops; with the first weights it fixes the result, on a GPU up to
            the order of its sums.
        precision, device, checkpoint, label: as of `lib.models.training.fit`.

    Returns:
        One dictionary per epoch: ``epoch``, ``loss`` (of training), ``seconds``,
            ``images_per_second``; on validation images with 10 % noise, always the same,
            ``validation_loss`` (mean squared error on 0..1 against the clean image, before
            clipping), ``validation_psnr`` and ``identity_psnr`` (mean over images, dB, of the
            restored 8-bit images and of the noisy ones) and ``clipped`` (share of values outside
            0..1, GEN07); with ``noisy_targets`` also ``gamma``, which makes losses of different
            epochs incomparable.

    Raises:
        InputError: unfit images or noise levels, a model that gives no images of the same shape,
            training that diverges, or as `lib.models.training.fit`.
    """
    images_train, images_val = _checked(images_train, images_val)
    epochs, batch, learning_rate, seed = check_training(model, epochs, batch, learning_rate, seed)
    for name, value in (("limit", limit), ("crop", crop)):
        check_number(name, value, 0, math.inf, whole=True)
    levels = check_numbers("noise", noise if isinstance(noise, list | tuple) else [noise], 0, 1)
    if not levels:
        raise InputError("noise has no level: give a share of pixels in 0..1, or several.")
    levels = torch.tensor(levels, dtype=torch.float32)
    device = placed(model, device)
    precision = "bfloat16" if uses_bfloat16(precision, device) else "float32"
    settings = [VERSIONS["denoisers"], batch, learning_rate, levels.tolist(), seed, precision]
    settings += [limit, crop, halving, noisy_targets]
    settings += [epochs] if halving or noisy_targets else []  # rate and gamma depend on it
    model.to(memory_format=torch.channels_last)
    some = np.random.default_rng(seed).permutation(len(images_val))[:VALIDATION_IMAGES]
    clean = images_val[np.sort(some)]
    restore(model, clean[:1])  # refuses another shape, which the loss would broadcast
    noisy = corrupt(clean, VALIDATION_NOISE, seed, "val")
    nothing = mean_psnr(clean, noisy)
    target = to_tensor(clean)

    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        source, wanted, gamma = batch
        output = network(source).float()
        if noisy_targets:
            return annealed_l0(output, wanted, gamma.item())
        return F.mse_loss(output, wanted)

    def evaluate(network: nn.Module, epoch: int) -> dict[str, float]:
        output = torch.cat(list(outputs(network, noisy)))
        if not output.isfinite().all():
            raise InputError(
                f"{label} gives values that are not finite after epoch {epoch + 1}: lower the "
                "learning rate, or train in float32."
            )
        return {
            "validation_loss": F.mse_loss(output, target).item(),
            "validation_psnr": mean_psnr(clean, to_uint8(output)), "identity_psnr": nothing,
            "clipped": ((output < 0) | (output > 1)).float().mean().item(),
            **({"gamma": _gamma(epoch, epochs)} if noisy_targets else {}),
        }  # fmt: skip

    images = min(limit or len(images_train), len(images_train))
    steps = -(-images // batch)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = None
    if halving:
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 ** (4 * step // max(1, epochs * steps))
        )
    batches = _batches(
        images_train, images, batch, levels, crop, noisy_targets, epochs, seed, device
    )
    return fit(
        model, loss, batches, evaluate, optimizer=optimizer, schedule=schedule, epochs=epochs,
        steps_per_epoch=steps, checkpoint=checkpoint,
        key=key_of(model, (images_train, images_val), settings) if checkpoint else "",
        precision=precision, device=device, label=label, seed=seed,
    )  # fmt: skip


def annealed_l0(output: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Mean of (|output - target| + 1e-8) ** gamma, the paper's 3.1.2 (3) (N2N02).

    Of Lehtinen et al. (2018), *Noise2Noise*: as gamma falls from 2 to 0 the minimum moves from
    the mean of the targets to their most frequent value, which under impulse noise is the clean
    one.
    """
    return ((output - target).abs() + EPSILON).pow(gamma).mean()


def _gamma(epoch: int, epochs: int) -> float:
    """From 2 in epoch 0 to 2 / epochs in the last; at 0 the loss would be constant."""
    return 2 * (epochs - epoch) / epochs


def _batches(
    images: np.ndarray, used: int, batch: int, levels: Tensor, crop: int, noisy_targets: bool,
    epochs: int, seed: int, device: torch.device,
) -> Callable[[int], Iterator[tuple[Tensor, ...]]]:  # fmt: skip
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
        generator = torch.Generator().manual_seed(seed * STEPS + epoch)
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


def _checked(images_train: Any, images_val: Any) -> list[np.ndarray]:
    pair = []
    for what, images in (("Training", images_train), ("Validation", images_val)):
        pair += as_images(f"{what} images", images=images)
        if not len(pair[-1]):
            raise InputError(f"{what} images are missing: a denoiser needs at least one.")
    if pair[0].shape[3] != pair[1].shape[3]:
        raise InputError(
            f"Training images have {pair[0].shape[3]} channel(s), validation images "
            f"{pair[1].shape[3]}: they must be of one data set."
        )
    return pair


def mean_psnr(clean: np.ndarray, other: np.ndarray) -> float:
    """Mean PSNR in dB; an exact match counts as one value off by one, so the mean is finite."""
    most = 10 * np.log10(255**2 * clean[0].size)
    return float(np.minimum(image_quality.psnr(clean, other), most).mean())
