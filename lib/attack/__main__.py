"""One shard of an attack: ``python -m lib.attack SHARD/SHARDS PIXELS [NAME=VALUE ...]``.

Several processes or machines with one run folder share the images of an attack; each runs one
shard, 1/4 to 4/4, say. The pixel attack notebook then finds all records and goes on from there.
"""

import re
import sys

from lib import data
from lib.attack import attack_run
from lib.models import classifiers
from lib.params import ATTACKS, from_words, load
from lib.params.device import settled
from lib.params.errors import InputError
from lib.params.runs import reuse


def main(words: list[str]) -> str | None:
    """Attack the images of one shard.

    Args:
        words: shard as ``2/4``, number of pixels, and parameters as for ``make run``.

    Returns:
        An error message, or None.
    """
    usage = "usage: python -m lib.attack SHARD/SHARDS PIXELS [NAME=VALUE ...], as in 2/4 1 seed=0"
    match = re.fullmatch(r"(\d+)/(\d+)", words[0]) if words else None
    if not match or len(words) < 2 or not words[1].isdigit():
        return usage
    number, shards = map(int, match.groups())
    if not 1 <= number <= shards or int(words[1]) not in ATTACKS:
        return f"error: no shard {words[0]} or no attack with {words[1]} pixels; {usage}"
    try:
        p = settled(load(**from_words(words[2:])))
        images = data.load(
            p.dataset, p.data_root, p.data_size, p.data_split, p.seed, p.data_download
        )
        reuse(p, "pixel_attack", images.provenance.as_dict())
        model = classifiers.load(p.run_folder, p.classifier)
        shard = (number - 1, shards)
        attack_run(model, images, int(words[1]), p, p.run_folder, shard=shard)
    except InputError as error:
        return f"error: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
