"""SRResNet, the network of the Noise2Noise defense (the paper's reference 5)."""

import math

from torch import Tensor, nn

from lib.models.denoisers.base import Denoiser
from lib.params.errors import check_number

FEATURES = 64  # of each convolution but the last


class ResidualBlock(nn.Module):
    """Convolution, normalization, PReLU, convolution, normalization, added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.BatchNorm2d(FEATURES),
            nn.PReLU(FEATURES),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.BatchNorm2d(FEATURES),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SRResNet(Denoiser):
    """SRResNet of Ledig et al. (2017) without its upsampling.

    The paper (3.1.2 (3)): 16 residual blocks, any image size, output as large as the input; widths
    and activations are missing, and we did not have Figure 6. We: 64 features, 3 x 3 kernels, batch
    normalization, PReLU with one slope a feature, and one long skip around all blocks, as in the
    public Keras code of this variant (N2N01). The output is linear, as there.

    Args:
        channels: 1 (gray) or 3 (RGB).
        blocks: residual blocks.
    """

    def __init__(self, channels: int, blocks: int = 16) -> None:
        super().__init__(channels)
        blocks = check_number("blocks", blocks, 0, math.inf, whole=True)
        self.first = nn.Sequential(nn.Conv2d(channels, FEATURES, 3, padding=1), nn.PReLU(FEATURES))
        self.body = nn.Sequential(
            *(ResidualBlock() for _ in range(blocks)),
            nn.Conv2d(FEATURES, FEATURES, 3, padding=1), nn.BatchNorm2d(FEATURES),
        )  # fmt: skip
        self.output = nn.Conv2d(FEATURES, channels, 3, padding=1)

    def denoise(self, images: Tensor) -> Tensor:
        x = self.first(images)
        return self.output(x + self.body(x))
