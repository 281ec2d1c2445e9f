"""Settings, run folders and what else every room stands on."""

from lib.params.dataset_info import facts
from lib.params.field_types import DENOISERS, MASKING, PATCHES
from lib.params.files import ROOT
from lib.params.given import from_notebook, from_words
from lib.params.parameters import (
    ATTACKS,
    PLACES,
    REFERENCES,
    Parameters,
    load,
    step_fields,
)
from lib.params.protocols import base, names, read, variants
from lib.params.stages import AFTER, STEPS, VERSIONS

__all__ = [
    "AFTER", "ATTACKS", "DENOISERS", "MASKING", "PATCHES", "PLACES", "REFERENCES", "ROOT", "STEPS",
    "VERSIONS", "Parameters", "base", "facts", "from_notebook", "from_words", "load", "names",
    "read", "step_fields", "variants",
]  # fmt: skip
