"""Other programs' pixel attacks behind one interface; see `benchmarks.harness`.

Read from the sources of torchattacks 3.5.1, adversarial-robustness-toolbox (ART) 1.20.1 and
SciPy 1.17.1. All three search with best1bin and a mutation factor dithered in 0.5..1, minimize the
probability of the true class, attack one image after the other and evaluate its population in
batches. torchattacks and ART carry copies of SciPy's differential evolution, changed by
one-pixel-attack-keras, that evaluate a population at once and do without crossover (CR 1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from scipy import optimize
from scipy.stats import qmc
from torch import Tensor, nn

from benchmarks.harness import BATCH, Counted, Peer, Plan, Search
from lib.attack import differential_evolution
from lib.data import to_tensor, to_uint8
from lib.params.errors import InputError

SMALLEST = 5  # population that all three implementations need


def installed(name: str) -> ModuleType:
    """A peer's module.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise InputError(f"{package} is not installed here: make bench installs it.") from None


@contextmanager
def global_seed(seed: list[int]) -> Iterator[None]:
    """Seed numpy's global generator, the only one that torchattacks and ART draw from."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


class Torchattacks(Peer):
    """``torchattacks.OnePixel``.

    Its ``popsize`` is divided by the number of genes, rounded down and multiplied again:
    100 members of 3 genes are 99. ``steps`` are generations after the initial one. It starts
    uniformly, searches colors as fractions in 0..1, not on the 8-bit grid, and looks at its best
    member after each step. The best member is returned in float32 and stored by rounding, which
    can undo what it found.
    """

    name = "torchattacks"

    def members(self, genes: int, population: int) -> int:
        return max(SMALLEST, max(1, population // genes) * genes)

    def prepare(self, model: Counted, shape: tuple[int, ...], pixels: int, plan: Plan) -> Search:
        peer = installed("torchattacks").OnePixel(
            model, pixels=pixels, steps=plan.generations, popsize=plan.population, inf_batch=BATCH
        )

        def search(image: np.ndarray, label: int, seed: list[int]) -> np.ndarray:
            with global_seed(seed):
                return to_uint8(peer(to_tensor(image[None]), torch.tensor([label])))[0]

        return search


class Art(Peer):
    """ART's ``PixelAttack`` with ``es=1``, differential evolution (0 would be CMA-ES).

    Its population cannot be set: 400 members, or the largest multiple of the number of genes
    below. ``max_iter`` are generations after the initial one, ``th`` is the number of pixels. It
    starts from a Latin hypercube, cuts colors to whole numbers in 0..255 before painting, looks
    at its best member after each generation and once more at the end, and gives the clean image
    back where it has not succeeded. Classifiers of two classes it refuses.
    """

    name = "ART"

    def members(self, genes: int, population: int) -> int:
        return max(SMALLEST, max(1, 400 // genes) * genes)

    def prepare(self, model: Counted, shape: tuple[int, ...], pixels: int, plan: Plan) -> Search:
        height, width, channels = shape
        on_cpu = next(model.parameters()).device.type == "cpu"
        classifier = installed("art.estimators.classification").PyTorchClassifier(
            # It minimizes the output itself: with the softmax a probability, as the others do.
            nn.Sequential(model, nn.Softmax(1)),
            loss=nn.CrossEntropyLoss(),
            input_shape=(channels, height, width),
            nb_classes=model.classes,
            clip_values=(0, 255),
            preprocessing=(0.0, 255.0),
            device_type="cpu" if on_cpu else "gpu",
        )
        peer = installed("art.attacks.evasion").PixelAttack(
            classifier, th=pixels, es=1, max_iter=plan.generations
        )

        def search(image: np.ndarray, label: int, seed: list[int]) -> np.ndarray:
            clean = image.transpose(2, 0, 1)[None].astype(np.float32)
            # On a plateau it divides by the population's spread, 0, and goes on.
            with global_seed(seed), np.errstate(divide="ignore"):
                found = peer.generate(clean, np.array([label]))[0]
            return found.transpose(1, 2, 0).astype(np.uint8)

        return search


class Scipy(Peer):
    """``scipy.optimize.differential_evolution`` used as one-pixel-attack-keras uses it.

    SciPy's ``popsize`` multiplies the number of genes; a start given as an array sets the number
    of members, so the population is ours exactly (5 or more), drawn from a Latin hypercube,
    SciPy's own start. ``maxiter`` are generations after the initial one, ``polish`` is off. Colors
    in 0..256 are cut to whole numbers before painting. The best member is looked at after each
    generation. ``vectorized`` evaluates a population at once, which that program changed SciPy's
    code for; the crossover rate is SciPy's 0.7, where that program sets 1.
    """

    name = "SciPy"

    def members(self, genes: int, population: int) -> int:
        return max(SMALLEST, population)

    def prepare(self, model: Counted, shape: tuple[int, ...], pixels: int, plan: Plan) -> Search:
        device = next(model.parameters()).device
        limits = differential_evolution.gene_limits(pixels, *shape, torch.device("cpu"))
        upper = limits.numpy()

        def search(image: np.ndarray, label: int, seed: list[int]) -> np.ndarray:
            clean = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
            rng = np.random.default_rng(seed)

            def paint(genes: np.ndarray) -> Tensor:
                whole = torch.from_numpy(genes).long().minimum(limits - 1)
                return differential_evolution.paint(clean, whole.to(device)[None])

            @torch.inference_mode()
            def probabilities(genes: np.ndarray) -> np.ndarray:
                batches = paint(genes).split(BATCH)
                values = torch.cat([model(batch.float() / 255) for batch in batches])
                return values.softmax(1).cpu().numpy()

            def fooled(intermediate_result: optimize.OptimizeResult) -> bool:
                return probabilities(intermediate_result.x[None])[0].argmax() != label

            start = qmc.LatinHypercube(len(upper), rng=rng).random(plan.population) * upper
            best = optimize.differential_evolution(
                lambda genes: probabilities(genes.T)[:, label],
                [(0, limit) for limit in upper],
                init=start,
                maxiter=plan.generations,
                # A population on a plateau has no spread either, but has not converged.
                atol=-1,
                callback=fooled,
                polish=False,
                vectorized=True,
                updating="deferred",
                rng=rng,
            ).x
            return paint(best[None])[0].permute(1, 2, 0).cpu().numpy()

        return search


PEERS: dict[str, Peer] = {"torchattacks": Torchattacks(), "art": Art(), "scipy": Scipy()}
