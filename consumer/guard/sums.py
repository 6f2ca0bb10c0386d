"""The totals of whole scopes: of every source partition the latest count of every minute, added up when somebody asks."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from consumer.model.totals import MILLION, NAMES, ScopeTotals, as_amounts, as_figures

SCHEMA = """
CREATE TABLE IF NOT EXISTS sums (
    scope TEXT NOT NULL, minute INTEGER NOT NULL, source INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    amounts TEXT NOT NULL, sums TEXT NOT NULL, PRIMARY KEY (scope, minute, source)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sums_by_minute ON sums (minute);
"""
OPEN = 0
"""In the column ``minute``: the row counts the calls that wait now, in its first amount."""
KEPT_SECONDS = 32 * 86_400

_Name = tuple[str, int, int]


class WindowTotals(NamedTuple):
    """What happened in a scope within a window, and how many calls wait there now. ``sums`` are what rules add up."""

    figures: dict[str, float]
    sums: dict[str, float]
    open: int


class Sums:
    """Counts by scope, minute and source. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed: dict[_Name, ScopeTotals] = {}
        self._latest_minute = 0
        self._swept_at = 0

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def put(self, totals: ScopeTotals) -> bool:
        """Keep a count unless a later one of its source is known; says whether it is news."""
        name = (totals.scope_key.decode(), totals.minute or OPEN, totals.source)
        known = self._changed.get(name)
        if known is None:
            row = self._connection.execute(
                "SELECT last_offset FROM sums WHERE scope = ? AND minute = ? AND source = ?", name
            ).fetchone()
            last_offset = row[0] if row else -1
        else:
            last_offset = known.offset
        if totals.offset <= last_offset:
            return False
        self._changed[name] = totals
        self._latest_minute = max(self._latest_minute, totals.minute or 0)
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
        """Add up a scope's saved counts from ``first_minute`` to ``last_minute`` (their first seconds), both included."""
        amounts = [0] * len(NAMES)
        sums: dict[str, int] = {}
        for row in self._rows(scope, first_minute, last_minute):
            told: list[int] = orjson.loads(row[0])
            amounts = [total + amount for total, amount in zip(amounts, told, strict=True)]
            for name, value in orjson.loads(row[1]).items():
                sums[name] = sums.get(name, 0) + value
        waiting = sum(orjson.loads(row[0])[0] for row in self._rows(scope, OPEN, OPEN))
        return WindowTotals(as_figures(amounts), {name: value / MILLION for name, value in sums.items()}, waiting)

    def _rows(self, scope: str, first_minute: int, last_minute: int) -> Iterable[tuple[str, str]]:
        return self._connection.execute(
            "SELECT amounts, sums FROM sums WHERE scope = ? AND minute BETWEEN ? AND ?",
            (scope, first_minute, last_minute),
        )


def _columns(totals: ScopeTotals) -> tuple[str, str]:
    if totals.minute is None:
        return orjson.dumps([totals.open or 0]).decode(), "{}"
    sums = {name: round(value * MILLION) for name, value in totals.sums.items()}
    return orjson.dumps(as_amounts(totals.figures)).decode(), orjson.dumps(sums).decode()
