import asyncio
from typing import Any

import pytest

from consumer.kafka import consumer_client as client_module
from consumer.kafka import reader as reader_module
from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable, Stalled
from consumer.kafka.reader import GroupReader, TopicReader, fetch_records
from tests.kafka.helpers import Breakable, Installation, installed, text, until
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


def a_group(log: Installation) -> GroupReader:
    return GroupReader(log.connection, group="g", topics=[log.topics.call_events.name], node="n", held=list)


async def test_single_records_are_read_by_offset_and_missing_ones_are_left_out(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.call_events
        await log.producer.publish_all(text(topic, 0, str(n)) for n in range(50))
        found = await fetch_records(log.connection, topic.name, 0, [49, 3, 3, 7, 50, 1_000])
        assert [(record.offset, record.value) for record in found] == [(3, b"3"), (7, b"7"), (49, b"49")]
        assert await fetch_records(log.connection, topic.name, 0, []) == []


async def test_records_of_a_partition_that_is_not_opened_yet_are_held_back(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events
        await log.producer.publish_all(text(topic, n % 2, str(n)) for n in range(6))
        reader = a_group(log)
        await reader.start()
        try:
            await until(lambda: reader.joined)
            assert reader.assigned == {0, 1}
            assert await reader.ends([0, 1]) == {(topic.name, 0): (0, 3), (topic.name, 1): (0, 3)}
            assert await reader.committed(topic.name, [0]) == {}
            assert await reader.poll(max_records=10, timeout_ms=300) == {}
            reader.open({(topic.name, 1): 1})
            read = await reader.poll(max_records=10, timeout_ms=60_000)
            assert {key: [record.value for record in records] for key, records in read.items()} == {
                (topic.name, 1): [b"3", b"5"]
            }
            await reader.commit({(topic.name, 1): 3, (topic.name, 0): 3})
            assert await reader.committed(topic.name, [1]) == {1: 3}
            assert await reader.committed(topic.name, [0]) == {}  # not opened, so not ours to commit
        finally:
            await reader.stop()


async def test_dead_background_task_is_an_error_and_no_empty_answer(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        reader = TopicReader(log.connection, name="r", partitions={log.topics.call_events.name: 1})
        with pytest.raises(Stalled, match="not been started"):
            await reader.poll(max_records=1, timeout_ms=10)
        await reader.start()
        try:
            task = reader._client._fetcher._fetch_task
            task.cancel()
            await asyncio.wait([task])
            with pytest.raises(Stalled, match="has died"):
                await reader.poll(max_records=1, timeout_ms=10)
        finally:
            await reader.stop()


async def test_questions_and_stop_are_bounded_while_the_broker_is_silent(
    breakable_kafka: Breakable, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log:
        topic = log.topics.call_events
        reader = a_group(log)
        await reader.start()
        await until(lambda: reader.joined)
        reader.open({(topic.name, 0): 0})
        monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.3)
        monkeypatch.setattr(reader_module, "COMMIT_SECONDS", 0.3)
        monkeypatch.setattr(client_module, "STOP_SECONDS", 1.0)
        with breakable_kafka.paused():
            with pytest.raises(LogUnavailable, match=f"the bounds of {topic.name} cannot be read"):
                await reader.ends([0])
            with pytest.raises(LogUnavailable, match=f"the committed offsets of {topic.name} cannot be read"):
                await reader.committed(topic.name, [0])
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.poll(max_records=10, timeout_ms=100) == {}
                await reader.commit({(topic.name, 0): 0})
            async with asyncio.timeout(PATIENCE_SECONDS):
                await reader.stop()


@pytest.mark.parametrize("of", ["topic", "group", "group in haste"])
async def test_stop_ends_all_that_a_reader_does_also_while_the_broker_is_away(
    breakable_kafka: Breakable, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    monkeypatch.setattr(client_module, "STOP_SECONDS", 0.0 if of == "group in haste" else 3.0)
    async with installed(breakable_kafka.servers, topic_prefix) as log:
        topic = log.topics.call_events
        before = asyncio.all_tasks()
        reader = TopicReader(log.connection, name="r", partitions={topic.name: 1}) if of == "topic" else a_group(log)
        await reader.start()
        if isinstance(reader, TopicReader):
            reader.seek({(topic.name, 0): 0})
        else:
            await until(lambda: reader.joined)
            reader.open({(topic.name, 0): 0})
        assert await reader.poll(max_records=1, timeout_ms=500) == {}
        fetcher = reader._client._fetcher
        fetcher._retry_backoff = 3_600.0  # it has just failed, and is about to try again
        async with breakable_kafka.killed():
            await until(lambda: any(map(waits_to_try_again, fetcher._pending_tasks)))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await reader.stop()
            assert not [task for task in asyncio.all_tasks() - before if "aiokafka/consumer/" in what_it_runs(task)]


def what_it_runs(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "cr_code", None))


def waits_to_try_again(task: asyncio.Task[Any]) -> bool:
    return "sleep" in str(getattr(task.get_coro(), "cr_await", None))


async def test_reader_without_a_broker_says_where_none_answers() -> None:
    connection = Connection("127.0.0.1:1")
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await TopicReader(connection, name="r", partitions={"t": 1}).start()
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await GroupReader(connection, group="g", topics=["t"], node="n", held=list).start()
    with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        await fetch_records(connection, "t", 0, [1])
