"""What to do when memory is exhausted, a GPU's or the machine's."""

import warnings

import torch

from lib.params.errors import InputError


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
