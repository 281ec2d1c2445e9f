"""The baseline: a small convolutional autoencoder (the paper's reference 9)."""

from functools import partial

from torch import Tensor, nn

from lib.models.denoisers.base import Denoiser

_convolution = partial(nn.Conv2d, kernel_size=3, padding=1)


class Autoencoder(Denoiser):
    """The Autoencoder of Tables 1 (1 channel, gray) and 2 (3, RGB): 7,009 and 8,163 parameters.

    The paper: the two tables list every layer with its output size and its parameters; kernel,
    activations, upsampling mode and loss are missing. We: 3 x 3 kernels with bias and same
    padding, max pooling 2, the only choice that gives the printed counts (BAE01); ReLU, sigmoid
    at the output, nearest neighbor upsampling (BAE02), because that is usual for this layer list;
    mean squared error (BAE03).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, multiple=8)
        self.layers = nn.Sequential(
            _convolution(channels, 32), nn.ReLU(), nn.MaxPool2d(2),
            _convolution(32, 8), nn.ReLU(), nn.MaxPool2d(2),
            _convolution(8, 8), nn.ReLU(), nn.MaxPool2d(2),
            _convolution(8, 8), nn.ReLU(), nn.Upsample(scale_factor=2),
            _convolution(8, 8), nn.ReLU(), nn.Upsample(scale_factor=2),
            _convolution(8, 32), nn.ReLU(), nn.Upsample(scale_factor=2),
            _convolution(32, channels), nn.Sigmoid(),
        )  # fmt: skip

    def denoise(self, images: Tensor) -> Tensor:
        return self.layers(images)
