"""What an attack is given, checked before the first candidate; one sentence for what is wrong."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion
from lib.attack.evaluators import finite
from lib.data import as_array, as_images, conversion, unit
from lib.models.inference import full_precision, in_float32, placed
from lib.params.device import is_out_of_memory
from lib.params.errors import InputError, first_line


def ready(
    model: Any, images: Any, labels: Any, criterion: Criterion, pixels: int = 1
) -> tuple[np.ndarray, Tensor, torch.device]:
    """What an attack works on, after the model was tried on the first image.

    Images are as for `to_attack`, labels as for `as_labels`; ``pixels`` of each are changed.

    Returns:
        Images, uint8 (N, H, W, C), labels, int64 (N,) or (N, L), and the model's device.

    Raises:
        InputError: as the other functions here, or the images have fewer pixels.
    """
    array = to_attack(images)
    height, width = array.shape[1:3]
    device = check_model(model, height, width)
    labels = as_labels(labels, len(array))
    if pixels > height * width:
        raise InputError(
            f"pixels is {pixels}, more than an image of {height} x {width} has: give fewer."
        )
    if len(array):
        with full_precision(device):
            first = torch.tensor(array[0]).permute(2, 0, 1).to(device)
            check_task(alone(model, first), labels, criterion)
    return array, labels, device


def to_attack(images: Any) -> np.ndarray:
    """Images as contiguous uint8 (N, H, W, C).

    Args:
        images: uint8 (N, H, W, 1 or 3) or (N, H, W), of numpy or torch.

    Raises:
        InputError: another type or shape, or images without pixels.
    """
    (array,) = as_images("Images to attack", images=images)
    if not array.shape[1] * array.shape[2]:
        raise InputError(f"Images of {array.shape[1]} x {array.shape[2]} have no pixel to change.")
    return np.ascontiguousarray(array)


def as_labels(labels: Any, count: int) -> Tensor:
    """Labels as int64 (N,) or (N, L); arguments and errors as of `lib.data.conversion`."""
    array = conversion.as_labels("The labels", labels, count)
    return torch.tensor(np.ascontiguousarray(array, np.int64))


def as_keys(keys: Any, count: int) -> Tensor:
    """Stream keys as int64 (N,).

    Raises:
        InputError: another type or shape.
    """
    array = as_array("The keys", keys)
    if (array.size and array.dtype.kind not in "iu") or array.shape != (count,):
        raise InputError(
            f"The keys are {array.dtype} of shape {array.shape}: give {count} integers, one per "
            "image."
        )
    return torch.tensor(np.ascontiguousarray(array, np.int64))


def check_model(model: Any, height: int, width: int) -> torch.device:
    """The device of a model that is ready for images of a size.

    Raises:
        InputError: it is no module, in training mode, or made for another size.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"The model is a {type(model).__name__}: an attack needs a torch module.")
    training = [name for name, module in model.named_modules() if module.training]
    if training:
        where = f" ({training[0]})" if training[0] else ""
        raise InputError(
            f"The model is in training mode{where}: call model.eval() before an attack."
        )
    size = getattr(model, "image_size", None)
    if isinstance(size, int) and (height, width) != (size, size):
        raise InputError(
            f"The images have {height} x {width} pixels, the model was made for {size} x {size}: "
            "use the size it was trained on."
        )
    return placed(model)


def alone(model: nn.Module, image: Tensor) -> Tensor:
    """Float32 logits (1, K) of one image, uint8 (C, H, W), evaluated by itself.

    Raises:
        InputError: the model does not take such an image, or gives no finite logits.
    """
    batch = unit(image.unsqueeze(0))
    try:
        values = model(batch)
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError("There is not enough memory for one image: free some.") from None
        hint = ""
        if image.shape[0] == 1:
            hint = " Gray images have one channel: wrap a model that takes three."
        raise InputError(
            f"The model does not take float32 images of shape {tuple(batch.shape)} "
            f"({first_line(error)}){in_float32(model)}.{hint}"
        ) from error
    if (
        not isinstance(values, Tensor) or values.ndim != 2 or len(values) != 1
        or not values.numel() or values.is_complex()
    ):  # fmt: skip
        made = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(
            f"The model gives {made} for one image: an attack needs a tensor of logits (N, K)."
        )
    finite(values)
    return values.float()


def check_task(logits: Tensor, labels: Tensor, criterion: Criterion) -> None:
    """Whether labels and criterion fit a model's logits.

    Args:
        logits: of the first image (1, K).
        labels: of all images, int64 (N,) or (N, L).
        criterion: what counts as success.

    Raises:
        InputError: they do not.
    """
    classes, multi_label = logits.shape[1], getattr(criterion, "multi_label", None)
    if classes == 1 and labels.ndim == 1 and multi_label is False:
        raise InputError(
            "The model gives one logit, to which no other class can be preferred: give labels of "
            "0 and 1 (N, 1), and a criterion for such labels."
        )
    if labels.ndim == 2 and labels.shape[1] != classes:
        hint = ": one class an image is an integer (N,)" if labels.shape[1] == 1 else ""
        raise InputError(
            f"Labels of shape {tuple(labels.shape)} do not fit a model of {classes} logits{hint}."
        )
    if labels.ndim == 1 and (labels.min() < 0 or labels.max() >= classes):
        raise InputError(
            f"The labels go from {labels.min()} to {labels.max()}: the model knows 0 to "
            f"{classes - 1}."
        )
    if multi_label is not None and multi_label != (labels.ndim == 2):
        right = "0/1 labels (N, L)" if multi_label else "classes (N,)"
        raise InputError(
            f"{criterion} needs {right}, the labels have the shape {tuple(labels.shape)}."
        )
    name = type(criterion).__name__
    try:
        # Two images, because a criterion that averages over images would pass with one.
        two = labels[:1].to(logits.device).expand(2, *labels.shape[1:])
        objective, success = criterion(logits.expand(2, -1), two)
    except Exception as error:
        raise InputError(
            f"The criterion {name} cannot judge logits ({first_line(error)})."
        ) from error
    if not (
        isinstance(objective, Tensor) and isinstance(success, Tensor)
        and objective.shape == success.shape == (2,)
        and objective.is_floating_point() and success.dtype == torch.bool
    ):  # fmt: skip
        raise InputError(
            f"The criterion {name} must return the objective, float (N,), and the successes, "
            "bool (N,)."
        )
