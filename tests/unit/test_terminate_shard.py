"""What one partition of ``terminations`` chooses to send, and what it says when a call's own events settle a stop."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.identity import termination_id
from consumer.model.orders import Mode
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_record, encode_termination_record
from consumer.model.terminations import AnswerClass, Record, Result, State
from consumer.terminate.choosing import Choice
from consumer.terminate.shard import SCHEMA, TerminateShard
from handlers.providers.table import PROVIDERS
from tests.unit.values import ACCOUNT, account, answered, attempt, closed, decision, ended, order

NOW = 1_050.0
ACME = account()
offsets = count()


class Logged(NamedTuple):
    value: bytes
    offset: int
    topic: str = "terminations"
    partition: int = 0
    timestamp: int = 1_120_000
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@pytest.fixture
def book() -> StoredOrderBook:
    return StoredOrderBook()


@pytest.fixture
def shard(tmp_path: Path, book: StoredOrderBook) -> Iterator[TerminateShard]:
    view = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    topics = Topics.named(terminations=1)
    yield TerminateShard(view, topics=topics, book=book, accounts={ACCOUNT: ACME}, providers=PROVIDERS)
    view.close()


def read(shard: TerminateShard, *records: Record) -> list[Result]:
    """Let the shard read records one by one, as they are saved; gives the outcomes that it says."""
    said = []
    for record in records:
        outputs = shard.fold([Logged(encode_termination_record(record), next(offsets))], live=True)
        said += [decode_termination_record(output.value) for output in outputs]
        with shard.view.transaction({}) as connection:
            shard.save(connection)
    return [result for result in said if isinstance(result, Result)]


def choose(shard: TerminateShard) -> Choice:
    return shard.chooser.choose(ACME, NOW, 100, set())


def test_a_call_that_came_back_to_wait_is_named_once_and_its_earlier_stop_is_missed(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision("call-1", 0), decision("call-2", 0), decision("call-1", 1, decided_at=1_001.0))
    choice = choose(shard)
    assert {(t.call_id, t.episode) for t in choice.batch} == {("call-1", 1), ("call-2", 0)}
    assert [(r.episode, r.outcome) for r in choice.settled if isinstance(r, Result)] == [(0, State.MISSED)]


def test_a_stop_is_not_withdrawn_while_an_order_that_may_enforce_it_has_not_been_read(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order("shadow", mode=Mode.SHADOW))])
    read(shard, decision(orders=("shadow", "not read yet")))
    assert choose(shard) == Choice((), ())
    book.fold([(1, order("not read yet"))])
    assert [t.call_id for t in choose(shard).batch] == ["call-1"]


def test_nothing_is_done_about_a_stop_that_only_the_log_tells_of(shard: TerminateShard) -> None:
    read(shard, attempt(), answered(AnswerClass.NONE_TERMINABLE))
    assert shard.ledger.to_look(ACCOUNT, NOW + 1_000, 10) == []
    read(shard, decision())
    assert [t.call_id for t in shard.ledger.to_look(ACCOUNT, NOW + 1_000, 10)] == ["call-1"]


CAME_BACK: dict[str, Record] = {
    "attempt": attempt(episode=0),
    "decision": decision(episode=1),
    "cancelled": ended(Status.CANCELLED, episode=1),
    "look": closed(episode=1, at=1_115.0, outcome=State.MISSED, confirmed_by="history"),
}


@pytest.mark.parametrize(
    "read_in_order",
    [
        ("attempt", "decision", "cancelled"),
        ("decision", "cancelled", "attempt"),
        ("attempt", "decision", "look", "cancelled"),
        ("attempt", "decision", "cancelled", "look"),
        ("decision", "look", "cancelled", "attempt"),
    ],
)
def test_a_call_stopped_by_the_request_for_its_earlier_episode_is_confirmed_in_whatever_order_it_is_read(
    shard: TerminateShard, read_in_order: tuple[str, ...]
) -> None:
    read(shard, decision(episode=0), *(CAME_BACK[name] for name in read_in_order))
    later = shard.ledger.get(termination_id(ACCOUNT, "call-1", 1))
    assert later is not None
    assert later.state is State.CONFIRMED
    assert later.final is not None
    assert "request-1" in later.final.detail
