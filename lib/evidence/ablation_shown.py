"""Tables of the ablation as texts for a page, beside Tables 3 to 5."""

import pandas as pd

from lib.evidence import ablation as ablations
from lib.evidence import printed as paper
from lib.evidence.defenses_shown import DIGITS, PRINTED
from lib.evidence.results_shown import estimate, fixed, metric

INTERVALS = (
    "Means over images and trainings. The 95 % interval of PSNR is over images and holds those of "
    "all trainings."
)


def ablation(means: pd.DataFrame) -> pd.DataFrame:
    """Means of each model of the ablation, beside Tables 4 and 5, and of two beside Table 3.

    Args:
        means: of `lib.evidence.ablation.summary`.
    """
    shown = means[["variant", "n"]].copy()
    theirs = ablations.printed().set_index("variant").reindex(means["variant"])
    table_3 = paper.ablation(3).set_index("variant").reindex(means["variant"])
    for name, decimals in PRINTED.items():
        shown[metric(name)] = fixed(means[name], DIGITS[name])
        if name == "psnr":
            ends = means[["psnr", "psnr_low", "psnr_high"]].itertuples(index=False)
            shown[metric(name)] = [estimate(*each, DIGITS[name]) for each in ends]
        printed = fixed(theirs[name], decimals)
        if name in table_3:
            more = fixed(table_3[name], decimals)
            printed = [
                f"{one} ({other})" if other != "–" else one
                for one, other in zip(printed, more, strict=True)
            ]
        shown[f"printed {metric(name)}"] = printed
    return shown


def ablation_points(means: pd.DataFrame) -> pd.DataFrame:
    """PSNR of an ablation's variants as `lib.figures.variants` takes it; ``means`` as above."""
    points = means.rename(columns={"psnr": "mean", "psnr_low": "low", "psnr_high": "high"})
    printed = ablations.printed().set_index("variant")["psnr"]
    return points.assign(printed=points["variant"].map(printed))


def steps(compared: pd.DataFrame) -> pd.DataFrame:
    """Whether each step of the ablation helps, beside the paper's difference.

    Args:
        compared: of `lib.evidence.ablation.contrasts`.
    """
    values = ablations.printed().set_index("variant")["psnr"]
    shown = compared[["variant", "reference", "n", "seeds"]].copy()
    ends = compared[["difference", "difference_low", "difference_high"]].itertuples(index=False)
    shown["difference, dB"] = [f"{a:+.2f} ({b:+.2f} to {c:+.2f})" for a, b, c in ends]
    theirs = values[compared["variant"]].to_numpy() - values[compared["reference"]].to_numpy()
    shown["printed"] = [f"{value:+.2f}" for value in theirs]
    return shown.assign(better=compared["better"].to_numpy())


def models(table: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Size and time of the models of an ablation, means over seeds, and the seeds' PSNR.

    Args:
        table: one row a variant and seed, of `lib.evidence.ablation.run`.
        means: of `lib.evidence.ablation.summary`.
    """
    sizes = table.drop(columns=["seed", "validation_psnr"], errors="ignore")
    sizes = sizes.groupby("variant", sort=False).mean().reset_index()
    return sizes.merge(means[["variant", "seeds", "psnr_worst", "psnr_best"]], on="variant")
