"""One shard of an attack: ``python -m lib.attack SHARD/SHARDS PIXELS PARAMETERS``.

With ``attack_shards`` above 1 Snakemake starts one for each shard, on any machine that sees the run
folder. The pixel attack notebook then finds all records and goes on from there.
"""

import json
import re

from lib import data
from lib.attack import attack_run
from lib.models import classifiers
from lib.params import load
from lib.params.device import settled
from lib.params.errors import InputError, run_command
from lib.params.runs import check_inputs, reuse

USAGE = 'python -m lib.attack SHARD/SHARDS 1|2 \'{"protocol": "demo"}\''


def main(words: list[str]) -> None:
    """Attack the images of one shard: ``2/4``, number of pixels, parameters as a JSON object.

    Raises:
        InputError: other words, or as `load` and `attack_run`.
    """
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8}) ([12]) (\{.*\})", " ".join(words), re.S)
    try:
        given = json.loads(match[4]) if match and int(match[1]) <= int(match[2]) else None
    except (ValueError, RecursionError):
        given = None
    if given is None:
        raise InputError(f"{' '.join(words)[:80]!r} names no shard: write {USAGE}.")
    number, shards, pixels = (int(match[place]) for place in (1, 2, 3))
    p = settled(load(**given))
    images = data.of(p)
    reuse(p, "pixel_attack", images.provenance.as_dict())
    check_inputs(p, "pixel_attack", images.provenance.as_dict())
    model = classifiers.load(p.run_folder, p.classifier)
    attack_run(model, images, pixels, p, p.run_folder, shard=(number - 1, shards))


if __name__ == "__main__":
    run_command(main)
