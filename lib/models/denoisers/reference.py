"""Defenses without parameters that the trained ones are compared with (EVA09, audit U2)."""

from torch import Tensor

from lib.models.denoisers.base import Denoiser
from lib.models.denoisers.median_cnn import MedianLayer


class Identity(Denoiser):
    """Gives the attacked image back: what the defense "do nothing" scores.

    The paper has no such row. A one-pixel attack changes the image so little that every denoiser
    must be compared with it.
    """

    def denoise(self, images: Tensor) -> Tensor:
        return images


class Median3(Denoiser):
    """A median filter of 3 x 3 pixels, each channel by itself, border mirrored.

    Not in the paper: the textbook remedy for single wrong pixels, without any training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.median = MedianLayer(3)

    def denoise(self, images: Tensor) -> Tensor:
        return self.median(images)
