"""Names of orders and of what they are aimed at, with the rows they lead to.

Names come in no order, and each written by itself would cost a page of the table: gigabytes for a million orders. So the
latest ones wait in memory and are written sorted, many at a time. A process that dies first finds them again in the rows.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import orjson

WAITING_NAMES = 20_000
NAMES_AT_ONCE = 500

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]
Waiting = dict[int, dict[str, tuple[int, ...]]]


class NameIndex:
    """From (kind, name) to row numbers. Kinds are numbers that the owner gives out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: Waiting = {}
        self._waiting_count = 0
        self._last = -1
        found = connection.execute("SELECT max(until) FROM indexed").fetchone()
        self.until: int = -1 if found[0] is None else found[0]
        """Names of rows beyond this one may be missing in the table."""

    @property
    def is_due(self) -> bool:
        """Whether enough names wait for ``write_waiting``."""
        return self._waiting_count >= WAITING_NAMES

    def add(self, kind: int, names: Sequence[str], n: int) -> None:
        """Lead from names to row ``n``, which is in the table of rows; within a transaction."""
        if n <= self.until:
            self._connection.executemany(
                "INSERT OR IGNORE INTO names VALUES (?, ?, ?)", [(kind, name, n) for name in names]
            )
            return
        waiting = self._waiting.setdefault(kind, {})
        for name in names:
            waiting[name] = (*waiting.get(name, ()), n)
        self._waiting_count += len(names)
        self._last = max(self._last, n)

    def remove(self, kind: int, names: Sequence[str], n: int) -> None:
        """Lead from names to row ``n`` no more; within a transaction."""
        self._connection.executemany(
            "DELETE FROM names WHERE kind = ? AND name = ? AND n = ?", [(kind, name, n) for name in names]
        )
        waiting = self._waiting.get(kind, {})
        for name in names:
            if name in waiting:
                waiting[name] = tuple(one for one in waiting[name] if one != n)

    def find(self, kind: int, name: str) -> list[int]:
        """Give the rows that a name leads to, ascending."""
        rows = self._connection.execute("SELECT n FROM names WHERE kind = ? AND name = ?", (kind, name))
        return sorted({n for (n,) in rows}.union(self._waiting.get(kind, {}).get(name, ())))

    def find_first(self, kind: int, names: Iterable[str]) -> Mapping[str, int]:
        """Give a row for each of these names that leads to one."""
        waiting = self._waiting.get(kind, {})
        found = {name: waiting[name][0] for name in names if waiting.get(name)}
        others = orjson.dumps([name for name in names if name not in found]).decode()
        rows = self._connection.execute(
            "SELECT name, n FROM names WHERE kind = ? AND name IN (SELECT value FROM json_each(?))", (kind, others)
        )
        found.update(rows)
        return found

    def write_waiting(self, transaction: Transaction) -> Iterator[None]:
        """Write the names that wait; others may run at each step, but nothing may be added meanwhile."""
        for kind, waiting in self._waiting.items():
            rows = [(kind, name, n) for name in sorted(waiting) for n in waiting[name]]
            for first in range(0, len(rows), NAMES_AT_ONCE):
                with transaction() as connection:
                    some = rows[first : first + NAMES_AT_ONCE]
                    connection.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", some)
                yield
        with transaction() as connection:
            connection.execute("DELETE FROM indexed")
            connection.execute("INSERT INTO indexed VALUES (?)", (self._last,))
        self.until = max(self.until, self._last)
        self._waiting.clear()
        self._waiting_count = 0
