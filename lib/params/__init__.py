"""Settings, run folders, and helpers that all packages use."""

from lib.params.dataset_info import facts
from lib.params.field_types import DENOISERS, MASKING, PATCHES
from lib.params.files import ROOT
from lib.params.given import from_config, from_notebook, from_words
from lib.params.loading import CHOSEN, load, load_all
from lib.params.parameters import (
    ATTACKS,
    PLACES,
    REFERENCES,
    Parameters,
    step_fields,
)
from lib.params.protocols import base, names, read, variants
from lib.params.stages import AFTER, STEPS, VERSIONS

# The paper's: edge of the images in pixels, and queries of an image.
PRINTED_SIZE, PRINTED_BUDGET = 224, 10_100

__all__ = [
    "AFTER", "ATTACKS", "CHOSEN", "DENOISERS", "MASKING", "PATCHES", "PLACES", "PRINTED_BUDGET",
    "PRINTED_SIZE", "REFERENCES", "ROOT", "STEPS", "VERSIONS", "Parameters", "base", "facts",
    "from_config", "from_notebook", "from_words", "load", "load_all", "names", "read",
    "step_fields", "variants",
]  # fmt: skip
