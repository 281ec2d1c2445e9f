"""Whether attacks change pixels inside marked lesions more often than chance would."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import poisson_binom

from lib.data.lesions import COLUMNS, CORNER_AND_SIZE, FILE, IMAGE
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.results_tables import nearest
from lib.evidence.run_tables import RUN, joined
from lib.params.files import read_table


def recorded(results: Path, found: RecordedRuns) -> pd.DataFrame:
    """Boxes of the images attacked in the runs nearest to the paper's."""
    runs = nearest(found.runs)[RUN].itertuples(index=False)
    paths = [results / run.protocol / run.dataset / run.classifier / FILE for run in runs]
    kept = joined([read_table(path) for path in paths if path.exists()], COLUMNS)
    return kept.drop_duplicates(ignore_index=True)


def marked(boxes: np.ndarray, size: int) -> np.ndarray:
    """Pixels whose center lies in a box, bool (size, size).

    Boxes (N, 4) are left, top, width and height as shares of the edge.
    """
    left, top, width, height = np.asarray(boxes, dtype=float).reshape(-1, 4).T[..., None]
    center = (np.arange(size) + 0.5) / size
    across = (left <= center) & (center < left + width)
    down = (top <= center) & (center < top + height)
    return (down[:, :, None] & across[:, None, :]).any(axis=0)


def changed(attacks: pd.DataFrame, boxes: pd.DataFrame, size: int) -> pd.DataFrame:
    """Changed pixels of successful attacks on images with boxes, see `lib.data.lesions.COLUMNS`.

    Returns:
        One row a changed pixel: ``split, index, row, col, inside`` (a box) and ``chance``, the
        share of the image's pixels that lie in its boxes.
    """
    within = {
        name: marked(of[CORNER_AND_SIZE].to_numpy(), size) for name, of in boxes.groupby(IMAGE)
    }
    rows = []
    fooled = attacks.loc[attacks["success"], [*IMAGE, "rows", "cols"]]
    for split, index, *places in fooled.itertuples(index=False, name=None):
        if (mask := within.get((split, index))) is not None:
            rows += [
                (split, index, row, col, bool(mask[row, col]), mask.mean())
                for row, col in zip(*places, strict=True)
            ]
    return pd.DataFrame(rows, columns=[*IMAGE, "row", "col", "inside", "chance"])


def against_chance(pixels: pd.DataFrame) -> tuple[int, float, int, int]:
    """Changed pixels inside lesions, beside what pixels drawn uniformly in the same images give.

    Their number is then Poisson binomial, each with the share of its image that is marked.

    Returns:
        The number found; by chance its mean and the ends of its central 95 % range.
    """
    chance = poisson_binom(pixels["chance"].to_numpy())
    low, high = map(int, chance.interval(0.95))
    return int(pixels["inside"].sum()), float(chance.mean()), low, high
