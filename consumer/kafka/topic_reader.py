"""Reading whole topics by oneself, without a group, and single records."""

from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.connection import Connection
from consumer.kafka.consumer_client import (
    LogRecord,
    Stopwatch,
    answering,
    bounds_of,
    client_options_of,
    ids_of,
    poll_client,
    start_client,
    stop_client,
)
from consumer.kafka.errors import Stalled
from consumer.kafka.translate import translated


class TopicReader:
    """Reads all of some topics by itself, without a group: for what every process must know.

    ``waited_seconds`` is how long ``poll`` has waited for records in all.
    """

    def __init__(self, connection: Connection, *, name: str, partitions: Mapping[str, int]) -> None:
        self._connection = connection
        self._name = name
        self._waiting = Stopwatch()
        self._reads = False
        self._tps = [TopicPartition(topic, p) for topic, count in partitions.items() for p in range(count)]
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise Stalled("the reader has not been started")
        return self._consumer

    @property
    def waited_seconds(self) -> float:
        return self._waiting.seconds

    async def start(self) -> None:
        """Connect. Nothing is read until ``seek``: what is asked before need not wait behind a request for records."""
        self._consumer = AIOKafkaConsumer(**client_options_of(self._connection, f"callbreaker-{self._name}"))
        await start_client(self._consumer, self._connection)

    def seek(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Read these partitions (on) from the given offsets; at first, one that is not named from its beginning."""
        if not self._reads:
            self._client.assign(self._tps)
            self._reads = True
        for key, offset in offsets.items():
            self._client.seek(TopicPartition(*key), offset)

    async def stop(self) -> None:
        if self._consumer:
            await stop_client(self._consumer)

    async def topic_ids(self) -> dict[str, str]:
        """Give the ids of the topics by name, empty where Kafka has none; raises ``LogUnavailable``."""
        return await ids_of(self._client, sorted({tp.topic for tp in self._tps}))

    async def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of each partition, by (topic, partition)."""
        return await bounds_of(self._client, self._tps)

    async def some_bounds(self, keys: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """Give the first and the next offset of single partitions, by (topic, partition)."""
        return await bounds_of(self._client, [TopicPartition(*key) for key in keys])

    async def poll(self, *, max_records: int, timeout_ms: int) -> dict[tuple[str, int], Sequence[LogRecord]]:
        """Give what there is, waiting up to ``timeout_ms`` for the first record."""
        with self._waiting:
            fetched = await poll_client(self._client, max_records, timeout_ms)
        return {(tp.topic, tp.partition): records for tp, records in fetched.items()}

    async def position(self, topic: str, partition: int) -> int:
        """Give the next offset of a partition that ``poll`` has not passed yet, whether or not there is a record at it."""
        return int(await self._client.position(TopicPartition(topic, partition)))

    def position_after(self, records: Mapping[tuple[str, int], Sequence[LogRecord]]) -> dict[tuple[str, int], int]:
        """Give the next offset of each partition just read."""
        return {key: batch[-1].offset + 1 for key, batch in records.items() if batch}


async def fetch_records(connection: Connection, topic: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
    """Read single records by offset: the events a decision names as its evidence.

    Offsets that retention has taken away are left out. Raises ``LogUnavailable`` when Kafka does not answer.
    """
    if not offsets:
        return []
    consumer = AIOKafkaConsumer(**client_options_of(connection, "callbreaker-evidence"))
    await start_client(consumer, connection)
    tp = TopicPartition(topic, partition)
    found: list[LogRecord] = []
    try:
        async with answering():
            consumer.assign([tp])
            first = (await consumer.beginning_offsets([tp]))[tp]
            after = (await consumer.end_offsets([tp]))[tp]
            for offset in sorted({offset for offset in offsets if first <= offset < after}):
                if not found or found[-1].offset < offset:
                    consumer.seek(tp, offset)
                    record = await consumer.getone(tp)
                    if record.offset == offset:
                        found.append(record)
    except (KafkaError, TimeoutError) as error:
        raise translated(error, f"records of {topic}/{partition} cannot be read") from error
    finally:
        await stop_client(consumer)
    return found
