"""Adaptive attacks: the search goes through denoiser and classifier together.

The paper attacks the bare classifier and denoises afterwards; its attacker is *oblivious* of the
defense. A defense must also be tested against an attacker who knows it (Carlini et al. 2019, *On
Evaluating Adversarial Robustness*; Tramer et al. 2020, *On Adaptive Attacks to Adversarial Example
Defenses*). Differential evolution needs no gradient, so only the attacked model changes (EVA16).
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib.attack import PixelAttack, attack_images, attack_of, locate, rebuild
from lib.data import Images, rounded, unit
from lib.defense.patch_selection import blend, check_patches
from lib.defense.restoration import image_columns
from lib.metrics import clusters
from lib.metrics.intervals import columns, share
from lib.models import denoisers
from lib.models.classifiers import Classifier, logits
from lib.models.inference import batch_for, check_network, placed
from lib.models.weights import checksums
from lib.params import ATTACKS, PATCHES, REFERENCES, Parameters
from lib.params.errors import InputError, shortened
from lib.params.files import fingerprint, read_table, write_table

IMAGE = ["dataset", "split", "index", "label", "category", "part", "group"]  # of attack records
SHARES = ("clean", "oblivious", "adaptive")
# Results of the search; images that the defense alone misclassifies are not searched.
SEARCH = ("adversarial", "p_before", "p_after", "rows", "cols", "values", "evaluations",
          "computed", "generations", "seconds", "seed")  # fmt: skip
COLUMNS = (*IMAGE, "defense", *SHARES, "predicted", *SEARCH)


class StraightThrough(torch.autograd.Function):
    """A value whose gradient goes to another tensor of its shape, as if the two were equal."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        """The value."""
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Its gradient is the carrier's."""
        return None, gradient


def stored(images: Tensor, made: Tensor | None = None) -> Tensor:
    """`lib.data.rounded`, with the gradient of the values before rounding.

    A defense that gives no gradient gets that of the identity (Athalye, Carlini and Wagner 2018,
    BPDA), so that hiding the gradient does not make it look better.

    Args:
        images: what the defense was given, in 0..1.
        made: what it gave; None for the images themselves.
    """
    made = images if made is None else made
    carrier = made if made.requires_grad or not images.requires_grad else images
    value = rounded(made.detach())
    return StraightThrough.apply(value, 255 * carrier) if carrier.requires_grad else value


class Defended(nn.Module):
    """A classifier behind a defense as one model, from the stored image to the logits.

    Every attack can be made on it. The restored image is rounded to 8 bits, as
    `lib.models.denoisers.restore` leaves it, so the logits are those of the image that a user
    would store and classify. Gradients pass the rounding straight; see `stored`.

    Args:
        classifier: images in 0..1 to logits.
        defense: images in 0..1 to restored images.
        patches: size and threshold of patch selection (EVA14); None for the whole restored image.

    Raises:
        InputError: no module or function, patches are no such pair, or as `check_patches`.
    """

    def __init__(
        self, classifier: nn.Module, defense: nn.Module, patches: tuple[int, float] | None = None
    ) -> None:
        super().__init__()
        for what, network in (("classifier", classifier), ("defense", defense)):
            check_network(what, network)
        if patches is not None:
            if not isinstance(patches, tuple | list) or len(patches) != 2:
                raise InputError(
                    f"patches is {shortened(patches)}: give size and threshold, such as (3, 0.1)."
                )
            patches = check_patches(*patches)
        self.classifier, self.defense, self.patches = classifier, defense, patches

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in 0..1."""
        restored = stored(images, self.defense(images))
        if self.patches:
            restored = blend(stored(images), restored, *self.patches)
        return self.classifier(unit(restored))


def names(p: Parameters) -> list[str]:
    """Those of ``adaptive_defenses`` that the run has."""
    known = {*REFERENCES, *p.denoiser_names}
    return [name for name in p.adaptive_defenses if name.removesuffix(PATCHES) in known]


def defended(
    model: Classifier, wanted: list[str], folder: Path, channels: int, p: Parameters
) -> dict[str, Defended]:
    """The classifier behind each defense, in evaluation mode on its device.

    Args:
        model: the trained classifier.
        wanted: names of defenses; one that ends in ``+patches`` uses patch selection.
        folder: of the trained denoisers.
        channels: of the stored images.
        p: restoration_patch_* and device are used.

    Raises:
        InputError: a denoiser is missing or damaged.
    """
    made = {}
    for name in wanted:
        network = denoisers.load(name.removesuffix(PATCHES), folder, channels)
        patches = (p.restoration_patch_size, p.restoration_patch_threshold)
        made[name] = Defended(model, network, patches if name.endswith(PATCHES) else None).eval()
        placed(made[name], p.device)
    return made


def attack_defended(
    model: Classifier, data: Images, records: dict[int, pd.DataFrame], p: Parameters, folder: Path
) -> dict[int, pd.DataFrame]:
    """Attack images of a run again, through each defense and the classifier together.

    The search is in float32, whatever ``attack_precision`` says. It takes ``adaptive_images`` of
    each class from the attack on the bare classifier, without those that the defense alone
    misclassifies. An interrupted run is resumed with the next image; a finished one with the same
    settings and weights is read back.

    Args:
        model: the trained classifier of the run folder.
        data: all images.
        records: of the attack on the bare classifier, by number of pixels.
        p: adaptive_*, attack_*, restoration_patch_*, denoiser_names, seed and device are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``, which receives
            ``adaptive_<one|two>_pixel.parquet``.

    Returns:
        By number of pixels, one row per defense (and ``identity``, the bare classifier) and image:
        `COLUMNS`. ``clean``, ``oblivious`` and ``adaptive`` say whether the image is classified
        correctly through the defense: clean, after an attack that does not know the defense, and
        after one that does. An image that the defense alone misclassifies is wrong in all three.
        ``predicted`` and ``adversarial`` are the classes through the defense of the clean image and
        after the adaptive attack.

    Raises:
        InputError: as `defended` and `lib.attack.attack_images`.
    """
    wanted = names(p)
    models = defended(model, wanted, folder.parent / "denoisers", data.facts.channels, p)
    of_attack = p.key("adaptive", "attack_pixels")
    settings = [of_attack, data.provenance.md5, checksums(folder, wanted)]
    tables = {}
    for pixels, found in records.items():
        chosen = found.groupby("category", sort=False).head(p.adaptive_images or len(found))
        chosen = chosen.reset_index(drop=True)
        key = fingerprint([settings, pixels, chosen[IMAGE].to_dict("list")])
        path = folder / f"adaptive_{ATTACKS[pixels]}.parquet"
        if path.exists() and (done := read_table(path)).attrs.get("key") == key:
            tables[pixels] = done
            continue
        checkpoint = folder / f".adaptive-{pixels}-{key}"
        bare = {"clean": True, "oblivious": ~chosen["success"], "adaptive": ~chosen["success"]}
        parts = [chosen.assign(defense="identity", **bare)]
        parts += [
            through(behind, name, data, chosen, pixels, p, checkpoint / name)
            for name, behind in models.items()
        ]
        table = pd.concat([part[list(COLUMNS)] for part in parts], ignore_index=True)
        table.attrs["key"] = key
        write_table(path, table)
        shutil.rmtree(checkpoint, ignore_errors=True)
        tables[pixels] = read_table(path)
    return tables


def attack_behind(behind: nn.Module, pixels: int, data: Images, p: Parameters) -> PixelAttack:
    """The attack that parameters describe, as it can be made on a defended model on its device."""
    # A denoiser works at the image's full size, so fewer candidates fit in memory.
    batch = p.attack_batch or batch_for(data.size, data.size, placed(behind))
    # bfloat16 has fewer steps than the 8 bits that a restored image is rounded to.
    # Predictions need a bare network.
    settings = {"batch": batch, "precision": "float32", "evaluation": "exact"}
    return attack_of(p, pixels, data.facts.multi_label, **settings)


def through(
    behind: Defended, name: str, data: Images, chosen: pd.DataFrame, pixels: int, p: Parameters,
    checkpoint: Path,
) -> pd.DataFrame:  # fmt: skip
    """The rows of one defense; arguments as of `attack_defended`, and:

    Args:
        behind: classifier behind the defense, in evaluation mode, on its device.
        name: of the defense.
        chosen: rows of the attack on the bare classifier.
        checkpoint: folder for finished images.
    """
    clean = locate(data, chosen)
    attack = attack_behind(behind, pixels, data, p)
    found = attack_images(attack, behind, clean, np.arange(len(clean)), checkpoint)
    right = ~found["skipped"].to_numpy(bool)
    values = logits(behind, rebuild(clean.images, chosen), batch=1)  # alone, as all that counts
    labels = torch.from_numpy(clean.labels).long()
    fooled = attack.criterion(torch.from_numpy(values), labels)[1].numpy()
    table = chosen[IMAGE].assign(
        defense=name, clean=right, oblivious=right & ~fooled,
        adaptive=right & ~found["success"].to_numpy(bool),
        **{column: found[column].to_numpy() for column in ("predicted", *SEARCH)},
    )  # fmt: skip
    table.loc[~right, ["p_before", "p_after"]] = float("nan")
    return table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Share of images classified correctly through each defense: clean, and after either attack.

    Args:
        table: rows of `attack_defended`, of one number of pixels or more.

    Returns:
        One row per defense: ``defense, n`` (attacks); ``clean, oblivious, adaptive``, shares 0..1
            with 95 % intervals in ``_low`` and ``_high``, see `lib.metrics.intervals.share`;
            ``searched``, images that were attacked; ``images``, different ones among the ``n``.
    """
    rows = []
    table = table.assign(cluster=clusters.of(table))
    for name, of in table.groupby("defense", sort=False):
        row = {"defense": name, "n": len(of), "searched": int(of["clean"].sum())}
        row["images"] = len(of[image_columns(of)].drop_duplicates())
        for kind in SHARES:
            row |= columns(kind, share(of[kind], of["cluster"]))
        rows.append(row)
    return pd.DataFrame(rows)
