"""Text of the page about the strongest attacks."""

import pandas as pd

from book.results_text import beaten
from lib.defense.restoration import IMAGE
from lib.defense.worst_case import LINF, PIXELS, WORST, worst_case
from lib.evidence import attackers, results_tables
from lib.evidence.run_tables import RUN, UNDER_MASKS
from lib.figures import formatting
from lib.figures.formatting import attack, enumerated, many, rate, shown
from lib.figures.tables import rates
from lib.params import PATCHES, PRINTED_SIZE


def strongest(rows: pd.DataFrame, ends: pd.DataFrame) -> str:
    """What the worst of all attacks leaves correct.

    ``rows`` are of `lib.evidence.attackers.to_pool`, ``ends`` of `lib.evidence.attackers.ends`.
    """
    if not len(ends):
        return ""
    of = ends[ends["attacker"] == WORST]
    one = of[(of["family"] == PIXELS) & (of["budget"] == 1)].set_index("defense")
    if not {"identity", "dae"} <= set(one.index):
        return ""
    dense = of[of["family"] == LINF]
    best, images = one["correct"].idxmax(), rows[IMAGE].drop_duplicates()
    correct = rates(one, "correct")
    text = (
        f"Of {one['n'].max()} attacks on {many(len(images), 'image')} at {_sizes(rows)} px, the "
        f"worst with one pixel leave the class correct in {correct['identity']} without a defense "
        f"and in {correct['dae']} with the DAE. The highest share is {correct[best]}, with "
        f"{shown(best)}."
    )
    if len(dense):
        text += (
            f" If every value may change by {dense['budget'].max():.0f}/255, at most "
            f"{rate(dense['correct'].max())} remain correct."
        )
    return text


def adaptive(rows: pd.DataFrame, shares: pd.DataFrame) -> str:
    """What an attacker who knows the defense achieves with one pixel.

    ``rows`` are of `lib.evidence.attackers.to_pool`, ``shares`` of `lib.evidence.attackers.pooled`.
    """
    knowing, oblivious = (attackers.one_pixel(shares, of) for of in ("adaptive", "oblivious"))
    if not {"identity", "dae"} <= set(knowing.index) & set(oblivious.index):
        return "No adaptive attack on the DAE is recorded yet."
    aware, unaware = rates(knowing, "correct"), rates(oblivious, "correct")
    searched = rows[rows["attacker"] == "adaptive"]
    gain = results_tables.difference(searched, "correct", "dae", "identity")
    return (
        "Against an attacker who knows the defense and changes one pixel, "
        f"{aware['dae']} keep the correct class with the DAE, and {aware['identity']} without a "
        f"defense. {_gain(*gain)}If the attacker does not know the defense, the DAE keeps "
        f"{unaware['dae']} correct.{_patches(rows, oblivious)}"
    )


def _patches(rows: pd.DataFrame, oblivious: pd.DataFrame) -> str:
    """Whether patch selection does with a median filter what it does with the DAE."""
    names = [name + PATCHES for name in ("dae", "median3")]
    if not {*names} <= set(oblivious.index):
        return ""
    dae, median = (rate(share) for share in oblivious.loc[names, "correct"])
    unaware = rows[rows["attacker"] == "oblivious"]
    _, low, high = results_tables.difference(unaware, "correct", *names)
    gained = results_tables.difference(unaware, "correct", names[0], "dae")[1] > 0
    text = f" With patch selection, it keeps {dae} correct, and a median filter {median}."
    if gained and low <= 0 <= high:
        text += " So patch selection matters more than what fills the patches."
    return text


def _gain(gain: float, low: float, high: float) -> str:
    """The paired difference between the two, and whether it decides; nothing without images."""
    if gain != gain:
        return ""
    decides = "" if low > 0 or high < 0 else ", so it is inconclusive"
    points = formatting.gain(gain, low, high)
    return f"The difference in percentage points is {points}{decides}. "


def proved(table: pd.DataFrame) -> str:
    """What double masking proves; ``table`` of `lib.evidence.attackers.proved`."""
    if not len(table):
        return ""
    best = table.loc[table["certified_low"].idxmax()]  # few images prove little
    training = ", trained under masks" if best["training"] == UNDER_MASKS else ""
    return (
        f" In {many(len(table), 'run')}, double masking proves {rate(table['certified'].min())} to "
        f"{rate(table['certified'].max())} of the test images correct under any one-pixel attack. "
        f"The best proves {rate(best['certified'])} of {best['n']} images "
        f"({shown(best['dataset'])} at {best['size']} px, {shown(best['classifier'])}{training})."
    )


def at_printed_size(attacked: pd.DataFrame) -> str:
    """What the strongest attacks do at the paper's 224 px; ``attacked`` of `attackers.read`."""
    if not len(attacked):
        return ""
    text = []
    for names, of in attacked[attacked["size"] == PRINTED_SIZE].groupby(attackers.KEYS, sort=False):
        run, shares = dict(zip(attackers.KEYS, names, strict=True)), worst_case(of)
        images = int(shares["n"].iloc[0])
        knowing = shares[(shares["attacker"] == "adaptive") & (shares["budget"] == run["pixels"])]
        left = (knowing.set_index("defense")["correct"] * images).round().astype(int)
        if not {"identity", "dae"} <= set(left.index):
            continue
        text.append(
            f"At {run['size']} px, the adaptive {attack(run['pixels'])} leaves "
            f"{left['dae']} of {images} {shown(run['dataset'])} images correct with the DAE, and "
            f"{left['identity']} without a defense ({shown(run['classifier'])})."
        )
        dense = shares[(shares["attacker"] == WORST) & (shares["family"] == LINF)]
        if len(dense):
            smallest = dense[dense["budget"] == dense["budget"].min()]
            most = round(smallest["correct"].max() * images)
            tried = len({*dense["defense"]} - {"identity"})
            text.append(
                f"A change of every value by {smallest['budget'].iloc[0]:.0f}/255 leaves "
                f"{f'at most {most}' if most else 'none'} of them correct, without a defense or "
                f"with any of {tried} tried."
            )
    return " ".join(text)


def pooled(rows: pd.DataFrame, weak: pd.DataFrame, shown_as: str) -> str:
    """What a figure or table is of; two tables of `lib.evidence.attackers.to_pool`."""
    if not len(rows):
        return ""
    images = rows[[*RUN, "split", "index"]].drop_duplicates()
    each = [
        f"{count} of {shown(name)}"
        for name, count in images.groupby("dataset", sort=False).size().items()
    ]
    text = (
        f"The {shown_as} shows n = {len(images)} attacks at {_sizes(rows)} px: {enumerated(each)} "
        f"(run `{rows['protocol'].iloc[0]}`). An image that is attacked on two classifiers counts "
        "twice; the intervals allow for that."
    )
    worse = beaten(weak)
    return f"{text} Left out: {worse}." if worse else text


def _sizes(rows: pd.DataFrame) -> str:
    return enumerated([f"{size}" for size in sorted(rows["size"].unique())])
