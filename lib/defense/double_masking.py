"""Double masking: a defense with a proof, PatchCleanser (Xiang, Mahloujifar and Mittal 2022).

The image is classified under each mask of a set. Masks that disagree with the majority are asked
again, each together with every other mask. Whatever is changed inside one mask cannot change what
the classifier sees under it; so where every pair of masks gives the true class, no change of one
patch can change the decision, whoever makes it and whatever he knows.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack import AnyLabelChange, Misclassification, inputs
from lib.data import as_images, to_tensor
from lib.models.classifiers import RELATIVE, TIE, decide, logits
from lib.models.inference import (
    Device,
    batch_for,
    check_network,
    evaluating,
    full_precision,
    placed,
)
from lib.models.masks import check_mask, inpaint, masks_of
from lib.params.errors import check_number

INPAINT = "inpaint"


class DoubleMasking(nn.Module):
    """A classifier behind two rounds of masks (PatchCleanser, algorithm 1).

    A decision costs one evaluation of each mask, and as many again for each mask that disagrees.
    It protects one patch at any place: with ``patch=1`` one pixel, but not two that are apart.

    Args:
        classifier: images (N, C, H, W) in 0..1 to logits (N, K).
        mask: edge of a mask in pixels.
        patch: edge in pixels of the patch that is protected, at most ``mask``.
        fill: of hidden pixels, ``inpaint`` (see there) or a constant in 0..1.
        multi_label: whether an image can have several labels; votes are then whole vectors.
        threshold: a label of a multi-label classifier counts when its sigmoid exceeds it.
        batch: masked images classified at once; 0 for as many as the device holds well.

    Raises:
        InputError: a value outside its range.
    """

    def __init__(
        self, classifier: nn.Module, mask: int = 8, patch: int = 1, fill: str | float = INPAINT,
        multi_label: bool = False, threshold: float = 0.5, batch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_network("classifier", classifier)
        self.classifier, self.multi_label, self.fill = classifier, multi_label, fill
        self.mask, self.patch = check_mask(mask, patch)
        self.threshold = check_number("threshold", threshold, 0, 1, ends="()")
        self.judge = AnyLabelChange(self.threshold) if multi_label else Misclassification()
        self.batch = check_number("batch", batch, 0, math.inf, whole=True)
        if not isinstance(fill, str) or fill != INPAINT:
            self.fill = check_number("fill, if not 'inpaint',", fill, 0, 1)

    def masks(self, height: int, width: int, device: torch.device) -> Tensor:
        """The set of masks, bool (M, H, W), true where a mask hides."""
        return masks_of(height, width, self.mask, self.patch).to(device)

    def hide(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Images (N, C, H, W) with what is hidden, bool (N, H, W), filled."""
        if self.fill == INPAINT:
            return inpaint(images, hidden)
        return images.masked_fill(hidden.unsqueeze(1), self.fill)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in 0..1 whose decision is the procedure's.

        They are the mean over those masks of the first round that voted for the decision.
        """
        masks = self.masks(*images.shape[2:], images.device)
        every = torch.arange(len(images), device=images.device).repeat_interleave(len(masks))
        first = self._logits(images, masks.repeat(len(images), 1, 1), every)
        first = first.unflatten(0, (len(images), len(masks)))
        chosen = [
            values[self._agreeing(image, values, masks)].mean(0)
            for image, values in zip(images, first, strict=True)
        ]
        return torch.stack(chosen) if chosen else first[:, 0]

    def certify(self, images: Any, labels: Any, device: Device = None) -> np.ndarray:
        """Whether the decision is right and no change of any one patch can alter it, bool (N,).

        True where every single mask and every pair of them gives the true class, by a margin that
        is larger than what other batches round. Pairs are tried the least certain first.

        Args:
            images: uint8 (N, H, W, C) or (N, H, W).
            labels: classes, int (N,), or 0/1 labels (N, K) of a multi-label classifier.
            device: where it runs, and is left; None for where it is.

        Raises:
            InputError: images of another type or shape, or labels of the other task.
        """
        (array,) = as_images("Images to certify", images=images)
        labels = inputs.as_labels(labels, len(array))
        if len(array):
            known = torch.from_numpy(logits(self.classifier, array[:1], device))
            inputs.check_task(known, labels, self.judge)
        device = placed(self, device)
        masks = self.masks(*array.shape[1:3], device)
        with evaluating(self), full_precision(device):
            return np.array([
                self._certified(to_tensor(array[row : row + 1]).to(device), label, masks)
                for row, label in enumerate(labels.to(device))
            ], dtype=bool)  # fmt: skip

    def _certified(self, image: Tensor, label: Tensor, masks: Tensor) -> bool:
        """`certify` of one image (1, C, H, W) with label () or (K,)."""
        single = self._margins(image, masks, label)
        if not (single > TIE).all():
            return False
        pairs = torch.combinations(torch.arange(len(masks), device=image.device))
        pairs = pairs[single[pairs].sum(1).argsort()]
        return all(
            (self._margins(image, masks[part].any(1), label) > TIE).all()
            for part in pairs.split(self._batch(image))
        )

    def _margins(self, image: Tensor, hidden: Tensor, label: Tensor) -> Tensor:
        """How clear the true decision is under each mask (M,): above 0 where it is taken.

        Large logits, which round more, are scaled down to what `TIE` is for.
        """
        values = self._logits(image, hidden)
        margins = self.judge.margin(values, label.expand(len(values), *label.shape))
        return margins / (RELATIVE / TIE * values.abs().amax(1)).clamp(min=1)

    def _agreeing(self, image: Tensor, values: Tensor, masks: Tensor) -> Tensor:
        """Masks (M, H, W) that voted for the decision on an image (C, H, W), bool (M,).

        ``values`` are the logits of the first round (M, K).
        """
        votes = self._votes(values)
        kinds, of, counts = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
        of, winner = of.reshape(-1), counts.argmax()
        for mask in np.flatnonzero(of != winner):
            if self._unanimous(image, masks | masks[mask], kinds[of[mask]]):
                winner = of[mask]
                break
        return torch.from_numpy(of == winner).to(image.device)

    def _unanimous(self, image: Tensor, hidden: Tensor, vote: np.ndarray) -> bool:
        """Whether an image gets one vote under all masks of the second round."""
        return all(
            (self._votes(self._logits(image[None], part)) == vote).all()
            for part in hidden.split(self._batch(image[None]))
        )

    def _votes(self, values: Tensor) -> np.ndarray:
        """Decisions from logits (M, K) as rows, int (M, 1) or (M, K)."""
        found = decide(values.detach().cpu().numpy(), self.multi_label, self.threshold)
        return found.reshape(len(found), -1)

    def _batch(self, images: Tensor) -> int:
        return self.batch or batch_for(*images.shape[2:], images.device)

    def _logits(self, images: Tensor, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits (M, K) under masks, bool (M, H, W), of the images in rows (M,), or of the one."""
        if rows is None:
            rows = torch.zeros(len(hidden), dtype=torch.long, device=images.device)
        step = self._batch(images)
        parts = [
            self.classifier(self.hide(images[some], under))
            for some, under in zip(rows.split(step), hidden.split(step), strict=True)
        ]
        return torch.cat(parts).float()
