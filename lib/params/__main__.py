"""``python -m lib.params PROTOCOL=compact DATASET=derma seed=1`` prints the merged values."""

import yaml

from lib.params.errors import run_command
from lib.params.given import from_words
from lib.params.loading import load


def main(words: list[str]) -> None:
    """Print the parameters that the words of a command line stand for."""
    given = load(**from_words(words))
    print(yaml.safe_dump(given.model_dump(), sort_keys=False), end="")


if __name__ == "__main__":
    run_command(main)
