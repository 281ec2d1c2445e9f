"""Orders of measured training times beside those of Tables 44, 45 and 48 to 51 (EVA13).

The measurements are in ``results/training_times.csv``, one row a network: ``device, hardware,
torch, network, channels, size, batch, precision, steps, seconds_per_image``. Each is of whole
images, on one machine with nothing else running: one forward and one backward pass for each image,
one optimizer step for each batch.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from lib import params
from lib.evidence import printed as paper
from lib.evidence.verdicts import Differences, Verdict, of_differences, over_data_sets
from lib.figures.formatting import enumerated, shown
from lib.params import PRINTED_SIZE
from lib.params.errors import InputError

FILE = "training_times.csv"
SETUP = ["device", "hardware", "torch", "batch", "precision"]  # the same for networks compared
COLUMNS = [*SETUP, "network", "channels", "size", "steps", "seconds_per_image"]
APART = 0.05  # two times differ if one is by more than this share above the other
BATCH = 16  # of the denoisers (GEN03)


def none() -> pd.DataFrame:
    """No measurements."""
    return pd.DataFrame(columns=COLUMNS)


def read(results: Path) -> pd.DataFrame:
    """The measurements in the folder of results; no rows where there is no file.

    Raises:
        InputError: a column is missing, or a time is not above 0.
    """
    path = results / FILE
    if not path.exists():
        return none()
    table = pd.read_csv(path, dtype={name: str for name in SETUP if name != "batch"})
    if missing := [name for name in COLUMNS if name not in table]:
        raise InputError(f"{path} has no column {', '.join(missing)}.")
    wrong = ~(pd.to_numeric(table["seconds_per_image"], errors="coerce") > 0)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = table["seconds_per_image"][row]
        raise InputError(f"{path}, row {row}: seconds_per_image is {value}, and must be above 0.")
    return table


def beside_printed(times: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Milliseconds an image of the denoisers, fastest first, beside Tables 48 to 51."""
    printed = paper.denoiser_minutes(dataset).set_index("defense")["minutes"]
    found = _of(times[times["batch"] == BATCH], printed, dataset).sort_values("seconds_per_image")
    return pd.DataFrame({
        "network": [shown(name) for name in found["network"]],
        "milliseconds per image": (1000 * found["seconds_per_image"]).map("{:.1f}".format),
        "hardware": found["hardware"],
        "printed minutes": found["network"].map(printed).map("{:.1f}".format),
    })  # fmt: skip


def _of(times: pd.DataFrame, printed: pd.Series, dataset: str) -> pd.DataFrame:
    """Measurements on a GPU that are of a data set's images and of the printed networks."""
    times = _at_printed_size(times)
    channels = times["channels"] == params.facts(dataset).channels
    return times[channels & times["network"].isin(printed.index)]


def _at_printed_size(times: pd.DataFrame) -> pd.DataFrame:
    """Measurements on a GPU, with images of the paper's size."""
    return times[(times["device"] != "cpu") & (times["size"] == PRINTED_SIZE)]


def ratios(times: pd.DataFrame, network: str, other: str) -> pd.DataFrame:
    """How many times as long a denoiser takes for an image as another, on the same GPU.

    One row for each `SETUP` and number of ``channels`` where both were timed.
    """
    found = _at_printed_size(times[times["batch"] == BATCH]).astype({"seconds_per_image": float})
    wide = found.pivot_table("seconds_per_image", [*SETUP, "channels"], "network")
    wide = wide.reindex(columns=[network, other])
    return (wide[network] / wide[other]).rename("ratio").dropna().reset_index()


def denoisers(times: pd.DataFrame, dataset: str) -> Verdict:
    """Verdict on a data set's table of Tables 48 to 51: the order of each pair of networks."""
    printed = paper.denoiser_minutes(dataset).set_index("defense")["minutes"]
    return _judged(times[times["batch"] == BATCH], printed, dataset)


def classifiers(times: pd.DataFrame) -> Verdict:
    """Verdict on Tables 44 and 45: the order of the two networks on Derma.

    Only there both were trained for all epochs: Derma never meets the rule for stopping (K15).
    """
    minutes = {
        name: paper.training_minutes(name).set_index("dataset").loc["derma", "minutes"]
        for name in ("resnet50", "densenet121")
    }
    return over_data_sets(_judged(times, pd.Series(minutes), "derma"), {"derma"})


def _judged(times: pd.DataFrame, printed: pd.Series, dataset: str) -> Verdict:
    """Verdict on the order of each pair of networks whose printed minutes are `APART`.

    Several setups count as several trainings do: an order must hold in each.
    """
    differences: Differences = {}
    machines, margin = [], np.log1p(APART)
    for setup, group in _of(times, printed, dataset).groupby(SETUP, sort=False):
        seconds = group.groupby("network")["seconds_per_image"].mean()
        if len(seconds) < len(printed):
            continue
        machines.append(setup[SETUP.index("hardware")])
        for pair in combinations(printed.index, 2):
            slow, fast = sorted(pair, key=printed.get, reverse=True)
            if printed[slow] > printed[fast] * (1 + APART):
                found = float(np.log(seconds[slow] / seconds[fast]))
                between = differences.setdefault((slow, fast), [])
                between.append((found, found - margin, found + margin))
    where = enumerated(list(dict.fromkeys(machines)))
    more = (
        f" Seconds per whole image of {PRINTED_SIZE} px on {where}; the printed times are not "
        "compared."
    )
    claim = "two networks are in the printed order"
    if len(differences) == 1:
        ((slow, fast),) = differences
        claim = f"training takes longer with {shown(slow)} than with {shown(fast)}, as printed,"
    return of_differences(differences, claim, more)
