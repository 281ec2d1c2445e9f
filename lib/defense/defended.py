"""A classifier behind a defense as one model, which every attack can be made on.

The paper attacks the bare classifier and denoises afterwards; its attacker is *oblivious* of the
defense. A defense must also be tested against an attacker who knows it (Carlini et al. 2019, *On
Evaluating Adversarial Robustness*; Tramer et al. 2020, *On Adaptive Attacks to Adversarial Example
Defenses*). Differential evolution needs no gradient, so only the attacked model changes (EVA16).
"""

from typing import Any

import torch
from torch import Tensor, nn

from lib.data import rounded, unit
from lib.defense.patch_selection import blend, check_patches
from lib.models.inference import check_network
from lib.params.errors import InputError, shortened


class StraightThrough(torch.autograd.Function):
    """A value whose gradient goes to another tensor of its shape, as if the two were equal."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        """The value."""
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Its gradient is the carrier's."""
        return None, gradient


def stored(images: Tensor, made: Tensor | None = None) -> Tensor:
    """`lib.data.rounded`, with the gradient of the values before rounding.

    A defense that gives no gradient gets that of the identity (Athalye, Carlini and Wagner 2018,
    BPDA), so that hiding the gradient does not make it look better. ``made`` is what it gave for
    the images in 0..1; None for the images themselves.
    """
    made = images if made is None else made
    carrier = made if made.requires_grad or not images.requires_grad else images
    value = rounded(made.detach())
    return StraightThrough.apply(value, 255 * carrier) if carrier.requires_grad else value


class Defended(nn.Module):
    """A classifier behind a defense as one model, from the stored image to the logits.

    Every attack can be made on it. The restored image is rounded to 8 bits, as
    `lib.models.denoisers.restore` leaves it, so the logits are those of the image that a user
    would store and classify. Gradients pass the rounding straight; see `stored`.

    Args:
        classifier: images in 0..1 to logits.
        defense: images in 0..1 to restored images.
        patches: size and threshold of patch selection (EVA14); None for the whole restored image.

    Raises:
        InputError: no module or function, patches are no such pair, or as `check_patches`.
    """

    def __init__(
        self, classifier: nn.Module, defense: nn.Module, patches: tuple[int, float] | None = None
    ) -> None:
        super().__init__()
        for what, network in (("classifier", classifier), ("defense", defense)):
            check_network(what, network)
        if patches is not None:
            if not isinstance(patches, tuple | list) or len(patches) != 2:
                raise InputError(
                    f"patches is {shortened(patches)}: give size and threshold, such as (3, 0.1)."
                )
            patches = check_patches(*patches)
        self.classifier, self.defense, self.patches = classifier, defense, patches

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in 0..1."""
        restored = stored(images, self.defense(images))
        if self.patches:
            restored = blend(stored(images), restored, *self.patches)
        return self.classifier(unit(restored))
