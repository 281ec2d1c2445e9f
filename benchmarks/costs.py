"""What the whole protocol of the paper costs: its counts, and rates that were measured.

Nothing here is run. A rate that is not on record gives NaN, which a page shows as not measured.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import engine, measured
from lib import params
from lib.attack.screening import EACH, FIRST, FIT
from lib.evidence import printed as paper
from lib.models.training import throughput
from lib.params import PRINTED_BUDGET, PRINTED_SIZE
from lib.params.files import read_json, visible

GPUS = 16
TRAINED = 0.7  # of a data set's images (SPL01)
CPU = "cpu"


def attacks() -> pd.DataFrame:
    """The paper's attacks, by its own counts, and the one that the protocol ``paper`` adds.

    Returns:
        ``classifier, pixels, dataset, images``; ``least``: evaluations if a success cost nothing;
        ``most``: if each image cost the whole budget. The paper has no one-pixel attack on
        DenseNet121: its images are those of Table 34 that are classified right, ``least`` is NaN.
    """
    rows = []
    for pixels in params.ATTACKS:
        for row in paper.totals(pixels).itertuples():
            rows.append(("resnet50", pixels, row.dataset, row.n, row.n - row.successes))
    for row in paper.rates().itertuples():
        rows.append(("densenet121", 2, row.dataset, row.n, row.n * (1 - row.densenet121)))
    for row in paper.classifier_table("densenet121").itertuples():
        rows.append(("densenet121", 1, row.dataset, row.correct, float("nan")))
    found = pd.DataFrame(rows, columns=["classifier", "pixels", "dataset", "images", "left"])
    left = found.pop("left")
    return found.assign(least=left * PRINTED_BUDGET, most=found["images"] * PRINTED_BUDGET)


def attack_rates(results: Path) -> pd.DataFrame:
    """Evaluations a second at 224 pixels: ``device, classifier, pixels, rate``.

    On two cores in float32 with every candidate computed (``benchmarks/attack.csv``); on a GPU all
    evaluations of the recorded attacks over all their seconds, in the precision of the record.
    """
    rates, _ = measured.table("attack")
    here = rates[(rates["size"] == PRINTED_SIZE) & (rates["dtype"] == "float32")]
    here = here[(here["method"] == measured.WINDOWS) & (here["device"] == CPU)]
    rows = [
        (CPU, row.model, row.pixels, row.candidates_per_second, 1.0) for row in here.itertuples()
    ]
    for path in visible(results, "*/*/*/run.json"):
        run = read_json(path)["steps"].get("pixel_attack")
        if not run or run["parameters"]["data_size"] != PRINTED_SIZE:
            continue
        for pixels, name in params.ATTACKS.items():
            if name in run["attacks"] and run["hardware"]["gpu"]:
                of = run["attacks"][name]
                rows.append((run["hardware"]["gpu"], run["parameters"]["classifier"], pixels,
                             of["evaluations"], of["seconds"]))  # fmt: skip
    return _rates(rows, ["device", "classifier", "pixels"])


def training_rates(results: Path) -> pd.DataFrame:
    """Images a second of training at 224 pixels: ``device, threads, network, rate``.

    Denoisers count that saw images or crops as the protocol ``paper`` gives them.
    """
    rows, p = [], params.load("paper")
    for path in visible(results, "*/*/*/run.json"):
        steps = read_json(path)["steps"]
        for file in visible(path.parent, "*.json"):
            about = read_json(file)
            settings = about.get("settings")
            step = steps.get("denoisers" if settings else "classifier")
            if not step or about.get("image_size") != PRINTED_SIZE:
                continue
            network = about.get("name", about.get("architecture"))
            crop = p.denoiser_crop if network in p.denoiser_large else 0
            if settings and settings["crop"] != crop:
                continue
            whole = [e for e in about["history"] if e.get("size", PRINTED_SIZE) == PRINTED_SIZE]
            seconds, speed = throughput(whole)
            if seconds:
                of = step["hardware"]
                rows.append((of["gpu"] or CPU, of["threads"], network, speed * seconds, seconds))
    return _rates(rows, ["device", "threads", "network"])


def _rates(rows: list[tuple], of: list[str]) -> pd.DataFrame:
    """What was done by all rows over all seconds, their last two values, by the ones before."""
    found = pd.DataFrame(rows, columns=[*of, "done", "seconds"])
    found = found.groupby(of, sort=False).sum().reset_index()
    return found.assign(rate=found.pop("done") / found.pop("seconds"))


def screened_share(classifier: str, pixels: int) -> float:
    """Multiply-adds of a screened search over those of an exact one, for a whole budget.

    Counted from the plans, not timed. Gradients are taken at most at the start and in generations
    1, 2, 4 and so on; each counts as two computed candidates, and old candidates are predicted
    again.
    """
    computed, predicted = engine.per_candidate(classifier, PRINTED_SIZE, pixels)
    p = params.load("paper")
    again = p.attack_generations.bit_length()
    exact = FIRST + EACH * p.attack_generations + 2 * (again + 1)
    guesses = PRINTED_BUDGET + again * (p.attack_population + FIT)
    return (exact * computed + guesses * predicted) / (PRINTED_BUDGET * computed)


def costs(results: Path) -> pd.DataFrame:
    """The protocol ``paper`` part by part.

    Returns:
        A row a part, device and data set: ``part``, ``kind`` (attack, classifier or denoiser),
        ``device``, ``dataset``; ``amount``: evaluations, or images in all epochs; ``seconds`` at
        most; ``least``: of an attack whose successes cost nothing; ``screened``: seconds at most of
        a screened search. NaN where no rate is on record.
    """
    p = params.load("paper")
    of_attack, of_training = attack_rates(results), training_rates(results)
    devices = [CPU, *(name for name in of_attack["device"].unique() if name != CPU)]
    images = paper.printed(6).set_index("dataset")["image_count"]
    rows = []

    def rate(table: pd.DataFrame, **of: object) -> float:
        for name, value in of.items():
            table = table[table[name] == value]
        return float(table["rate"].min())

    for device in devices:
        for row in attacks().itertuples():
            each = rate(of_attack, device=device, classifier=row.classifier, pixels=row.pixels)
            rows.append({
                "part": (row.classifier, row.pixels), "kind": "attack", "device": device,
                "dataset": row.dataset, "amount": row.most, "seconds": row.most / each,
                "least": row.least / each,
                "screened": row.most / each * screened_share(row.classifier, row.pixels),
            })  # fmt: skip
        networks = [(name, "classifier", p.classifier_epochs) for name in engine.CLASSIFIERS]
        networks += [(name, "denoiser", p.denoiser_epochs) for name in p.denoiser_names]
        for network, kind, epochs in networks:
            threads = {"threads": 2} if device == CPU else {}
            each = rate(of_training, device=device, network=network, **threads)
            for dataset in paper.DATASETS:
                amount = TRAINED * images[params.facts(dataset).title] * epochs
                rows.append({
                    "part": (network,), "kind": kind, "device": device, "dataset": dataset,
                    "amount": amount, "seconds": amount / each,
                })  # fmt: skip
    return pd.DataFrame(rows)


def together(found: pd.DataFrame, cards: int = 1) -> pd.DataFrame:
    """Seconds of each part of `costs` on one device when ``cards`` of it share the work.

    An attack is split into as many shards. One classifier, or the denoisers of one data set, which
    are one job, are not split.

    Returns:
        ``amount, seconds, least, screened`` of each kind and part, the denoisers together.
    """
    jobs = found.assign(part=found["part"].where(found["kind"] != "denoiser", "denoisers"))
    jobs = jobs.groupby(["kind", "part", "dataset"], sort=False)
    jobs = jobs.sum(numeric_only=True, skipna=False)
    whole = jobs.groupby(["kind", "part"], sort=False).sum(skipna=False)
    longest = jobs.groupby(["kind", "part"], sort=False)["seconds"].max()
    shared = whole.drop(columns="amount") / cards
    split = shared.index.get_level_values("kind") == "attack"
    shared["seconds"] = shared["seconds"].where(split, np.maximum(shared["seconds"], longest))
    return shared.assign(amount=whole["amount"]).reset_index()


def growth() -> pd.DataFrame:
    """What an image costs on two cores by size and pixels, float32, every candidate computed.

    Returns:
        ``classifier, size, pixels``; ``seconds`` for the paper's budget; ``growth`` over the
        smallest size measured for the classifier.
    """
    rates, _ = measured.table("attack")
    rates = rates[(rates["method"] == measured.WINDOWS) & (rates["dtype"] == "float32")]
    rates = rates[rates["device"] == CPU].sort_values(["model", "size", "pixels"])
    found = rates[["model", "size", "pixels"]].rename(columns={"model": "classifier"})
    found["seconds"] = PRINTED_BUDGET / rates["candidates_per_second"]
    first = found.groupby("classifier")["seconds"].transform("first")
    return found.assign(growth=found["seconds"] / first).reset_index(drop=True)
