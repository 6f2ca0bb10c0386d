"""The safeguards of the real code, and how each is taken out: the simulation must notice within a few seeds.

A safeguard is taken out by replacing the one function that upholds it, for as long as its context is open.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from consumer.correlate.shard import CorrelateShard
from consumer.kafka.producer import OutRecord, Producer
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import NO_STAMPS, Offsets, View
from consumer.kafka.worker import FoldingWorker
from consumer.model.identity import digest
from consumer.model.terminations import Attempt, Record
from consumer.terminate.choosing import Chooser
from consumer.terminate.desk import Desk
from consumer.terminate.shard import TerminateShard
from tests.simulation.loop import running_process

_background: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Safeguard:
    """One safeguard: one of the ``laws`` is broken, sooner or later, when it is ``removed``."""

    name: str
    laws: frozenset[str]
    removed: Callable[[], AbstractContextManager[Any]]


@contextmanager
def _offset_in_a_transaction_of_its_own() -> Iterator[None]:
    whole = View.transaction

    @contextmanager
    def torn(self: View, offsets: Offsets, stamps: Offsets = NO_STAMPS) -> Iterator[Any]:
        with whole(self, offsets, stamps):
            pass
        with whole(self, {}) as connection:
            yield connection

    with patch.object(View, "transaction", torn):
        yield


class _Careless:
    """A producer that says yes at once and writes half a second later."""

    pending_bytes = 0

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def publish_all(self, records: Iterable[OutRecord]) -> asyncio.Future[list[int]]:
        _in_background(self._write(list(records)))
        return asyncio.gather()

    async def _write(self, records: list[OutRecord]) -> None:
        await asyncio.sleep(0.5)
        await self._producer.publish_all(records)


@contextmanager
def _outputs_that_nobody_waits_for() -> Iterator[None]:
    made = FoldingWorker.__init__

    def careless(self: FoldingWorker, *, producer: Producer, **others: Any) -> None:
        made(self, producer=_Careless(producer), **others)  # type: ignore[arg-type]

    with patch.object(FoldingWorker, "__init__", careless):
        yield


def _ids_of_each_process_its_own() -> AbstractContextManager[Any]:
    def named(account: str, call_id: str, episode: int) -> str:
        return digest(("termination", account, call_id, str(episode), running_process().name))

    return patch("consumer.correlate.decide.termination_id", named)


@contextmanager
def _replay_that_speaks() -> Iterator[None]:
    fold = CorrelateShard.fold

    def loud(self: CorrelateShard, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        return fold(self, records, live=True)

    with patch.object(CorrelateShard, "fold", loud):
        yield


@contextmanager
def _attempts_that_nobody_waits_for() -> Iterator[None]:
    log = Desk.log

    async def careless(self: Desk, shard: TerminateShard, records: Sequence[Record]) -> Sequence[OutRecord]:
        if any(isinstance(record, Attempt) for record in records):
            _in_background(log(self, shard, records))
            return shard.records(records)
        return await log(self, shard, records)

    with patch.object(Desk, "log", careless):
        yield


def _in_background(work: Any) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


SAFEGUARDS = (
    Safeguard(
        "the offset is in the view's transaction",
        frozenset({"views-equal-the-log", "ledgers-equal-the-log"}),
        _offset_in_a_transaction_of_its_own,
    ),
    Safeguard(
        "outputs are written before the commit",
        frozenset({"ledgers-equal-the-log", "every-wanted-stop-is-decided", "nobody-is-left-waiting"}),
        _outputs_that_nobody_waits_for,
    ),
    Safeguard("ids are deterministic", frozenset({"one-termination-for-each-episode"}), _ids_of_each_process_its_own),
    Safeguard("replay is silent", frozenset({"silent-replay"}), _replay_that_speaks),
    Safeguard(
        "an attempt is written before its request",
        frozenset({"attempts-come-before-requests"}),
        _attempts_that_nobody_waits_for,
    ),
    Safeguard(
        "orders are looked at in the last moment",
        frozenset({"every-request-was-wanted"}),
        lambda: patch.object(Chooser, "_no_longer_wanted", lambda *_: None),
    ),
    Safeguard(
        "a stop that could hang up looks first",
        frozenset({"no-live-call-is-cut"}),
        lambda: patch("consumer.terminate.stopping.must_look_first", lambda *_: False),
    ),
    Safeguard(
        "a call is asked for three times at most",
        frozenset({"allowance-is-kept"}),
        lambda: patch("consumer.terminate.next_step.MAX_SENDS", 9),
    ),
)
