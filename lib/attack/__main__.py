"""One shard of an attack: ``python -m lib.attack SHARD/SHARDS PIXELS [NAME=VALUE ...]``.

Several processes or machines with one run folder share the images of an attack; each runs one
shard, 1/4 to 4/4, say. The pixel attack notebook then finds all records and goes on from there.
"""

import re

from lib import data
from lib.attack import attack_run
from lib.models import classifiers
from lib.params import ATTACKS, from_words, load
from lib.params.device import settled
from lib.params.errors import InputError, run_command
from lib.params.runs import check_inputs, reuse

USAGE = "python -m lib.attack SHARD/SHARDS PIXELS [NAME=VALUE ...], as in 2/4 1 seed=0"


def main(words: list[str]) -> None:
    """Attack the images of one shard: ``2/4``, number of pixels, parameters as for ``make run``.

    Raises:
        InputError: no such shard, attack or parameter, or as `attack_run`.
    """
    match = re.fullmatch(r"(\d+)/(\d+) (\d+)", " ".join(words[:2]))
    number, shards, pixels = map(int, match.groups()) if match else (0, 0, 0)
    if not 1 <= number <= shards or pixels not in ATTACKS:
        given = f"{' '.join(words[:2])!r} names no shard and number of pixels"
        raise InputError(f"{given}: write {USAGE}.")
    p = settled(load(**from_words(words[2:])))
    images = data.load(p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download)
    reuse(p, "pixel_attack", images.provenance.as_dict())
    check_inputs(p, "pixel_attack", images.provenance.as_dict())
    model = classifiers.load(p.run_folder, p.classifier)
    attack_run(model, images, pixels, p, p.run_folder, shard=(number - 1, shards))


if __name__ == "__main__":
    run_command(main)
