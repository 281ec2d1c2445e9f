"""Time and memory of the attack against the number of images.

`make bench` runs this. It writes ``benchmarks/scaling.csv``, with a row for each of `COUNTS`,
measured in a process of its own. ``python -m benchmarks.scaling COUNT`` is such a process.
"""

import argparse
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from benchmarks.attack import CLASSES, FOLDER, NoSuccess, some_images, write_csv
from lib.attack import PixelAttack
from lib.models.classifiers import Classifier
from lib.params.device import pick_device
from lib.params.errors import run_command

COUNTS = (100, 1000, 10_000)


def measure(count: int) -> None:
    """Attack so many images at 28 pixels; print the seconds and the memory before and after."""
    torch.manual_seed(0)
    model = Classifier("resnet50", CLASSES, 28).eval()
    model = model.to(pick_device("auto"), memory_format=torch.channels_last)
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
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def table(counts: tuple[int, ...]) -> pd.DataFrame:
    """Seconds and memory for numbers of images, a row each."""
    rows = []
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.scaling", str(count)]
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


def main(words: list[str]) -> None:
    """Measure one number of images, or write the table of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("count", type=int, nargs="?", help="of images; default: the whole table")
    given = parser.parse_args(words)
    if given.count:
        measure(given.count)
    else:
        write_csv(FOLDER / "scaling.csv", table(COUNTS))


if __name__ == "__main__":
    run_command(main)
