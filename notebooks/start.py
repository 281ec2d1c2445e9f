"""How every notebook begins: parameters, images, run folder and the banner in one call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import Markdown, display

from lib import data, params
from lib.figures import tables
from lib.params import Parameters
from lib.params.runs import Run
from lib.params.stages import RESULTS

# What a notebook is about, where that is from (``data`` of run.json), and the banner in Markdown,
# empty for none.
Subject = tuple[Any, dict[str, Any], str]


def start(
    namespace: dict[str, Any],
    step: str,
    subject: Callable[[Parameters], Subject] | None = None,
    **fixed: Any,
) -> tuple[Parameters, Any, Run]:
    """Read the parameters, load what the notebook is about, open its run folder, show the banner.

    Args:
        namespace: ``globals()`` of the notebook, which so far defines parameters and imports.
        step: name of the notebook.
        subject: gives what the notebook is about; without it, that is the images of a data set.
        fixed: parameters that are the same in every run of the notebook.

    Returns:
        The parameters; `lib.data.Images`, or what ``subject`` gave; and the run, whose
        ``finish()`` writes its record.

    Raises:
        InputError: a wrong parameter, missing or damaged images, or what ``subject`` raises.
    """
    p = params.from_notebook(namespace).model_copy(update=fixed)
    about, source, banner = subject(p) if subject else images_of(p, step)
    if banner and get_ipython():
        display(Markdown(banner))
    return p, about, Run(folder(p, step, *fixed), step, p, source)


def folder(p: Parameters, step: str, *fixed: str) -> Path:
    """Where a notebook's ``run.json`` lies.

    Args:
        p: parameters.
        step: name of the notebook.
        fixed: names of parameters that the notebook sets itself.
    """
    fields = {*params.step_fields(step), *fixed}
    if step in RESULTS:  # about all protocols
        return params.ROOT / p.runs / "results" / (p.dataset if "dataset" in fields else step)
    if "classifier" in fields:
        return p.run_folder
    if "dataset" in fields:
        return p.dataset_folder / ("denoisers" if step == "denoisers" else "")
    return p.protocol_folder / step  # about all data sets


def images_of(p: Parameters, step: str) -> Subject:
    """The images of the data set that the parameters name; raises as `lib.data.load`."""
    images = data.of(p)
    classifier = "classifier" in params.step_fields(step)
    banner = tables.banner(p, images.provenance, classifier)
    return images, images.provenance.as_dict(), banner
