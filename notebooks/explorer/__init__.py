"""The notebook ``explore``: what it computes (`session`) and what it shows (`view`)."""

from notebooks.explorer.session import Session, finished_runs
from notebooks.explorer.view import Explorer

__all__ = ["Explorer", "Session", "finished_runs"]
