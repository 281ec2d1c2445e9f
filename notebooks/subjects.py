"""What notebooks are about that do not take the images of any data set; see `notebooks.start`."""

from book import record_text
from lib import data
from lib.evidence import protocol_runs
from lib.figures import tables
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
    found = protocol_runs.read_runs(p.protocol_folder)
    return found, found.data, record_text.comparison_banner(p, found)
