"""Exact incremental evaluation of candidates that differ from a clean image in a few pixels."""

from lib.attack.incremental.layers import Layer, NotIncremental
from lib.attack.incremental.network import Incremental, in_batches, layers_of, stored_rows
from lib.attack.incremental.plan import Plan
from lib.attack.incremental.tap import Tap

__all__ = [
    "Incremental", "Layer", "NotIncremental", "Plan", "Tap", "in_batches", "layers_of",
    "stored_rows",
]  # fmt: skip
