"""Events from Kafka: ``call-events`` as it was recorded, all partitions in the order of the broker's time."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from consumer.backtest.course import Course
from consumer.backtest.recorded import Change, Recorded
from consumer.kafka.connection import Connection
from consumer.kafka.reader import LogRecord
from consumer.kafka.span import open_span
from consumer.kafka.topics import Topic, Topics
from consumer.model.codec import CodecError, decode_carried, decode_event, decode_order_record, is_carried
from consumer.model.controls import is_control
from consumer.model.events import Position

logger = logging.getLogger(__name__)

READER = "backtest"
MOST_SHOWN = 5

OnProgress = Callable[[int, int, int], None]
"""Is told how much has been read, of how much, and how many events that were."""


@dataclass(slots=True)
class Unreadable:
    """Records that are none of ours: how many, and what is wrong with the first of them."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def note(self, record: LogRecord, error: CodecError) -> None:
        self.count += 1
        if len(self.reasons) < MOST_SHOWN:
            self.reasons.append(f"{record.topic}/{record.partition}@{record.offset}: {error}")


async def read_recorded(connection: Connection, topics: Topics, tested: Mapping[str, str], start: float) -> Recorded:
    """Read the stop orders; see ``Recorded.sorted_out``. Raises ``LogUnavailable``."""
    changes: list[Change] = []
    async with open_span(connection, topics.stop_orders, name=READER) as span:
        async for batch in span.batches():
            for record in batch:
                if record.value is None or is_control(record.key):
                    continue
                try:
                    changes.append(decode_order_record(record.value, record.timestamp / 1_000))
                except CodecError as error:
                    logger.warning("%s@%d is skipped: %s", record.topic, record.offset, error)
    return Recorded.sorted_out(changes, tested, start)


async def follow(
    connection: Connection, topic: Topic, course: Course, *, until: float | None, on_progress: OnProgress
) -> Unreadable:
    """Lead the course through the events, up to ``until`` (the broker's time, seconds); raises ``LogUnavailable``."""
    unreadable = Unreadable()
    async with open_span(connection, topic, name=READER, until=until) as span:
        async for batch in span.batches():
            for record in batch:
                position = Position(record.topic, record.partition, record.offset)
                logged_at = record.timestamp / 1_000
                try:
                    if is_carried(record.value):
                        course.take_carried(decode_carried(record.value), position, logged_at)
                    else:
                        course.take(decode_event(record.value, position, logged_at))
                except CodecError as error:
                    unreadable.note(record, error)
            course.tidy(batch[-1].timestamp / 1_000)
            on_progress(span.passed, span.total, course.taken)
    return unreadable
