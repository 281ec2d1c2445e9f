"""One- and two-pixel attacks found with differential evolution, in batches of images.

Source: paper, sections 3.1.1 and 4.1.2, after Su, Vargas and Sakurai, *One Pixel Attack for
Fooling Deep Neural Networks* (2019); decisions ATK01-20.
"""

from lib.attack.attack_runs import attack_run, attack_runs
from lib.attack.criteria import AnyLabelChange, ClassChange, TrueLabelChange, criterion_for
from lib.attack.attack_table import locate, rebuild, select
from lib.attack.pixel_attack import attack
from lib.attack.vulnerability import Vulnerability, vulnerability_map

__all__ = [
    "AnyLabelChange", "ClassChange", "TrueLabelChange", "Vulnerability", "attack", "attack_run",
    "attack_runs", "criterion_for", "locate", "rebuild", "select", "vulnerability_map",
]  # fmt: skip
