"""What can happen to a log: made again, taken away by retention, cut off at its end; and what is said of it then."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer.kafka.topics import Topic, ensure_topics
from tests.kafka.helpers import Installation


@asynccontextmanager
async def administering(log: Installation) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=log.connection.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_again(log: Installation, topic: Topic) -> None:
    """Delete a topic and make it again under the same name."""
    before = log.cluster.topic_ids[topic.name]
    async with administering(log) as admin:
        await admin.delete_topics([topic.name])
    while (await ensure_topics(log.connection, log.topics)).topic_ids[topic.name] == before:
        pass


async def take_away(log: Installation, topic: Topic, before: int) -> None:
    """Delete the records of partition 0 before an offset, as retention does."""
    async with administering(log) as admin:
        await admin.delete_records({TopicPartition(topic.name, 0): RecordsToDelete(before)})


def cut_off(log_dir: Path, topic: Topic, partition: int, records: int) -> None:
    """Take the last records off a partition whose broker is dead; every record was a batch of its own."""
    path = log_dir / f"{topic.name}-{partition}" / f"{0:020}.log"
    content, starts, at = path.read_bytes(), [], 0
    while at + 12 <= len(content) and (length := struct.unpack_from(">i", content, at + 8)[0]) > 0:
        starts.append(at)
        at += 12 + length
    with path.open("r+b") as file:
        file.truncate(starts[-records])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "thrown away" in r.getMessage()]
