"""What the page "Speed of the attack" shows of `lib.attack.incremental`: windows and work.

The work is counted on networks without weights (PyTorch's device ``meta``), so it takes no time and
is the same on every machine. What was measured is read by `benchmarks.measured`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lib import params
from lib.attack.differential_evolution import gene_limits, initial_population, paint
from lib.attack.incremental import Incremental, Layer, Plan, layers_of, stored_rows
from lib.data import phantoms
from lib.models.classifiers import Classifier
from lib.params import Parameters

CLASSES = 7  # Derma's
SIZES = (28, 64, 224)
# torchvision's modules behind the stem and behind each stage.
PARTS = {
    "resnet50": ("maxpool", "layer1", "layer2", "layer3", "layer4"),
    "densenet121": (
        "features.pool0", "features.denseblock1", "features.denseblock2", "features.denseblock3",
        "features.denseblock4",
    ),
}  # fmt: skip
CLASSIFIERS = tuple(PARTS)


def banner(p: Parameters) -> str:
    """First lines of the page as Markdown."""
    return (
        f"**protocol** `{p.protocol}` · **classifiers** both, random weights · **seed** {p.seed} · "
        "**data source** `phantom` (one image, drawn by this page)\n\n"
        "> This page computes equality, windows and work, on a synthetic image that says nothing "
        "about medicine. Measurements are read from `benchmarks/`, with their machine or data "
        "named. Speed does not depend on the weights, so rates are measured with random ones; only "
        "the number of repeated candidates can depend on them."
    )


def subject(p: Parameters) -> tuple[tuple[pd.DataFrame, str], dict[str, str], str]:
    """What the notebook "engine" is about, as `notebooks.start` takes it: the measured rates."""
    from benchmarks import measured  # it needs IPython, which a GPU machine may lack

    return measured.table("attack"), {"npz": "", "source": "phantom", "md5": ""}, banner(p)


def phantom(size: int, seed: int) -> Tensor:
    """One phantom of Derma, uint8 (1, 3, size, size)."""
    drawn = phantoms.generate("derma", size, 10 * CLASSES, seed)["test_images"][:1]
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def enlarged(image: Tensor, size: int) -> Tensor:
    """An image (1, 3, S, S) at another size by nearest neighbor."""
    return torch.nn.functional.interpolate(image, size=size, mode="nearest")


def example(architecture: str, size: int, seed: int) -> Classifier:
    """A float32 classifier with random weights.

    Its batch norms have random statistics: the initial ones change nothing, and folding them
    would show nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(architecture, CLASSES, size).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.1)
    return model


@torch.inference_mode()
def equality(
    model: Classifier, image: Tensor, pixels: int, count: int, seed: int
) -> dict[str, object]:
    """Logits of ``count`` random candidates by torchvision's network and by `Incremental`.

    The model is in float64, the image uint8 (1, 3, H, W) on its device. ``largest_change`` is that
    of a logit by a candidate, what there is to be right about. ``largest_difference`` is between
    the two, relative to the largest logit.
    """
    channels, size, device = *image.shape[1:3], image.device
    limits = gene_limits(pixels, size, size, channels, device)
    keys = torch.tensor([seed], device=device)
    candidates = initial_population(keys, count, limits, channels, "uniform")
    expected = model(paint(image, candidates).double() / 255)
    engine = Incremental(model, channels, size, pixels, count, torch.float64)
    slots = torch.zeros(count, dtype=torch.long, device=device)
    engine.enter(slots[:1], image)
    found = engine.logits(slots, candidates[0])
    change = expected - model(image.double() / 255)
    return {
        "classifier": model.architecture, "pixels": pixels, "candidates": count,
        "largest_logit": expected.abs().max().item(),
        "largest_change": change.abs().max().item(),
        "largest_difference": ((found - expected).abs().max() / expected.abs().max()).item(),
    }  # fmt: skip


def equalities(
    models: Iterable[Classifier], image: Tensor, candidates: int, seed: int
) -> pd.DataFrame:
    """`equality` of each model with one and with two changed pixels, a row each."""
    rows = [
        equality(model.double(), image, pixels, candidates, seed)
        for model in models
        for pixels in params.ATTACKS
    ]
    return pd.DataFrame(rows)


@cache
def network(architecture: str, size: int) -> Classifier:
    """A classifier without weights."""
    with torch.device("meta"):
        return Classifier(architecture, CLASSES, size).eval().requires_grad_(False)


@cache
def chain_of(architecture: str) -> list[Layer]:
    """The engine's layers, without weights."""
    return layers_of(network(architecture, SIZES[0]).network, torch.float32)


@cache
def plan_of(architecture: str, size: int, pixels: int = 1) -> Plan:
    """The plan that the attack uses for images of ``size`` pixels."""
    rows = stored_rows(size, network(architecture, size).input_size)
    return Plan(chain_of(architecture), rows, pixels)


def stages(plan: Plan) -> list[int]:
    """Stage of each layer: 0 for the stem, one more wherever the map is halved behind it."""
    found = [0, 0]
    for number in range(2, len(plan.chain)):
        halved = plan.maps[number + 1] < plan.maps[number]
        found.append(max(1, found[-1] + halved))
    return found


@dataclass(frozen=True)
class Growth:
    """How one changed pixel spreads through a network.

    Attributes:
        layers: ``map`` and ``window``, edges behind the input and behind each layer, and
            ``whole``, whether the engine computes the whole map there.
        shown: rows of ``layers`` behind the input, the stem and each stage.
        differences: how far the changed image's activations are from the clean one's there,
            the largest over channels, float (S, S) each.
        corners: row and column of each window's first corner there.
    """

    classifier: str
    layers: pd.DataFrame
    shown: list[int]
    differences: list[np.ndarray]
    corners: list[tuple[int, int]]


@torch.inference_mode()
def growth(model: Classifier, image: Tensor, row: int, col: int) -> Growth:
    """Change one pixel of an image to black or white, whichever is farther from what it was.

    The image is uint8 (1, 3, S, S), with S of `SIZES`.
    """
    plan = plan_of(model.architecture, image.shape[-1])
    changed = image.clone()
    changed[:, :, row, col] = 0 if image[:, :, row, col].float().mean() > 127 else 255
    x = model.normalize(torch.cat([image, changed]).to(model.mean.dtype) / 255)
    kept = [x]
    hooks = [
        model.network.get_submodule(name).register_forward_hook(
            lambda module, given, made: kept.append(made.clone())
        )
        for name in PARTS[model.architecture]
    ]
    try:
        model.network(x)
    finally:
        for hook in hooks:
            hook.remove()
    stage = np.array(stages(plan))
    shown = [0, *(int(np.flatnonzero(stage == number)[-1]) + 1 for number in range(5))]
    layers = pd.DataFrame({"map": plan.maps, "window": plan.sizes})
    layers["whole"] = layers.index > plan.switch
    return Growth(
        model.architecture,
        layers,
        shown,
        [(clean - other).abs().amax(0).double().numpy() for clean, other in kept],
        [(int(plan.starts[n][row]), int(plan.starts[n][col])) for n in shown],
    )


def _arithmetic(plan: Plan, number: int, whole: bool) -> int:
    """Multiply-adds of a layer for one candidate, nothing counted for values gathered."""
    if whole:
        return plan.layer_work(number, True)
    places = plan.sizes[number] ** 2, plan.sizes[number + 1] ** 2
    return plan.pixels * plan.chain[number].work(*places)


def total(plan: Plan, switch: int, last: int | None = None) -> int:
    """The same of the first ``last`` layers (None: all), on whole maps from layer ``switch`` on."""
    return sum(_arithmetic(plan, n, n >= switch) for n in range(len(plan.chain))[:last])


def per_candidate(architecture: str, size: int, pixels: int) -> tuple[float, float]:
    """Multiply-adds, in millions, of a computed candidate and of a `Tap`'s prediction."""
    plan = plan_of(architecture, size, pixels)
    predicted = total(plan, min(plan.switch, plan.tapped), plan.tapped)
    return total(plan, plan.switch) / 1e6, predicted / 1e6


@cache
def dense(architecture: str, size: int) -> int:
    """Multiply-adds of torchvision's network for one image, as PyTorch counts them."""
    model = network(architecture, size)
    with FlopCounterMode(display=False) as counter:
        model.network(torch.empty(1, 3, model.input_size, model.input_size, device="meta"))
    return counter.get_total_flops() // 2


def work() -> pd.DataFrame:
    """Multiply-adds of a candidate, in millions.

    Returns:
        classifier, size, pixels; ``network``: torchvision's; ``whole``: our folded network on
        whole maps; ``windows``: as planned; ``layers_on_windows``: how many layers, and of how
        many; ``speed_up``: network / windows; ``with_gathering``: the same when a gathered value
        counts as much as the plan holds it to cost; ``bound``: network / windows where whole maps
        begin at the layer that is best if gathering costs nothing.
    """
    rows = []
    for architecture, size, pixels in product(CLASSIFIERS, SIZES, params.ATTACKS):
        plan, network = plan_of(architecture, size, pixels), dense(architecture, size)
        windows = total(plan, plan.switch)
        least = min(total(plan, switch) for switch in range(len(plan.chain)))
        rows.append(
            {
                "classifier": architecture, "size": size, "pixels": pixels,
                "network": network / 1e6, "whole": total(plan, 0) / 1e6, "windows": windows / 1e6,
                "layers_on_windows": f"{plan.switch} of {len(plan.chain)}",
                "speed_up": network / windows, "with_gathering": network / plan.work(plan.switch),
                "bound": network / least,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def profile(architecture: str, size: int, pixels: int = 1) -> pd.DataFrame:
    """Where the work of a candidate is, in millions of multiply-adds.

    Returns:
        ``stage``; ``whole``: our network on whole maps; ``windows``: as planned; ``gathered``:
        what the plan counts for gathering values, pasting windows into whole maps included.
    """
    plan = plan_of(architecture, size, pixels)
    each = pd.DataFrame({"stage": stages(plan)})
    on_maps = [number >= plan.switch for number in each.index]
    counted = [plan.layer_work(number, whole) for number, whole in enumerate(on_maps)]
    each["whole"] = [_arithmetic(plan, number, True) for number in each.index]
    each["windows"] = [_arithmetic(plan, number, whole) for number, whole in enumerate(on_maps)]
    each["gathered"] = counted - each["windows"]
    each.loc[plan.switch, "gathered"] += plan.work(plan.switch) - sum(counted)  # pasted
    found = each.groupby("stage").sum().div(1e6).reset_index()
    return found.assign(stage=found["stage"].map(lambda n: f"stage {n}" if n else "stem"))
