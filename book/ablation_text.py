"""Text of the pages about the ablation."""

from collections.abc import Iterable

import pandas as pd

from lib.evidence import ablation
from lib.figures.formatting import enumerated, many, place, rate, shown
from lib.params.protocols import about

LEVELS = {"levels_3": 3, "proposed": 4, "levels_5": 5}


def conclusion(means: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """How many modules helped, and which depth is best, beside the paper's answer."""
    modules = contrasts["reference"].isin(ablation.MODULES)
    steps, levels = contrasts.loc[modules, "better"], contrasts.loc[~modules, "better"]
    depths = means[means["variant"].isin(ablation.DEPTHS)]
    best = LEVELS[depths.loc[depths["psnr"].idxmax(), "variant"]]
    four = "clearly the best" if (levels == "yes").all() else "not clearly the best"
    helped, harmed = (steps == "yes").sum(), (steps == "no").sum()
    return (
        f"Of {many(len(steps), 'module')}, {helped} helped, {harmed} harmed and "
        f"{len(steps) - helped - harmed} are inconclusive. The paper reports that each one helps. "
        f"The model with {best} levels has the highest mean PSNR. Four levels, the paper's best, "
        f"are {four} here."
    )


def rising(models: pd.DataFrame) -> str:
    """How many models of `ablation.run` might have improved with more training, or nothing."""
    every = models["variant"].nunique()
    left = every - len(ablation.settled_variants(models))
    if not left:
        return ""
    epochs = len(models["validation_psnr"].iloc[0]) if "validation_psnr" in models else 0
    course = (
        f"After {many(epochs, 'epoch')}, the PSNR of {left} of {many(every, 'model')} still rose "
        f"by {ablation.SETTLED} dB per epoch or more"
        if epochs
        else "The course of the PSNR during training is not recorded"
    )
    return (
        f"{course}. So longer training could change values and differences, and verdicts leave "
        "these models out."
    )


def changes(base: str, names: Iterable[str]) -> str:
    """What each variant of a protocol changes and why, a list."""
    return "\n".join(f"- `{name.removeprefix(f'{base}-')}`: {about(name)}" for name in names)


def shortened(base: str, table: pd.DataFrame) -> pd.DataFrame:
    """The same with the names of variants without that of their protocol."""
    return table.assign(variant=table["variant"].str.removeprefix(f"{base}-"))


def instead(base: str, restored: pd.DataFrame) -> str:
    """What the variants with tested defenses change, and how accurate their classifiers are.

    ``restored`` is of `lib.evidence.variants.restored_instead`.
    """
    names = restored["variant"].unique()
    runs = shortened(base, restored.drop_duplicates(["variant", "classifier"]))
    accuracies = " ".join(
        f"In `{run.variant}`, {shown(run.classifier)} classifies {rate(run.accuracy, digits=1)} of "
        f"the test images correctly; a constant answer, {rate(run.constant, digits=1)}."
        for run in runs.itertuples()
    )
    which = "this variant" if len(names) == 1 else "these variants"
    heading = f"Defenses were tested in {which} of the protocol:"
    return f"{heading}\n\n{changes(base, names)}\n\n{accuracies}"


def rankings(retrained: pd.DataFrame) -> str:
    """The denoisers by mean PSNR in each training that has three or more of them.

    ``retrained`` is of `lib.evidence.variants.denoisers_trained_otherwise`, with short names.
    """
    lines, keys = [], ["dataset", "classifier", "variant"]
    for (dataset, classifier, training), of in retrained.groupby(keys, sort=False):
        if len(of) < 3:
            continue
        ranked = of.sort_values("psnr", ascending=False)
        each = [f"{shown(row.defense)} {row.psnr:.1f}" for row in ranked.itertuples()]
        lines.append(f"- {place(dataset, classifier)}, `{training}`: {enumerated(each)} dB")
    return "By mean PSNR, from the highest:\n\n" + "\n".join(lines) if lines else ""


def classifiers(retrained: pd.DataFrame) -> str:
    """Which trainings of the denoisers were tested with the same classifier; as `rankings`."""
    runs = retrained[["dataset", "classifier", "variant", "accuracy", "weights"]].drop_duplicates()
    # A checksum that is not recorded is no other run's.
    runs["weights"] = runs["weights"].where(runs["weights"] != "", runs["variant"])
    text = []
    for (dataset, classifier), of in runs.groupby(["dataset", "classifier"], sort=False):
        each = [
            f"{enumerated([f'`{name}`' for name in same['variant']])} "
            f"({rate(same['accuracy'].iloc[0], digits=1)} of the test images correct)"
            for _, same in of.groupby("weights", sort=False)
        ]
        which = f"{shown(classifier)} on {shown(dataset)}"
        text.append(
            f"One {which} was attacked in all of these runs: {each[0]}."
            if len(each) == 1
            else "Only rows with the same classifier have the same attacked images. By recorded "
            f"checksums, {len(each)} trainings of {which} were used: {'; '.join(each)}."
        )
    return " ".join(text)
