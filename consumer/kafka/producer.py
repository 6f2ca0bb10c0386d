"""The one producer: every role writes through it.

Records wait in a lane per partition (``lanes.py``). All lanes with something to write are handed over together, each as
one batch, so that they travel in one request; what arrives meanwhile makes the next round. A lane that is stuck holds up no
other.

What goes wrong with aiokafka 0.14 is answered here and nowhere else (docs/decisions/0002-one-producer.md):

* an expired or refused batch leaves a sequence gap that fails that partition for ever → the client is replaced;
* a batch never expires while its leader is known but silent → after ``stuck_seconds`` the client is replaced;
* what is unacknowledged is sent again by the new client, so a record may be there twice: every reader expects that.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError, UnknownError

from consumer.kafka.connection import Connection
from consumer.kafka.diagnosis import unreachable
from consumer.kafka.errors import Backpressure, LogUnavailable
from consumer.kafka.lanes import BACKOFF_SECONDS, FORMAT, MAX_BATCH_BYTES, Flight, Headers, Item, Lane, OutRecord
from consumer.kafka.producer_client import close, connect

logger = logging.getLogger(__name__)

MAX_PENDING_BYTES = 64 * 1024 * 1024
STUCK_SECONDS = 12.0
STOP_SECONDS = 3.0
SWEEP_SECONDS = 0.1

__all__ = ["FORMAT", "MAX_BATCH_BYTES", "Headers", "OutRecord", "Producer"]


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
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._waiting: dict[Lane, None] = {}
        self._flying = 0
        self._client: AIOKafkaProducer | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pump_task: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._deadlines: deque[tuple[float, asyncio.Future[int]]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self.pending_bytes = 0
        self.replacements = 0
        self.failing = False

    async def start(self) -> None:
        """Connect.

        Raises:
            LogUnavailable: no broker answers, or none lets us in.

        """
        try:
            self._client = await connect(self._connection, self._client_id)
        except (KafkaError, OSError) as error:
            raise await unreachable(self._connection, error) from error
        self._pump_task = asyncio.create_task(self._pump(), name="producer")

    async def watch(self) -> None:
        """Wait for the producer's task, which never ends by itself; whatever it dies of is raised here."""
        if self._pump_task:
            await asyncio.shield(self._pump_task)

    async def stop(self, deadline_seconds: float = STOP_SECONDS) -> None:
        """Write what waits, for at most ``deadline_seconds``, then close whatever the brokers do."""
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._idle.wait()
        except TimeoutError:
            logger.error("%d bytes could not be written to Kafka before the end", self.pending_bytes)
        self._closed = True
        if self._sweep:
            self._sweep.cancel()
        if self._pump_task:
            self._pump_task.cancel()
            await asyncio.gather(self._pump_task, return_exceptions=True)
        if self._client:
            await close(self._client)
        await asyncio.gather(*self._retired, return_exceptions=True)
        for lane in self._lanes.values():
            for item in lane.items:
                if not item.future.done():
                    item.future.set_exception(LogUnavailable("the producer was closed before Kafka acknowledged"))
                    item.future.exception()

    def publish(self, record: OutRecord, *, within_seconds: float | None = None) -> asyncio.Future[int]:
        """Queue one record; the future gives its offset once all in-sync replicas have it.

        After ``within_seconds`` it fails with ``LogUnavailable``, and a record that has not left yet is dropped; one that
        has may still be written. The same happens when the future is cancelled. One sweep watches all deadlines, since a
        timer for each of thousands of webhooks a second would cost more than writing them.

        Raises:
            Backpressure: more than ``max_pending_bytes`` wait already.

        """
        return self.publish_group([record], within_seconds=within_seconds)

    def publish_group(
        self, records: Sequence[OutRecord], *, within_seconds: float | None = None
    ) -> asyncio.Future[int]:
        """Queue records of one partition, as ``publish``; the future gives the offset of the last.

        They fail together, ``RecordTooLarge`` included, and some of them may be written then.
        """
        future = self._queue(records, bounded=True)
        if within_seconds is not None:
            self._deadlines.append((self._loop.time() + within_seconds, future))
        return future

    def publish_all(self, records: Iterable[OutRecord]) -> asyncio.Future[list[int]]:
        """Queue records, at once; the future ends when every one is acknowledged, however long Kafka is away."""
        lanes: dict[tuple[str, int], list[OutRecord]] = {}
        for record in records:
            lanes.setdefault((record.topic, record.partition), []).append(record)
        return asyncio.gather(*[self._queue(group, bounded=False) for group in lanes.values()])

    def _queue(self, records: Sequence[OutRecord], *, bounded: bool) -> asyncio.Future[int]:
        size = sum([record.size_bytes for record in records])
        if self._closed:
            raise LogUnavailable("the producer is closed")
        if bounded and self.pending_bytes + size > self._max_pending_bytes:
            raise Backpressure(
                f"{self.pending_bytes} bytes wait to be written to Kafka, the bound is {self._max_pending_bytes}"
            )
        key = (records[0].topic, records[0].partition)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(*key)
        item = Item(records, self._loop.create_future(), size)
        lane.items.append(item)
        self.pending_bytes += size
        self._idle.clear()
        if lane.flight is None:
            self._waiting[lane] = None
            if not self._flying:
                self._work.set()
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._look_around)
        return item.future

    async def _pump(self) -> None:
        """Hand over one batch of every lane that waits, whenever there is work."""
        while True:
            await self._work.wait()
            self._work.clear()
            client = await self._connected()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stuck_seconds):
                    await self._round(client)
            if not self._flying and not self._waiting and not self.pending_bytes:
                self._idle.set()

    async def _round(self, client: AIOKafkaProducer) -> None:
        now = self._loop.time()
        for lane in [lane for lane in self._waiting if lane.not_before <= now]:
            if self._client is not client:  # replaced while a lane before this one was handed over
                self._work.set()
                break
            self._waiting.pop(lane, None)
            self.pending_bytes -= lane.drop_abandoned()
            if lane.items:
                await self._hand_over(client, lane, now)

    async def _hand_over(self, client: AIOKafkaProducer, lane: Lane, now: float) -> None:
        builder = client.create_batch()
        flight = lane.flight = Flight(client, lane.fill(builder), now)
        self._flying += 1
        try:
            sent = await client.send_batch(builder, lane.topic, partition=lane.partition)
        except (KafkaError, OSError, AssertionError) as error:
            # AssertionError: aiokafka's own answer to a partition that its metadata has lost for a moment.
            if lane.flight is flight:
                self._landed(lane, flight, error)
        except asyncio.CancelledError:
            if lane.flight is flight and not self._closed:
                self._landed(lane, flight, LogUnavailable("the Kafka client did not take the batch in time"))
            raise
        else:
            sent.add_done_callback(partial(self._answered, lane, flight))

    def _answered(self, lane: Lane, flight: Flight, sent: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if sent.cancelled() else sent.exception()
        if lane.flight is not flight:
            return  # given up meanwhile, and on its way again
        if error is None:
            self._landed(lane, flight, None, int(sent.result().offset))
        else:
            self._landed(lane, flight, error)

    def _landed(self, lane: Lane, flight: Flight, error: BaseException | None, base_offset: int = -1) -> None:
        """Settle a batch: acknowledge its records, or keep them at the head of the lane to be sent again."""
        lane.flight = None
        self._flying -= 1
        if error is None:
            self.failing = False
            self.pending_bytes -= lane.acknowledge(base_offset, flight.taken)
        elif isinstance(error, MessageSizeTooLargeError | RecordTooLargeError):
            if flight.taken > 1:
                what = f"{lane.topic}/{lane.partition}", flight.taken
                logger.warning("%s takes no batch of %d records, so less is sent: raise its max.message.bytes", *what)
            self.pending_bytes -= lane.refuse(error, flight.taken)
            self._replace(flight.client)
        else:
            self.failing = True
            why = self._explained(error)
            logger.warning("writing to %s/%d failed, trying again: %s", lane.topic, lane.partition, why)
            lane.put_off(self._loop.time())
            self._replace(flight.client)
        if lane.items:
            self._waiting[lane] = None
        if not self._flying:
            self._work.set()

    def _explained(self, error: BaseException) -> str:
        """Say what failed; a broker that lacks a codec's library says only that something did."""
        codec = self._connection.compression
        if not isinstance(error, UnknownError) or codec == "none":
            return repr(error)
        return f"{error!r}; the broker's log says why. Where it cannot load {codec}, set kafka.compression to none"

    def _look_around(self) -> None:
        """Ten times a second while there is work: fail what waited too long, give up what is stuck, wake what is due."""
        now = self._loop.time()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1].done()):
            _, future = self._deadlines.popleft()
            if not future.done():
                future.set_exception(LogUnavailable("Kafka did not acknowledge in time"))
        for lane in self._lanes.values():
            flight = lane.flight
            if flight and now - flight.since > self._stuck_seconds:
                self._landed(lane, flight, LogUnavailable("no acknowledgement in time"))
        if self._waiting:
            self._work.set()
        busy = self.pending_bytes or self._deadlines
        self._sweep = self._loop.call_later(SWEEP_SECONDS, self._look_around) if busy else None

    def _replace(self, client: object) -> None:
        """Retire a client whose sequence numbers can no longer be trusted; what it carried is sent again by the next."""
        retired = self._client
        if retired is None or client is not retired:
            return
        self._client = None
        self.replacements += 1
        for lane in self._lanes.values():
            if lane.flight and lane.flight.client is client:
                lane.flight = None
                self._flying -= 1
                self._waiting[lane] = None
        task = self._loop.create_task(close(retired), name="retire producer")
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def _connected(self) -> AIOKafkaProducer:
        """Give the client, making a new one for as long as there is none."""
        for attempt in count():
            if self._client:
                return self._client
            try:
                self._client = await connect(self._connection, self._client_id)
            except (KafkaError, OSError) as error:
                self.failing = True
                logger.warning("Kafka at %s does not answer: %s", self._connection.bootstrap_servers, error)
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
        raise AssertionError("unreachable")
