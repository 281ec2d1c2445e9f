"""Runs of the protocol ``sample`` side by side on one GPU where no notebook can run.

    python -m benchmarks.gpu_list all --minutes 25 --jobs 6 oct chest derma

runs each step as a process of its own, as many at once as asked for, the most wanted first, and
starts none after the time is up. ``gpu_wheels.txt`` has the packages. Steps run the cells of the
notebooks; what is finished is read back, so the command can be given again. ``make record
PROTOCOL=sample`` then keeps the tables. On an NVIDIA H200 half an hour was enough for OCT, for
Derma and for a part of Chest.
"""

import argparse
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from benchmarks import searches
from lib import data, params
from lib.evidence import ablation
from lib.models.denoiser_training import train, training_images
from lib.params import Parameters
from lib.params.device import settled
from lib.params.files import atomic, read_json

NETWORKS = ("resnet50", "densenet121")
# Steps that can take smaller batches.
SHARING = ("attack", "searched", "restored", "attackers")
LOGS = params.ROOT / "runs" / "logs"
# Code of a notebook's cells, without the lines of options.
CELLS = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n)*(.*?)^```$", re.M | re.S)
TOLD = {"test", "attacks", "psnr", "summaries", "summary"}  # of a step's record


def parameters(dataset: str, classifier: str = "resnet50") -> Parameters:
    """The protocol's values, with what words of the environment variable GIVEN change.

    Words of GIVEN_<CLASSIFIER> change that classifier's, in the same run folder.
    """
    given = params.from_words(os.environ.get("GIVEN", "").split())
    own = params.from_words(os.environ.get(f"GIVEN_{classifier.upper()}", "").split())
    protocol = given.pop("protocol", "sample")
    p = settled(params.load(protocol, dataset, classifier, **given))
    typed = settled(params.load(protocol, dataset, classifier, **given | own))
    update = {name: getattr(typed, name) for name in own}
    half = p.device != "cpu" and torch.cuda.is_available()
    if half and "attack_precision" not in given | own:
        update["attack_precision"] = "float16"
    return p.model_copy(update=update)


def notebook(step: str, dataset: str, network: str = "resnet50") -> None:
    """The cells of a notebook, one after another; what they display goes nowhere.

    The machine may have no IPython, so in this process there is a mock of it.
    """
    p = parameters(dataset, network)
    text = (params.ROOT / "notebooks" / f"{step}.md").read_text(encoding="utf-8")
    script = LOGS / f"{step}-{dataset}-{network}.py"
    with atomic(script) as temporary:
        temporary.write_text("\n".join(CELLS.findall(text)), encoding="utf-8")
    silent = mock.MagicMock(get_ipython=lambda: None, version_info=(9, 0))  # Matplotlib asks
    sys.modules.update({"IPython": silent, "IPython.display": silent.display})
    with mock.patch.object(params, "from_notebook", lambda _: p):
        found = runpy.run_path(str(script))
    of = {name: found["record"][name] for name in TOLD & found["record"].keys()}
    print(dataset, network, of, flush=True)


def searched(dataset: str, network: str, pixels: str, images: str) -> None:
    """The searches of `benchmarks.searches` on the same images, into a table beside the run."""
    p = parameters(dataset, network)
    out = p.run_folder / f"searches_{pixels}.csv"
    words = [p.protocol, dataset, network, "--pixels", pixels, "--images", images]
    words += ["--runs", str(p.runs), "--data-root", str(p.data_root), "--out", str(out)]
    searches.main([*words, "--generations", str(p.attack_generations)])


def denoiser(dataset: str, name: str) -> None:
    """One denoiser, which the notebook then reads back."""
    p = parameters(dataset)
    images = data.of(p)
    some, folder = training_images(images, p.denoiser_all_images), p.dataset_folder / "denoisers"
    train(name, some.images, images.in_part("val").images, p, folder)
    about = read_json(folder / f"{name}.json")
    measures = [about[of] for of in ("validation_psnr", "identity_psnr", "wall_seconds")]
    print(dataset, name, *measures, flush=True)


def ablated(variant: str, seed: str) -> None:
    """One variant and seed of the ablation, which the notebook then reads back."""
    p = parameters("abdomen_ct")
    images = data.load(p.dataset, p.data_root, p.ablation_size, "official", p.seed)
    ablation.run(images, p, p.dataset_folder / "ablation", [variant], [int(seed)])


STEPS: dict[str, Callable[..., None]] = {
    "classifier": partial(notebook, "classifier"), "attack": partial(notebook, "pixel_attack"),
    "denoiser": denoiser, "trained": partial(notebook, "denoisers"),
    "restored": partial(notebook, "restoration"), "attackers": partial(notebook, "attackers"),
    "ablated": ablated, "collected": partial(notebook, "ablation"), "searched": searched,
}  # fmt: skip


def plan(datasets: list[str]) -> list[tuple[list[str], list[str], list[str]]]:
    """Jobs, the most wanted first: words, files that it waits for, jobs that it waits for."""
    found, last = [], []
    for dataset in [name for name in datasets if name != "abdomen_ct"]:
        p = parameters(dataset)
        file = f"{p.data_root}/{params.facts(dataset).filename(p.data_size)}"
        found += [(["classifier", dataset, n], [file], []) for n in NETWORKS]
        found += [(["attack", dataset, n], [], [f"classifier-{dataset}-{n}"]) for n in NETWORKS]
        found += [(["denoiser", dataset, n], [file], []) for n in reversed(p.denoiser_names)]
        each = [f"denoiser-{dataset}-{n}" for n in p.denoiser_names]
        found.append((["trained", dataset], [], each))
        found += [
            ([step, dataset, n], [], [f"attack-{dataset}-{n}", f"trained-{dataset}"])
            for n in NETWORKS
            for step in ("restored", "attackers")
        ]
        last += [
            (["searched", dataset, n, pixels, "30"], [], [f"classifier-{dataset}-{n}"])
            for n in NETWORKS
            for pixels in ("1", "2")
        ]
    if "abdomen_ct" in datasets:
        p = parameters("abdomen_ct")
        file = f"{p.data_root}/{params.facts('abdomen_ct').filename(p.ablation_size)}"
        each = [
            ["ablated", name, str(seed)]
            for seed in range(p.seed, p.seed + p.ablation_seeds)
            for name in ablation.variants(1)
        ]
        found += [(words, [file], []) for words in each]
        found.append((["collected", "abdomen_ct"], [], ["-".join(words) for words in each]))
    return found + last


def schedule(datasets: list[str], minutes: float, jobs: int, without: list[str]) -> None:
    """Start jobs as their needs are there, until the time is up; wait for those that run."""
    end = time.monotonic() + 60 * minutes
    LOGS.mkdir(parents=True, exist_ok=True)
    every = plan(datasets)
    waiting = [entry for entry in every if entry[0][0] not in without]
    running, failed = {}, set()
    done = {"-".join(words) for words, _, _ in every if words[0] in without}
    while (waiting and time.monotonic() < end) or running:
        for name, (process, began) in list(running.items()):
            if process.poll() is not None:
                took = time.monotonic() - began
                print(f"{name}: {process.returncode} after {took:.0f} s", flush=True)
                del running[name]
                (failed if process.returncode else done).add(name)
        for entry in list(waiting):
            words, files, needs = entry
            if failed.intersection(needs):  # it can never start
                failed.add("-".join(words))
                waiting.remove(entry)
                continue
            ready = all(Path(f).exists() for f in files) and done.issuperset(needs)
            if ready and len(running) < jobs and time.monotonic() < end:
                name = "-".join(words)
                with (LOGS / f"{name}.log").open("w") as log:
                    process = subprocess.Popen(
                        [sys.executable, "-m", "benchmarks.gpu_list", *words],
                        stdout=log, stderr=subprocess.STDOUT,
                        env=os.environ | {"OMP_NUM_THREADS": "2"},
                    )  # fmt: skip
                running[name] = process, time.monotonic()
                waiting.remove(entry)
        time.sleep(0.5)
    left = ["-".join(words) for words, _, _ in waiting]
    print(f"left: {left}, failed or without what they need: {sorted(failed)}", flush=True)


def main() -> None:
    if sys.argv[1] != "all":
        if torch.cuda.is_available() and sys.argv[1] in SHARING:
            torch.cuda.set_per_process_memory_fraction(float(os.environ.get("GPU_SHARE", 1)))
        STEPS[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("all")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--without", action="append", default=[], choices=STEPS)
    parser.add_argument("datasets", nargs="+")
    given = parser.parse_args()
    schedule(given.datasets, given.minutes, given.jobs, given.without)


if __name__ == "__main__":
    main()
