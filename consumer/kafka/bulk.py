"""Taking what a consumer of aiokafka has fetched, without an object of Python for every record.

aiokafka makes a record of eleven fields of each that it hands out, which costs more than reading it. Whoever goes through
millions needs four of them. What is fetched, and when, stays aiokafka's own business.
"""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError

from consumer.kafka.consumer_client import check_alive
from consumer.kafka.taking import batches_of
from consumer.kafka.translate import translated

Logged = tuple[int, int, int, bytes | None, bytes | None]
"""A record: the broker's time (milliseconds), partition, offset, key and value. They sort as the log is read."""


async def poll_bulk(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], timeout_seconds: float
) -> dict[TopicPartition, list[Logged]]:
    """Give all that has been fetched of these partitions, which are assigned by hand; waits for the first of it.

    Raises ``Stalled``, ``LogUnavailable`` and ``Refused``.
    """
    check_alive(consumer)
    try:
        taken = _taken(consumer, partitions)
        if not taken:
            fetched = consumer._fetcher._create_fetch_waiter()  # noqa: SLF001 -- as its own ``getmany`` waits
            await asyncio.wait([fetched], timeout=timeout_seconds)
            if not fetched.cancel():
                fetched.result()
            taken = _taken(consumer, partitions)
    except KafkaError as error:
        raise translated(error, "records cannot be read") from error
    return taken


def _taken(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, list[Logged]]:
    """Take what is there, and let the consumer fetch on."""
    fetcher = consumer._fetcher  # noqa: SLF001 -- nothing public gives batches
    there = {tp: fetcher._records[tp] for tp in partitions if tp in fetcher._records}  # noqa: SLF001 -- as above
    for tp in there:
        del fetcher._records[tp]  # noqa: SLF001 -- as above
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001 -- else it fetches no more
    for error in there.values():
        if not isinstance(error, FetchResult):
            error.check_raise()
    found = {tp: _records_of(tp, result) for tp, result in there.items()}
    return {tp: records for tp, records in found.items() if records}


def _records_of(tp: TopicPartition, result: FetchResult) -> list[Logged]:
    if not result.check_assignment(tp) or not result.has_more():
        return []
    fetched = result._partition_records  # noqa: SLF001 -- its public ways make records
    partition, first = tp.partition, fetched.next_fetch_offset
    records = [
        (r.timestamp, partition, r.offset, r.key, r.value)
        for batch in batches_of(tp, fetched)
        for r in batch
        if r.offset >= first
    ]
    result._update_position()  # noqa: SLF001 -- as after its own reading
    return records
