"""Detection of attacks by the residual: how much a defense changes an image.

The paper claims better detection of one-pixel attacks than earlier work (section 1.2) and shows no
detector, threshold or rate (audit U3). The residual of a denoiser is the detector that its parts
allow, and that of Alatalo et al. (2022), its reference 8, with an autoencoder; the authors do not
say whether they mean this (EVA15).
"""

import numpy as np
import pandas as pd

from lib.data import as_images
from lib.metrics import clusters, intervals

# A single changed pixel shows in the largest difference; the mean is the usual measure.
SCORES = ("largest", "mean")
FOOLED, ALL = "fooled", "all"
ALARMS = 0.01


def scores(images: np.ndarray, restored: np.ndarray) -> dict[str, np.ndarray]:
    """How much a defense changed each image, float64 (N,) in gray levels 0..255, by score.

    ``largest`` is the largest absolute difference of a value, ``mean`` the mean over all values.

    Args:
        images: input of the defense, uint8 (N, H, W, C).
        restored: its output, of the same shape.

    Raises:
        InputError: arrays of another type or of two shapes.
    """
    images, restored = as_images("Images of a residual", images=images, restored=restored)
    # int16 holds every difference of two 8-bit values.
    residual = np.abs(images.astype(np.int16) - restored)
    return {
        "largest": residual.max(axis=(1, 2, 3)).astype(np.float64),
        "mean": residual.mean(axis=(1, 2, 3)),
    }


def column(state: str, score: str) -> str:
    """Column of a restoration table with a score of the ``attacked`` or ``clean`` images."""
    return f"{state}_residual_{score}"


def summary(frame: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """How well each defense's residual separates attacked from clean images.

    Each attacked image is compared with its own clean one, so that they differ by the attack alone.

    Args:
        frame: rows of `lib.defense.restoration.restore_all` of one data set, classifier and number
            of pixels.
        samples, seed: of the bootstrap.

    Returns:
        One row per defense, score and choice of ``images`` (`FOOLED`: those whose attack succeeded,
        `ALL`: all attacked): ``n`` images of each kind, and ``auc`` with its 95 % interval over
        images, or patients where ``group`` names them, ``auc_low`` and ``auc_high``. 0.5 is chance;
        NaN where there is no image.
    """
    rows = []
    for name, every in frame.groupby("defense", sort=False):
        for images, chosen in ((FOOLED, every[every["success"]]), (ALL, every)):
            for score in SCORES:
                attacked, clean = _pair(chosen, score)
                area = intervals.bootstrap_auc(attacked, clean, samples, seed, clusters.of(chosen))
                row = {"defense": name, "score": score, "images": images, "n": len(chosen)}
                rows.append(row | intervals.columns("auc", area))
    return pd.DataFrame(rows)


def detected(frame: pd.DataFrame, alarms: float = ALARMS) -> pd.DataFrame:
    """Share of successful attacks that each defense's residual reveals at few false alarms.

    An image is flagged if its largest residual is above that of all but a share ``alarms`` of the
    clean images, those whose attack failed, too.

    Args:
        frame: as in `summary`, of several runs if they have the same denoisers.
        alarms: largest share of clean images that may be flagged, 0..1.

    Returns:
        One row per defense: ``n`` successful attacks, ``rate`` of flagged ones with its 95 %
        interval ``low, high``, 0..1; ``clean`` images and share of flagged ones, ``false``.
    """
    rows = []
    for name, of in frame.groupby("defense", sort=False):
        clean = of.drop_duplicates(clusters.image_columns(of))[column("clean", "largest")]
        limit = np.quantile(clean, 1 - alarms, method="inverted_cdf")
        won = of[of["success"]]
        flagged = won[column("attacked", "largest")] > limit
        rates = intervals.share(flagged, clusters.of(won))
        row = {"defense": name, "n": len(won), "clean": len(clean), "false": (clean > limit).mean()}
        rows.append(row | dict(zip(("rate", "low", "high"), rates, strict=True)))
    return pd.DataFrame(rows)


def curves(frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ROC curve of each defense over successfully attacked images and the same images clean.

    Args:
        frame: as in `summary`; the score is the largest residual.

    Returns:
        By defense false and true positive rates, 0..1 and rising; empty where no attack succeeded.
    """
    from sklearn.metrics import roc_curve

    return {
        name: roc_curve(np.repeat([1, 0], len(every)), np.concatenate(_pair(every, "largest")))[:2]
        for name, every in frame[frame["success"]].groupby("defense", sort=False)
    }


def _pair(frame: pd.DataFrame, score: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(frame[column(state, score)].to_numpy() for state in ("attacked", "clean"))
