"""What a view may hold, as a Bloom filter over a column of hashes: most that is looked for there is in none."""

import sqlite3

BITS = 524_287
"""A prime, since the hashes of one partition are alike by the number of partitions. It takes 64 KB."""
READ_AT_ONCE = 2_000


class HeardOf:
    """Says of a hash whether the view may hold it. Of a view that held calls at the start it reads the hashes bit by bit."""

    def __init__(self, connection: sqlite3.Connection, column: str) -> None:
        """Know what stands in an indexed ``column`` of calls."""
        self._connection = connection
        self._column = column
        self._bits = bytearray(BITS // 8 + 1)
        held_any = connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone()
        self._read_up_to: int | None = -1 if held_any else None

    def may_hold(self, hashed: int) -> bool:
        bit = hashed % BITS
        return self._read_up_to is not None or bool(self._bits[bit >> 3] & (1 << (bit & 7)))

    def add(self, hashed: int) -> None:
        bit = hashed % BITS
        self._bits[bit >> 3] |= 1 << (bit & 7)

    def read_on(self) -> None:
        """Read the next of the hashes that were there at the start; until all are read, any may be held."""
        if self._read_up_to is None:
            return
        rows = self._connection.execute(
            f"SELECT {self._column} FROM calls WHERE {self._column} > ? ORDER BY 1 LIMIT ?",  # noqa: S608 -- our own words
            (self._read_up_to, READ_AT_ONCE),
        ).fetchall()
        for (hashed,) in rows:
            self.add(hashed)
        self._read_up_to = rows[-1][0] if len(rows) == READ_AT_ONCE else None
