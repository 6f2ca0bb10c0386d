"""A whole backtest: over a file, or over what Kafka has recorded."""

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from consumer.backtest.course import Course
from consumer.backtest.from_file import FileEvents
from consumer.backtest.from_log import OnProgress, follow, read_recorded
from consumer.backtest.plan import Plan
from consumer.backtest.result import Read
from consumer.backtest.tally import Tally
from consumer.kafka.connection import Connection
from consumer.kafka.topics import Topics
from consumer.model.events import CallEvent

AT_ONCE = 1_000


class Done(NamedTuple):
    """What a backtest found."""

    tally: Tally
    read: Read


def over_file(plan: Plan, events: FileEvents, on_progress: OnProgress) -> Done:
    """Run over the events of a file; raises ``FileError``."""
    began = time.perf_counter()
    tally = plan.tally()
    course = plan.course(tally)
    size = max(1, events.path.stat().st_size) if events.path.exists() else 1
    source = iter(events)
    while some := list(islice(source, AT_ONCE)):
        _take_all(course, some)
        on_progress(events.bytes_read, size, course.taken)
    course.finish()
    read = _read(course, events.skipped, events.reasons, began)
    return Done(tally, read)


async def over_log(
    plan: Plan, connection: Connection, topics: Topics, *, until: float | None, on_progress: OnProgress
) -> Done:
    """Run over what is recorded, up to ``until`` (the broker's time, seconds); raises ``LogUnavailable``.

    Orders that others gave are those that are recorded; nothing runs beside.
    """
    began = time.perf_counter()
    tally = plan.tally()
    hashes = {rule.name: rule.hash for rule in plan.rules}
    signalled = {rule.name for rule in plan.rules.on_signals}
    recorded = await read_recorded(connection, topics, hashes, plan.setting.start, signalled)
    course = plan.course(tally, recorded)
    unreadable = await follow(connection, topics.call_events, course, until=until, on_progress=on_progress)
    course.finish(until)
    return Done(tally, _read(course, unreadable.count, unreadable.reasons, began))


def _take_all(course: Course, events: Sequence[CallEvent]) -> None:
    for event in events:
        course.take(event)
    course.tidy(events[-1].logged_at)


def _read(course: Course, skipped: int, reasons: Sequence[str], began: float) -> Read:
    return Read(
        course.events,
        course.warmed_up,
        course.duplicates,
        len(course.lives),
        skipped,
        tuple(reasons),
        round(time.perf_counter() - began, 3),
    )
