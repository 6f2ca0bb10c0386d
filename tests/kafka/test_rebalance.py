"""A partition that moves, is read back for longer than a session, or whose holder stood still: nothing is said twice."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.commit import OffsetCommitRequest

from consumer.kafka import reader as reader_module
from consumer.kafka.reader import GroupReader
from consumer.kafka.view import remove_view
from consumer.model.terminations import AnswerClass, Result, State
from consumer.terminate.desk import Desk
from consumer.terminate.dispatcher import Dispatcher
from consumer.terminate.entries import Request
from tests.kafka.echo import Node, committed, ids, write
from tests.kafka.helpers import Installation, a_worker, installed, until, working
from tests.kafka.test_terminate_dispatch import dispatching

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

SESSION_MS = 2_000


@pytest.fixture(autouse=True)
def short_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SESSION_TIMEOUT_MS", SESSION_MS)
    monkeypatch.setattr(reader_module, "HEARTBEAT_MS", 200)


@asynccontextmanager
async def a_member(log: Installation, group: str = "role") -> AsyncIterator[GroupReader]:
    """A member that is given its partitions and has opened them."""
    name = log.topics.call_events.name
    reader = GroupReader(log.connection, group=group, topics=[name], node="n", held=list)
    await reader.start()
    try:
        await until(lambda: reader.joined)
        await reader.topic_ids([name])
        reader.open({(name, partition): 0 for partition in reader.assigned})
        yield reader
    finally:
        await reader.stop()


async def test_reading_back_for_longer_than_a_session_keeps_the_membership(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(kafka_servers, topic_prefix, call_events=2) as log,
        log.following(log.topics.terminations) as tail,
    ):
        await write(log, 600, partitions=2)
        async with Node(log, tmp_path / "first").running() as worker:
            await until(lambda: worker.ready and len(tail.records) == 600)
        node = Node(log, tmp_path / "second", seconds_a_record=0.005)  # 3 s, all in silence
        worker, reader = a_worker(log, [log.topics.call_events], node.folder, node.open)
        async with working(worker, reader):
            await until(lambda: worker.settled)
            generation, began = reader.generation, time.monotonic()
            await until(lambda: worker.ready)
            assert time.monotonic() - began > SESSION_MS / 1_000
            assert reader.generation == generation
        assert await committed(log) == 300
        assert sum(shard.silent for shard in node.shards.values()) == 600
        assert len(tail.records) == 600


async def test_process_that_stood_still_is_no_member_until_the_group_says_so(
    kafka_servers: str, topic_prefix: str
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, a_member(log) as reader:
        name = log.topics.call_events.name
        generation = reader.generation
        time.sleep(SESSION_MS / 1_000)  # noqa: ASYNC251 -- the whole process, as SIGSTOP would
        assert reader.generation > generation
        assert not reader.joined
        await write(log, 1)
        assert await reader.poll(max_records=1, timeout_ms=100) == {}
        await reader.commit({(name, 0): 1})
        await until(lambda: reader.joined)
        assert await reader.committed(name, [0]) == {}
        assert reader.assigned == {0}
        reader.open({(name, 0): 0})
        assert await reader.poll(max_records=1, timeout_ms=60_000)


async def test_shard_that_others_have_overtaken_is_opened_anew_and_silent_up_to_what_they_said(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, log.following(log.topics.terminations) as tail:
        await write(log, 20)
        node = Node(log, tmp_path)
        worker, reader = a_worker(log, [log.topics.call_events], tmp_path, node.open)
        async with working(worker, reader):
            await until(lambda: worker.ready and len(tail.records) == 20)
            stale = node.shards[0]
            tp = TopicPartition(log.topics.call_events.name, 0)
            reader._client.pause(tp)  # as if it had stood still while another worker held the partition
            await write(log, 20)
            await reader._client.commit({tp: 35})
            reader.on_partitions_revoked(())
            reader.on_partitions_assigned([tp])
            await until(lambda: worker.ready and worker.status()[0].position == 40)
            fresh = node.shards[0]
            assert fresh is not stale
            assert fresh.silent == 15
        assert node.rows() == [(0, n) for n in range(40)]
        assert ids(tail.records) == [f"0@{n}" for n in [*range(20), *range(35, 40)]]


async def test_commit_is_tried_in_the_generation_it_was_made_in_and_no_other_and_says_whether_it_was_taken(
    kafka_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(kafka_servers, topic_prefix) as log, a_member(log) as reader:
        name = log.topics.call_events.name
        await write(log, 10)
        tries: list[object] = []
        send = GroupCoordinator._send_req

        async def lost(coordinator: GroupCoordinator, request: object) -> object:
            if isinstance(request, OffsetCommitRequest):
                tries.append(request)
                if len(tries) == 3:
                    reader.on_partitions_revoked(())
                if len(tries) <= 3:
                    raise KafkaConnectionError
            return await send(coordinator, request)

        monkeypatch.setattr(GroupCoordinator, "_send_req", lost)
        assert not await reader.commit({(name, 0): 5})
        assert not await reader.commit({(name, 0): 5})
        assert len(tries) == 3
        assert await reader.committed(name, [0]) == {}
        reader.on_partitions_assigned([TopicPartition(name, 0)])
        reader.open({(name, 0): 0})
        assert await reader.commit({(name, 0): 7})
        assert await reader.committed(name, [0]) == {0: 7}
        reader._client._coordinator.generation -= 1  # a zombie's
        monkeypatch.setattr(reader_module, "COMMIT_SECONDS", 0.3)
        assert not await reader.commit({(name, 0): 3})
        assert await reader.committed(name, [0]) == {0: 7}


async def test_returning_worker_gets_the_partitions_of_its_views_and_reads_only_what_is_new(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with (
        installed(kafka_servers, topic_prefix, call_events=4) as log,
        log.following(log.topics.terminations) as tail,
    ):
        await write(log, 400, partitions=4)
        one, two = Node(log, tmp_path / "one"), Node(log, tmp_path / "two")
        async with one.running() as first:
            async with two.running() as second:
                await until(lambda: len(first.shards) == len(second.shards) == 2 and first.ready and second.ready)
                mine = set(second.shards)
            await until(lambda: len(first.shards) == 4 and first.ready and len(set(ids(tail.records))) == 400)
            await write(log, 40, partitions=4)
            await until(lambda: len(set(ids(tail.records))) == 440)
            two.shards.clear()
            async with two.running() as second:
                await until(lambda: len(first.shards) == len(second.shards) == 2 and first.ready and second.ready)
                assert set(second.shards) == mine
                assert sum(shard.saved for shard in two.shards.values()) == 20
        for partition in range(4):
            remove_view(one.folder / f"{partition}.sqlite")
        assert {p for p, _ in two.rows()} >= mine


async def test_request_that_was_about_to_leave_when_the_process_stood_still_does_not_leave(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depart = Desk.departure
    departures: list[int] = []

    async def stand_still_first(desk: Desk, dispatcher: Dispatcher, request: Request, leaves_by: float) -> None:
        await depart(desk, dispatcher, request, leaves_by)
        departures.append(len(stage.provider.stops("batches")))
        if (
            len(departures) == 1
        ):  # its attempt is in the log; the next owner of the account would wait for what comes of it
            time.sleep(SESSION_MS / 1_000)  # noqa: ASYNC251 -- the whole process, as SIGSTOP would

    async with dispatching(kafka_servers, topic_prefix, tmp_path) as stage:
        monkeypatch.setattr(Desk, "departure", stand_still_first)
        calls = [f"zombie-{n}" for n in range(5)]
        await stage.decide("batches", calls, await stage.order("batches"))
        await stage.all_are("batches", calls, State.ACCEPTED)
        assert len(departures) >= 2
        (request,) = stage.provider.stops("batches")
        assert sorted(request.call_ids) == calls
        await until(lambda: len([r for r in stage.logged("batches") if isinstance(r, Result)]) >= 2 * len(calls))
        answers = [r.answer for r in stage.logged("batches") if isinstance(r, Result)]
        assert answers[:5] == [AnswerClass.NOT_SENT] * 5
