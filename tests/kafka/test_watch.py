"""A reading that stands still ends its role, and Kafka being away does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import REGISTRY

from consumer.kafka import consumer_client as client_module
from consumer.kafka import watch as watch_module
from consumer.kafka.errors import Stalled
from consumer.kafka.reader import GroupReader, TopicReader
from consumer.kafka.taking import wait_for_fetched
from consumer.kafka.watch import OwnReading, Watch
from consumer.kafka.watchdog import StallDetector
from consumer.kafka.worker import FoldingWorker
from consumer.service.health import Check
from tests.kafka.echo import Node, write
from tests.kafka.helpers import Breakable, Installation, a_worker, installed, until, working
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

LIMIT_SECONDS = 1.5


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "EVERY_SECONDS", 0.05)


@asynccontextmanager
async def watched(
    log: Installation, folder: Path
) -> AsyncIterator[tuple[FoldingWorker, GroupReader, Watch, asyncio.Task[None]]]:
    node = Node(log, folder)
    worker, reader = a_worker(log, [log.topics.call_events], folder, node.open, name=folder.name)
    async with working(worker, reader):
        watch = Watch(folder.name, worker, StallDetector(LIMIT_SECONDS, LIMIT_SECONDS))
        task = asyncio.create_task(watch.run())
        try:
            await until(lambda: worker.ready)
            yield worker, reader, watch, task
        finally:
            task.cancel()
            await asyncio.wait([task])


def value(metric: str, folder: Path, topic: str, partition: int) -> float | None:
    return REGISTRY.get_sample_value(metric, {"role": folder.name, "topic": topic, "partition": str(partition)})


async def test_partition_that_is_fetched_no_more_ends_the_role_and_readiness_goes_first(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events.name
        await write(log, 10, partitions=2)
        async with watched(log, tmp_path) as (worker, reader, watch, task):
            check = Check("role", lambda: worker.ready and not watch.trouble, watch.reason("it is being read"))
            assert check.passes().ok
            reader._client.pause(TopicPartition(topic, 1))  # behind our back
            await write(log, 10, partitions=2)
            await until(lambda: not check.passes().ok)
            assert not task.done()
            assert check.passes().reason.startswith(f"{topic}/1 stands at 5, its end is 10, for ")
            await asyncio.wait([task], timeout=PATIENCE_SECONDS)
            with pytest.raises(
                Stalled, match=rf"{topic}/1 stands at 5, its end is 10, for [0-9]+ s although Kafka answers"
            ):
                task.result()
            shown = [
                value(f"callbreaker_view_{name}", tmp_path, topic, partition)
                for partition in range(2)
                for name in ("position", "end", "lag")
            ]
            assert shown == [10, 10, 0, 5, 10, 5]


async def test_poll_that_never_returns_ends_the_role(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, watched(log, tmp_path) as (_, reader, _, task):
        entered, forever = asyncio.Event(), asyncio.Event()

        async def hang(client: AIOKafkaConsumer, seconds: float) -> bool:
            if client is reader._client:  # of this reader alone: others must not seem to be it
                entered.set()
                await forever.wait()
            return await wait_for_fetched(client, seconds)

        monkeypatch.setattr(client_module, "wait_for_fetched", hang)
        await entered.wait()
        await write(log, 10)
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        forever.set()
        with pytest.raises(Stalled, match="stands at 0, its end is 10"):
            task.result()


async def test_commit_or_take_over_that_never_ends_ends_the_role(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, watched(log, tmp_path) as (worker, _, _, task):
        await worker._lock.acquire()  # whatever holds it
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        worker._lock.release()
        with pytest.raises(Stalled, match="neither folding nor reading has got any further"):
            task.result()


async def test_broker_that_is_away_for_longer_ends_nothing_and_work_goes_on(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        installed(breakable_kafka.servers, topic_prefix) as log,
        watched(log, tmp_path) as (worker, reader, watch, task),
    ):
        await write(log, 5)
        await until(lambda: worker.status()[0].position == 5)
        monkeypatch.setattr("consumer.kafka.consumer_client.ANSWER_SECONDS", 0.5)
        reader._client.pause(TopicPartition(log.topics.call_events.name, 0))
        await write(log, 5)  # something to read that is not read, when the broker goes
        with breakable_kafka.paused():
            await asyncio.wait([task], timeout=2 * LIMIT_SECONDS)
            assert not task.done()
            assert watch.trouble is None
            reader._client.resume(TopicPartition(log.topics.call_events.name, 0))
        watch._detector = StallDetector()  # coming back takes aiokafka a moment longer than this test's limit
        await until(lambda: worker.ready and worker.status()[0].position == 10)
        assert not task.done()


async def test_metrics_of_partitions_that_have_moved_away_are_taken_away(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    one, two = tmp_path / f"{tmp_path.name}-one", tmp_path / f"{tmp_path.name}-two"
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        topic = log.topics.call_events.name
        node, other = Node(log, one), Node(log, two)
        first, second = (a_worker(log, [log.topics.call_events], n.folder, n.open, name="role") for n in (node, other))
        async with working(*first):
            watch = Watch(one.name, first[0])
            task = asyncio.create_task(watch.run())
            await until(lambda: value("callbreaker_view_lag", one, topic, 1) is not None)
            async with working(*second):
                await until(lambda: len(first[0].shards) == len(second[0].shards) == 1)
                (left,) = first[0].shards
                await until(lambda: value("callbreaker_view_lag", one, topic, 1 - left) is None)
                assert value("callbreaker_view_lag", one, topic, left) == 0
            task.cancel()
            await asyncio.wait([task])


async def test_topic_that_is_read_without_a_group_is_watched_too(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        reader = TopicReader(log.connection, name="r", partitions={log.topics.call_events.name: 1})
        await write(log, 10)
        await reader.start()
        watch = Watch(tmp_path.name, OwnReading(list, reader.bounds), StallDetector(LIMIT_SECONDS))
        task = asyncio.create_task(watch.run())
        try:
            await asyncio.wait([task], timeout=2 * LIMIT_SECONDS)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])
            await reader.stop()
