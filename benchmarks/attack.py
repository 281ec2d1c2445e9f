"""Candidates a second: our attack, its parts and its peers, on the same model, images and budget.

`make bench` runs this. It writes ``benchmarks/attack.csv`` (one row a method) and
``benchmarks/attack.json`` (hardware, versions and settings of each device). Weights are random and
images are phantoms: a forward pass takes as long with any weights. No candidate ever succeeds, so
that every method spends the same budget.

Methods:

- ``plain dense``: torchvision's network on whole images, float32, the best of several batches.
  Its rate is the 1 of ``ratio_to_plain_dense`` for the same model and size, in all precisions.
- ``ours, whole maps``: our folded network on whole images.
- ``ours, windows``: incremental evaluation, every candidate computed.
- ``ours, search``: the attack as users run it, population 100, on eight images, so that batches
  fill up; 20 generations (3 at 224 pixels, where the rate hardly changes with them).
- ``scipy``, ``torchattacks``, ``ART``: see `benchmarks.peers`; fewer generations for the same
  reason.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.harness import throughput
from benchmarks.peers import PEERS
from lib.attack import Misclassification, PixelAttack
from lib.attack.differential_evolution import gene_limits, initial_population
from lib.attack.incremental import Incremental
from lib.data import phantoms
from lib.models.classifiers import Classifier, logits
from lib.models.inference import full_precision
from lib.params.device import native_bfloat16, no_tf32, pick_device
from lib.params.errors import InputError, run_command
from lib.params.files import atomic, read_json, write_json
from lib.params.runs import PACKAGES, hardware

FOLDER = Path(__file__).parent
CLASSES = 7
# Of the plain network; the best one counts.
BATCHES = {"cpu": (4, 8, 16, 32, 64), "cuda": (32, 64, 256, 1024)}
CASE = ["model", "size", "dtype", "device", "pixels"]


@dataclass(frozen=True)
class Case:
    """What is measured in one go."""

    model: str
    size: int
    precision: str
    pixels: int
    search: bool = True  # the whole attack too
    peers: bool = False

    def __str__(self) -> str:
        return f"{self.model} {self.size} {self.precision} {self.pixels}"

    @property
    def generations(self) -> int:
        """Of the search: few where hardly a candidate repeats and each takes long."""
        return 3 if self.size == 224 else 20


CASES = (
    Case("resnet50", 224, "float32", 1, peers=True),
    Case("resnet50", 224, "float32", 2, search=False),
    Case("resnet50", 224, "bfloat16", 1),
    Case("densenet121", 224, "float32", 1),
    Case("densenet121", 224, "float32", 2, search=False),
    Case("densenet121", 224, "bfloat16", 1, search=False),
    Case("resnet50", 64, "float32", 1),
    Case("densenet121", 64, "float32", 1),
    Case("resnet50", 28, "float32", 1),
)


class NoSuccess(Misclassification):
    """The objective of a misclassification, and no candidate that ever succeeds."""

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The log-odds of the true class, and False for all."""
        objective, success = super().__call__(logits, labels)
        return objective, torch.zeros_like(success)


def some_images(model: Classifier, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Phantoms of Derma, uint8 (N, S, S, 3), repeated as needed, and the model's decisions."""
    drawn = phantoms.generate("derma", model.image_size, 70, 0)["test_images"]
    decided = logits(model, drawn, model.mean.device).argmax(1)
    chosen = np.arange(count) % len(drawn)
    return drawn[chosen], decided[chosen]


def rate(call: Callable[[], None], count: int, seconds: float) -> float:
    """Calls of ``count`` candidates a second, after one call to warm up."""

    def finished() -> None:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    finished()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        finished()
        calls += 1
    return count * calls / (time.perf_counter() - started)


def by_batch(
    call_of: Callable[[int], Callable[[], None]], batches: tuple[int, ...], seconds: float
) -> dict[int, float]:
    """`rate` of ``call_of(batch)`` for growing batches, as far as the memory goes."""
    rates = {}
    for batch in batches:
        try:
            rates[batch] = rate(call_of(batch), batch, seconds)
        except torch.OutOfMemoryError:
            break
    return rates


@torch.inference_mode()
def plain_dense(model: Classifier, seconds: float) -> float:
    """Best rate of torchvision's network in float32."""
    device, size = model.mean.device, model.input_size

    def forward(batch: int) -> Callable[[], None]:
        x = torch.rand(batch, 3, size, size, device=device)
        return lambda: model.network(x)

    return max(by_batch(forward, BATCHES[device.type], seconds).values())


@torch.inference_mode()
def engine(model: Classifier, case: Case, switch: int | None, seconds: float) -> float:
    """Rate of our evaluator on random candidates, all of them computed."""
    device = model.mean.device
    images = torch.from_numpy(some_images(model, 2)[0]).permute(0, 3, 1, 2).to(device)
    dtype = getattr(torch, case.precision)
    batch = 1024 if device.type == "cuda" else 0
    evaluator = Incremental(model, 3, case.size, case.pixels, batch, dtype, 2, switch)
    evaluator.enter(torch.arange(2, device=device), images)
    limits = gene_limits(case.pixels, case.size, case.size, 3, device)
    count = evaluator.batch
    keys = torch.arange(1, device=device)
    candidates = initial_population(keys, count, limits, 3, "uniform")[0]
    slots = torch.arange(count, device=device) % 2
    return rate(lambda: evaluator.logits(slots, candidates), count, seconds)


def search(model: Classifier, case: Case, images: int, generations: int) -> float:
    """Candidates of differential evolution a second in our attack."""
    attack = PixelAttack(
        case.pixels, generations=generations, criterion=NoSuccess(), precision=case.precision
    )
    pictures, labels = some_images(model, images)
    started = time.perf_counter()
    found = attack(model, pictures, labels).table
    seconds = time.perf_counter() - started
    share = found["computed"].sum() / found["evaluations"].sum()
    print(f"  of {found['evaluations'].sum():,} candidates {share:.0%} were computed", flush=True)
    return found["evaluations"].sum() / seconds


def fixed(model: Classifier, case: Case, images: int, computed: float) -> float:
    """Seconds that an image takes besides its candidates: it enters, and is judged at the end.

    ``computed`` candidates a second give the time of the four that the search has to compute.
    """
    attack = PixelAttack(
        case.pixels, population=4, generations=0, criterion=NoSuccess(), precision=case.precision
    )

    def seconds(count: int) -> float:
        pictures, labels = some_images(model, count)
        started = time.perf_counter()
        attack(model, pictures, labels)
        return time.perf_counter() - started

    # The difference leaves out what a call does once, such as folding the weights.
    return (seconds(2 * images) - seconds(images)) / images - 4 / computed


@torch.inference_mode()
def peak(precision: str, seconds: float) -> float:
    """GFLOP/s of a product of large matrices, which bounds what the device can do here."""
    device = pick_device("auto")
    size = 8192 if device.type == "cuda" else 2048
    factor = torch.rand(size, size, device=device, dtype=getattr(torch, precision))
    with full_precision(device):
        return rate(lambda: factor @ factor, 1, seconds) * 2 * size**3 / 1e9


def peaks(seconds: float) -> dict[str, float]:
    """`peak` of the precisions that the device computes in."""
    names = ["float32"] + ["bfloat16"] * native_bfloat16(pick_device("auto"))
    return {name: round(peak(name, seconds), 1) for name in names}


@no_tf32()  # of the plain network and of other libraries too
def measure(case: Case, given: argparse.Namespace, plain: dict, apart: dict) -> list[dict]:
    """Rows of one case.

    ``given`` has ``seconds``, ``images``, ``generations`` and ``peers`` of the command line.
    ``plain`` keeps the plain rates of models and sizes, ``apart`` keeps `fixed` by case.
    """
    device = pick_device("auto")
    torch.manual_seed(0)
    model = Classifier(case.model, CLASSES, case.size).eval().to(device)
    found: dict[str, float] = {}
    if (case.model, case.size) not in plain:
        found["plain dense"] = plain[case.model, case.size] = plain_dense(model, given.seconds)
    model = model.to(memory_format=torch.channels_last)
    found["ours, whole maps"] = engine(model, case, 0, given.seconds)
    found["ours, windows"] = windows = engine(model, case, None, given.seconds)
    if case.search:
        generations = given.generations or case.generations
        found["ours, search"] = search(model, case, given.images, generations)
        apart[str(case)] = round(fixed(model, case, given.images, windows), 4)
    if case.peers and given.peers:
        contiguous = model.to(memory_format=torch.contiguous_format)
        images = some_images(model, 1)[0]
        for name, peer in PEERS.items():
            # ART starts with 400 candidates, so the budget is four populations for all.
            found[peer.name if name == "art" else name] = throughput(
                peer, contiguous, images, case.pixels, 100, 3, case.precision
            )
    rows = []
    for method, value in found.items():
        ratio = value / plain[case.model, case.size]
        print(f"  {method}: {value:.1f} candidates/s, {ratio:.2f} times plain", flush=True)
        # The plain network is measured in float32 on images, whatever the case.
        dtype = "float32" if method == "plain dense" else case.precision
        rows.append(
            {
                "model": case.model, "size": case.size, "dtype": dtype, "device": device.type,
                "method": method, "pixels": case.pixels,
                "candidates_per_second": round(value, 2), "ratio_to_plain_dense": round(ratio, 3),
            }
        )  # fmt: skip
    return rows


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def keep(given: argparse.Namespace, rows: list[dict], apart: dict, started: float) -> None:
    """Replace what the tables say of the measured cases; other cases and devices stay.

    What another machine or other versions measured on a device of this kind goes: one file has one
    machine for each. ``given`` is as for `measure`, with the folder ``out``; ``apart`` is `fixed`
    by case and ``started`` the beginning on the clock of `time.perf_counter`.
    """
    device, table = pick_device("auto").type, pd.DataFrame(rows)
    path, about_path = given.out / "attack.csv", given.out / "attack.json"
    known = read_json(about_path) if about_path.exists() else {}
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    here, own = {"hardware": hardware(), "versions": versions}, known.get(device, {})
    same = all(own.get(name) == value for name, value in here.items())
    if path.exists():
        before = pd.read_csv(path)
        again = pd.MultiIndex.from_frame(before[CASE]).isin(pd.MultiIndex.from_frame(table[CASE]))
        stays = ~again & (same | (before["device"] != device))
        table = pd.concat([before[stays], table], ignore_index=True)
    about = here | {
        "threads": torch.get_num_threads(), "population": 100, "images": given.images,
        "generations": {case.size: given.generations or case.generations for case in CASES},
        "peak_gflops": peaks(given.seconds),
        "fixed_seconds": (own["fixed_seconds"] if same else {}) | apart,
        "seconds": time.perf_counter() - started,
    }  # fmt: skip
    write_csv(path, table)
    write_json(about_path, known | {device: about})


def main(words: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the tables")
    parser.add_argument("--only", default="", help="cases whose text holds this, as 'resnet50 64'")
    parser.add_argument("--seconds", type=float, default=3, help="for each rate")
    parser.add_argument("--images", type=int, default=8, help="of the search")
    parser.add_argument("--generations", type=int, default=0, help="of the search")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    given = parser.parse_args(words)
    started, plain, apart, rows = time.perf_counter(), {}, {}, []
    device = pick_device("auto")
    slow = not native_bfloat16(device)  # hours of emulation, and nothing learned
    for case in CASES:
        if given.only not in str(case):
            continue
        if slow and case.precision == "bfloat16" and case.precision not in given.only:
            print(f"{case} pixel(s): left out, the device has no instructions for bfloat16")
        else:
            print(f"{case} pixel(s)", flush=True)
            rows += measure(case, given, plain, apart)
    if not rows:
        raise InputError(f"no case holds {given.only!r}: leave out --only for all of them.")
    keep(given, rows, apart, started)


if __name__ == "__main__":
    run_command(main)
