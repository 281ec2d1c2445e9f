"""Text of the pages about the ablation."""

import pandas as pd

from lib.evidence import ablation
from lib.figures import tables


def answers(contrasts: pd.DataFrame) -> pd.DataFrame:
    """The table of `ablation.contrasts` for a page, with the paper's differences beside ours."""
    values = ablation.printed().set_index("variant")["psnr"]
    table = contrasts[["variant", "reference", "n", "seeds"]].copy()
    table["difference, dB"] = tables.intervals(contrasts, "difference")
    printed = contrasts["variant"].map(values) - contrasts["reference"].map(values)
    return table.assign(**{"printed difference, dB": printed, "better": contrasts["better"]})


def conclusion(means: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """How many modules helped, and which depth is best, beside the paper's answer."""
    modules = contrasts["reference"].isin(ablation.MODULES)
    steps, levels = contrasts.loc[modules, "better"], contrasts.loc[~modules, "better"]
    depths = means[means["variant"].isin(ablation.DEPTHS)]
    best = {"levels_3": 3, "proposed": 4, "levels_5": 5}[
        depths.loc[depths["psnr"].idxmax(), "variant"]
    ]
    four = "better than both others" if (levels == "yes").all() else "not shown to be best"
    return (
        f"Modules that helped: {(steps == 'yes').sum()} of {len(steps)}; that harmed: "
        f"{(steps == 'no').sum()}; inconclusive: {(~steps.isin(['yes', 'no'])).sum()}. Highest "
        f"mean: {best} levels; four levels are {four} here. A step is inconclusive where not every "
        "training of the one is above, or below, every training of the other. The paper reports "
        "that each module helps and that four levels are best."
    )
