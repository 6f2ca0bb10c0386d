"""The one producer: every role writes through it.

Records wait in a lane per partition; a lane has one group-committed batch in flight, and what arrives meanwhile makes the
next one. What goes wrong with aiokafka 0.14 is answered here and nowhere else (docs/decisions/0002-one-producer.md):

* an expired or refused batch leaves a sequence gap that fails that partition for ever → the client is replaced;
* a batch never expires while its leader is known but silent → after ``stuck_seconds`` the client is replaced;
* what is unacknowledged is sent again by the new client, so a record may be there twice: every reader expects that.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError

from consumer.kafka.connection import Connection
from consumer.kafka.errors import Backpressure, LogError, LogUnavailable, RecordTooLarge
from consumer.model.codec import VERSION

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 262_144
MAX_PENDING_BYTES = 64 * 1024 * 1024
STUCK_SECONDS = 12.0
STOP_SECONDS = 3.0
BACKOFF_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)
OVERHEAD_BYTES = 100

Headers = tuple[tuple[str, bytes], ...]
FORMAT: Headers = (("v", VERSION),)


@dataclass(frozen=True, slots=True)
class OutRecord:
    """One record to be written. ``value`` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers = FORMAT

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.value or b"") + OVERHEAD_BYTES


@dataclass(slots=True, eq=False)
class _Item:
    """Records of one partition that somebody waits for together; ``written`` of them are acknowledged."""

    records: Sequence[OutRecord]
    future: asyncio.Future[int]
    size_bytes: int
    written: int = 0


@dataclass(slots=True, eq=False)
class _Lane:
    topic: str
    partition: int
    items: deque[_Item] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Producer:
    """Writes records durably (acks=all, idempotent), in order per partition, and never hangs for ever."""

    def __init__(
        self,
        connection: Connection,
        *,
        client_id: str = "callbreaker",
        max_pending_bytes: int = MAX_PENDING_BYTES,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._connection = connection
        self._client_id = client_id
        self._max_pending_bytes = max_pending_bytes
        self._stuck_seconds = stuck_seconds
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._client: AIOKafkaProducer | None = None
        self._replaced = asyncio.Event()
        self._starting = asyncio.Lock()
        self._closed = False
        self._retired: set[asyncio.Task[None]] = set()
        self.pending_bytes = 0
        self.replacements = 0
        self.failing = False

    async def start(self) -> None:
        """Connect.

        Raises:
            LogUnavailable: no broker answers.

        """
        try:
            self._client = await self._connect()
        except (KafkaError, OSError) as error:
            raise LogUnavailable(f"Kafka at {self._connection.bootstrap_servers} does not answer: {error}") from error

    async def stop(self, deadline_seconds: float = STOP_SECONDS) -> None:
        """Write what waits, for at most ``deadline_seconds``, then close whatever the brokers do."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_seconds)
        self._closed = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client:
            await _close(self._client)
        await asyncio.gather(*self._retired, return_exceptions=True)

    def publish(self, record: OutRecord) -> asyncio.Future[int]:
        """Queue one record; the future gives its offset once all in-sync replicas have it.

        Whoever stops waiting cancels the future: a record that has not left yet is then dropped.

        Raises:
            Backpressure: more than ``max_pending_bytes`` wait already.

        """
        return self._queue([record])

    async def publish_all(self, records: Iterable[OutRecord]) -> None:
        """Write records and wait until every one is acknowledged, however long Kafka is away."""
        lanes: dict[tuple[str, int], list[OutRecord]] = {}
        for record in records:
            lanes.setdefault((record.topic, record.partition), []).append(record)
        if lanes:
            await asyncio.gather(*[self._queue(group, bounded=False) for group in lanes.values()])

    def _queue(self, records: Sequence[OutRecord], *, bounded: bool = True) -> asyncio.Future[int]:
        size = sum(record.size_bytes for record in records)
        if self._closed:
            raise LogUnavailable("the producer is closed")
        if bounded and self.pending_bytes + size > self._max_pending_bytes:
            raise Backpressure(
                f"{self.pending_bytes} bytes wait to be written to Kafka, the bound is {self._max_pending_bytes}"
            )
        key = (records[0].topic, records[0].partition)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(*key)
        item = _Item(records, asyncio.get_running_loop().create_future(), size)
        lane.items.append(item)
        self.pending_bytes += size
        if lane.task is None:
            lane.task = asyncio.create_task(self._drain(lane), name=f"produce {lane.topic}/{lane.partition}")
        return item.future

    async def _drain(self, lane: _Lane) -> None:
        try:
            while lane.items:
                await self._write_next(lane)
        finally:
            lane.task = None

    async def _write_next(self, lane: _Lane) -> None:
        """Write one batch from the head of the lane, for as long as it takes."""
        for attempt in count():
            self._drop_abandoned(lane)
            if not lane.items:
                return
            client = await self._connected()
            try:
                offset, taken = await self._send(client, lane)
            except (MessageSizeTooLargeError, RecordTooLargeError) as error:
                self._refuse(lane, error)
                self._replace(client)
            except (KafkaError, LogError, OSError, AssertionError) as error:
                # AssertionError: aiokafka's own answer to a partition that its metadata has lost for a moment.
                self.failing = True
                logger.warning("writing to %s/%d failed, trying again: %r", lane.topic, lane.partition, error)
                self._replace(client)
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
            else:
                self.failing = False
                self._acknowledge(lane, offset, taken)
                return

    async def _send(self, client: AIOKafkaProducer, lane: _Lane) -> tuple[int, int]:
        """Send one batch of the lane's first records; gives its base offset and how many records it took."""
        builder = client.create_batch()
        taken = 0
        for item in lane.items:
            for record in item.records[item.written :]:
                appended = builder.append(
                    timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
                )
                if appended is None:
                    break
                taken += 1
            else:
                continue
            break
        builder.close()
        sending = asyncio.ensure_future(_deliver(client, builder, lane))
        replaced = asyncio.ensure_future(self._replaced.wait())
        try:
            done, _ = await asyncio.wait(
                {sending, replaced}, timeout=self._stuck_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            replaced.cancel()
            if not sending.done():
                sending.cancel()
        if sending in done:
            return sending.result(), taken
        raise LogUnavailable("no acknowledgement in time" if replaced not in done else "the client was replaced")

    def _acknowledge(self, lane: _Lane, base_offset: int, taken: int) -> None:
        offset = base_offset
        while taken:
            item = lane.items[0]
            here = min(taken, len(item.records) - item.written)
            item.written += here
            taken -= here
            offset += here
            if item.written == len(item.records):
                self._finish(lane)
                if not item.future.done():
                    item.future.set_result(offset - 1)

    def _finish(self, lane: _Lane) -> None:
        self.pending_bytes -= lane.items.popleft().size_bytes

    def _drop_abandoned(self, lane: _Lane) -> None:
        while lane.items and lane.items[0].future.cancelled():
            self._finish(lane)

    def _refuse(self, lane: _Lane, error: Exception) -> None:
        item = lane.items[0]
        self._finish(lane)
        if not item.future.done():
            item.future.set_exception(RecordTooLarge(f"Kafka refuses a record of {item.size_bytes} bytes: {error}"))

    def _replace(self, client: AIOKafkaProducer) -> None:
        """Retire a client whose sequence numbers can no longer be trusted; everybody waiting on it sends again."""
        if client is not self._client:
            return
        self._client = None
        self.replacements += 1
        self._replaced.set()
        self._replaced = asyncio.Event()
        task = asyncio.create_task(_close(client), name="retire producer")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _connected(self) -> AIOKafkaProducer:
        """Give the client, making a new one for as long as there is none."""
        async with self._starting:
            for attempt in count():
                if self._client:
                    return self._client
                try:
                    self._client = await self._connect()
                except (KafkaError, OSError) as error:
                    self.failing = True
                    logger.warning("Kafka at %s does not answer: %s", self._connection.bootstrap_servers, error)
                    await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
        raise AssertionError("unreachable")

    async def _connect(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            **self._connection.client_options(self._client_id),
            enable_idempotence=True,
            max_batch_size=MAX_BATCH_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=50,
            metadata_max_age_ms=30_000,
        )
        try:
            await client.start()
        except BaseException:
            await _close(client)
            raise
        return client


async def _deliver(client: AIOKafkaProducer, builder: object, lane: _Lane) -> int:
    """Hand a batch over and wait for its base offset."""
    sent = await client.send_batch(builder, lane.topic, partition=lane.partition)
    sent.add_done_callback(_looked_at)
    metadata = await asyncio.shield(sent)
    return int(metadata.offset)


def _looked_at(sent: asyncio.Future[object]) -> None:
    """Look at the result of a batch nobody waits for any more, so that it is not reported as forgotten."""
    if not sent.cancelled():
        sent.exception()


async def _close(client: AIOKafkaProducer) -> None:
    """Close a client whatever state it is in: its own ``stop`` waits for ever while brokers are down."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await client.stop()
    except (TimeoutError, KafkaError, OSError):
        sender = client._sender  # noqa: SLF001 -- stop() gives no bound; these are its own two last steps
        if sender.sender_task is not None:
            await sender.close()
        await client.client.close()
