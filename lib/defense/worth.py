"""What a defence is worth: from what share of attacked images on it leaves more images right."""

import numpy as np
import pandas as pd

from lib.restoration import IMAGE

ATTACK = [*IMAGE, "classifier", "pixels"]  # which attack a row is of, as far as the table says it
SAMPLES = 2000  # bootstrap resamples
CHUNK_VALUES = 1 << 22  # drawn at once


def pays_from(restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """From what share of attacked images on a defence leaves more images right than doing nothing.

    Saved and lost are counted on the same attacks: after one, the class may be right thanks to the
    defence; before it, the same image clean may lose its class to the defence.

    Args:
        restored: rows of `lib.restoration.restore_all`, of one run or of several with
            ``classifier`` and ``pixels``.
        samples: bootstrap resamples of images.
        seed: of the bootstrap.

    Returns:
        By defence ``pays_from``, 0..1, where what it saves of attacked images equals what it costs
        of clean ones, and its 95 % percentile bootstrap interval over images, ``pays_from_low,
        pays_from_high``. Infinite where it saves none; NaN for doing nothing, or where the table
        does not have it.
    """
    keys = [name for name in ATTACK if name in restored]
    right, kept = (
        restored.pivot(index=keys, columns="defence", values=name).astype(float)
        for name in ("recovered", "kept")
    )
    names = restored["defence"].unique()
    columns = ["pays_from", "pays_from_low", "pays_from_high"]
    found = pd.DataFrame(np.nan, index=pd.Index(names, name="defence"), columns=columns)
    if "identity" not in right:
        return found
    others = [name for name in names if name != "identity"]
    saved = right[others].sub(right["identity"], axis=0).groupby(level=IMAGE).sum().to_numpy()
    lost = (1 - kept[others]).groupby(level=IMAGE).sum().to_numpy()
    found.loc[others, "pays_from"] = _even(saved.sum(0), lost.sum(0))
    random, n, drawn = np.random.default_rng(seed), len(saved), []
    for start in range(0, samples, step := max(1, CHUNK_VALUES // n)):
        counts = random.multinomial(n, np.full(n, 1 / n), size=min(step, samples - start))
        drawn.append(_even(counts @ saved, counts @ lost))
    # Resamples may be infinite, so that bounds are resamples and not means of two.
    bounds = np.quantile(np.concatenate(drawn), [0.025, 0.975], axis=0, method="inverted_cdf")
    found.loc[others, columns[1:]] = bounds.T
    return found


def _even(saved: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Share of attacked images where both are equal; infinite where nothing is saved."""
    total = np.where(saved > 0, lost + saved, np.inf)
    return np.where(saved > 0, lost / total, np.inf)
