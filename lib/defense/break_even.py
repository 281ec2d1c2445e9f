"""Break-even attack prevalence: when a defense saves more images than it harms."""

import numpy as np
import pandas as pd

from lib.metrics import clusters, intervals
from lib.params.errors import InputError

SAMPLES = 2000  # bootstrap resamples


def break_even_prevalence(
    restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Share of attacked images above which a defense is worth using.

    After an attack a defense may recover the correct class; without one it may cost a clean image
    its class. Both are counted on the same images.

    Args:
        restored: rows of `lib.defense.restoration.restore_all`, of one run or of several with
            ``classifier`` and ``pixels``.
        samples, seed: of the bootstrap over images; those of one patient are drawn together.

    Returns:
        By defense ``pays_from``, 0..1, where images saved equal images lost, and its 95 %
        percentile bootstrap interval, ``pays_from_low, pays_from_high``. Infinite for a defense
        that saves none; NaN for ``identity``, and for all without that row. Where none of the clean
        images is lost, no resample loses one, and the upper bound is that of as many lost images
        as the Wilson interval of ``kept`` allows.

    Raises:
        InputError: no samples, a seed below 0, or two rows of one attack and defense.
    """
    restored = restored.assign(cluster=clusters.of(restored))
    keys = [
        name for name in ("cluster", *clusters.IMAGE, "classifier", "pixels") if name in restored
    ]
    if restored.duplicated([*keys, "defense"]).any():
        raise InputError("A defense has two rows of one attack: give those of one training alone.")
    right, kept = (
        restored.pivot(index=keys, columns="defense", values=name).astype(float)
        for name in ("recovered", "kept")
    )
    names = restored["defense"].unique()
    columns = ["pays_from", "pays_from_low", "pays_from_high"]
    found = pd.DataFrame(np.nan, index=pd.Index(names, name="defense"), columns=columns)
    if "identity" not in right:
        return found
    others = [name for name in names if name != "identity"]
    saved = right[others].sub(right["identity"], axis=0).groupby(level="cluster").sum().to_numpy()
    lost = (1 - kept[others]).groupby(level="cluster").sum().to_numpy()
    found.loc[others, "pays_from"] = _even(saved.sum(0), lost.sum(0))
    intervals.check_resampling(saved, samples, seed)
    draws = intervals.resampled(len(saved), samples, seed)
    drawn = np.concatenate([_even(counts @ saved, counts @ lost) for counts in draws])
    # Resamples may be infinite, so bounds are not interpolated between two of them.
    bounds = np.quantile(drawn, [0.025, 0.975], axis=0, method="inverted_cdf")
    for place, name in enumerate(others):
        if not lost[:, place].any() and saved[:, place].sum() > 0:
            of = kept.index.get_level_values("cluster")
            harmed = 1 - intervals.share(kept[name] > 0, of)[1]
            bounds[1, place] = harmed / (harmed + saved[:, place].sum() / len(kept))
    found.loc[others, columns[1:]] = bounds.T
    return found


def _even(saved: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Share of attacked images where saved equals lost; infinite where nothing is saved."""
    total = np.where(saved > 0, lost + saved, np.inf)
    return np.where(saved > 0, lost / total, np.inf)
