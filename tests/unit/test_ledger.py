from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from consumer.kafka import ledger as ledger_module
from consumer.kafka.ledger import LISTED_SCHEMA, NOTHING, Ledger, NextStep
from consumer.kafka.view import View
from consumer.model.identity import termination_id
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, State, Termination
from tests.unit.values import ACCOUNT, answered, attempt, closed, decision, ended


def steps(t: Termination) -> NextStep:
    """Send what waits at the time its last answer says, close what is unknown 100 s after the answer."""
    answer = t.last_answer
    if t.state is State.WAITING:
        return NextStep("send", answer.retry_at if answer else 0.0)
    return NextStep("close", answer.at + 100.0) if t.state is State.UNKNOWN and answer else NOTHING


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    opened = View(tmp_path / "0.sqlite", LISTED_SCHEMA, cluster_id="c")
    yield opened
    opened.close()


@pytest.fixture
def ledger(view: View) -> Ledger:
    return Ledger(view.connection, steps, listed=True)


def save(ledger: Ledger, view: View) -> None:
    with view.transaction({}) as connection:
        ledger.save(connection)


def calls(terminations: list[Termination]) -> list[str]:
    return [t.call_id for t in terminations]


def test_the_most_urgent_lane_leaves_first_and_in_it_who_waits_longest(ledger: Ledger, view: View) -> None:
    for call_id, lane, decided_at in [("d", 2, 1.0), ("c", 1, 3.0), ("b", 1, 2.0), ("a", 0, 9.0)]:
        ledger.fold(decision(call_id, lane=lane, decided_at=decided_at))
    save(ledger, view)
    assert calls(ledger.to_send(ACCOUNT, 10.0, 10, set())) == ["a", "b", "c", "d"]
    assert calls(ledger.to_send(ACCOUNT, 10.0, 2, {termination_id(ACCOUNT, "a", 0)})) == ["b", "c"]
    assert ledger.to_send("another", 10.0, 10, set()) == []
    assert (ledger.backlog(ACCOUNT), ledger.backlog("another")) == (4, 0)


def test_few_are_kept_in_memory_however_many_are_asked_for(
    ledger: Ledger, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "RECENT", 3)
    names = [f"call-{n:02}" for n in range(20)]
    for n, call_id in enumerate(names):
        ledger.fold(decision(call_id, since=float(n + 1)))
        if n % 4 == 0:
            save(ledger, view)
    save(ledger, view)
    ledger.fold(attempt(call_id="call-07"))
    for limit in (1, 2, 5, 7, 19, 20):
        expected = [name for name in names if name != "call-07"][:limit]
        assert calls(ledger.to_send(ACCOUNT, 2_000.0, limit, set())) == expected
    assert len(ledger._recent) <= 3


def test_what_is_folded_and_not_saved_yet_is_known_of_its_call_and_counted(ledger: Ledger, view: View) -> None:
    ledger.fold(decision("call-1", episode=0))
    save(ledger, view)
    for record in (decision("call-1", episode=1), attempt(call_id="call-1", episode=0)):
        ledger.fold(record)
    for _ in range(2):
        assert [(t.episode, len(t.attempts)) for t in ledger.of_call(ACCOUNT, "call-1")] == [(0, 1), (1, 0)]
        (order,) = ledger.of_call(ACCOUNT, "call-1")[0].orders
        assert (ledger.counts(order)["matched"], ledger.counts(order)["requested"]) == (2, 1)
        save(ledger, view)


def test_nothing_is_sent_before_its_time(ledger: Ledger, view: View) -> None:
    for record in (decision(), attempt(), answered(AnswerClass.THROTTLED, retry_at=50.0)):
        ledger.fold(record)
    save(ledger, view)
    assert ledger.to_send(ACCOUNT, 49.9, 10, set()) == []
    assert calls(ledger.to_send(ACCOUNT, 50.0, 10, set())) == ["call-1"]


def test_what_was_folded_but_not_saved_is_not_sent_on_old_knowledge(ledger: Ledger, view: View) -> None:
    for call_id in ("ended", "given up", "throttled", "waiting"):
        ledger.fold(decision(call_id))
    save(ledger, view)
    ledger.fold(ended(Status.ONGOING, call_id="ended"))
    ledger.fold(closed("given up", outcome=State.WITHDRAWN))
    ledger.fold(attempt(call_id="throttled"))
    ledger.fold(answered(AnswerClass.THROTTLED, call_id="throttled", retry_at=2_000.0))
    assert calls(ledger.to_send(ACCOUNT, 1_500.0, 10, set())) == ["waiting"]
    assert calls(ledger.to_send(ACCOUNT, 2_000.0, 10, set())) == ["throttled", "waiting"]


def test_what_waits_for_its_confirmation_is_closed_when_its_time_is_up(ledger: Ledger, view: View) -> None:
    for call_id, at in (("later", 20.0), ("sooner", 10.0)):
        for record in (
            decision(call_id),
            attempt(call_id=call_id),
            answered(AnswerClass.UNKNOWN, call_id=call_id, at=at),
        ):
            ledger.fold(record)
    save(ledger, view)
    assert ledger.to_close(109.0, 10) == []
    assert calls(ledger.to_close(120.0, 10)) == ["sooner", "later"]
    assert calls(ledger.to_close(120.0, 1)) == ["sooner"]
    ledger.fold(closed("sooner", outcome=State.UNCONFIRMED))
    assert calls(ledger.to_close(120.0, 10)) == ["later"]


def test_the_end_of_a_call_nobody_wanted_stopped_is_no_news(ledger: Ledger) -> None:
    assert ledger.fold(ended(Status.COMPLETED)) == (None, None)
    assert not ledger.dirty


def test_a_record_that_is_known_changes_nothing(ledger: Ledger, view: View) -> None:
    ledger.fold(decision())
    save(ledger, view)
    assert not ledger.dirty
    before, after = ledger.fold(decision())
    assert before == after
    assert not ledger.dirty


def test_counts_follow_each_order_and_survive_a_restart(ledger: Ledger, view: View) -> None:
    ledger.fold(decision("a"))
    ledger.fold(decision("b", orders=("order-1", "order-2")))
    for record in (attempt(call_id="b"), answered(AnswerClass.ACCEPTED, call_id="b")):
        ledger.fold(record)
    save(ledger, view)
    ledger.fold(decision("a", orders=("order-2",)))  # a second order comes to want a call that is known
    ledger.fold(ended(Status.CANCELLED, call_id="b"))
    save(ledger, view)
    again = Ledger(view.connection, steps, listed=True)
    wanted = {"matched": 2, "requested": 1, "accepted": 1, "confirmed": 1}
    for order_id in ("order-1", "order-2"):
        assert {name: value for name, value in again.counts(order_id).items() if value} == wanted
    assert set(again.counts("unknown").values()) == {0}


def test_a_list_goes_on_where_its_page_ended(ledger: Ledger, view: View) -> None:
    for n in range(7):
        ledger.fold(decision(f"call-{n}", decided_at=float(n // 2)))
    save(ledger, view)
    seen: list[Termination] = []
    cursor = None
    while page := ledger.page({}, before=cursor, limit=3):
        seen += page
        cursor = (page[-1].decided_at, page[-1].termination_id)
    assert len({t.call_id for t in seen}) == len(seen) == 7
    assert [t.decided_at for t in seen] == sorted((t.decided_at for t in seen), reverse=True)


def test_a_list_is_narrowed_by_order_account_and_outcome(ledger: Ledger, view: View) -> None:
    ledger.fold(decision("a"))
    ledger.fold(decision("b", orders=("order-2",)))
    ledger.fold(ended(Status.ONGOING, call_id="b"))
    save(ledger, view)
    for filters, expected in [
        ({"order_id": "order-1"}, ["a"]),
        ({"order_id": "order-2", "outcome": "missed", "account": ACCOUNT}, ["b"]),
        ({"outcome": "waiting"}, ["a"]),
        ({"account": "another"}, []),
    ]:
        assert calls(list(ledger.page(filters, before=None, limit=10))) == expected


def test_a_list_goes_along_an_index_however_it_is_narrowed(ledger: Ledger, view: View) -> None:
    accounts = ("acme", "other", "third")
    told = [decision(f"call-{n}", orders=(f"of-{accounts[n % 3]}",), decided_at=float(n // 4)) for n in range(60)]
    for n, one in enumerate(told):
        ledger.fold(replace(one, account=accounts[n % 3]))
        if n % 5 == 0:
            ledger.fold(replace(ended(Status.ONGOING, call_id=one.call_id), account=accounts[n % 3]))
    save(ledger, view)
    everything = sorted(
        (t for one in told if (t := ledger.get(one.termination_id))),
        key=lambda t: (t.decided_at, t.termination_id),
        reverse=True,
    )
    planned: list[str] = []
    for filters in powerset({"account": "other", "outcome": "missed", "order_id": "of-other"}):
        seen: list[Termination] = []
        cursor = None
        with asked_of(view, planned):
            while page := ledger.page(filters, before=cursor, limit=7):
                seen += page
                cursor = (page[-1].decided_at, page[-1].termination_id)
        assert seen == [t for t in everything if fits(t, filters)]
    assert not [plan for plan in planned if "SCAN terminations" in plan or "TEMP B-TREE" in plan]


def powerset(filters: dict[str, str]) -> list[dict[str, str]]:
    names = list(filters)
    return [{name: filters[name] for n, name in enumerate(names) if bits >> n & 1} for bits in range(1 << len(names))]


def fits(t: Termination, filters: dict[str, str]) -> bool:
    said = {"account": t.account, "outcome": t.state.value, "order_id": t.orders[0]}
    return all(said[name] == value for name, value in filters.items())


@contextmanager
def asked_of(view: View, planned: list[str]) -> Iterator[None]:
    """Note how SQLite goes about each query."""
    asked: list[str] = []
    view.connection.set_trace_callback(asked.append)
    yield
    view.connection.set_trace_callback(None)
    for query in asked:
        planned += [row[3] for row in view.connection.execute(f"EXPLAIN QUERY PLAN {query}")]


def test_the_terminations_of_a_call_are_listed_by_episode(ledger: Ledger, view: View) -> None:
    ledger.fold(decision(episode=1))
    ledger.fold(decision(episode=0))
    save(ledger, view)
    assert [t.episode for t in ledger.of_call(ACCOUNT, "call-1")] == [0, 1]
