"""Tables of the ablation as texts for a page, beside Tables 3 to 5."""

import pandas as pd

from lib.evidence import ablation as ablations
from lib.evidence import printed as paper
from lib.evidence.defenses_shown import DIGITS, PRINTED, both
from lib.evidence.results_shown import fixed, metric
from lib.figures.tables import ends, intervals

INTERVALS = (
    "Means over images and training runs. The 95 % interval of PSNR is over images and covers "
    "those of all training runs."
)


def ablation(means: pd.DataFrame) -> pd.DataFrame:
    """`ablations.summary` beside Tables 4 and 5, and two models beside Table 3."""
    shown = means[["variant", "n"]].copy()
    theirs = ablations.printed().set_index("variant").reindex(means["variant"])
    table_3 = paper.ablation(3).set_index("variant").reindex(means["variant"])
    for name, decimals in PRINTED.items():
        shown[metric(name)] = fixed(means[name], DIGITS[name])
        if name == "psnr":
            shown[metric(name)] = intervals(means, name, DIGITS[name])
        printed = fixed(theirs[name], decimals)
        if name in table_3:
            printed = both(printed, fixed(table_3[name], decimals))
        shown[f"printed {metric(name)}"] = printed
    return shown


def ablation_points(means: pd.DataFrame) -> pd.DataFrame:
    """PSNR of `ablations.summary` as `lib.figures.variants` takes it."""
    points = means.rename(columns={"psnr": "mean", "psnr_low": "low", "psnr_high": "high"})
    printed = ablations.printed().set_index("variant")["psnr"]
    return points.assign(printed=points["variant"].map(printed))


def steps(compared: pd.DataFrame) -> pd.DataFrame:
    """Whether each step of `ablations.contrasts` helps, beside the paper's difference."""
    values = ablations.printed().set_index("variant")["psnr"]
    theirs = compared["variant"].map(values) - compared["reference"].map(values)
    differences = ends(compared, "difference")
    return compared[["variant", "reference", "n", "seeds"]].assign(**{
        "difference, dB": [f"{a:+.2f} ({b:+.2f} to {c:+.2f})" for a, b, c in differences],
        "printed": [f"{value:+.2f}" for value in theirs], "better": compared["better"],
    })  # fmt: skip


def models(table: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Size and time of the models of `ablations.run`, means over seeds, and the seeds' PSNR."""
    sizes = table.drop(columns=["seed", "validation_psnr"], errors="ignore")
    sizes = sizes.groupby("variant", sort=False).mean().reset_index()
    return sizes.merge(means[["variant", "seeds", "psnr_worst", "psnr_best"]], on="variant")
