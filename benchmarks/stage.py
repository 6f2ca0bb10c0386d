"""What the benchmarks of correlation stand on: a broker on the second core, filled topics, and what is in them."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from benchmarks.world import Size, World
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.topics import Topic, Topics, ensure_topics

FETCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """A broker with a world's topics. ``core`` is for who is measured, the others are the broker's and the parent's."""

    connection: Connection
    folder: Path
    cores: tuple[int, ...]
    topics: Topics
    cluster_id: str
    world: World

    @property
    def core(self) -> int:
        return self.cores[0]

    @property
    def servers(self) -> str:
        return self.connection.bootstrap_servers

    @property
    def job(self) -> dict[str, str]:
        """What every process is told."""
        return {"servers": self.servers, "prefix": self.connection.topic_prefix}


@asynccontextmanager
async def staged(size: Size, prefix: str, **partitions: int) -> AsyncIterator[Stage]:
    """Start a broker on the second core, with empty topics; both are as they were when the block is left."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:] or cores))  # inherited by the broker
    try:
        with tempfile.TemporaryDirectory(prefix="callbreaker-bench-") as folder:
            async with EmbeddedKafka(Path(folder)) as kafka:
                connection = Connection(kafka.bootstrap_servers, topic_prefix=prefix)
                topics = Topics.named(prefix, **partitions)
                cluster = await ensure_topics(connection, topics)
                await _groups_work(connection)
                world = World(size, topics)
                yield Stage(connection, Path(folder), tuple(cores), topics, cluster.cluster_id, world)
    finally:
        os.sched_setaffinity(0, set(cores))


async def _groups_work(connection: Connection) -> None:
    """Wait until the broker has made the topic that holds the groups' offsets, so that nobody measures that."""
    client = logging.getLogger("aiokafka")
    level = client.level
    client.setLevel(logging.CRITICAL)
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    await committed(connection, "nobody", Topic("nothing", 1, None))
                except KafkaError:
                    await asyncio.sleep(0.1)
                else:
                    return
    finally:
        client.setLevel(level)


async def fill(connection: Connection, records: Iterable[OutRecord], at_once: int = 2_000) -> int:
    """Write records, ``at_once`` at a time; says how many there were."""
    producer = Producer(connection)
    await producer.start()
    written = 0
    batch: list[OutRecord] = []
    try:
        for record in records:
            batch.append(record)
            if len(batch) == at_once:
                await producer.publish_all(batch)
                written += len(batch)
                batch = []
        await producer.publish_all(batch)
        return written + len(batch)
    finally:
        await producer.stop()


def partitions_of(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, n) for n in range(topic.partitions)]


async def ends(connection: Connection, topic: Topic) -> dict[int, int]:
    """The next offset of each partition."""
    async with AIOKafkaConsumer(bootstrap_servers=connection.bootstrap_servers) as consumer:
        return {tp.partition: end for tp, end in (await consumer.end_offsets(partitions_of(topic))).items()}


async def committed(connection: Connection, group: str, topic: Topic) -> int:
    """How many records of a topic a group has committed in all; those of a benchmark begin at offset 0."""
    async with _member_of(connection, group) as consumer:
        return sum([await consumer.committed(tp) or 0 for tp in partitions_of(topic)])


async def commit(connection: Connection, group: str, topic: Topic, offsets: dict[int, int]) -> None:
    """Commit for a group that nobody is in."""
    wanted = {TopicPartition(topic.name, partition): offset for partition, offset in offsets.items()}
    async with _member_of(connection, group) as consumer:
        consumer.assign(list(wanted))
        await consumer.commit(wanted)


def _member_of(connection: Connection, group: str) -> AIOKafkaConsumer:
    servers = connection.bootstrap_servers
    return AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)


async def values(connection: Connection, topic: Topic) -> AsyncIterator[bytes]:
    """The values of all that is in a topic now."""
    tps = partitions_of(topic)
    servers = connection.bootstrap_servers
    async with AIOKafkaConsumer(bootstrap_servers=servers, max_partition_fetch_bytes=FETCH_BYTES) as consumer:
        consumer.assign(tps)
        await consumer.seek_to_beginning()
        left = sum((await consumer.end_offsets(tps)).values())
        while left > 0:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(records)
                for record in records:
                    yield record.value
