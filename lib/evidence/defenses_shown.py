"""Tables about defenses as texts for a page; see `lib.evidence.results_shown`."""

import pandas as pd

from lib.evidence import results_tables as recorded
from lib.evidence.dataset_record import RUN, DatasetRecord
from lib.evidence.results_shown import estimate, fixed, metric, rates, sized
from lib.figures import formatting
from lib.figures.formatting import break_even
from lib.params import MASKING

DIGITS = {"psnr": 1, "ssim": 3, "mse": 5, "gmsd": 3, "fsim": 3}
PRINTED = {"psnr": 2, "ssim": 2, "gmsd": 2, "fsim": 2, "mse": 4}  # decimals of the paper


def defenses(table: pd.DataFrame) -> pd.DataFrame:
    """What each defense gives and costs.

    Args:
        table: of `results_tables.defenses`.
    """
    if not len(table):
        return table
    keys = [name for name in ("dataset", *RUN) if name in table]
    shown = table[[*keys, "defense"]].copy()
    shown["label recovery rate"] = rates(table, "recovered")
    shown["n, attacked"] = table["n"]
    shown["clean prediction retention"] = rates(table, "kept")
    shown["n, clean"] = table["images"]
    ends = table[["pays_from", "pays_from_low", "pays_from_high"]].to_numpy(float)
    shown["break-even attack prevalence"] = [break_even(*row) for row in ends]
    return sized(shown)


def quality(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One image measure after each defense, one and two pixels, beside the printed means.

    Args:
        table: of `results_tables.quality`, by `ATTACK`.
        measure: ``psnr`` in dB, or another of `DIGITS`.
    """
    if not len(table):
        return table
    keys = [*RUN, "defense"]
    shown = table[keys].drop_duplicates().reset_index(drop=True)
    for pixels in sorted(table["pixels"].unique()):
        of = table[table["pixels"] == pixels]
        name = formatting.pixels(int(pixels))
        ends = of[[measure, f"{measure}_low", f"{measure}_high"]].itertuples(index=False)
        texts = of[keys].assign(**{name: [estimate(*row, DIGITS[measure]) for row in ends]})
        if of[f"printed_{measure}"].notna().any():
            texts[f"printed, {name}"] = fixed(of[f"printed_{measure}"], PRINTED[measure])
        texts[f"n, {name}"] = of["n"].astype("Int64")
        shown = shown.merge(texts, "left", on=keys)
    return sized(shown)


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """All five measures of restored images, with printed means, and errors in gray levels.

    Args:
        table: as for `quality`.
    """
    table = recorded.nearest(table)
    if not len(table):
        return table
    shown = table[["classifier", "pixels", "defense", "n", "exact"]].copy()
    for name, digits in DIGITS.items():
        both = fixed(table[name], digits), fixed(table[f"printed_{name}"], PRINTED[name])
        shown[metric(name)] = [
            ours if printed == "–" else f"{ours} ({printed})"
            for ours, printed in zip(*both, strict=True)
        ]
    for name in ("attacked", "elsewhere"):
        title = {"attacked": "error at the pixel", "elsewhere": "error elsewhere"}[name]
        shown[title] = fixed(table[f"error_{name}"], 1)
    return shown


def trainings(again: pd.DataFrame) -> pd.DataFrame:
    """Results of each training.

    Args:
        again: of `lib.evidence.variants.trained_again` or `denoisers_trained_otherwise`.
    """
    if not len(again):
        return pd.DataFrame()
    kind = "seed" if "seed" in again else "variant"
    shown = again[["dataset", "classifier", "defense", kind]].rename(
        columns={"variant": "training"}
    )
    shown["PSNR, dB"] = fixed(again["psnr"], 1)
    shown["label recovery rate"] = rates(again, "recovered")
    shown["n"] = again["n"]
    shown["clean prediction retention"] = rates(again, "kept")
    shown["n, clean"] = again["images"]
    return shown


def detection(found: DatasetRecord) -> pd.DataFrame:
    """Area under the ROC curve of each defense's residual on successful attacks."""
    table = found.detection
    if not len(table):
        return table
    table = table[(table["images"] == "fooled") & (table["defense"] != "identity")]
    keys = [*RUN, "defense"]
    shown = table[keys].drop_duplicates().reset_index(drop=True)
    for pixels in sorted(table["pixels"].unique()):
        name = formatting.pixels(int(pixels))
        of = table[table["pixels"] == pixels]
        largest, mean = (of[of["score"] == score] for score in ("largest", "mean"))
        areas = largest[["auc", "auc_low", "auc_high"]].itertuples(index=False)
        columns = {f"largest change, {name}": [estimate(*row, 2) for row in areas]}
        columns[f"n, {name}"] = largest["n"].astype("Int64")
        shown = shown.merge(largest[keys].assign(**columns), "left", on=keys)
        columns = {f"mean change, {name}": fixed(mean["auc"], 2)}
        shown = shown.merge(mean[keys].assign(**columns), "left", on=keys)
    return sized(shown)


def attackers(table: pd.DataFrame, searched: pd.DataFrame | None = None) -> pd.DataFrame:
    """Images classified correctly through each defense, by attacker.

    Args:
        table: of `lib.defense.adaptive.summary`, with columns of its runs or without.
        searched: rows of `lib.defense.adaptive.attack_defended`, for the mean of queries.
    """
    keys = [name for name in ("dataset", "size", "classifier", "pixels") if name in table]
    shown = table[[*keys, "defense", "n"]].copy()
    for name, title in formatting.ATTACKERS.items():
        shown[title] = rates(table, name)
    if searched is not None:
        means = searched[searched["evaluations"] > 0].groupby("defense")["evaluations"].mean()
        shown["queries, mean"] = shown["defense"].map(means)
    return sized(shown)


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """Images classified correctly after each kind of attack, `lib.evidence.attackers.worst`."""
    if not len(table):
        return table
    shown = pd.concat([_runs(table), table[["pixels", "defense", "n"]]], axis=1)
    titles = {
        "clean": "clean", "oblivious": "paper's attack", "adaptive": "adaptive attack",
        "same": "worst, same pixels", "most": "worst, more pixels", "dense": "worst, all values",
    }  # fmt: skip
    for name, title in titles.items():
        shown[title] = rates(table, name)
    return sized(shown)


def proved(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and certified accuracy of double masking, `lib.evidence.attackers.proved`."""
    if not len(table):
        return table
    shown = pd.concat([_runs(table), table["n"]], axis=1)
    titles = {
        "clean": "classifier alone", "defended": "with double masking", "certified": "certified",
    }  # fmt: skip
    for name, title in titles.items():
        shown[title] = rates(table, name)
    for name, title in {"seconds": "prediction, s", "seconds_certify": "certificate, s"}.items():
        shown[title] = fixed(table[name], 1)
    return sized(shown)


def proofs(table: pd.DataFrame) -> pd.DataFrame:
    """Shares proved correct under any one-pixel attack, `lib.evidence.attackers.proofs`."""
    if not len(table):
        return table
    shown = table[["dataset", "size", "defense"]].copy()
    masked = table["defense"].str.startswith(MASKING)
    shown["proof"] = masked.map({True: "pairs of masks", False: "all changes"})
    shown["n"] = table["n"]
    shown["clean accuracy"] = rates(table, "clean")
    shown["proved correct under any one-pixel attack"] = rates(table, "robust")
    return sized(shown)


def fine_tuned(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy before and after fine-tuning, `lib.evidence.attackers.fine_tuned`."""
    if not len(table):
        return table
    shown = table[["dataset", "size", "classifier", "defense", "n"]].copy()
    for name, title in {"before": "as trained", "after": "after fine-tuning"}.items():
        shown[title] = rates(table, name)
    gains = table[["gain", "gain_low", "gain_high"]].itertuples(index=False)
    shown["gain, points"] = [formatting.gain(*row) for row in gains]
    return sized(shown)


def _runs(table: pd.DataFrame) -> pd.DataFrame:
    """What rows are of; training of the classifier and run only where these tell rows apart."""
    keys = ["dataset", "size", "classifier", "training"]
    several = table.groupby(keys)["protocol"].nunique().max() > 1
    shown = table[[*keys, *(["protocol"] if several else [])]].rename(columns={"protocol": "run"})
    return shown if table["training"].nunique() > 1 else shown.drop(columns="training")


def checks(table: pd.DataFrame) -> pd.DataFrame:
    """Exceptions to each check of the attacks by defense, `lib.evidence.attackers.checks`."""
    if not len(table):
        return table
    summed = table.groupby(["check", "defense"], sort=False)[["n", "against"]].sum().reset_index()
    return summed.rename(columns={"n": "compared", "against": "exceptions"})
