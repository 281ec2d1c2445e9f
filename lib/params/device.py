"""Where tensors are computed, how exactly, and what to do when memory is exhausted."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.params.errors import InputError, first_line
from lib.params.parameters import Parameters

NVIDIA = Path("/proc/driver/nvidia")  # there with a GPU's driver
# Edge of the largest images, pixels, on which a search in bfloat16 was measured to miss hardly any
# success. At 224 pixels it missed more, see benchmarks/searches.csv; between, nothing was measured.
LARGEST_BFLOAT16 = 64
_FLAGS = (
    torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul,
    torch.backends.mkldnn.conv,
)  # fmt: skip
UNUSED_GPU = (
    "This machine has an NVIDIA GPU that PyTorch cannot use, so the CPU is used: the driver may be "
    "too old for it, or the card."
)


def pick_device(name: str = "auto") -> torch.device:
    """The torch device called ``name``; ``auto`` is an NVIDIA GPU if there is one, else the CPU.

    Raises:
        InputError: no such device here, or it cannot compute in float64.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and NVIDIA.exists():
            warnings.warn(UNUSED_GPU, stacklevel=2)
    try:
        device = torch.device(name)
        # A card that is too old for this PyTorch fails at the first computation, and one without
        # float64 in the attack.
        torch.ones(1, dtype=torch.float64, device=device).sum().item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"Device {name!r} cannot be used here ({first_line(error)}): try 'auto'."
        ) from error
    return device


@contextmanager
def no_tf32() -> Iterator[None]:
    """Compute convolutions and matrix products in all bits of float32, also on a GPU.

    A GPU's default for convolutions is TF32, which keeps 10 bits of the mantissa. The caller's
    settings are restored.
    """
    before = [flag.fp32_precision for flag in _FLAGS]
    try:
        for flag in _FLAGS:
            flag.fp32_precision = "ieee"
        yield
    finally:
        for flag, value in zip(_FLAGS, before, strict=True):
            flag.fp32_precision = "none"  # what is inherited stays inherited
            if flag.fp32_precision != value:
                flag.fp32_precision = value


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16.

    Without them a CPU takes many times as long as in float32, because each value is converted.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Intel's and AMD's names, then Arm's.
        has = torch.cpu.get_capabilities()
        native = any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return native and torch.backends.mkldnn.is_available()  # else convolutions convert it
    return False


def search_precision(device: torch.device, edge: int) -> str:
    """What ``auto`` stands for in a search on images of ``edge`` pixels: bfloat16 or float32."""
    return "bfloat16" if edge <= LARGEST_BFLOAT16 and native_bfloat16(device) else "float32"


def settled(p: Parameters) -> Parameters:
    """The parameters with a precision of ``auto`` replaced by what it stands for on this device.

    For training that is bfloat16 where the device computes in it; see also `search_precision`.

    Raises:
        InputError: no such device here.
    """
    names = ("classifier_precision", "attack_precision", "denoiser_precision")
    open_ = [name for name in names if getattr(p, name) == "auto"]
    if not open_:
        return p
    device = pick_device(p.device)
    found = dict.fromkeys(open_, "bfloat16" if native_bfloat16(device) else "float32")
    if "attack_precision" in found:
        found["attack_precision"] = search_precision(device, p.data_size)
    return p.model_copy(update=found)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        part in message for part in ("out of memory", "not enough memory", "allocate memory")
    )


def halved(batch: int, error: BaseException) -> int:
    """Half the batch, after one warning; an error that is not of memory is raised.

    Raises:
        InputError: one candidate is too much.
    """
    if not is_out_of_memory(error):
        raise error
    if batch < 2:
        raise InputError("There is not enough memory for one candidate: free some.") from None
    warnings.warn(f"Out of memory: continuing with batches of {batch // 2}.", stacklevel=2)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return batch // 2
