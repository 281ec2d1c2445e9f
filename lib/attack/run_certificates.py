"""Certificates of a run's test images, and which of the vulnerable ones each search finds.

``python -m lib.attack.run_certificates WHAT IMAGES [SHARD/SHARDS] [NAME=VALUE ...]``

WHAT is ``bare``, ``median3`` or ``searches``, as in ``bare 50 1/2 protocol=compact-certified
dataset=oct``. Processes with one run folder share the images; an interrupted one goes on. Images
are test images in an order drawn once, so that more of them add to those that are done.
"""

import re
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lib import data as dataroom
from lib.attack import certificate
from lib.attack.attack_table import KEPT, positions
from lib.attack.certificate import THROUGH
from lib.attack.criteria import Criterion
from lib.attack.linear_map import LinearMapAttack
from lib.attack.pixel_attack import PixelAttack
from lib.attack.random_search import RandomSearch, SparseRS
from lib.attack.run_attacks import attack_images, attack_of
from lib.data import Images, counter_rng
from lib.models import classifiers
from lib.params import Parameters, from_words, load
from lib.params.device import pick_device
from lib.params.errors import InputError, run_command
from lib.params.files import fingerprint, md5, read_json, read_table, write_json, write_table
from lib.params.runs import commit, hardware

USAGE = "python -m lib.attack.run_certificates bare|median3|searches IMAGES [1/2] [NAME=VALUE ...]"
VERSION = 1  # raised when the same images and weights give other certificates
NAMES = ("dataset", "split", "index", "category", "group")
OF_CERTIFICATES = (*NAMES, *certificate.COLUMNS[1:])
OF_SEARCHES = ("method", *(name for name in KEPT if name not in ("best", "part")))
BUDGET = 100_000  # evaluations of an image: 100 candidates a generation


def order(data: Images, seed: int) -> np.ndarray:
    """Positions of the test images in an order that is a hash of seed, split and row."""
    test = np.flatnonzero(data.part == "test")
    names = data.split[test].tolist(), data.index[test].tolist()
    keys = counter_rng.image_keys(seed, "certificates", data.name, *names).numpy()
    return test[keys.argsort(kind="stable")]


def certify_run(
    model: classifiers.Classifier, data: Images, p: Parameters, folder: Path, through: str,
    images: int, shard: tuple[int, int] = (0, 1), save_every: float = 20.0,
) -> pd.DataFrame:  # fmt: skip
    """Certify test images and write ``certificate_<through>.parquet``.

    The state of each image is saved beside it every ``save_every`` seconds. The table has the
    images up to the first that is not finished, whichever process finishes them: what is left out
    does not depend on what was found.

    Args:
        model: the trained classifier of the run folder.
        data: all images, gray.
        p: attack_criterion, classifier_threshold, attack_batch, seed and device are used.
        folder: ``runs/<protocol>/<dataset>/<classifier>``.
        through: see `lib.attack.certificate.THROUGH`.
        images: how many of `order`.
        shard: (i, n): only every n-th image from the i-th on (0-based).
        save_every: seconds between states on disk.
    """
    criterion = attack_of(p, 1, data.facts.multi_label).criterion
    key = _key(criterion, data, md5(folder / "classifier.safetensors"), through)
    store = folder / "certificates" / f"{through}-{key}"
    chosen = order(data, p.seed)[:images]
    paths = [store / f"{data.split[at]}-{data.index[at]}.json" for at in chosen]
    mine = range(shard[0], len(chosen), shard[1])
    begun = {at: read_json(path) for at, path in enumerate(paths) if path.exists()}
    begun |= {at: {"finished": True} for at in range(len(chosen)) if at not in mine}
    some, saved = data.take(chosen), time.monotonic()
    bar = tqdm(total=len(mine), desc=f"certificates, {through}", mininterval=2)
    bar.update(sum(begun.get(at, {}).get("finished", False) for at in mine))
    model = model.to(pick_device(p.device))
    for state in certificate.iterate(
        model, some.images, some.labels, through, criterion, batch=p.attack_batch,
        begun=begun,
    ):  # fmt: skip
        if state["finished"] or time.monotonic() - saved > save_every:
            write_json(paths[state["image"]], state)
            saved = time.monotonic()
        bar.update(state["finished"])
    bar.close()
    return _table(some, paths, p, folder / f"certificate_{through}.parquet", key)


def _key(criterion: Criterion, data: Images, weights: str, through: str) -> str:
    """Hash of what a certificate depends on; ``weights`` is the checksum of the classifier's."""
    return fingerprint([VERSION, through, data.provenance.md5, weights, repr(criterion)])


def _table(data: Images, paths: list[Path], p: Parameters, path: Path, key: str) -> pd.DataFrame:
    """The certificates up to the first that is not finished, written and returned."""
    rows = []
    for at, each in enumerate(paths):
        state = read_json(each) if each.exists() else {}
        if not state.get("finished"):
            break
        named = {
            "dataset": data.name, "split": str(data.split[at]), "index": int(data.index[at]),
            "category": int(data.category[at]), "group": int(data.group[at]),
        }  # fmt: skip
        rows.append(named | {name: state[name] for name in certificate.COLUMNS[1:]})
    table = pd.DataFrame(rows, columns=list(OF_CERTIFICATES))
    table.attrs = {
        "key": key, "seed": p.seed, "data": data.provenance.as_dict(), "commit": commit(),
        "hardware": hardware(),
    }  # fmt: skip
    if rows:
        write_table(path, table)
    return table


def searches(p: Parameters, multi_label: bool) -> dict[str, PixelAttack | LinearMapAttack]:
    """What is tried on vulnerable images, by name, each with the same budget and streams.

    A longer search begins like a shorter one, so that one run tells what fewer evaluations find.
    ``map`` ends by itself, long before the budget.
    """
    other = {
        "population": 100, "generations": BUDGET // 100 - 1, "precision": "float32",
        "evaluation": "exact",
    }  # fmt: skip
    made = attack_of(p, 1, multi_label, strategy="rand1", **other)
    own = {each.name: getattr(made, each.name) for each in fields(RandomSearch) if each.init}
    return {
        "rand1": made,
        "best1bin": attack_of(p, 1, multi_label, strategy="best1bin", **other),
        "sparse_rs": SparseRS(**own),
        "random": RandomSearch(**own),
        "map": LinearMapAttack(1, criterion=made.criterion),
    }


def search_run(
    model: classifiers.Classifier, data: Images, p: Parameters, folder: Path, images: int,
    shard: tuple[int, int] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Search the images that a certificate proves vulnerable; ``certificate_searches.parquet``.

    Args:
        model, data, p, folder: as for `certify_run`.
        images: how many of the certificates' images, vulnerable or not.
        shard: (i, n); the table is written by the call without shard.

    Raises:
        InputError: there is no certificate of the bare classifier, or it is of other images or
            weights.
    """
    path = folder / "certificate_bare.parquet"
    known, weights = read_table(path), md5(folder / "classifier.safetensors")
    tried = searches(p, data.facts.multi_label)
    if known.attrs.get("key") != _key(tried["rand1"].criterion, data, weights, "bare"):
        raise InputError(f"{path} is of other images or weights: make the certificates again.")
    known = known[:images]
    known = known[~known["skipped"] & ~known["robust"]]
    chosen = positions(data, known)
    model, tables = model.to(pick_device(p.device)), []
    for name, attack in tried.items():
        key = fingerprint([VERSION, repr(attack), data.provenance.md5, weights])
        store = folder / "certificates" / f"{name}-{key}"
        found = attack_images(attack, model, data, chosen, store, shard or (0, 1))
        tables.append(found.assign(method=name)[list(OF_SEARCHES)])
    table = pd.concat(tables, ignore_index=True)
    if not shard and len(table):
        write_table(folder / "certificate_searches.parquet", table)
    return table


def main(words: list[str]) -> None:
    """``bare``, ``median3`` or ``searches``, how many images, a shard, parameters.

    Raises:
        InputError: other words, or as `certify_run` and `search_run`.
    """
    number = r"([1-9]\d*)"
    pattern = rf"({'|'.join(THROUGH)}|searches) {number}(?: {number}/{number})?(?: |$)"
    match = re.match(pattern, " ".join(words))
    if not match or int(match[3] or 1) > int(match[4] or 1):
        raise InputError(f"{' '.join(words[:3])!r} names no certificates: write {USAGE}.")
    what, images = match[1], int(match[2])
    shard = (int(match[3]) - 1, int(match[4])) if match[3] else None
    p = load(**from_words(words[3 if shard else 2 :]))
    given = (p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download)
    found, model = dataroom.load(*given), classifiers.load(p.run_folder, p.classifier)
    if what == "searches":
        table = search_run(model, found, p, p.run_folder, images, shard)
        print(table.groupby("method", sort=False)["success"].agg(["sum", "size"]))
    else:
        table = certify_run(model, found, p, p.run_folder, what, images, shard or (0, 1))
        print(f"{what}: {table['robust'].sum()} of {len(table)} test images are proved robust")


if __name__ == "__main__":
    run_command(main)
