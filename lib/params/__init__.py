"""Settings, run folders and what else every room stands on."""

from lib.params.dataset_info import facts
from lib.params.given import from_notebook, from_words
from lib.params.parameters import (
    ATTACKS,
    DENOISERS,
    PATCHES,
    PLACES,
    REFERENCES,
    ROOT,
    Parameters,
    base,
    load,
    names,
    read,
    step_fields,
    variants,
)  # fmt: skip
from lib.params.stages import STEPS

__all__ = [
    "ATTACKS", "DENOISERS", "PATCHES", "PLACES", "REFERENCES", "ROOT", "STEPS", "Parameters",
    "base", "facts", "from_notebook", "from_words", "load", "names", "read", "step_fields",
    "variants",
]  # fmt: skip
