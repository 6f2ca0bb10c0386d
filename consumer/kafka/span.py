"""Reading all partitions of a topic once, up to where they end now, in the order of the broker's time.

A record is given when no partition can still bring an earlier one. Of records of one millisecond, that of the lower
partition comes first, so the same log always comes in the same order.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumer.kafka.bulk import Logged, poll_bulk
from consumer.kafka.connection import Connection
from consumer.kafka.consumer_client import answering, bounds_of, client_options_of, start_client, stop_client
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.topics import Topic
from consumer.kafka.translate import translated

POLL_SECONDS = 0.5
MOST_WAITING = 20_000
"""Records of one partition that wait for the others; more are not asked for meanwhile."""
SILENT_POLLS = 60


class Span:
    """A topic between its present bounds. ``total`` and ``passed`` count offsets, so they also count what compaction took."""

    def __init__(self, client: AIOKafkaConsumer, bounds: Mapping[TopicPartition, tuple[int, int]]) -> None:
        self._client = client
        self._ends = {tp: end for tp, (first, end) in bounds.items() if end > first}
        self._waiting: dict[TopicPartition, list[Logged]] = {tp: [] for tp in self._ends}
        self._next = {tp: bounds[tp][0] for tp in self._ends}
        self.total = sum(end - first for first, end in bounds.values())

    @property
    def passed(self) -> int:
        return self.total - sum(max(0, end - self._next[tp]) for tp, end in self._ends.items())

    async def batches(self) -> AsyncIterator[Sequence[Logged]]:
        """Give the records; raises ``LogUnavailable`` when the brokers say nothing for long."""
        silent = 0
        while unread := self._unread():
            fetched = await self._poll(unread)
            silent = 0 if fetched else silent + 1
            if silent > SILENT_POLLS:
                raise LogUnavailable(f"{unread[0].topic}/{unread[0].partition} gives no records")
            if batch := self._ready():
                yield batch
        if batch := self._ready():
            yield batch

    def _unread(self) -> list[TopicPartition]:
        return [tp for tp, end in self._ends.items() if self._next[tp] < end]

    async def _poll(self, unread: Sequence[TopicPartition]) -> bool:
        """Read on where the others wait for it, else where little waits; says whether anything was passed."""
        wanted = [tp for tp in unread if not self._waiting[tp]] or [
            tp for tp in unread if len(self._waiting[tp]) < MOST_WAITING
        ]
        before = dict(self._next)
        fetched = await poll_bulk(self._client, wanted or unread, POLL_SECONDS)
        for tp, records in fetched.items():
            end = self._ends[tp]
            self._waiting[tp] += records if records[-1][2] < end else [one for one in records if one[2] < end]
        for tp in wanted or unread:
            self._next[tp] = int(await self._client.position(tp))
        return self._next != before

    def _ready(self) -> list[Logged]:
        """Take out what no partition can bring anything before, in order."""
        unread = self._unread()
        if any(not self._waiting[tp] for tp in unread):
            return []
        until = min((self._waiting[tp][-1][0] for tp in unread), default=None)
        batch: list[Logged] = []
        for tp, waiting in self._waiting.items():
            count = len(waiting) if until is None else bisect_left(waiting, (until,))
            batch += waiting[:count]
            self._waiting[tp] = waiting[count:]
        batch.sort()  # by time, then by partition and offset
        return batch


@asynccontextmanager
async def open_span(
    connection: Connection, topic: Topic, *, name: str, until: float | None = None
) -> AsyncIterator[Span]:
    """Begin at the start of every partition.

    Args:
        connection: the cluster.
        topic: all of whose partitions are read.
        name: what the brokers know this reader by.
        until: the broker's time, in seconds, at which to end; None for the present end.

    Raises:
        LogUnavailable: Kafka does not answer.

    """
    client = AIOKafkaConsumer(**client_options_of(connection, f"callbreaker-{name}"))
    await start_client(client, connection)
    try:
        tps = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        client.assign(tps)
        known = await bounds_of(client, tps)
        bounds = {tp: known[tp.topic, tp.partition] for tp in tps}
        if until is not None:
            ends = await _ends_at(client, tps, until)
            bounds = {tp: (first, min(end, ends.get(tp, end))) for tp, (first, end) in bounds.items()}
        for tp, (first, _) in bounds.items():
            client.seek(tp, first)
        yield Span(client, bounds)
    finally:
        await stop_client(client)


async def _ends_at(client: AIOKafkaConsumer, tps: Sequence[TopicPartition], until: float) -> dict[TopicPartition, int]:
    """Give the first offset at or after a time, where there is one."""
    try:
        async with answering():
            found = await client.offsets_for_times(dict.fromkeys(tps, int(until * 1_000)))
    except (KafkaError, TimeoutError) as error:
        raise translated(error, f"offsets of {tps[0].topic} cannot be looked up by time") from error
    return {tp: place.offset for tp, place in found.items() if place is not None}
