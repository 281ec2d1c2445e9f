"""Weights on disk: safetensors files, read and written whole, and named by their checksums."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lib.params import MASKING, PATCHES, REFERENCES
from lib.params.errors import InputError
from lib.params.files import atomic, md5, unread
from lib.params.runs import training

# What DataParallel, torch.compile, Lightning and our own `Classifier` put before every name.
WRAPPERS = ("module.", "_orig_mod.", "model.", "network.")
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SAFE = (
    "convert it where you trust it: state = torch.load(FILE, weights_only=True), then "
    "safetensors.torch.save_file(state, 'weights.safetensors')"
)


def save_weights(model: nn.Module, path: Path) -> str:
    """Write a model's state dict and return the file's MD5."""
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    write_tensors(path, state)
    return md5(path)


def write_tensors(path: Path, tensors: dict[str, Tensor], about: str = "") -> None:
    """Write a safetensors file, atomically, with a text in its header under ``state``.

    As bytes, because safetensors' own writer leaves half a file of another name when it is killed.
    """
    content = save(tensors, {"state": about} if about else None)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Raises:
        InputError: missing, a folder, empty, of another kind, or cut short.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(9)
        if not begin:
            raise InputError(f"{path} is empty: put the whole file there.")
        # The header of safetensors follows after eight bytes.
        if begin[8:9] != b"{" and (begin[:4] == b"PK\x03\x04" or begin[:1] == b"\x80"):
            raise InputError(
                f"{path} is a file of torch.save, which can run code when it is opened: {SAFE}."
            )
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing.") from None
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({unread(error)}): it is truncated, damaged or "
            "of another kind; replace it."
        ) from None


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of the bare network, without what wraps it.

    Names of torchvision's older DenseNets are put into today's form.
    """
    while state and (
        wrapper := next((each for each in WRAPPERS if all(n.startswith(each) for n in state)), "")
    ):
        state = {name.removeprefix(wrapper): value for name, value in state.items()}
    older = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d\.)")
    return {older.sub(r"\1\2", name): value for name, value in state.items()}


def fill(model: nn.Module, state: dict[str, Tensor], path: Path, fits: str) -> None:
    """Load weights into a model after every name, shape, type and value was checked.

    Numbers of 16 and 64 bits become float32. Counters of batches may be missing, as in older files.

    Raises:
        InputError: they do not fit, or a value is not finite; it says that ``path`` is not of what
            ``fits``.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"{path} does not hold the weights of {fits}: {what}.")

    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in counters]
    unknown = [name for name in state if name not in own]
    if missing:
        raise wrong(f"it lacks {_some(missing)}" + (f" and has {_some(unknown)}" * bool(unknown)))
    if unknown:
        raise wrong(f"it has {_some(unknown)}, which the network has not")
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise wrong(f"{name} has the shape {tuple(value.shape)}, not {tuple(own[name].shape)}")
        if not own[name].is_floating_point():
            continue
        if value.dtype not in FLOATS:
            kind = str(value.dtype).removeprefix("torch.")
            raise wrong(f"{name} is {kind}, which is no type of plain weights")
        if not value.float().isfinite().all():
            raise wrong(f"{name} has values that are NaN or infinite")
        if name.endswith("running_var") and (value < 0).any():
            raise wrong(f"{name} has negative variances")
    model.load_state_dict({name: own[name] for name in counters} | state)


def load_weights(
    model: nn.Module, path: Path, fits: str, step: str, checksum: str | None = None
) -> None:
    """Read a safetensors file of a run folder into the model that it was written from.

    ``step``, which writes it, and what ``fits`` it are for the message. ``checksum`` is the MD5
    that it was written with; None for any.

    Raises:
        InputError: missing, damaged, of another network, or other weights than were written.
    """
    try:
        fill(model, read_weights(path), path, fits)
        if checksum and md5(path) != checksum:
            raise InputError(f"{path} is not the file that was written here: its MD5 is another.")
    except InputError as error:
        raise InputError(
            f"{error} The {step} step writes this file anew; keep what is yours elsewhere."
        ) from None


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:2]))
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def checksums(folder: Path, defenses: Iterable[str]) -> dict[str, str]:
    """MD5 of the weights behind a result, for ``run.json``: ``classifier``, and by denoiser.

    ``folder`` is the classifier's. Reference defenses and double masking have no weights.

    Raises:
        InputError: a file is missing.
    """
    names = dict.fromkeys(name.removesuffix(PATCHES) for name in defenses)
    files = {"classifier": folder / "classifier.safetensors"}
    for name in names:
        if name not in (*REFERENCES, MASKING):
            files[name] = folder.parent / "denoisers" / f"{name}.safetensors"
    for path in files.values():
        if not path.exists():
            raise InputError(f"{path} is missing: run the step that writes it first.")
    return {name: md5(path) for name, path in files.items()}


def behind(folder: Path, defenses: Iterable[str]) -> dict[str, dict[str, str]]:
    """What `lib.params.runs.Run.finish` records of the networks behind a result.

    ``weights`` are `checksums`; ``denoisers`` are the names of their trainings, by denoiser.
    """
    found, store = checksums(folder, defenses), folder.parent / "denoisers"
    trained = {name: training(store / f"{name}.json") for name in found if name != "classifier"}
    return {"weights": found, "denoisers": trained}
