"""The networks that are attacked, as torchvision has them, and what they decide.

A gray image keeps one channel until it enters the model and is repeated inside (CLS08): a changed
pixel then changes one gray value, never a color that the image cannot hold.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import params
from lib.data import as_images
from lib.models.inference import Device, Network, outputs
from lib.models.weights import fill, load_weights, plain_names, read_weights, save_weights
from lib.params import Parameters
from lib.params.errors import InputError, check_name, check_number, check_numbers
from lib.params.files import read_json, write_json

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's (CLS08)


def _torchvisions(architecture: str, **options: Any) -> nn.Module:
    import torchvision  # takes longer than torch itself; work on tables alone does without it

    return torchvision.models.get_model(architecture, **options)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    name: partial(_torchvisions, name) for name in ("resnet50", "densenet121")
}
# Arguments of a network that JSON files hold.
FIELDS = ("architecture", "classes", "image_size", "input_size", "mean", "std")
# Decisions with a smaller margin may be turned by the rounding of a batch.
TIE = 1e-3  # for logits up to ten
RELATIVE = TIE / 10  # of the largest logit, above


class Classifier(nn.Module):
    """A torchvision network behind a fixed preparation of the image.

    The paper (3.2.2, 4.3): ResNet50 and DenseNet121, 224 x 224. We: torchvision's models with a
    new last layer (CLS01). Images smaller than the network can take are enlarged inside, by
    nearest neighbor, so that one changed pixel stays one changed pixel of the stored image.

    Args:
        architecture: ``resnet50`` or ``densenet121``.
        classes: outputs of the last layer.
        image_size: edge of the stored images in pixels.
        input_size: edge after enlarging; ``None`` for the smallest that the network takes, which is
            also the least.
        mean, std: of the three channels of images in 0..1, which normalize them.

    Raises:
        InputError: unknown architecture, or a value that no image has.
    """

    def __init__(
        self, architecture: str, classes: int, image_size: int, input_size: int | None = None,
        mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD,
    ) -> None:  # fmt: skip
        super().__init__()
        check_name("classifier", architecture, NETWORKS)
        self.architecture = architecture
        self.classes = check_number("classes", classes, 1, math.inf, whole=True)
        self.image_size = check_number("image_size", image_size, 1, math.inf, whole=True)
        least = max(self.image_size, params.read("classifiers", architecture)["smallest_input"])
        size = least if input_size is None else input_size
        self.input_size = check_number("input_size", size, least, math.inf, whole=True)
        mean = check_numbers("mean", mean, -math.inf, math.inf, ends="()", count=3)
        std = check_numbers("std", std, 0, math.inf, ends="()", count=3)
        self.network = NETWORKS[architecture](weights=None)
        head = "fc" if architecture == "resnet50" else "classifier"
        features = getattr(self.network, head).in_features
        setattr(self.network, head, nn.Linear(features, self.classes))
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 as the network's input (N, 3, S, S).

        Images of another size than ``image_size`` keep it: training may begin with reduced ones.
        """
        if images.shape[-1] == self.image_size != self.input_size:
            images = F.interpolate(images, size=self.input_size, mode="nearest")
        return self.normalize(images)

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in 0..1 in three channels, minus mean, over deviation."""
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 1 or 3, H, W) in 0..1."""
        return self.network(self.prepare(images))


def logits(model: Network, images: Any, device: Device = None, batch: int = 0) -> np.ndarray:
    """Logits of stored images, float32 (N, classes).

    Arguments are those of `lib.models.inference.outputs`, but gray images may be (N, H, W).

    Raises:
        InputError: images of another type or shape, logits that are not finite or not (N, K), or
            as `lib.models.inference.outputs`.
    """
    (array,) = as_images("Images to classify", images=images)
    # The number of classes is known from an output only.
    given = array if len(array) else np.zeros((1, *array.shape[1:]), np.uint8)
    return finite(torch.cat(list(outputs(model, given, device, batch)))[: len(array)].numpy())


def finite(values: np.ndarray) -> np.ndarray:
    """Logits (N, K) as given: one that is NaN would count as the largest, or as no label.

    Raises:
        InputError: another shape, or one is not finite.
    """
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(
            f"The classifier gives {values.shape[1:]} for an image: it needs logits (N, K)."
        )
    if not np.isfinite(values).all():
        raise InputError(
            "The classifier gives logits that are not finite: train it again with a lower learning "
            "rate."
        )
    return values


def threshold_logit(threshold: float) -> float:
    """The logit whose sigmoid is ``threshold``, between 0 and 1, as float32 holds it.

    All decisions compare float32 logits with this one number.
    """
    check_number("threshold", threshold, 0, 1, ends="()")
    return float(np.float32(np.log(threshold / (1 - threshold))))


def decide(values: np.ndarray, multi_label: bool, threshold: float = 0.5) -> np.ndarray:
    """Decisions from logits: class numbers (N,), or for multi-label the labels (N, L) as 0/1.

    A label counts when its sigmoid exceeds ``threshold`` (CLS09). Errors are those of `finite` and,
    for multi-label, of `threshold_logit`.
    """
    values = finite(values)
    if not multi_label:
        return values.argmax(1)
    return (values > threshold_logit(threshold)).astype(np.uint8)


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
        model, images, device: as for `logits`.
        multi_label, threshold: as for `decide`, whose result this is.
        values: logits of the images, where they are known already.

    Raises:
        InputError: as `logits` and `decide`.
    """
    (array,) = as_images("Images to classify", images=images)
    values = logits(model, array, device) if values is None else finite(np.array(values))
    if len(values) != len(array):
        raise InputError(f"There are {len(values)} rows of logits for {len(array)} images.")
    if multi_label:
        margins = np.abs(values - threshold_logit(threshold)).min(1, initial=np.inf)
    else:
        largest = np.sort(values, axis=1)[:, -2:]
        margins = largest[:, -1] - largest[:, 0] if values.shape[1] > 1 else np.full(len(array), 1)
    ties = np.maximum(TIE, RELATIVE * np.abs(values).max(1, initial=0))
    for row in np.flatnonzero(margins < ties) if len(array) > 1 else ():
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
    (folder / "classifier.json").unlink(missing_ok=True)  # written last, it vouches for the weights
    checksum = save_weights(model.network, folder / "classifier.safetensors")
    content = {name: getattr(model, name) for name in FIELDS}
    # Through the text of float32, so that 0.485 is written as 0.485.
    for name in ("mean", "std"):
        content[name] = [float(str(value)) for value in content[name].flatten().numpy()]
    write_json(folder / "classifier.json", content | {"weights_md5": checksum} | extra)


def load(folder: Path, expected: str | None = None) -> Classifier:
    """The classifier of a run folder, in evaluation mode on the CPU.

    Raises:
        InputError: missing, damaged, or of another architecture than ``expected``.
    """
    path = folder / "classifier.json"
    content = read_json(path)
    model = _described(path, content)
    if expected and model.architecture != expected:
        raise InputError(
            f"{path} is of a {model.architecture}, not a {expected}: run the classifier step in a "
            "folder of its own."
        )
    fits = f"a {model.architecture} with {model.classes} classes"
    weights = folder / "classifier.safetensors"
    load_weights(model.network, weights, fits, "classifier", content.get("weights_md5"))
    return model.eval().to(memory_format=torch.channels_last)


def _described(path: Path, content: dict[str, Any]) -> Classifier:
    """The network, with fresh weights, of which the content of a JSON file gives the `FIELDS`."""
    try:
        return Classifier(**{name: content[name] for name in FIELDS})
    except KeyError as error:
        raise InputError(f"{path} does not say {error}.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def bring(path: Path, architecture: str, classes: int, image_size: int) -> Classifier:
    """A classifier with weights of the user's, in evaluation mode on the CPU.

    The file, which is only read, holds torchvision's state dict of the network with its last layer
    replaced. A JSON file of the same name beside it, if there is one, may say the arguments of
    `Classifier`, such as another mean and standard deviation, or the ``input_size`` that images are
    enlarged to. Without it these are ImageNet's, and the smallest size that the network takes.

    Raises:
        InputError: either file is missing, damaged or of another network, number of classes or
            size of images.
    """
    wanted = {"architecture": architecture, "classes": classes, "image_size": image_size}
    beside = path.with_suffix(".json")
    said = read_json(beside) if beside.is_file() else {}
    for name, value in wanted.items():
        if said.get(name, value) != value:
            raise InputError(f"{beside}: {name} is {said[name]!r}, not {value!r}.")
    usual = {"input_size": None, "mean": MEAN, "std": STD}
    model = _described(beside, usual | wanted | said)
    fits = f"torchvision's {architecture} with {classes} classes"
    fill(model.network, plain_names(read_weights(path)), path, fits)
    return model.eval().to(memory_format=torch.channels_last)
