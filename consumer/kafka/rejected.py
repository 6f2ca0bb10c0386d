"""Looking into ``rejected``: the newest of what was kept because nothing could be made of it."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.connection import Connection
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.reader import LogRecord, fetch_records
from consumer.kafka.topics import Topic

READ_SECONDS = 5.0

Bounds = tuple[int, ...]
"""Of every partition the offset below which a list goes on."""


class RejectedLog:
    """Reads the topic by itself and on demand: nobody follows it."""

    def __init__(self, connection: Connection, topic: Topic) -> None:
        self._connection = connection
        self._topic = topic

    @property
    def partitions(self) -> int:
        return self._topic.partitions

    async def one(self, partition: int, offset: int) -> LogRecord | None:
        """Read one record; None where there is none (any more). Raises ``LogUnavailable``."""
        found = await fetch_records(self._connection, self._topic.name, partition, [offset])
        return found[0] if found else None

    async def newest(self, limit: int, below: Bounds | None = None) -> tuple[list[LogRecord], Bounds | None]:
        """Read the newest ``limit`` records ``below`` these offsets, newest first, and where older ones begin.

        Raises ``LogUnavailable`` when Kafka does not answer.
        """
        consumer = AIOKafkaConsumer(**self._connection.client_options("callbreaker-rejected"), enable_auto_commit=False)
        tps = [TopicPartition(self._topic.name, number) for number in range(self.partitions)]
        try:
            async with asyncio.timeout(READ_SECONDS):
                await consumer.start()
                first = await consumer.beginning_offsets(tps)
                after = await consumer.end_offsets(tps)
                ends = [min(below[tp.partition], after[tp]) if below else after[tp] for tp in tps]
                found: list[LogRecord] = []
                for tp, end in zip(tps, ends, strict=True):
                    found += await _read(consumer, tp, max(first[tp], end - limit), end)
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"{self._topic.name} cannot be read: {error!r}") from error
        finally:
            await consumer.stop()
        found.sort(key=lambda record: (record.timestamp, record.partition, record.offset), reverse=True)
        shown = found[:limit]
        bounds = tuple(_bound(tp.partition, end, shown) for tp, end in zip(tps, ends, strict=True))
        older = any(bound > first[tp] for tp, bound in zip(tps, bounds, strict=True))
        return shown, bounds if older else None


async def _read(consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    if start < end:
        consumer.assign([tp])
        consumer.seek(tp, start)
        while not found or found[-1].offset < end - 1:
            for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                found += records
    return [record for record in found if record.offset < end]


def _bound(partition: int, end: int, shown: Sequence[LogRecord]) -> int:
    return min((record.offset for record in shown if record.partition == partition), default=end)
