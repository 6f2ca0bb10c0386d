"""What has been fetched is taken a batch at a time, by the rules of aiokafka's own reading."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from consumer.kafka.consumer_client import LogRecord, client_options_of, poll_client
from consumer.kafka.errors import LogUnavailable, Refused
from consumer.kafka.taking import batches_of, take_fetched
from tests.kafka.helpers import Installation, installed, text

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

WAIT_MS = 30_000


@asynccontextmanager
async def reading(log: Installation) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    """Give a consumer that reads partition 0 of ``call-events`` from its beginning."""
    client, tp = (
        AIOKafkaConsumer(**client_options_of(log.connection, "test")),
        TopicPartition(log.topics.call_events.name, 0),
    )
    await client.start()
    try:
        client.assign([tp])
        yield client, tp
    finally:
        await client.stop()


async def write_batches(log: Installation, *counts: int) -> list[bytes]:
    """Write so many records in each batch, numbered; gives their values."""
    written = 0
    for count in counts:
        names = [str(n) for n in range(written, written + count)]
        await log.producer.publish_all([text(log.topics.call_events, 0, name) for name in names])
        written += count
    return [str(n).encode() for n in range(written)]


async def polled(client: AIOKafkaConsumer, max_records: int) -> Sequence[LogRecord]:
    (records,) = (await poll_client(client, max_records, WAIT_MS)).values()
    return records


async def everything(client: AIOKafkaConsumer, count: int, max_records: int = 1_000) -> list[LogRecord]:
    found: list[LogRecord] = []
    while len(found) < count:
        found += await polled(client, max_records)
    return found


async def test_each_record_comes_once_and_in_order_whatever_is_asked_for(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        values = await write_batches(log, *[3] * 20)
        async with reading(log) as (client, tp):
            first = await polled(client, 4)
            assert len(first) == 6  # the rest of a batch comes along
            assert await client.position(tp) == 6
            rest = await everything(client, 54, max_records=7)
            found = [*first, *rest]
            assert [record.value for record in found] == values
            assert [(r.topic, r.partition, r.offset) for r in found] == [(*tp, n) for n in range(60)]
            assert all(record.timestamp > 0 for record in found)
            assert await client.position(tp) == 60


async def test_reading_begins_in_the_middle_of_a_batch_and_goes_back(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        values = await write_batches(log, 10, 10)
        async with reading(log) as (client, tp):
            client.seek(tp, 7)
            assert [record.value for record in await everything(client, 13)] == values[7:]
            client.seek(tp, 3)
            assert [record.value for record in await everything(client, 17)] == values[3:]


async def test_a_batch_that_aiokafka_has_begun_goes_on_where_it_stopped(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        values = await write_batches(log, 10, 10)
        async with reading(log) as (client, _):
            begun = [(await client.getone()).value, (await client.getone()).value]
            assert begun + [record.value for record in await everything(client, 18)] == values


async def test_control_records_are_passed_and_not_given(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        name = log.topics.call_events.name
        async with AIOKafkaProducer(bootstrap_servers=kafka_servers, transactional_id=f"{topic_prefix}t") as producer:
            async with producer.transaction():
                await producer.send_and_wait(name, b"a", partition=0)
            async with producer.transaction():
                await producer.send_and_wait(name, b"b", partition=0)
        async with reading(log) as (client, tp):
            found = await everything(client, 2)
            assert [(record.offset, record.value) for record in found] == [(0, b"a"), (2, b"b")]
            assert await poll_client(client, 10, 100) == {}
            assert await client.position(tp) == 4


async def test_what_was_fetched_of_a_partition_that_is_paused_is_dropped_and_fetched_again(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        values = await write_batches(log, 3, 3, 3)
        async with reading(log) as (client, tp):
            assert len(await polled(client, 1)) == 3
            client.pause(tp)
            assert await take_fetched(client, 10) == {}
            client.resume(tp)
            assert [record.value for record in await everything(client, 6)] == values[3:]


async def test_an_error_that_was_fetched_is_raised_and_reading_goes_on(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        values = await write_batches(log, 2)
        async with reading(log) as (client, tp):
            client._fetcher._records[tp] = FetchError(error=TopicAuthorizationFailedError(tp.topic), backoff=0)
            with pytest.raises(Refused):
                await poll_client(client, 10, WAIT_MS)
            assert [record.value for record in await everything(client, 2)] == values


def a_batch(*, broken: bool = False) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 10_000)
    builder.append(0, 1, None, b"whole", [])
    batch = bytearray(builder.build())
    batch[-2] ^= broken
    return bytes(batch)


def fetched(client: AIOKafkaConsumer, tp: TopicPartition, position: int, batches: bytes) -> FetchResult:
    """What a client has fetched of a partition that it has read up to ``position``."""
    records = PartitionRecords(tp, MemoryRecords(batches), [], position, None, None, True, 0)
    assignment = client._subscription.subscription.assignment
    return FetchResult(tp, assignment=assignment, partition_records=records, backoff=0)


async def test_what_came_before_a_broken_batch_of_another_partition_is_given(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log, reading(log) as (client, tp):
        other = TopicPartition(tp.topic, 1)
        client.assign([tp, other])
        assert [await client.position(tp), await client.position(other)] == [0, 0]
        there = client._fetcher._records
        there[tp] = fetched(client, tp, 0, a_batch())
        there[other] = fetched(client, other, 0, a_batch() + a_batch(broken=True))
        read = await poll_client(client, 10, WAIT_MS)
        assert {tp: [record.value for record in records] for tp, records in read.items()} == {tp: [b"whole"]}
        assert other not in there
        assert await client.position(other) == 0


async def test_a_broken_batch_is_said_and_fetched_again(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await write_batches(log, 3)
        async with reading(log) as (client, tp):
            assert len(await everything(client, 3)) == 3
            there = client._fetcher._records
            there[tp] = fetched(client, tp, 3, a_batch(broken=True) + a_batch())
            with pytest.raises(LogUnavailable):
                await poll_client(client, 10, WAIT_MS)
            assert tp not in there
            await log.producer.publish_all([text(log.topics.call_events, 0, "next")])
            assert [(record.offset, record.value) for record in await everything(client, 1)] == [(3, b"next")]


def test_a_batch_with_another_checksum_is_refused_and_what_is_before_it_is_given() -> None:
    tp = TopicPartition("t", 0)
    records = PartitionRecords(tp, MemoryRecords(a_batch() + a_batch(broken=True)), [], 0, None, None, True, 0)
    batches = batches_of(tp, records)
    assert [record.value for record in next(batches)] == [b"whole"]
    with pytest.raises(CorruptRecordException, match="t/0"):
        next(batches)
    assert records.next_fetch_offset == 1
