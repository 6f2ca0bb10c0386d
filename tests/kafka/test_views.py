"""Views that cannot be gone on with: each is built again, says why, and mixes nothing."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from consumer.kafka.reader import GroupReader, TopicReader
from consumer.kafka.topics import ensure_topics
from consumer.kafka.view import View
from tests.kafka.echo import Node, committed, ids, write
from tests.kafka.helpers import Breakable, Installation, Tail, installed, text, until
from tests.kafka.log_faults import cut_off, make_again, take_away, warnings
from tests.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


async def one_by_one(log: Installation, partition: int, count: int) -> None:
    for n in range(count):
        await log.producer.publish(text(log.topics.call_events, partition, str(n)))


@contextmanager
def counted(tail: Tail) -> Iterator[list[str]]:
    """The ids that are repeated within the block; filled at its end."""
    before, found = len(tail.records), list[str]()
    yield found
    found += ids(tail.records)[before:]


async def test_topic_made_again_while_nobody_ran_begins_a_new_view_and_is_all_live(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        async with Node(log, tmp_path).running():
            await until(lambda: len(tail.records) == 20)
        await make_again(log, log.topics.call_events)
        await write(log, 30)  # further than the view: its offset alone shows nothing
        node = Node(log, tmp_path)
        with counted(tail) as repeated:
            async with node.running() as worker:
                await until(lambda: worker.ready and len(tail.records) == 50)
        assert sorted(repeated) == sorted(f"0@{n}" for n in range(30))
        assert node.rows() == [(0, n) for n in range(30)]
        (said,) = warnings(caplog)
        assert said.startswith(f"the view {tmp_path.name} 0 is thrown away and built again from the log: ")
        assert said.endswith(f"topic {log.topics.call_events.name} was deleted and made again since")


async def test_topic_made_again_under_a_running_worker_is_noticed_with_its_first_record(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready and len(tail.records) == 20)
            await make_again(log, log.topics.call_events)
            await worker._reader._client._client.force_metadata_update()  # aiokafka asks every 30 s by itself
            with counted(tail) as repeated:
                await write(log, 3)
                await until(lambda: len(tail.records) == 23 and worker.ready)
        assert repeated == ["0@0", "0@1", "0@2"]
        assert node.rows() == [(0, n) for n in range(3)]
        assert "made again" in warnings(caplog)[0]


async def test_offset_committed_of_a_deleted_topic_swallows_nothing_of_the_new_one(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        ask = GroupReader.topic_ids

        async def of_a_topic_deleted_since(reader: GroupReader, topics: list[str]) -> dict[str, str]:
            await ask(reader, topics)
            reader._ids = dict.fromkeys(topics, "the id of another")
            return reader._ids

        with monkeypatch.context() as patch:  # Kafka forgets such offsets by itself, but not before it gets to it
            patch.setattr(GroupReader, "topic_ids", of_a_topic_deleted_since)
            async with Node(log, tmp_path).running():
                await until(lambda: len(tail.records) == 20)
            assert await committed(log) == 20
        node = Node(log, tmp_path)
        async with node.running():
            await until(lambda: len(tail.records) == 40)
        assert node.shards[0].silent == 0


async def test_view_that_retention_has_overtaken_is_built_again_from_what_is_left(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        async with Node(log, tmp_path).running():
            await until(lambda: len(tail.records) == 20)
        await write(log, 20)
        await take_away(log, log.topics.call_events, 30)
        node = Node(log, tmp_path)
        with counted(tail) as repeated:
            async with node.running():
                await until(lambda: len(tail.records) == 30)
        assert repeated == [f"0@{n}" for n in range(30, 40)]
        assert node.rows() == [(0, n) for n in range(30, 40)]
        name = log.topics.call_events.name
        assert warnings(caplog)[0].endswith(
            f"{name}/0 was read up to 20 and begins at 30 now: retention took what is between"
        )


async def test_worker_that_retention_overtakes_while_it_runs_builds_its_view_again(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready and len(tail.records) == 20)
            shard = node.shards[0]
            reader = worker._reader
            reader._client.pause(TopicPartition(log.topics.call_events.name, 0))  # too slow for its log
            await write(log, 20)
            await take_away(log, log.topics.call_events, 30)
            reader._client.resume(TopicPartition(log.topics.call_events.name, 0))
            await until(lambda: node.shards[0] is not shard and worker.ready and len(tail.records) == 30)
        assert node.rows() == [(0, n) for n in range(30, 40)]
        assert "retention took what is between" in warnings(caplog)[0]


async def test_offsets_that_compaction_has_emptied_are_no_gap(
    kafka_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poll = GroupReader.poll

    async def with_a_hole(reader: GroupReader, *, max_records: int, timeout_ms: int) -> object:
        found = await poll(reader, max_records=max_records, timeout_ms=timeout_ms)
        return {key: [r for r in records if not 20 <= r.offset < 25] for key, records in found.items()}

    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        monkeypatch.setattr(GroupReader, "poll", with_a_hole)
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready and len(tail.records) == 20)
            await write(log, 20)
            await until(lambda: len(tail.records) == 35)
        assert node.rows() == [(0, n) for n in range(40) if not 20 <= n < 25]
        assert warnings(caplog) == []


async def test_end_without_a_record_is_passed_and_the_view_goes_on_behind_it(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Compaction leaves such ends, after a while; the end of a transaction is one at once."""
    async with installed(kafka_servers, topic_prefix) as log:
        name = log.topics.call_events.name
        await write(log, 5)
        async with (
            AIOKafkaProducer(bootstrap_servers=kafka_servers, transactional_id=topic_prefix) as other,
            other.transaction(),
        ):
            await other.send_and_wait(name, b"6", partition=0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await log.ends(log.topics.call_events) != {0: 7}:  # the marker follows the answer to the commit
                pass
        for _ in range(2):
            node = Node(log, tmp_path)
            async with node.running() as worker:
                await until(lambda: worker.ready and worker.status()[0].position == 7)
        await write(log, 1)
        async with node.running() as worker:
            await until(lambda: worker.ready and worker.status()[0].position == 8)
        assert node.rows() == [(0, n) for n in (0, 1, 2, 3, 4, 5, 7)]
        assert warnings(caplog) == []


async def test_log_that_lost_its_end_begins_new_views_also_where_it_has_grown_again(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix, call_events=2) as log:
        await one_by_one(log, 0, 20)
        await one_by_one(log, 1, 20)
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready)
        async with breakable_kafka.killed():
            cut_off(breakable_kafka.log_dir, log.topics.call_events, 0, 5)
            cut_off(breakable_kafka.log_dir, log.topics.call_events, 1, 5)
        assert await log.ends(log.topics.call_events) == {0: 15, 1: 15}
        await one_by_one(log, 1, 10)  # beyond what was read, with other records there
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            await one_by_one(log, 0, 1)
            await until(lambda: sum(shard.saved for shard in node.shards.values()) >= 16 + 25)
        assert node.rows() == [*[(0, n) for n in range(16)], *[(1, n) for n in range(25)]]
        silent = sum(shard.silent for shard in node.shards.values())
        assert silent == 0, "what was committed was of records that are gone"
        first, second = sorted(warnings(caplog))
        assert "/0 was read up to 20 and ends at 15 now: it has lost its end" in first
        assert "/1 has another record at 19 than was read: it has lost its end and grown again" in second
        found = ids(await log.read(log.topics.terminations))
        assert {f"0@{n}" for n in range(16)} | {f"1@{n}" for n in range(25)} <= set(found)


async def test_view_of_another_prefix_is_not_gone_on_with(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await write(log, 20)
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready)
    async with installed(kafka_servers, f"{topic_prefix}other.") as other:
        await write(other, 30)
        node = Node(other, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
        assert node.rows() == [(0, n) for n in range(30)]
        assert warnings(caplog)[0].endswith(
            f"it is of {log.topics.call_events.name}, and wanted is one of {other.topics.call_events.name}"
        )


async def test_view_copied_from_another_partition_is_not_gone_on_with(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix, call_events=2) as log:
        await write(log, 20, partitions=2)
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
        (tmp_path / "1.sqlite").write_bytes((tmp_path / "0.sqlite").read_bytes())
        async with node.running() as worker:
            await until(lambda: worker.ready)
        assert node.rows() == [(p, n) for p in range(2) for n in range(10)]
        assert warnings(caplog)[0].endswith(f"it is of other partitions: {log.topics.call_events.name}/0")


async def test_order_topic_made_again_is_seen_by_views_that_keep_its_offsets(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        name = log.topics.stop_orders.name

        def opened(topic_id: str) -> bool:
            view = View(tmp_path / "0.sqlite", "", cluster_id=log.cluster.cluster_id, beside={name: topic_id})
            fresh = not view.offsets
            with view.transaction({("t", 0): 1}):
                pass
            view.close()
            return fresh

        before = log.cluster.topic_ids[name]
        assert [opened(before), opened(before), opened("")] == [True, False, False]
        await make_again(log, log.topics.stop_orders)
        after = (await ensure_topics(log.connection, log.topics)).topic_ids[name]
        assert [opened(after), opened(after)] == [True, False]


async def test_file_that_is_damaged_in_the_middle_ends_the_role_once_and_is_built_again_by_the_next_start(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await log.producer.publish_all(text(log.topics.call_events, 0, f"{n}:{'x' * 500}") for n in range(200))
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready)
        path = tmp_path / "0.sqlite"
        content = bytearray(path.read_bytes())
        content[5 * 4096 :] = b"\xff" * (len(content) - 5 * 4096)
        path.write_bytes(content)
        await log.producer.publish_all(text(log.topics.call_events, 0, f"{n}:{'x' * 500}") for n in range(200))
        with pytest.raises(ExceptionGroup) as caught:
            async with Node(log, tmp_path).running():
                await until(lambda: not path.exists())
        assert caught.group_contains(sqlite3.DatabaseError)
        assert not path.exists()
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
        assert node.rows() == [(0, n) for n in range(400)]


async def test_topic_ids_are_known_and_empty_for_what_is_not_there(kafka_servers: str, topic_prefix: str) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        reader = TopicReader(log.connection, name="r", partitions={log.topics.call_events.name: 1})
        await reader.start()
        try:
            assert await reader.topic_ids() == {
                log.topics.call_events.name: log.cluster.topic_ids[log.topics.call_events.name]
            }
        finally:
            await reader.stop()
        assert len(set(log.cluster.topic_ids.values())) == 6
        assert all(log.cluster.topic_ids.values())
