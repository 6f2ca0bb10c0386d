"""The totals of whole scopes: of every source partition the latest count of every minute, added up when somebody asks.

Who asks once asks again a moment later, of a window that has moved on by a minute at most. So a window that was added up
is kept: a newer count of a minute in it is entered as it comes, and the minutes that it leaves are taken out.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from consumer.model.calls import MILLION
from consumer.model.totals import MINUTE_SECONDS, NAMES, ScopeTotals, as_amounts, as_figures

SCHEMA = """
CREATE TABLE IF NOT EXISTS sums (
    scope TEXT NOT NULL, minute INTEGER NOT NULL, source INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    amounts TEXT NOT NULL, sums TEXT NOT NULL, PRIMARY KEY (scope, minute, source)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sums_by_minute ON sums (minute);
"""
OPEN = 0
"""In the column ``minute``: the row counts the calls that wait now, in its first amount."""
_write, _read = msgspec.json.encode, msgspec.json.decode  # which know whole numbers of any size
KEPT_SECONDS = 32 * 86_400
WINDOWS_KEPT = 20_000

_Name = tuple[str, int, int]


class WindowTotals(NamedTuple):
    """What happened in a scope within a window, and how many calls wait there now. ``sums`` are what rules add up."""

    figures: dict[str, float]
    sums: dict[str, float]
    open: int


class _Window:
    """What the minutes from ``first`` to ``last`` add up to."""

    __slots__ = ("amounts", "first", "last", "sums")

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.amounts = [0] * len(NAMES)
        self.sums: dict[str, int] = {}

    def add(self, amounts: Iterable[int], sums: dict[str, int], sign: int) -> None:
        self.amounts = [total + sign * amount for total, amount in zip(self.amounts, amounts, strict=True)]
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0) + sign * value


class Sums:
    """Counts by scope, minute and source. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed: dict[_Name, ScopeTotals] = {}
        self._windows: OrderedDict[tuple[str, int], _Window] = OrderedDict()
        self._lengths: dict[str, set[int]] = {}
        self._latest_minute = 0
        self._swept_at = 0

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def put(self, totals: ScopeTotals) -> bool:
        """Keep a count unless a later one of its source is known; says whether it is news."""
        name = (totals.scope_key.decode(), totals.minute or OPEN, totals.source)
        known = self._changed.get(name)
        was: tuple[int, str, str] | None = None
        if known is not None:
            was = (known.offset, *_columns(known))
        else:
            was = self._connection.execute(
                "SELECT last_offset, amounts, sums FROM sums WHERE scope = ? AND minute = ? AND source = ?", name
            ).fetchone()
        if was is not None and totals.offset <= was[0]:
            return False
        self._changed[name] = totals
        self._latest_minute = max(self._latest_minute, totals.minute or 0)
        if totals.minute is not None and name[0] in self._lengths:
            self._enter(name[0], totals, was)
        return True

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction, and drop what no window reaches back to."""
        connection.executemany(
            "INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?, ?, ?)",
            [(*name, totals.offset, *_columns(totals)) for name, totals in self._changed.items()],
        )
        self._changed.clear()
        if self._latest_minute > self._swept_at:
            self._swept_at = self._latest_minute
            before = self._latest_minute - KEPT_SECONDS
            connection.execute("DELETE FROM sums WHERE minute BETWEEN 1 AND ?", (before,))

    def within(self, scope: str, first_minute: int, last_minute: int) -> WindowTotals:
        """Add up a scope's counts from ``first_minute`` to ``last_minute`` (their first seconds), both included."""
        window = self._window(scope, first_minute, last_minute)
        sums = {name: value / MILLION for name, value in window.sums.items() if value}
        return WindowTotals(as_figures(window.amounts), sums, self.waiting(scope))

    def scopes_since(self, minute: int) -> list[tuple[str, int]]:
        """The saved scopes with a count of ``minute`` or later, each with its latest minute."""
        return self._connection.execute(
            "SELECT scope, max(minute) FROM sums WHERE minute >= ? GROUP BY scope", (max(1, minute),)
        ).fetchall()

    def latest_minute(self) -> int:
        """The latest minute of which there is a saved count; 0 where there is none."""
        return int(self._connection.execute("SELECT coalesce(max(minute), 0) FROM sums").fetchone()[0])

    def waiting(self, scope: str) -> int:
        """How many calls of a scope wait now."""
        return sum(amounts[0] for _, amounts, _ in self._rows(scope, OPEN, OPEN))

    def campaigns_heard_of(self) -> Iterator[tuple[str, int]]:
        """Every campaign's scope in which calls have waited, with its latest minute."""
        rows = self._connection.execute("SELECT DISTINCT scope FROM sums WHERE minute = ?", (OPEN,)).fetchall()
        for (scope,) in rows:
            if scope.split("/", 2)[1] == "campaign":
                found = self._connection.execute("SELECT max(minute) FROM sums WHERE scope = ?", (scope,)).fetchone()
                yield scope, int(found[0])

    def _window(self, scope: str, first: int, last: int) -> _Window:
        key = (scope, last - first)
        window = self._windows.get(key)
        if window is None or not window.first <= first <= window.last + MINUTE_SECONDS or last < window.last:
            window = self._windows[key] = _Window(first, last)
            self._lengths.setdefault(scope, set()).add(last - first)
            self._add_rows(window, scope, first, last, 1)
            self._forget_windows()
        elif last > window.last:
            self._add_rows(window, scope, window.first, first - 1, -1)
            self._add_rows(window, scope, window.last + 1, last, 1)
            window.first, window.last = first, last
        self._windows.move_to_end(key)
        return window

    def _enter(self, scope: str, totals: ScopeTotals, was: tuple[int, str, str] | None) -> None:
        """Enter a newer count in place of the earlier one into the windows that are kept."""
        for length in self._lengths[scope]:
            window = self._windows[scope, length]
            if window.first <= (totals.minute or 0) <= window.last:
                window.add(as_amounts(totals.figures), _millionths(totals), 1)
                if was is not None:
                    window.add(_read(was[1]), _read(was[2]), -1)

    def _forget_windows(self) -> None:
        while len(self._windows) > WINDOWS_KEPT:
            (scope, length), _ = self._windows.popitem(last=False)
            self._lengths[scope].discard(length)
            if not self._lengths[scope]:
                del self._lengths[scope]

    def _add_rows(self, window: _Window, scope: str, first: int, last: int, sign: int) -> None:
        for _, amounts, sums in self._rows(scope, first, last):
            window.add(amounts, sums, sign)

    def _rows(self, scope: str, first: int, last: int) -> Iterator[tuple[_Name, Sequence[int], dict[str, int]]]:
        """The counts of a scope, as they are now; saved or not."""
        unsaved = {
            name: totals for name, totals in self._changed.items() if name[0] == scope and first <= name[1] <= last
        }
        for totals in unsaved.values():
            amounts, sums = _columns(totals)
            yield (scope, totals.minute or OPEN, totals.source), _read(amounts), _read(sums)
        saved = self._connection.execute(
            "SELECT minute, source, amounts, sums FROM sums WHERE scope = ? AND minute BETWEEN ? AND ?",
            (scope, first, last),
        )
        for minute, source, amounts, sums in saved:
            name = (scope, minute, source)
            if name not in unsaved:
                yield name, _read(amounts), _read(sums)


def _millionths(totals: ScopeTotals) -> dict[str, int]:
    return {name: round(value * MILLION) for name, value in totals.sums.items()}


def _columns(totals: ScopeTotals) -> tuple[str, str]:
    if totals.minute is None:
        return _write([totals.open or 0]).decode(), "{}"
    return _write(as_amounts(totals.figures)).decode(), _write(_millionths(totals)).decode()
