"""One shard of an attack: ``python -m lib.attack SHARD/SHARDS PIXELS PARAMETERS``.

With ``attack_shards`` above 1 Snakemake starts one for each shard, on any machine that sees the run
folder. The pixel attack notebook then finds all records and goes on from there.
"""

import json

from lib import data
from lib.attack import attack_run
from lib.models import classifiers
from lib.params import load
from lib.params.device import settled
from lib.params.errors import run_command
from lib.params.runs import check_inputs, reuse


def main(words: list[str]) -> None:
    """Attack the images of one shard: ``2/4``, number of pixels, parameters as a JSON object.

    Raises:
        InputError: as `load` and `attack_run`.
    """
    number, shards = map(int, words[0].split("/"))
    p = settled(load(**json.loads(words[2])))
    images = data.load(p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download)
    reuse(p, "pixel_attack", images.provenance.as_dict())
    check_inputs(p, "pixel_attack", images.provenance.as_dict())
    model = classifiers.load(p.run_folder, p.classifier)
    attack_run(model, images, int(words[1]), p, p.run_folder, shard=(number - 1, shards))


if __name__ == "__main__":
    run_command(main)
