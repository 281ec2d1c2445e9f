"""One- and two-pixel attacks found with differential evolution, in batches of images.

Source: paper, sections 3.1.1 and 4.1.2, after Su, Vargas and Sakurai, *One Pixel Attack for
Fooling Deep Neural Networks* (2019); decisions ATK01-20.

    from lib.attack import PixelAttack

    found = PixelAttack(pixels=1)(model, images, labels)
"""

from lib.attack.attack_table import locate, rebuild, select
from lib.attack.certificate import certify_one_pixel
from lib.attack.criteria import (
    AnyLabelChange,
    Criterion,
    Misclassification,
    TrueLabelChange,
    criterion_for,
)
from lib.attack.linear_map import LinearMapAttack
from lib.attack.pixel_attack import Found, Generation, PixelAttack
from lib.attack.random_search import RandomSearch, SparseRS
from lib.attack.run_attacks import (
    attack_images,
    attack_of,
    attack_run,
    attack_runs,
    correct,
    stream_keys,
    vulnerability_map_of,
)
from lib.attack.vulnerability import Vulnerability, VulnerabilityMap

__all__ = [
    "AnyLabelChange", "Criterion", "Found", "Generation", "LinearMapAttack", "Misclassification",
    "PixelAttack", "RandomSearch", "SparseRS", "TrueLabelChange", "Vulnerability",
    "VulnerabilityMap", "attack_images", "attack_of", "attack_run", "attack_runs",
    "certify_one_pixel", "correct", "criterion_for", "locate", "rebuild", "select", "stream_keys",
    "vulnerability_map_of",
]  # fmt: skip
