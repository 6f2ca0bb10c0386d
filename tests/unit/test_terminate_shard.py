"""What one partition of ``terminations`` chooses to send, and what it says when a call's own events settle a stop."""

from itertools import count
from typing import NamedTuple

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.model.identity import termination_id
from consumer.model.orders import Mode
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_record, encode_termination_record
from consumer.model.terminations import AnswerClass, Looked, Record, Result, State, Termination
from consumer.terminate.choosing import Choice
from consumer.terminate.shard import TerminateShard
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


def test_an_outcome_that_the_last_owner_could_not_know_of_is_said_by_the_next(shard: TerminateShard) -> None:
    """It read the end of the call before anybody wanted it stopped: the one who decided had been frozen meanwhile."""
    told: list[Record] = [attempt(), answered(AnswerClass.NONE_TERMINABLE), ended(Status.ONGOING), decision()]
    records = [Logged(encode_termination_record(record), next(offsets)) for record in told]
    assert shard.fold(records, live=False) == []
    with shard.view.transaction({}) as connection:
        shard.save(connection)
    shard.go_live(caught_up=True)
    outputs, _ = shard.work(NOW)
    (said,) = [decode_termination_record(output.value) for output in outputs]
    assert isinstance(said, Result)
    assert (said.call_id, said.outcome, said.detail) == ("call-1", State.MISSED, "the call is ongoing")
    assert shard.work(NOW + 1) == ([], False)


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


def test_what_is_written_is_known_at_once_and_tells_nothing_new_when_it_is_read_back(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision("a"), decision("b"))
    asked = [attempt(call_id="a"), attempt(call_id="b")]
    answers = [answered(AnswerClass.ACCEPTED, call_id="a"), answered(AnswerClass.ACCEPTED, call_id="b")]
    written = []
    for records, state in ((asked, State.REQUESTED), (answers, State.ACCEPTED)):
        written += (one := shard.records(records))
        shard.learn(records, one)
        assert shard.ledger.count_of(ACCOUNT, state) == 2
    assert set(shard.newly_answered(ACCOUNT)) == {"request-1"}
    assert shard.chooser.to_send(ACCOUNT, NOW, 10, set()) == []
    for again in range(2):  # what is read a second time is read by whoever took the partition over
        assert shard.fold([Logged(one.value or b"", next(offsets)) for one in written], live=True) == []
        assert list(shard.newly_answered(ACCOUNT)) == ["request-1"] * again
    assert shard.ledger.counts("order-1")["accepted"] == 2


def test_a_request_that_turns_out_to_have_stopped_a_call_says_so_when_it_is_read_back(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision(), decision(episode=1, decided_at=1_001.0), ended(Status.CANCELLED, episode=1))
    assert of_episode(shard, 1).state is State.MISSED
    shard.learn([attempt()], shard.records([attempt()]))
    assert of_episode(shard, 1).state is State.MISSED, "saved now, what is to be said would never be"
    (said,) = read(shard, attempt())
    assert (said.episode, said.outcome) == (1, State.CONFIRMED)
    assert of_episode(shard, 1).state is State.CONFIRMED


def test_what_is_said_of_a_call_that_has_ended_meanwhile_is_left_to_be_read_back(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision(), attempt(), ended(Status.CANCELLED))
    answers = [answered(AnswerClass.ACCEPTED)]
    before = of_episode(shard, 0)
    shard.learn(answers, shard.records(answers))
    assert of_episode(shard, 0) == before
    read(shard, *answers)
    assert of_episode(shard, 0).accepted


def test_what_is_settled_is_known_once_it_is_written(shard: TerminateShard, book: StoredOrderBook) -> None:
    book.fold([(0, order("over", hold=0.0))])
    read(shard, decision(orders=("over",)))
    late = 1_000.0 + ACME.decision_ttl + 1.0
    choices = [shard.chooser.choose(ACME, late, 100, set()) for _ in range(2)]
    assert choices[0] == choices[1], "a view that is saved now must not tell of it"
    settled = choices[0].settled
    shard.learn(settled, shard.records(settled))
    assert of_episode(shard, 0).state is State.EXPIRED
    assert shard.chooser.choose(ACME, late, 100, set()) == Choice((), ())


def of_episode(shard: TerminateShard, episode: int) -> Termination:
    found = shard.ledger.get(termination_id(ACCOUNT, "call-1", episode))
    assert found is not None
    return found


def came_back_after_a_request(shard: TerminateShard, book: StoredOrderBook, *told: Record) -> None:
    """Tell of a call that a request names, and that rang and came back to the queue while webhooks lagged."""
    book.fold([(0, order())])
    asked = (decision(), attempt(at=1_010.0), answered(AnswerClass.ACCEPTED), *told)
    read(shard, *asked, ended(Status.ONGOING), decision(episode=1, decided_at=1_012.0, status=Status.RETRY))


def test_a_call_that_came_back_is_not_asked_for_again_while_the_last_request_may_have_stopped_it(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    came_back_after_a_request(shard, book)
    choice = choose(shard)
    assert choice.batch == ()
    assert [one.request_id for one in choice.settled] == ["request-1", "request-1"]
    read(shard, *choice.settled)
    assert shard.ledger.to_look(ACCOUNT, 1_013.0, 10) == []
    assert [(t.call_id, t.episode) for t in shard.ledger.to_look(ACCOUNT, 1_014.0, 10)] == [("call-1", 1)]
    read(shard, ended(Status.CANCELLED, episode=1))
    assert of_episode(shard, 0).state is State.MISSED
    assert of_episode(shard, 1).state is State.CONFIRMED


def test_a_call_that_came_back_is_asked_for_once_a_look_shows_it_waiting(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    came_back_after_a_request(shard, book)
    looked = Looked(termination_id(ACCOUNT, "call-1", 1), ACCOUNT, "call-1", 1, NOW, waiting=True)
    read(shard, *choose(shard).settled, looked)
    assert [(t.call_id, t.episode) for t in choose(shard).batch] == [("call-1", 1)]


def test_a_call_that_came_back_is_asked_for_at_once_where_the_last_request_cannot_have_stopped_it(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    long_ago = 1_011.0 - ACME.confirm_within
    read(shard, decision("a"), attempt(at=long_ago, call_id="a"), answered(AnswerClass.ACCEPTED, call_id="a"))
    read(shard, decision("b"), attempt(call_id="b"), answered(AnswerClass.NONE_TERMINABLE, call_id="b"))
    for call_id in ("a", "b"):
        read(shard, ended(Status.ONGOING, call_id=call_id), decision(call_id, 1, decided_at=1_012.0))
    assert {(t.call_id, t.episode) for t in choose(shard).batch} == {("a", 1), ("b", 1)}


def test_a_call_that_came_back_waits_while_a_request_for_it_is_under_way(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision(), ended(Status.ONGOING), decision(episode=1, decided_at=1_012.0))
    under_way = {termination_id(ACCOUNT, "call-1", 0)}
    assert shard.chooser.to_send(ACCOUNT, NOW, 100, under_way) == []
    assert [t.episode for t in shard.chooser.to_send(ACCOUNT, NOW, 100, set())] == [1]


def test_a_call_that_is_cancelled_before_anybody_tells_of_its_retry_is_confirmed(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.fold([(0, order())])
    read(shard, decision(), attempt(), answered(AnswerClass.ACCEPTED), ended(Status.ONGOING))
    assert of_episode(shard, 0).state is State.MISSED
    (said,) = read(shard, ended(Status.CANCELLED, at=1_200.0))
    assert said.outcome is State.CONFIRMED
    assert of_episode(shard, 0).state is State.CONFIRMED
