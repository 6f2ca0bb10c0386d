import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from consumer.kafka.connection import Connection
from consumer.kafka.errors import Backpressure, LogUnavailable, RecordTooLarge
from consumer.kafka.producer import MAX_BATCH_BYTES, OutRecord, Producer
from tests.kafka.helpers import Breakable, Installation, installed, limit_records, noise, text, until
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records of every batch that is handed to the Kafka client."""
    sent: list[int] = []
    send_batch = AIOKafkaProducer.send_batch

    async def counted(
        client: AIOKafkaProducer, batch: BatchBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[object]:
        sent.append(batch.record_count())
        return await send_batch(client, batch, topic, partition=partition)  # type: ignore[no-any-return]

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", counted)
    return sent


async def values(log: Installation) -> dict[int, list[str]]:
    """What is in ``call-events``, by partition."""
    found: dict[int, list[str]] = {}
    for record in await log.read(log.topics.call_events):
        found.setdefault(record.partition, []).append(record.value.decode())
    return found


async def test_many_records_are_acknowledged_in_order_in_few_batches(
    kafka_servers: str, topic_prefix: str, batches: list[int]
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events
        wanted = [f"{n}:{'x' * 200}" for n in range(1_000)]
        offsets = await asyncio.gather(*[log.producer.publish(text(topic, 1, value)) for value in wanted])
        assert offsets == list(range(1_000))
        assert await values(log) == {1: wanted}
        assert sum(batches) == 1_000
        assert len(batches) <= 4
        assert log.producer.pending_bytes == 0


async def test_writers_that_wait_for_each_record_share_batches(
    kafka_servers: str, topic_prefix: str, batches: list[int]
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:

        async def write(writer: int) -> None:
            for n in range(20):
                await log.producer.publish(text(log.topics.call_events, 0, f"{writer}:{n}"))

        await asyncio.gather(*map(write, range(50)))
        found = (await values(log))[0]
        for writer in range(50):
            assert [v for v in found if v.startswith(f"{writer}:")] == [f"{writer}:{n}" for n in range(20)]
        assert sum(batches) == 1_000
        assert len(batches) <= 60


async def test_publish_all_returns_when_every_partition_has_its_records(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=3) as log:
        await log.producer.publish_all([])
        await log.producer.publish_all(
            text(log.topics.call_events, n % 3, f"{n}:{'x' * 1_000}") for n in range(1_500)
        )  # more than one batch each
        found = await values(log)
        for partition in range(3):
            assert [int(v.split(":")[0]) for v in found[partition]] == list(range(partition, 1_500, 3))


async def test_killed_broker_loses_nothing_acknowledged_and_gets_the_rest_when_it_is_back(
    breakable_kafka: Breakable, topic_prefix: str
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix, call_events=3) as log:
        acknowledged: list[tuple[int, int, str]] = []
        finished = asyncio.Event()

        async def write(writer: int) -> None:
            partition, n = writer % 3, 0
            while not finished.is_set():
                value = f"{writer}:{n}"
                offset = await log.producer.publish(text(log.topics.call_events, partition, value))
                acknowledged.append((partition, offset, value))
                n += 1

        writers = [asyncio.create_task(write(writer)) for writer in range(12)]
        await until(lambda: len(acknowledged) > 300)
        async with breakable_kafka.killed():
            waiting = log.producer.publish(text(log.topics.call_events, 0, "while it was away"))
            with pytest.raises(LogUnavailable):
                await log.producer.publish(text(log.topics.call_events, 1, "given up"), within_seconds=0.3)
            assert not waiting.done()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        so_far = len(acknowledged)
        await until(lambda: len(acknowledged) > so_far + 300)
        finished.set()
        await asyncio.wait_for(asyncio.gather(*writers), PATIENCE_SECONDS)
        assert not log.producer.failing
        found = await values(log)
        for partition, offset, value in acknowledged:
            assert found[partition][offset] == value
        for writer in range(12):
            mine = dict.fromkeys(v for v in found[writer % 3] if v.startswith(f"{writer}:"))  # first of each, in order
            assert list(mine) == [f"{writer}:{n}" for n in range(len(mine))]
        assert "while it was away" in found[0]


async def test_silent_broker_is_given_up_and_its_records_arrive_when_it_goes_on(
    breakable_kafka: Breakable, topic_prefix: str, batches: list[int]
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events
        producer = Producer(log.connection, stuck_seconds=1.0)
        await producer.start()
        await producer.publish(text(topic, 0, "before"))
        with breakable_kafka.paused():
            waiting = [producer.publish(text(topic, n % 2, f"waiting {n}")) for n in range(4)]
            await until(lambda: sum(batches) >= 5)
            given_up = [producer.publish(text(topic, 0, f"given up {n}")) for n in range(2)]
            await until(lambda: producer.replacements >= 1)
            given_up[1].cancel()
            late = producer.publish(text(topic, 0, "late"), within_seconds=0.2)
            with pytest.raises(LogUnavailable):
                await late
            assert not any(future.done() for future in waiting)
        await asyncio.wait_for(asyncio.gather(*waiting, given_up[0]), PATIENCE_SECONDS)
        await producer.stop()
        found = await values(log)
        assert set(found[0]) == {"before", "waiting 0", "waiting 2", "given up 0"}
        assert set(found[1]) == {"waiting 1", "waiting 3"}
        assert producer.pending_bytes == 0


async def test_more_than_may_wait_is_refused_until_there_is_room_again(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        producer = Producer(log.connection, max_pending_bytes=10_000)
        await producer.start()
        record = text(log.topics.call_events, 0, "x" * 900)
        futures = [producer.publish(record) for _ in range(9)]
        with pytest.raises(Backpressure, match="9027 bytes wait to be written to Kafka, the bound is 10000"):
            producer.publish(record)
        assert producer.pending_bytes <= 10_000
        await asyncio.gather(*futures)
        await producer.publish(record)
        assert len((await values(log))[0]) == len(futures) + 1
        await producer.stop()


async def test_record_too_large_for_kafka_fails_alone(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events
        sizes = [10, 2_000_000, 20, MAX_BATCH_BYTES * 2, 30]
        futures = [log.producer.publish(text(topic, 0, noise(size))) for size in sizes]
        beside = log.producer.publish(text(topic, 1, "beside"))
        results = await asyncio.gather(*futures, beside, return_exceptions=True)
        assert isinstance(results[1], RecordTooLarge)
        assert [type(result) for result in results] == [int, RecordTooLarge, int, int, int, int]
        found = await values(log)
        assert list(dict.fromkeys(len(v) for v in found[0])) == [10, 20, MAX_BATCH_BYTES * 2, 30]
        assert set(found[1]) == {"beside"}
        assert log.producer.pending_bytes == 0


async def test_a_topic_that_takes_less_than_a_batch_gets_less_and_loses_nothing(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.call_events
        await limit_records(kafka_servers, topic, 20_000)
        sizes = [900] * 40 + [30_000] + [900] * 40
        futures = [log.producer.publish(text(topic, 0, noise(size))) for size in sizes]
        results = await asyncio.gather(*futures, return_exceptions=True)
        refused = [n for n, result in enumerate(results) if isinstance(result, RecordTooLarge)]
        assert refused == [40]
        assert [len(value) for value in (await values(log))[0]] == [900] * 80
        assert log.producer.pending_bytes == 0


async def test_gap_in_the_sequence_numbers_is_healed_by_a_new_client(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.call_events
        await log.producer.publish(text(topic, 0, "before"))
        # What aiokafka does to a batch that expires: it has taken its sequence numbers and is never sent.
        client = log.producer._client
        assert client is not None
        client._txn_manager.increment_sequence_number(TopicPartition(topic.name, 0), 5)
        await asyncio.wait_for(log.producer.publish(text(topic, 0, "after")), PATIENCE_SECONDS)
        assert log.producer.replacements == 1
        assert await values(log) == {0: ["before", "after"]}


async def test_stop_writes_what_waits(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        producer = Producer(log.connection)
        await producer.start()
        waiting = [producer.publish(text(log.topics.call_events, 0, str(n))) for n in range(100)]
        await producer.stop()
        assert [future.result() for future in waiting] == list(range(100))
        with pytest.raises(LogUnavailable, match="closed"):
            producer.publish(text(log.topics.call_events, 0, "too late"))


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_stop_is_bounded_without_a_broker_and_nobody_is_left_waiting(
    breakable_kafka: Breakable, topic_prefix: str, how: str
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix, call_events=2) as log:
        producer = Producer(log.connection)
        await producer.start()
        await producer.publish(text(log.topics.call_events, 0, "before"))

        async def stop() -> None:
            waiting = [producer.publish(text(log.topics.call_events, n % 2, "never")) for n in range(4)]
            writing = asyncio.ensure_future(producer.publish_all([text(log.topics.call_events, 0, "never")]))
            await asyncio.sleep(0.1)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await producer.stop(0.5)
                results = await asyncio.gather(*waiting, writing, return_exceptions=True)
            assert {type(result) for result in results} == {LogUnavailable}

        if how == "killed":
            async with breakable_kafka.killed():
                await stop()
        else:
            with breakable_kafka.paused():
                await stop()


async def test_start_without_a_broker_says_where_none_answers() -> None:
    producer = Producer(Connection("127.0.0.1:1"))
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await producer.start()
    await producer.stop()
    with pytest.raises(LogUnavailable):
        producer.publish(OutRecord("topic", 0, b"", b""))
