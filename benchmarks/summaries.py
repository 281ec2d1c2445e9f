"""Cheaper searches and the check on a GPU: what was measured, in tables and sentences."""

import pandas as pd

from benchmarks import engine, measured
from benchmarks.searches import EXACT, SAME, paired
from lib.figures import formatting
from lib.params import PRINTED_BUDGET
from lib.params.files import read_json

BFLOAT16 = "exact, bfloat16"
UNCORRECTED = f"{BFLOAT16}, not corrected"
NEEDED = {224: 30}  # images by size; 100 for all others
CPU_TIME = {(224, 1): 4, (224, 2): 3}  # times less by size and pixels; 2 for all others
TITLES = {
    "exact_fooled": "fooled by the exact search", "drop": "share of the exact drop",
    "multiply_adds": "times fewer multiply-adds", "seconds": "times less CPU time",
}  # fmt: skip


def searches(rows: pd.DataFrame) -> pd.DataFrame:
    """`benchmarks.searches.paired`, large images first, with ``seconds`` on the CPU alone.

    On a GPU they are wall-clock seconds beside other processes, so no ratio is made of them.
    """
    by, up = ["size", "device", "dataset", "model", "pixels"], [False, True, True, True, True]
    found = paired(rows).sort_values(by, ascending=up, kind="stable", ignore_index=True)
    found["seconds"] = found["seconds"].where(found["device"] == "cpu")
    return found


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """The table `searches` with the case in one column and names for readers."""
    cases = pd.Series([_case(row) for row in found.itertuples()], found.index, dtype=object)
    table = found.drop(columns=SAME).rename(columns=TITLES)
    table.insert(0, "attack", cases)
    return table


def _case(row) -> str:
    of = (f"{row.generations} generations", row.device, f"protocol {row.protocol}")
    parts = (row.model, row.pixels, *of)
    return f"{formatting.shown(row.dataset)}, {row.size} px, {formatting.place(*parts)}"


def conditions(row) -> dict[str, tuple[bool | None, str]]:
    """What a cheaper search must keep to be accepted; ``row`` is of `searches`, as a named tuple.

    By name: True if it holds, False if not, None where it was not measured; and the value with its
    limit.
    """
    successes = f"of {row.exact_fooled} that the exact search fooled"
    net = row.lost - row.won
    if row.method.startswith("linear map"):
        lost = (row.lost <= 0.02 * row.exact_fooled, f"{row.lost} {successes}, at most 2 %")
        work = (row.multiply_adds >= 2, f"{_times(row.multiply_adds)} fewer, at least 2")
        return {"lost images": lost, "multiply-adds": work}
    found = {
        "McNemar's p": (row.p > 0.05, f"{row.p:.3f}, above 0.05"),
        "median drop": (
            row.drop >= 0.95, f"{formatting.percent(row.drop)} of the exact one, at least 95 %"
        ),
    }  # fmt: skip
    if row.method.startswith("exact"):
        found["net misses"] = (net <= 0.02 * row.exact_fooled, f"{net} {successes}, at most 2 %")
        return found
    found["net misses"] = (
        net <= 0.03 * row.images, f"{net} of {formatting.many(row.images, 'image')}, at most 3 %"
    )  # fmt: skip
    least = CPU_TIME.get((row.size, row.pixels), 2)
    time = None if pd.isna(row.seconds) else row.seconds >= least
    name = "CPU time" if row.device == "cpu" else "GPU time"
    found[name] = (time, f"{_times(row.seconds)} less, at least {least}")
    return found


def _times(ratio: float) -> str:
    return f"{formatting.figures(ratio)} times"


def verdict(row) -> str:
    """``accepted``, ``not accepted`` or ``not decided``: too few images, or not all measured."""
    held = [holds for holds, _ in conditions(row).values()]
    if row.images < NEEDED.get(row.size, 100):
        return "not decided"
    if False in held:
        return "not accepted"
    return "not decided" if None in held else "accepted"


def accepted(found: pd.DataFrame) -> str:
    """Whether each cheaper search of `searches` is accepted, and why: a list by case."""
    lines, words = [], []
    for _, group in found[found["method"] != UNCORRECTED].groupby(SAME, sort=False):
        for at, row in enumerate(group.itertuples()):
            if not at:
                lines.append(f"\n{_case(row)}:\n")
            words.append(verdict(row))
            lines.append(f"- *{row.method}*: **{words[-1]}**. {_reasons(row)}")
    counted = [
        f"{words.count(word)} {word}" for word in ("accepted", "not accepted", "not decided")
    ]
    return "\n".join([f"Comparisons: {', '.join(counted)}.", *lines])


def _reasons(row) -> str:
    """Which conditions hold, fail or were not measured."""
    found, needed = conditions(row), NEEDED.get(row.size, 100)
    few = f"Only {row.images} of the {needed} images needed. " if row.images < needed else ""
    fails = [f"{name} ({value})" for name, (holds, value) in found.items() if holds is False]
    holding, unknown = (
        [name for name, (holds, _) in found.items() if holds is wanted] for wanted in (True, None)
    )
    parts = {"Fails": fails, "Holds": holding, f"Not measured on {row.device}": unknown}
    return few + " ".join(f"{title}: {', '.join(of)}." for title, of in parts.items() if of)


def misses(rows: pd.DataFrame) -> str:
    """How many successes bfloat16 misses before and after its correction, as Markdown.

    Each case is counted on the images that all three searches attacked. The last lines add up what
    the corrected search misses at each size, on all images that it attacked.
    """
    lines, images = [], ["split", "index"]
    for _, group in rows.groupby(SAME, sort=False):
        by = {name: of.drop_duplicates(images) for name, of in group.groupby("method")}
        if not by.keys() >= {EXACT, BFLOAT16, UNCORRECTED}:
            continue
        common = by[EXACT][images].merge(by[BFLOAT16][images]).merge(by[UNCORRECTED][images])
        found = paired(group.merge(common)).set_index("method")
        before, after = found.loc[UNCORRECTED], found.loc[BFLOAT16]
        first = next(group.itertuples())
        lines.append(
            f"- {_case(first)}: float32 fools {after.exact_fooled} of "
            f"{formatting.many(after.images, 'image')}. Without the correction bfloat16 misses "
            f"{_net(before)}; with it {_net(after)}."
        )
    if not lines:
        return "bfloat16 was not measured with and without its correction on the same images."
    every = paired(rows)
    for size, of in every[every["method"] == BFLOAT16].groupby("size"):
        net, fooled = (of["lost"] - of["won"]).sum(), of["exact_fooled"].sum()
        lines.append(f"- All cases at {size} px: net {net} of {fooled} successes.")
    return "Successes that bfloat16 misses:\n\n" + "\n".join(lines)


def _net(row: pd.Series) -> str:
    return f"{row.lost} and finds {row.won} others (net {row.lost - row.won})"


def gpu(rates: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What `make gpu-check` measured: candidates a second by batch, and the rest as Markdown.

    ``rates`` is the table ``attack``. The result has a row a batch and a column a network.
    """
    lacking = ""
    if "cuda" not in set(rates["device"]):
        lacking = (
            "`benchmarks/attack.csv` has no rows of a GPU: the rates of the plain network, of the "
            "whole search and of other programs on a GPU are missing."
        )
    path = measured.FOLDER / "gpu.json"
    if not path.exists():
        said = "Not shown: `benchmarks/gpu.json` is missing. `make gpu-check` makes it on a GPU."
        return pd.DataFrame(), f"{said} {lacking}".strip()
    about = read_json(path)
    networks = [name for name in engine.CLASSIFIERS if name in about]
    said = [f"Measured on: {about['hardware']['gpu']}, torch {about['torch']}."]
    if "golden" in about:
        said.append(f"Frozen attacks of the tests: {about['golden']}.")
    if equal := about.get("equality"):
        own, cpu = (max(row[name] for row in equal) for name in ("largest_difference", "from_cpu"))
        said.append(
            f"The engine differs from the whole network by at most {own:.1e} in float64, and the "
            f"GPU's float32 logits from the CPU's by at most {cpu:.1e}, relative to the largest "
            "logit."
        )
    lines = [_network(name, about) for name in networks]
    gains = {name: _gain(about[name]) for name in networks}
    if possible := [f"{gain:.2f} times ({formatting.shown(name)})"
                    for name, gain in gains.items() if gain >= 1.05]:  # fmt: skip
        lines.append(
            "\nThe attack runs these stages eager. If it compiled them, and they took as long as "
            f"alone, it could compute {formatting.enumerated(possible)} as many candidates per "
            "second. That gain is possible, not measured."
        )
    table = pd.DataFrame({name: about[name]["batches"] for name in networks})
    table = table.rename_axis("batch").reset_index().rename(columns=formatting.shown)
    return table, "\n".join([f"{' '.join(said)} {lacking}".strip(), "", *lines])


def _network(name: str, about: dict) -> str:
    """The best batch of a network, and its stages on whole maps."""
    of = about[name]
    best, whole = of["best_batch"], of["whole_maps"]
    largest = ", the largest tried" if best == max(map(int, of["batches"])) else ""
    ways = [f"{whole['eager']:,.0f} per second eager"]
    ways += [
        f"{title} {whole[way] / whole['eager']:.1f} times that"
        for way, title in (("compiled", "compiled"), ("graph", "as a CUDA graph"))
        if way in whole
    ]
    return (
        f"- {formatting.shown(name)} at {about['size']} pixels: "
        f"{of['batches'][str(best)]:,.0f} candidates per second in {about['precision']} "
        f"with windows, without the search, at a batch of {best:,}{largest}. Its stages on whole "
        f"maps alone: {', '.join(ways)}."
    )


def _gain(of: dict) -> float:
    """How many times as fast the engine would be with its whole maps compiled; NaN if unknown."""
    whole, rate = of["whole_maps"], of["batches"][str(of["best_batch"])]
    if "compiled" not in whole or whole["eager"] <= rate:
        return float("nan")
    return 1 / (1 - rate / whole["eager"] + rate / whole["compiled"])


def cache(rates: pd.DataFrame, searches: pd.DataFrame) -> str:
    """When looking up repeated candidates pays, in words.

    ``rates`` and ``searches`` are the tables ``attack`` and ``searches``.
    """
    text = []
    for device in rates["device"].unique():
        generations = measured.provenance(device).get("generations", {}).get("224")
        here = rates[rates["device"] == device]
        search, windows = (
            PRINTED_BUDGET / measured.rate(here, method)
            for method in (measured.SEARCH, measured.WINDOWS)
        )
        if search != search or windows != windows:
            continue
        of = f" of {generations} generations" if generations else ""
        kept = "costs more than its cache saves" if search > windows else "saves more than it costs"
        text.append(
            f"On {device}, windows alone would need {windows:,.1f} s for an image, and the search "
            f"{search:,.1f} s. So in this benchmark{of} the search {kept}."
        )
    most = PRINTED_BUDGET // 100 - 1  # the paper's generations
    failed = searches[(searches["method"] == EXACT) & ~searches["success"].astype(bool)]
    long = failed[(failed["pixels"] == 1) & (failed["generations"] == most)]
    if len(long):
        saved = 1 - long["computed"] / long["evaluations"]
        mean = 1 - long["computed"].sum() / long["evaluations"].sum()
        mean, least, best = map(formatting.rate, (mean, saved.min(), saved.max()))
        text.append(
            "The cache pays in long searches, when the candidates have become alike. In "
            f"{len(long)} failed one-pixel searches of {most} generations, {mean} of the queries "
            f"were looked up ({least} to {best} by image)."
        )
    return " ".join(text)
