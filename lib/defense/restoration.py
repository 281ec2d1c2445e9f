"""What the defenses give back: restored images against clean ones, and the class afterwards.

The paper averages five image metrics over successfully attacked images (section 4.1.2) and never
asks the classifier again (its section 6). We add that, the defenses that do nothing or next to it,
the cost on clean images, the error at the attacked pixel, and patch selection (EVA09 to EVA11,
EVA14, audit U1 and U2).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.defense import detection
from lib.defense.patch_selection import select_patches
from lib.metrics import image_quality, intervals
from lib.models.denoisers import restore
from lib.params import PATCHES, Parameters
from lib.params.errors import InputError

KEYS = ["dataset", "split", "index", "label", "success"]  # copied from the attack records
IMAGE = KEYS[:3]  # which image a row is of
CLEAN = (*IMAGE, "classifier")  # what the class of a clean image depends on besides the defense
MEASURES = (*image_quality.COLUMNS, "error_attacked", "error_elsewhere")
ATTACK = [*IMAGE, "classifier", "pixels"]  # which attack a row is of, as far as the table says it
SAMPLES = 2000  # bootstrap resamples
CHUNK_VALUES = 1 << 22  # drawn at once
CHUNK = 64  # images restored by all defenses at a time, which bounds the memory


@dataclass(frozen=True)
class Patches:
    """Which defenses are used with patch selection too, and how; see `select_patches`."""

    names: tuple[str, ...] = ()
    size: int = 1
    threshold: float = 0.0

    @classmethod
    def of(cls, p: Parameters) -> "Patches":
        """As the parameters have it."""
        names = [name for name in p.restoration_patch_denoisers if name in p.denoiser_names]
        return cls(tuple(names), p.restoration_patch_size, p.restoration_patch_threshold)


def defend(
    defenses: dict[str, nn.Module],
    images: np.ndarray,
    device: str | torch.device,
    patches: Patches = Patches(),
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and restored images of each defense, uint8 (N, H, W, C).

    A denoiser named by ``patches`` comes twice, the second time as ``<name>+patches``, out of the
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
    defenses: dict[str, nn.Module],
    predict: Callable[[np.ndarray], Sequence[int] | Sequence[str] | np.ndarray],
    device: str | torch.device,
    patches: Patches = Patches(),
) -> pd.DataFrame:
    """Run every defense on attacked and on clean images.

    Args:
        clean: images before the attack, uint8 (N, H, W, C), in the order of ``records``.
        adversarial: the same images after it.
        records: N attack records.
        defenses: networks by name.
        predict: classes of uint8 images (n, H, W, C), in the form of the records' ``predicted``:
            int, or for multi-label sets the 0/1 string of all labels.
        device: where networks and metrics run.
        patches: denoisers that are used with patch selection too.

    Returns:
        One row per defense and attacked image, successful or not: ``dataset, split, index, label,
        success, defense``; ``psnr, mse, ssim, gmsd, fsim`` of restored against clean (EVA01);
        ``exact``, whether the two are identical; ``error_attacked`` and ``error_elsewhere``, the
        mean absolute error in gray levels (0..255) at the attacked pixels and at all others
        (EVA11); ``restored_class``, the class after the defense, and ``recovered``, whether it is
        the one before the attack (tells something only where ``success``); ``clean_class``, the
        class of the clean image after the defense, and ``kept``, whether it is still the same
        (EVA10); ``attacked_residual_...`` and ``clean_residual_...``, how much the defense changes
        the image it is given, attacked and clean, by each of `lib.defense.detection.SCORES`.

    Raises:
        InputError: nothing to restore, lengths or shapes do not fit, an attacked pixel lies
            outside the image, or ``predict`` gives classes of another kind than the records hold.
    """
    if not len(clean) == len(adversarial) == len(records):
        raise InputError(
            f"Restoration needs as many clean images ({len(clean)}) and adversarial images "
            f"({len(adversarial)}) as attack records ({len(records)})."
        )
    if not len(records) or not defenses:
        raise InputError("Restoration needs at least one attacked image and one defense.")
    attacked = _attacked(clean.shape, records)
    before = records["predicted"].to_numpy()
    tables: dict[str, list[pd.DataFrame]] = {}
    for start in range(0, len(clean), CHUNK):
        part = slice(start, start + CHUNK)
        restored = dict(defend(defenses, adversarial[part], device, patches))
        cleaned = dict(defend(defenses, clean[part], device, patches))
        # All at once: a classifier takes nearly as long for a few images as for many.
        every = np.concatenate([*restored.values(), *cleaned.values()])
        classes = _classes(predict, every, before).reshape(2, len(restored), -1)
        for name, after, became, stayed in zip(restored, restored.values(), *classes, strict=True):
            frame = image_quality.measure(clean[part], after, device)
            frame = pd.concat([records[KEYS].iloc[part].reset_index(drop=True), frame], axis=1)
            frame.insert(len(KEYS), "defense", name)
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
    """How often each defense brings the class back, and how often it keeps that of clean images.

    Args:
        frame: rows of `restore_all`.

    Returns:
        One row per defense, in the order of ``frame``: ``attacks``, ``n`` of them successful;
        ``recovered``, the share of the ``n`` with their class back; ``right``, the share of all
        ``attacks``, failed ones too, with their class in the end; ``images`` attacked, and
        ``kept``, the share of them that keep their class, clean (EVA10). An image that several
        attacks of one classifier are on counts once among the ``images``. Shares are 0..1 with 95 %
        Wilson intervals in ``_low`` and ``_high``, as wide as if an image that stands in several
        rows stood in one; NaN where there is no image.
    """
    rows = []
    for name, every in frame.groupby("defense", sort=False):
        won = every[every["success"]]
        clean = every.drop_duplicates([name for name in CLEAN if name in every])
        row = {"defense": name, "images": len(clean), "attacks": len(every), "n": len(won)}
        for share, of, column in (
            ("recovered", won, "recovered"), ("right", every, "recovered"), ("kept", clean, "kept"),
        ):  # fmt: skip
            count = of[column].sum()
            row[share] = count / len(of) if len(of) else float("nan")
            units = len(of[IMAGE].drop_duplicates())
            interval = intervals.wilson(count, len(of), units=units or None)
            row[f"{share}_low"], row[f"{share}_high"] = interval
        rows.append(row)
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame, samples: int, seed: int) -> pd.DataFrame:
    """Means and intervals of each defense, from the table of `restore_all`.

    Args:
        frame: rows of one data set, classifier and number of pixels.
        samples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        The columns of `shares`, and over the successful attacks (EVA02): ``exact``, how many were
        restored exactly; mean of each metric ``m``, its 95 % bootstrap interval ``m_low, m_high``,
        ``m_median`` and ``m_deviation`` over images (EVA03), PSNR without exact matches (EVA04);
        the same of ``error_attacked`` and ``error_elsewhere``. NaN where there is no image.
    """
    rows = []
    for name, every in frame.groupby("defense", sort=False):
        won = every[every["success"]]
        row = {"defense": name, "exact": won["exact"].sum()}
        for metric in MEASURES:
            values = won.loc[~won["exact"], metric] if metric == "psnr" else won[metric]
            row[metric], row[f"{metric}_low"], row[f"{metric}_high"] = intervals.bootstrap_mean(
                values, samples, seed
            )
            row[f"{metric}_median"], row[f"{metric}_deviation"] = values.median(), values.std()
        rows.append(row)
    return shares(frame).merge(pd.DataFrame(rows), on="defense")


def _attacked(shape: tuple[int, ...], records: pd.DataFrame) -> np.ndarray:
    """Bool (N, H, W), true at the pixels that each record changes."""
    mask = np.zeros(shape[:3], dtype=bool)
    for each, rows, cols in zip(mask, records["rows"], records["cols"], strict=True):
        for row, col in zip(rows, cols, strict=True):
            if not (0 <= row < shape[1] and 0 <= col < shape[2]):
                raise InputError(
                    f"An attack record has pixel ({row}, {col}), outside its image of "
                    f"{shape[1]} x {shape[2]}: records and images do not belong together."
                )
            each[row, col] = True
    return mask


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of each image's values (N, H, W) where the mask is true."""
    return np.where(mask, values, 0).sum(axis=(1, 2)) / mask.sum(axis=(1, 2))


def _classes(
    predict: Callable[[np.ndarray], Sequence[int] | Sequence[str] | np.ndarray],
    images: np.ndarray,
    before: np.ndarray,
) -> np.ndarray:
    """Classes from ``predict``, refused if they could never equal those in the records."""
    classes = np.asarray(predict(images))
    if len(classes) != len(images):
        raise InputError(f"predict gave {len(classes)} classes for {len(images)} images.")
    given, known = classes[:1].tolist()[0], before[:1].tolist()[0]
    text = isinstance(given, str)
    if text != isinstance(known, str):
        raise InputError(
            f"predict gave {given!r}, the attack records hold {known!r}: classes must be of one "
            "kind."
        )
    return classes.astype(object) if text else classes.astype(np.int64)


def pays_from(restored: pd.DataFrame, samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """From what share of attacked images on a defense leaves more images right than doing nothing.

    Saved and lost are counted on the same attacks: after one, the class may be right thanks to the
    defense; before it, the same image clean may lose its class to the defense.

    Args:
        restored: rows of `lib.defense.restoration.restore_all`, of one run or of several with
            ``classifier`` and ``pixels``.
        samples: bootstrap resamples of images.
        seed: of the bootstrap.

    Returns:
        By defense ``pays_from``, 0..1, where what it saves of attacked images equals what it costs
        of clean ones, and its 95 % percentile bootstrap interval over images, ``pays_from_low,
        pays_from_high``. Infinite where it saves none; NaN for doing nothing, or where the table
        does not have it.
    """
    keys = [name for name in ATTACK if name in restored]
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
