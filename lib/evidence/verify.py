"""Checks of everything that the book concludes from: recorded results, and the paper's numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lib import attack, data, params
from lib.evidence import consistency, published_lists, schema, training_times, variants
from lib.evidence import printed as paper
from lib.models.classifiers import load, predictor
from lib.params import ATTACKS
from lib.params.errors import InputError
from lib.params.files import md5, read_json, read_table, visible, write_json
from lib.params.runs import training

REAL = ("official", "rebuilt")
SUMS = paper.FOLDER / "sums.json"
FIGURE = "recovery.png"  # beside the record, drawn from it
FILE_SUMS = "sums.json"  # in the folder of results, see `file_sums`
RUN_KEYS = ("parameters", "seed", "data", "commit", "versions", "hardware", "steps")
PARAMETERS = ("dataset", "data_size", "data_split")  # that the tables of a folder must fit


def problems(results: Path) -> Iterator[str]:
    """One sentence for each problem in the record and in the paper's tables."""
    yield from printed_problems()
    for path in visible(results, "**/run.json"):
        yield from folder_problems(path.parent)
        yield from _misplaced(results, path)
    for dataset in (path for path in visible(results, "*/*") if path.is_dir()):
        again = variants.repeats(dataset.parent.name)
        yield from _mixed(dataset, *(results / name / dataset.name for name in again))
    yield from file_problems(results)


def folder_problems(folder: Path) -> Iterator[str]:
    """Problems in one folder of the record. Cross-table checks run only on valid tables."""
    path = folder / "run.json"
    try:
        about = read_json(path)
    except InputError as error:
        yield str(error)
        return
    if missing := [key for key in RUN_KEYS if key not in about]:
        yield f"{path} has no {', '.join(missing)}."
        return
    for name, step in about["steps"].items():
        source = step.get("data", {}).get("source")
        if source not in REAL:
            yield (
                f"{path}: the data of step {name} are {source!r}; a record needs real images, "
                f"{' or '.join(REAL)}."
            )
    given, tables = _parameters(about), {}
    if missing := [name for name in PARAMETERS if name not in given]:
        yield f"{path} has no parameter {', '.join(missing)}."
        return
    for path in visible(folder, "*.parquet"):
        if path.stem not in schema.TABLES:
            yield f"{path} is not a table of the record."
            continue
        try:
            table = read_table(path)
        except InputError as error:
            yield str(error)
            continue
        criterion = given.get("attack_criterion", "auto")
        wrong = list(schema.problems(path, table, criterion, given["data_size"]))
        yield from wrong
        if not wrong:
            tables[path.stem] = table
    yield from consistency.problems(folder, given, tables)


def _parameters(about: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the attack; without one, those of the whole folder."""
    return about["steps"].get("pixel_attack", about)["parameters"]


def _misplaced(results: Path, path: Path) -> Iterator[str]:
    """A recorded folder must be named after the data set of its run."""
    about = _readable(path)
    dataset = about.get("parameters", {}).get("dataset")
    if about and dataset not in path.relative_to(results).parts[1:2]:
        yield f"{path} is of data set {dataset!r}, which is not that of its folder."


def _mixed(*folders: Path) -> Iterator[str]:
    """All steps of a data set must use the same file, also with other seeds, to share one table."""
    files: dict[tuple[str, str], Path] = {}
    for path in (path for folder in folders for path in visible(folder, "**/run.json")):
        for step in _readable(path).get("steps", {}).values():
            data = step.get("data", {})
            files.setdefault((data.get("npz"), data.get("md5")), path)
    if len(files) > 1:
        places = " and ".join(f"{path} ({npz} {md5})" for (npz, md5), path in files.items())
        yield f"{folders[0]} mixes results on different data: {places}."


def _readable(path: Path) -> dict[str, Any]:
    """Content of a run.json; empty where a sentence of `folder_problems` says what is wrong."""
    try:
        return read_json(path)
    except InputError:
        return {}


def file_sums(results: Path) -> dict[str, str]:
    """MD5 of each recorded file by its path in the folder of results, sorted."""
    paths = [path for path in visible(results, "*/**/*") if path.suffix in (".json", ".parquet")]
    paths = [path for path in paths if path.parent.name != paper.FOLDER.name]  # see `printed_sums`
    single = (FIGURE, training_times.FILE, published_lists.FILE)
    paths += [results / name for name in single if (results / name).exists()]
    return dict(sorted((path.relative_to(results).as_posix(), md5(path)) for path in paths))


def file_problems(results: Path) -> Iterator[str]:
    """One sentence for each file that was changed, lost or added since the record was written."""
    path = results / FILE_SUMS
    if not path.exists():
        yield f"{path} is missing: run `make record`."
        return
    try:
        known = read_json(path)
    except InputError as error:
        yield str(error)
        return
    yield from differing(results, known, file_sums(results), FILE_SUMS)


def differing(
    folder: Path, known: dict[str, str], found: dict[str, str], listed: str
) -> Iterator[str]:
    """One sentence for each file whose checksum is not the known one.

    Both are by the path in the folder; ``listed`` is the name of the file with the known ones.
    """
    for name in sorted(known.keys() | found.keys()):
        if name not in found:
            yield f"{folder / name} is missing, but {listed} lists it."
        elif name not in known:
            yield f"{folder / name} was added: {listed} does not list it."
        elif known[name] != found[name]:
            yield (
                f"{folder / name} was changed: its checksum is {found[name]}, and {listed} has "
                f"{known[name]}."
            )


def printed_sums() -> dict[str, str]:
    """MD5 of each of the paper's tables by its name."""
    return {path.name: md5(path) for path in visible(paper.FOLDER, "*.csv")}


def printed_problems() -> Iterator[str]:
    """Tables of the paper that differ from what was read from it."""
    yield from differing(paper.FOLDER, read_json(SUMS), printed_sums(), SUMS.name)


def retest(results: Path, runs: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Rebuild the attacked images and classify them again, where data and weights are available.

    Data are npz files in ``root``, weights in ``runs``.

    Yields:
        ``(problem, table)``: ``problem`` is empty if all is as recorded; it begins with
        ``skipped:`` where something is missing.
    """
    for path in visible(results, "*/*/*/run.json"):
        folder, about = path.parent, read_json(path)
        for table in (folder / f"{name}.parquet" for name in ATTACKS.values()):
            if table.exists():
                run_folder = runs / folder.relative_to(results)
                yield _retested(table, about, run_folder, root), str(table.relative_to(results))


def _retested(table: Path, about: dict[str, Any], run_folder: Path, root: Path) -> str:
    given = _parameters(about)
    p = params.load(given["protocol"], given["dataset"], given["classifier"])
    try:
        images = data.load(p.dataset, root, given["data_size"])
    except InputError as error:
        return f"skipped: {error}"
    if images.provenance.md5 != about["data"]["md5"]:
        return f"skipped: {images.provenance.npz} is not the file that was attacked (other MD5)."
    records = read_table(table)
    clean = attack.locate(images, records)
    adversarial = attack.rebuild(clean.images, records)
    changed = (adversarial != clean.images).any(-1).sum((1, 2))
    if (changed > records["rows"].map(len)).any():
        return f"{table}: a rebuilt image differs in more pixels than were changed."
    p = p.model_copy(update={"classifier_threshold": given["classifier_threshold"]})
    if missing := _other_weights(table.parent, run_folder):
        return f"skipped: {missing}"
    predict = predictor(load(run_folder), p, torch.device("cpu"))
    for column, pixels in (("predicted", clean.images), ("adversarial", adversarial)):
        for row, (was, now) in enumerate(zip(records[column], predict(pixels), strict=True)):
            if was != now:
                change = f"{column} was {was}, and is {now} when classified again"
                return f"{table}, row {row}: {change}."
    return ""


def _other_weights(folder: Path, run_folder: Path) -> str:
    """Why the available weights are not those of the record; empty if they are."""
    weights = run_folder / "classifier.safetensors"
    if not weights.exists():
        return f"{weights} is missing, so no image was classified again."
    if training(run_folder / "classifier.json") != training(folder / "classifier.json"):
        return f"{weights} is of another training than the one that was attacked."
    return ""


def write_sums() -> None:
    """Accept the paper's tables as they are, after a cell was corrected from the paper."""
    write_json(SUMS, printed_sums())
