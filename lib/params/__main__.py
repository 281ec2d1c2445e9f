"""``python -m lib.params PROTOCOL=compact DATASET=derma seed=1`` prints the merged values."""

import sys

import yaml

from lib.params.errors import InputError
from lib.params.given import from_words
from lib.params.loading import load

if __name__ == "__main__":
    try:
        given = load(**from_words(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")
    print(yaml.safe_dump(given.model_dump(), sort_keys=False), end="")
