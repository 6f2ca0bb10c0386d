"""A role that repeats what it reads, on real Kafka: what the worker and its views promise is seen in what it repeats."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from consumer.kafka.pace import DEFAULT_PACE, Pace
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import GroupReader, LogRecord
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker
from tests.kafka.helpers import Installation, a_worker, text, working
from tests.patience import PATIENCE_SECONDS

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (partition INTEGER, offset INTEGER, value TEXT, PRIMARY KEY (partition, offset));
CREATE TABLE IF NOT EXISTS worked (n INTEGER PRIMARY KEY);
"""


class SaveFailedError(Exception):
    pass


@dataclass(eq=False)
class EchoShard:
    """Repeats every live record into ``terminations``, under an id that comes from its place.

    A record that is folded twice into a view violates its key, and ends the worker. ``to_do`` is work of its own, ``to_say``
    what it keeps back until a commit.
    """

    view: View
    log: Installation
    partition: int
    fails_to_save: bool = False
    seconds_a_record: float = 0.0
    urgent_at: int = 1_000_000
    looks: bool = False
    silent: int = 0
    saved: int = 0
    saved_at_once: list[int] = field(default_factory=list)
    went_live: list[bool] = field(default_factory=list)
    rows: list[tuple[int, int, str]] = field(default_factory=list)
    to_do: list[int] = field(default_factory=list)
    to_say: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    @property
    def dirty(self) -> bool:
        return bool(self.rows or self.done)

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        time.sleep(self.seconds_a_record * len(records))
        self.rows += [(r.partition, r.offset, (r.value or b"").decode()) for r in records]
        self.silent += 0 if live else len(records)
        out = self.log.topics.terminations.name
        return [OutRecord(out, 0, f"{r.partition}@{r.offset}".encode(), r.value) for r in records] if live else []

    def go_live(self, *, caught_up: bool) -> None:
        self.went_live.append(caught_up)

    @property
    def urgent(self) -> bool:
        return len(self.rows) >= self.urgent_at

    def looks_into_rows(self, now: float) -> bool:  # noqa: ARG002 -- the worker's protocol
        return self.looks

    def work(self, now: float) -> tuple[list[OutRecord], bool]:  # noqa: ARG002 -- the worker's protocol
        news, self.to_do = self.to_do, []
        return self._did(news), False

    def before_commit(self) -> list[OutRecord]:
        news, self.to_say = self.to_say, []
        return self._did(news)

    def _did(self, news: list[int]) -> list[OutRecord]:
        self.done += news
        return [OutRecord(self.log.topics.terminations.name, 0, f"work {n}".encode(), b"") for n in news]

    def save(self, connection: sqlite3.Connection) -> bool:
        connection.executemany("INSERT INTO seen VALUES (?, ?, ?)", self.rows)
        connection.executemany("INSERT INTO worked VALUES (?)", [(n,) for n in self.done])
        self.done.clear()
        self.saved += len(self.rows)
        self.saved_at_once.append(len(self.rows))
        self.rows.clear()
        if self.fails_to_save:
            raise SaveFailedError
        return False


@dataclass
class Node:
    """One node that runs the role, with a folder of its own."""

    log: Installation
    folder: Path
    fails_to_save: bool = False
    seconds_a_record: float = 0.0
    pace: Pace = DEFAULT_PACE
    urgent_at: int = 1_000_000
    shards: dict[int, EchoShard] = field(default_factory=dict)

    def open(self, partition: int) -> EchoShard:
        view = View(self.folder / f"{partition}.sqlite", SCHEMA, cluster_id=self.log.cluster.cluster_id)
        shard = EchoShard(view, self.log, partition, self.fails_to_save, self.seconds_a_record, self.urgent_at)
        self.shards[partition] = shard
        return shard

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FoldingWorker]:
        topics = [self.log.topics.call_events]
        made = a_worker(self.log, topics, self.folder, self.open, pace=self.pace)
        async with working(*made) as worker:
            yield worker

    def worked(self) -> list[int]:
        """What work of its own the view of partition 0 holds, read from its file."""
        with closing(sqlite3.connect(self.folder / "0.sqlite")) as connection:
            return [n for (n,) in connection.execute("SELECT n FROM worked ORDER BY n")]

    def rows(self) -> list[tuple[int, int]]:
        """What the views hold, read from their files."""
        found: list[tuple[int, int]] = []
        for path in sorted(self.folder.glob("*.sqlite")):
            connection = sqlite3.connect(path)
            rows = connection.execute("SELECT partition, offset FROM seen ORDER BY partition, offset").fetchall()
            offsets = connection.execute("SELECT partition, next FROM offsets").fetchall()
            connection.close()
            assert {p: n for p, n in offsets if n} == {p: 1 + max(o for q, o in rows if q == p) for p, _ in rows}
            found += rows
        return found


async def write(log: Installation, count: int, partitions: int = 1) -> None:
    await log.producer.publish_all(text(log.topics.call_events, n % partitions, str(n)) for n in range(count))


async def committed(log: Installation) -> int | None:
    """What the group has committed of partition 0."""
    reader = GroupReader(log.connection, group="role", topics=["none"], node="asks", held=list)
    await reader.start(join=False)
    try:
        return (await reader.committed(log.topics.call_events.name, [0])).get(0)
    finally:
        await reader.stop()


async def until_committed(log: Installation, offset: int) -> None:
    """Wait until the group has committed so much of partition 0: who leaves tries it for a few seconds only."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await committed(log) != offset:
            await asyncio.sleep(0.1)


def ids(records: Iterable[LogRecord]) -> list[str]:
    return [(record.key or b"").decode() for record in records]
