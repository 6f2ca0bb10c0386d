"""Batches cut into parts that take some milliseconds each, so that heartbeats and webhooks get their turn in between."""

from collections.abc import Iterator, Sequence

from consumer.kafka.reader import LogRecord

FIRST_RECORDS = 25
MOST_RECORDS = 400
WANTED_SECONDS = 0.005


class Slices:
    """Cuts batches; how long the last part took tells how large the next may be, since rules may be slow."""

    def __init__(self) -> None:
        self._records = FIRST_RECORDS

    def of(self, records: Sequence[LogRecord], boundary: int) -> Iterator[tuple[Sequence[LogRecord], bool]]:
        """Cut a batch into parts, each wholly before the boundary (not live) or wholly behind it (live)."""
        for first, end, live in ((0, boundary, False), (boundary, len(records), True)):
            start = first
            while start < end:
                part = records[start : min(start + self._records, end)]
                start += len(part)
                yield part, live

    def fit(self, folded: int, took_seconds: float) -> None:
        """Make the next part as large as ``WANTED_SECONDS`` allow, going by the last."""
        fitting = int(folded * WANTED_SECONDS / took_seconds) if took_seconds > 0 else MOST_RECORDS
        self._records = max(1, min(fitting, 2 * self._records, MOST_RECORDS))
