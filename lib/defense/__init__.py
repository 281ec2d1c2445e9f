"""Defenses: restoration, patch selection, detection, and attackers who know them.

A defense against what an attack found:

    from lib.defense import evaluate_defense, shares

    table = evaluate_defense(model, denoiser, found)  # found = PixelAttack(...)(model, ...)
    shares(table)  # rates and their intervals
"""

from lib.defense.break_even import break_even_prevalence
from lib.defense.defended import Defended
from lib.defense.double_masking import DoubleMasking
from lib.defense.patch_selection import scan_patches, select_patches
from lib.defense.restoration import Patches, evaluate_defense, shares, summary

__all__ = [
    "Defended", "DoubleMasking", "Patches", "break_even_prevalence", "evaluate_defense",
    "scan_patches", "select_patches", "shares", "summary",
]  # fmt: skip
