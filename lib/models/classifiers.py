"""The networks that are attacked, as torchvision has them, and what they decide.

A gray image keeps one channel until it enters the model and is repeated inside (CLS08): a changed
pixel then changes one gray value, never a color that the image cannot hold.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from lib import params
from lib.data import as_images
from lib.models.inference import Device, Network, outputs
from lib.models.weights import load_weights, save_weights
from lib.params import Parameters
from lib.params.errors import InputError, unknown
from lib.params.files import read_json, write_json

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's (CLS08)
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet50": torchvision.models.resnet50,
    "densenet121": torchvision.models.densenet121,
}
TIE = 1e-3  # logits nearer to a decision's edge are computed again, one image alone


class Classifier(nn.Module):
    """A torchvision network behind a fixed preparation of the image.

    The paper (3.2.2, 4.3): ResNet50 and DenseNet121, 224 x 224. We: torchvision's models with a
    new last layer (CLS01). Images smaller than the network can take are enlarged inside, by
    nearest neighbor, so that one changed pixel stays one changed pixel of the stored image.

    Args:
        architecture: ``resnet50`` or ``densenet121``.
        classes: outputs of the last layer.
        image_size: edge of the stored images in pixels.
        input_size: edge after enlarging; ``None`` for the smallest that the network takes.

    Raises:
        InputError: unknown architecture.
    """

    def __init__(
        self, architecture: str, classes: int, image_size: int, input_size: int | None = None
    ) -> None:
        super().__init__()
        if architecture not in NETWORKS:
            raise unknown("classifier", architecture, NETWORKS)
        smallest = params.read("classifiers", architecture)["smallest_input"]
        self.architecture, self.classes, self.image_size = architecture, classes, image_size
        self.input_size = input_size or max(image_size, smallest)
        self.network = NETWORKS[architecture](weights=None)
        head = "fc" if architecture == "resnet50" else "classifier"
        features = getattr(self.network, head).in_features
        setattr(self.network, head, nn.Linear(features, classes))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 as the network's input (N, 3, S, S).

        Images of another size than ``image_size`` keep it: training may begin with reduced ones.
        """
        if images.shape[-1] == self.image_size != self.input_size:
            images = F.interpolate(images, size=self.input_size, mode="nearest")
        return self.normalize(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 in three channels, ImageNet's mean and deviation."""
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 1 or 3, H, W) in 0..1."""
        return self.network(self.prepare(images))


def logits(model: Network, images: Any, device: Device = None, batch: int = 0) -> np.ndarray:
    """Logits of stored images, float32 (N, classes); see `lib.models.inference.outputs`.

    Args:
        model: module or function from images (N, C, H, W) in 0..1 to logits (N, classes).
        images: uint8 (N, H, W, 1 or 3) or (N, H, W).
        device: where it runs, and is left; None for where it is.
        batch: images at once; 0 for as many as fit.

    Raises:
        InputError: images of another type or shape, no such device, or too little memory.
    """
    (array,) = as_images("Images to classify", images=images)
    if not len(array):  # the number of classes is known from an output only
        return logits(model, np.zeros((1, *array.shape[1:]), np.uint8), device)[:0]
    return torch.cat(list(outputs(model, array, device, batch))).numpy()


def edge(threshold: float) -> float:
    """The logit whose sigmoid is ``threshold``, as float32 holds it.

    All decisions compare float32 logits with this one number.
    """
    return float(np.float32(np.log(threshold / (1 - threshold))))


def decide(values: np.ndarray, multi_label: bool, threshold: float = 0.5) -> np.ndarray:
    """Decisions from logits: class numbers (N,), or for multi-label the labels (N, L) as 0/1.

    A label counts when its sigmoid exceeds ``threshold`` (CLS09).
    """
    if not multi_label:
        return values.argmax(1)
    return (values > edge(threshold)).astype(np.uint8)


def classify(
    model: Network,
    images: Any,
    multi_label: bool = False,
    threshold: float = 0.5,
    device: Device = None,
    values: np.ndarray | None = None,
) -> np.ndarray:
    """Decisions of a classifier for stored images, each as if the image were evaluated alone.

    Logits of a batch differ from those of one image by rounding. Where that could turn a
    decision, the image is evaluated again alone, as the attack does.

    Args:
        model: as for `logits`, with ``images`` and ``device``.
        multi_label: whether an image can have several labels.
        threshold: as for `decide`, whose result this is.
        values: logits of the images, where they are known already.
    """
    (array,) = as_images("Images to classify", images=images)
    values = logits(model, array, device) if values is None else values.copy()
    if multi_label:
        margins = np.abs(values - edge(threshold)).min(1, initial=np.inf)
    else:
        largest = np.sort(values, axis=1)[:, -2:]
        margins = largest[:, -1] - largest[:, 0] if values.shape[1] > 1 else np.full(len(array), 1)
    for row in np.flatnonzero(margins < TIE) if len(array) > 1 else ():
        values[row] = logits(model, array[row : row + 1], device)
    return decide(values, multi_label, threshold)


def as_text(decisions: np.ndarray) -> list[int] | list[str]:
    """Decisions as records hold them: int, or the 0/1 string of all labels."""
    if decisions.ndim == 1:
        return [int(value) for value in decisions]
    return ["".join(map(str, row)) for row in decisions]


def predictor(model: Network, p: Parameters, device: Device = None) -> Callable:
    """Function from stored images to their classes as records hold them."""
    multi_label = params.facts(p.dataset).multi_label
    return lambda images: as_text(
        classify(model, images, multi_label, p.classifier_threshold, device)
    )


def save(model: Classifier, folder: Path, **extra: Any) -> None:
    """Write ``classifier.safetensors`` (torchvision's state dict) and ``classifier.json``.

    The latter names the weights by their MD5, ``weights_md5``; ``extra`` is added.
    """
    checksum = save_weights(model.network, folder / "classifier.safetensors")
    fields = ("architecture", "classes", "image_size", "input_size")
    content = {name: getattr(model, name) for name in fields}
    content |= {"mean": MEAN, "std": STD, "weights_md5": checksum}
    write_json(folder / "classifier.json", content | extra)


def load(folder: Path, expected: str | None = None) -> Classifier:
    """The classifier of a run folder, in evaluation mode on the CPU.

    Args:
        folder: ``runs/<protocol>/<dataset>/<classifier>``.
        expected: architecture that it must have.

    Raises:
        InputError: missing, damaged, or of another architecture.
    """
    about = read_json(folder / "classifier.json")
    name, classes = about["architecture"], about["classes"]
    if expected and name != expected:
        raise InputError(
            f"{folder / 'classifier.json'} holds a {name}, not a {expected}: run the classifier "
            "step again."
        )
    model = Classifier(name, classes, about["image_size"], about["input_size"])
    fits = f"a {name} with {classes} classes"
    load_weights(model.network, folder / "classifier.safetensors", fits, "classifier")
    return model.eval().to(memory_format=torch.channels_last)
