"""Defenses by name: build one, load a trained one, restore stored images with it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data import as_images, like, to_uint8
from lib.models.denoisers.autoencoder import Autoencoder
from lib.models.denoisers.base import Denoiser, parameter_counts
from lib.models.denoisers.dae import DAE, ablation_variants, depth_variants
from lib.models.denoisers.median_cnn import MedianCNN, MedianLayer
from lib.models.denoisers.noise import corrupt, impulse_noise
from lib.models.denoisers.reference import Identity, Median3
from lib.models.denoisers.srresnet import SRResNet
from lib.models.inference import Device, Network, outputs
from lib.models.weights import load_weights
from lib.params import DENOISERS, REFERENCES
from lib.params.device import pick_device
from lib.params.errors import InputError, check_name
from lib.params.files import read_json

__all__ = [
    "DAE", "REFERENCES", "TRAINED", "Autoencoder", "Denoiser", "Identity", "Median3", "MedianCNN",
    "MedianLayer", "SRResNet", "ablation_variants", "build", "corrupt", "depth_variants",
    "impulse_noise", "load", "load_all", "parameter_counts", "restore",
]  # fmt: skip

TRAINED = DENOISERS
_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "autoencoder": Autoencoder, "dae": DAE, "noise2noise": SRResNet, "median_cnn": MedianCNN,
    "identity": Identity, "median3": Median3,
}  # fmt: skip


def build(name: str, channels: int) -> nn.Module:
    """A defense of `TRAINED` or `REFERENCES`, for 1 (gray) or 3 (RGB) channels, with fresh weights.

    Raises:
        InputError: unknown name (the nearest is named) or another number of channels.
    """
    check_name("denoiser", name, _BUILDERS)
    return _BUILDERS[name](channels)


def load(name: str, folder: Path, channels: int) -> nn.Module:
    """A reference defense, or a trained denoiser from its folder, in evaluation mode on the CPU.

    Raises:
        InputError: unknown name; files missing or damaged; weights of another network, or for
            another number of channels.
    """
    model = build(name, channels).eval().to(memory_format=torch.channels_last)
    if name in REFERENCES:
        return model
    about, path = read_json(folder / f"{name}.json"), folder / f"{name}.safetensors"
    if (about.get("name"), about.get("channels")) != (name, channels):
        raise InputError(
            f"{folder / name}.json is of {about.get('name')!r} for images with "
            f"{about.get('channels')} channel(s), not {name!r} and {channels}: run the denoisers "
            "step again for this data set."
        )
    fits = f"{name} for {channels} channel(s)"
    load_weights(model, path, fits, "denoisers", about.get("weights_md5"))
    return model


def load_all(
    names: Iterable[str], folder: Path, channels: int, device: str | torch.device = "cpu"
) -> dict[str, nn.Module]:
    """Defenses by name on a device; arguments and errors as of `load`."""
    return {name: load(name, folder, channels).to(pick_device(device)) for name in names}


def restore(denoiser: Network, images: Any, device: Device = None, batch: int = 0) -> Any:
    """Restored images, clipped to 0..1 and rounded half up to 8 bits (GEN07).

    Args:
        denoiser: module or function from images (N, C, H, W) in 0..1 to images of that shape; used
            in evaluation mode and float32.
        images: uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch, as what is returned.
        device, batch: as of `lib.models.inference.outputs`.

    Raises:
        InputError: images of another type or shape, the network gives NaN or another shape, or as
            `lib.models.inference.outputs`.
    """
    (array,) = as_images("Images to restore", images=images)
    name, start = getattr(denoiser, "__name__", type(denoiser).__name__), 0
    restored = np.empty_like(array)
    for part in outputs(denoiser, array, device, batch):
        stop = start + len(part)
        if part.isnan().any():
            raise InputError(
                f"{name} gives NaN, its training has diverged: train it again with a lower "
                "learning rate."
            )
        if part.shape[1:] != (array.shape[3], *array.shape[1:3]):
            raise InputError(
                f"{name} gives {tuple(part.shape[1:])} for images of {array.shape[1:]}: a "
                "denoiser keeps channels, height and width."
            )
        restored[start:stop], start = to_uint8(part), stop
    return like(images, restored)
