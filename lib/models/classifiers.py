"""The two networks that are attacked, as torchvision has them.

A gray image keeps one channel up to the model's door and is repeated inside (CLS08): a changed
pixel then changes one gray value, never a color that the image cannot hold.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from lib import params
from lib.data import to_tensor
from lib.params import Parameters
from lib.params.errors import InputError, unknown
from lib.params.files import atomic, read_json, write_json
from lib.params.memory import halved

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's (CLS08)
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet50": torchvision.models.resnet50,
    "densenet121": torchvision.models.densenet121,
}


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
        if architecture == "resnet50":
            self.network.fc = nn.Linear(self.network.fc.in_features, classes)
        else:
            features = self.network.classifier.in_features
            self.network.classifier = nn.Linear(features, classes)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 as the network's input (N, 3, S, S)."""
        if images.shape[-1] != self.input_size:
            images = F.interpolate(images, size=self.input_size, mode="nearest")
        return self.normalize(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 in three channels, ImageNet's mean and deviation."""
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 1 or 3, H, W) in 0..1."""
        return self.network(self.prepare(images))


def logits(
    model: nn.Module, images: np.ndarray, device: torch.device, batch: int = 256
) -> np.ndarray:
    """Float32 logits (N, classes) of stored images, uint8 (N, H, W, C).

    Batches are halved where the memory does not hold them.
    """
    model.eval()
    parts, start = [], 0
    with torch.inference_mode():
        while start < len(images):
            try:
                values = model(to_tensor(images[start : start + batch]).to(device))
            except (RuntimeError, MemoryError) as error:
                batch = halved(batch, error)
                continue
            parts.append(values.float().cpu())
            start += batch
    return torch.cat(parts).numpy() if parts else np.empty((0, model.classes), np.float32)


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


def as_text(decisions: np.ndarray) -> list[int] | list[str]:
    """Decisions as records hold them: int, or the 0/1 string of all labels."""
    if decisions.ndim == 1:
        return [int(value) for value in decisions]
    return ["".join(map(str, row)) for row in decisions]


def predictor(model: Classifier, p: Parameters, device: torch.device) -> Callable:
    """Function from stored images to their classes as records hold them."""
    multi_label = params.facts(p.dataset).multi_label

    def predict(images: np.ndarray) -> list[int] | list[str]:
        values = logits(model, images, device)
        return as_text(decide(values, multi_label, p.classifier_threshold))

    return predict


def save(model: Classifier, folder: Path, **extra: Any) -> None:
    """Write ``classifier.safetensors`` (torchvision's state dict) and ``classifier.json``."""
    state = {name: value.cpu().contiguous() for name, value in model.network.state_dict().items()}
    with atomic(folder / "classifier.safetensors") as temporary:
        save_file(state, temporary)
    content = {
        "architecture": model.architecture,
        "classes": model.classes,
        "mean": MEAN,
        "std": STD,
        "image_size": model.image_size,
        "input_size": model.input_size,
    }
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
    if expected and about["architecture"] != expected:
        raise InputError(
            f"{folder / 'classifier.json'} holds a {about['architecture']}, not a {expected}: "
            "run the classifier step again."
        )
    model = Classifier(
        about["architecture"], about["classes"], about["image_size"], about["input_size"]
    )
    path = folder / "classifier.safetensors"
    try:
        model.network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run the classifier step first.") from None
    except SafetensorError:
        raise InputError(
            f"{path} is cut short or damaged: run the classifier step again."
        ) from None
    except RuntimeError:
        raise InputError(
            f"{path} does not fit a {about['architecture']} with {about['classes']} classes: "
            "run the classifier step again."
        ) from None
    return model.eval().to(memory_format=torch.channels_last)
