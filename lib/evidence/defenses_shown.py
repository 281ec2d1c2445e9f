"""Tables about defenses as texts for a page; see `lib.evidence.results_shown`."""

import pandas as pd

from lib.evidence import results_tables as recorded
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.results_shown import by_pixels, fixed, if_any, metric, sized, titled
from lib.evidence.results_tables import WITHIN
from lib.figures import formatting
from lib.figures.formatting import break_even
from lib.figures.tables import ends, intervals, rates
from lib.params import MASKING

DIGITS = {"psnr": 1, "ssim": 3, "mse": 5, "gmsd": 3, "fsim": 3}
PRINTED = {"psnr": 2, "ssim": 2, "gmsd": 2, "fsim": 2, "mse": 4}  # decimals of the paper
CASES = {
    "clean": "clean", "oblivious": "paper's attack", "adaptive": "adaptive attack",
    "same": "worst, same pixels", "most": "worst, more pixels", "dense": "worst, all values",
}  # fmt: skip


def _keys(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that say what a row is of."""
    return table[[name for name in ("dataset", *WITHIN, "defense") if name in table]]


@if_any
def defenses(table: pd.DataFrame) -> pd.DataFrame:
    """What each defense gives and costs, of `results_tables.defenses`."""
    return sized(_keys(table).assign(**{
        "label recovery rate": rates(table, "recovered"), "n, attacked": table["n"],
        "clean prediction retention": rates(table, "kept"), "n, clean": table["images"],
        "break-even attack prevalence": [break_even(*row) for row in ends(table, "pays_from")],
    }))  # fmt: skip


@if_any
def removal(table: pd.DataFrame) -> pd.DataFrame:
    """Whether each defense removes the attack, of `results_tables.removal`."""
    return sized(_keys(table).assign(**{
        "n, misled": table["n"], "label recovered": rates(table, "recovered"),
        "same image, clean: kept": rates(table, "kept"), "attack removed": rates(table, "removed"),
    }))  # fmt: skip


@if_any
def detected(table: pd.DataFrame) -> pd.DataFrame:
    """Attacks that residuals reveal, of `lib.defense.detection.detected` with its run."""
    table = table[table["defense"] != "identity"]
    return sized(_keys(table).assign(**{
        "n, misled": table["n"], "attacks revealed": rates(table), "n, clean": table["clean"],
        "clean images flagged": [formatting.rate(share, digits=1) for share in table["false"]],
    }))  # fmt: skip


@if_any
def quality(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One image measure after each defense, one and two pixels, beside the printed means.

    ``table`` is of `results_tables.quality`, by `ATTACK`; ``measure`` is one of `DIGITS`.
    """
    keys = [*WITHIN, "defense"]

    def texts(of: pd.DataFrame, name: str) -> pd.DataFrame:
        columns = {name: intervals(of, measure, DIGITS[measure])}
        if of[f"printed_{measure}"].notna().any():
            columns[f"printed, {name}"] = fixed(of[f"printed_{measure}"], PRINTED[measure])
        return of[keys].assign(**columns, **{f"n, {name}": of["n"].astype("Int64")})

    return by_pixels(table, keys, texts)


@if_any
def measures(table: pd.DataFrame) -> pd.DataFrame:
    """All five measures of `quality`, with printed means, and errors in gray levels."""
    table = recorded.nearest(table)
    shown = table[["classifier", "pixels", "defense", "n", "exact"]].copy()
    for name, digits in DIGITS.items():
        printed = fixed(table[f"printed_{name}"], PRINTED[name])
        shown[metric(name)] = both(fixed(table[name], digits), printed)
    shown["error at the pixel"] = fixed(table["error_attacked"], 1)
    shown["error elsewhere"] = fixed(table["error_elsewhere"], 1)
    return shown


def both(first: list[str], second: list[str]) -> list[str]:
    """``first (second)``, without a second that is missing."""
    pairs = zip(first, second, strict=True)
    return [one if other == "–" else f"{one} ({other})" for one, other in pairs]


@if_any
def trainings(again: pd.DataFrame) -> pd.DataFrame:
    """Results of each training, of `variants.trained_again` or `denoisers_trained_otherwise`."""
    kind = "seed" if "seed" in again else "variant"
    shown = again[["dataset", "classifier", "defense", kind]].assign(**{
        "PSNR, dB": fixed(again["psnr"], 1),
        "label recovery rate": rates(again, "recovered"), "n": again["n"],
        "clean prediction retention": rates(again, "kept"), "n, clean": again["images"],
    })  # fmt: skip
    return shown.rename(columns={"variant": "training"})


def detection(found: RecordedRuns) -> pd.DataFrame:
    """Area under the ROC curve of each defense's residual on successful attacks."""
    table, keys = found.detection, [*WITHIN, "defense"]
    if not len(table):
        return table

    def texts(of: pd.DataFrame, name: str) -> pd.DataFrame:
        largest, mean = (of[of["score"] == score] for score in ("largest", "mean"))
        columns = {f"largest change, {name}": intervals(largest, "auc", 2)}
        columns[f"n, {name}"] = largest["n"].astype("Int64")
        means = mean[keys].assign(**{f"mean change, {name}": fixed(mean["auc"], 2)})
        return largest[keys].assign(**columns).merge(means, "left", on=keys)

    fooled = (table["images"] == "fooled") & (table["defense"] != "identity")
    return by_pixels(table[fooled], keys, texts)


@if_any
def worst(table: pd.DataFrame) -> pd.DataFrame:
    """Images classified correctly after each kind of attack, `lib.evidence.attackers.worst`."""
    shown = pd.concat([_runs(table), table[["pixels", "defense", "n"]]], axis=1)
    return sized(shown.assign(**titled(table, CASES)))


@if_any
def proved(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and certified accuracy of double masking, `lib.evidence.attackers.proved`."""
    titles = {"clean": "classifier alone", "defended": "double masking", "certified": "certified"}
    seconds = zip(fixed(table["seconds"], 1), fixed(table["seconds_certify"], 1), strict=True)
    return sized(_runs(table).assign(n=table["n"], **titled(table, titles), **{
        "s, decision / proof": [*map(" / ".join, seconds)],
    }))  # fmt: skip


@if_any
def proofs(table: pd.DataFrame) -> pd.DataFrame:
    """Shares proved correct under any one-pixel attack, `lib.evidence.attackers.proofs`."""
    masked = table["defense"].str.startswith(MASKING)
    titles = {"clean": "clean accuracy", "robust": "proved correct under any one-pixel attack"}
    return sized(table[["dataset", "size", "defense"]].assign(
        proof=masked.map({True: "pairs of masks", False: "all changes"}), n=table["n"],
        **titled(table, titles),
    ))  # fmt: skip


@if_any
def fine_tuned(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy before and after fine-tuning, `lib.evidence.attackers.fine_tuned`."""
    titles = {"before": "as trained", "after": "after fine-tuning"}
    shown = table[["dataset", "size", "classifier", "defense", "n"]]
    gains = {"gain, points": [formatting.gain(*row) for row in ends(table, "gain")]}
    return sized(shown.assign(**titled(table, titles), **gains))


def _runs(table: pd.DataFrame) -> pd.DataFrame:
    """What rows are of; training of the classifier and run only where these tell rows apart."""
    keys = ["dataset", "size", "classifier", "training"]
    several = table.groupby(keys)["protocol"].nunique().max() > 1
    shown = table[[*keys, *(["protocol"] if several else [])]].rename(columns={"protocol": "run"})
    return shown if table["training"].nunique() > 1 else shown.drop(columns="training")


@if_any
def checks(table: pd.DataFrame) -> pd.DataFrame:
    """Exceptions to each check of the attacks by defense, `lib.evidence.attackers.checks`."""
    summed = table.groupby(["check", "defense"], sort=False)[["n", "against"]].sum().reset_index()
    return summed.rename(columns={"n": "compared", "against": "exceptions"})
