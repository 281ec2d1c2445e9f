"""The notebook ``explore``: what it computes (`session`) and what it shows (`view`)."""

from lib.figures.tables import banner
from lib.params import Parameters
from notebooks.explorer.session import Session, finished_runs
from notebooks.explorer.view import Explorer
from notebooks.start import Subject

__all__ = ["Explorer", "Session", "explore", "finished_runs"]


def explore(p: Parameters) -> Subject:
    """The explorer of a finished run, as `notebooks.start` takes it; raises as `Session`."""
    explorer = Explorer(p)
    provenance = explorer.session.images.provenance
    return explorer, provenance.as_dict(), banner(p, provenance, classifier=True)
