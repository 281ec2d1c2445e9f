"""AutoAttack (Croce and Hein 2020) in the L-infinity ball, by its authors' package.

It is for one label an image; for several see `lib.attack.pgd`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyautoattack
import torch
from torch import nn

from lib.attack import Found, Misclassification, inputs
from lib.data import counter_rng, like, to_tensor, to_uint8
from lib.models.classifiers import logits
from lib.models.inference import full_precision, placed
from lib.params.errors import InputError, check_field, check_name, shortened

APGD = ("apgd-ce",)
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
# Losses that compare the third or the fourth largest logit.
NEEDS_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}
FEW_CLASSES = ("apgd-ce", "fab-t", "square")
KNOWN = {*STANDARD, "apgd-dlr", "fab"}
TARGETS = 9  # at most, AutoAttack's own number


@dataclass(frozen=True)
class AutoAttack:
    """Called as `lib.attack.PixelAttack` is. Success is that of the stored image, alone.

    Args:
        epsilon: largest change of a stored value, whole, 1 to 255.
        attacks: those of the package that are run one after the other until one succeeds; empty
            for its standard four. Targeted ones try every other class, at most `TARGETS`.
        seed: of each image together with its content.

    Raises:
        InputError: a value outside its range.
    """

    epsilon: int = 8
    attacks: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_field(self, "epsilon", 1, 255, whole=True)
        if not isinstance(self.attacks, tuple | list):
            raise InputError(f"attacks is {shortened(self.attacks)}: give names in a list.")
        for name in self.attacks:
            check_name("attack", name, KNOWN)
        check_field(self, "seed", -(1 << 63), (1 << 63) - 1, whole=True)

    def __call__(self, model: nn.Module, images: Any, labels: Any) -> Found:
        """Attack images one after the other.

        Returns:
            As `lib.attack.PixelAttack`, with ``image, label, skipped, reason, success, predicted,
            adversarial, evaluations`` in its table; ``evaluations`` counts images that passed the
            model.

        Raises:
            InputError: images, labels or model are not as they must be.
        """
        array, targets, device = inputs.ready(model, images, labels, Misclassification())
        values = logits(model, array, batch=1)
        before, classes = values.argmax(1), values.shape[1]
        labels, made, counts = targets.numpy(), array.copy(), np.zeros(len(array), int)
        right = before == labels
        keys = counter_rng.content_keys(self.seed, "autoattack", array)
        for place, key in enumerate(keys.tolist()):
            if right[place]:
                one = array[place : place + 1]
                # Whatever mode the caller is in: a gradient is needed, and float32 that is exact.
                with full_precision(device), torch.inference_mode(False), torch.enable_grad():
                    made[place], counts[place] = self._one(model, one, labels[place], classes, key)
        after = logits(model, made, batch=1).argmax(1)
        success = right & (after != labels)
        table = pd.DataFrame({
            "image": np.arange(len(array)), "label": labels, "skipped": ~right,
            "reason": np.where(right, "", "misclassified"), "success": success,
            "predicted": before, "adversarial": after, "evaluations": counts,
        })  # fmt: skip
        return Found(success, like(images, made), images, table)

    def _one(
        self, model: nn.Module, image: np.ndarray, label: int, classes: int, key: int
    ) -> tuple[np.ndarray, int]:
        """The attacked image (H, W, C), and how many images passed the model."""
        batch = to_tensor(image).to(placed(model))
        for name in self.attacks:
            if classes < NEEDS_CLASSES.get(name, 0):
                raise InputError(f"{name} needs {NEEDS_CLASSES[name]} classes, not {classes}.")
        attack = pyautoattack.AutoAttack(
            model, norm="Linf", eps=self.epsilon / 255, version="custom", device=batch.device,
            attacks=list(self.attacks or (STANDARD if classes > 3 else FEW_CLASSES)),
            seed=key % 2**31,
        )  # fmt: skip
        attack.apgd.n_restarts = attack.fab.n_restarts = attack.apgd_targeted.n_restarts = 1
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(
            TARGETS, classes - 1
        )
        passed = [1]  # the image, to learn the number of classes
        with (
            torch.random.fork_rng(),
            model.register_forward_pre_hook(lambda _, given: passed.append(len(given[0]))),
        ):
            found, _ = attack.run_standard_evaluation(
                batch, torch.tensor([label], device=batch.device)
            )
        return to_uint8(found)[0], sum(passed)
