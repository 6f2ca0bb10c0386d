import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.kafka.ledger import LISTED_SCHEMA, Ledger
from consumer.kafka.view import View
from consumer.model.events import Position
from consumer.model.identity import termination_id
from consumer.model.orders import Mode
from consumer.model.status import Status
from consumer.model.terminations import (
    COUNTS,
    AnswerClass,
    Attempt,
    Decision,
    Ended,
    Looked,
    Record,
    Result,
    State,
    Termination,
    contribution,
    fold_termination,
)

CALLS = st.sampled_from(["call-1", "call-2", "call-3"])
ORDERS = st.sets(st.sampled_from(["order-1", "order-2", "order-3"]), min_size=1).map(lambda ids: tuple(sorted(ids)))
TIMES = st.integers(1_000, 1_020).map(float)
GIVEN_UP = (State.WITHDRAWN, State.EXPIRED, State.UNCONFIRMED, State.NOT_FOUND, State.FAILED)


@st.composite
def records(draw: st.DrawFn) -> Record:
    call_id, kind = draw(CALLS), draw(st.sampled_from([Decision, Ended, Attempt, Result, Looked, State]))
    of: dict[str, Any] = {
        "termination_id": termination_id("acme", call_id, 0),
        "account": "acme",
        "call_id": call_id,
        "episode": 0,
    }
    n = draw(st.integers(1, 3))
    if kind is Decision:
        return Decision(
            **of,
            orders=draw(ORDERS),
            mode=draw(st.sampled_from([Mode.SHADOW, Mode.ENFORCE])),
            lane=draw(st.integers(0, 2)),
            decided_at=draw(TIMES),
            status=draw(st.sampled_from([Status.REGISTERED, Status.RETRY])),
            evidence=(Position("call-events", 0, draw(st.integers(0, 3))),),
        )
    if kind is Ended:
        return Ended(**of, status=draw(st.sampled_from([Status.CANCELLED, Status.ONGOING])), at=draw(TIMES))
    if kind is Attempt:  # told twice of a call that its scope's stop names, it may have met another order in between
        return Attempt(**of, request_id=f"request-{n}", n=n, at=draw(TIMES), orders=draw(ORDERS))
    if kind is Result:
        answer = draw(st.sampled_from(AnswerClass))
        return Result(**of, at=draw(TIMES), request_id=f"request-{n}", n=n, answer=answer)
    if kind is Looked:
        return Looked(**of, at=draw(TIMES), waiting=draw(st.booleans()))
    return Result(**of, at=draw(TIMES), outcome=draw(st.sampled_from(GIVEN_UP)), orders=draw(ORDERS))


def folded(told: list[Record]) -> dict[str, Termination]:
    terminations: dict[str, Termination] = {}
    for record in told:
        terminations[record.termination_id] = fold_termination(terminations.get(record.termination_id), record)
    return terminations


@given(st.data())
def test_any_interleaving_of_the_two_topics_gives_the_same_terminations(data: st.DataObject) -> None:
    told = data.draw(st.lists(records(), max_size=14))
    again = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    assert folded(data.draw(st.permutations([*told, *again]))) == folded(told)


def recounted(terminations: dict[str, Termination], order_id: str) -> dict[str, int]:
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    for t in terminations.values():
        if order_id in t.orders:
            counts.update(contribution(t))
    return dict(counts)


def in_ledger(ledger: Ledger, connection: sqlite3.Connection) -> dict[str, Termination]:
    ids = [row[0] for row in connection.execute("SELECT termination_id FROM terminations")]
    return {one: t for one in ids if (t := ledger.get(one))}


@settings(max_examples=40)
@given(st.lists(st.one_of(records(), st.sampled_from(["save", "reopen"])), max_size=25))
def test_the_counts_of_an_order_are_the_sum_over_its_terminations_whenever_saved(script: list[Record | str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "0.sqlite"
        view = View(path, LISTED_SCHEMA, cluster_id="c")
        ledger = Ledger(view.connection, listed=True)
        for step in [*script, "save", "reopen"]:
            if step == "save":
                with view.transaction({}) as connection:
                    ledger.save(connection)
            elif step == "reopen":  # what was not saved is forgotten, and so are its counts
                view.close()
                view = View(path, LISTED_SCHEMA, cluster_id="c")
                ledger = Ledger(view.connection, listed=True)
            elif not isinstance(step, str):
                ledger.fold(step)
        with closing(view):
            kept = in_ledger(ledger, view.connection)
            for order_id in ("order-1", "order-2", "order-3"):
                assert ledger.counts(order_id) == recounted(kept, order_id)
            assert sum(ledger.totals().values()) == len(kept)
            states = Counter(t.state for t in kept.values())
            assert ledger.totals() == {state.value: number for state, number in states.items()}
