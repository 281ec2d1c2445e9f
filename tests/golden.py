"""Small attacks whose records are frozen in `FILE`; `test_golden` repeats them.

``python tests/golden.py`` froze them, before the attack was rebuilt. Images and weights come from
a hash of our own. The network of the exact cases computes with whole numbers that float32 holds,
so no sum depends on its order, on the processor or on the version of torch.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib.attack import PixelAttack, criterion_for, stream_keys
from lib.data import Images, Provenance
from lib.models.classifiers import Classifier, decide, logits

FILE = Path(__file__).with_name("golden_attack.json")
HEIGHT, WIDTH, IMAGES = 28, 20, 6
SEED, POPULATION, GENERATIONS = 3, 12, 8
DITHER, CROSSOVER, FACTOR = (0.5, 1.0), 0.7, 0.5
CLASSES = {"derma": 7, "oct": 4, "chest": 14}
CHANNELS = {"derma": 3, "oct": 1, "chest": 1}
EXACT = list(
    product(
        [("derma", "class"), ("oct", "class"), ("chest", "any_label"), ("chest", "true_label")],
        ["rand1", "best1bin"],
        [1, 2],
    )
)
NETWORKS = ["resnet50", "densenet121"]
BIAS = {"resnet50": [8.25, -5.5, 3.75, -8.25], "densenet121": [0.40, -0.34, -0.39, -0.54]}
COLUMNS = (
    "index", "label", "predicted", "adversarial", "success", "rows", "cols", "values",
    "evaluations", "generations", "p_before", "p_after",
)  # fmt: skip


def hashed(count: int, salt: int) -> np.ndarray:
    """Whole numbers in 0..2**32 - 1, int64 (count,)."""
    x = np.arange(count, dtype=np.uint64) + np.uint64(salt * 1_000_003)
    for factor in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9):
        x = x * np.uint64(factor)
        x = x ^ (x >> np.uint64(29))
    return (x >> np.uint64(32)).astype(np.int64)


def pictures(name: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Squares of 4 x 4 pixels with some noise, uint8 (IMAGES, height, width, channels)."""
    shape = (IMAGES, height // 4, width // 4, CHANNELS[name])
    squares = (hashed(int(np.prod(shape)), CLASSES[name]) % 226).reshape(shape)
    large = squares.repeat(4, 1).repeat(4, 2)
    noise = (hashed(large.size, 1 + CLASSES[name]) % 30).reshape(large.shape)
    return (large + noise).astype(np.uint8)


class WholeNumbers(nn.Module):
    """Two convolutions and a linear layer, all sums whole numbers below 2**24."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.classes = CLASSES[name]
        shapes = [(6, CHANNELS[name], 3, 3), (8, 6, 3, 3), (self.classes, 8 * 7 * 5)]
        for number, shape in enumerate(shapes):
            values = hashed(int(np.prod(shape)), 10 * self.classes + number) % 7 - 3
            weight = torch.from_numpy(values).float().view(shape)
            if name == "chest" and number == 2:  # labels that no single pixel changes
                weight += weight[:, ::35].sign().repeat_interleave(35, 1)
            self.register_buffer(f"weight{number}", weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes), multiples of 1/64."""
        x = (images * 255).round() - 128
        for weight in (self.weight0, self.weight1):
            x = torch.conv2d(x, weight, stride=2, padding=1).relu().div(16).floor()
        return nn.functional.linear(x.flatten(1), self.weight2).div(64)


def deep(architecture: str) -> Classifier:
    """A classifier of OCT images of 28 pixels whose weights are hashed numbers."""
    model = Classifier(architecture, CLASSES["oct"], 28).eval()
    bias = torch.tensor(BIAS[architecture])
    with torch.no_grad():
        for salt, (name, value) in enumerate(sorted(model.network.state_dict().items())):
            if not value.dtype.is_floating_point:
                continue
            unit = torch.from_numpy(hashed(value.numel(), 5000 + salt) / 2**32).view(value.shape)
            if value.ndim > 1:
                fan = value[0].numel()
                value.copy_((unit - 0.5) * (12 / fan) ** 0.5 * (3 if value.ndim == 2 else 1))
            else:
                value.copy_(0.5 + unit if name.endswith(("weight", "var")) else 0.2 * (unit - 0.5))
        for head in ("fc", "classifier"):
            if hasattr(model.network, head):
                getattr(model.network, head).bias.sub_(bias)
    return model


def records(
    model: nn.Module, name: str, images: np.ndarray, criterion: str, strategy: str, pixels: int,
    generations: int, population: int, device: str = "cpu",
) -> list[dict]:  # fmt: skip
    """Attack images on a device; their labels are what the model says there."""
    multi, count = name == "chest", len(images)
    labels = decide(logits(model, images, torch.device(device)), multi)
    split = np.full(count, "test", dtype="<U5")
    data = Images(
        name, images, labels, split, np.arange(count), split, np.full(count, -1),
        Provenance("none", "phantom", "0" * 32),
    )  # fmt: skip
    attack = PixelAttack(
        pixels, population, generations, strategy, mutation=FACTOR, dither=DITHER,
        crossover=CROSSOVER, initial="normal" if criterion == "true_label" else "uniform",
        criterion=criterion_for(criterion, multi), batch=16, seed=SEED,
    )  # fmt: skip
    found = attack(model.eval(), images, labels, stream_keys(data, pixels, SEED)).table
    return found.rename(columns={"image": "index"})[list(COLUMNS)].to_dict("records")


def exact_records(
    which: tuple[str, str], strategy: str, pixels: int, device: str = "cpu"
) -> list[dict]:
    """Records of the network of whole numbers."""
    name, criterion = which
    how = criterion, strategy, pixels, GENERATIONS, POPULATION, device
    return records(WholeNumbers(name), name, pictures(name), *how)


def deep_records(architecture: str, device: str = "cpu") -> list[dict]:
    """Records of a deep network."""
    images = pictures("oct", 28, 28)
    return records(deep(architecture), "oct", images, "class", "rand1", 1, 4, 8, device)


def machine() -> list[str]:
    """What the last bit of an exponential, and so of a probability, depends on."""
    return [torch.__version__, torch.backends.cpu.get_cpu_capability()]


def freeze() -> None:
    """Write the records of today's attack."""
    content = {
        "machine": machine(),
        "exact": [exact_records(*case) for case in EXACT],
        "deep": [deep_records(name) for name in NETWORKS],
    }
    FILE.write_text(json.dumps(content).replace("{", "\n{") + "\n")


if __name__ == "__main__":
    freeze()
