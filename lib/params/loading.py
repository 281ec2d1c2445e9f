"""The files of ``params/`` and what a caller gives, merged and checked in one place.

Precedence, weakest first: the protocol file (after the one that it names as its ``base``), the
data set's and classifier's own overrides in it, then what the caller gives. Values may be texts of
a command line: the field's type says how a text is read.
"""

from functools import cache
from itertools import product
from typing import Any

from pydantic import ValidationError

from lib.params.dataset_info import facts
from lib.params.errors import InputError, shortened, unknown
from lib.params.field_types import plain, written
from lib.params.files import visible
from lib.params.own_files import check_used
from lib.params.parameters import PLACES, Parameters
from lib.params.protocols import FOLDER, names, place, read, values

CHOSEN = ("protocol", "dataset", "classifier")
# Fields whose text is taken as it is written.
_TEXTS = [name for name, of in Parameters.model_fields.items() if of.annotation is str]


def load(
    protocol: str = "demo", dataset: str = "derma", classifier: str = "resnet50", **overrides: Any
) -> Parameters:
    """Merge the files of a protocol, a data set and a classifier with ``overrides``, and check all.

    An override is a field of `Parameters`; ``None`` means "as in the files".

    Raises:
        InputError: an unknown name (the nearest valid one is named), an impossible value, or a
            file that cannot be read; of a file's fault the line is named.
    """
    chosen = zip(CHOSEN, (protocol, dataset, classifier), strict=True)
    protocol, dataset, classifier = (_name(value, name) for name, value in chosen)
    for name in overrides:
        if name not in Parameters.model_fields:
            raise unknown("parameter", name, Parameters.model_fields)
    read("datasets", dataset), read("classifiers", classifier)
    plains = _all_of(protocol, _written())
    given = {name: value for name, value in overrides.items() if value is not None}
    p = _checked(protocol, dataset, classifier, **given)
    fewest = facts(dataset).fewest_phantoms  # of this data set; a protocol may be for others
    if 0 < p.data_phantom_images < fewest:
        raise InputError(
            f"{p.data_phantom_images} phantoms of {dataset} are too few for parts with every "
            f"class: data_phantom_images must be {fewest} or more, or 0."
        )
    # The same for every data set, because the runs of all of them are compared.
    changed = {
        name: getattr(p, name)
        for name in sorted(given.keys() - set(PLACES))
        if any(getattr(p, name) != getattr(other, name) for other in plains)
    }
    # A protocol may be for data sets of both tasks, of which each run has one.
    several = facts(dataset).multi_label
    fits = {"class": not several, "any_label": several, "true_label": several, "auto": True}
    if "attack_criterion" in given and not fits[p.attack_criterion]:
        task = "several labels" if several else "one class"
        raise InputError(
            f"attack_criterion={p.attack_criterion} does not fit {dataset}, whose images have "
            f"{task}: use auto."
        )
    check_used(p.classifier_weights, changed)
    drawn = {name: changed[name] for name in ("data_phantom_images", "seed") if name in changed}
    if p.data_phantom_images and drawn and "data_root" not in given:  # other phantoms, other files
        folder = "+".join(f"{name}={value}" for name, value in drawn.items())
        p = p.model_copy(update={"data_root": f"{p.data_root}/{folder}"})
    p._changed = changed
    p._own_weights = {"classifier_weights": p.recorded()["classifier_weights"]}
    return p


def _name(value: Any, name: str) -> str:
    """The name of a file of ``params/``, as text that a file system takes."""
    text = written(value, name)
    if not isinstance(text, str) or not 0 < len(text) <= 100:
        raise InputError(f"{name} must be a name, not {shortened(value)}.")
    return text


def load_all(**given: Any) -> list[Parameters]:
    """`load` for each data set and classifier that ``given`` leaves open.

    Raises:
        InputError: as `load`.
    """
    given = {name: value for name, value in given.items() if value is not None}
    datasets = [given.pop("dataset")] if "dataset" in given else names("datasets")
    networks = [given.pop("classifier")] if "classifier" in given else names("classifiers")
    return [
        load(dataset=dataset, classifier=network, **given)
        for dataset, network in product(datasets, networks)
    ]


def _checked(protocol: str, dataset: str, classifier: str, **given: Any) -> Parameters:
    """Parameters of one run; raises `InputError` as `load` does."""
    merged = values(protocol, dataset, classifier) | given
    merged |= {"protocol": protocol, "dataset": dataset, "classifier": classifier}
    try:
        return Parameters(**{
            name: written(value, name) if name in _TEXTS else plain(value)
            for name, value in merged.items()
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    # What is wrong with several values together is laid to those that were given.
    of_caller = name in given or (not name and given)
    of_file = "" if of_caller else place(protocol, name, dataset, classifier)
    if first["type"] == "extra_forbidden":
        wrong = str(unknown("parameter", name, Parameters.model_fields))
    elif isinstance(cause := first.get("ctx", {}).get("error"), InputError):
        wrong = str(cause)
    elif first["type"] == "missing":
        wrong = f"Parameter {name} is missing: write it there, or name a protocol as its base."
    else:
        value = merged[name] if len(first["loc"]) == 1 else first["input"]
        # Of a list that is too short or too long, pydantic says how long it is.
        said = first["msg"].partition(" after validation")[0]
        wrong = f"Parameter {name}: {said}, not {shortened(value)}."
    raise InputError(f"{of_file}{wrong}")


@cache
def _all_of(protocol: str, written: tuple[int, ...]) -> list[Parameters]:
    """A protocol's own parameters for each data set and classifier, from files `_written` then."""
    return [_checked(protocol, *each) for each in product(names("datasets"), names("classifiers"))]


def _written() -> tuple[int, ...]:
    """When each file of parameters was written, in nanoseconds."""
    return tuple(path.stat().st_mtime_ns for path in visible(FOLDER, "*/*.yaml"))
