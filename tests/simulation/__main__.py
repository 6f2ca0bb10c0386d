"""``python -m tests.simulation``: run seeds and tell which broke a law, or show one of them step by step."""

import argparse
import sys
import time

from tests.simulation.seeds import play, play_on_all_cores


def main() -> int:
    """Run what was asked for; 1 where a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5_000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--trace", action="store_true", help="show each step of every seed")
    asked = parser.parse_args()
    if asked.trace:
        return _show(asked.start, asked.seeds)
    began, broken = time.monotonic(), 0
    for one in play_on_all_cores(asked.start, asked.seeds, lambda done: _progress(done, asked.seeds)):
        broken += 1
        _say(f"\r{one}")
    seconds = time.monotonic() - began
    _say(f"\r{asked.seeds} seeds from {asked.start} in {seconds:.0f} s: {broken or 'none'} broke a law")
    return 1 if broken else 0


def _show(start: int, count: int) -> int:
    found = False
    for seed in range(start, start + count):
        broken, trace = play(seed, traced=True)
        _say(f"seed {seed}", *trace, broken or "no law was broken")
        found = found or broken is not None
    return 1 if found else 0


def _say(*what: object, end: str = "\n") -> None:
    print(*what, sep="\n", end=end, flush=True)  # noqa: T201 -- a command for people


def _progress(done: int, count: int) -> None:
    if sys.stdout.isatty():
        _say(f"\r{done} of {count}", end="")


if __name__ == "__main__":
    sys.exit(main())
