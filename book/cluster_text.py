"""Tables of the page "On a cluster": what jobs ask for, and what the protocol ``paper`` costs."""

import math
from pathlib import Path

import pandas as pd

from benchmarks import costs
from book.markdown import table
from lib import params
from lib.evidence import printed as paper
from lib.figures.formatting import many, pixels, shown
from lib.params import PRINTED_BUDGET
from lib.params.files import read_json
from lib.params.resources import MOST, asked

UNITS = ((365.25 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
NOT = "not measured"
EXAMPLE = "pathology", "resnet50"  # the largest file


def texts(results: Path) -> dict[str, str]:
    """What stands at each ``<!-- name -->`` of the page."""
    found = costs.costs(results)
    return {
        "resources": resources(), "counts": counts(), "costs": whole(found),
        "rates": rates(results), "growth": growth(), "images": images(),
        "first": breaks_first(found), "tried": tried(costs.measured.FOLDER / "slurm.json"),
    }  # fmt: skip


def duration(seconds: float) -> str:
    """``3.1 days``; `NOT` for NaN."""
    if math.isnan(seconds):
        return NOT
    size, name = next((unit for unit in UNITS if seconds >= unit[0]), UNITS[-1])
    text = f"{seconds / size:.2g}" if seconds < 100 * size else f"{seconds / size:,.0f}"
    return f"{text} {name}" + ("" if text == "1" else "s")


def resources() -> str:
    """What each step asks for, of the protocols ``compact`` and ``paper``."""
    dataset, classifier = EXAMPLE
    loaded = [params.load(name, dataset, classifier) for name in ("compact", "paper")]
    rows = []
    for step in params.STEPS:
        each = [asked(step, p) for p in loaded]
        if "dataset" in params.step_fields(step) and step not in ("explore", "results_dataset"):
            rows.append([f"`{step}`", *(_resources(found) for found in each)])
    header = ["step", *(f"`{p.protocol}`, {shown(dataset)}, {shown(classifier)}" for p in loaded)]
    return table(header, rows)


def _resources(found: dict[str, int]) -> str:
    parts = [many(found["cores"], "core"), f"{found['mem_mb'] / 1024:.0f} GiB"]
    parts += [duration(60 * found["runtime"])] + (["a GPU"] if "gpu" in found else [])
    return ", ".join(parts)


def tried(record: Path) -> str:
    """What `benchmarks.slurm` has found."""
    if not record.exists():
        return "Not tried yet."
    found = read_json(record)
    hardware = found["hardware"]
    hit = "".join(f"- {each}\n" for each in found["hit"])
    wrong = "; ".join(found["differences"]) or "Identical."
    return (
        f"{', '.join(f'{name} {of}' for name, of in found['versions'].items())}; "
        f"{hardware['processor']}, {hardware['cores']} cores. The local run took "
        f"{duration(found['local_seconds'])}, the one on SLURM {duration(found['seconds'])}, in "
        f"{found['jobs']} jobs; the machine had other work too.\n\n{hit}\n"
        f"Records of all {found['files']} files, but for times: **{wrong}**"
    )


def counts() -> str:
    """The attacks of the paper and how many evaluations they are."""
    found = costs.attacks().groupby(["pixels", "classifier"], sort=False)
    sums = found[["images", "least", "most"]].sum(min_count=1)
    rows = [
        [f"{pixels(n)}, {shown(network)}", f"{row.images:,.0f}", _millions(row.least),
         _millions(row.most)]
        for (n, network), row in sums.iterrows()
    ]  # fmt: skip
    return table(["attack", "images", "evaluations, at least", "at most"], rows)


def _millions(value: float) -> str:
    return "–" if math.isnan(value) else f"{value / 1e6:,.0f} million"


def whole(found: pd.DataFrame) -> str:
    """Time of each part on two cores, on each GPU on record, and on 16 of them."""
    columns: dict[str, pd.DataFrame] = {}
    for device in found["device"].unique():
        own = found[found["device"] == device]
        columns["two cores" if device == costs.CPU else f"one {device}"] = costs.together(own)
        if device != costs.CPU:
            columns[f"{costs.GPUS} {device}"] = costs.together(own, costs.GPUS)
    rows = []
    for place, (kind, part) in enumerate(next(iter(columns.values()))[["kind", "part"]].to_numpy()):
        rows.append(
            [_part(kind, part), *(duration(of["seconds"][place]) for of in columns.values())]
        )
        if kind == "attack":
            times = (duration(of["screened"][place]) for of in columns.values())
            rows.append([f"{_part(kind, part)}, screened search (counted)", *times])
    return table(["at most", *columns], rows)


def _part(kind: str, part: tuple | str) -> str:
    if kind == "attack":
        return f"{pixels(part[1]).capitalize()}, {shown(part[0])}"
    return "The four denoisers" if kind == "denoiser" else f"Training of {shown(part[0])}"


def rates(results: Path) -> str:
    """What the times are computed from."""
    rows = [
        [_device(row.device), f"attack with {pixels(row.pixels)}, {shown(row.classifier)}",
         f"{row.rate:,.0f} evaluations"]
        for row in costs.attack_rates(results).itertuples()
    ] + [
        [_device(row.device, row.threads), f"training of {shown(row.network)}",
         f"{row.rate:,.1f} images"]
        for row in costs.training_rates(results).itertuples()
    ]  # fmt: skip
    return table(["machine", "work at 224 pixels", "a second"], rows)


def _device(name: str, threads: int = 2) -> str:
    return f"CPU, {many(threads, 'thread')}" if name == costs.CPU else name


def growth() -> str:
    """Time of one image by size of the image and number of pixels."""
    rows = [
        [shown(row.classifier), row.size, row.pixels, duration(row.seconds), f"{row.growth:.2g}"]
        for row in costs.growth().itertuples()
    ]
    header = ["classifier", "edge of the image", "changed pixels", "an image", "times the first"]
    return table(header, rows)


def images() -> str:
    """What was measured of the number of images."""
    found, _ = costs.measured.table("scaling")
    if len(found) < 2:
        return ""
    first, last = found.iloc[0], found.iloc[-1]
    return (
        f"At 28 pixels and with a small budget, 1,000 images took "
        f"{duration(first['seconds_per_1000'])} in a run of {first['images']:,.0f} images and "
        f"{duration(last['seconds_per_1000'])} in one of {last['images']:,.0f}."
    )


def breaks_first(found: pd.DataFrame) -> str:
    """What stands in the way of a whole run, in the order in which it does."""
    p = params.load("paper", *EXAMPLE)
    lines = []
    gpu = found[found["device"] != costs.CPU]
    gpu = gpu[gpu["device"] == gpu["device"].min()]  # of one card
    denoisers = gpu[gpu["kind"] == "denoiser"].groupby("dataset")["seconds"].sum(min_count=1)
    if len(denoisers.dropna()):
        slowest = denoisers.idxmax()
        shared = costs.together(gpu[gpu["kind"] == "attack"], costs.GPUS)["seconds"].sum()
        lines.append(
            f"**The denoisers, not the attacks.** One job trains the four denoisers of a data set. "
            f"For {shown(slowest)} that takes {duration(denoisers[slowest])} on one GPU, and more "
            f"GPUs do not shorten it; all attacks together take {duration(shared)} on "
            f"{costs.GPUS} GPUs. No job asks for more than {duration(60 * MOST)}, so it is started "
            f"{math.ceil(denoisers[slowest] / 60 / MOST)} times and goes on from its checkpoints."
        )
    counts = paper.printed(6)["image_count"]
    gigabytes = asked("pixel_attack", p)["mem_mb"] / 1024
    lines.append(
        f"**Memory.** Every job of {shown(p.dataset)}, each shard too, reads the whole file at 224 "
        f"pixels and asks for {gigabytes:.0f} GiB. {costs.GPUS} shards on one node need as many "
        "times that, and read the shared disk at the same time."
    )
    lines.append(
        f"**What is done once in each shard.** A shard first classifies all test images, "
        f"{counts.max() / 5:,.0f} at most, as the attack's own job does. That is small beside "
        f"{PRINTED_BUDGET:,} evaluations an image, unless a shard has a few images only."
    )
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1))
