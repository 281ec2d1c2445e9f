"""Files of the user that parameters name: where they are, and how a record names them."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from lib.params.errors import InputError
from lib.params.files import ROOT, fingerprint, md5

STARTS = ("imagenet", "random", "auto")  # of training; anything else is a file of weights
FOLDERS = ("runs", "results", "data_root")


def own_weights(value: str) -> Path | None:
    """The file that ``classifier_weights`` names; None if it names a start of training.

    A relative path is taken from the project's folder, as that of the data.
    """
    return None if value in STARTS else ROOT / Path(value).expanduser()


def checked_weights(value: str) -> str:
    """``classifier_weights`` as it is.

    Raises:
        InputError: it is neither a start of training nor a file.
    """
    try:
        path = own_weights(value)
        if path is None or path.is_file():
            return value
        what = f"{path} is {'a folder' if path.is_dir() else 'no file'}"
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name that is too long
        what = f"{value[:80]!r} is no path ({type(error).__name__})"
    raise InputError(
        f"classifier_weights must be {', '.join(STARTS)} or the path of a safetensors file: {what}."
    )


def check_used(weights: str, changed: dict[str, Any]) -> None:
    """Refuse changed settings of a training that own weights replace.

    Raises:
        InputError: there is one.
    """
    used = ("classifier_weights", "classifier_threshold")
    idle = [name for name in changed if name.startswith("classifier_") and name not in used]
    if idle and own_weights(weights):
        raise InputError(
            f"{idle[0]} sets the training, which classifier_weights={weights} replaces: give only "
            "one of them."
        )


def recorded(values: dict[str, Any]) -> dict[str, Any]:
    """Values as records, keys and folders' names hold them: no path of this machine.

    Own weights are named by their file's name and MD5, so that other weights are another run.
    """
    found = dict(values)
    for name in FOLDERS:
        path = Path(found[name])
        if path.is_absolute():
            inside = path.is_relative_to(ROOT)
            found[name] = str(path.relative_to(ROOT)) if inside else f".../{path.name}"
    if path := own_weights(found["classifier_weights"]):
        files = [path] + [each for each in (path.with_suffix(".json"),) if each.is_file()]
        sums = (f"{each.name} (MD5 {_md5(each, each.stat().st_mtime_ns)})" for each in files)
        found["classifier_weights"] = " and ".join(sums)
    return found


def name_of_run(protocol: str, changed: dict[str, Any]) -> str:
    """Name of a run's folder, ``<protocol>+<name>=<value>``, from values as they are recorded."""
    changed = dict(sorted(changed.items()))
    name = "+".join((protocol, *(f"{name}={_in_name(value)}" for name, value in changed.items())))
    return name if len(name) <= 120 or not changed else f"{protocol}+{fingerprint(changed)}"


def _in_name(value: Any) -> str:
    """A value as part of a folder's name: letters, digits and a few signs, else its hash."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if re.fullmatch(r"[\w.,+-]{1,32}", text, re.ASCII) else fingerprint(value)[:8]


@cache
def _md5(path: Path, changed: int) -> str:
    """MD5 of a file that was last changed then."""
    return md5(path)
