"""What recorded attackers say: the worst of all, and what double masking proves."""

from pathlib import Path

import pandas as pd

from lib.defense import worst_case
from lib.defense.worst_case import LINF, NONE, PIXELS, WORST
from lib.evidence import certificates, run_tables
from lib.evidence.run_tables import PLAIN, RUN
from lib.metrics import clusters, intervals
from lib.params import ATTACKS, MASKING

BARE = {"bare": "identity"}  # a certificate's name for no defense
KEYS = [*RUN, "training", "pixels"]
TRAINED = f"{MASKING}_trained"  # double masking of a classifier that was trained under masks
CASES = ("clean", "oblivious", "adaptive", "same", "most", "dense")


def read(results: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, str]]]:
    """All recorded attackers, all recorded certificates of double masking, and sources.

    Returns:
        The tables of `lib.defense.attackers.attack_all`, with ``pixels``, and ``masking``, as of
        `run_tables.read`; and the provenance of the images by folder.
    """
    names = {f"attackers_{name}": pixels for pixels, name in ATTACKS.items()}
    attacked, sources = run_tables.read(results, names)
    masked, more = run_tables.read(results, ["masking"])
    return attacked.assign(pixels=attacked["table"].map(names)), masked, sources | more


def worst(attacked: pd.DataFrame) -> pd.DataFrame:
    """Images classified correctly through each defense, after each kind of attack.

    Args:
        attacked: of `read`.

    Returns:
        One row a run, number of pixels and defense: ``n`` images, and with their 95 % intervals in
        ``_low`` and ``_high`` the shares that are correct: ``clean``; ``oblivious``, after the
        paper's attack; ``adaptive``, after the same search through defense and classifier;
        ``same``, ``most`` and ``dense``, after the worst of all attacks with as many pixels, with
        more, and with a small change of all values. NaN where there was no such attack.
    """
    rows = []
    for names, group in attacked.groupby(KEYS, sort=False):
        shares = worst_case.worst_case(group)
        for defense, of in shares.groupby("defense", sort=False):
            row = dict(zip(KEYS, names, strict=True)) | {"defense": defense}
            row["n"] = int(of.loc[of["attacker"] == NONE, "n"].iloc[0])
            for case in CASES:
                found = _case(of, case, names[-1])
                estimate = found[["correct", "correct_low", "correct_high"]].to_numpy()
                row |= intervals.columns(case, estimate[0] if len(found) else intervals.NONE)
            rows.append(row)
    return pd.DataFrame(rows)


def _case(shares: pd.DataFrame, case: str, pixels: int) -> pd.DataFrame:
    """The row of a case among those of one defense, of `worst_case.worst_case`; none without it."""
    if case in ("clean", "oblivious", "adaptive"):
        of = shares[shares["attacker"] == (NONE if case == "clean" else case)]
        return of[of["budget"].isin((0, pixels))]
    of = shares[shares["attacker"] == WORST]
    of = of[of["family"] == (LINF if case == "dense" else PIXELS)]
    if case == "same":
        return of[of["budget"] == pixels]
    if case == "most":
        of = of[of["budget"] > pixels]
    return of[of["budget"] == of["budget"].max()]


def to_pool(results: Path, attacked: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `read` of the runs of one protocol, one pixel and more, and its weak classifiers.

    The protocol is that with the most attacked images, because others have other attackers and
    budgets. Runs whose classifier is right less often than a constant answer are left out; they are
    the second table, of `certificates.below_baseline`.
    """
    if not len(attacked):
        return attacked, attacked
    one = attacked[(attacked["pixels"] == 1) & (attacked["training"] == PLAIN)]
    clean = one.loc[one["attacker"] == NONE, "protocol"]
    one = one[one["protocol"].isin(clean.value_counts().index[:1])]
    weak = certificates.below_baseline(results, one)
    of_weak = pd.MultiIndex.from_frame(one[RUN]).isin(pd.MultiIndex.from_frame(weak[RUN]))
    return one[~of_weak], weak


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """`worst_case.worst_case` of the rows of `to_pool` together.

    Each run attacks its own images: an image attacked on two classifiers counts twice, as one
    cluster.
    """
    if not len(rows):
        return pd.DataFrame()
    run = rows[RUN].astype(str).agg("/".join, axis=1)
    named = rows.assign(dataset=run, cluster=clusters.of(rows))
    return worst_case.worst_case(named.drop(columns=[name for name in RUN if name != "dataset"]))


def ends(shares: pd.DataFrame) -> pd.DataFrame:
    """Of `pooled` the clean images and the worst attacks: the paper's budget and the largest."""
    if not len(shares):
        return shares
    of = shares[shares["attacker"] == WORST]
    edges = of.groupby(["defense", "family"])["budget"]
    largest = of["budget"] == edges.transform("max")
    of = of[(of["budget"] == 1) | largest]
    return shares[(shares["attacker"] == NONE) | shares.index.isin(of.index)]


def checks(attacked: pd.DataFrame) -> pd.DataFrame:
    """`worst_case.sanity` of each run and number of pixels, with `KEYS` in front."""
    tables = [
        worst_case.sanity(group).assign(**dict(zip(KEYS, names, strict=True)))
        for names, group in attacked.groupby(KEYS, sort=False)
    ]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table[[*KEYS, *table.columns.difference(KEYS, sort=False)]]


def proved(masked: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and certified accuracy of double masking on clean test images.

    Args:
        masked: of `read`.

    Returns:
        One row a run: ``n`` images; ``clean``, the share that the classifier alone gets right,
        ``defended`` and ``certified`` with 95 % intervals in ``_low`` and ``_high``; ``seconds`` of
        a decision, ``seconds_certify`` of a certificate that holds.
    """
    rows = []
    for names, group in masked.groupby([*RUN, "training"], sort=False):
        row = dict(zip([*RUN, "training"], names, strict=True)) | {"n": len(group)}
        of = clusters.of(group)
        for name in ("clean", "defended", "certified"):
            row |= intervals.columns(name, intervals.share(group[name], of))
        sure = group[group["certified"].astype(bool)]
        row |= {
            "seconds": group["seconds"].mean(),
            "seconds_certify": sure["seconds_certify"].mean(),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def fine_tuned(results: Path) -> pd.DataFrame:
    """Accuracy behind each denoiser, before and after the classifier learned from its images.

    Returns:
        One row a run and defense: ``n`` clean test images; ``before`` and ``after``, shares that
        are correct, and ``gain``, each with its 95 % interval in ``_low`` and ``_high``.
    """
    table, rows = run_tables.read(results, ["fine_tuning"])[0], []
    if not len(table):
        return table
    for names, group in table.groupby([*RUN, "defense"], sort=False):
        row = dict(zip([*RUN, "defense"], names, strict=True)) | {"n": len(group)}
        of = clusters.of(group)
        for name in ("before", "after"):
            row |= intervals.columns(name, intervals.share(group[name], of))
        gain = group["after"].astype(int) - group["before"].astype(int)
        rows.append(row | intervals.columns("gain", intervals.paired(gain, of)))
    return pd.DataFrame(rows)


def proofs(results: Path) -> pd.DataFrame:
    """Which share of test images is proved correct under any one-pixel attack, by defense.

    All classifiers of a data set and size together that are right more often than a constant
    answer.

    Returns:
        One row a data set, size and defense: ``n`` images, with two classifiers each twice;
        ``clean``, the share that is correct behind the defense, and ``robust``, with their 95 %
        intervals. ``identity`` and ``median3`` are from the exact
        certificates; ``double_masking`` is from its own, which can miss what holds, and `TRAINED`
        the same of classifiers that were trained under masks.
    """
    exact = certificates.read(results)[0]
    masked = run_tables.read(results, ["masking"])[0]
    right = exact.get("skipped", pd.Series(dtype=bool)).eq(False)
    defenses = masked["training"].map({PLAIN: MASKING}).fillna(TRAINED)
    tables = [
        found.assign(defense=defense, clean=clean, robust=robust)
        for found, defense, clean, robust in (
            (exact, exact.get("through"), right, exact.get("robust")),
            (masked, defenses, masked.get("defended"), masked.get("certified")),
        )
        if len(found)
    ]
    if not tables:
        return pd.DataFrame()
    every = pd.concat(tables, ignore_index=True)
    weak = pd.MultiIndex.from_frame(certificates.below_baseline(results, every)[RUN])
    every = every[~pd.MultiIndex.from_frame(every[RUN]).isin(weak)].replace({"defense": BARE})
    rows = []
    for names, group in every.groupby(["dataset", "size", "defense"], sort=False):
        row = dict(zip(("dataset", "size", "defense"), names, strict=True)) | {"n": len(group)}
        for name in ("clean", "robust"):
            right = intervals.share(group[name].astype(bool), clusters.of(group))
            row |= intervals.columns(name, right)
        rows.append(row)
    return pd.DataFrame(rows)
