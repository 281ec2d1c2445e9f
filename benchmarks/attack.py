"""Candidates a second: our attack, its parts and its peers, on the same model, images and budget.

`make bench` runs this. It writes ``benchmarks/attack.csv`` (one row a method),
``benchmarks/scaling.csv`` (time and memory against the number of images) and
``benchmarks/attack.json`` (hardware, versions, settings). Weights are random and images are
phantoms: a forward pass takes as long with any weights. No candidate ever succeeds, so that every
method spends the same budget.

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
import re
import resource
import subprocess
import sys
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
from lib.params.files import atomic, write_json
from lib.params.runs import PACKAGES, hardware

FOLDER = Path(__file__).parent
CLASSES = 7
BATCHES = (4, 8, 16, 32, 64)  # of the plain network; the best one counts
COUNTS = (100, 1000, 10_000)  # images of the scaling run


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


@torch.inference_mode()
def plain_dense(model: Classifier, seconds: float) -> float:
    """Best rate of torchvision's network in float32."""
    device, size = model.mean.device, model.input_size
    batches = [torch.rand(batch, 3, size, size, device=device) for batch in BATCHES]
    return max(rate(lambda x=x: model.network(x), len(x), seconds) for x in batches)


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


def scaling(count: int) -> None:
    """Attack so many images at 28 pixels and print seconds and peak memory in MB."""
    device = pick_device("auto")
    torch.manual_seed(0)
    model = Classifier("resnet50", CLASSES, 28).eval().to(device, memory_format=torch.channels_last)
    attack = PixelAttack(population=4, generations=0, criterion=NoSuccess(), precision="auto")
    images, labels = some_images(model, count)
    before = peak_memory()
    started = time.perf_counter()
    attack(model, images, labels)
    seconds = time.perf_counter() - started
    print(f"{seconds:.2f} {before:.0f} {peak_memory():.0f}")


def peak_memory() -> float:
    """Most memory that this process has held, in MB.

    getrusage counts what the parent held at its start too, so it comes second.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text(encoding="utf-8"))[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scaling_table(counts: tuple[int, ...]) -> pd.DataFrame:
    """Seconds and memory for numbers of images, each in a process of its own."""
    rows = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.attack", "--scaling", str(count)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        seconds, before, peak = map(float, done.stdout.split())
        rows.append(
            {
                "images": count, "seconds": seconds, "seconds_per_1000": seconds / count * 1000,
                "memory_before_mb": before, "memory_peak_mb": peak,
            }
        )  # fmt: skip
        print(f"  {count:,} images: {seconds:.1f} s, {peak:.0f} MB at most", flush=True)
    return pd.DataFrame(rows)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def main(words: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the tables")
    parser.add_argument("--only", default="", help="cases whose text holds this, as 'resnet50 64'")
    parser.add_argument("--seconds", type=float, default=3, help="for each rate")
    parser.add_argument("--images", type=int, default=8, help="of the search")
    parser.add_argument("--generations", type=int, default=0, help="of the search")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--scaling", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.scaling:
        scaling(given.scaling)
        return
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
    write_csv(given.out / "attack.csv", pd.DataFrame(rows))
    if not given.only:
        write_csv(given.out / "scaling.csv", scaling_table(COUNTS))
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    write_json(given.out / "attack.json", {
        "hardware": hardware(), "threads": torch.get_num_threads(), "versions": versions,
        "population": 100, "images": given.images,
        "generations": {case.size: given.generations or case.generations for case in CASES},
        "peak_gflops": {device.type: peaks(given.seconds)}, "fixed_seconds": {device.type: apart},
        "seconds": time.perf_counter() - started,
    })  # fmt: skip


if __name__ == "__main__":
    run_command(main)
