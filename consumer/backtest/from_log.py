"""Events from Kafka: ``call-events`` as it was recorded, all partitions in the order of the broker's time."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from consumer.backtest.course import Course
from consumer.backtest.reading import Place
from consumer.backtest.recorded import Change, Recorded
from consumer.kafka.connection import Connection
from consumer.kafka.span import open_span
from consumer.kafka.topics import Topic, Topics
from consumer.model.codec import CodecError, decode_carried, decode_order_record, is_carried
from consumer.model.controls import MODE_PREFIX, RuleMode, decode_control, is_control
from consumer.model.events import Position
from consumer.model.matches import Match, decode_match, is_match
from consumer.model.orders import Author

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

    def note(self, place: Place, error: CodecError) -> None:
        self.count += 1
        if len(self.reasons) < MOST_SHOWN:
            self.reasons.append(f"{Position(*place)}: {error}")


async def read_recorded(
    connection: Connection, topics: Topics, tested: Mapping[str, str], start: float, signalled: Collection[str] = ()
) -> Recorded:
    """Read the stop orders, and the signals for the rules ``signalled``.

    See ``Recorded.sorted_out``. Raises ``LogUnavailable``.
    """
    changes: list[Change] = []
    async with open_span(connection, topics.stop_orders, name=READER) as span:
        async for batch in span.batches():
            for time_ms, _, offset, key, value in batch:
                try:
                    changes += _changes_of(key, value, time_ms / 1_000)
                except CodecError as error:
                    logger.warning("%s@%d is skipped: %s", topics.stop_orders.name, offset, error)
    signals = await _read_signals(connection, topics.scope_totals, signalled) if signalled else []
    return Recorded.sorted_out(changes, tested, start, signals)


def _changes_of(key: bytes | None, value: bytes | None, logged_at: float) -> list[Change]:
    """Read a record of ``stop-orders``; nothing where it changes no order and no mode."""
    if key is not None and key.startswith(MODE_PREFIX):
        rule = key.removeprefix(MODE_PREFIX).decode(errors="replace")
        told = RuleMode(rule, None, "", Author("", ""), at=logged_at) if value is None else None
        control = told or decode_control(key, value, logged_at)
        return [control] if isinstance(control, RuleMode) else []
    if value is None or is_control(key):
        return []
    return [decode_order_record(value, logged_at)]


async def _read_signals(connection: Connection, topic: Topic, rules: Collection[str]) -> list[Match]:
    """Read the signals that came for these rules: they are kept beside the totals."""
    found: list[Match] = []
    async with open_span(connection, topic, name=READER) as span:
        async for batch in span.batches():
            for _, partition, offset, _, value in batch:
                if value is None or not is_match(value):
                    continue
                try:
                    match = decode_match(value)
                except msgspec.DecodeError as error:
                    logger.warning("%s/%d@%d is skipped: %s", topic.name, partition, offset, error)
                    continue
                if match.rule in rules:
                    found.append(match)
    return found


async def follow(
    connection: Connection, topic: Topic, course: Course, *, until: float | None, on_progress: OnProgress
) -> Unreadable:
    """Lead the course through the events, up to ``until`` (the broker's time, seconds); raises ``LogUnavailable``."""
    unreadable, read = Unreadable(), course.read
    async with open_span(connection, topic, name=READER, until=until) as span:
        async for batch in span.batches():
            for time_ms, partition, offset, _, value in batch:
                place = (topic.name, partition, offset)
                try:
                    event = read(value, place, time_ms / 1_000)
                except CodecError as error:
                    _take_other(course, value, place, time_ms / 1_000, unreadable, error)
                else:
                    course.take(event, place)
            course.tidy(batch[-1][0] / 1_000)
            on_progress(span.passed, span.total, course.taken)
    return unreadable


def _take_other(
    course: Course, value: bytes | None, place: Place, logged_at: float, unreadable: Unreadable, error: CodecError
) -> None:
    """Take a record that is no event: a call that was written as a whole, or nothing that can be read."""
    if not is_carried(value):
        unreadable.note(place, error)
        return
    try:
        course.take_carried(decode_carried(value), Position(*place), logged_at)
    except CodecError as wrong:
        unreadable.note(place, wrong)
