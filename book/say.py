"""One line of progress: minutes and seconds since ``make`` began, then what is said."""

import os
import sys
import time

START = "T0"  # variable of the environment: when make began, in seconds


def say(text: str) -> None:
    """Print it at once."""
    elapsed = int(time.time()) - int(os.environ.get(START, time.time()))
    print(f"[{elapsed // 60:2d}:{elapsed % 60:02d}] {text}", flush=True)


if __name__ == "__main__":
    say(" ".join(sys.argv[1:]))
