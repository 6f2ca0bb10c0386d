"""The file in which webhooks wait for Kafka. What it took is on the disk (fsync); no two threads may be in it at once."""

import logging
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from consumer.kafka.disk import remedy_named
from consumer.kafka.errors import SpoolUnusable
from consumer.kafka.only_here import held_if_free
from consumer.kafka.producer import OutRecord
from consumer.kafka.view import open_file, remove_view

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL, record BLOB NOT NULL, refused INTEGER NOT NULL DEFAULT 0
)"""
STILL_THERE = "Webhooks wait in it that are not in Kafka yet"
READ_AT_ONCE, READ_AT_ONCE_BYTES = 500, 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OutRecord).decode

Kept = tuple[int, OutRecord]
"""A record and the number by which it is struck off."""


class SpoolFile:
    """Records in the order in which they came; ``records`` and ``size_bytes`` count them."""

    records: int
    size_bytes: int

    def __init__(self, path: Path) -> None:
        """Go on with what a file holds; no other process may have it open. Raises ``SpoolUnusable``."""
        self.path = path
        self._connection = _open(path)
        self._count()

    def take_over_others(self) -> None:
        """Move in what is left in the folder's other files, unless a process still has them. Raises ``SpoolUnusable``."""
        for other in sorted(self.path.parent.glob("*.sqlite")):
            if other != self.path:
                with held_if_free(other) as is_free, remedy_named(self.path, SpoolUnusable, STILL_THERE):
                    if is_free:
                        self._take_over(other)

    def add(self, records: Sequence[OutRecord]) -> None:
        """Keep records; raises ``sqlite3.Error``, and then keeps none of them."""
        rows = [(record.size_bytes, _encode(record)) for record in records]
        with self._connection:
            self._connection.executemany("INSERT INTO records (bytes, record) VALUES (?, ?)", rows)
        self.records += len(rows)
        self.size_bytes += sum(size_bytes for size_bytes, _ in rows)

    def read(self, after: int) -> list[Kept]:
        """Give the next records behind a number that were not refused, some hundreds of them. Raises ``sqlite3.Error``."""
        query = "SELECT id, bytes, record FROM records WHERE refused = 0 AND id > ? ORDER BY id LIMIT ?"
        found, size = [], 0
        with closing(self._connection.execute(query, (after, READ_AT_ONCE))) as rows:
            for row_id, size_bytes, blob in rows:
                found.append((row_id, _decode(blob)))
                size += size_bytes
                if size >= READ_AT_ONCE_BYTES:
                    break
        return found

    def strike_off(self, written: Sequence[Kept], refused: Sequence[Kept]) -> None:
        """Let go of records that Kafka has; those that it refuses stay, and are given once more after the next start.

        Raises ``sqlite3.Error``, and then has let go of none.
        """
        with self._connection:
            self._connection.executemany("DELETE FROM records WHERE id = ?", [(row_id,) for row_id, _ in written])
            self._connection.executemany(
                "UPDATE records SET refused = 1 WHERE id = ?", [(row_id,) for row_id, _ in refused]
            )
        self.records -= len(written)
        self.size_bytes -= sum(record.size_bytes for _, record in written)
        if not self.records:
            with suppress(sqlite3.Error):  # room is given back, here where it takes no time, or the next time
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        self._connection.close()

    def _take_over(self, other: Path) -> None:
        _open(other).close()
        self._connection.execute("ATTACH ? AS other", (str(other),))
        with self._connection:
            self._connection.execute(
                "INSERT INTO records (bytes, record) SELECT bytes, record FROM other.records ORDER BY id"
            )
        self._connection.execute("DETACH other")
        self._count()
        remove_view(other)

    def _count(self) -> None:
        counted = self._connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM records").fetchone()
        self.records, self.size_bytes = counted


def _open(path: Path) -> sqlite3.Connection:
    """Open a file, or begin it anew where it is damaged: then the damaged one is kept beside it."""
    try:
        with remedy_named(path, SpoolUnusable, STILL_THERE):
            connection = open_file(path, check_same_thread=False)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        for suffix in ("", "-wal"):  # what came last may be in the journal only
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        remove_view(path)
        logger.error("%s is damaged (%s): it is kept as %s; webhooks in it may not be in Kafka", path, error, aside)
        return _open(path)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(SCHEMA)
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("its pages contradict each other")
    with connection:
        connection.execute("UPDATE records SET refused = 0 WHERE refused")
