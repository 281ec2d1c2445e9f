"""The paper's proposal: a denoising autoencoder with attention, residual blocks and skips."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from lib.models.denoisers.autoencoder import Autoencoder
from lib.models.denoisers.base import Denoiser
from lib.params.errors import check_number

WIDTHS = (32, 64, 128, 256, 256)  # kernels of each level (DAE02; the fifth: DAE12)
SLOPE = 0.1  # of LeakyReLU (DAE03)


def _layers(inputs: int, outputs: int, normalization: bool) -> list[nn.Module]:
    """A convolution, then batch normalization and LeakyReLU, or ReLU alone."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    if normalization:
        return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]
    return [convolution, nn.ReLU()]


class Attention(nn.Module):
    """The "Simple Attention Layer" of Figure 5: the input times a gate in 0..1 (DAE04).

    The paper's text gives no formula, and we did not have the figure. We: the gate is a 1 x 1
    convolution with as many channels and a sigmoid, the simplest form that fits the name.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(width, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class ResidualBlock(nn.Module):
    """Two convolutions whose output is added to their input (DAE05, Figure 5 (3))."""

    def __init__(self, width: int, normalization: bool) -> None:
        super().__init__()
        *body, last = [layer for _ in range(2) for layer in _layers(width, width, normalization)]
        self.body, self.activation = nn.Sequential(*body), last

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.body(x))


class DAE(Denoiser):
    """The proposed denoising autoencoder: 3,024,545 trainable parameters gray, 3,025,699 RGB.

    The paper (3.1.2) states: four levels, more kernels than the baseline, batch normalization
    and LeakyReLU in encoder and decoder, attention, residual blocks, skip connections, and "more
    than 3 million" parameters (4.4); the layer table is missing (audit N8), and we did not have
    Figures 4 and 5. The text leaves open, and we take:

    - kernels of each level: 32, 64, 128, 256 of 3 x 3, which comes to just over 3 million (DAE02);
    - slope of LeakyReLU: 0.1 (DAE03);
    - attention: `Attention`, in each encoder level (DAE04);
    - residual block: `ResidualBlock`, in each encoder level after the attention (DAE05);
    - resizing: max pooling after each encoder level, as in the baseline, and nearest neighbor
      upsampling before each convolution of the decoder (DAE06, DAE07);
    - skips: the encoder's output before pooling is added to the decoder's of the same size after
      its convolution; concatenation would come to 3.8 million (DAE08);
    - output: a convolution and a sigmoid (DAE09); loss: mean squared error (DAE10).

    The switches make the models of the ablations (DAE11, DAE12).

    Args:
        channels: 1 (gray) or 3 (RGB).
        depth: levels, 1 to 5.
        normalization: batch normalization and LeakyReLU; without it ReLU, as in the baseline.
        attention: a gate in each encoder level.
        residual: a residual block in each encoder level.
        skips: encoder outputs added in the decoder.

    Raises:
        InputError: another number of channels or levels.
    """

    def __init__(
        self, channels: int, depth: int = 4, normalization: bool = True, attention: bool = True,
        residual: bool = True, skips: bool = True,
    ) -> None:  # fmt: skip
        depth = check_number("depth", depth, 1, len(WIDTHS), whole=True)
        super().__init__(channels, multiple=2**depth)
        self.skips = skips
        widths = WIDTHS[:depth]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inputs = channels
        for width in widths:
            layers = _layers(inputs, width, normalization)
            if attention:
                layers.append(Attention(width))
            if residual:
                layers.append(ResidualBlock(width, normalization))
            self.encoder.append(nn.Sequential(*layers))
            inputs = width
        for width in reversed(widths):
            layers = [nn.Upsample(scale_factor=2), *_layers(inputs, width, normalization)]
            self.decoder.append(nn.Sequential(*layers))
            inputs = width
        self.pool = nn.MaxPool2d(2)  # DAE06
        self.output = nn.Sequential(nn.Conv2d(inputs, channels, 3, padding=1), nn.Sigmoid())

    def denoise(self, images: Tensor) -> Tensor:
        x, outputs = images, []
        for level in self.encoder:
            outputs.append(level(x))
            x = self.pool(outputs[-1])
        for level in self.decoder:
            x, same_size = level(x), outputs.pop()
            if self.skips:
                x = x + same_size  # DAE08
        return self.output(x)


def ablation_variants(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Builders of the six models of Table 4, each with one more module than the last (DAE11).

    The paper does not say what "Original" and "depth and kernels" hold; we take the baseline of
    Table 1 or 2, and the proposed depth and kernels with the baseline's ReLU.
    """
    plain = {"normalization": False, "attention": False, "residual": False, "skips": False}
    return {
        "original": partial(Autoencoder, channels),
        "depth_kernels": partial(DAE, channels, **plain),
        "bn_leakyrelu": partial(DAE, channels, attention=False, residual=False, skips=False),
        "attention": partial(DAE, channels, residual=False, skips=False),
        "residual": partial(DAE, channels, skips=False),
        "proposed": partial(DAE, channels),
    }


def depth_variants(channels: int) -> dict[int, Callable[[], nn.Module]]:
    """Builders of the models of Table 5 by number of levels (DAE12)."""
    return {depth: partial(DAE, channels, depth) for depth in (3, 4, 5)}
