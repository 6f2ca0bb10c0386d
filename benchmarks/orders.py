"""The order book with 1,000,000 opted-out numbers, each by an order of a rule that was let through: two records an order.

* **Fold**: from the records as Kafka hands them over to rows on disk, a slice at a time as the feed does; reading them from
  Kafka comes on top. CPU time, since a busy machine stretches the clock; so too for slices, between which others run.
* **Start**: a new process, from opening the file to answering; the machine's file cache is warm.
* **Memory**: what the book adds to that process, then and after 100,000 different orders were looked at.
* **Asking**: what orders are aimed at a call, which the correlator asks for every event. A miss knows none of its five names;
  the others hit an order not looked at before, one looked at lately, and one order on the campaign of all calls.
"""

import os
import tempfile
from pathlib import Path

from benchmarks.children import child
from benchmarks.report import Figure

ORDERS = 1_000_000
ASKED = 100_000
GIVE_UP_SECONDS = 900.0

WANTED_START = 2.0
WANTED_MEGABYTES = 100
WANTED_SLICE = 20.0


async def measure() -> list[Figure]:
    """Run the benchmark: one process folds, another begins with what it left."""
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="callbreaker-bench-") as folder:
        path = Path(folder, "orders.sqlite")
        job = {"path": str(path), "orders": ORDERS, "asked": ASKED}
        async with child("benchmarks.orders_process", {**job, "kind": "fold"}, core=core) as process:
            folded = await process.said(GIVE_UP_SECONDS)
        async with child("benchmarks.orders_process", {**job, "kind": "ask"}, core=core) as process:
            asked = await process.said(GIVE_UP_SECONDS)
    start, memory, slices = asked["start_seconds"], asked["looked_up_megabytes"], folded["slice_p999_ms"]
    return [
        Figure("orders: fold, CPU", folded["cpu_seconds"], "s"),
        Figure("orders: fold, CPU a record", 1e6 * folded["cpu_seconds"] / folded["records"], "µs"),
        Figure("orders: slice p99.9, CPU", slices, "ms", wanted=f"≤ {WANTED_SLICE:.0f}", met=slices <= WANTED_SLICE),
        Figure("orders: longest slice, CPU", folded["longest_slice_ms"], "ms"),
        Figure("orders: on disk", folded["megabytes"], "MB"),
        Figure("orders: start, CPU", start, "s", wanted=f"≤ {WANTED_START:.0f}", met=start <= WANTED_START),
        Figure("orders: memory after the start", asked["started_megabytes"], "MB"),
        Figure(
            "orders: memory with many looked up",
            memory,
            "MB",
            wanted=f"≤ {WANTED_MEGABYTES}",
            met=memory <= WANTED_MEGABYTES,
        ),
        Figure("orders: asked in vain", asked["miss_us"], "µs"),
        Figure("orders: asked, first look at an order", asked["first_us"], "µs"),
        Figure("orders: asked, order looked at lately", asked["again_us"], "µs"),
        Figure("orders: asked, one order for all calls", asked["campaign_us"], "µs"),
    ]
