"""Numbers and names as text, for prose, captions and figures."""

import math

from lib import params

_NAMES = {
    "identity": "No defense", "median3": "Median 3x3", "autoencoder": "Autoencoder",
    "dae": "DAE (proposed)", "double_masking": "Double masking",
    "double_masking_trained": "Double masking, trained under masks",
    "noise2noise": "Noise2Noise", "median_cnn": "Median CNN",
    "resnet50": "ResNet50", "densenet121": "DenseNet121", "adamw": "AdamW",
    "psnr": "PSNR", "ssim": "SSIM", "mse": "MSE", "gmsd": "GMSD", "fsim": "FSIM", "auc": "AUC",
    # of the ablation
    "original": "baseline (Autoencoder)", "depth_kernels": "depth and kernels",
    "bn_leakyrelu": "+ batch norm, LeakyReLU", "attention": "+ attention",
    "residual": "+ residual blocks", "proposed": "+ skips: DAE (proposed), 4 levels",
    "levels_3": "3 levels", "levels_5": "5 levels",
}  # fmt: skip


def many(count: int, noun: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def percent(share: float) -> str:
    """A share 0..1 as text, ``42.0 %``; a dash where it is NaN."""
    return rate(share, digits=1)


def figures(value: float, count: int = 3) -> str:
    """A number with so many figures, without an exponent: ``0.0123``, ``1.52``, ``1,523``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{decimals(value, count)}f}"


def decimals(value: float, count: int = 3) -> int:
    """How many decimals keep so many figures of a number."""
    if value == 0 or not math.isfinite(value):
        return 2
    return max(0, count - 1 - math.floor(math.log10(abs(value))))


def pixels(count: int) -> str:
    """``one pixel``, ``two pixels``."""
    return {1: "one pixel", 2: "two pixels"}.get(count, f"{count} pixels")


def attack(*pixels: int) -> str:
    """``one-pixel attack``, ``one-pixel and two-pixel attack``."""
    return " and ".join(params.ATTACKS[count].replace("_", "-") for count in pixels) + " attack"


def shown(name: str) -> str:
    """Name of a defense, classifier, data set, model of the ablation or metric for readers."""
    if name in params.names("datasets"):
        return params.facts(name).title
    if str(name).endswith(params.PATCHES):
        # The paper has no selection of patches: this row is ours.
        return f"{shown(name.removesuffix(params.PATCHES)).removesuffix(' (proposed)')} + patches"
    return _NAMES.get(name, str(name).replace("_", " "))


def place(*parts: str | int) -> str:
    """Where a number is from: names as `shown`, whole numbers as numbers of pixels, with commas."""
    return ", ".join(pixels(part) if isinstance(part, int) else shown(part) for part in parts)


def enumerated(items: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; empty without items."""
    return " and ".join([*filter(None, [", ".join(items[:-1])]), *items[-1:]])


def listed(names: str) -> str:
    """`shown` for each of several names with commas between them."""
    return ", ".join(shown(name) for name in names.split(", "))


def rate(share: float, low: float = math.nan, high: float = math.nan, digits: int = 0) -> str:
    """A share 0..1 with its interval as text, ``55 % (50–59)``; a dash where it is NaN."""
    if math.isnan(share):
        return "–"
    text = f"{100 * share:.{digits}f} %"
    if math.isnan(low):
        return text
    top = "never" if math.isinf(high) else f"{100 * high:.{digits}f}"
    return f"{text} ({100 * low:.{digits}f}–{top})"


def gain(share: float, low: float, high: float) -> str:
    """A difference of two shares with its interval in percentage points, ``+14 (+4 to +27)``."""
    value, bottom, top = (f"{100 * each:+z.0f}" for each in (share, low, high))
    return f"{value} ({bottom} to {top})"


def break_even(share: float, low: float = math.nan, high: float = math.nan, digits: int = 0) -> str:
    """A break-even attack prevalence as text, ``55 % (50–60)``, ``never``; see `pays_from`."""
    if not math.isinf(share):
        return rate(share, low, high, digits)
    return f"never ({100 * low:.{digits}f}–never)" if math.isfinite(low) else "never"
