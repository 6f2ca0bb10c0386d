"""What the correlators have said of orders that wait: kept in the judge's view, put together when an order is judged."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from consumer.model.counts import CountedUpTo, OrderCount, encode_said
from consumer.model.limits import Count

SCHEMA = """
CREATE TABLE IF NOT EXISTS said (key BLOB PRIMARY KEY, said BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
"""
Said = OrderCount | CountedUpTo
_decode = msgspec.json.Decoder(Said).decode
READING_SECONDS = 10.0
KEPT_MILLISECONDS = 3_600_000
"""A count may be read before its order is; for so long it is kept then."""


class Counts:
    """The last word of every source partition on every order. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._counts: dict[str, dict[int, OrderCount]] = {}
        self._up_to: dict[int, CountedUpTo] = {}
        self._at: dict[str, int] = {}
        self._up_to_at: dict[int, int] = {}
        self._changed: dict[bytes, tuple[Said, int] | None] = {}
        for said, at in connection.execute("SELECT said, at FROM said").fetchall():
            self._take(_decode(said), at)

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def put(self, said: OrderCount | CountedUpTo, at: int) -> None:
        """Take what a record says; ``at`` is its time (milliseconds)."""
        self._take(said, at)
        self._changed[said.key] = (said, at)

    def missing(self, place: int, log: str, sources: int) -> list[int]:
        """The partitions that have not counted yet for the order whose record is at ``place`` of ``stop-orders``."""
        return [source for source in range(sources) if not self._has_passed(source, place, log)]

    def are_reading(self, sources: Sequence[int], now: float) -> bool:
        """Whether all of these partitions said lately (now is in seconds) that they are still reading their calls."""
        told = [self._up_to.get(source) for source in sources]
        at = [self._up_to_at.get(source, 0) for source in sources]
        return all(one is not None and one.reading for one in told) and min(at) >= (now - READING_SECONDS) * 1_000

    def of(self, order_id: str, account: str, *, sources: int) -> Count:
        """Put together what has been said of an order."""
        told = self._counts.get(order_id, {}).values()
        by_campaign: Counter[str] = Counter()
        open_in: Counter[str] = Counter()
        for one in told:
            by_campaign.update(one.by_campaign)
            open_in.update(one.open_in)
        waiting = [told.open_calls.get(account) for source, told in self._up_to.items() if source < sources]
        known = [count for count in waiting if count is not None]
        open_calls = sum(known) if len(known) == sources else None
        return Count(sum(one.matched for one in told), open_calls, dict(by_campaign), dict(open_in))

    def tidy(self, is_judged: Callable[[str], bool | None], now: float) -> None:
        """Forget what was said of orders that are judged, and of those that nobody has read of for long (``None``)."""
        for order_id in list(self._counts):
            judged = is_judged(order_id)
            if judged or (judged is None and now * 1_000 - self._at[order_id] > KEPT_MILLISECONDS):
                for one in self._counts.pop(order_id).values():
                    self._changed[one.key] = None
                del self._at[order_id]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        gone = [(key,) for key, told in self._changed.items() if told is None]
        new = [(key, encode_said(told[0]), told[1]) for key, told in self._changed.items() if told is not None]
        connection.executemany("DELETE FROM said WHERE key = ?", gone)
        connection.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", new)
        self._changed.clear()

    def _take(self, said: Said, at: int) -> None:
        match said:
            case OrderCount():
                self._counts.setdefault(said.order_id, {})[said.source] = said
                self._at[said.order_id] = max(at, self._at.get(said.order_id, 0))
            case CountedUpTo():
                self._up_to[said.source] = said
                self._up_to_at[said.source] = at

    def _has_passed(self, source: int, place: int, log: str) -> bool:
        told = self._up_to.get(source)
        return told is not None and not told.reading and told.log == log and told.applied > place
