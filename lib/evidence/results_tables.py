"""Tables of the results pages: what is recorded of one data set, whatever the protocol.

Every table has the columns ``protocol`` and ``size`` (edge of the images in pixels) and is ordered
from the protocol nearest to the paper's down. Shares are 0..1 with 95 % intervals in ``low, high``
or ``<name>_low, <name>_high``; NaN where there is nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.defense import adaptive, restoration
from lib.evidence import printed as paper
from lib.evidence import protocol_runs
from lib.evidence.record import PROTOCOLS
from lib.metrics.intervals import CLASS_MEAN, rate, rate_table
from lib.params import ATTACKS, DENOISERS
from lib.params.errors import InputError
from lib.params.files import read_json, read_table, visible

RUN = ["protocol", "size", "classifier"]
ATTACK = [*RUN, "pixels"]
SAMPLES = 2000  # bootstrap resamples
CENTER = 0.5  # edge of the central part of an image, as a share of the image's


@dataclass(frozen=True)
class Record:
    """What is recorded of one data set; tables are empty where nothing is."""

    dataset: str
    runs: pd.DataFrame  # RUN, and data source, file, md5, evaluations allowed, training images
    attacks: pd.DataFrame  # attack tables
    restored: pd.DataFrame  # restoration tables, with the part of each image
    detection: pd.DataFrame
    adaptive: pd.DataFrame
    denoisers: pd.DataFrame  # one row a trained denoiser

    @property
    def sizes(self) -> list[int]:
        """Edges of the images, of the protocol nearest to the paper's first."""
        return list(dict.fromkeys(self.runs["size"]))

    @property
    def sources(self) -> dict[str, dict[str, str]]:
        """Provenance of the images by protocol."""
        named = self.runs.drop_duplicates("protocol").set_index("protocol")
        return named[["source", "npz", "md5"]].to_dict("index")


def protocols(results: Path) -> list[str]:
    """Protocols with a record, without variants, nearest to the paper's first.

    Raises:
        InputError: nothing is recorded.
    """
    there = {path.parts[len(results.parts)] for path in visible(results, "*/**/run.json")}
    there = [name for name in there & {*params.names("protocols")} if params.base(name) == name]
    if not there:
        raise InputError(f"{results} holds no results: run `make record` after a run.")
    place = {name: at for at, name in enumerate(PROTOCOLS)}
    return sorted(there, key=lambda name: (place.get(name, len(PROTOCOLS)), name))


def datasets(results: Path) -> list[str]:
    """Attacked data sets with a record, in the paper's order."""
    return [
        name
        for name in paper.DATASETS
        if any(visible(results / of / name, "*/run.json") for of in protocols(results))
    ]


def record(results: Path, dataset: str, names: list[str] | None = None) -> Record:
    """Read what is recorded of a data set.

    Args:
        results: folder of the record.
        dataset: one of the paper's four attacked data sets.
        names: protocols or variants to read; None for all protocols, without variants.

    Raises:
        InputError: nothing is recorded of it.
    """
    runs, denoisers = [], []
    parts: dict[str, list[pd.DataFrame]] = {"": [], "restoration": [], "detection": []}
    parts["adaptive"] = []
    for protocol in names or protocols(results):
        folder = results / protocol / dataset
        for classifier in sorted(params.names("classifiers"), reverse=True):  # ResNet50 first
            at = folder / classifier
            if not (at / "run.json").exists():
                continue
            about = read_json(at / "run.json")
            size = about["parameters"]["data_size"]
            run = {"protocol": protocol, "size": size, "classifier": classifier}
            runs.append(run | _run(at, about))
            for pixels, name in ATTACKS.items():
                for kind, tables in parts.items():
                    if (path := at / f"{kind}{'_' * bool(kind)}{name}.parquet").exists():
                        tables.append(read_table(path).assign(**run, pixels=pixels))
        denoisers += [
            {"protocol": protocol, "denoiser": name} | _denoiser(read_json(path))
            for name in DENOISERS
            if (path := folder / "denoisers" / f"{name}.json").exists()
        ]
    if not runs:
        raise InputError(f"{results} holds nothing on {dataset}: run `make record` after a run.")
    attacks, restored, detection, through = map(_joined, parts.values())
    if len(restored):
        image = [*ATTACK, *restoration.IMAGE]
        restored = restored.merge(attacks[[*image, "part"]], "left", on=image)
    return Record(
        dataset, pd.DataFrame(runs), attacks, restored, detection, through, pd.DataFrame(denoisers)
    )


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _run(folder: Path, about: dict) -> dict:
    values, net = about["parameters"], read_json(folder / "classifier.json")
    test = net["test"]
    return {
        "source": about["data"]["source"],
        "npz": about["data"]["npz"],
        "md5": about["data"]["md5"],
        "budget": values["attack_population"] * (values["attack_generations"] + 1),
        "training_images": net["training_images"],
        "n": test["images"],
        "correct": test["correct"],
        # What an answer that never changes gets: the majority class, or no label at all.
        "constant": test.get("majority_accuracy", test.get("all_zero_accuracy", np.nan)),
    }


def _denoiser(about: dict) -> dict:
    return {
        "epochs": about["settings"]["epochs"],
        "psnr": about["validation_psnr"],
        "noisy_psnr": about["identity_psnr"],
    }


def accuracies(found: Record) -> pd.DataFrame:
    """Test accuracy of each classifier beside Tables 12 and 34.

    Returns:
        `RUN`, ``training_images, n, accuracy, low, high, constant`` (accuracy of an answer that
        never changes) and ``printed``.
    """
    table = found.runs[[*RUN, "training_images", "n", "correct", "constant"]].copy()
    shares = [rate(*row) for row in table[["correct", "n"]].itertuples(index=False)]
    table[["accuracy", "low", "high"]] = np.array(shares)
    printed = {
        name: paper.classifier_table(name).set_index("dataset")["test_accuracy"]
        for name in table["classifier"].unique()
    }
    table["printed"] = [printed[name].get(found.dataset) for name in table["classifier"]]
    return table.drop(columns="correct")


def success_by_class(found: Record) -> pd.DataFrame:
    """Attack success of each class, and of all, beside the printed one.

    Returns:
        `ATTACK`, ``class, n, successes, rate, low, high, printed, table``: all classes in the
        paper's order, those without an attacked image too; the last row of an attack is ``all``,
        which has no printed value, as the mix of classes differs (see `success`).
    """
    names = [item.name for item in params.facts(found.dataset).attack_classes]
    tables = []
    for key, group in _groups(found.attacks):
        at = dict(zip(ATTACK, key, strict=True))
        named = protocol_runs.named_classes(group, found.dataset)
        table = rate_table(named, "class", "success", names)
        table = table[table["class"] != CLASS_MEAN]
        beside = paper.attack_table(found.dataset, at["classifier"], at["pixels"])
        known = {} if beside is None else beside.set_index("class")["printed_rate"]
        number = None if beside is None else beside.attrs["table"]
        table = table.assign(printed=table["class"].map(dict(known)).astype(float), table=number)
        tables.append(_keyed(table, at))
    return _joined(tables)


def success(found: Record) -> pd.DataFrame:
    """Attack success of each run beside the printed rate of Tables 32, 33 and 43.

    Returns:
        `ATTACK` and the columns of `lib.evidence.protocol_runs.rates`, and ``tested``, how many of
        the ``n`` images are of the test part.
    """
    tables = []
    for key, group in _groups(found.attacks):
        at = dict(zip(ATTACK, key, strict=True))
        runs = protocol_runs.ProtocolRuns(group, pd.DataFrame(), {})
        table = protocol_runs.rates(runs, at["pixels"]).assign(
            tested=(group["part"] == "test").sum()
        )
        tables.append(_keyed(table.drop(columns=["dataset", "classifier"]), at))
    return _joined(tables)


def _groups(table: pd.DataFrame, by: list[str] = ATTACK):
    return table.groupby(by, sort=False) if len(table) else ()


def _keyed(table: pd.DataFrame, at: dict) -> pd.DataFrame:
    """The table with what it is of as its first columns."""
    return table.assign(**at)[[*at, *table.columns]]


def positions(found: Record) -> pd.DataFrame:
    """Changed pixels of successful attacks: ``x, y`` in 0..1 of the image's edge, by `ATTACK`."""
    fooled = found.attacks[found.attacks["success"]]
    table = fooled[[*ATTACK, "rows", "cols"]].explode(["rows", "cols"])
    table["y"] = (table["rows"].astype(float) + 0.5) / table["size"]
    table["x"] = (table["cols"].astype(float) + 0.5) / table["size"]
    return table.drop(columns=["rows", "cols"]).reset_index(drop=True)


def central(places: pd.DataFrame) -> tuple[float, float, float]:
    """Share of changed pixels in the central quarter of the image, with its interval.

    Args:
        places: of `positions`.
    """
    near = (places[["x", "y"]] - 0.5).abs().le(CENTER / 2).all(axis=1)
    return rate(int(near.sum()), len(near))


def defenses(found: Record, by: list[str] = RUN, samples: int = SAMPLES, seed: int = 0):
    """What each defense gives and costs, on test images only.

    Returns:
        The columns of ``by``, ``defense`` and those of `lib.defense.restoration.shares` and
        `pays_from`: ``recovered`` (label recovery rate), ``kept`` (clean prediction retention),
        ``pays_from`` (break-even attack prevalence).
    """
    tables = []
    held = found.restored[found.restored["part"] == "test"] if len(found.restored) else ()
    for key, group in _groups(held, by):
        table = protocol_runs.shares(group, samples, seed)
        tables.append(_keyed(table, dict(zip(by, key, strict=True))))
    return _joined(tables)


def quality(found: Record, by: list[str] = ATTACK, samples: int = SAMPLES, seed: int = 0):
    """Image quality after each defense beside the printed one, over all successful attacks.

    Returns:
        The columns of ``by``, those of `lib.defense.restoration.summary`, and where ``by`` is
        `ATTACK` ``printed_psnr, printed_ssim``.
    """
    tables = []
    for key, group in _groups(found.restored, by):
        at = dict(zip(by, key, strict=True))
        table = restoration.summary(group, samples, seed)
        if by == ATTACK:
            beside = paper.denoise_table(found.dataset, at["classifier"], at["pixels"])
            for name in ("psnr", "ssim"):
                known = {} if beside is None else dict(beside.set_index("defense")[name])
                table[f"printed_{name}"] = table["defense"].map(known).astype(float)
        tables.append(_keyed(table, at))
    return _joined(tables)


def attackers(found: Record) -> pd.DataFrame:
    """Images classified correctly through each defense, clean and under either attack.

    Returns:
        `ATTACK` and the columns of `lib.defense.adaptive.summary`; empty where none was run.
    """
    return _joined(
        [
            _keyed(adaptive.summary(group), dict(zip(ATTACK, key, strict=True)))
            for key, group in _groups(found.adaptive)
        ]
    )


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """Of several protocols' rows on one data set those of the protocol nearest to the paper's."""
    return table[table["protocol"] == table["protocol"].iloc[0]] if len(table) else table


def pooled_attackers(found: list[Record]) -> pd.DataFrame:
    """`attackers` over several data sets, one row a defense; empty where none was run."""
    tables = [each.adaptive for each in found if len(each.adaptive)]
    return adaptive.summary(_joined(tables)) if tables else pd.DataFrame()
