"""What the tests on real Kafka share: an installation on a broker, a broker that can be broken, and waiting."""

import asyncio
import os
import signal
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from consumer.kafka import checkpoints
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka, Progress
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.pace import DEFAULT_PACE, Pace
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import GroupReader
from consumer.kafka.topics import Cluster, Topic, Topics, ensure_topics
from consumer.kafka.view import held_views
from consumer.kafka.worker import FoldingWorker, Shard
from consumer.model.accounts import Account
from tests.patience import PATIENCE_SECONDS

SECRET = "the-webhook-secret-of-the-test"
API_KEY = "the-api-key-of-the-test"
LEAVE_SECONDS = 10.0


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Installation:
    """The topics of one test, with a producer."""

    connection: Connection
    topics: Topics
    cluster: Cluster
    producer: Producer

    async def read(self, topic: Topic) -> list[ConsumerRecord]:
        """All that is in a topic now, by partition and offset."""
        tps = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self.connection.bootstrap_servers) as consumer:
            consumer.assign(tps)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(tps)
            found: list[ConsumerRecord] = []
            for tp in tps:
                while await consumer.position(tp) < ends[tp]:
                    found += (await consumer.getmany(tp, timeout_ms=1_000)).get(tp, [])
        return found

    async def ends(self, topic: Topic) -> dict[int, int]:
        """The next offset of each partition of a topic."""
        tps = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self.connection.bootstrap_servers) as consumer:
            return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}

    @asynccontextmanager
    async def following(self, *topics: Topic) -> AsyncIterator["Tail"]:
        """Collect everything that is in some topics or comes into them."""
        tps = [TopicPartition(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self.connection.bootstrap_servers) as consumer:
            consumer.assign(tps)
            await consumer.seek_to_beginning()
            tail = Tail()
            task = asyncio.create_task(tail.follow(consumer))
            try:
                yield tail
            finally:
                task.cancel()
                await asyncio.wait([task])


@dataclass
class Tail:
    records: list[ConsumerRecord] = field(default_factory=list)

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            self.records.append(record)

    def of(self, topic: Topic) -> list[ConsumerRecord]:
        return [record for record in self.records if record.topic == topic.name]


@asynccontextmanager
async def installed(servers: str, prefix: str, **partitions: int) -> AsyncIterator[Installation]:
    """Make the topics of a test, few partitions each, and a producer for them."""
    counts = {"call_events": 1, "scope_totals": 1, "terminations": 1, "rejected": 1} | partitions
    connection = Connection(servers, topic_prefix=prefix)
    topics = Topics.named(prefix, **counts)
    cluster = await _made(connection, topics)
    producer = Producer(connection)
    await producer.start()
    try:
        yield Installation(connection, topics, cluster, producer)
    finally:
        await producer.stop()


async def _made(connection: Connection, topics: Topics) -> Cluster:
    """Make topics; a broker that has just been let go on may not count itself in yet."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await ensure_topics(connection, topics)
            except LogUnavailable:
                await asyncio.sleep(0.1)


async def limit_records(servers: str, topic: Topic, size_bytes: int) -> None:
    """Let Kafka refuse batches of a topic beyond a size, and wait until it does, or does no longer."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, {"max.message.bytes": str(size_bytes)})
        await admin.alter_configs([resource])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _largest(admin, topic) != str(size_bytes):
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _largest(admin: AIOKafkaAdminClient, topic: Topic) -> str:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
    ((*_, entries),) = answer.resources
    return next(str(entry[1]) for entry in entries if entry[0] == "max.message.bytes")


def text(topic: Topic, partition: int, value: str) -> OutRecord:
    return OutRecord(topic.name, partition, b"key", value.encode())


def noise(size: int) -> str:
    """Give a text that no codec makes small."""
    return b64encode(Random(0).randbytes(size)).decode()[:size]


class Breakable:
    """A broker that tests may kill and stop; every test leaves it answering."""

    def __init__(self, data_dir: Path) -> None:
        self.log_dir = data_dir / "kafka" / "node-1" / "data"
        self._kafka = EmbeddedKafka(data_dir, on_progress=self._note)
        self._back = asyncio.Event()

    @property
    def servers(self) -> str:
        return self._kafka.bootstrap_servers

    async def __aenter__(self) -> Self:
        await self._kafka.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kafka.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end: connections stay open and nothing answers."""
        (pid,) = self._kafka.pids
        os.kill(pid, signal.SIGSTOP)
        while not _stands_still(pid):
            time.sleep(0.001)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[None]:
        """SIGKILL; started again, on its port and with its data, at the end."""
        os.kill(self._kafka.pids[0], signal.SIGKILL)
        try:
            yield
        finally:
            self._back.clear()
            task = asyncio.create_task(self._kafka.supervise())
            try:
                await asyncio.wait_for(self._back.wait(), PATIENCE_SECONDS)
            finally:
                task.cancel()
                await asyncio.wait([task])

    def _note(self, progress: Progress) -> None:
        if progress.stage == "ready":
            self._back.set()


def a_worker(
    log: Installation,
    topics: Sequence[Topic],
    folder: Path,
    open_shard: Callable[[int], Shard],
    name: str = "role",
    *,
    pace: Pace = DEFAULT_PACE,
) -> tuple[FoldingWorker, GroupReader]:
    """Put a worker and its reader together as the composition root does; ``folder`` holds its views."""
    names = [topic.name for topic in topics]
    reader = GroupReader(log.connection, group=name, topics=names, node=folder.name, held=lambda: held_views(folder))
    worker = FoldingWorker(
        name=name,
        reader=reader,
        producer=log.producer,
        topics=names,
        open_shard=open_shard,
        pace=pace,
    )
    return worker, reader


@asynccontextmanager
async def working(worker: FoldingWorker, reader: GroupReader) -> AsyncIterator[FoldingWorker]:
    """Run a worker; an error that ended it is raised when the block is left."""
    await reader.start()
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS), worker._lock:  # whose outputs have been seen, its rows are saved
                task.cancel()
        task.cancel()
        await asyncio.wait([task])
        await worker.drain()
        await reader.stop()
        if not task.cancelled() and (error := task.exception()):
            raise error


@asynccontextmanager
async def in_background(run: Any) -> AsyncIterator[None]:
    """Run a coroutine beside the block; an error that ended it is raised when the block is left."""
    task = asyncio.ensure_future(run)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error


def an_account(name: str = "acme", **settings: Any) -> Account:
    """Make an account at Ringg that authenticates its webhooks with a header."""
    auth = {"type": "header", "name": "X-Webhook-Secret", "secret": SECRET}
    return Account.model_validate(
        {"name": name, "provider": "ringg", "api_key": API_KEY, "webhook": {"auth": auth}, **settings}
    )


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process has stopped; a signal reaches one after the other, and a broker has many."""
    try:
        states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread that has just ended
        return False
    return all(state == "T" for state in states)


def waiting_for_each_journal(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let each save wait until its journal is begun anew; gives the views of which that has been done."""
    begun_anew: list[Path] = []

    def noted(view: Path) -> None:
        begun_anew.append(view)
        checkpoint(view)

    checkpoint = checkpoints.checkpoint
    monkeypatch.setattr(checkpoints, "WAITED_FOR_BYTES", 1)
    monkeypatch.setattr(checkpoints, "checkpoint", noted)
    return begun_anew
