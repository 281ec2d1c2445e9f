"""Splits: the paper's 70/10/20, and which images must stay together.

scipy and scikit-learn are imported where they are used: they cost a second or two, and official
splits need neither.
"""

import hashlib
import warnings

import numpy as np

from lib.params.errors import InputError

FOLDS = {"train": 7, "val": 1, "test": 2}  # of ten (SPL01)


def linked(*keys: np.ndarray) -> np.ndarray:
    """Numbers (N,) equal for rows that share a key, directly or through other rows.

    Args:
        keys: int64 (N,) each; -1 shares with nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, first_rows = np.arange(len(keys[0])), []
    for key in keys:
        _, first, codes = np.unique(key, return_index=True, return_inverse=True)
        first_rows.append(np.where(key >= 0, first[codes], rows))
    edges = (np.tile(rows, len(keys)), np.concatenate(first_rows))
    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(len(rows), len(rows)))
    return connected_components(graph, directed=False)[1]


def content(images: np.ndarray) -> np.ndarray:
    """Numbers (N,) equal for images with the same pixels."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(np.ascontiguousarray(image), digest_size=16) for image in images)
    return np.array([seen.setdefault(digest.digest(), len(seen)) for digest in digests], np.int64)


def paper_parts(images: np.ndarray, labels: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """Parts of the paper: 70 % train, 10 % val, 20 % test (section 3.2.2; SPL01, SPL02).

    Stratified by class; for a multi-label set by label set, sets of fewer than 0.5 % of the images
    (or 10) taken together. The images of one patient stay together where patients are known
    (SPL04), and so do images with the same pixels, which the paper does not speak of: one that is
    both trained on and tested would count as learned.

    Args:
        images: uint8 (N, ...).
        labels: integers (N, L); one column for a single-label set.
        group: int64 (N,), patient; -1 unknown.
        seed: of the draw.

    Returns:
        str (N,): ``train``, ``val`` or ``test``.

    Raises:
        InputError: too few images or patients to fill the three parts.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    _, strata, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    strata = strata.reshape(-1)
    if labels.shape[1] > 1:
        strata[counts[strata] < max(10, len(labels) / 200)] = -1
    folds = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), np.int64)
    try:
        with warnings.catch_warnings():
            # A class of fewer than 10 images is missing in some folds; of the small sets that are
            # used for tests this is expected, and the counts of each part are reported anyway.
            warnings.filterwarnings("ignore", message="The least populated class")
            for number, (_, rows) in enumerate(
                folds.split(strata, strata, linked(group, content(images)))
            ):
                fold[rows] = number
    except ValueError as error:
        raise InputError(
            f"{len(labels)} images cannot be split 70/10/20: some class needs ten images, and "
            "ten patients where patients are known; use data_split=official."
        ) from error
    parts = np.repeat(list(FOLDS), list(FOLDS.values()))[fold]
    if empty := [part for part in FOLDS if part not in parts]:
        raise InputError(
            f"{len(labels)} images cannot be split 70/10/20: no patient is left for {empty[0]!r}; "
            "use data_split=official."
        )
    return parts


def in_whole_groups(group: np.ndarray, wanted: dict[str, int]) -> np.ndarray:
    """Whole groups at random (seed 0) into parts of given numbers of rows; the rest is train."""
    sizes = np.bincount(group)
    part = np.full(len(sizes), "train", "<U5")
    room = dict(wanted)
    for number in np.random.default_rng(0).permutation(len(sizes)):
        for name in room:
            if sizes[number] <= room[name]:
                part[number] = name
                room[name] -= sizes[number]
                break
    return part[group]
