"""Pictures of recorded attacks, where the data set's file is at hand; none is kept."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import attack, data, params
from lib.data import Images
from lib.evidence.recorded_runs import RecordedRuns
from lib.evidence.results_tables import nearest
from lib.figures import gallery
from lib.figures.formatting import shown
from lib.figures.story import Scene
from lib.models.denoisers import build, restore


def at_hand(found: RecordedRuns, root: str, seed: int) -> Images | None:
    """The images that the record of the largest size was made on; None without that very file."""
    run = found.runs.iloc[0]
    if not (params.ROOT / root / run["npz"]).exists():
        return None
    images = data.load(found.dataset, root, int(run["size"]), "official", seed)
    return images if images.provenance.md5 == run["md5"] else None


def missing(found: RecordedRuns, root: str) -> str:
    """How to get the pictures, one line."""
    run = found.runs.iloc[0]
    return (
        f"*To see pictures of these attacks, make the file `{Path(root) / run['npz']}` "
        f"(MD5 `{run['md5'][:8]}`) with `make data SOURCE=folder SIZE={run['size']}`; see "
        "the page Data. This book contains no medical image.*"
    )


def average(images: Images) -> np.ndarray:
    """Mean of the test images, uint8 (H, W, C)."""
    tested = images.images[images.part == "test"]
    return tested.mean(axis=0).round().astype(np.uint8)


def of(images: Images | None, rows: pd.DataFrame) -> list[np.ndarray] | None:
    """The clean images that rows name, each once, in their order; None where none are at hand."""
    if images is None:
        return None
    named = rows[["split", "index"]].drop_duplicates()
    return list(attack.locate(images, named).images)


def scenes(images: Images, found: RecordedRuns) -> tuple[list[Scene], int, int] | None:
    """A successful one-pixel attack of the record: clean, attacked, after a median filter.

    The DAE's weights are not in the record, so its image cannot be shown; its prediction is in the
    last title. Of the attacks that both recover, the one with the median confidence is taken.
    """
    one = nearest(found.restored)
    one = one[(one["pixels"] == 1) & one["success"] & (one["part"] == "test")]
    one = one[one["classifier"] == one["classifier"].iloc[0]] if len(one) else one
    back = one[one["recovered"]].groupby(["split", "index"])["defense"].agg(set)
    chosen = back[back.map(lambda names: {"dae", "median3"} <= names)].index
    attacks = nearest(found.attacks)
    attacks = attacks[(attacks["pixels"] == 1) & attacks["classifier"].isin(one["classifier"])]
    attacks = attacks[attacks.set_index(["split", "index"]).index.isin(chosen)]
    if not len(attacks):
        return None
    attacks = attacks.sort_values("p_before").iloc[[len(attacks) // 2]]
    row = attacks.iloc[0]
    clean = attack.locate(images, attacks).images
    attacked = attack.rebuild(clean, attacks)
    channels = clean.shape[-1]
    median = restore(build("median3", channels), attacked)
    of = one[(one["split"] == row["split"]) & (one["index"] == row["index"])].set_index("defense")
    facts, several = images.facts, images.facts.multi_label

    def scene(title: str, image: np.ndarray, value, share: float | None) -> Scene:
        right = value == row["predicted"]
        label = gallery.decision(value, facts)
        return Scene(title, image, label, right, None if several else share)

    net, size = shown(row["classifier"]), images.size**2
    return (
        [
            scene(f"Clean image, {net}", clean[0], row["predicted"], row["p_before"]),
            scene(f"One pixel of {size:,}", attacked[0], row["adversarial"], row["p_after"]),
            scene("After a 3 x 3 median", median[0], of.loc["median3", "restored_class"], None),
        ],
        int(row["rows"][0]),
        int(row["cols"][0]),
    )
