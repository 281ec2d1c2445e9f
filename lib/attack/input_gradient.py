"""The objective of a changed pixel, predicted from the gradient at the input, for any model."""

import torch
from torch import Tensor, nn

from lib.attack.criteria import Criterion, slope
from lib.attack.differential_evolution import paint
from lib.data import unit


class InputGradient:
    """Linear predictions of the objective from the image itself.

    `lib.attack.incremental.Tap` predicts better, but knows only torchvision's ResNets and
    DenseNets. This one takes every model with a gradient, such as a defense and a classifier as one
    model. Methods are called as those of `Tap`; candidates change one pixel.

    Args:
        model: in evaluation mode, on its device.
        example: one of the images, uint8 (C, H, W); one at a time is in work, in slot 0.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model
        self.images = example.new_zeros(1, *example.shape)
        self.gradients = torch.zeros(self.images.shape, device=example.device)
        self.objectives = self.gradients.new_zeros(1)

    def enter(self, slots: Tensor, images: Tensor) -> None:
        """Put images, uint8 (n, C, H, W), into slots, int64 (n,); `aim` each before predictions."""
        self.images[slots] = images

    def aim(
        self, slot: int, criterion: Criterion, label: Tensor, candidate: Tensor | None = None
    ) -> None:
        """Take the gradient that predictions for an image are made with; as `Tap.aim`.

        Raises:
            InputError: model and criterion have no gradient.
        """
        images = self.images[slot : slot + 1]
        if candidate is not None:
            images = torch.cat([images, paint(images, candidate.view(1, 1, -1))])
        self.objectives[slot], self.gradients[slot] = slope(
            lambda values: self.model(values).float(), unit(images), criterion, label
        )

    def predict(self, slots: Tensor, candidates: Tensor) -> Tensor:
        """Predicted objectives (N,) of candidates (N, 2 + C) of the images in slots (N,)."""
        row, col = candidates[:, 0], candidates[:, 1]
        change = (candidates[:, 2:] - self.images[slots, :, row, col].long()) / 255
        return self.objectives[slots] + (change * self.gradients[slots, :, row, col]).sum(1)
