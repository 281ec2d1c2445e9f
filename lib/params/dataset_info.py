"""What is known of a data set before any file is read: the models of ``params/datasets``."""

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from lib.params.protocols import read

PHANTOMS_PER_CLASS = 10  # at least, so that each of the three parts has every class


class Class(BaseModel):
    """One class or label: our name, the name in the paper's tables, images in the source set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    paper: str | None = None
    count: PositiveInt
    label: int | None = None  # of a category: the one label its images have; None: no label


class Facts(BaseModel):
    """What is known of a data set before any file is read; a file in ``params/datasets``.

    ``source_parts`` are the parts of the file whose images are in the set that the paper splits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    flag: str
    modality: str
    channels: Literal[1, 3]
    task: Literal["single-label", "multi-label"]
    classes: list[Class]
    categories: list[Class] = []
    images: int | None = None
    source_parts: list[Literal["train", "val", "test"]] = ["train", "val", "test"]

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several labels, or none."""
        return self.task == "multi-label"

    @property
    def attack_classes(self) -> list[Class]:
        """What rates are grouped by: the classes, or the categories of a multi-label set."""
        return self.categories or self.classes

    @property
    def fewest_phantoms(self) -> int:
        """Smallest number of synthetic images; of a multi-label set one group has no label."""
        return PHANTOMS_PER_CLASS * (len(self.classes) + self.multi_label)

    def filename(self, size: int) -> str:
        """MedMNIST's name of the npz file for images of ``size`` pixels."""
        return f"{self.flag}{'' if size == 28 else f'_{size}'}.npz"


@cache
def facts(dataset: str) -> Facts:
    """Facts of a data set by name; raises `InputError` for an unknown one."""
    return Facts(**read("datasets", dataset))
