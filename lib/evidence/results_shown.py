"""The tables of `lib.evidence.results_tables` as texts for a page."""

import pandas as pd

from lib.evidence import results_tables as recorded
from lib.evidence.results_tables import ATTACK, RUN, Record
from lib.figures import formatting, tables
from lib.figures.formatting import break_even, rate
from lib.params import ATTACKS

SIZE = "image, px"
# Columns of texts, which begin at the left.
TEXTS = {"data set", "dataset", "classifier", "class", "defense", "changed", "reference"}


def rates(table: pd.DataFrame, name: str = "rate") -> list[str]:
    """A share with its interval as texts, ``55 % (50–59)``.

    Args:
        table: ``name``, and its interval in ``<name>_low, <name>_high`` or ``low, high``.
        name: of the column.
    """
    own = f"{name}_low" in table
    ends = (f"{name}_low", f"{name}_high") if own else ("low", "high")
    return [rate(*row) for row in table[[name, *ends]].itertuples(index=False)]


def accuracies(found: Record) -> pd.DataFrame:
    """Test accuracy of the classifiers, beside the printed one."""
    table = recorded.accuracies(found)
    return pd.DataFrame(
        {
            SIZE: table["size"],
            "classifier": table["classifier"],
            "training images": table["training_images"],
            "test images": table["n"],
            "accuracy": rates(table, "accuracy"),
            "printed": table["printed"].map(_printed),
            "same answer for all": table["constant"].map(rate),
        }
    )


def by_class(found: Record) -> pd.DataFrame:
    """Attack success by class, one and two pixels side by side, beside the printed rates."""
    return _beside(recorded.success_by_class(found), [*RUN, "class"])


def overall(found: Record) -> pd.DataFrame:
    """Attack success of each run, beside the printed rate, in the same form as `by_class`.

    The class-weighted rate has each class as often as the paper's table has it.
    """
    table = recorded.success(found)
    weighted = table.assign(weighted=table["matched"].map(rate))
    return _beside(weighted, RUN, {"weighted": "class-weighted"})


def _beside(table: pd.DataFrame, keys: list[str], more: dict[str, str] | None = None):
    """One row a key, the columns of one pixel before those of two."""
    shown = table[keys].drop_duplicates().reset_index(drop=True)
    for pixels in sorted(ATTACKS):
        of = table[table["pixels"] == pixels]
        if not len(of):
            continue
        name = formatting.pixels(pixels)
        texts = of[keys].assign(**{name: rates(of), f"n, {name}": of["n"]})
        for column, title in (more or {}).items():
            texts[f"{title}, {name}"] = of[column]
        texts[f"printed, {name}"] = of["printed"].map(_printed)
        shown = shown.merge(texts, "left", on=keys)
        shown[f"n, {name}"] = shown[f"n, {name}"].astype("Int64")
    return _sized(shown)


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
    return _sized(shown)


def quality(found: Record, samples: int, seed: int) -> pd.DataFrame:
    """PSNR and SSIM after each defense, one and two pixels, beside the printed means."""
    table = recorded.quality(found, ATTACK, samples, seed)
    if not len(table):
        return table
    keys = [*RUN, "defense"]
    shown = table[keys].drop_duplicates().reset_index(drop=True)
    for metric, title, digits in (("psnr", "PSNR, dB", 1), ("ssim", "SSIM", 3)):
        for pixels in sorted(table["pixels"].unique()):
            of = table[table["pixels"] == pixels]
            name = f"{title}, {formatting.pixels(int(pixels))}"
            texts = of[keys].assign(**{name: _fixed(of[metric], digits)})
            beside = _fixed(of[f"printed_{metric}"], digits)
            if (of[f"printed_{metric}"].notna()).any():
                texts[f"printed {name}"] = beside
            shown = shown.merge(texts, "left", on=keys)
    of_all = table.groupby(keys, sort=False)["n"].sum().rename("n").reset_index()
    return _sized(shown.merge(of_all, on=keys))


def _printed(share: float) -> str:
    """A printed share with the first decimal, as small ones differ in it."""
    return "–" if share != share else f"{100 * share:.1f} %"


def _fixed(values: pd.Series, digits: int) -> list[str]:
    return ["–" if value != value else f"{value:.{digits}f}" for value in values]


def detection(found: Record) -> pd.DataFrame:
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
        columns = {f"largest change, {name}": [_area(*row) for row in areas]}
        columns[f"n, {name}"] = largest["n"].astype("Int64")
        shown = shown.merge(largest[keys].assign(**columns), "left", on=keys)
        columns = {f"mean change, {name}": _fixed(mean["auc"], 2)}
        shown = shown.merge(mean[keys].assign(**columns), "left", on=keys)
    return _sized(shown)


def _area(value: float, low: float, high: float) -> str:
    if value != value:
        return "–"
    return f"{value:.2f}" if low != low else f"{value:.2f} ({low:.2f}–{high:.2f})"


def ablation(means: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Means of each model of the ablation, beside Tables 4 and 5.

    Args:
        means: of `lib.evidence.ablation.summary`.
        printed: of `lib.evidence.ablation.printed`.
    """
    shown = means[["variant", "n"]].copy()
    theirs = printed.set_index("variant").reindex(means["variant"])
    for name, digits in (("psnr", 1), ("ssim", 3), ("gmsd", 3), ("fsim", 3)):
        title = formatting.shown(name) + (", dB" if name == "psnr" else "")
        shown[title] = _fixed(means[name], digits)
        if name == "psnr":
            ends = means[["psnr", "psnr_low", "psnr_high"]].itertuples(index=False)
            shown[title] = [f"{a:.1f} ({b:.1f}–{c:.1f})" for a, b, c in ends]
        shown[f"printed {title}"] = _fixed(theirs[name], min(digits, 2))
    return shown


def steps(compared: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Whether each step of the ablation helps, beside the paper's difference.

    Args:
        compared: of `lib.evidence.ablation.contrasts`.
        printed: of `lib.evidence.ablation.printed`.
    """
    values = printed.set_index("variant")["psnr"]
    shown = compared[["variant", "reference", "n", "seeds"]].copy()
    ends = compared[["difference", "difference_low", "difference_high"]].itertuples(index=False)
    shown["difference, dB"] = [f"{a:+.2f} ({b:+.2f} to {c:+.2f})" for a, b, c in ends]
    theirs = values[compared["variant"]].to_numpy() - values[compared["reference"]].to_numpy()
    shown["printed"] = [f"{value:+.2f}" for value in theirs]
    return shown.assign(better=compared["better"].to_numpy())


def attackers(table: pd.DataFrame) -> pd.DataFrame:
    """Images classified correctly through each defense, by attacker.

    Args:
        table: of `results_tables.attackers`, with ``dataset``.
    """
    shown = table[["dataset", "size", "classifier", "pixels", "defense", "n"]].copy()
    for name, title in (("clean", "no attack"), ("oblivious", "attack without knowledge"),
                        ("adaptive", "adaptive attack")):  # fmt: skip
        shown[title] = rates(table, name)
    return _sized(shown)


def _sized(table: pd.DataFrame) -> pd.DataFrame:
    """Size first, no protocol, and no missing text."""
    table = table.drop(columns="protocol", errors="ignore").rename(columns={"size": SIZE})
    table.insert(0, SIZE, table.pop(SIZE))
    if "dataset" in table:
        table.insert(0, "dataset", table.pop("dataset"))
    return table


def page(table: pd.DataFrame, caption: str = ""):
    """A table for a page, or a sentence where it has no rows."""
    from IPython.display import Markdown

    if not len(table):
        return Markdown("Not recorded yet.")
    style = tables.table(table, caption)
    left = {"text-align": "left"}
    for name in TEXTS & set(table.columns):
        style.set_properties([name], **left)
        heading = [{"selector": "th.col_heading", "props": list(left.items())}]
        style.set_table_styles({name: heading}, overwrite=False)
    return style


def answer(found: Record, success: pd.DataFrame, pooled: pd.DataFrame) -> str:
    """What came out on one data set, in two or three sentences.

    Args:
        found: the record.
        success: of `results_tables.success`.
        pooled: of `results_tables.defenses` of the protocol nearest to the paper's, one row a
            defense; may be empty.
    """
    if not len(success):
        return f"No attack on {formatting.shown(found.dataset)} is recorded yet."
    near = recorded.nearest(success)
    known = near[near["printed"].notna()]
    first = (known if len(known) else near).iloc[0]
    told = (
        f"At {first['size']} px, the {formatting.attack(first['pixels'])} changes the prediction "
        f"of {formatting.shown(first['classifier'])} for {rate(first['rate'])} of {first['n']} "
        f"images of {formatting.shown(found.dataset)}"
    )
    told += f"; the paper prints {_printed(first['printed'])}." if len(known) else "."
    return " ".join([told, *_defended(pooled)])


def _defended(pooled: pd.DataFrame) -> list[str]:
    """What the DAE and the median filter do with 100 attacked and 100 clean images."""
    if not len(pooled) or not {"dae", "median3"} <= set(pooled["defense"]) or not pooled["n"].max():
        return []
    of = pooled.set_index("defense")
    back, lost = (100 * of["recovered"]).round(), (100 * (1 - of["kept"])).round()
    return [
        f"After the DAE, {back['dae']:.0f} of 100 attacked images are classified correctly again, "
        f"but {lost['dae']:.0f} of 100 clean images no longer are.",
        f"A plain 3 x 3 median filter reaches {back['median3']:.0f} and {lost['median3']:.0f}.",
    ]


def overview(success: pd.DataFrame, defenses: pd.DataFrame) -> str:
    """What came out on all data sets, in three sentences.

    Args:
        success: of `results_tables.success`, with ``dataset``.
        defenses: of `results_tables.defenses`, one row a data set and defense.
    """
    told = []
    known = success[success["printed"].notna()]
    inside = ((known["low"] <= known["printed"]) & (known["printed"] <= known["high"])).sum()
    if len(known):
        told.append(
            "One or two changed pixels mislead the classifiers on every data set, but only "
            f"{inside} of {len(known)} printed success rates lie within our 95 % interval."
        )
    names = defenses["defense"] if len(defenses) else []
    dae, median = (defenses[names == name].set_index("dataset") for name in ("dae", "median3"))
    back = dae["recovered"].dropna()
    if len(back):
        ahead = (back > median["recovered"].reindex(back.index)).sum()
        told.append(
            f"The DAE recovers the label of {rate(back.min())} to {rate(back.max())} of the "
            f"attacked images, more than a plain 3 x 3 median filter on {ahead} of {len(back)} "
            "data sets."
        )
    if len(known):
        most = known.loc[(known["rate"] - known["printed"]).abs().idxmax()]
        told.append(
            f"The largest gap is {formatting.shown(most['dataset'])} with "
            f"{formatting.shown(most['classifier'])} and {formatting.pixels(most['pixels'])}: "
            f"{rate(most['rate'])} here, {_printed(most['printed'])} printed."
        )
    return " ".join(told) or "No attack is recorded yet."
