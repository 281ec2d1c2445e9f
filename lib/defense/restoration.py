"""Restored images against clean ones, and the classifier's decisions on them.

The paper averages five image metrics over successfully attacked images (section 4.1.2) and never
reclassifies the restored images (its section 6). We add that, reference defenses, the cost on clean
images, the error at the attacked pixel, and patch selection (EVA09 to EVA11, EVA14, audit U1 and
U2).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import ne
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib.data import as_images
from lib.defense import detection
from lib.defense.patch_selection import select_patches
from lib.metrics import clusters, image_quality, intervals
from lib.models.classifiers import as_text, classify
from lib.models.denoisers import restore
from lib.models.inference import Device, Network, check_network, placed
from lib.params import PATCHES, REFERENCES, Parameters
from lib.params.errors import InputError

if TYPE_CHECKING:
    from lib.attack import Found

IMAGE = ["dataset", "split", "index"]  # which image a row of a run is of
KEYS = (*IMAGE, "image", "group", "label", "success")  # copied from an attack table that has them
MEASURES = (*image_quality.COLUMNS, "error_attacked", "error_elsewhere")
CHUNK = 64  # images restored by all defenses at a time, which bounds the memory

Predict = Callable[[np.ndarray], Sequence[int] | Sequence[str] | np.ndarray]


def evaluate_defense(
    model: Network,
    denoiser: Network | Mapping[str, Network],
    found: "Found",
    threshold: float = 0.5,
    device: Device = None,
) -> pd.DataFrame:
    """Restore attacked images and the same images clean, and classify both.

    Args:
        model: the classifier that was attacked.
        denoiser: module or function from images (N, C, H, W) in 0..1 to images, or several by name;
            see `lib.models.restore`.
        found: what an attack returned. Images that it skipped are left out.
        threshold: a label of a multi-label classifier counts when its sigmoid exceeds it; that of
            the attack's criterion.
        device: where it all runs, ``auto`` included; None for where the networks are.

    Returns:
        One row per defense and attacked image, as `restore_all`, with ``image``, the position;
        `shares` and `summary` condense it.

    Raises:
        InputError: the model decides the clean images otherwise than the attack did, or as
            `restore_all`.
    """
    networks = dict(denoiser) if isinstance(denoiser, Mapping) else None
    for what, network in (("model", model), *(networks or {"denoiser": denoiser}).items()):
        check_network(what, network)
    if not hasattr(found, "table"):
        raise InputError(f"found is a {type(found).__name__}: give what an attack returned.")
    records = found.table[~found.table["skipped"].astype(bool)]
    clean, attacked = as_images("Attacked images", clean=found.clean, attacked=found.images)
    rows = records["image"].to_numpy(np.int64)
    multi_label = any(isinstance(value, str) for value in records["predicted"])

    def predict(images: np.ndarray) -> list[int] | list[str]:
        return as_text(classify(model, images, multi_label, threshold, device))

    # An attack, too, decides in float32 and as if each image were alone, whatever it searches in.
    unlike = sum(map(ne, predict(clean[rows]), records["predicted"]))
    if unlike:
        raise InputError(
            f"The model decides {unlike} of {len(rows)} clean images otherwise than the attack: "
            "give the model that was attacked, and the threshold of its criterion."
        )
    name = getattr(denoiser, "__name__", type(denoiser).__name__)
    defenses = networks or {name: denoiser}
    return restore_all(clean[rows], attacked[rows], records, defenses, predict, device)


@dataclass(frozen=True)
class Patches:
    """Denoisers that are also used with patch selection, and its settings; see `select_patches`."""

    names: tuple[str, ...] = ()
    size: int = 1
    threshold: float = 0.0

    @classmethod
    def of(cls, p: Parameters) -> "Patches":
        """As the parameters have it."""
        known = (*REFERENCES, *p.denoiser_names)
        names = [name for name in p.restoration_patch_denoisers if name in known]
        return cls(tuple(names), p.restoration_patch_size, p.restoration_patch_threshold)


def defend(
    defenses: Mapping[str, Network],
    images: np.ndarray,
    device: Device = None,
    patches: Patches = Patches(),
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and restored images of each defense, uint8 (N, H, W, C).

    A denoiser named by ``patches`` comes twice, the second time as ``<name>+patches``, from the
    same forward pass.

    Raises:
        InputError: as `lib.models.denoisers.restore` and `select_patches`.
    """
    for name, model in defenses.items():
        restored = restore(model, images, device)
        yield name, restored
        if name in patches.names:
            chosen = select_patches(images, restored, patches.size, patches.threshold)
            yield name + PATCHES, chosen


def restore_all(
    clean: np.ndarray,
    adversarial: np.ndarray,
    records: pd.DataFrame,
    defenses: Mapping[str, Network],
    predict: Predict,
    device: Device = None,
    patches: Patches = Patches(),
) -> pd.DataFrame:
    """Run every defense on attacked and on clean images.

    Args:
        clean: images before the attack, uint8 (N, H, W, C), in the order of ``records``.
        adversarial: the same images after it.
        records: attack table of N rows.
        defenses: networks by name.
        predict: from uint8 images (n, H, W, C) to classes as in the records' ``predicted``: int, or
            for multi-label sets the 0/1 string of all labels.
        device: where networks and metrics run; None for where the networks are.
        patches: denoisers that are also used with patch selection.

    Returns:
        One row per defense and attacked image, successful or not: `KEYS` of the attack table,
            ``defense``; ``psnr, mse, ssim, gmsd, fsim`` of restored against clean (EVA01);
            ``exact``, whether the two are identical; ``error_attacked`` and ``error_elsewhere``,
            the mean absolute error in gray levels (0..255) at the attacked pixels and at all others
            (EVA11), NaN where there are none; ``restored_class``, the class after the defense, and
            ``recovered``, whether it is the one before the attack; ``clean_class``, the class of
            the clean image after the defense, and ``kept``, whether it is unchanged (EVA10);
            ``attacked_residual_...`` and ``clean_residual_...``, how much the defense changes the
            attacked and the clean image,
            by each of `lib.defense.detection.SCORES`.

    Raises:
        InputError: nothing to restore, lengths or shapes do not fit, images below 11 x 11 pixels
            (which SSIM needs), an attacked pixel lies outside the image, or ``predict`` gives
            classes of another kind than the records hold.
    """
    if not len(clean) == len(adversarial) == len(records):
        raise InputError(
            f"Restoration needs as many clean images ({len(clean)}) and adversarial images "
            f"({len(adversarial)}) as attack records ({len(records)})."
        )
    if not len(records) or not defenses:
        raise InputError("Restoration needs at least one attacked image and one defense.")
    attacked = _attacked(clean, adversarial, records)
    place = placed(next(iter(defenses.values())), device)
    before = records["predicted"].to_numpy()
    keys = records[[name for name in KEYS if name in records]].reset_index(drop=True)
    tables: dict[str, list[pd.DataFrame]] = {}
    for start in range(0, len(clean), CHUNK):
        part = slice(start, start + CHUNK)
        restored = dict(defend(defenses, adversarial[part], device, patches))
        cleaned = dict(defend(defenses, clean[part], device, patches))
        # All at once: a classifier takes nearly as long for a few images as for many.
        every = np.concatenate([*restored.values(), *cleaned.values()])
        classes = _classes(predict, every, before).reshape(2, len(restored), -1)
        for name, after, became, stayed in zip(restored, restored.values(), *classes, strict=True):
            frame = keys.iloc[part].reset_index(drop=True).assign(defense=name)
            measures = image_quality.measure(clean[part], after, place)
            frame = pd.concat([frame, measures], axis=1)
            frame["exact"] = (after == clean[part]).all(axis=(1, 2, 3))
            # int16 holds every difference of two 8-bit values.
            error = np.abs(after.astype(np.int16) - clean[part]).mean(axis=3)
            frame["error_attacked"] = _masked_mean(error, attacked[part])
            frame["error_elsewhere"] = _masked_mean(error, ~attacked[part])
            frame["restored_class"] = became
            frame["recovered"] = became == before[part]
            frame["clean_class"] = stayed
            frame["kept"] = stayed == before[part]
            for state, images, made in (
                ("attacked", adversarial[part], after),
                ("clean", clean[part], cleaned[name]),
            ):
                for score, values in detection.scores(images, made).items():
                    frame[detection.column(state, score)] = values
            tables.setdefault(name, []).append(frame)
    return pd.concat([frame for parts in tables.values() for frame in parts], ignore_index=True)


def shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Label recovery rate and clean prediction retention of each defense.

    Args:
        frame: rows of `restore_all`.

    Returns:
        One row per defense, in the order of ``frame``: ``attacks``, ``n`` of them successful;
            ``recovered``, the share of the ``n`` that are classified as before the attack;
            ``right``, the same share of all ``attacks``; ``images`` attacked, counted once per
            classifier, and ``kept``, the share of them that keep their class when clean (EVA10).
            Shares are 0..1 with 95 % intervals in ``_low`` and ``_high``, see
            `lib.metrics.intervals.share`; NaN where there is no image.
    """
    rows = []
    # A clean image is defended once for each classifier.
    once = [name for name in (*clusters.IMAGE, "classifier") if name in frame]
    frame = frame.assign(cluster=clusters.of(frame))
    for name, every in frame.groupby("defense", sort=False):
        won, clean = every[every["success"]], every.drop_duplicates(once)
        row = {"defense": name, "images": len(clean), "attacks": len(every), "n": len(won)}
        for share, of, column in (
            ("recovered", won, "recovered"), ("right", every, "recovered"), ("kept", clean, "kept"),
        ):  # fmt: skip
            row |= intervals.columns(share, intervals.share(of[column], of["cluster"]))
        rows.append(row)
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Means and intervals of each defense, from the table of `restore_all`.

    Args:
        frame: rows of one data set, classifier and number of pixels.
        samples, seed: of the bootstrap.

    Returns:
        The columns of `shares`, and over the successful attacks (EVA02): ``exact``, how many were
        restored exactly; mean of each metric ``m`` and of ``error_attacked`` and
        ``error_elsewhere``, its 95 % bootstrap interval ``m_low, m_high``, in which images of one
        patient are drawn together, ``m_median`` and ``m_deviation``, the standard deviation, over
        images (EVA03), PSNR without exact matches (EVA04). NaN where there is no image.
    """
    rows, clustered = [], frame.assign(cluster=clusters.of(frame))
    for name, every in clustered.groupby("defense", sort=False):
        won = every[every["success"]]
        row = {"defense": name, "exact": won["exact"].sum()}
        # An error is NaN where an attack left no pixel alone, or changed none.
        partial = [metric for metric in MEASURES[1:] if won[metric].isna().any()]
        whole = [metric for metric in MEASURES[1:] if metric not in partial]
        groups = [(won[~won["exact"]], MEASURES[:1]), (won, whole)]
        groups += [(won.dropna(subset=metric), [metric]) for metric in partial]
        for of, names in groups:
            values = {metric: of[metric] for metric in names}
            means = intervals.bootstrap_means(values, samples, seed, of["cluster"])
            for metric, mean in means.items():
                row |= intervals.columns(metric, mean)
                row[f"{metric}_median"] = of[metric].median()
                row[f"{metric}_deviation"] = of[metric].std()
        rows.append(row)
    return shares(frame).merge(pd.DataFrame(rows), on="defense")


def _attacked(clean: np.ndarray, adversarial: np.ndarray, records: pd.DataFrame) -> np.ndarray:
    """Bool (N, H, W), true at the pixels that each record changes."""
    if "rows" not in records:  # an attack on whole images names no pixels
        return (clean != adversarial).any(axis=3)
    mask = np.zeros(clean.shape[:3], dtype=bool)
    height, width = mask.shape[1:]
    for each, rows, cols in zip(mask, records["rows"], records["cols"], strict=True):
        for row, col in zip(rows, cols, strict=True):
            if not (0 <= row < height and 0 <= col < width):
                raise InputError(
                    f"An attack record has pixel ({row}, {col}), outside its image of "
                    f"{height} x {width}: records and images do not belong together."
                )
            each[row, col] = True
    return mask


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each image's values (N, H, W) where the mask is true; NaN where it nowhere is."""
    with np.errstate(invalid="ignore"):
        return np.where(mask, values, 0).sum(axis=(1, 2)) / mask.sum(axis=(1, 2))


def _classes(predict: Predict, images: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Classes from ``predict``, refused if they could never equal those in the records."""
    classes = np.asarray(predict(images))
    if len(classes) != len(images):
        raise InputError(f"predict gave {len(classes)} classes for {len(images)} images.")
    given, known = classes[:1].tolist()[0], before[:1].tolist()[0]
    if isinstance(given, str) != isinstance(known, str):
        raise InputError(
            f"predict gave {given!r}, the attack records hold {known!r}: both need the same type."
        )
    return classes.astype(object if isinstance(given, str) else np.int64)
