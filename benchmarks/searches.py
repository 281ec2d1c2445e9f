"""Cheaper searches beside the exact one: which images each fools, and at what work.

``python -m benchmarks.searches PROTOCOL DATASET CLASSIFIER`` reads the classifier of a run and
attacks the same correct test images with each of `METHODS`, on the same random streams. Rows are
added to ``benchmarks/searches.csv`` after every few images, so a run that was stopped goes on.
``paired`` compares each method with the exact search in float32.

Multiply-adds are counted from the plan: a computed candidate, a prediction and a gradient, which
counts as two computed candidates. Seconds are those of the whole call: on the CPU of all its
threads, on a GPU by the clock. float16 is the GPU's search precision, bfloat16 the CPU's.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from benchmarks import engine
from benchmarks.attack import FOLDER, write_csv
from benchmarks.recall import chosen, finished_run, run_parser
from lib.attack import LinearMapAttack, PixelAttack, stream_keys
from lib.attack.criteria import criterion_for
from lib.attack.evaluators import CandidateEvaluator
from lib.data import Images, to_tensor
from lib.models import classifiers
from lib.models.inference import full_precision, placed
from lib.params.errors import run_command

EXACT = "exact, float32"
METHODS: dict[str, dict] = {
    EXACT: {},
    "exact, bfloat16": {"precision": "bfloat16"},
    "exact, bfloat16, not corrected": {"precision": "bfloat16"},
    "screened, float32": {"evaluation": "screened"},
    "screened, bfloat16": {"evaluation": "screened", "precision": "bfloat16"},
    "exact, float16": {"precision": "float16"},
    "screened, float16": {"evaluation": "screened", "precision": "float16"},
    "linear map, float32": {},
}
SAME = ["protocol", "dataset", "size", "model", "pixels", "generations", "device"]
PAIRED = [
    "method", "images", "fooled", "exact_fooled", "lost", "won", "p", "drop", "multiply_adds",
    "seconds",
]  # fmt: skip
CHUNK = 8  # images attacked together


def uncorrected() -> mock._patch:
    """Search in a low precision as it was before the clean logits corrected each candidate's."""
    enter = CandidateEvaluator.enter

    def without(self, *given) -> None:
        enter(self, *given)
        self.shift.zero_()

    return mock.patch.object(CandidateEvaluator, "enter", without)


def objectives(model: classifiers.Classifier, images: np.ndarray, labels: np.ndarray, criterion):
    """Objective of each stored image alone in float32."""
    device = placed(model)
    with full_precision(device):
        return [
            criterion(
                model(to_tensor(image[None]).to(device)),
                torch.from_numpy(label[None]).long().to(device),
            )[0].item()
            for image, label in zip(images, labels, strict=True)
        ]


def attacked(
    method: str, model: classifiers.Classifier, images: Images, pixels: int, generations: int,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """One row an image, by one method."""
    criterion = criterion_for("auto", images.facts.multi_label)
    settings, keys = {"criterion": criterion} | METHODS[method], {}
    if method.startswith("linear map"):
        attack: Callable = LinearMapAttack(pixels, **settings)
    else:
        attack = PixelAttack(pixels, generations=generations, seed=seed, **settings)
        keys = {"keys": stream_keys(images, pixels, seed)}
    clock = time.process_time if placed(model).type == "cpu" else time.perf_counter
    started = clock()
    with uncorrected() if "not corrected" in method else nullcontext():
        found = attack(model, images.images, images.labels, **keys)
    seconds = clock() - started
    kept = found.table[["success", "evaluations", "computed", "screened"]].copy()
    each, predicted = engine.per_candidate(model.architecture, images.size, pixels)
    kept["multiply_adds"] = (kept["computed"] * each + kept["screened"] * predicted).round()
    kept["seconds"] = round(seconds / len(kept), 2)
    kept["clean"] = np.round(objectives(model, images.images, images.labels, criterion), 4)
    kept["final"] = np.round(objectives(model, found.images, images.labels, criterion), 4)
    return kept.assign(method=method, split=images.split, index=images.index)


def paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Each method beside the exact search in float32, on the images that both attacked.

    An image that a method attacked twice counts once: its random stream gave the same result.

    Returns:
        A row a case and method: ``images``; ``fooled``, ``exact_fooled``; ``lost`` (by the exact
        search alone), ``won``; ``p`` of McNemar's exact test; ``drop``: how far the median final
        objective goes down, as a share of the exact search's; how many times fewer
        ``multiply_adds`` and ``seconds``.
    """
    found = []
    once = rows.drop_duplicates([*SAME, "method", "split", "index"])
    for case, group in once.groupby(SAME, sort=False):
        exact = group[group["method"] == EXACT].set_index(["split", "index"])
        for method, other in group[group["method"] != EXACT].groupby("method", sort=False):
            other = other.set_index(["split", "index"])
            both = other.merge(exact, left_index=True, right_index=True, suffixes=("", "_exact"))
            lost = int((both["success_exact"] & ~both["success"]).sum())
            won = int((both["success"] & ~both["success_exact"]).sum())
            clean = both["clean"].median()
            total = both.sum(numeric_only=True)
            found.append(
                dict(zip(SAME, case, strict=True))
                | {
                    "method": method, "images": len(both), "fooled": int(both["success"].sum()),
                    "exact_fooled": int(both["success_exact"].sum()), "lost": lost, "won": won,
                    "p": binomtest(lost, lost + won).pvalue if lost + won else 1.0,
                    "drop": (clean - both["final"].median())
                    / (clean - both["final_exact"].median()),
                    "multiply_adds": total["multiply_adds_exact"] / total["multiply_adds"],
                    "seconds": total["seconds_exact"] / total["seconds"],
                }
            )  # fmt: skip
    return pd.DataFrame(found, columns=[*SAME, *PAIRED])


def main(words: list[str]) -> None:
    """Attack what is missing."""
    parser = run_parser("searches")
    parser.add_argument("--data-root", help="folder of the npz files")
    parser.add_argument("--out", type=Path, default=FOLDER / "searches.csv")
    parser.add_argument("--pixels", type=int, default=1)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--methods", help="separated by semicolons; default: all of the device")
    given = parser.parse_args(words)
    p, images, model = finished_run(given, data_root=given.data_root)
    device = placed(model)
    other = ", float16" if device.type == "cpu" else "bfloat16"
    methods = given.methods.split(";") if given.methods else [m for m in METHODS if other not in m]
    places = np.sort(chosen(model, images, given.images, p))
    mixed = np.random.default_rng(p.seed).permutation(places)[: given.images]
    case = {
        "protocol": p.protocol, "dataset": p.dataset, "size": p.data_size, "model": p.classifier,
        "pixels": given.pixels, "generations": given.generations, "device": device.type,
    }  # fmt: skip
    for start in range(0, len(mixed), CHUNK):
        some = images.take(mixed[start : start + CHUNK])
        for method in methods:
            before, left = pd.DataFrame(), some
            if given.out.exists():
                before = pd.read_csv(given.out)
                same = before["method"].eq(method) & before[SAME].eq(pd.Series(case)).all(axis=1)
                done = before.loc[same, "index"]
                left = some.take(np.flatnonzero(~np.isin(some.index, done)))
            if not len(left):
                continue
            rows = attacked(method, model, left, given.pixels, given.generations, p.seed)
            rows = rows.assign(**case, source=some.provenance.source)
            write_csv(given.out, pd.concat([before, rows], ignore_index=True))
    print(paired(pd.read_csv(given.out)).to_string())


if __name__ == "__main__":
    run_command(main)
