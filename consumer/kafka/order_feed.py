"""The stop orders as every process knows them: all of ``stop-orders``, read by itself and folded into one book."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from consumer.kafka.connection import Connection
from consumer.kafka.producer import FORMAT, OutRecord
from consumer.kafka.reader import LogRecord, TopicReader
from consumer.kafka.topics import Topic
from consumer.model.codec import CodecError, decode_order_record, encode_fact, encode_order
from consumer.model.order_book import OrderBook
from consumer.model.orders import Fact, StopOrder

logger = logging.getLogger(__name__)

DEFAULT_DECISION_TTL_SECONDS = 900.0


def order_record(topic: Topic, order: StopOrder) -> OutRecord:
    """Make the record that says: stop this."""
    return OutRecord(topic.name, 0, order.order_id.encode(), encode_order(order))


def fact_record(topic: Topic, fact: Fact) -> OutRecord:
    """Make the record of something that happened to an order.

    Its key holds the kind too, so that compaction never lets one fact overwrite another, or the order itself.
    """
    return OutRecord(topic.name, 0, f"{fact.order_id}/{fact.kind}".encode(), encode_fact(fact), FORMAT)


class OrderFeed:
    """Follows ``stop-orders``. ``next_offset`` is the first offset that is not in the book yet."""

    def __init__(
        self, connection: Connection, topic: Topic, *, decision_ttl: Mapping[str, float] | None = None
    ) -> None:
        self.book = OrderBook()
        self.next_offset = 0
        self.topic = topic
        self._reader = TopicReader(connection, name="orders", partitions={topic.name: 1})
        self._decision_ttl = decision_ttl or {}
        self._listeners: list[Callable[[], None]] = []
        self._caught_up = asyncio.Event()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Be told (synchronously, briefly) after the book has changed."""
        self._listeners.append(listener)

    async def caught_up(self) -> None:
        """Wait until every order that was there at the start is in the book."""
        await self._caught_up.wait()

    @property
    def ready(self) -> bool:
        return self._caught_up.is_set()

    async def start(self) -> None:
        await self._reader.start({})

    async def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Ask the cluster how far the topic goes; raises ``LogUnavailable`` when it does not answer."""
        return await self._reader.bounds()

    async def stop(self) -> None:
        await self._reader.stop()

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        end = (await self._reader.bounds())[self.topic.name, 0][1]
        while True:
            if self.next_offset >= end:
                self._caught_up.set()
            fetched = await self._reader.poll(max_records=1_000, timeout_ms=500)
            for records in fetched.values():
                for record in records:
                    self._fold(record)
            # Offsets that no longer hold a record, as compaction leaves them, are passed too.
            self.next_offset = await self._reader.position(self.topic.name, 0)
            if fetched:
                for listener in self._listeners:
                    listener()

    def _fold(self, record: LogRecord) -> None:
        if record.value is None:
            self.book.forget((record.key or b"").decode())
            return
        try:
            change = decode_order_record(record.value, record.timestamp / 1_000)
        except CodecError as error:
            logger.error("stop-orders@%d is skipped: %s", record.offset, error)
            return
        if isinstance(change, StopOrder):
            ttl = self._decision_ttl.get(change.account, DEFAULT_DECISION_TTL_SECONDS)
            self.book.put_order(change, record.offset, ttl)
        else:
            self.book.put_fact(change, record.offset)
