"""Tables of the results pages: what is recorded of one data set, whatever the protocol.

Every table has the columns ``protocol`` and ``size`` (edge of the images in pixels) and is ordered
from the protocol nearest to the paper's down. Shares are 0..1 with 95 % intervals in ``low, high``
or ``<name>_low, <name>_high``; NaN where there is nothing.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from lib.defense import restoration
from lib.defense.break_even import SAMPLES
from lib.evidence import printed as paper
from lib.evidence import rates, variants
from lib.evidence.recorded_runs import RecordedRuns, protocols, tested
from lib.evidence.run_tables import by_group, joined
from lib.figures.formatting import attack, shown
from lib.metrics import clusters
from lib.metrics.intervals import CLASS_MEAN, columns, paired, rate, share

WITHIN = ["protocol", "size", "classifier"]  # tells apart the runs of one data set
ATTACK = [*WITHIN, "pixels"]
METRICS = tuple(paper.METRICS.values())
CENTER = 0.5  # edge of the central part of an image, as a share of the image's


def accuracies(found: RecordedRuns) -> pd.DataFrame:
    """Test accuracy of each classifier beside Tables 12 and 34.

    Returns:
        `WITHIN`, ``training_images, budget`` (queries allowed an image), ``n, accuracy, low, high,
        constant`` (accuracy of a constant answer) and ``printed``.
    """
    table = found.runs[[*WITHIN, "training_images", "budget", "n", "correct", "constant"]].copy()
    shares = [rate(*row) for row in table[["correct", "n"]].itertuples(index=False)]
    table[["accuracy", "low", "high"]] = np.array(shares)
    printed = {
        name: paper.classifier_table(name).set_index("dataset")["test_accuracy"]
        for name in table["classifier"].unique()
    }
    table["printed"] = [printed[name].get(found.dataset) for name in table["classifier"]]
    return table.drop(columns="correct")


def precision_recall(found: RecordedRuns) -> pd.DataFrame:
    """``images, precision, recall, f1`` of each class beside Tables 13 to 16, ``printed_*``."""
    names = ["precision", "recall", "f1"]
    table = found.classes
    if not len(table):
        return table
    printed = paper.prf_table(found.dataset, "resnet50").assign(classifier="resnet50")
    printed = printed.rename(columns={name: f"printed_{name}" for name in names})
    return table[[*WITHIN, "class", "images", *names]].merge(
        printed, "left", ["classifier", "class"]
    )


def times(found: RecordedRuns) -> pd.DataFrame:
    """Minutes of training and attack beside Tables 44 to 51.

    Returns:
        ``protocol, size, step, minutes, printed, table``; ``step`` is ``(classifier,)``,
        ``(classifier, pixels)`` or ``(denoiser,)``.
    """
    rows = []
    for row in found.runs.itertuples():
        printed = _minutes(paper.training_minutes(row.classifier), found.dataset)
        rows.append((row.protocol, row.size, (row.classifier,), row.minutes, *printed))
    for (protocol, size, *step), group in found.attacks.groupby(ATTACK, sort=False):
        table = paper.attack_minutes(step[1]) if step[0] == "resnet50" else None
        minutes = group["seconds"].sum() / 60
        rows.append((protocol, size, tuple(step), minutes, *_minutes(table, found.dataset)))
    for row in found.denoisers.itertuples():
        printed = _minutes(paper.denoiser_minutes(found.dataset), row.denoiser)
        rows.append((row.protocol, row.size, (row.denoiser,), row.minutes, *printed))
    return pd.DataFrame(rows, columns=["protocol", "size", "step", "minutes", "printed", "table"])


def _minutes(printed: pd.DataFrame | None, name: str) -> tuple[float, float]:
    """Printed minutes of a row and the number of their table."""
    if printed is None or name not in set(printed.iloc[:, 0]):
        return np.nan, np.nan
    return printed.set_index(printed.columns[0]).loc[name, "minutes"], printed.attrs["table"]


def success_by_class(found: RecordedRuns) -> pd.DataFrame:
    """Attack success of each class, and of all, beside the printed one.

    Returns:
        `ATTACK`, ``class, n, successes, rate, low, high, printed, table``: all classes in the
        paper's order, those without an attacked image too; then ``all``, which has no printed
        value, as the mix of classes differs (see `success`). Of test images.
    """

    def of_attack(group: pd.DataFrame) -> pd.DataFrame:
        table = rates.success_by_class(group)
        table = table[table["class"] != CLASS_MEAN].assign(printed=np.nan, table=None)
        beside = paper.attack_table(found.dataset, *group[["classifier", "pixels"]].iloc[0])
        if beside is None:
            return table
        printed = table["class"].map(beside.set_index("class")["printed_rate"])
        return table.assign(printed=printed, table=beside.attrs["table"])

    return by_group(found.tested.attacks, ATTACK, of_attack)


def success(found: RecordedRuns) -> pd.DataFrame:
    """Attack success on test images of each run, beside the printed rate of Tables 32, 33 and 43.

    Returns:
        `ATTACK` and what `rates.success_rate` gives; ``learned``, how many images of the
        other parts were attacked too (ATK16), and ``learned_misled``, how many of them were misled.
        They count in no rate. ``weak``: a constant answer beats the classifier.
    """

    def of_attack(group: pd.DataFrame) -> dict[str, float]:
        others = group.loc[group["part"] != "test", "success"]
        counts = {"learned": len(others), "learned_misled": int(others.sum())}
        counts["weak"] = bool(weak[tuple(group[WITHIN].iloc[0])])
        return rates.success_rate(tested(group)) | counts

    weak = found.runs.set_index(WITHIN)["weak"]
    return by_group(found.attacks, ATTACK, of_attack)


def class_weighted(success: pd.DataFrame) -> pd.DataFrame:
    """`success` with each class as often as in the paper's table, where enough were attacked.

    Returns:
        Also ``weighted``, and ``agrees``, whether the rate agrees with the printed one of the same
        classes, see `lib.evidence.rates.agrees`; false where nothing is printed.
    """
    own, same = ["rate", "low", "high", *rates.PRINTED], [*rates.MATCHED, *rates.MATCHED_PRINTED]
    weighted = success["matched"].notna()
    best = success[same].set_axis(own, axis=1).where(weighted, success[own], axis=0)
    agrees = [n == n and rates.agrees(ours, printed, n) for *ours, printed, n in best.to_numpy()]
    table = success.assign(**best[own[:3]])
    return table.assign(weighted=weighted, agrees=np.array(agrees, dtype=bool))


def positions(found: RecordedRuns) -> pd.DataFrame:
    """Changed pixels of successful attacks: ``x, y`` in 0..1 of the image's edge, by `ATTACK`.

    Also what names the image of each, and its patient or lesion.
    """
    fooled = found.attacks[found.attacks["success"]]
    image = [name for name in (*restoration.IMAGE, "group") if name in fooled]
    table = fooled[[*ATTACK, *image, "rows", "cols"]].explode(["rows", "cols"])
    table["y"] = (table["rows"].astype(float) + 0.5) / table["size"]
    table["x"] = (table["cols"].astype(float) + 0.5) / table["size"]
    return table.drop(columns=["rows", "cols"]).reset_index(drop=True)


def central(places: pd.DataFrame) -> tuple[float, float, float]:
    """Share of `positions` in the central quarter of the image, with its interval."""
    near = (places[["x", "y"]] - 0.5).abs().le(CENTER / 2).all(axis=1)
    return share(near, clusters.of(places))


def defenses(found: RecordedRuns, by: list[str] = WITHIN, samples: int = SAMPLES, seed: int = 0):
    """What each defense gives and costs, on test images only.

    Returns:
        The columns of ``by``, ``defense`` and those of `lib.defense.restoration.shares` and
        `pays_from`: ``recovered`` (label recovery rate), ``kept`` (clean prediction retention),
        ``pays_from`` (break-even attack prevalence).
    """
    return by_group(
        found.tested.restored, by, lambda group: rates.defense_rates(group, samples, seed)
    )


def removal(found: RecordedRuns, by: list[str]) -> pd.DataFrame:
    """Whether each defense removes the attack, over the successful attacks on test images.

    Returns:
        The columns of ``by``, ``defense``, ``n``; with intervals the shares ``recovered``,
        ``kept`` (the clean image of the same attack keeps its class) and ``removed`` (the attacked
        image gets the class that the clean image gets after the same defense); ``lost``, how many
        are not recovered, and ``both``, how many of these lose the clean image, too.
    """

    def of_group(group: pd.DataFrame) -> pd.DataFrame:
        won = group[group["success"]]
        same = won["restored_class"].astype(object) == won["clean_class"].astype(object)
        won, rows = won.assign(removed=same, cluster=clusters.of(won)), []
        for name, of in won.groupby("defense", sort=False):
            lost = ~of["recovered"]
            row = {"defense": name, "n": len(of), "lost": lost.sum()}
            row["both"] = (lost & ~of["kept"]).sum()
            for one in ("recovered", "kept", "removed"):
                row |= columns(one, share(of[one], of["cluster"]))
            rows.append(row)
        return pd.DataFrame(rows)

    return by_group(found.tested.restored, by, of_group)


def quality(found: RecordedRuns, by: list[str] = ATTACK, samples: int = SAMPLES, seed: int = 0):
    """Image quality after each defense beside the printed one, over all successful attacks.

    Returns:
        The columns of ``by``, those of `lib.defense.restoration.summary`, and where ``by`` is
        `ATTACK` the printed means, ``printed_psnr`` and so on; an MSE that is on another scale
        than 0..1 is left out (audit P1).
    """

    def of_group(group: pd.DataFrame) -> pd.DataFrame:
        table = restoration.summary(group, samples, seed)
        if by != ATTACK:
            return table
        beside = paper.denoise_table(found.dataset, *group[["classifier", "pixels"]].iloc[0])
        if beside is None:
            return table.assign(**{f"printed_{name}": np.nan for name in METRICS})
        beside["mse"] = beside["mse"].where(beside["mse_scale"] == 1)
        beside = beside.set_index("defense")[[*METRICS]].add_prefix("printed_")
        return table.join(beside, on="defense")

    return by_group(found.restored, by, of_group)


def over(
    records: dict[str, RecordedRuns], make: Callable[[RecordedRuns], pd.DataFrame],
    every: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """A table of each data set below one another, with ``dataset``.

    ``every``: the rows of all protocols, not of the nearest to the paper's alone.
    """
    tables = {name: make(found) for name, found in records.items()}
    if not every:
        tables = {name: nearest(table) for name, table in tables.items()}
    return joined([table.assign(dataset=name) for name, table in tables.items() if len(table)])


def paneled(success: pd.DataFrame) -> pd.DataFrame:
    """Rates with ``panel``, attack and classifier in words."""
    panel = [f"{attack(row.pixels).capitalize()}, {shown(row.classifier)}"
             for row in success.itertuples()]  # fmt: skip
    return success.assign(panel=panel)


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """Of several protocols' rows on one data set those of the protocol nearest to the paper's."""
    return table[table["protocol"] == table["protocol"].iloc[0]] if len(table) else table


def difference(
    rows: pd.DataFrame, share: str, one: str | int, other: str | int, of: str = "defense"
) -> tuple[float, float, float]:  # fmt: skip
    """A share with one defense minus that with another, on the same attacks.

    ``of`` is the column whose two values are compared: also ``pixels``, on the same images.

    Returns:
        Paired difference and its 95 % interval, see `lib.metrics.intervals.paired`.
    """
    keys = [*clusters.image_columns(rows), "classifier", "pixels"]
    sides = (rows[rows[of] == value] for value in (one, other))
    both = pd.merge(*sides, on=[key for key in keys if key != of], suffixes=("", "_other"))
    return paired(both[share].astype(int) - both[f"{share}_other"].astype(int), clusters.of(both))


def size_effect(success: pd.DataFrame) -> tuple[int, int, int]:
    """In how many pairs of sizes larger images are misled less often, more often, and of how many.

    Compared are the rates of one data set, classifier and number of pixels at two sizes next to
    each other; of several runs of a size, the one of most images counts.
    """
    if not len(success):
        return 0, 0, 0
    keys = ["dataset", "classifier", "pixels"]
    most = success.sort_values("n", kind="stable").drop_duplicates([*keys, "size"], keep="last")
    change = most.sort_values("size").groupby(keys)["rate"].diff().dropna()
    return int((change < 0).sum()), int((change > 0).sum()), len(change)


def size_contrasts(results: Path) -> pd.DataFrame:
    """Variants that change the size of the images beside their protocol, on the same images.

    Returns:
        `lib.evidence.variants.contrasts` of them, with ``size`` and ``base_size``.
    """
    tables = []
    for base in protocols(results):
        collected = variants.read_each(results, [base, *variants.resized(base)])
        table = variants.contrasts(collected, base)
        if len(table):
            places = table[["variant", "dataset"]].itertuples(index=False)
            table["size"] = [collected[name].sizes[dataset] for name, dataset in places]
            table["base_size"] = table["dataset"].map(collected[base].sizes)
            tables.append(table)
    return joined(tables)
