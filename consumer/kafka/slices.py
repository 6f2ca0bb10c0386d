"""Batches cut into parts that take some milliseconds each, so that heartbeats and webhooks get their turn in between.

Parts are measured in bytes, topic by topic: one record tells of a hundred calls where another tells of one, and what a byte
costs to fold depends on what it tells.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from consumer.kafka.reader import LogRecord

FIRST_BYTES = 4 * 1_024
MOST_RECORDS = 400
RECORD_BYTES = 100
"""What a record weighs beside its value."""
WANTED_SECONDS = 0.005


class Slices:
    """Cuts batches; how long the last part took tells how large the next of its topic may be, since rules may be slow."""

    def __init__(self) -> None:
        self._most_bytes: dict[str, int] = {}
        self._last = "", 0

    def of(self, records: Sequence[LogRecord], boundary: int) -> Iterator[tuple[Sequence[LogRecord], bool]]:
        """Cut a batch of one partition into parts, each wholly before the boundary (not live) or wholly behind it (live).

        ``fit`` is to be told of each part before the next is asked for.
        """
        ends = list(accumulate([RECORD_BYTES + len(record.value or b"") for record in records], initial=0))
        topic = records[0].topic if records else ""
        for first, end, live in ((0, boundary, False), (boundary, len(records), True)):
            start = first
            while start < end:
                most = ends[start] + self._most_bytes.get(topic, FIRST_BYTES)
                following = bisect_right(ends, most, start + 2, min(end, start + MOST_RECORDS) + 1) - 1
                self._last = topic, ends[following] - ends[start]
                yield records[start:following], live
                start = following

    def fit(self, took_seconds: float) -> None:
        """Make the next part of the topic as large as ``WANTED_SECONDS`` allow, going by the last."""
        topic, size = self._last
        most = 2 * self._most_bytes.get(topic, FIRST_BYTES)
        fitting = int(size * WANTED_SECONDS / took_seconds) if took_seconds > 0 else most
        self._most_bytes[topic] = max(1, min(fitting, most))
