"""A view: what a role knows of one partition, kept in one SQLite file beside the offsets it was folded up to.

Rows and offsets change in one transaction, so the file is always a fold of exactly the records before its offsets. It is
a cache of the log: a file that is corrupt, of another format, or of another log is thrown away and built again.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = "1"
Offsets = Mapping[tuple[str, int], int]


class View:
    """One SQLite file. ``offsets`` are the next offsets to read, by (topic, partition)."""

    def __init__(self, path: Path, schema: str, *, cluster_id: str) -> None:
        """Open the file, or make it anew where it cannot be trusted.

        Args:
            path: the file; its folder is made.
            schema: ``CREATE … IF NOT EXISTS`` statements of the role.
            cluster_id: the Kafka cluster this is a view of.

        """
        self.path = path
        self.offsets: dict[tuple[str, int], int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        identity = {"format": FORMAT, "cluster_id": cluster_id, "schema": schema}
        try:
            self.connection = self._open(schema, identity)
        except (sqlite3.DatabaseError, ValueError) as error:
            logger.warning("the view %s is thrown away and built again from the log: %s", path.name, error)
            remove_view(path)
            self.connection = self._open(schema, identity)

    def _open(self, schema: str, identity: Mapping[str, str]) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER,"
                " PRIMARY KEY (topic, partition)) WITHOUT ROWID"
            )
            found = dict(connection.execute("SELECT name, value FROM identity"))
            if found and found != dict(identity):
                differing = [name for name in identity if found.get(name) != identity[name]]
                raise ValueError(f"it has another {' and '.join(differing)}")
            connection.executescript(schema)
            connection.executemany("INSERT OR IGNORE INTO identity VALUES (?, ?)", identity.items())
            self.offsets = {(t, p): n for t, p, n in connection.execute("SELECT topic, partition, next FROM offsets")}
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self, offsets: Offsets) -> Iterator[sqlite3.Connection]:
        """Change rows and offsets together, or neither."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.executemany(
                "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                [(topic, partition, following) for (topic, partition), following in offsets.items()],
            )
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        self.offsets.update(offsets)

    def close(self) -> None:
        self.connection.close()


def remove_view(path: Path) -> None:
    """Delete a view's file and its journals."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
