"""aiokafka alone: a group, whole fetches, no look at a record, one commit at the end. The ceiling of anything built on it."""

import asyncio

import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.children import job_of_this_process, say
from benchmarks.marks import Mark, between, mark
from benchmarks.stage import FETCH_BYTES
from consumer.service.memory import quieten_gc

GIVE_UP_SECONDS = 120.0


async def main() -> None:
    job = job_of_this_process()
    consumer = AIOKafkaConsumer(
        job["topic"],
        bootstrap_servers=job["servers"],
        group_id=job["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    quieten_gc()
    try:
        done = 0
        first: Mark | None = None
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while done < job["events"]:
                fetched = await consumer.getmany(timeout_ms=200)
                done += sum(map(len, fetched.values()))
                first = first or (mark(done) if done else None)
            await consumer.commit()
        assert first is not None
        say(between(first, mark(done)))
    finally:
        await consumer.stop()


if __name__ == "__main__":
    uvloop.run(main())
