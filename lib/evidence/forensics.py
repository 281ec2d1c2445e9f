"""What could have made the printed image measures: the audit's hypotheses tried on our own images.

Each hypothesis (audit P2, P3, F1 to F3, U1) is a way to measure, or a way the measured images may
have differed. It is applied to our clean, attacked and restored images and compared with the
printed value. Success shows that a hypothesis can produce the printed values, not that it did;
failure counts as far as our images are like the paper's.
"""

import copy
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from torch import nn

from lib.evidence.printed import half_digit
from lib.figures import formatting, tables
from lib.metrics import image_quality, intervals
from lib.metrics.legacy_fsim import fsim_measures, psnr_measures, ssim_measures
from lib.models.denoisers.median_cnn import MedianLayer
from lib.params.errors import InputError, check_images

IMAGES = 32  # of each attack at most: the restated FSIM takes half a second an image of 224 pixels
PUBLISHED = {
    "uint16_gradients": False, "raw_scharr": False, "phasepack": False, "by_channel": False
}  # fmt: skip
AS_RESTORED, MATCHED = "as restored", "at the printed PSNR"
UNDEFENDED, BRIGHTER_INPUT = "undefended", "attacked, brighter"
BRIGHTER_OUTPUT, INACTIVE = "restored, brighter", "medians inactive"
STANDARD = "standard"
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
QUIRKS = {
    "as published": PUBLISHED,
    "+ slopes in unsigned 16 bits": PUBLISHED | {"uint16_gradients": True},
    "+ raw gradient": PUBLISHED | {"raw_scharr": True},
    "+ phase congruency of phasepack": PUBLISHED | {"phasepack": True},
    "+ mean over channels": PUBLISHED | {"by_channel": True},
    "the package, all four": {},
}
COLUMNS = ["metric", "variant", "label", "images", "defense", "n", "value", "low", "high", "least",
           "most", "printed", "distance", "reached"]  # fmt: skip


def mse_wrapped(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """MSE on 0..255 with differences and squares in unsigned 8 bits, which wrap at 256 (P2).

    An error of 16 gray levels counts as 0, one of 17 as 33.
    """
    check_images(image_quality.COMPARED, reference=reference, image=image)
    difference = reference - image
    return (difference * difference).mean(axis=(1, 2, 3), dtype=np.float64)


def psnr_wrapped(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """PSNR in dB of `mse_wrapped`."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / mse_wrapped(reference, image))


# Ways to compute a metric: by metric and name, a label and a function of reference and image.
VARIANTS: dict[tuple[str, str], tuple[str, Measure]] = {
    ("psnr", STANDARD): ("peak 255", image_quality.psnr),
    ("psnr", "wrapped"): ("8-bit squares", psnr_wrapped),
    ("psnr", "measures"): ("peak 4095", psnr_measures),
    ("ssim", STANDARD): ("Gaussian 11", image_quality.ssim),
    ("ssim", "uniform"): ("uniform 7", image_quality.ssim_uniform),
    ("ssim", "measures"): ("uniform 7, peak 4095", ssim_measures),
    ("mse", STANDARD): ("0..1", image_quality.mse),
    ("mse", "mse_255"): ("0..255", image_quality.mse_255),
    ("mse", "wrapped"): ("0..255, 8-bit squares", mse_wrapped),
    ("gmsd", STANDARD): ("170 on 0..255", image_quality.gmsd),
    # Each scale with the constant of the other, given on 0..255.
    ("gmsd", "unit_constant"): ("0.0026 on 0..255",
        partial(image_quality.gmsd, constant=image_quality.GMSD_CONSTANT / 255**2)),
    ("gmsd", "unit_images"): ("170 on 0..1",
        partial(image_quality.gmsd, constant=image_quality.GMSD_CONSTANT * 255**2)),
    ("fsim", STANDARD): ("as published", image_quality.fsim),
    ("fsim", "chromatic"): ("FSIMc", image_quality.fsim_chromatic),
    ("fsim", "unit_images"): ("as published, on 0..1",
        partial(fsim_measures, reference_peak=1, image_peak=1, **PUBLISHED)),
    ("fsim", "measures"): ("package", fsim_measures),
    ("fsim", "measures_signed"): ("package, signed slopes",
        partial(fsim_measures, uint16_gradients=False)),
    ("fsim", "measures_unit"): ("package, on 0..1",
        partial(fsim_measures, reference_peak=1, image_peak=1)),
    ("fsim", "measures_mixed"): ("package, scales mixed", partial(fsim_measures, image_peak=1)),
}  # fmt: skip


def some(count: int) -> np.ndarray:
    """Positions of at most `IMAGES` of ``count`` images, spread evenly, the first one included."""
    taken = min(count, IMAGES)
    return np.arange(taken) * count // max(taken, 1)


def brighter(images: np.ndarray, levels: float) -> np.ndarray:
    """Images, uint8, with a number of gray levels added, rounded and clipped to 0..255 (F3, P3)."""
    return np.clip(np.rint(images + float(levels)), 0, 255).astype(np.uint8)


def levels_of(psnr: float) -> float:
    """The constant offset in gray levels that has this PSNR in dB, before clipping."""
    return 255 * 10 ** (-psnr / 20)


def inactive(model: nn.Module) -> nn.Module:
    """A copy of a network whose median layers return their input (F3)."""
    changed = copy.deepcopy(model)
    for part in list(changed.modules()):
        for name, child in part.named_children():
            if isinstance(child, MedianLayer):
                setattr(part, name, nn.Identity())
    return changed


def at_psnr(clean: np.ndarray, restored: np.ndarray, target: float) -> np.ndarray:
    """Restored images with all errors scaled by one factor, so that the mean PSNR is the target.

    So the kind of error is compared, and not how long our network was trained. Rounding and
    clipping move the mean a little.

    Raises:
        InputError: shapes differ, or an image is restored exactly.
    """
    now = image_quality.psnr(clean, restored)
    if not np.isfinite(now).all():
        raise InputError("An image restored exactly has no error to scale: leave it out first.")
    factor = 10 ** ((now.mean() - target) / 20) if len(now) else 1.0
    error = restored.astype(np.float64) - clean
    return np.clip(np.rint(clean + factor * error), 0, 255).astype(np.uint8)


def compare(
    clean: np.ndarray,
    attacked: np.ndarray,
    restored: dict[str, np.ndarray],
    without_medians: np.ndarray | None,
    printed: pd.DataFrame,
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """Every reading of our images beside the printed value of each defense.

    Args:
        clean: images before the attack, uint8 (N, H, W, C).
        attacked: the same after it.
        restored: the attacked images after each defense, by name.
        without_medians: the attacked images after ``median_cnn`` with inactive median layers.
        printed: of `lib.evidence.printed.denoise_table`.
        samples, seed: of the bootstrap.

    Returns:
        One row per metric, variant, set of images and printed defense, with `COLUMNS`: ``n`` images
            with a finite value, their mean ``value`` with its 95 % bootstrap interval, their range
            ``least, most``; ``distance``, printed minus ours; ``reached``, whether the printed
            value, give or take half its last digit, lies in the range. Without an image ``value``
            is NaN.
    """
    rows = []
    variants = VARIANTS
    if clean.shape[3] != 3:  # FSIMc needs three channels
        variants = {key: of for key, of in VARIANTS.items() if key != ("fsim", "chromatic")}
    for row in printed.to_dict("records"):
        name = row["defense"]
        if name not in restored:
            continue
        some_error = (restored[name] != clean).any(axis=(1, 2, 3))
        inexact = clean[some_error], restored[name][some_error]
        off = levels_of(row["psnr"])
        sets = {
            AS_RESTORED: (clean, restored[name]),
            MATCHED: (inexact[0], at_psnr(*inexact, row["psnr"])),
            UNDEFENDED: (clean, attacked),
        }
        if name == "median_cnn":
            sets[BRIGHTER_INPUT] = (clean, brighter(attacked, off))
            sets[BRIGHTER_OUTPUT] = (clean, brighter(restored[name], off))
            if without_medians is not None:
                sets[INACTIVE] = (clean, without_medians)
        for images, pair in sets.items():
            every = images in (AS_RESTORED, MATCHED)
            for (metric, variant), (label, measure) in variants.items():
                if every or variant == STANDARD:
                    found = _place(measure(*pair), row[metric], metric, samples, seed)
                    rows.append([metric, variant, label if every else images, images, name, *found])
    return pd.DataFrame(rows, columns=COLUMNS)


def scaling(tables: Iterable[pd.DataFrame]) -> tuple[float, float] | None:
    """Smallest and largest change of mean PSNR in dB from our images to the printed values.

    ``tables`` are of `compare`; None where they hold no restored image.
    """
    plain = f"metric == 'psnr' and variant == '{STANDARD}' and images == '{AS_RESTORED}'"
    changes = [table.query(plain)["distance"].dropna() for table in tables]
    every = np.concatenate([*changes, []])
    return (every.min(), every.max()) if len(every) else None


def _place(values: np.ndarray, printed: float, metric: str, samples: int, seed: int) -> tuple:
    """From ``n`` to ``reached``, see `compare`."""
    finite = values[np.isfinite(values)]
    mean, low, high = intervals.bootstrap_mean(finite, samples, seed)
    least, most = (finite.min(), finite.max()) if len(finite) else (np.nan, np.nan)
    digit = half_digit(metric, printed)
    reached = bool(least - digit <= printed <= most + digit)
    return len(finite), mean, low, high, least, most, printed, printed - mean, reached


def quirks(clean: np.ndarray, restored: dict[str, np.ndarray], caption: str) -> Styler:
    """Mean FSIM of each defense with each quirk of the package alone, and with all."""
    means = {
        formatting.shown(name): [fsim_measures(clean, images, **s).mean() for s in QUIRKS.values()]
        for name, images in restored.items()
    }
    return tables.table(pd.DataFrame({"FSIM": [*QUIRKS]} | means), caption)


def readings(compared: pd.DataFrame, caption: str) -> Styler:
    """Every reading of each measure below the printed value, a column for each defense.

    ``compared`` is of `compare`.
    """
    ours = compared[compared["images"] != AS_RESTORED].copy()
    ours["text"] = tables.intervals(ours.rename(columns={"value": "ours"}), "ours")
    ours["text"] += ours["reached"].map({True: " ✓", False: ""})
    first = ours.drop_duplicates(["metric", "defense"])
    first = first.assign(label="printed", text=first["printed"].map("{:g}".format))
    rows = pd.concat([first, ours]).rename(columns={"label": "reading"})
    rows = rows.sort_values("metric", kind="stable").set_index(["metric", "reading", "defense"])
    wide = rows["text"].unstack(sort=False).reset_index()
    return tables.table(wide.rename(columns=formatting.shown), caption)
