"""Numbers and names in words, for prose, captions and the texts of pictures."""

import math

from lib import params


def many(count: int, noun: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def percent(share: float) -> str:
    """A share 0..1 as text, ``42.0 %``; a dash where it is NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def attack(*pixels: int) -> str:
    """``one-pixel attack``, ``one-pixel and two-pixel attack``."""
    return " and ".join(params.ATTACKS[count].replace("_", "-") for count in pixels) + " attack"
