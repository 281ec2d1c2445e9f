"""What an attack needs, said in one sentence where it is missing."""

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion
from lib.classifiers import Classifier, logits
from lib.data import Images
from lib.errors import InputError
from lib.params import Parameters


def task(
    model: nn.Module, data: Images, positions: np.ndarray, criterion: Criterion, pixels: int,
    p: Parameters, device: torch.device,
) -> None:  # fmt: skip
    """Check everything before the first candidate.

    Raises:
        InputError: see `lib.attack.attack`.
    """
    images, labels = data.images, data.labels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"Images of {data.name} are {images.dtype} of shape {images.shape}: an attack needs "
            "uint8 (N, H, W, 1 or 3)."
        )
    places = images.shape[1] * images.shape[2]
    if not 1 <= pixels <= places:
        raise InputError(
            f"{pixels} pixels are to be changed in images of {places}: give 1 to {places}."
        )
    if p.attack_population < 4:
        raise InputError(
            f"A population of {p.attack_population} is too small: differential evolution needs "
            "each member and three others, 4 at least."
        )
    if model.training:
        raise InputError("The model is in training mode: call model.eval() before an attack.")
    if isinstance(model, Classifier) and images.shape[1:3] != (model.image_size,) * 2:
        raise InputError(
            f"Images of {data.name} have {images.shape[1]} x {images.shape[2]} pixels, the model "
            f"was made for {model.image_size}: take the size that it was trained on."
        )
    if not len(positions):
        return
    values = torch.from_numpy(logits(model, images[positions], device))
    finite(values)
    given = torch.from_numpy(np.asarray(labels[positions], dtype=np.int64))
    top = 2 if criterion.multi_label else values.shape[1]
    if given.min() < 0 or given.max() >= top:
        raise InputError(
            f"Labels of {data.name} go from {given.min()} to {given.max()}: the model knows 0 to "
            f"{top - 1}."
        )
    wrong = criterion.success(values, given).nonzero().flatten().tolist()
    if wrong:
        place = positions[wrong[0]]
        raise InputError(
            f"{len(wrong)} of {len(positions)} images are not classified right, the first is "
            f"{data.split[place]} {data.index[place]}: attack right ones only (ATK01)."
        )


def finite(values: Tensor) -> None:
    """Raise InputError where a logit is not finite."""
    if not torch.isfinite(values).all():
        raise InputError(
            "The model gives logits that are not finite: train it again, or search in float32."
        )
