"""Batches are compressed as configured, and read whatever they are compressed with, also by brokers that do so themselves."""

from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumer.kafka import embedded_broker, embedded_config
from consumer.kafka.connection import Connection
from consumer.kafka.embedded import EmbeddedKafka
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.producer import Producer
from consumer.kafka.topics import Topic
from tests.kafka.helpers import installed, text

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
"""In the order of their numbers in a batch: kafka.apache.org/documentation/#recordbatch, attributes, bits 0 to 2."""
VALUES = [f"{n}:{'x' * 200}" for n in range(100)]


async def codec_of_first_batch(connection: Connection, topic: str) -> str:
    consumer = AIOKafkaConsumer(**connection.client_options("look"), auto_offset_reset="earliest")
    await consumer.start()
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        while tp not in consumer._fetcher._records:
            await consumer._fetcher._create_fetch_waiter()
        batch = consumer._fetcher._records[tp]._partition_records._records.next_batch()
        return CODECS[int(batch.compression_type)]
    finally:
        await consumer.stop()


async def write(connection: Connection, topic: Topic) -> None:
    producer = Producer(connection)
    await producer.start()
    try:
        await producer.publish_all(text(topic, 0, value) for value in VALUES)
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", CODECS)
async def test_what_is_written_is_compressed_as_configured(kafka_servers: str, topic_prefix: str, codec: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.call_events
        await write(replace(log.connection, compression=codec), topic)
        assert await codec_of_first_batch(log.connection, topic.name) == codec
        assert [record.value.decode() for record in await log.read(topic)] == VALUES


@pytest.mark.parametrize("codec", CODECS[1:])
async def test_what_a_broker_compresses_itself_is_read(kafka_servers: str, topic_prefix: str, codec: str) -> None:
    connection = Connection(kafka_servers, topic_prefix=topic_prefix, compression="none")
    name = f"{topic_prefix}call-events"
    admin = AIOKafkaAdminClient(**connection.client_options("test"))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"compression.type": codec})])
    finally:
        await admin.close()
    async with installed(kafka_servers, topic_prefix) as log:
        topic = log.topics.call_events
        await write(connection, topic)
        assert await codec_of_first_batch(connection, name) == codec
        assert [record.value.decode() for record in await log.read(topic)] == VALUES


async def test_a_broker_that_cannot_load_the_codec_is_told_of_with_the_way_out(
    tmp_path: Path, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def without_snappy(heap_mb: int, jdk: int, directory: Path) -> list[str]:
        return [*embedded_config.jvm_options(heap_mb, jdk, directory), "-Dorg.xerial.snappy.tempdir=/proc/none"]

    monkeypatch.setattr(embedded_broker, "jvm_options", without_snappy)
    async with EmbeddedKafka(tmp_path) as kafka, installed(kafka.bootstrap_servers, topic_prefix) as log:
        topic = log.topics.call_events
        with pytest.raises(LogUnavailable):
            await log.producer.publish(text(topic, 0, VALUES[0]), within_seconds=1.0)
        assert "Where it cannot load snappy, set kafka.compression to none" in caplog.text
        await write(replace(log.connection, compression="none"), topic)
        assert [record.value.decode() for record in await log.read(topic)] == VALUES
