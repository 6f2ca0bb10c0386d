import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from consumer.kafka import consumer_client as client_module
from consumer.kafka import reader as reader_module
from consumer.kafka import saving as saving_module
from consumer.kafka import worker as worker_module
from consumer.kafka.pace import Pace
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import GroupReader
from consumer.kafka.view import remove_view
from consumer.kafka.watch import Watch
from consumer.kafka.worker import FoldingWorker
from tests.kafka.echo import Node, SaveFailedError, committed, ids, until_committed, write
from tests.kafka.helpers import (
    Breakable,
    Installation,
    a_worker,
    in_background,
    installed,
    text,
    until,
    waiting_for_each_journal,
    working,
)

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


def running() -> asyncio.Task[None]:
    """Find the task of the one worker that runs."""
    code = FoldingWorker.run.__code__
    (run,) = [one for one in asyncio.all_tasks() if getattr(one.get_coro(), "cr_code", None) is code]
    return run


async def fold_ten(log: Installation, node: Node) -> None:
    """Write ten records into partition 0, and wait until they are folded; nothing is saved meanwhile."""
    unsaved = len(node.shards[0].rows)
    await write(log, 10)
    await until(lambda: len(node.shards[0].rows) == unsaved + 10)


@contextmanager
def acknowledged_late(log: Installation) -> Iterator[None]:
    """Let nobody write into ``terminations`` before the block is left."""
    publish_all, left = log.producer.publish_all, asyncio.Event()

    async def late(records: list[OutRecord]) -> list[int]:
        await left.wait()
        return await publish_all(records)

    def publish(records: Iterable[OutRecord]) -> asyncio.Future[list[int]]:
        some = list(records)
        concerns = any(record.topic == log.topics.terminations.name for record in some)
        return asyncio.ensure_future(late(some)) if concerns else publish_all(some)

    try:
        with patch.object(log.producer, "publish_all", publish):
            yield
    finally:
        left.set()


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
        failing = Node(log, tmp_path, fails_to_save=True)
        with pytest.raises(ExceptionGroup) as caught:
            async with failing.running():
                await until(lambda: len(tail.records) == 20 and failing.shards[0].saved == 20)
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


@pytest.mark.parametrize(("silent", "at_once"), [(1, [10, 10, 10, 10]), (25, [25, 15]), (1_000, [40])])
async def test_while_a_view_is_built_again_more_is_saved_at_once(
    kafka_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: int,
    at_once: list[int],
) -> None:
    monkeypatch.setattr(worker_module, "MAX_RECORDS", 5)
    monkeypatch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 0.0)  # what is silent has nothing to commit
    async with installed(kafka_servers, topic_prefix) as log:
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready)
            for _ in range(8):
                await write(log, 5)
            await until(lambda: worker.status()[0].position == 40)
        remove_view(tmp_path / "0.sqlite")
        node = Node(log, tmp_path, pace=Pace(save_at_records=10, save_silent_at_records=silent))
        async with node.running() as worker:
            await until(lambda: worker.ready and node.shards[0].saved == 40)
        assert node.shards[0].silent == 40
        assert [count for count in node.shards[0].saved_at_once if count] == at_once
        assert node.rows() == [(0, n) for n in range(40)]


async def test_a_view_that_is_built_again_is_saved_as_soon_as_much_has_changed(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        await write(log, 200)
        async with Node(log, tmp_path).running() as worker:
            await until(lambda: worker.ready and worker.status()[0].position == 200)
        remove_view(tmp_path / "0.sqlite")
        much = 1_000
        node = Node(log, tmp_path, pace=Pace(save_at_records=much, save_silent_at_records=much), urgent_at=20)
        async with node.running() as worker:
            await until(lambda: worker.ready and node.shards[0].saved == 200)
        assert node.shards[0].silent == 200
        assert max(node.shards[0].saved_at_once) < 200  # though all of it was fetched at once
        assert node.rows() == [(0, n) for n in range(200)]


async def test_a_worker_that_gives_way_rests_between_steps_and_still_folds_everything(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    sleep = asyncio.sleep

    async def resting(seconds: float) -> None:
        rests.append(seconds)
        await sleep(seconds)

    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            worker.give_way(lambda: True)
            monkeypatch.setattr(asyncio, "sleep", resting)
            await write(log, 200)
            await until(lambda: len(tail.records) == 200 and node.shards[0].saved == 200)
            monkeypatch.undo()
        assert saving_module.REST_SECONDS in rests
        assert node.rows() == [(0, n) for n in range(200)]


async def test_a_worker_whose_journal_has_become_long_waits_for_it_and_folds_on(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_anew = waiting_for_each_journal(monkeypatch)
    async with installed(kafka_servers, topic_prefix) as log:
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            for _ in range(3):
                await write(log, 20)
            await until(lambda: node.shards[0].saved == 60)
        assert set(begun_anew) == {tmp_path / "0.sqlite"}
        assert node.rows() == [(0, n) for n in range(60)]


async def test_view_ahead_of_the_committed_offset_goes_on_from_the_view(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commits_nothing(_: GroupReader, offsets: Mapping[tuple[str, int], int]) -> None:
        """The process dies before its commit."""

    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        with monkeypatch.context() as patch:
            patch.setattr(GroupReader, "commit", commits_nothing)
            first = Node(log, tmp_path)
            async with first.running():
                await until(lambda: len(tail.records) == 20 and first.shards[0].saved == 20)
        assert await committed(log) is None
        node = Node(log, tmp_path)
        async with node.running() as worker:
            await until(lambda: worker.ready)
            await write(log, 1)
            await until(lambda: len(tail.records) == 21)
        assert ids(tail.records) == [f"0@{n}" for n in range(21)]
        assert node.shards[0].silent == 0


async def test_what_is_folded_is_saved_when_it_is_much_or_looked_for_and_before_a_commit(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        with monkeypatch.context() as patch:
            patch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 3_600.0)
            node = Node(log, tmp_path, pace=Pace(save_at_records=30))
            async with node.running() as worker:
                await until(lambda: worker.ready)
                await write(log, 20)
                await until(lambda: len(tail.records) == 20)
                assert node.shards[0].saved == 0
                await write(log, 10)
                await until(lambda: node.shards[0].saved == 30)
                await write(log, 5)
                await until(lambda: len(tail.records) == 35)
                assert node.shards[0].saved == 30
                node.shards[0].looks = True
                await until(lambda: node.shards[0].saved == 35)
                node.shards[0].looks = False
                await write(log, 5)
                await until(lambda: len(tail.records) == 40)
        assert node.rows() == [(0, n) for n in range(40)]  # what was written about is kept when the worker leaves
        assert await committed(log) == 40
        again = Node(log, tmp_path, pace=Pace(save_at_records=1_000))
        async with again.running():
            await write(log, 1)
            await until(lambda: bool(again.shards) and again.shards[0].saved == 1)
        assert ids(tail.records) == [f"0@{n}" for n in range(41)]


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
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.3)
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
        async with node.running() as worker, in_background(Watch("role", worker).run()):
            await until(lambda: worker.ready)
            await write(log, 5)
            async with breakable_kafka.killed():
                pass
            await write(log, 5)
            await until(lambda: sum(shard.saved for shard in node.shards.values()) >= 10)
            await until_committed(log, (await log.ends(log.topics.call_events))[0])
        count = len(node.rows())
        assert count >= 10
        assert set(ids(await log.read(log.topics.terminations))) == {f"0@{n}" for n in range(count)}
        assert await committed(log) == count


@pytest.mark.parametrize("kind", ["to_do", "to_say"])
async def test_what_nobody_has_acknowledged_is_not_saved_with_what_was_folded(
    breakable_kafka: Breakable, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with installed(breakable_kafka.servers, topic_prefix) as log:
        with monkeypatch.context() as patch:
            patch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 3_600.0 if kind == "to_do" else 0.5)
            node = Node(log, tmp_path, pace=Pace(save_at_records=1_000))
            async with node.running() as worker, log.following(log.topics.terminations) as tail:
                await until(lambda: worker.ready)
                await write(log, 5)
                await until(lambda: len(tail.records) == 5)
                shard = node.shards[0]
                with breakable_kafka.paused():
                    setattr(shard, kind, [1, 2])
                    await until(lambda: shard.done == [1, 2])
                    run = running()
                    run.cancel()
                    await until(run.done)
        assert node.worked() == []


async def test_more_is_folded_while_what_follows_is_written_and_saved_once_it_is(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 3_600.0)
    async with installed(kafka_servers, topic_prefix) as log:
        node = Node(log, tmp_path, pace=Pace(save_at_records=25))
        async with node.running() as worker:
            await until(lambda: worker.ready)
            with acknowledged_late(log):
                for _ in range(3):
                    await fold_ten(log, node)
                await write(log, 10)
                await asyncio.sleep(0.5)
                assert (len(node.shards[0].rows), node.shards[0].saved) == (30, 0)
            await until(lambda: node.shards[0].saved == 30)
        assert ids(await log.read(log.topics.terminations)) == [f"0@{n}" for n in range(40)]
        assert len(node.rows()) == 40


async def test_no_more_is_folded_than_may_wait_to_be_written(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "AHEAD_BYTES", 0)
    async with installed(kafka_servers, topic_prefix) as log:
        node = Node(log, tmp_path, pace=Pace(save_at_records=1_000))
        async with node.running() as worker:
            await until(lambda: worker.ready)
            with acknowledged_late(log):
                await fold_ten(log, node)
                await write(log, 10)
                await asyncio.sleep(0.5)
                assert len(node.shards[0].rows) == 10
            await until(lambda: node.shards[0].saved == 20)


async def test_what_follows_and_was_not_acknowledged_is_not_saved_at_the_end(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 3_600.0)
    async with installed(kafka_servers, topic_prefix) as log:
        node = Node(log, tmp_path, pace=Pace(save_at_records=1_000))
        async with node.running() as worker:
            await until(lambda: worker.ready)
            with acknowledged_late(log):
                await fold_ten(log, node)
                run = running()
                run.cancel()
                await until(run.done)
            assert node.rows() == []
        again = Node(log, tmp_path)
        async with again.running():
            await until(lambda: len(again.rows()) == 10)
        assert set(ids(await log.read(log.topics.terminations))) == {f"0@{n}" for n in range(10)}


async def test_work_is_saved_at_once_where_nothing_was_folded(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving_module, "COMMIT_EVERY_SECONDS", 3_600.0)
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        node = Node(log, tmp_path, pace=Pace(save_at_records=1_000))
        async with node.running() as worker:
            await until(lambda: worker.ready)
            node.shards[0].to_do = [1, 2]
            await until(lambda: len(tail.records) == 2 and not node.shards[0].done)
            assert node.worked() == [1, 2]
