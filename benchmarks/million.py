"""One worker that holds 1,000,000 waiting calls over 64 partitions: how soon it is back, what it needs, how it stops them.

The service makes its views from a short log; the other calls are put into them through the real fold and tables, since
through the log it would take minutes. 100,000 opted-out numbers are in the book all the while. Then, one after the other:

* **Restart**: from starting the process to ready (every partition caught up, the orders read), and from opening the first
  view. The machine's file cache is warm, as after a deployment; after a power failure the disk comes on top.
* **Memory**: of the whole process, at its highest, after 200,000 more events of calls chosen at random.
* **Stop**: one order for the campaign. Until Kafka has a decision for each call, with the largest share that one partition of
  ``call-events`` had in it (even would be 1/64), and the longest time for which the event loop was blocked.
"""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from benchmarks.children import Child, child
from benchmarks.million_calls import CALLS, CAMPAIGN, planned
from benchmarks.report import Figure
from benchmarks.stage import Stage, committed, ends, fill, partitions_of, staged, values
from benchmarks.world import ACCOUNT_NAME, Size, campaign_order
from consumer.kafka.order_feed import order_record
from consumer.kafka.producer import Producer

DATA = "data"
IN_THE_LOG = 6_400
TRIED_CALLS = 100_000
RESTARTS = 3
GIVE_UP_SECONDS = 300.0
LOOK_EVERY_SECONDS = 0.1

WANTED_RESTART = 2.0
WANTED_MEGABYTES = 300
WANTED_BLOCKED = 50.0


async def measure() -> list[Figure]:
    """Run the benchmark: restart, memory, stop."""
    async with staged(Size(calls=0), "million.") as stage:
        await _prepare(stage)
        starts = []
        for _ in range(RESTARTS - 1):
            async with _service(stage) as (_, said):
                starts.append(said)
        async with _service(stage) as (process, said):
            starts.append(said)
            memory = await _memory(stage, process)
            stopped = await _stop(stage, process)
        return [*_restart(starts), *memory, *stopped, *await _shares(stage)]


async def _prepare(stage: Stage) -> None:
    """Let the service read the orders and a short log, then put the other calls into its views, a process a core."""
    await fill(stage.connection, stage.world.orders())
    await fill(stage.connection, (stage.world.registered(planned(n)) for n in range(IN_THE_LOG)))
    async with _service(stage):
        await _until_committed(stage, IN_THE_LOG)
    job = {
        **stage.job,
        "account": ACCOUNT_NAME,
        "folder": str(stage.folder / DATA / "views" / "correlate"),
        "calls": [IN_THE_LOG, CALLS],
    }

    async def fill_some(core: int, mine: list[int]) -> int:
        async with child("benchmarks.fill_views_process", {**job, "mine": mine}, core=core) as process:
            return int((await process.said(GIVE_UP_SECONDS))["calls"])

    partitions, cores = stage.topics.call_events.partitions, stage.cores
    shares = [list(range(n, partitions, len(cores))) for n in range(len(cores))]
    filled = sum(await asyncio.gather(*map(fill_some, cores, shares)))
    if filled != CALLS - IN_THE_LOG:
        raise RuntimeError(f"{filled} calls were filled in, not {CALLS - IN_THE_LOG}")


@asynccontextmanager
async def _service(stage: Stage) -> AsyncIterator[tuple[Child, dict[str, Any]]]:
    """Start the role; gives it once it is ready, with what it said then."""
    job = {
        **stage.job,
        "kind": "serving",
        "partitions": None,
        "folder": str(stage.folder / DATA),
        "began": time.perf_counter(),
    }
    async with child("benchmarks.service_process", job, core=stage.core) as process:
        yield process, await process.said()
        await process.end()


async def _memory(stage: Stage, process: Child) -> list[Figure]:
    before = await process.ask("memory")
    chosen = random.Random(11).sample(range(CALLS), TRIED_CALLS)  # noqa: S311 -- the same calls every time
    await fill(stage.connection, stage.world.tried_once([planned(n) for n in chosen]))
    end = sum((await ends(stage.connection, stage.topics.call_events)).values())
    await _until_committed(stage, end)
    after = await process.ask("memory")
    megabytes = after["peak"] / 1e6
    events = end - IN_THE_LOG
    return [
        Figure(
            "million: resident memory, highest",
            megabytes,
            "MB",
            wanted=f"< {WANTED_MEGABYTES}",
            met=megabytes < WANTED_MEGABYTES,
        ),
        Figure("million: resident memory, at the start", before["rss"] / 1e6, "MB"),
        Figure("million: resident memory, after the events", after["rss"] / 1e6, "MB"),
        Figure("million: of that shared with no file", after["uss"] / 1e6, "MB"),
        Figure("million: CPU an event", 1e6 * (after["cpu"] - before["cpu"]) / events, "µs"),
    ]


async def _stop(stage: Stage, process: Child) -> list[Figure]:
    topic = stage.topics.terminations
    before = sum((await ends(stage.connection, topic)).values())
    first = await process.ask("before the stop")
    producer = Producer(stage.connection)
    await producer.start()
    await producer.publish_all([order_record(stage.topics.stop_orders, campaign_order("stop-the-million", CAMPAIGN))])
    began = time.perf_counter()
    await _until_written(stage, before + CALLS)
    seconds = time.perf_counter() - began
    last = await process.ask("after the stop")
    await producer.stop()
    blocked = 1_000 * last["late"]
    return [
        Figure("stop: until all decisions are written", seconds, "s"),
        Figure("stop: decisions", CALLS / seconds, "/s"),
        Figure("stop: CPU a decision", 1e6 * (last["cpu"] - first["cpu"]) / CALLS, "µs"),
        Figure(
            "stop: event loop blocked, longest",
            blocked,
            "ms",
            wanted=f"≤ {WANTED_BLOCKED}",
            met=blocked <= WANTED_BLOCKED,
        ),
        Figure("stop: its longest by CPU time", 1_000 * last["busy"], "ms"),
        Figure("stop: blocked for more than 50 ms", last["often"], "times"),
    ]


async def _shares(stage: Stage) -> list[Figure]:
    """Read every decision: does each call have one, and which partition of its events had most of them."""
    decided: Counter[str] = Counter()
    async for value in values(stage.connection, stage.topics.terminations):
        record = orjson.loads(value)
        if record["kind"] == "stop":
            decided[record["call_id"]] += 1
    by_partition = Counter(stage.topics.partition_of_call(ACCOUNT_NAME, call_id) for call_id in decided)
    share = max(by_partition.values(), default=0) / max(1, len(decided))
    even = 1 / stage.topics.call_events.partitions
    missing = CALLS - len(decided)
    return [
        Figure("stop: largest share of one partition", 100 * share, "%", wanted="< 2", met=share < 0.02),
        Figure("stop: an even share", 100 * even, "%"),
        Figure("stop: calls without a decision", missing, "", wanted="0", met=missing == 0),
        Figure("stop: decisions written twice", decided.total() - len(decided), ""),
    ]


def _restart(starts: list[dict[str, Any]]) -> list[Figure]:
    seconds = statistics.median(said["from_start"] for said in starts)
    return [
        Figure(
            "restart: from starting the process",
            seconds,
            "s",
            wanted=f"< {WANTED_RESTART}",
            met=seconds < WANTED_RESTART,
        ),
        Figure("restart: from opening the first view", statistics.median(said["from_opening"] for said in starts), "s"),
    ]


async def _until_committed(stage: Stage, wanted: int) -> None:
    group = stage.connection.group_id("correlate")
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await committed(stage.connection, group, stage.topics.call_events) < wanted:
            await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _until_written(stage: Stage, wanted: int) -> None:
    """Wait until ``terminations`` has so many records in all."""
    tps = partitions_of(stage.topics.terminations)
    async with (
        asyncio.timeout(GIVE_UP_SECONDS),
        AIOKafkaConsumer(bootstrap_servers=stage.servers) as consumer,
    ):
        while sum((await consumer.end_offsets(tps)).values()) < wanted:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
