"""Subjects of notebooks, other than the images that the parameters name; see `notebooks.start`.

Pages about all recorded runs, from `dataset` on, begin with a result, so they have no banner.
"""

from lib import data, params
from lib.evidence import attackers, record, recorded_runs, run_tables, variants
from lib.evidence import certificates as recorded
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


def dataset(p: Parameters) -> Subject:
    """The record of one data set, of all protocols."""
    found = recorded_runs.read(params.ROOT / p.results, datasets=[p.dataset])
    return found, found.sources, ""


def datasets(p: Parameters) -> Subject:
    """The record of each data set, by name."""
    found = recorded_runs.read(params.ROOT / p.results)
    return {name: found.of(dataset=name) for name in found.datasets}, found.sources, ""


def attacked_knowingly(p: Parameters) -> Subject:
    """Attacks that know the defense: attackers, and certificates of double masking."""
    *tables, sources = attackers.read(params.ROOT / p.results)
    return tables, sources, ""


def certificates(p: Parameters) -> Subject:
    """The recorded certificates, and the searches of what they prove vulnerable."""
    *tables, sources = recorded.read(params.ROOT / p.results)
    return tables, run_tables.read(params.ROOT / p.results, ["masking"])[1] | sources, ""


def sizes(p: Parameters) -> Subject:
    """The record of each data set with images of several sizes, by name."""
    folder = params.ROOT / p.results
    records = {n: variants.of_every_size(folder, n) for n in recorded_runs.datasets(folder)}
    records = {name: of for name, of in records.items() if of.runs["size"].nunique() > 1}
    sources = {name: source for of in records.values() for name, source in of.sources.items()}
    return records, sources, ""


def ablation_and_variants(p: Parameters) -> Subject:
    """The first protocol with an ablation and the one with the most variants, None for none.

    Then, by protocol, its denoisers beside those that variants trained otherwise.
    """
    folder = params.ROOT / p.results
    found = {name: record.read(folder / name) for name in recorded_runs.protocols(folder)}
    ablated = next((name for name, of in found.items() if of.ablation), None)
    several = {name: len(of.contrasts) for name, of in found.items() if len(of.contrasts)}
    varied = max(several, key=several.get, default=None)
    retrained = {name: of.retrained for name, of in found.items() if len(of.retrained)}
    shown = filter(None, (ablated, varied, *retrained))
    sources = _sources({name: found[name] for name in shown})
    return (found.get(ablated), varied, found.get(varied), retrained), sources, ""


def protocols(p: Parameters) -> Subject:
    """The records of all protocols with their parameters, nearest to the paper's first.

    Raises:
        InputError: nothing is recorded.
    """
    folder = params.ROOT / p.results
    recorded_runs.protocols(folder)  # refuses a folder without a record
    records = record.every(folder)
    return records, _sources({own.protocol: found for found, own in records}), ""


def _sources(records: dict[str, record.Record]) -> dict[str, dict[str, str]]:
    """Provenance of each folder of the records, which are by protocol."""
    return {
        f"{name}/{row.results}": {"source": row.source, "npz": row.file, "md5": row.MD5}
        for name, found in records.items()
        for row in found.folders.itertuples()
    }
