"""The defenses by name: build one, load a trained one, and restore stored images with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lib.data import to_tensor, to_uint8
from lib.models.denoisers.autoencoder import Autoencoder
from lib.models.denoisers.dae import DAE, ablation_variants, depth_variants
from lib.models.denoisers.median_cnn import MedianCNN
from lib.models.denoisers.reference import Identity, Median3
from lib.models.denoisers.srresnet import SRResNet
from lib.params import DENOISERS, REFERENCES
from lib.params.errors import InputError, unknown
from lib.params.files import read_json

__all__ = [
    "REFERENCES", "TRAINED", "ablation_variants", "build", "check_images", "depth_variants",
    "load", "outputs", "restore",
]  # fmt: skip

TRAINED = DENOISERS
BATCH = 32  # images restored in one forward pass
_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "autoencoder": Autoencoder,
    "dae": DAE,
    "noise2noise": SRResNet,
    "median_cnn": MedianCNN,
    "identity": Identity,
    "median3": Median3,
}


def build(name: str, channels: int) -> nn.Module:
    """A defense by name, with fresh weights if it has any.

    Args:
        name: one of `TRAINED` or `REFERENCES`.
        channels: 1 (gray) or 3 (RGB).

    Raises:
        InputError: unknown name (the nearest is named) or another number of channels.
    """
    if name not in _BUILDERS:
        raise unknown("denoiser", name, _BUILDERS)
    return _BUILDERS[name](channels)


def load(name: str, folder: Path, channels: int) -> nn.Module:
    """A trained denoiser from its folder, in evaluation mode on the CPU.

    Args:
        name: one of `TRAINED`.
        folder: ``runs/<protocol>/<dataset>/denoisers``.
        channels: of the images it is wanted for.

    Raises:
        InputError: unknown name; files missing or damaged; weights of another network, or for
            another number of channels.
    """
    if name not in TRAINED:
        raise unknown("trained denoiser", name, TRAINED)
    model = build(name, channels)
    about, path = read_json(folder / f"{name}.json"), folder / f"{name}.safetensors"
    again = "run the denoisers step again"
    if about.get("name") != name:
        raise InputError(
            f"{folder / name}.json is of {about.get('name')!r}, not {name!r}: {again}."
        )
    if about.get("channels") != channels:
        raise InputError(
            f"{path} was trained on images with {about.get('channels')} channel(s), not "
            f"{channels}: {again} for this data set."
        )
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run the denoisers step first.") from None
    except SafetensorError:
        raise InputError(f"{path} is cut short or damaged: {again}.") from None
    except RuntimeError:
        raise InputError(
            f"{path} does not hold the weights of {name} for {channels} channel(s): {again}."
        ) from None
    return model.eval()


def check_images(images: np.ndarray, what: str) -> None:
    """Refuse anything but stored images, uint8 (N, H, W, 1 or 3).

    Raises:
        InputError: another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"{what} must be uint8 of shape (N, H, W, 1) or (N, H, W, 3), not {images.dtype} of "
            f"shape {images.shape}."
        )


def outputs(
    model: nn.Module, images: np.ndarray, device: str | torch.device, batch: int = BATCH
) -> Iterator[Tensor]:
    """What a denoiser gives for stored images, before clipping: float32 (n, C, H, W), on the CPU.

    Args:
        model: moved to ``device`` and put in evaluation mode.
        images: uint8 (N, H, W, C).
        device: where it runs.
        batch: images in one forward pass; changes results by float rounding at most.

    Raises:
        InputError: images of another type or shape.
    """
    check_images(images, "Images to restore")
    kind = torch.device(device).type
    model.to(device, memory_format=torch.channels_last).eval()
    for start in range(0, len(images), batch):
        given = to_tensor(images[start : start + batch]).to(device)
        with torch.inference_mode(), torch.autocast(kind, enabled=False):
            restored = model(given).float().cpu()
        yield restored  # outside, as the caller would go on in inference mode


def restore(
    model: nn.Module, images: np.ndarray, device: str | torch.device, batch: int = BATCH
) -> np.ndarray:
    """Restored images, uint8 (N, H, W, C): clipped to 0..1 and rounded half up (GEN07).

    Args:
        model: moved to ``device`` and put in evaluation mode.
        images: uint8 (N, H, W, C).
        device: where it runs, in float32.
        batch: images in one forward pass; changes results by float rounding at most.

    Raises:
        InputError: images of another type or shape, or the network gives NaN.
    """
    restored = np.empty_like(images)
    start = 0
    for part in outputs(model, images, device, batch):
        if part.isnan().any():
            raise InputError(
                f"{type(model).__name__} gives NaN, its training has diverged: train it again "
                "with a lower learning rate."
            )
        restored[start : start + len(part)] = to_uint8(part)
        start += len(part)
    return restored
