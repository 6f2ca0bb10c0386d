"""Taking what a consumer of aiokafka has fetched already, a batch at a time.

aiokafka's own way makes a record of eleven fields of each, one after the other, which costs more than all the rest of
reading it. What is fetched and when, what may be handed out, positions and errors stay its own business.
"""

import asyncio
from collections.abc import Iterator
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read. ``timestamp`` is the broker's, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


async def take_fetched(consumer: AIOKafkaConsumer, max_records: int) -> dict[TopicPartition, list[Any]]:
    """Give what is there, ``max_records`` and the rest of a batch at most; raises ``KafkaError`` as ``getmany`` does."""
    fetcher, subscription = consumer._fetcher, consumer._subscription  # noqa: SLF001 -- nothing public gives batches
    first = next(iter(fetcher._records.values()), None)  # noqa: SLF001 -- as above
    if consumer._closed or subscription.reassignment_in_progress or isinstance(first, FetchError):  # noqa: SLF001 -- as above
        return await consumer.getmany(max_records=max_records)  # type: ignore[no-any-return]  # it raises or waits
    consumer._coordinator.check_errors()  # noqa: SLF001 -- as ``getmany``
    with subscription.fetch_context():  # else the group takes us for one that reads no more
        return _taken(fetcher, max_records)


async def wait_for_fetched(consumer: AIOKafkaConsumer, seconds: float) -> bool:
    """Wait as ``getmany`` does; says whether there may be something. Raises ``KafkaError``."""
    fetcher = consumer._fetcher  # noqa: SLF001 -- as above
    with consumer._subscription.fetch_context():  # noqa: SLF001 -- as above
        fetched = fetcher._create_fetch_waiter()  # noqa: SLF001 -- as above
        done, _ = await asyncio.wait([fetched], timeout=seconds)
    if not done or fetcher._closed:  # noqa: SLF001 -- as above
        fetched.cancel()
        return False
    fetched.result()
    return True


def _taken(fetcher: Fetcher, max_records: int) -> dict[TopicPartition, list[Any]]:
    found: dict[TopicPartition, list[Any]] = {}
    for tp, result in list(fetcher._records.items()):  # noqa: SLF001 -- as above
        if not isinstance(result, FetchResult):
            break  # an error, raised once it comes first
        try:
            records = _records_of(tp, result, max_records)
        except KafkaError:
            _fetch_on(fetcher, tp)  # half read as they are, its batches are fetched again from where they began
            if found:
                break
            raise
        if not result.has_more():
            _fetch_on(fetcher, tp)
        if records:
            found[tp] = records
            max_records -= len(records)
            if max_records <= 0:
                break
    return found


def _fetch_on(fetcher: Fetcher, tp: TopicPartition) -> None:
    """Let go of what was fetched of a partition, so that more of it is."""
    del fetcher._records[tp]  # noqa: SLF001 -- as above
    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001 -- else it fetches no more


def batches_of(tp: TopicPartition, fetched: PartitionRecords) -> Iterator[Any]:
    """Give the batches that hold records, as ``PartitionRecords`` itself goes through them; it stands behind each given.

    A batch may begin before what was asked for. Raises ``CorruptRecordException``.
    """
    batches = fetched._records  # noqa: SLF001 -- the batches, unread
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise CorruptRecordException(f"a batch of {tp.topic}/{tp.partition} has another checksum than it says")
        fetched.next_fetch_offset = batch.next_offset
        if not batch.is_control_batch:
            yield batch
    fetched._records_iterator.close()  # noqa: SLF001 -- not begun, it keeps what was fetched in a cycle


def _records_of(tp: TopicPartition, result: FetchResult, max_records: int) -> list[Any]:
    fetched = result._partition_records  # noqa: SLF001 -- its public ways make records
    if fetched is None or getgeneratorstate(fetched._records_iterator) != GEN_CREATED:  # noqa: SLF001 -- as above
        return list(result.getall(max_records))  # it has begun a batch in its own way, and goes on in it
    if not result.check_assignment(tp):
        return []
    topic, partition = tp
    first = fetched.next_fetch_offset
    records: list[Any] = []
    for batch in batches_of(tp, fetched):
        held = [Record(topic, partition, r.offset, r.timestamp, r.key, r.value) for r in batch]
        records += held if held and held[0].offset >= first else [r for r in held if r.offset >= first]
        if len(records) >= max_records:
            break
    result._update_position()  # noqa: SLF001 -- as after its own reading
    if not fetched._records.has_next():  # noqa: SLF001 -- as above
        result._partition_records = None  # noqa: SLF001 -- as above
    return records
