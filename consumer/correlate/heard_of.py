"""What a view may hold, by a column of hashes: most that is looked for there is in none."""

import sqlite3
from collections.abc import Sequence

from consumer.kafka.bloom import GrowingBloom

FALSE_POSITIVES = 0.01
LEAST_MANY = 16_384
READ_AT_ONCE = 2_000


class HeardOf:
    """Says of a hash whether the view may hold it. Of a view that held calls at the start it reads the hashes bit by bit.

    So it does once more where most of what it knows has been forgotten since.
    """

    def __init__(self, connection: sqlite3.Connection, column: str, held: int) -> None:
        """Know what stands in an indexed ``column`` of calls, of which there are ``held``."""
        self._connection = connection
        self._column = column
        self._begin(held)
        held_any = connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone()
        self._read_up_to: int | None = -1 if held_any else None

    def may_hold(self, hashed: int) -> bool:
        return self._read_up_to is not None or hashed in self._known

    def update(self, hashes: Sequence[int], held: int) -> None:
        """Learn of rows that are new, now that so many are held."""
        if len(self._known) > 2 * held + LEAST_MANY:
            self._begin(held)
            self._read_up_to = -1
        self._known.update(hashes)

    def read_on(self) -> None:
        """Read the next of the hashes that were there at the start; until all are read, any may be held."""
        if self._read_up_to is None:
            return
        rows = self._connection.execute(
            f"SELECT {self._column} FROM calls WHERE {self._column} > ? ORDER BY 1 LIMIT ?",  # noqa: S608 -- our own words
            (self._read_up_to, READ_AT_ONCE),
        ).fetchall()
        self._known.update([hashed for (hashed,) in rows])
        self._read_up_to = rows[-1][0] if len(rows) == READ_AT_ONCE else None

    def _begin(self, held: int) -> None:
        self._known = GrowingBloom(max(held, LEAST_MANY), false_positives=FALSE_POSITIVES)
