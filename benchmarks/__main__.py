"""``make bench``: every benchmark, or those named: ``python -m benchmarks ingest``.

Figures compare things measured in the same run: machines are noisy, ratios hold.
"""

import argparse
import sys

import uvloop

from benchmarks import backtest, correlate, dispatch, ingest, million, orders
from benchmarks.report import show

BENCHMARKS = {
    "ingest": ingest.measure,
    "correlate": correlate.measure,
    "larger": correlate.measure_larger,
    "million": million.measure,
    "orders": orders.measure,
    "backtest": backtest.measure,
    "dispatch": dispatch.measure,
}
PROFILES = {"correlate": correlate.profile}


def main() -> int:
    """Run the benchmarks; 0 when every wanted figure was met."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all by default")
    parser.add_argument("--profile", action="store_true", help="show instead where the time goes, for those that can")
    asked = parser.parse_args()
    known = PROFILES if asked.profile else BENCHMARKS
    names = [name for name in asked.names if name in known] or list(known)
    met = [show(uvloop.run(known[name]())) for name in names]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
