"""When a process may say how a call stands. The worker and its reader say what the test wants; calls lie in a real view."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer.correlate import queries as queries_module
from consumer.correlate.calls import SCHEMA, Calls
from consumer.correlate.queries import CallQueries
from consumer.correlate.shard import CorrelateShard
from consumer.kafka.connection import Connection
from consumer.kafka.errors import NotCaughtUp, NotHeld
from consumer.kafka.reader import GroupReader
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.kafka.worker import FoldingWorker, PartitionStatus, Shard
from consumer.model.calls import fold
from tests.unit.values import ACCOUNT, event

TOPICS = Topics.named(call_events=1)
REGISTERED = fold(None, event(call_id="call-1"))


class Worker(FoldingWorker):
    def __init__(self, shard: CorrelateShard) -> None:
        self.held: dict[int, Shard] = {0: shard}
        self.at = PartitionStatus(0, position=5, end=5, live=True, caught_up=True)
        self.is_settled = True

    @property
    def settled(self) -> bool:
        return self.is_settled

    @property
    def shards(self) -> dict[int, Shard]:
        return self.held

    def status(self) -> list[PartitionStatus]:
        return [self.at] if self.held else []


class Reader(GroupReader):
    """The log ends at 5; what happens while it is asked is the test's."""

    def __init__(self) -> None:
        super().__init__(Connection("127.0.0.1:9"), group="g", topics=[], node="n", held=list)
        self.meanwhile: Callable[[], None] = lambda: None

    async def end(self, topic: str, partition: int) -> int:
        assert (topic, partition) == ("call-events", 0)
        self.meanwhile()
        return 5


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[CorrelateShard]:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    made = object.__new__(CorrelateShard)
    made.calls = Calls(view.connection)
    yield made
    view.close()


@pytest.fixture
def worker(shard: CorrelateShard) -> Worker:
    return Worker(shard)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def queries(worker: Worker, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> CallQueries:
    monkeypatch.setattr(queries_module, "CATCH_UP_SECONDS", 0.1)
    return CallQueries(worker, reader, TOPICS)


async def test_a_call_that_is_known_is_given_without_asking_kafka(
    queries: CallQueries, shard: CorrelateShard, reader: Reader
) -> None:
    def never() -> None:
        raise AssertionError

    reader.meanwhile = never
    shard.calls.put(REGISTERED, None)
    assert await queries.find(ACCOUNT, "call-1") == REGISTERED
    assert queries.counts() == {0: (1, int(REGISTERED.terminable))}


async def test_a_call_is_unknown_once_the_log_is_read_to_its_end(queries: CallQueries) -> None:
    assert await queries.find(ACCOUNT, "call-1") is None


async def test_nothing_is_said_of_what_another_holds_or_may_hold_by_now(queries: CallQueries, worker: Worker) -> None:
    worker.is_settled = False
    with pytest.raises(NotHeld, match="rebalance"):
        await queries.find(ACCOUNT, "call-1")
    assert queries.counts() == {}
    worker.is_settled, worker.held = True, {}
    with pytest.raises(NotHeld, match="another worker"):
        await queries.find(ACCOUNT, "call-1")


async def test_nothing_is_said_while_the_partition_is_first_read(
    queries: CallQueries, worker: Worker, shard: CorrelateShard
) -> None:
    shard.calls.put(REGISTERED, None)
    worker.at = PartitionStatus(0, position=2, end=5, live=False, caught_up=False)
    with pytest.raises(NotCaughtUp, match="2 of 5"):
        await queries.find(ACCOUNT, "call-1")


async def test_nobody_is_told_that_a_call_is_unknown_while_its_event_may_be_unread(
    queries: CallQueries, worker: Worker
) -> None:
    worker.at = PartitionStatus(0, position=3, end=3, live=True, caught_up=True)
    with pytest.raises(NotCaughtUp, match="2 events behind"):
        await queries.find(ACCOUNT, "call-1")


async def test_a_call_whose_event_is_read_meanwhile_is_found(
    queries: CallQueries, shard: CorrelateShard, reader: Reader
) -> None:
    reader.meanwhile = lambda: shard.calls.put(REGISTERED, None)
    assert await queries.find(ACCOUNT, "call-1") == REGISTERED


async def test_a_partition_that_moves_meanwhile_says_nothing(
    queries: CallQueries, worker: Worker, reader: Reader
) -> None:
    reader.meanwhile = worker.held.clear
    with pytest.raises(NotHeld):
        await queries.find(ACCOUNT, "call-1")
