"""A view: what a role knows of one partition, kept in one SQLite file beside the offsets it was folded up to.

Rows and offsets change in one transaction, so the file is always a fold of exactly the records before its offsets. It is
a cache of the log: a file that is corrupt, of another format, or of another log is thrown away and built again. What
shows here is looked at when it is opened; what shows only beside the log, when it is resumed (``resume.py``).
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from consumer.kafka import metrics
from consumer.kafka.disk import REMEDIES, primary_code, remedy_named

logger = logging.getLogger(__name__)

CACHE_KIBIBYTES = 1_024
LONG_JOURNAL_PAGES = 32_768
"""At 128 MB a commit empties the journal itself; long before that ``checkpoints.py`` does."""
KEPT_JOURNAL_BYTES = 1_048_576
FORMAT = "2"
LOG = "log of "
TOPIC = "topic "
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

Offsets = Mapping[tuple[str, int], int]
NO_STAMPS: Offsets = {}
NOTHING_BESIDE: Mapping[str, str] = {}


class _Connection(sqlite3.Connection):
    """A connection whose statements over many rows share a cursor.

    Of each new cursor sqlite3 keeps a weak reference, over which the garbage collector walks. Rows must be there, or
    come from something that writes no rows itself.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._writing = self.cursor()

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        return self._writing.executemany(sql, rows)

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed already
            self._writing.close()  # its statement would keep the file open, and the journal beside it
        super().close()


def open_file(path: Path, **options: Any) -> sqlite3.Connection:
    """Open an SQLite file, with the options of ``sqlite3.connect``."""
    return sqlite3.connect(path, factory=_Connection, **options)


class View:
    """One SQLite file.

    ``offsets`` are the next offsets to read, and ``stamps`` the broker's times (milliseconds) of the last records folded,
    both by (topic, partition). ``logs`` has the ids of the topics it was folded from, by name.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        cluster_id: str,
        beside: Mapping[str, str] = NOTHING_BESIDE,
        connect: Callable[..., sqlite3.Connection] = open_file,
        cache_kibibytes: int = CACHE_KIBIBYTES,
    ) -> None:
        """Open the file, or make it anew where it cannot be trusted.

        Args:
            path: the file; its folder is made.
            schema: ``CREATE … IF NOT EXISTS`` statements of the role.
            cluster_id: the Kafka cluster this is a view of.
            beside: ids, by name, of other topics that the role keeps offsets of in its rows.
            connect: opens the file, with the arguments of ``sqlite3.connect``.
            cache_kibibytes: the most that is kept of the file in memory.

        Raises:
            ViewUnusable: something around the file is wrong.

        """
        self.path = path
        self._connect = connect
        self._cache_kibibytes = cache_kibibytes
        self.offsets: dict[tuple[str, int], int] = {}
        self.stamps: dict[tuple[str, int], int] = {}
        self.logs: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        others = {f"{TOPIC}{name}": topic_id for name, topic_id in beside.items()}
        identity = {"format": FORMAT, "cluster_id": cluster_id, "schema": schema, **others}
        with remedy_named(path):
            try:
                self.connection = self._open(schema, identity)
            except (sqlite3.DatabaseError, ValueError) as error:
                if isinstance(error, sqlite3.DatabaseError) and primary_code(error) in REMEDIES:
                    raise
                log_thrown_away(path, str(error))
                remove_view(path)
                self.connection = self._open(schema, identity)

    def _open(self, schema: str, identity: Mapping[str, str]) -> sqlite3.Connection:
        connection = self._connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute(f"PRAGMA wal_autocheckpoint = {LONG_JOURNAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {KEPT_JOURNAL_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{self._cache_kibibytes}")
            connection.execute("CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER, stamp INTEGER,"
                " PRIMARY KEY (topic, partition)) WITHOUT ROWID"
            )
            found = dict(connection.execute("SELECT name, value FROM identity"))
            if found and (differing := [name for name in identity if _differs(name, found.get(name), identity[name])]):
                raise ValueError(f"it has another {' and '.join(differing)}")
            connection.executescript(schema)
            known = [(name, value) for name, value in identity.items() if value or name not in found]
            connection.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?)", known)
            self.logs = {name.removeprefix(LOG): value for name, value in found.items() if name.startswith(LOG)}
            rows = connection.execute("SELECT topic, partition, next, stamp FROM offsets").fetchall()
            self.offsets = {(topic, partition): following for topic, partition, following, _ in rows}
            self.stamps = {(topic, partition): stamp for topic, partition, _, stamp in rows if stamp is not None}
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, logs: Mapping[str, str], offsets: Offsets) -> None:
        """Note what this is a view of, the ids of topics by name, and where it begins in what it has not begun to read."""
        known = self.logs
        news = {topic: log for topic, log in logs.items() if topic not in known or (log and known[topic] != log)}
        begun = {key: first for key, first in offsets.items() if key not in self.offsets}
        if news or begun:
            with self.transaction(begun) as connection:
                rows = [(f"{LOG}{topic}", log) for topic, log in news.items()]
                connection.executemany("INSERT OR REPLACE INTO identity VALUES (?, ?)", rows)
            self.logs.update(news)

    @contextmanager
    def transaction(self, offsets: Offsets, stamps: Offsets = NO_STAMPS) -> Iterator[sqlite3.Connection]:
        """Change rows, offsets and stamps together, or nothing. Raises ``ViewUnusable``."""
        with remedy_named(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.executemany(
                    "INSERT INTO offsets VALUES (?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET next = excluded.next, stamp = excluded.stamp",
                    [(*key, following, stamps.get(key)) for key, following in offsets.items()],
                )
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # SQLite gives it up itself where the disk is full
                    self.connection.execute("ROLLBACK")
                raise
        self.offsets.update(offsets)
        for key in offsets:
            self.stamps.pop(key, None)
            if key in stamps:
                self.stamps[key] = stamps[key]

    @property
    def log_time(self) -> float:
        """The broker's time of the latest record folded, in seconds since the epoch; 0 where there is none."""
        return max(self.stamps.values(), default=0) / 1_000

    def close(self) -> None:
        self.connection.close()

    def discard(self) -> None:
        """Throw the file away; the next ``View`` of its path begins anew."""
        self.close()
        remove_view(self.path)

    def sound(self) -> bool:
        """Look through the whole file; seconds for each GB, so only where it is in doubt."""
        try:
            return bool(self.connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False


def _differs(name: str, then: str | None, now: str) -> bool:
    """Whether a part of the identity has changed; a topic's id that was not known, or is not now, tells nothing."""
    return then != now and not (name.startswith(TOPIC) and then is not None and not (then and now))


def log_thrown_away(path: Path, why: str) -> None:
    """Tell that a view is about to be built again, and count it. A file of one partition lies in a folder of its role."""
    role = path.parent.name if path.stem.isdigit() else path.stem
    which = f"{role} {path.stem}" if path.stem.isdigit() else role
    metrics.REBUILDS.labels(role).inc()
    logger.warning("the view %s is thrown away and built again from the log: %s", which, why)


def records_folded(path: Path) -> int:
    """Give how far a view's file is folded, over all its topics; 0 where it does not say."""
    try:
        with closing(sqlite3.connect(path, timeout=0.1)) as connection:
            (sum_of_offsets,) = connection.execute("SELECT total(next) FROM offsets").fetchone()
    except sqlite3.Error:
        return 0
    return int(sum_of_offsets)


def discard_damaged(views: Iterable[View], errors: BaseExceptionGroup[sqlite3.DatabaseError]) -> None:
    """Where SQLite has found a file damaged, throw away which it is, so that the next start does not die of it again."""
    if errors.subgroup(_is_damage):
        for view in views:
            if not view.sound():
                log_thrown_away(view.path, "the file is damaged; the next start reads it back")
                view.discard()


def _is_damage(error: BaseException) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and primary_code(error) in DAMAGED


def remove_view(path: Path) -> None:
    """Delete a view's file and its journals."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def held_views(folder: Path) -> Mapping[int, int]:
    """Give the partitions of which a view lies in ``folder``, and how many records each has folded."""
    return {int(path.stem): records_folded(path) for path in folder.glob("*.sqlite") if path.stem.isdigit()}
