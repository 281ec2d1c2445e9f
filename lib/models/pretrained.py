"""ImageNet weights, what classifiers start from (CLS02)."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from lib.data.download import stalls, unreachable
from lib.models.weights import fill, plain_names
from lib.params.errors import InputError
from lib.params.files import sha256, unread, writable


def imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights by the names of its networks, downloaded if need be.

    A file is opened only when its SHA-256 begins as its name says, and no code in it is run.

    Raises:
        ConnectionError: they cannot be downloaded.
        InputError: the file at hand is another one or cannot be read, or there is no room.
    """
    import torchvision  # as in `lib.models.classifiers`

    weights = torchvision.models.get_model_weights(architecture).IMAGENET1K_V1
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if path.exists():
        _check(path, architecture)
    elif problem := unreachable(weights.url):
        raise ConnectionError(problem)
    try:
        # torch prints where the file goes, which is nobody's business in a notebook that is shown.
        with writable(path), stalls(), redirect_stdout(io.StringIO()):
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except InputError:
        raise
    except (URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(unread(error)) from error
    except Exception as error:  # torch raises many kinds for a file that it cannot read
        raise InputError(
            f"ImageNet weights of {architecture} from {weights.url} or {path} cannot be used: "
            f"{unread(error)}."
        ) from error
    network = torchvision.models.get_model(architecture)
    fill(network, plain_names(state), path, f"torchvision's {architecture}")
    return network.state_dict()


def _check(path: Path, architecture: str) -> None:
    """Refuse a file whose SHA-256 does not begin with the digits at the end of its name."""
    wanted = path.stem.rpartition("-")[2]
    try:
        found = sha256(path)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {unread(error)}.") from None
    if not found.startswith(wanted):
        raise InputError(
            f"{path} is not torchvision's file of {architecture}: it has {size:,} bytes and its "
            f"SHA-256 begins with {found[: len(wanted)]}, not {wanted}. It is truncated or of "
            "another kind; move it away, and it is downloaded again."
        )


def start_weights(architecture: str, wanted: str) -> dict[str, Tensor] | None:
    """Weights that a classifier starts from, by name; None for a random start (CLS02).

    ``wanted`` is ``imagenet``, ``random``, or ``auto``: ImageNet if available.

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
