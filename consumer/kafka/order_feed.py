"""The stop orders as every process knows them: all of ``stop-orders``, read by itself and folded into one book."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from consumer.kafka.checkpoints import wait_for_journal
from consumer.kafka.connection import Connection
from consumer.kafka.control_rows import ControlChange
from consumer.kafka.errors import LogUnavailable
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_fold import Change, Forgotten
from consumer.kafka.producer import FORMAT, OutRecord
from consumer.kafka.progress import Reading
from consumer.kafka.reader import LogRecord, TopicReader
from consumer.kafka.resume import Doubt, Following, Log, doubt
from consumer.kafka.topics import Topic
from consumer.kafka.view import log_thrown_away
from consumer.model.codec import CodecError, decode_order_record, encode_fact, encode_order
from consumer.model.controls import Control, Controls, decode_control, encode_control, is_control
from consumer.model.orders import Fact, StopOrder

logger = logging.getLogger(__name__)

MAX_RECORDS = 1_000
SLICE_RECORDS = 50
SLICE_BYTES = 16 * 1024
"""What is folded in one go, in some milliseconds; a single order may be longer, and is folded in parts."""
POLL_MS = 500
RETRY_SECONDS = 0.5


def order_record(topic: Topic, order: StopOrder) -> OutRecord:
    """Make the record that says: stop this."""
    return OutRecord(topic.name, 0, order.order_id.encode(), encode_order(order))


def fact_record(topic: Topic, fact: Fact) -> OutRecord:
    """Make the record of something that happened to an order.

    Its key holds the kind too, so that compaction never lets one fact overwrite another, or the order itself.
    """
    return OutRecord(topic.name, 0, f"{fact.order_id}/{fact.kind}".encode(), encode_fact(fact), FORMAT)


def control_record(topic: Topic, control: Control) -> OutRecord:
    """Make the record that sets a control: the lever, a rule's mode, the rules, an alert."""
    return OutRecord(topic.name, 0, control.key, encode_control(control))


class OrderFeed:
    """Follows ``stop-orders``. ``next_offset`` is the first offset that is not in the book yet."""

    def __init__(
        self,
        connection: Connection,
        topic: Topic,
        *,
        book: StoredOrderBook | None = None,
        reader: TopicReader | None = None,
    ) -> None:
        """Prepare to follow the topic; without a ``book``, the orders are held in memory."""
        self.book = StoredOrderBook() if book is None else book
        self.topic = topic
        self.records_folded = 0
        self._key = (topic.name, 0)
        self._reader = reader or TopicReader(connection, name="orders", partitions={topic.name: 1})
        self._following = Following(self._reader.some_bounds)
        self._begun = self._end = self.next_offset = self.book.view.offsets.get(self._key, 0)
        self._listeners: list[Callable[[], None]] = []
        self._caught_up = asyncio.Event()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Be told (synchronously, briefly) after the book has changed."""
        self._listeners.append(listener)

    async def caught_up(self) -> None:
        """Wait until every order that was there at the start is in the book."""
        await self._caught_up.wait()

    @property
    def controls(self) -> Controls:
        """The controls as far as the topic has been read; ask again each time."""
        return self.book.controls

    @property
    def ready(self) -> bool:
        return self._caught_up.is_set()

    def readings(self) -> list[Reading]:
        """How far the topic has been read, of what was there when it was begun."""
        return [Reading(*self._key, begun=self._begun, position=self.next_offset, end=self._end)]

    async def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Ask the cluster how far the topic goes; raises ``LogUnavailable`` when it does not answer."""
        return await self._reader.bounds()

    async def start(self) -> None:
        """Connect, and make sure that the book is of this topic; raises ``LogUnavailable``."""
        await self._reader.start()
        await self._resume()

    async def stop(self) -> None:
        await self._reader.stop()
        self.book.close()

    async def run(self) -> None:
        """Follow the topic until cancelled, from where ``start`` has put it."""
        resumed = True
        while True:
            try:
                if not resumed:
                    await self._resume()
                resumed = False
                while await self._read_on():
                    if self.next_offset >= self._end and not self._following.unsure([self._key]):
                        self._caught_up.set()
            except LogUnavailable as error:
                logger.warning("the stop orders wait for Kafka: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _resume(self) -> None:
        """Go on from where the book is, or from the start where it cannot be gone on with."""
        log = Log(await self._reader.topic_ids(), await self._reader.bounds())
        if found := doubt(self.book.view, log):
            self._throw_away(found)
        offsets = self._following.start(self.book.view, log)
        self._begun = self.next_offset = self.book.view.offsets[self._key]
        self._end = log.bounds[self._key][1]
        self._reader.seek(offsets)

    async def _read_on(self) -> bool:
        """Fold what has come; False where it does not follow on the book, which is thrown away then."""
        fetched = await self._reader.poll(max_records=MAX_RECORDS, timeout_ms=POLL_MS)
        good, bad = await self._following.check(fetched)
        for found in bad.values():
            self._throw_away(found)
            return False
        for records in good.values():
            await self._fold(records)
        # Offsets that no longer hold a record, as compaction leaves them, are passed too.
        position = await self._reader.position(*self._key)
        if position >= self.next_offset:
            self._following.passed(self._key, position)
            self.next_offset = position
        if good:
            for listener in self._listeners:
                listener()
        return True

    async def _fold(self, records: Sequence[LogRecord]) -> None:
        """Fold a batch a slice at a time, so that webhooks and heartbeats get their turn in between."""
        for part in _slices(records):
            told = [(record.offset, change) for record in part if (change := _change(record))]
            orders = [(offset, change) for offset, change in told if not isinstance(change, ControlChange)]
            controls = [change for _, change in told if isinstance(change, ControlChange)]
            following = part[-1].offset + 1
            self.book.fold(orders, {self._key: following}, {self._key: part[-1].timestamp}, controls)
            self.next_offset = following
            self.records_folded += len(part)
            await asyncio.sleep(0)
            if self.book.is_untidy:
                for _ in self.book.tidy():
                    await asyncio.sleep(0)
            await wait_for_journal(self.book.view.path)

    def _throw_away(self, found: Doubt) -> None:
        log_thrown_away(self.book.view.path, str(found))
        self._caught_up.clear()
        self.book.begin_anew()


def _slices(records: Sequence[LogRecord]) -> Iterable[Sequence[LogRecord]]:
    first = size = 0
    for following, record in enumerate(records, start=1):
        size += len(record.value or b"")
        if size >= SLICE_BYTES or following - first >= SLICE_RECORDS or following == len(records):
            yield records[first:following]
            first, size = following, 0


def _change(record: LogRecord) -> Change | ControlChange | None:
    key = record.key or b""
    try:
        if is_control(key):
            told = None if record.value is None else decode_control(key, record.value, record.timestamp / 1_000)
            return ControlChange(key, told)
        if record.value is None:
            return Forgotten(key.decode())
        return decode_order_record(record.value, record.timestamp / 1_000)
    except CodecError as error:
        logger.error("stop-orders@%d is skipped: %s", record.offset, error)
        return None
