"""What differential evolution finds on a trained classifier, beside the truth and beside its peers.

``python -m benchmarks.recall PROTOCOL DATASET CLASSIFIER`` reads the classifier of a finished run
and writes, beside `benchmarks.attack`'s tables,

- ``recall.csv``: for some correct test images every position with a grid of colors, and whether
  the search found a success where there is one;
- ``peers.csv``: successes of ours and of the peers with equal budgets on the same images.

Images are chosen as for the one-pixel attack, the same number of each class.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.attack import FOLDER, write_csv
from benchmarks.peers import PEERS
from lib import data, params
from lib.attack import VulnerabilityMap, attack_images, attack_of, correct, select
from lib.data import Images
from lib.metrics.intervals import rate
from lib.models import classifiers
from lib.params import Parameters
from lib.params.device import no_tf32, pick_device
from lib.params.errors import InputError, run_command

STRATEGIES = {"ours, rand1": "rand1", "ours, best1bin": "best1bin"}


def chosen(model: classifiers.Classifier, images: Images, each: int, p: Parameters) -> np.ndarray:
    """Positions of correct test images, ``each`` of a class."""
    right = correct(model, images, p)
    return select(images, right, ("test",), each, p.seed)


def recall(
    model: classifiers.Classifier, images: Images, positions: np.ndarray, levels: int,
    p: Parameters,
) -> pd.DataFrame:  # fmt: skip
    """One row an image: how many positions are vulnerable, and what the search found."""
    attack = attack_of(p, 1, images.facts.multi_label)
    found = attack_images(attack, model, images, positions)
    mapped = VulnerabilityMap(levels, attack.criterion, attack.precision, attack.batch)
    rows = []
    for place, index, record in zip(positions, found["index"], found.itertuples(), strict=True):
        tried = mapped(model, images.images[place], images.labels[place])
        rows.append(
            {
                "dataset": images.name, "split": record.split, "index": index,
                "label": record.label, "pixels_vulnerable": int(tried.success.sum()),
                "positions": tried.success.size, "colors": tried.colors,
                "share_vulnerable": round(float(tried.success.mean()), 5),
                "map_success": bool(tried.success.any()), "search_success": record.success,
                "search_row": record.rows[0], "search_col": record.cols[0],
                "evaluations": record.evaluations, "computed": record.computed,
                "source": images.provenance.source,
            }
        )  # fmt: skip
        print(
            f"  {record.split} {index}: {tried.success.sum()} of {tried.success.size} "
            f"positions, search {'fooled' if record.success else 'failed'}",
            flush=True,
        )
    return pd.DataFrame(rows)


@no_tf32()  # of the other libraries too
def peers(
    model: classifiers.Classifier, images: Images, positions: np.ndarray, p: Parameters
) -> pd.DataFrame:
    """One row a method: successes with equal budgets, judged on the stored image in float32."""
    some = images.take(positions)
    budget = p.attack_population * (p.attack_generations + 1)
    rows = []

    def add(method: str, success: np.ndarray, evaluations: np.ndarray, seconds: float) -> None:
        share, low, high = rate(int(success.sum()), len(success))
        rows.append(
            {
                "method": method, "pixels": 1, "images": len(success),
                "successes": int(success.sum()), "rate": share, "low": low, "high": high,
                "evaluations_allowed": budget, "mean_evaluations": evaluations.mean(),
                "seconds": round(seconds, 1), "dataset": images.name, "size": images.size,
                "model": model.architecture, "source": images.provenance.source,
            }
        )  # fmt: skip
        print(f"  {method}: {success.sum()} of {len(success)}, {seconds:.0f} s", flush=True)

    for method, strategy in STRATEGIES.items():
        started = time.perf_counter()
        attack = attack_of(p, 1, images.facts.multi_label, strategy=strategy)
        found = attack_images(attack, model, images, positions)
        seconds = time.perf_counter() - started
        add(method, found["success"].to_numpy(), found["evaluations"].to_numpy(), seconds)
    for peer in PEERS.values():
        result = peer.attack(
            model, some.images, some.labels, 1, p.attack_population, p.attack_generations, p.seed
        )
        add(peer.name, result.success, result.evaluations, result.seconds)
    return pd.DataFrame(rows)


def run_parser(name: str) -> argparse.ArgumentParser:
    """Command line of a benchmark of a finished run's classifier."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    for word in ("protocol", "dataset", "classifier"):
        parser.add_argument(word)
    parser.add_argument("--runs", default="runs", help="folder of the runs")
    return parser


def finished_run(
    given: argparse.Namespace, **settings: Any
) -> tuple[Parameters, Images, classifiers.Classifier]:
    """Parameters, images and classifier of the run that words of `run_parser` name."""
    p = params.load(given.protocol, given.dataset, given.classifier, runs=given.runs, **settings)
    images = data.of(p)
    model = classifiers.load(p.run_folder, p.classifier).to(pick_device(p.device))
    return p, images, model


def main(words: list[str]) -> None:
    """Run both."""
    parser = run_parser("recall")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the tables")
    parser.add_argument("--map-images", type=int, default=1, help="of each class; 0: no map")
    parser.add_argument("--peer-images", type=int, default=3, help="of each class; 0: no peers")
    parser.add_argument("--levels", type=int, default=2, help="of each channel in the map")
    parser.add_argument("--generations", type=int, default=11, help="of the peers' budget")
    given = parser.parse_args(words)
    p, images, model = finished_run(given, attack_precision="float32")
    if images.facts.multi_label and given.peer_images:
        raise InputError("The peers attack single-label classifiers: give --peer-images 0.")
    if given.map_images:
        positions = chosen(model, images, given.map_images, p)
        write_csv(given.out / "recall.csv", recall(model, images, positions, given.levels, p))
    if given.peer_images:
        positions = chosen(model, images, given.peer_images, p)
        fewer = p.model_copy(update={"attack_generations": given.generations})
        write_csv(given.out / "peers.csv", peers(model, images, positions, fewer))


if __name__ == "__main__":
    run_command(main)
