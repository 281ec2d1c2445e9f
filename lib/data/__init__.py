"""Images in MedMNIST's form, their provenance, and their conversion to tensors and back."""

from lib.data.conversion import (
    as_array,
    as_images,
    as_labels,
    like,
    rounded,
    to_tensor,
    to_uint8,
    unit,
)
from lib.data.dataset import PARTS, SIZES, Images, Provenance, load, of, official_md5

__all__ = [
    "PARTS", "SIZES", "Images", "Provenance", "as_array", "as_images", "as_labels", "like",
    "load", "of", "official_md5", "rounded", "to_tensor", "to_uint8", "unit",
]  # fmt: skip
