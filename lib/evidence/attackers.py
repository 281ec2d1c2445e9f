"""Recorded attackers: the worst of all attacks, and what double masking proves."""

from pathlib import Path

import pandas as pd

from lib.defense import worst_case
from lib.defense.worst_case import LINF, NONE, PIXELS, WORST
from lib.evidence import certificates, run_tables
from lib.evidence.run_tables import PLAIN, RUN, by_group, joined, share_columns
from lib.metrics import clusters, intervals
from lib.params import ATTACKS, MASKING

KEYS = [*RUN, "training", "pixels"]
TRAINED = f"{MASKING}_trained"  # double masking of a classifier that was trained under masks
CASES = {  # attacker and family in `worst_case.worst_case`
    "clean": (NONE, ""), "oblivious": ("oblivious", PIXELS), "adaptive": ("adaptive", PIXELS),
    "same": (WORST, PIXELS), "most": (WORST, PIXELS), "dense": (WORST, LINF),
}  # fmt: skip


def read(results: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, str]]]:
    """Attackers with ``pixels``, certificates of double masking, and sources.

    See `run_tables.read` and `lib.defense.attackers.attack_all`.
    """
    names = {f"attackers_{name}": pixels for pixels, name in ATTACKS.items()}
    attacked, sources = run_tables.read(results, names)
    masked, more = run_tables.read(results, ["masking"])
    return attacked.assign(pixels=attacked["table"].map(names)), masked, sources | more


def worst(attacked: pd.DataFrame) -> pd.DataFrame:
    """Images classified correctly through each defense, after each kind of attack.

    Returns:
        One row a run, number of pixels and defense: ``n`` images, and with 95 % intervals the
        shares that are correct: ``clean``; ``oblivious``, after the paper's attack; ``adaptive``,
        after the same search through defense and classifier; ``same``, ``most`` and ``dense``,
        after the worst of all attacks with as many pixels, with more, and with a small change of
        all values. NaN where there was no such attack.
    """

    def of_run(group: pd.DataFrame) -> pd.DataFrame:
        pixels = group["pixels"].iloc[0]
        return by_group(worst_case.worst_case(group), ["defense"], lambda of: _cases(of, pixels))

    return by_group(attacked, KEYS, of_run)


def _cases(of: pd.DataFrame, pixels: int) -> dict[str, float]:
    """The shares of one defense, from its rows of `worst_case.worst_case`."""
    row = {"n": int(of.loc[of["attacker"] == NONE, "n"].iloc[0])}
    for case, (attacker, family) in CASES.items():
        rows = of[(of["attacker"] == attacker) & (of["family"] == family)]
        if family == PIXELS:
            rows = rows[rows["budget"] > pixels if case == "most" else rows["budget"] == pixels]
        shares = rows.sort_values("budget")[["correct", "correct_low", "correct_high"]].to_numpy()
        row |= intervals.columns(case, shares[-1] if len(shares) else intervals.NONE)
    return row


def to_pool(results: Path, attacked: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One-pixel rows of the protocol with the most attacked images, and its weak classifiers.

    Other protocols have other attackers and budgets. Weak classifiers, which a constant answer
    beats, are left out; they are the second table, of `certificates.below_baseline`.
    """
    if not len(attacked):
        return attacked, attacked
    one = attacked[(attacked["pixels"] == 1) & (attacked["training"] == PLAIN)]
    clean = one.loc[one["attacker"] == NONE, "protocol"]
    return _useful(results, one[one["protocol"].isin(clean.value_counts().index[:1])])


def _useful(results: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of classifiers that are not weak, and the weak ones."""
    weak = certificates.below_baseline(results, table)
    of_weak = pd.MultiIndex.from_frame(table[RUN]).isin(pd.MultiIndex.from_frame(weak[RUN]))
    return table[~of_weak], weak


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """`worst_case.worst_case` of all rows.

    An image attacked on two classifiers counts twice, as one cluster.
    """
    if not len(rows):
        return pd.DataFrame()
    run = rows[RUN].astype(str).agg("/".join, axis=1)
    named = rows.drop(columns=RUN).assign(dataset=run, cluster=clusters.of(rows))
    return worst_case.worst_case(named)


def one_pixel(shares: pd.DataFrame, attacker: str) -> pd.DataFrame:
    """Of `pooled` what an attacker with the paper's smallest budget leaves, by defense."""
    if not len(shares):
        return shares
    of = shares[(shares["attacker"] == attacker) & (shares["family"] == PIXELS)]
    return of[of["budget"] == 1].set_index("defense")


def ends(shares: pd.DataFrame) -> pd.DataFrame:
    """Of `pooled` the clean images and the worst attacks: the paper's budget and the largest."""
    if not len(shares):
        return shares
    of = shares[shares["attacker"] == WORST]
    largest = of["budget"] == of.groupby(["defense", "family"])["budget"].transform("max")
    worst = of[(of["budget"] == 1) | largest]
    return shares[(shares["attacker"] == NONE) | shares.index.isin(worst.index)]


def checks(attacked: pd.DataFrame) -> pd.DataFrame:
    """`worst_case.sanity` of each run and number of pixels."""
    return by_group(attacked, KEYS, worst_case.sanity)


def proved(masked: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and certified accuracy of double masking on clean test images.

    Returns:
        One row a run: ``n`` images; with 95 % intervals ``clean``, the share that the classifier
        alone gets right, ``defended`` and ``certified``; ``seconds`` of a decision, and
        ``seconds_certify`` of a certificate that holds.
    """
    return by_group(masked, [*RUN, "training"], lambda group: {
        "n": len(group), **share_columns(group, "clean", "defended", "certified"),
        "seconds": group["seconds"].mean(),
        "seconds_certify": group.loc[group["certified"].astype(bool), "seconds_certify"].mean(),
    })  # fmt: skip


def fine_tuned(results: Path) -> pd.DataFrame:
    """Accuracy behind each denoiser, before and after the classifier learned from its images.

    Returns:
        One row a run and defense: ``n`` clean test images; ``before`` and ``after``, shares that
        are correct, and ``gain``, each with its 95 % interval.
    """

    def gains(group: pd.DataFrame) -> dict[str, float]:
        gain = group["after"].astype(int) - group["before"].astype(int)
        gained = intervals.columns("gain", intervals.paired(gain, clusters.of(group)))
        return {"n": len(group), **share_columns(group, "before", "after"), **gained}

    return by_group(run_tables.read(results, ["fine_tuning"])[0], [*RUN, "defense"], gains)


def proofs(results: Path) -> pd.DataFrame:
    """The share of test images that is proved correct under any one-pixel attack, by defense.

    All classifiers of a data set and size together, without weak ones. An image counts once for
    each of them.

    Returns:
        One row a data set, size and defense: ``n`` images; with 95 % intervals ``clean``, the share
        that is correct behind the defense, and ``robust``. ``identity`` and ``median3`` have exact
        certificates; that of ``double_masking`` can miss robust images. `TRAINED` is double masking
        of classifiers that were trained under masks.
    """
    exact = certificates.read(results)[0]
    masked = run_tables.read(results, ["masking"])[0]
    tables = []
    if len(exact):
        names = exact["through"].replace("bare", "identity")  # no defense
        tables.append(exact.assign(defense=names, clean=~exact["skipped"]))
    if len(masked):
        names = masked["training"].map({PLAIN: MASKING}).fillna(TRAINED)
        columns = {"clean": masked["defended"], "robust": masked["certified"]}
        tables.append(masked.assign(defense=names, **columns))
    if not tables:
        return pd.DataFrame()
    return by_group(
        _useful(results, joined(tables))[0], ["dataset", "size", "defense"],
        lambda group: {"n": len(group), **share_columns(group, "clean", "robust")},
    )  # fmt: skip
