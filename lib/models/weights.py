"""Weights on disk: safetensors files, read and written whole, and named by their checksums."""

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lib.params import PATCHES, REFERENCES
from lib.params.errors import InputError
from lib.params.files import atomic, md5


def save_weights(model: nn.Module, path: Path) -> str:
    """Write a model's state dict and return the file's MD5."""
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(path) as temporary:
        save_file(state, temporary)
    return md5(path)


def load_weights(model: nn.Module, path: Path, fits: str, step: str) -> None:
    """Read a safetensors file into a model.

    Args:
        model: as it was when the weights were written.
        path: the file.
        fits: what the weights must be of, for the message.
        step: name of the step that writes them.

    Raises:
        InputError: missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(load_file(path))
        return
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run the {step} step first.") from None
    except SafetensorError:
        problem = "is cut short or damaged"
    except RuntimeError:
        problem = f"does not hold the weights of {fits}"
    raise InputError(
        f"{path} {problem}: put the right file there, or run the {step} step again, which "
        "replaces it."
    )


def checksums(folder: Path, defenses: Iterable[str]) -> dict[str, str]:
    """MD5 of the weights behind a result, for ``run.json``: ``classifier``, and by denoiser.

    Args:
        folder: ``runs/<protocol>/<dataset>/<classifier>``.
        defenses: names; with ``+patches`` or without, reference defenses have no weights.

    Raises:
        InputError: a file is missing.
    """
    names = dict.fromkeys(name.removesuffix(PATCHES) for name in defenses)
    files = {"classifier": folder / "classifier.safetensors"}
    for name in names:
        if name not in REFERENCES:
            files[name] = folder.parent / "denoisers" / f"{name}.safetensors"
    for path in files.values():
        if not path.exists():
            raise InputError(f"{path} is missing: run the step that writes it first.")
    return {name: md5(path) for name, path in files.items()}
