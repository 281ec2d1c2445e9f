"""All figures, in one style.

Each function takes plain data and returns a new `matplotlib.figure.Figure`. None uses pyplot, so no
figure stays open or is shown twice, and the reader's matplotlib settings do not change.
``figure.get_label()`` is the alternative text. Without data the figure says so in words.
"""

from lib.figures.attack import (
    attacks,
    convergence,
    evaluations,
    pixel_map,
    success_by_class,
    vulnerability,
)  # fmt: skip
from lib.figures.data import class_counts, confusion, history, label_auc, minutes, samples
from lib.figures.defense import (
    attackers,
    detection,
    quality,
    recovery,
    restorations,
)  # fmt: skip
from lib.figures.denoising import denoised_examples, denoiser_history, noise_examples, variants
from lib.figures.forensics import readings
from lib.figures.story import story

__all__ = [
    "attackers", "attacks", "class_counts", "confusion", "convergence",
    "denoised_examples", "denoiser_history", "detection", "evaluations", "history", "label_auc",
    "minutes", "noise_examples", "pixel_map", "quality", "readings", "recovery", "restorations",
    "samples", "story", "success_by_class", "variants", "vulnerability",
]  # fmt: skip
