"""What the notebooks about all recorded runs are about; see `notebooks.start`.

Their pages begin with a result, so they have no banner.
"""

from lib import params
from lib.evidence import attackers, dataset_record, record, run_tables
from lib.evidence import certificates as recorded
from lib.params import Parameters
from notebooks.start import Subject


def dataset(p: Parameters) -> Subject:
    """The record of one data set, of all protocols."""
    found = dataset_record.record(params.ROOT / p.results, p.dataset)
    return found, found.sources, ""


def datasets(p: Parameters) -> Subject:
    """The record of each data set, by name."""
    folder = params.ROOT / p.results
    return _joined({n: dataset_record.record(folder, n) for n in dataset_record.datasets(folder)})


def attacked_knowingly(p: Parameters) -> Subject:
    """Attacks that know the defense: the record of each data set, by name; attackers; masking."""
    records = {name: found for name, found in datasets(p)[0].items() if len(found.adaptive)}
    *tables, sources = attackers.read(params.ROOT / p.results)
    return (records, *tables), _joined(records)[1] | sources, ""


def certificates(p: Parameters) -> Subject:
    """The recorded certificates, and the searches of what they prove vulnerable."""
    *tables, sources = recorded.read(params.ROOT / p.results)
    return tables, run_tables.read(params.ROOT / p.results, ["masking"])[1] | sources, ""


def sizes(p: Parameters) -> Subject:
    """The record of each data set with images of several sizes, by name."""
    folder = params.ROOT / p.results
    records = {n: dataset_record.of_every_size(folder, n) for n in dataset_record.datasets(folder)}
    return _joined({name: found for name, found in records.items() if len(set(found.sizes)) > 1})


def _joined(records: dict[str, dataset_record.DatasetRecord]) -> Subject:
    sources = {
        f"{folder}/{name}": source
        for name, found in records.items()
        for folder, source in found.sources.items()
    }
    return records, sources, ""


def ablation_and_variants(p: Parameters) -> Subject:
    """The first protocol with an ablation and the first with variants, None for none.

    Then, by protocol, its denoisers beside those that variants trained otherwise.
    """
    folder = params.ROOT / p.results
    found = {name: record.read(folder / name) for name in dataset_record.protocols(folder)}
    ablated = next((name for name, of in found.items() if of.ablation), None)
    varied = next((name for name, of in found.items() if len(of.contrasts)), None)
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
    dataset_record.protocols(folder)  # refuses a folder without a record
    records = record.every(folder)
    return records, _sources({own.protocol: found for found, own in records}), ""


def _sources(records: dict[str, record.Record]) -> dict[str, dict[str, str]]:
    """Provenance of each folder of the records, which are by protocol."""
    return {
        f"{name}/{row.results}": {"source": row.source, "npz": row.file, "md5": row.MD5}
        for name, found in records.items()
        for row in found.folders.itertuples()
    }
