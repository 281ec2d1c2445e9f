"""Subjects of notebooks, other than the images that the parameters name; see `notebooks.start`."""

from lib import data
from lib.evidence import recorded_runs
from lib.evidence.recorded_runs import RecordedRuns
from lib.figures import tables
from lib.figures.formatting import shown
from lib.params import Parameters
from notebooks.start import Subject


def abdomen(p: Parameters) -> Subject:
    """The images of the ablation: AbdomenCT in its own size, official parts."""
    images = data.load(p.dataset, p.data_root, p.ablation_size, "official", p.seed, p.data_download)
    return images, images.provenance.as_dict(), tables.banner(p, images.provenance)


def drawn(p: Parameters) -> Subject:
    """Synthetic images that the notebook draws itself."""
    text = f"**protocol** `{p.protocol}` · **seed** {p.seed} · **data source** `phantom`"
    source = {"npz": "", "source": "phantom", "md5": ""}
    return None, source, f"{text}: synthetic images\n\n> {tables.WARNINGS['phantom']}"


def printed(p: Parameters) -> Subject:
    """The paper's printed tables; modules of `lib.evidence` read them."""
    source = {"npz": "results/printed", "source": "printed", "md5": ""}
    text = f"**protocol** `{p.protocol}` · **data source** `printed`: the paper's tables, no image"
    return None, source, text


def finished(p: Parameters) -> Subject:
    """All finished runs of the protocol.

    Raises:
        InputError: there is none.
    """
    found = recorded_runs.read(p.protocol_folder.parent, [p.protocol_folder.name])
    return found, found.sources, comparison_banner(p, found)


def comparison_banner(p: Parameters, runs: RecordedRuns) -> str:
    """First lines of the page of all runs: protocol, and the data source of each data set."""
    source = runs.runs.drop_duplicates("dataset").set_index("dataset")["source"].to_dict()
    kinds = sorted(set(source.values()))
    warnings = [tables.WARNINGS[kind] for kind in kinds]
    if len(kinds) > 1:
        warnings.append("The data sources differ: compare only rows of the same source.")
    sources = " · ".join(f"{shown(name)} `{source[name]}`" for name in source)
    return f"**protocol** `{p.run_name}` · **data sources** {sources}" + "".join(
        f"\n\n> {warning}" for warning in warnings
    )
