"""Which terminations a ledger gives to be sent while requests are in flight and rows are behind what is known."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.kafka import ledger as ledger_module
from consumer.kafka.ledger import SCHEMA, Ledger, NextStep
from consumer.kafka.ledger_queue import LOOK_AGAIN_SECONDS
from consumer.kafka.view import View
from consumer.model.identity import termination_id
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, State, Termination
from tests.unit.values import ACCOUNT, answered, attempt, decision, ended

NOW = 5_000.0


def steps(t: Termination) -> NextStep:
    answer = t.last_answer
    return NextStep("send" if t.state is State.WAITING else None, answer.retry_at if answer else 0.0)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    opened = View(tmp_path / "0.sqlite", SCHEMA, cluster_id="c")
    yield opened
    opened.close()


@pytest.fixture
def ledger(view: View) -> Ledger:
    return Ledger(view.connection, steps)


def save(ledger: Ledger, view: View) -> int:
    """Save everything; gives in how many parts."""
    parts = 1
    with view.transaction({}) as connection:
        while ledger.save(connection):
            parts += 1
    return parts


def wait(ledger: Ledger, *numbers: int) -> None:
    for n in numbers:
        ledger.fold(decision(f"call-{n:03}", since=float(n)))


def ids(*numbers: int) -> set[str]:
    return {termination_id(ACCOUNT, f"call-{n:03}", 0) for n in numbers}


def to_send(ledger: Ledger, *busy: int, now: float = NOW, limit: int = 100) -> list[int]:
    return [int(t.call_id[5:]) for t in ledger.to_send(ACCOUNT, now, limit, ids(*busy))]


def test_what_is_not_saved_yet_leaves_in_its_turn(ledger: Ledger, view: View) -> None:
    wait(ledger, 2, 4, 6)
    save(ledger, view)
    wait(ledger, 5, 1, 7, 3)
    assert to_send(ledger) == [1, 2, 3, 4, 5, 6, 7]
    assert to_send(ledger, 1, 2, limit=3) == [3, 4, 5]


def test_one_that_comes_to_wait_longer_than_those_in_flight_is_next(ledger: Ledger, view: View) -> None:
    wait(ledger, *range(10, 20))
    save(ledger, view)
    assert to_send(ledger, *range(10, 15), limit=1) == [15]
    wait(ledger, 5)
    assert to_send(ledger, *range(10, 15), limit=2) == [5, 15]
    save(ledger, view)
    assert to_send(ledger, *range(10, 15), limit=2) == [5, 15]


def test_a_call_that_is_let_go_without_an_answer_is_found_again_within_a_second(ledger: Ledger, view: View) -> None:
    wait(ledger, 1, 2, 3)
    save(ledger, view)
    assert to_send(ledger, 1, 2) == [3]
    assert to_send(ledger, 2, now=NOW + LOOK_AGAIN_SECONDS) == [1, 3]


def test_a_call_that_may_be_tried_again_is_found_when_its_time_has_come(ledger: Ledger, view: View) -> None:
    wait(ledger, 1, 2)
    save(ledger, view)
    ledger.fold(attempt(call_id="call-001"))
    assert to_send(ledger) == [2]
    ledger.fold(answered(AnswerClass.NOT_SENT, call_id="call-001", retry_at=NOW + 3))
    assert to_send(ledger) == [2]
    save(ledger, view)
    assert to_send(ledger, now=NOW + 2) == [2]
    assert to_send(ledger, now=NOW + 3) == [1, 2]


def test_a_call_that_ends_while_it_is_not_saved_is_not_sent(ledger: Ledger, view: View) -> None:
    wait(ledger, 1, 2)
    ledger.fold(ended(Status.ONGOING, call_id="call-001"))
    assert to_send(ledger) == [2]
    save(ledger, view)
    assert to_send(ledger) == [2]


def test_saving_in_parts_loses_none_that_changes_in_between(
    ledger: Ledger, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "SAVED_AT_ONCE", 3)
    wait(ledger, *range(1, 11))
    with view.transaction({}) as connection:
        assert ledger.save(connection)
        assert to_send(ledger) == list(range(1, 11))
        ledger.fold(attempt(call_id="call-001"))
        ledger.fold(attempt(call_id="call-010"))
        assert to_send(ledger) == list(range(2, 10))
        while ledger.save(connection):
            pass
    assert not ledger.dirty
    again = Ledger(view.connection, steps)
    assert to_send(again) == list(range(2, 10))
    assert (again.backlog(ACCOUNT), again.count_of(ACCOUNT, State.REQUESTED)) == (8, 2)
    assert again.counts("order-1")["requested"] == 2


def test_ids_that_are_no_hashes_and_keys_that_meet_are_told_apart(ledger: Ledger, view: View) -> None:
    given = ["0123456789abcdef-one", "0123456789abcdef-two", "neither", "é"]
    for n, one in enumerate(given, 1):
        told = decision(f"call-{n:03}", since=float(n))
        ledger.fold(type(told)(one, *(getattr(told, name) for name in told.__struct_fields__[1:])))
    save(ledger, view)
    again = Ledger(view.connection, steps)
    again.load(given)
    assert [t.call_id for one in given if (t := again.get(one))] == [f"call-{n:03}" for n in range(1, 5)]
    assert again.get("0123456789abcdef-three") is None
    assert to_send(again) == [1, 2, 3, 4]


def test_one_that_was_busy_and_is_not_any_more_is_given_again_at_once(ledger: Ledger, view: View) -> None:
    wait(ledger, 1, 2, 3)
    save(ledger, view)
    assert to_send(ledger, 1, 2) == [3]
    assert to_send(ledger, 2) == [1, 3]
    assert to_send(ledger) == [1, 2, 3]
