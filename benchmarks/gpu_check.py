"""Whether the attack is right and fast on an NVIDIA GPU: one command, under five minutes.

`make gpu-check`, or ``python -m benchmarks.gpu_check`` where only Python and the packages of
``benchmarks/gpu_wheels.txt`` are there:

1. the frozen attacks of ``tests/golden_attack.json`` are found again;
2. the engine gives the whole network's logits in float64, and the CPU's in float32;
3. the batch with the highest rate;
4. the stages on whole maps, compiled and as CUDA graphs, beside eager;
5. candidates a second, into the rows ``cuda`` of ``benchmarks/attack.csv``; what is measured
   besides goes to ``benchmarks/gpu.json``.

Without a GPU it does the same on the CPU with small sizes, says so, and writes nothing.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmarks import attack, engine
from lib.attack.incremental import Incremental
from lib.models.inference import full_precision
from lib.params import ROOT
from lib.params.device import pick_device
from lib.params.errors import InputError, run_command
from lib.params.files import write_json
from lib.params.runs import hardware

DIFFERENCE = 1e-4  # of float32 logits on two devices, relative to the largest
EXACT = 1e-10  # of the engine in float64
BATCHES = {"cuda": (256, 512, 1024, 2048, 4096, 8192), "cpu": (16, 32)}
SIZE = {"cuda": 224, "cpu": 28}
PRECISION = {"cuda": torch.bfloat16, "cpu": torch.float32}
LIMIT = 280  # seconds, after which no further rate is measured


def golden(device: torch.device) -> Iterator[str]:
    """What differs from the frozen attacks; probabilities may end in other bits."""
    sys.path.insert(0, str(ROOT / "tests"))
    import golden as frozen

    known = json.loads(frozen.FILE.read_text(encoding="utf-8"))
    cases = [("exact", at, case) for at, case in enumerate(frozen.EXACT)]
    cases += [("deep", at, (name,)) for at, name in enumerate(frozen.NETWORKS)]
    for kind, at, case in cases:
        make = frozen.exact_records if kind == "exact" else frozen.deep_records
        for ours, theirs in zip(make(*case, device.type), known[kind][at], strict=True):
            for name, value in theirs.items():
                found = ours[name]
                near = name in ("p_before", "p_after") and abs(found - value) < DIFFERENCE
                if not (near or found == value):
                    yield f"{kind} {case}, image {theirs['index']}: {name} {found}, not {value}"


def equality(device: torch.device) -> pd.DataFrame:
    """The engine beside the whole network in float64, and the CPU's logits in float32."""
    tables = []
    for name in engine.CLASSIFIERS:
        for size in (28, 64):
            image = engine.phantom(size, 0).to(device)
            model = engine.example(name, size, 0)
            with full_precision(device):
                here = model.to(device)(image.float() / 255).cpu()
                there = model.cpu()(image.cpu().float() / 255)
            apart = ((here - there).abs().max() / there.abs().max()).item()
            table = engine.equalities([model.to(device)], image, 8, 0)
            tables.append(table.assign(size=size, from_cpu=apart))
    return pd.concat(tables, ignore_index=True)


def evaluator(name: str, device: torch.device, batch: int) -> tuple[Incremental, Callable]:
    """An engine in the precision of the search, and a call that evaluates one batch."""
    size = SIZE[device.type]
    model = engine.example(name, size, 0).to(device, memory_format=torch.channels_last)
    made = Incremental(model, 3, size, 1, batch, PRECISION[device.type])
    slots = torch.zeros(batch, dtype=torch.long, device=device)
    made.enter(slots[:1], engine.phantom(size, 0).to(device))
    genes = torch.stack([
        torch.randint(0, limit, (batch,), device=device) for limit in (size, size, 256, 256, 256)
    ], 1)  # fmt: skip
    return made, lambda: made.logits(slots, genes)


@torch.inference_mode()
def batches(name: str, device: torch.device, seconds: float) -> dict[int, float]:
    """Candidates a second by batch, as far as the memory goes."""
    return attack.by_batch(
        lambda batch: evaluator(name, device, batch)[1], BATCHES[device.type], seconds
    )


@torch.inference_mode()
def stages(name: str, device: torch.device, batch: int, seconds: float) -> dict[str, float]:
    """Candidates a second of the stages on whole maps alone: eager, compiled, as a CUDA graph."""
    made, _ = evaluator(name, device, batch)
    plan = made.plan
    edge, channels = plan.maps[plan.switch], made.chain[plan.switch].channels_in
    given = torch.rand(batch, edge, edge, channels, device=device).to(made.dtype)

    def whole(x: Tensor) -> Tensor:
        for layer in made.chain[plan.switch :]:
            x = layer.whole(x)
        return x.mean((1, 2))

    rates = {"eager": attack.rate(lambda: whole(given), batch, seconds)}
    with contextlib.suppress(Exception):  # a machine may have no compiler; then it is missing
        backend = "inductor" if device.type == "cuda" else "eager"
        compiled = torch.compile(whole, backend=backend, dynamic=False)
        rates["compiled"] = attack.rate(lambda: compiled(given), batch, seconds)
    if device.type == "cuda":
        with contextlib.suppress(torch.OutOfMemoryError):  # a graph has memory of its own
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                whole(given)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                whole(given)
            rates["graph"] = attack.rate(graph.replay, batch, seconds)
    return rates


def rates_here(started: float, seconds: float, out: Path) -> None:
    """Write rows of ``attack.csv`` on this GPU, as many as the time allows."""
    given = argparse.Namespace(seconds=seconds, images=64, generations=0, peers=False, out=out)
    rows, plain, apart = [], {}, {}
    for case in attack.CASES:
        if time.perf_counter() - started > LIMIT:
            print(f"left out for want of time: {case}")
        else:
            print(f"{case} pixel(s)", flush=True)
            rows += attack.measure(case, given, plain, apart)
    if rows:
        attack.keep(given, rows, apart, started)


def main(words: list[str]) -> None:
    """Run all checks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check")
    parser.add_argument("--seconds", type=float, default=1, help="for each rate")
    parser.add_argument("--out", type=Path, default=attack.FOLDER, help="folder of the tables")
    given = parser.parse_args(words)
    started, device = time.perf_counter(), pick_device("auto")
    if device.type == "cpu":
        print("No GPU is here: small sizes on the CPU, and no row is written.", flush=True)
    wrong = list(golden(device))
    golden_said = wrong[0] if wrong else "found again"
    print(f"frozen attacks: {golden_said}", flush=True)
    equal = equality(device)
    print(equal.to_string(index=False), flush=True)
    if equal["largest_difference"].max() > EXACT:
        wrong.append("the engine's logits in float64 are not the whole network's")
    if equal["from_cpu"].max() > DIFFERENCE:
        wrong.append("the logits are not the CPU's")
    about: dict = {
        "hardware": hardware(), "torch": torch.__version__, "size": SIZE[device.type],
        "precision": str(PRECISION[device.type]).removeprefix("torch."),
        "golden": golden_said, "equality": equal.to_dict("records"),
    }  # fmt: skip
    for name in engine.CLASSIFIERS:
        rates = batches(name, device, given.seconds)
        best = max(rates, key=rates.get)
        parts = stages(name, device, best, given.seconds)
        about[name] = {"batches": rates, "best_batch": best, "whole_maps": parts}
        print(f"{name}: {json.dumps(about[name])}", flush=True)
    if device.type == "cuda" and not wrong:
        write_json(given.out / "gpu.json", about)
        rates_here(started, given.seconds, given.out)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    if wrong:
        raise InputError("; ".join(wrong))


if __name__ == "__main__":
    run_command(main)
