import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consumer.kafka import reader as reader_module
from consumer.kafka import worker as worker_module
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import GroupReader, LogRecord
from consumer.kafka.view import View, remove_view
from consumer.kafka.worker import FoldingWorker
from tests.kafka.helpers import Breakable, Installation, a_worker, installed, text, until, working

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (partition INTEGER, offset INTEGER, value TEXT, PRIMARY KEY (partition, offset));
CREATE TABLE IF NOT EXISTS worked (n INTEGER PRIMARY KEY);
"""


class SaveFailedError(Exception):
    pass


@dataclass(eq=False)
class EchoShard:
    """Repeats every live record into ``terminations``, under an id that comes from its place.

    A record that is folded twice into a view violates its key, and ends the worker.
    """

    view: View
    log: Installation
    partition: int
    fails_to_save: bool = False
    seconds_a_record: float = 0.0
    silent: int = 0
    saved: int = 0
    went_live: list[bool] = field(default_factory=list)
    rows: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def dirty(self) -> bool:
        return bool(self.rows)

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        time.sleep(self.seconds_a_record * len(records))
        self.rows += [(r.partition, r.offset, (r.value or b"").decode()) for r in records]
        self.silent += 0 if live else len(records)
        out = self.log.topics.terminations.name
        return [OutRecord(out, 0, f"{r.partition}@{r.offset}".encode(), r.value) for r in records] if live else []

    def go_live(self, *, caught_up: bool) -> None:
        self.went_live.append(caught_up)

    def work(self, now: float) -> tuple[list[OutRecord], bool]:  # noqa: ARG002 -- the worker's protocol
        return [], False

    def save(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO seen VALUES (?, ?, ?)", self.rows)
        self.saved += len(self.rows)
        self.rows.clear()
        if self.fails_to_save:
            raise SaveFailedError


@dataclass
class Node:
    """One node that runs the role, with a folder of its own."""

    log: Installation
    folder: Path
    fails_to_save: bool = False
    seconds_a_record: float = 0.0
    shards: dict[int, EchoShard] = field(default_factory=dict)

    def open(self, partition: int) -> EchoShard:
        view = View(self.folder / f"{partition}.sqlite", SCHEMA, cluster_id=self.log.cluster.cluster_id)
        shard = EchoShard(view, self.log, partition, self.fails_to_save, self.seconds_a_record)
        self.shards[partition] = shard
        return shard

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FoldingWorker]:
        async with working(*a_worker(self.log, [self.log.topics.call_events], self.folder, self.open)) as worker:
            yield worker

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
    await reader.start()
    try:
        return await reader.committed(log.topics.call_events.name, 0)
    finally:
        await reader.stop()


def ids(records: Iterable[LogRecord]) -> list[str]:
    return [(record.key or b"").decode() for record in records]


async def test_rows_offset_and_outputs_agree(kafka_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=3) as log:
        await write(log, 30, partitions=3)
        node = Node(log, tmp_path)
        async with node.running() as worker, log.following(log.topics.terminations) as tail:
            assert not worker.ready
            await until(lambda: worker.ready and len(tail.records) == 30)
            await write(log, 3, partitions=3)
            await until(lambda: len(tail.records) == 33)
            assert [status.partition for status in worker.status()] == [0, 1, 2]
            assert all(status.live and status.caught_up for status in worker.status())
        wanted = [(partition, offset) for partition in range(3) for offset in range(11)]
        assert node.rows() == wanted
        assert sorted(ids(tail.records)) == sorted(f"{p}@{o}" for p, o in wanted)
        assert await committed(log) == 11
        assert all(shard.went_live[-1] for shard in node.shards.values())


async def test_crash_between_outputs_and_view_repeats_outputs_under_the_same_ids(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        with pytest.raises(ExceptionGroup) as caught:
            async with Node(log, tmp_path, fails_to_save=True).running():
                await until(lambda: len(tail.records) == 20)
        assert caught.group_contains(SaveFailedError)
        assert Node(log, tmp_path).rows() == []
        assert await committed(log) is None
        async with Node(log, tmp_path).running():
            await until(lambda: len(tail.records) == 40)
        assert ids(tail.records)[:20] == ids(tail.records)[20:] == [f"0@{n}" for n in range(20)]
        assert Node(log, tmp_path).rows() == [(0, n) for n in range(20)]


async def test_lost_view_is_built_again_in_silence_and_goes_on_live(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        async with Node(log, tmp_path).running():
            await until(lambda: len(tail.records) == 20)
        remove_view(tmp_path / "0.sqlite")
        await write(log, 5)  # while nobody runs
        node = Node(log, tmp_path)
        async with node.running():
            await until(lambda: len(tail.records) == 25)
        assert node.shards[0].silent == 20
        assert ids(tail.records) == [f"0@{n}" for n in range(25)]
        assert node.rows() == [(0, n) for n in range(25)]


async def test_view_ahead_of_the_committed_offset_goes_on_from_the_view(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commits_nothing(_: GroupReader, offsets: Mapping[tuple[str, int], int]) -> None:
        """The process dies before its commit."""

    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        with monkeypatch.context() as patch:
            patch.setattr(GroupReader, "commit", commits_nothing)
            async with Node(log, tmp_path).running():
                await until(lambda: len(tail.records) == 20)
        assert await committed(log) is None
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            await write(log, 1)
            await until(lambda: len(tail.records) == 21)
        assert ids(tail.records) == [f"0@{n}" for n in range(21)]
        assert node.shards[0].silent == 0


async def test_partitions_move_between_two_workers_and_every_record_is_folded_once_in_each_view(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "HEARTBEAT_MS", 200)  # a rebalance is heard of with the next heartbeat
    async with (
        installed(kafka_servers, topic_prefix, call_events=4) as log,
        log.following(log.topics.terminations) as tail,
    ):
        written, finished = 0, asyncio.Event()

        async def keep_writing() -> None:
            nonlocal written
            while not finished.is_set():
                await log.producer.publish(text(log.topics.call_events, written % 4, str(written)))
                written += 1

        writing = asyncio.create_task(keep_writing())
        one, two = Node(log, tmp_path / "one"), Node(log, tmp_path / "two")
        async with two.running() as second:
            async with one.running() as first:
                await until(lambda: len(first.shards) == len(second.shards) == 2 and first.ready and second.ready)
                assert set(first.shards) | set(second.shards) == set(range(4))
            await until(lambda: len(second.shards) == 4 and second.ready)
            async with one.running() as first:
                await until(lambda: len(first.shards) == len(second.shards) == 2 and first.ready and second.ready)
            finished.set()
            await writing
            await until(lambda: second.ready and len(set(ids(tail.records))) == written)
        per_partition = {p: written // 4 + (1 if p < written % 4 else 0) for p in range(4)}
        assert set(ids(tail.records)) == {f"{p}@{o}" for p, end in per_partition.items() for o in range(end)}
        assert two.rows() == [(p, o) for p, end in per_partition.items() for o in range(end)]
        assert set(one.rows()) < set(two.rows())


async def test_slow_shard_keeps_its_membership(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SESSION_TIMEOUT_MS", 2_000)
    monkeypatch.setattr(reader_module, "HEARTBEAT_MS", 200)
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        node = Node(log, tmp_path, seconds_a_record=0.01)
        worker, reader = a_worker(log, [log.topics.call_events], tmp_path, node.open)
        async with working(worker, reader):
            await until(lambda: worker.ready)
            generation = reader.generation
            await write(log, 300)  # 3 s in one batch
            await until(lambda: len(tail.records) >= 300)
            await write(log, 1)
            await until(lambda: len(tail.records) >= 301)
            assert reader.generation == generation
        assert ids(tail.records) == [f"0@{n}" for n in range(301)]


async def test_silent_broker_during_take_over_is_waited_for(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "COMMIT_SECONDS", 0.3)
    tries: list[float] = []
    ends = GroupReader.ends

    async def silent_at_first(reader: GroupReader, partitions: Iterable[int]) -> object:
        tries.append(time.monotonic())
        if len(tries) > 1:
            return await ends(reader, partitions)
        with breakable_kafka.paused():
            return await ends(reader, partitions)

    async with installed(breakable_kafka.servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 5)
        monkeypatch.setattr(GroupReader, "ends", silent_at_first)
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready and len(tail.records) == 5)
        assert len(tries) > 1
        assert tries[1] - tries[0] >= worker_module.RETRY_SECONDS


async def test_work_goes_on_after_the_broker_was_killed(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log:
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            await write(log, 5)
            async with breakable_kafka.killed():
                pass
            await write(log, 5)
            await until(lambda: sum(shard.saved for shard in node.shards.values()) >= 10, 30)
        count = len(node.rows())
        assert set(ids(await log.read(log.topics.terminations))) == {f"0@{n}" for n in range(count)}
        assert await committed(log) == count
