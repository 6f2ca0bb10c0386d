"""Correlated events per second on one core with durable state, beside Quix Streams and aiokafka alone on the same topic.

Each contender is a process pinned to the first core; the broker and the parent have the other. Start-up, joining the
group and leaving are measured for none. What is compared, and what is not:

* **aiokafka** hands the records over and does nothing with them: the ceiling of anything built on it.
* **Quix Streams** with its defaults parses the JSON and keeps a count and the last status per call, in RocksDB and a
  changelog topic, committed every 5 s. It has no orders, rules, indexes or totals, and takes a duplicate for an event: it
  does less per event.
* **correlate** is the real role with everything on: the fold with duplicates and attempts, the opt-out rule, the join with
  a stopped campaign and 100,000 opted-out numbers, the indexes, the totals, and what follows written to Kafka.

The wall clock tells what one gets, CPU time per event (all threads of the process) what it costs on a busy machine too.
The rounds alternate, and the best of each counts: what else the machine does only ever takes away, and on a shared one a core
is half as fast again from one second to the next.
Then the views are built again from the same topic (events a second until live), and the latency is taken (``latency.py``).
"""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.children import child
from benchmarks.latency import latency
from benchmarks.report import Figure
from benchmarks.stage import Stage, commit, committed, ends, fill, staged, values
from benchmarks.world import Size

SIZE = Size(calls=60_000)
LARGER, LARGER_ROUNDS = Size(calls=250_000), 3
PARTITIONS = {"call_events": 6, "scope_totals": 6, "terminations": 6, "rejected": 6}
ROUNDS = 6
QUIX_PYTHON = Path(".tools/quix/bin/python")
QUIX_IS_THERE = QUIX_PYTHON.exists()
PROFILE_LINES = 25
GIVE_UP_SECONDS = 300.0
ORDERS_ONLY = "orders-only"
REBUILT = "rebuilt"

WANTED_RATIO = 2.0
WANTED_REBUILD = 60_000


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of one contender came to. ``seconds`` and CPU seconds are those of ``events``, all but the first batch."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_micros(self) -> float:
        return 1e6 * self.cpu_seconds / self.events


class Bench:
    """The contenders on one filled stage."""

    def __init__(self, stage: Stage, events: int) -> None:
        self.stage = stage
        self._topic = stage.topics.call_events
        self._group = stage.connection.group_id("correlate")
        self._events = events

    async def read_orders(self) -> None:
        """Let the service read the orders while there is no event, so that no run has that to do."""
        job = self._job("", self.stage.folder / ORDERS_ONLY) | {"kind": "serving", "began": time.perf_counter()}
        await self._run("benchmarks.service_process", job)

    async def correlate(self, name: str, *, rebuild: bool = False, profile: int = 0) -> Run:
        """Let the real role fold the whole topic into new views: live, or silently, since all has been said, to rebuild."""
        folder = _copy_of_orders(self.stage.folder, name)
        committed_up_to = await ends(self.stage.connection, self._topic)
        if not rebuild:
            committed_up_to = dict.fromkeys(committed_up_to, 0)
        await commit(self.stage.connection, self._group, self._topic, committed_up_to)
        said = await self._run(
            "benchmarks.service_process", self._job("", folder) | {"kind": "through", "profile": profile}
        )
        if said["calls"] != (calls := self.stage.world.size.calls):
            raise RuntimeError(f"{said['calls']} calls were folded, not {calls}")
        return await self._checked(self._group, said)

    async def aiokafka(self, name: str) -> Run:
        group = f"bare-{name}"
        return await self._checked(group, await self._run("benchmarks.bare_process", self._job(group, Path())))

    async def quix(self, name: str) -> Run:
        if not QUIX_IS_THERE:
            raise RuntimeError("Quix Streams is not installed: `make bench` does it")
        group = f"quix-{name}"
        job = self._job(group, self.stage.folder / group)
        return await self._checked(group, await self._run("benchmarks.quix_process", job, python=str(QUIX_PYTHON)))

    async def latency(self) -> list[Figure]:
        """Take the latency on the views of the last run."""
        job = self._job("", self.stage.folder / REBUILT) | {"kind": "serving", "began": time.perf_counter()}
        async with child("benchmarks.service_process", job, core=self.stage.core) as process:
            await process.said()
            figures = await latency(self.stage)
            await process.end()
        return figures

    async def undecided(self) -> int:
        """How many calls under an order were not decided, or were and should not have been: must be 0."""
        decided = set()
        async for value in values(self.stage.connection, self.stage.topics.terminations):
            record = orjson.loads(value)
            if record["kind"] == "stop":
                decided.add(record["call_id"])
        return len(decided ^ self.stage.world.under_orders)

    def _job(self, group: str, folder: Path) -> dict[str, Any]:
        return {
            **self.stage.job,
            "partitions": {name.replace("_", "-"): count for name, count in PARTITIONS.items()},
            "topic": self._topic.name,
            "events": self._events,
            "group": group,
            "folder": str(folder),
        }

    async def _run(self, module: str, job: dict[str, Any], **options: Any) -> dict[str, Any]:
        async with child(module, job, core=self.stage.core, **options) as process:
            said = await process.said(GIVE_UP_SECONDS)
            await process.end()
        return said

    async def _checked(self, group: str, said: dict[str, Any]) -> Run:
        """Hold what a contender said against what its group has committed."""
        done = await committed(self.stage.connection, group, self._topic)
        if done != self._events:
            raise RuntimeError(f"{group} committed {done} of {self._events} events")
        return Run(said["events"], said["seconds"], said["cpu_seconds"])


async def measure() -> list[Figure]:
    """Run the benchmark: throughput, rebuild, latency."""
    async with _filled() as bench:
        contenders = {"correlate": bench.correlate, "Quix Streams": bench.quix, "aiokafka alone": bench.aiokafka}
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for n in range(ROUNDS):
            for name, run in contenders.items():
                runs[name].append(await run(f"round-{n}"))
        undecided = await bench.undecided()
        rebuilt = [await bench.correlate(name, rebuild=True) for name in (*map(str, range(1, ROUNDS)), REBUILT)]
        return [*_throughput(runs, undecided), *_rebuild(rebuilt), *await bench.latency()]


async def measure_larger() -> list[Figure]:
    """Run correlate and Quix Streams on more calls than stay in memory, most of which are written twice and read once."""
    async with _filled(LARGER) as bench:
        runs = [(await bench.correlate(str(n)), await bench.quix(str(n))) for n in range(LARGER_ROUNDS)]
        undecided = await bench.undecided()
    ours, theirs = zip(*runs, strict=True)
    rates = [max(run.per_second for run in found) for found in (ours, theirs)]
    of = f"{LARGER.calls:,} calls"
    return [
        Figure(f"correlate ÷ Quix Streams, {of}", rates[0] / rates[1], "x"),
        Figure(f"events, correlate, {of}", rates[0], "/s"),
        Figure(f"events, Quix Streams, {of}", rates[1], "/s"),
        Figure("calls decided wrongly", undecided, "", wanted="0", met=undecided == 0),
    ]


async def profile() -> list[Figure]:
    """Run correlate alone, under cProfile, and print where the time goes; the figures are of a run without it."""
    async with _filled() as bench:
        plain = await bench.correlate("plain")
        await bench.correlate("profiled", profile=PROFILE_LINES)
    return [
        Figure("correlate: events, not profiled", plain.per_second, "/s"),
        Figure("correlate: CPU an event, not profiled", plain.cpu_micros, "µs"),
    ]


@asynccontextmanager
async def _filled(size: Size = SIZE) -> AsyncIterator[Bench]:
    """Give a stage with orders and events, and the orders read into the file that every run of correlate begins with."""
    async with staged(size, "bench.", **PARTITIONS) as stage:
        await fill(stage.connection, stage.world.orders())
        await Bench(stage, 0).read_orders()
        yield Bench(stage, await fill(stage.connection, stage.world.events()))


def _copy_of_orders(folder: Path, name: str) -> Path:
    """Copy the data that a service has left that only read the orders, without its views of calls."""
    return Path(shutil.copytree(folder / ORDERS_ONLY, folder / name, ignore=shutil.ignore_patterns("correlate")))


def _throughput(runs: dict[str, list[Run]], undecided: int) -> list[Figure]:
    rate = {name: max(run.per_second for run in found) for name, found in runs.items()}
    cpu = {name: min(run.cpu_micros for run in found) for name, found in runs.items()}
    ratio = rate["correlate"] / rate["Quix Streams"]
    return [
        Figure("correlate ÷ Quix Streams", ratio, "x", wanted=f"≥ {WANTED_RATIO}", met=ratio >= WANTED_RATIO),
        Figure("correlate ÷ Quix Streams, by CPU time", cpu["Quix Streams"] / cpu["correlate"], "x"),
        *(Figure(f"events, {name}", rate[name], "/s") for name in runs),
        *(Figure(f"CPU an event, {name}", cpu[name], "µs") for name in runs),
        Figure("calls decided wrongly", undecided, "", wanted="0", met=undecided == 0),
    ]


def _rebuild(runs: list[Run]) -> list[Figure]:
    rate = max(run.per_second for run in runs)
    return [
        Figure("rebuild: events until live", rate, "/s", wanted=f"≥ {WANTED_REBUILD:,}", met=rate >= WANTED_REBUILD),
        Figure("rebuild: CPU an event", min(run.cpu_micros for run in runs), "µs"),
    ]
