"""Text of the pages about recorded and compared runs."""

from lib.evidence.protocol_runs import ProtocolRuns
from lib.figures import tables
from lib.figures.formatting import shown
from lib.params import Parameters


def comparison_banner(p: Parameters, runs: ProtocolRuns) -> str:
    """First lines of the page of all runs: protocol, and the data source of each data set."""
    source = {name: runs.data[name]["source"] for name in runs.datasets}
    kinds = sorted(set(source.values()))
    warnings = [tables.WARNINGS[kind] for kind in kinds]
    if len(kinds) > 1:
        warnings.append("The data sources differ: compare only rows of the same source.")
    sources = " · ".join(f"{shown(name)} `{source[name]}`" for name in source)
    return f"**protocol** `{p.run_name}` · **data sources** {sources}" + "".join(
        f"\n\n> {warning}" for warning in warnings
    )


def unnamed(runs: ProtocolRuns) -> str:
    """Runs that do not name the checkpoints behind their images; empty if all do."""
    return ", ".join(
        f"{shown(dataset)} with {shown(classifier)}"
        for (dataset, classifier), ids in runs.restorers.items()
        if not ids and any(name == dataset for name, _ in runs.denoisers)
    )
