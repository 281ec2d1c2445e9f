"""What the explorer computes, without any widget: confidence, searches, maps, defenses."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lib import attack, data, params
from lib.defense import attackers
from lib.models import classifiers, denoisers
from lib.params import Parameters
from lib.params.device import pick_device
from lib.params.errors import InputError
from lib.params.files import visible

BARE = "identity"  # no defense
ATTACKERS = ["adaptive", "map", "random", "sparse_rs", "doubled", "restarts"]


def finished_runs(runs: Path) -> list[str]:
    """``protocol/dataset/classifier`` of each run below ``runs`` that has a trained classifier.

    Runs with changed values are left out.
    """
    found = (path.parent.relative_to(runs) for path in visible(runs, "*/*/*/classifier.json"))
    return sorted("/".join(path.parts) for path in found if "+" not in path.parts[0])


@dataclass
class Session:
    """One finished run: its images, its classifier and its defenses.

    Args:
        p: parameters of the run.

    Raises:
        InputError: the run has no classifier yet, or its data are missing.
    """

    p: Parameters
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        p = self.p
        # Weights do not depend on how the search is set.
        trained = {
            name: value for name, value in p.changed.items()
            if not name.startswith(("attack_", "vulnerability_"))
        }  # fmt: skip
        self.run = params.load(p.protocol, p.dataset, p.classifier, runs=p.runs, **trained)
        if not (self.run.run_folder / "classifier.json").exists():
            there = ", ".join(finished_runs(params.ROOT / p.runs)) or "none"
            raise InputError(
                f"The run {p.protocol}/{p.dataset}/{p.classifier} is not finished: run "
                f"`make run PROTOCOL={p.protocol} DATASET={p.dataset} CLASSIFIER={p.classifier}` "
                f"first. Finished runs: {there}."
            )
        self.images = data.of(p)
        self.device = pick_device(p.device)
        self.model = classifiers.load(self.run.run_folder, p.classifier).to(self.device)
        self.positions = np.flatnonzero(self.images.part == "test")

    def image(self, index: int) -> np.ndarray:
        """Test image uint8 (H, W, C)."""
        return self.images.images[self.positions[index]]

    def truth(self, index: int) -> np.ndarray:
        """Which classes are true of a test image, bool (classes,)."""
        label = self.images.labels[self.positions[index]]
        if self.images.facts.multi_label:
            return label.astype(bool)
        return np.arange(len(self.images.facts.classes)) == label

    def confidence(self, pictures: np.ndarray) -> np.ndarray:
        """Confidence of each class, (N, classes) in 0..1, of images uint8 (N, H, W, C)."""
        values = torch.from_numpy(classifiers.logits(self.model, pictures, self.device))
        multi = self.images.facts.multi_label
        return (values.sigmoid() if multi else values.softmax(1)).numpy()

    def decisions(self, pictures: np.ndarray) -> list:
        """Decision on each image: a class, or the 0/1 string of all labels."""
        return list(classifiers.predictor(self.model, self.p, self.device)(pictures))

    def painted(self, index: int, row: int, col: int, value: list[int]) -> np.ndarray:
        """A test image with one pixel changed, uint8 (H, W, C)."""
        picture = self.image(index).copy()
        picture[row, col] = value
        return picture

    def search(
        self, index: int, pixels: int, told: Callable[[list[float]], None] = lambda best: None
    ) -> dict | None:
        """Attack a test image; after each generation ``told`` gets the best objectives so far.

        Returns:
            The row of the attack table, also of a failure; None if it was stopped.

        Raises:
            InputError: the classifier is wrong on the clean image.
        """
        self.stop.clear()
        one = self.images.take(self.positions[index : index + 1])
        search = attack.attack_of(self.p, pixels, one.facts.multi_label)
        keys = attack.stream_keys(one, pixels, self.p.seed)
        for generation in search.iterate_generations(self.model, one.images, one.labels, keys):
            for best in generation.best.values():
                told(best)
            if generation.finished:
                return _attacked(generation.finished[0])
            if self.stop.is_set():
                return None
        return None

    def map(
        self, index: int, told: Callable[[float], None] = lambda share: None
    ) -> attack.Vulnerability | None:
        """Where one pixel fools the classifier; ``told`` gets the share that is done.

        Returns:
            The map; None if it was stopped.
        """
        self.stop.clear()
        position, rows = self.positions[index], []
        image, label = self.images.images[position], self.images.labels[position]
        for row in attack.vulnerability_map_of(self.p, self.images.facts).iterate(
            self.model, image, label
        ):
            if self.stop.is_set():
                return None
            rows.append(row)
            told(len(rows) / len(image))
        return attack.Vulnerability.stack(rows)

    @property
    def trained(self) -> list[str]:
        """Denoisers that the run has trained."""
        folder = self.run.dataset_folder / "denoisers"
        return [name for name in params.DENOISERS if (folder / f"{name}.safetensors").exists()]

    @property
    def through(self) -> list[str]:
        """What an attack can go through: no defense, each filter, with patches too, and masks."""
        filters = [name for name in (*params.REFERENCES, *self.trained) if name != BARE]
        each = (name + more for name in filters for more in ("", params.PATCHES))
        return [BARE, *each, params.MASKING]

    @cached_property
    def models(self) -> dict[str, torch.nn.Module]:
        """The classifier behind each defense of `through`, as one model."""
        used = {"attackers_defenses": self.through, "denoiser_names": self.trained}
        p, folder = self.run.model_copy(update=used), self.run.dataset_folder / "denoisers"
        return attackers.defended(self.model, self.images, p, folder)

    def worst(
        self, index: int, pixels: int, defense: str, told: Callable[[str], None] = lambda name: None
    ) -> dict | None:
        """Attack a test image through a defense with one attacker after the other, until one wins.

        Args:
            index: of the image.
            pixels: that are changed, 1 or 2.
            defense: one of `through`.
            told: gets the name of each attacker before it begins.

        Returns:
            The row of the attack table with ``attacker``; of the last one if none succeeds; None if
            it was stopped.

        Raises:
            InputError: the image is misclassified without an attack.
        """
        self.stop.clear()
        behind, one = self.models[defense], self.images.take(self.positions[index : index + 1])
        # With the number of pixels of the run, and no attack that changes more.
        p = self.p.model_copy(update={"attackers_names": ATTACKERS, "attackers_epsilons": []})
        row: dict = {}
        for each in attackers.attackers_of(p, pixels, behind, self.images):
            if self.stop.is_set():
                return None
            told(each.name)
            row = each.attack(behind, one.images, one.labels).table.iloc[0].to_dict()
            row["attacker"] = each.name
            if _attacked(row)["success"]:
                break
        return row

    def proved(self, index: int) -> bool:
        """Whether double masking proves that no change of one pixel alters the prediction.

        False also where the prediction is wrong.
        """
        one = self.images.take(self.positions[index : index + 1])
        masking = self.models[params.MASKING]
        return bool(masking.certify(one.images, one.labels, self.device)[0])

    @cached_property
    def defenses(self) -> dict[str, torch.nn.Module]:
        """The reference defenses and the denoisers that the run has trained, by name."""
        names, folder = [*params.REFERENCES, *self.trained], self.run.dataset_folder / "denoisers"
        return denoisers.load_all(names, folder, self.images.facts.channels, self.device)

    def defended(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """The picture after each defense, uint8 (H, W, C), by name."""
        return {
            name: denoisers.restore(network, picture[None], self.device)[0]
            for name, network in self.defenses.items()
        }


def _attacked(row: dict) -> dict:
    """A row of the attack table; raises `InputError` if its image was not attacked."""
    if row["skipped"]:
        raise InputError("This image is misclassified without an attack: choose another.")
    return row
