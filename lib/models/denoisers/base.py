"""What all defenses share: channels, any image size, parameter counts."""

from numbers import Integral

from torch import Tensor, nn
from torch.nn import functional as F

from lib.params.errors import InputError


class Denoiser(nn.Module):
    """A network from images to images of the same shape; a subclass defines `denoise`.

    Any size is accepted: right and bottom borders are repeated up to a multiple of ``multiple``
    pixels, as pooling needs it, and cropped afterwards. ``channels`` is 1 (gray) or 3 (RGB).

    Raises:
        InputError: another number of channels.
    """

    def __init__(self, channels: int, multiple: int = 1) -> None:
        super().__init__()
        if type(channels) is bool or not isinstance(channels, Integral) or channels not in (1, 3):
            raise InputError(f"A denoiser takes 1 (gray) or 3 (RGB) channels, not {channels!r}.")
        self.channels, self.multiple = channels, multiple

    def forward(self, images: Tensor) -> Tensor:
        """Restored images (N, C, H, W) of images in 0..1; values may lie slightly outside 0..1.

        Raises:
            InputError: another number of channels than the network's, or values outside 0..1.
        """
        kind, shape = type(images).__name__, tuple(getattr(images, "shape", ()))
        if not isinstance(images, Tensor) or images.ndim != 4 or shape[1] != self.channels:
            raise InputError(
                f"{type(self).__name__} takes a tensor of images (N, {self.channels}, H, W), not "
                f"a {kind} of shape {shape}."
            )
        if not images.numel():
            return images
        low, high = (bound.item() for bound in images.aminmax())
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"{type(self).__name__} takes values in 0..1, not {low:g} to {high:g}: divide "
                "stored values by 255."
            )
        height, width = images.shape[2:]
        right, bottom = -width % self.multiple, -height % self.multiple
        if right or bottom:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        return self.denoise(images)[..., :height, :width]

    def denoise(self, images: Tensor) -> Tensor:
        """As `forward`, for a height and width that are multiples of ``multiple``."""
        raise NotImplementedError


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """``trainable`` and ``non_trainable`` parameters as Keras counts them (Tables 1 and 2).

    The latter are the running means and variances of batch normalization.
    """
    return {
        "trainable": sum(value.numel() for value in model.parameters()),
        "non_trainable": sum(b.numel() for b in model.buffers() if b.is_floating_point()),
    }
