"""``make bench``: every benchmark, or those named: ``python -m benchmarks ingest``.

Figures compare things measured in the same run: machines are noisy, ratios hold.
"""

import argparse
import sys

import uvloop

from benchmarks import ingest
from benchmarks.report import show

BENCHMARKS = {"ingest": ingest.measure}


def main() -> int:
    """Run the benchmarks; 0 when every wanted figure was met."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all by default")
    names = parser.parse_args().names or list(BENCHMARKS)
    met = [show(uvloop.run(BENCHMARKS[name]())) for name in names]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
