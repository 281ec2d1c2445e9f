"""What `make bench` measured, beside the machine's limit and the paper's printed times.

The tables lie in ``benchmarks/``, which is not made by `make book`; a page goes on without one that
is missing and says so.
"""

import pandas as pd
from pandas.io.formats.style import Styler

from lib import params
from lib.evidence import printed as paper
from lib.figures import tables
from lib.metrics import intervals
from lib.params import PRINTED_BUDGET
from lib.params.errors import InputError
from lib.params.files import read_json

FOLDER = params.ROOT / "benchmarks"
PLAIN, WHOLE, WINDOWS, SEARCH = "plain dense", "ours, whole maps", "ours, windows", "ours, search"
MAKERS = dict.fromkeys(("peers", "recall"), "python -m benchmarks.recall")
MAKERS["searches"] = "python -m benchmarks.searches"
PEERS = {"torchattacks": "torchattacks", "ART": "ART", "scipy": "SciPy"}  # and their names
CASE = ["classifier", "size", "dtype", "pixels"]
COLUMNS = {
    "attack": (
        "model", "size", "dtype", "device", "method", "pixels", "candidates_per_second",
        "ratio_to_plain_dense",
    ),
    "scaling": ("images", "seconds", "seconds_per_1000", "memory_before_mb", "memory_peak_mb"),
    "peers": (
        "method", "pixels", "images", "successes", "rate", "low", "high", "evaluations_allowed",
        "mean_evaluations", "seconds", "dataset", "size", "model", "source",
    ),
    "recall": (
        "dataset", "split", "index", "label", "pixels_vulnerable", "positions", "colors",
        "share_vulnerable", "map_success", "search_success", "search_row", "search_col",
        "evaluations", "computed", "source",
    ),
    "searches": (
        "protocol", "dataset", "size", "model", "pixels", "generations", "device", "method",
        "split", "index", "success", "evaluations", "computed", "multiply_adds", "seconds", "clean",
        "final", "source",
    ),
}  # fmt: skip


def table(name: str) -> tuple[pd.DataFrame, str]:
    """A table of `COLUMNS`, and a sentence that says where it is from or that it is missing.

    Raises:
        InputError: the file is no such table.
    """
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        maker = MAKERS.get(name, "make bench")
        said = f"Not shown: `benchmarks/{name}.csv` is missing. `{maker}` makes it."
        return pd.DataFrame(columns=list(COLUMNS[name])), said
    try:
        found = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError):
        raise InputError(f"{path} is not a CSV table: delete it and make it again.") from None
    if missing := [column for column in COLUMNS[name] if column not in found]:
        raise InputError(f"{path} has no column {missing[0]!r}: delete it and make it again.")
    return found[list(COLUMNS[name])], f"From `benchmarks/{name}.csv`."


def provenance(device: str) -> dict:
    """Machine, versions and settings of the benchmark on a device; empty if it was not run there.

    They are read from ``attack.json``.
    """
    path = FOLDER / "attack.json"
    return read_json(path).get(device, {}) if path.exists() else {}


def machine(rates: pd.DataFrame, packages: bool = True) -> str:
    """The machine of each device in the table ``attack``, and versions of ``packages``."""
    said = []
    for device in rates["device"].unique():
        if not (about := provenance(device)):
            continue
        hardware = about["hardware"]
        said.append(
            f"Measured on {device}: {hardware['processor']}, {hardware['cores']} cores, "
            f"{about['threads']} threads, {hardware['memory_gib']} GiB, "
            f"GPU: {hardware['gpu'] or 'none'}."
        )
        if packages:
            said.append(", ".join(f"{name} {of}" for name, of in about["versions"].items()) + ".")
    return " ".join(said)


def old_and_new(rates: pd.DataFrame) -> str:
    """How many times faster the search is than the plain network and than other programs.

    ResNet50 at 224 pixels, one pixel, float32, the paper's budget; a paragraph for each device of
    the table ``attack``.
    """
    text = []
    for device in rates["device"].unique():
        here = rates[rates["device"] == device]
        plain, search = rate(here, PLAIN), rate(here, SEARCH)
        if plain != plain or search != search:
            continue
        peers = {name: search / rate(here, method) for method, name in PEERS.items()}
        times = [f"{ratio:.1f} times as fast as {name}"
                 for name, ratio in peers.items() if ratio == ratio]  # fmt: skip
        text.append(
            f"On {device}, our one-pixel search is **{search / plain:.1f} times** as fast as the "
            f"plain network{''.join(f', {each}' for each in times)} (candidates per second, "
            "ResNet50, 224 pixels, float32). An image on which the attack fails with the paper's "
            f"budget of {PRINTED_BUDGET:,} queries takes {PRINTED_BUDGET / search:,.1f} s instead "
            f"of {PRINTED_BUDGET / plain:,.1f} s."
        )
    return (
        "\n\n".join(text) or "The speeds of the plain network and of our search are not measured."
    )


def rate(rates: pd.DataFrame, method: str) -> float:
    """Candidates a second with one pixel of ResNet50 at 224 pixels in float32; else NaN."""
    found = rates[
        (rates["model"] == "resnet50") & (rates["size"] == 224) & (rates["pixels"] == 1)
        & (rates["dtype"] == "float32") & (rates["method"] == method)
    ]["candidates_per_second"]  # fmt: skip
    return float(found.iloc[0]) if len(found) else float("nan")


def _cases(rates: pd.DataFrame, work: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """A row a case with the candidates a second of each method, beside the work per candidate."""
    rates = rates[rates["method"].isin(methods)].rename(columns={"model": "classifier"})
    found = rates.pivot(index=CASE, columns="method", values="candidates_per_second")
    cases = rates[CASE].drop_duplicates()  # in their order, which pivot loses
    found = cases.merge(found.reindex(columns=methods).reset_index(), "left", CASE)
    return found.merge(work, "left", ["classifier", "size", "pixels"])


def limit(rates: pd.DataFrame, work: pd.DataFrame, device: str) -> pd.DataFrame:
    """How near the attack is to what the device can do, case by case.

    ``rates`` is the table ``attack``, ``work`` of `benchmarks.engine.work`.

    Returns:
        ``multiply_adds`` of a candidate, in millions, and ``left``, their share of the whole
        network's; ``gflops``, what the windows compute a second, two operations a multiply-add;
        ``of_peak``, its share of a product of large matrices; ``seconds``, of an image with the
        paper's budget, and ``fixed`` seconds of each image besides. NaN where something was not
        measured.
    """
    about = provenance(device)
    peaks, apart = (about.get(name, {}) for name in ("peak_gflops", "fixed_seconds"))
    found = _cases(rates[rates["device"] == device], work, [WINDOWS, SEARCH])
    case = found[CASE].astype(str).agg(" ".join, axis=1) if len(found) else found["dtype"]
    gflops = 2 * found["windows"] * found[WINDOWS] / 1000
    return found[CASE].assign(
        multiply_adds=found["windows"], left=found["windows"] / found["network"],
        gflops=gflops, of_peak=gflops / found["dtype"].map(peaks).astype(float),
        seconds=PRINTED_BUDGET / found[SEARCH], fixed=case.map(apart).astype(float),
    )  # fmt: skip


def factors(rates: pd.DataFrame, work: pd.DataFrame) -> pd.DataFrame:
    """What the speed over the plain network is made of, case by case.

    ``rates`` are rows of one device of the table ``attack``, ``work`` is of
    `benchmarks.engine.work`.

    Returns:
        ``network``: our network on whole maps over torchvision's; ``windows``: windows over whole
        maps; ``counted``: the same as the multiply-adds have it; ``remembered``: the search over
        windows; ``all``: their product. NaN where a method was not measured.
    """
    ours = [WHOLE, WINDOWS, SEARCH]
    found = _cases(rates, work, ours)
    plain = rates.loc[rates["method"] == PLAIN, ["model", "size", "candidates_per_second"]]
    plain = plain.rename(columns={"model": "classifier", "candidates_per_second": PLAIN})
    found = found.merge(plain, "left", ["classifier", "size"])
    return found[CASE].assign(
        network=found[WHOLE] / found[PLAIN], windows=found[WINDOWS] / found[WHOLE],
        counted=found["whole"] / found["windows"], remembered=found[SEARCH] / found[WINDOWS],
        all=found[ours].ffill(axis=1)[SEARCH] / found[PLAIN],
    )  # fmt: skip


def recall(found: pd.DataFrame) -> pd.DataFrame:
    """How many of the images that the map shows vulnerable the search fooled.

    Returns:
        A row a data set and source, then all together: ``images``, ``vulnerable`` by the map,
        ``found`` of these by the search, ``rate, low, high`` (Wilson), and ``beyond``: fooled by
        the search with a color that the map did not try.
    """
    groups = [(*names, group) for names, group in found.groupby(["dataset", "source"], sort=False)]
    if len(groups) > 1:
        groups.append((intervals.TOTAL, " and ".join(sorted(set(found["source"]))), found))
    rows = []
    for dataset, source, group in groups:
        mapped, searched = group["map_success"].astype(bool), group["search_success"].astype(bool)
        n, hits = int(mapped.sum()), int((mapped & searched).sum())
        share, low, high = intervals.rate(hits, n)
        rows.append(
            {
                "dataset": dataset, "source": source, "images": len(group), "vulnerable": n,
                "found": hits, "rate": share, "low": low, "high": high,
                "beyond": int((searched & ~mapped).sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def with_interval(found: pd.DataFrame, title: str, place: int) -> Styler:
    """A measured table to show; ``rate, low, high`` become one column with the Wilson interval."""
    shown = found.drop(columns=["rate", "low", "high"])
    shown.insert(place, title, tables.rates(found, digits=1))
    return tables.table(shown, "Wilson intervals at 95 %.")


def recall_sentence(found: pd.DataFrame) -> str:
    """The last row of `recall` in words."""
    row = found.iloc[-1]
    if not row["vulnerable"]:
        return f"The map shows none of {row['images']:,} images vulnerable."
    return (
        f"The search succeeded on {row['found']:,} of {row['vulnerable']:,} images that the map "
        f"shows vulnerable: a recall of {100 * row['rate']:.1f} % "
        f"({100 * row['low']:.1f}–{100 * row['high']:.1f}, 95 % Wilson interval)."
    )


def printed_times(pixels: int) -> pd.DataFrame:
    """Tables 46 and 47 with what they imply at the paper's budget.

    Returns:
        ``dataset, images, computer, gpu, minutes, seconds_an_image`` as printed or divided;
        ``at_least, at_most``: evaluations a second if an image that fell had cost nothing, and if
        every image had cost the whole budget.
    """
    found = paper.attack_minutes(pixels)
    hardware = paper.printed(11)
    gpus = hardware[hardware["component"] == "GPU"].set_index("computer")["information"]
    found["gpu"] = found["computer"].map(gpus)
    seconds = found["minutes"] * 60
    found["seconds_an_image"] = seconds / found["images"]
    whole = found["images"] * PRINTED_BUDGET / seconds
    rates = paper.totals(pixels).set_index("dataset")["rate"]
    found["at_least"] = whole * (1 - found["dataset"].map(rates))
    found["at_most"] = whole
    return found[
        ["dataset", "images", "computer", "gpu", "minutes", "seconds_an_image", "at_least",
         "at_most"]
    ]  # fmt: skip


def our_times(rates: pd.DataFrame) -> pd.DataFrame:
    """Ours and the peers' on ResNet50 at 224 pixels: seconds an image with the paper's budget."""
    ours = rates[(rates["model"] == "resnet50") & (rates["size"] == 224)]
    ours = ours[ours["method"] != WHOLE]
    found = ours[["method", "pixels", "dtype", "device", "candidates_per_second"]].copy()
    # The plain network takes as long whatever the number of pixels.
    found["pixels"] = found["pixels"].astype(object).where(found["method"] != PLAIN, "any")
    found["seconds_an_image"] = PRINTED_BUDGET / found["candidates_per_second"]
    return found.reset_index(drop=True)


def beside_the_paper(rates: pd.DataFrame) -> str:
    """What `our_times` has beside the printed times, in words; cautious, as hardware differs."""
    said = f"Our times are for the same budget of {PRINTED_BUDGET:,} queries per image. "
    if not len(our_times(rates)):
        return said + "Nothing was measured on ResNet50 at 224 pixels."
    return (
        f"{said}{machine(rates)} The paper used other computers, images and code, so a ratio of "
        "the two times would mean little. Ratios on one machine are further up."
    )
