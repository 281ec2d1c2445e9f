"""Images: the one door to them, and where they come from."""

from lib.data.dataset import (
    PARTS,
    SIZES,
    Images,
    Provenance,
    load,
    official_md5,
    rounded,
    to_tensor,
    to_uint8,
    unit,
)  # fmt: skip

__all__ = [
    "PARTS", "SIZES", "Images", "Provenance", "load", "official_md5", "rounded", "to_tensor",
    "to_uint8", "unit",
]  # fmt: skip
