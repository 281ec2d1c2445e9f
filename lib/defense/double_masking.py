"""Double masking: a defense whose decision no changed pixel or patch can turn, where it says so.

Source: Xiang, Mahloujifar and Mittal, *PatchCleanser: Certifiably Robust Defense against
Adversarial Patches for Any Image Classifier* (USENIX Security 2022). Masks cover the image so that
any patch lies under one of them, and an image under two masks is the same whatever they hide. So
where the classifier gives one class for every pair of masks, the defended decision is that class,
whatever was changed, and whatever the attacker knows.

Different from the source: what is masked is filled in from the pixels around it, not with a
constant. The proof needs only that a fill does not look at what is masked.
"""

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lib.data import as_images, rounded
from lib.models.classifiers import as_text, classify
from lib.params.errors import InputError

GRAY = 128  # where a whole row and column are masked
CHUNK = 256  # masked images filled in at once


def grid(height: int, width: int, mask: int, patch: int = 1) -> Tensor:
    """Square masks such that every patch lies under one, bool (M, H, W).

    Args:
        height, width: of the images.
        mask: edge of a mask.
        patch: edge of the patches, at most ``mask``; 1: any one pixel.

    Raises:
        InputError: masks that do not fit.
    """
    if not 1 <= patch <= mask <= min(height, width):
        raise InputError(
            f"Masks of edge {mask} for patches of edge {patch} do not fit images of {height} x "
            f"{width}: give 1 <= patch <= mask <= the image's edge."
        )
    rows, cols = (
        sorted({min(start, size - mask) for start in range(0, size - patch + 1, mask - patch + 1)})
        for size in (height, width)
    )
    masks = torch.zeros(len(rows) * len(cols), height, width, dtype=torch.bool)
    for place, (row, col) in enumerate((row, col) for row in rows for col in cols):
        masks[place, row : row + mask, col : col + mask] = True
    return masks


def fill(image: Tensor, masks: Tensor) -> Tensor:
    """An image with each of some masks filled in, uint8 (M, C, H, W).

    A masked pixel gets the mean of the nearest unmasked ones to the left, right, top and bottom,
    weighted by the inverse of their distance. What is masked is never read.

    Args:
        image: uint8 (C, H, W).
        masks: bool (M, H, W), True where masked.
    """
    total = torch.zeros(len(masks), *image.shape)
    weights = torch.zeros(len(masks), 1, *image.shape[1:])
    for axis in (1, 2):
        for flip in (False, True):
            hidden = masks.flip(axis) if flip else masks
            picture = image.flip(axis) if flip else image
            size = masks.shape[axis]
            place = torch.arange(size).view(-1, 1) if axis == 1 else torch.arange(size)
            last = torch.where(hidden, -1, place).cummax(axis).values  # the nearest one before
            index = last.clamp(min=0).unsqueeze(1).expand(-1, len(image), -1, -1)
            value = picture.float().expand(len(masks), -1, -1, -1).gather(axis + 1, index)
            weight = ((last >= 0) / (place - last).clamp(min=1)).unsqueeze(1)
            if flip:
                value, weight = value.flip(axis + 1), weight.flip(axis + 1)
            total, weights = total + weight * value, weights + weight
    made = torch.where(weights > 0, total / weights, GRAY).add(0.5).floor().to(torch.uint8)
    return made.where(masks.unsqueeze(1), image)


class DoubleMasking(nn.Module):
    """A classifier behind double masking.

    Args:
        classifier: in evaluation mode, images in 0..1 to logits (N, K).
        mask: edge of the square masks.
        patch: edge of the patches that are defended against; 1: any one pixel.
        multi_label: whether an image has several labels; then the vector of all of them decides.
        threshold: on each sigmoid of several labels.
    """

    def __init__(
        self, classifier: nn.Module, mask: int, patch: int = 1, multi_label: bool = False,
        threshold: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classifier, self.mask, self.patch = classifier, mask, patch
        self.multi_label, self.threshold = multi_label, threshold
        self.classes = getattr(classifier, "classes", None)

    def decide(self, images: Any) -> np.ndarray:
        """Defended decisions, classes (N,) or labels (N, K).

        With one mask each all agree, or a mask that disagrees with most is right if it agrees with
        itself under every second mask, or most are right.

        Args:
            images: uint8 (N, H, W, 1 or 3) or (N, H, W).
        """
        found = []
        (array,) = as_images("Images to defend", images=images)
        masks = grid(*array.shape[1:3], self.mask, self.patch)
        for image in array:
            votes = self._votes(image, masks)
            kinds, which, counts = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
            most = int(counts.argmax())
            answer = kinds[most]
            for place in np.flatnonzero(which.ravel() != most):
                second = self._votes(image, masks | masks[place])
                if (second == votes[place]).all():
                    answer = votes[place]
                    break
            found.append(answer)
        return np.array(found)

    def certify(self, images: Any, labels: Any, first: bool = True) -> pd.DataFrame:
        """Which decisions are proved right against any one patch.

        Args:
            images: uint8 (N, H, W, 1 or 3) or (N, H, W).
            labels: classes (N,) or 0/1 labels (N, K).
            first: an image is done at the first pair of masks that is not classified right.

        Returns:
            One row an image: ``label``, ``decided`` (the defended decision), ``right``,
            ``certified`` (right for every pair of masks), ``pairs`` (there are), ``wrong`` (found
            among those evaluated).
        """
        (array,), labels = as_images("Images to certify", images=images), np.asarray(labels)
        if len(labels) != len(array):
            raise InputError(f"There are {len(labels)} labels for {len(array)} images.")
        masks, rows = grid(*array.shape[1:3], self.mask, self.patch), []
        pairs = torch.tensor(list(combinations_with_replacement(range(len(masks)), 2)))
        for image, label, decided in zip(array, labels, self.decide(array), strict=True):
            wrong = 0
            for some in pairs.split(CHUNK):
                votes = self._votes(image, masks[some[:, 0]] | masks[some[:, 1]])
                wrong += int((votes != label).reshape(len(votes), -1).any(1).sum())
                if wrong and first:
                    break
            text = as_text(np.stack([label, decided]))
            rows.append({
                "label": text[0], "decided": text[1], "right": text[0] == text[1],
                "certified": not wrong, "pairs": len(pairs), "wrong": wrong,
            })  # fmt: skip
        return pd.DataFrame(rows)

    def forward(self, images: Tensor) -> Tensor:
        """Decisions as logits of 1 and -1, float32 (N, K), of images (N, C, H, W) in 0..1."""
        array = rounded(images).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        decided = torch.from_numpy(self.decide(array)).to(images.device).long()
        if not self.multi_label:
            decided = nn.functional.one_hot(decided, self.classes)
        return decided.float() * 2 - 1

    def _votes(self, image: np.ndarray, masks: Tensor) -> np.ndarray:
        """The classifier's decision on an image (H, W, C) with each of some masks filled in."""
        picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        made = [
            classify(
                self.classifier, fill(picture, some).permute(0, 2, 3, 1).numpy(),
                self.multi_label, self.threshold,
            )
            for some in masks.split(CHUNK)
        ]  # fmt: skip
        return np.concatenate(made)
