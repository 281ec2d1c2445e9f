"""Images from npz files in MedMNIST's form, checked, with their provenance.

MedMNIST's form (Yang et al. 2023, doi:10.1038/s41597-022-01721-8) is ``<flag>_<size>.npz``
(28 pixels: ``<flag>.npz``) with ``{train,val,test}_images``, uint8 (N, H, W) or (N, H, W, 3), and
``{train,val,test}_labels``, integers (N, 1), or 0/1 (N, L) for multi-label sets. Files made by this
project may also hold ``{train,val,test}_groups`` (patient numbers, -1 unknown), ``source`` and
``note``.
"""

import re
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from medmnist.dataset import MedMNIST2D
from medmnist.info import INFO

from lib.data import npz
from lib.data.download import fetch
from lib.data.npz import PARTS
from lib.data.splits import paper_parts
from lib.params import ROOT, Parameters, facts, names
from lib.params.dataset_info import Facts
from lib.params.errors import InputError, check_name
from lib.params.files import md5

SIZES = tuple(MedMNIST2D.available_sizes)
SCHEMES = ("official", "paper", "by_image")


# AbdomenCT of Medical MNIST (DAT10) as one more MedMNIST data set; it has no official file.
INFO["abdomenctmnist"] = {
    "label": {"0": "abdomen CT"},
    "n_samples": {"train": 7000, "val": 1000, "test": 2000},
    "license": "CC BY-SA 4.0",
}


@dataclass(frozen=True)
class Provenance:
    """Where the images came from.

    Attributes:
        npz: file name, without folder.
        source: ``official`` (MD5 as published by MedMNIST), ``rebuilt`` or ``phantom``.
        md5: of the file.
        note: how the file was made, one sentence; empty if the file does not say.
    """

    npz: str
    source: Literal["official", "rebuilt", "phantom"]
    md5: str
    note: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields as a dictionary, for ``run.json``."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one data set with labels, split and patients; row i of all arrays is one image.

    Attributes:
        name: of the data set, such as ``derma``.
        images: uint8 (N, H, W, C), C = 1 or 3.
        labels: int64 (N,), or uint8 0/1 (N, L) for a multi-label set.
        split: str (N,), the npz split that holds the image: ``train``, ``val`` or ``test``.
        index: int64 (N,), row in that npz split.
        part: str (N,), how the image is used: as `split`, or drawn anew (scheme ``paper``).
        group: int64 (N,), patient; -1 where unknown.
        provenance: the file the images are from.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    index: np.ndarray
    part: np.ndarray
    group: np.ndarray
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.images)

    @property
    def facts(self) -> Facts:
        """What is known of the data set."""
        return facts(self.name)

    @property
    def size(self) -> int:
        """Edge of an image in pixels."""
        return self.images.shape[1]

    @property
    def category(self) -> np.ndarray:
        """int64 (N,): place in ``facts.attack_classes``, -1 for none of them.

        The label of a single-label set. For Chest the images without a label (normal) and those
        whose only label is the category's (DAT06).
        """
        if not self.facts.multi_label:
            return self.labels
        result = np.full(len(self), -1)
        count = self.labels.sum(axis=1, dtype=np.int64)
        for place, category in enumerate(self.facts.attack_classes):
            if category.label is None:
                result[count == 0] = place
            else:
                result[(count == 1) & (self.labels[:, category.label] == 1)] = place
        return result

    def take(self, rows: Any) -> "Images":
        """The images of a boolean mask (N,), of integer rows in that order, or of a slice."""
        if not isinstance(rows, slice):  # nor are all images a copy: a large set need not fit twice
            rows = np.arange(len(self))[rows]
            if np.array_equal(rows, np.arange(len(self))):
                return self
        arrays = ("images", "labels", "split", "index", "part", "group")
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})

    def in_part(self, name: str) -> "Images":
        """The images used for ``train``, ``val`` or ``test``.

        Raises:
            InputError: another name.
        """
        check_name("part", name, PARTS)
        return self.take(self.part == name)


def load(
    dataset: str,
    root: Path | str,
    size: int,
    scheme: str = "official",
    seed: int = 0,
    download: bool = False,
) -> Images:
    """Read a data set, a file in ``params/datasets``, with images of ``size`` pixels.

    Args:
        root: folder of the npz files; a relative one is taken from the project's folder, so that
            a notebook finds it wherever it is started.
        scheme: ``official`` uses the splits of the file; ``paper`` joins those that hold images
            of the set that the paper splits (`Facts.source_parts`) and draws 70/10/20 anew, see
            `paper_parts`; ``by_image`` does so without regard to patients.
        seed: of the draw.
        download: fetch a missing official file through the medmnist package.

    Raises:
        InputError: unknown data set, size or scheme; file missing, damaged or not of MedMNIST's
            form; download failed.
    """
    check_name("data set", dataset, names("datasets"))
    known = facts(dataset)
    if size not in SIZES:
        raise InputError(f"Image size {size!r} is not one of {', '.join(map(str, SIZES))} pixels.")
    check_name("split scheme", scheme, SCHEMES)
    path = ROOT / root / known.filename(size)
    if not path.exists():
        if not download or "url" not in INFO[known.flag]:
            raise InputError(_missing(path, dataset, size))
        fetch(known.flag, path, size)
    held = npz.arrays(path, (*npz.ARRAYS, *npz.GROUPS, "source", "note"), npz.ARRAYS)
    used = PARTS if scheme == "official" else known.source_parts
    images, labels, split = npz.joined(path, known, size, held, used)
    group = npz.groups(path, held, used)
    index = np.concatenate([np.arange((split == part).sum()) for part in used])
    together = np.full_like(group, -1) if scheme == "by_image" else group
    digest = md5(path)
    if digest == official_md5(dataset, size):
        source = "official"
    else:
        if scheme == "official":  # the draw of the other keeps equal images together
            npz.check_apart(path, images, split, index)
        source = "phantom" if _text(path, held, "source") == "phantom" else "rebuilt"
    return Images(
        name=dataset,
        images=images if images.ndim == 4 else images[..., None],
        labels=labels if known.multi_label else labels[:, 0].astype(np.int64),
        split=split,
        index=index,
        part=split if scheme == "official" else paper_parts(images, labels, together, seed),
        group=group,
        provenance=Provenance(path.name, source, digest, _text(path, held, "note")),
    )


def of(p: Parameters) -> Images:
    """The images that the parameters of a run name; raises as `load`."""
    return load(p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download)


def official_md5(dataset: str, size: int) -> str | None:
    """MD5 of MedMNIST's own file; None where there is none."""
    return INFO[facts(dataset).flag].get("MD5" if size == 28 else f"MD5_{size}")


def _text(path: Path, held: dict[str, np.ndarray], name: str) -> str:
    """A text that the file may hold; '' if it does not."""
    value = held.get(name, np.array(""))
    if value.shape or value.dtype.kind != "U":
        raise InputError(f"{path}: {name} must be one text, not {value.dtype} {value.shape}.")
    text = str(value)
    if re.search(r"[<>\x00-\x1f]|\]\(", text):  # it is shown on pages
        raise InputError(f"{path}: {name} must be plain text in one line, not {text[:80]!r}.")
    return text


def _missing(path: Path, dataset: str, size: int) -> str:
    fetch = "set data_download=true to download MedMNIST's file, "
    if dataset == "abdomen_ct":
        fetch = "there is no official file to download, "
    return (
        f"{path} is missing: {fetch}run `python -m lib.data.rebuild --source FOLDER --root "
        f"{shlex.quote(str(path.parent))} --size {size} {dataset}` to make it from other "
        "copies, or set data_phantom_images above 0 to use phantoms."
    )
