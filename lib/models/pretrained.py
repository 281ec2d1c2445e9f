"""ImageNet weights, what classifiers start from (CLS02)."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor

from lib.data.download import stalls, unreachable
from lib.params.errors import InputError


def imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights by the names of its networks, downloaded if need be.

    Raises:
        ConnectionError: they cannot be downloaded.
        InputError: the file at hand cannot be read.
    """
    weights = torchvision.models.get_model_weights(architecture).IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    at_hand = path.exists()
    if not at_hand and (problem := unreachable(weights.url)):
        raise ConnectionError(problem)
    try:
        with stalls():
            # The network itself knows how names in older files are read.
            network = torchvision.models.get_model(architecture, weights=weights, progress=False)
    except Exception as error:  # torch raises many kinds for a file that it cannot read
        if not at_hand:
            raise ConnectionError(str(error) or type(error).__name__) from error
        raise InputError(
            f"{path} cannot be read as ImageNet weights of {architecture}: delete it, and it is "
            "downloaded again."
        ) from error
    return network.state_dict()


def start_weights(architecture: str, wanted: str) -> dict[str, Tensor] | None:
    """What a classifier starts from (CLS02).

    Args:
        architecture: torchvision's name of the network.
        wanted: ``imagenet``, ``random``, or ``auto``: ImageNet if available.

    Returns:
        ImageNet weights by name, or None for a random start.

    Raises:
        InputError: the file of weights is damaged, or ``imagenet`` is demanded and there is none.
    """
    if wanted == "random":
        return None
    try:
        return imagenet_weights(architecture)
    except ConnectionError as error:
        if wanted == "auto":
            return None
        raise InputError(
            f"ImageNet weights of {architecture} cannot be downloaded ({error}): set "
            "classifier_weights to 'random', or 'auto' to fall back."
        ) from None
