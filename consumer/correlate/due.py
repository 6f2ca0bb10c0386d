"""When calls are due to be forgotten or written anew: of every block of rows, the first hour that one of them may be.

Rows lie in the order in which calls were first heard of, so those of a block are due at about the same time. Looking through
a block when it may be time costs less than an index that changes with nearly every event.
"""

import sqlite3
from collections.abc import Iterable

SCHEMA = """
CREATE TABLE IF NOT EXISTS due (block INTEGER PRIMARY KEY, carry INTEGER, forget INTEGER);
"""
ROWS = 1_024
FORGET = 1_000_000_000
"""In the column ``due`` of a call, added to the hour: it is to be forgotten then, else it is to be carried on."""

Bounds = dict[int, int]


class Due:
    """Bounds by block: none of its rows is due before. They are lowered as rows change, and raised by who looks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT block, carry, forget FROM due").fetchall()
        self._carry: Bounds = {block: carry for block, carry, _ in rows if carry is not None}
        self._forget: Bounds = {block: forget for block, _, forget in rows if forget is not None}
        self._changed: set[int] = set()

    def note(self, row_id: int, due: int) -> None:
        """Learn what stands in a row's column ``due`` from now on."""
        block = row_id // ROWS
        bounds = self._forget if due >= FORGET else self._carry
        if due < bounds.get(block, due + 1):
            bounds[block] = due
            self._changed.add(block)

    def blocks(self, until: int) -> Iterable[tuple[int, int]]:
        """Give the first and the last row of blocks in which rows may be due by now, those heard of first before others."""
        bounds = self._forget if until >= FORGET else self._carry
        return [(block * ROWS, block * ROWS + ROWS - 1) for block, bound in sorted(bounds.items()) if bound <= until]

    def looked(self, first_row: int, until: int, following: int | None) -> None:
        """Learn that nothing of a block is due ``until`` then, but at ``following``; None where nothing is."""
        block = first_row // ROWS
        bounds = self._forget if until >= FORGET else self._carry
        bounds.pop(block, None)
        if following is not None:
            bounds[block] = following
        self._changed.add(block)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the transaction that the rows are written in."""
        rows = [(block, self._carry.get(block), self._forget.get(block)) for block in self._changed]
        connection.executemany(
            "DELETE FROM due WHERE block = ?", [row[:1] for row in rows if row[1] is None and row[2] is None]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO due VALUES (?, ?, ?)",
            [row for row in rows if row[1] is not None or row[2] is not None],
        )
        self._changed.clear()
