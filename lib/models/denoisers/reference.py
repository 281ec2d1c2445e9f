"""Defenses without parameters, as a comparison for the trained ones (EVA09, audit U2)."""

from torch import Tensor

from lib.models.denoisers.base import Denoiser
from lib.models.denoisers.median_cnn import MedianLayer


class Identity(Denoiser):
    """No defense: returns the attacked image.

    The paper has no such row, but a one-pixel attack changes the image so little that every
    denoiser must be compared with it.
    """

    def denoise(self, images: Tensor) -> Tensor:
        return images


class Median3(Denoiser):
    """A 3 x 3 median filter, each channel separately, border mirrored.

    Not in the paper: the textbook remedy for single wrong pixels, without training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.median = MedianLayer(3)

    def denoise(self, images: Tensor) -> Tensor:
        return self.median(images)
