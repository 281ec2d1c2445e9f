"""``python -m lib.data.phantoms --root data/phantoms --size 28 --images 700 --seed 0 derma oct``.

Without names all five data sets are drawn.
"""

import argparse

from lib.data.phantoms import DRAWN, write
from lib.params import facts
from lib.params.errors import run_command


def main(words: list[str]) -> None:
    """Write the files asked for; one line of output each. Raises `InputError` as `write`."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.data.phantoms", description="Draw phantoms."
    )
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help=f"of {', '.join(DRAWN)}")
    parser.add_argument("--root", default="data/phantoms", help="folder for the npz files")
    parser.add_argument("--size", type=int, default=28, help="28, 64, 128 or 224 pixels")
    parser.add_argument("--images", type=int, default=700, help="of each data set")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    for dataset in given.datasets:
        facts(dataset)  # a misspelled last name should not wait for the drawing of the first
    for dataset in given.datasets or DRAWN:
        path = write(dataset, given.size, given.images, given.seed, given.root)
        print(f"{path}: {given.images} phantoms of {dataset}, seed {given.seed}", flush=True)


if __name__ == "__main__":
    run_command(main)
