"""Class sizes of Table 10, counted in the list of findings that NIH publishes beside its images.

``python -m lib.evidence.published_lists Data_Entry_2017_v2020.csv`` writes
``results/published_counts.csv``, one row a category of Chest: ``dataset, class, images, source``.
Pandas reads the list as it is, or packed.
"""

from pathlib import Path

import pandas as pd

from lib import params
from lib.params.errors import InputError, run_command
from lib.params.files import atomic

FILE = "published_counts.csv"
NIH = "NIH list"
COLUMNS = ["dataset", "class", "images", "source"]
FINDINGS = "Finding Labels"  # one text an image, several findings parted by a bar
NORMAL = "No Finding"
REST = "others"  # so that the rows sum up to all images


def count(findings: pd.Series) -> pd.DataFrame:
    """Images with exactly one finding, for each category that the paper attacks, and `REST`."""
    names = [item.name for item in params.facts("chest").attack_classes]
    alone = findings.str.lower().replace(NORMAL.lower(), "normal").value_counts()
    images = [int(alone.get(name, 0)) for name in names]
    rows = zip([*names, REST], [*images, len(findings) - sum(images)], strict=True)
    return pd.DataFrame([("chest", *row, NIH) for row in rows], columns=COLUMNS)


def read(results: Path) -> pd.DataFrame:
    """The counts in the folder of results; no rows where there is no file."""
    path = results / FILE
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)


def main(words: list[str]) -> None:
    """Count a list and write `FILE`.

    Raises:
        InputError: not one file, or one without NIH's column of findings.
    """
    if len(words) != 1 or not Path(words[0]).is_file():
        raise InputError("Give one file, NIH's list of findings: Data_Entry_2017_v2020.csv.")
    table = pd.read_csv(words[0])
    if FINDINGS not in table:
        raise InputError(f"{words[0]} has no column {FINDINGS!r}: give NIH's list of findings.")
    found = count(table[FINDINGS])
    with atomic(params.ROOT / "results" / FILE) as path:
        found.to_csv(path, index=False)
    print(found.to_string(index=False))


if __name__ == "__main__":
    run_command(main)
