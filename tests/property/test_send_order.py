"""What a ledger gives to be sent, beside all that it knows: whatever is saved, in flight, due later or settled meanwhile."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.kafka import ledger as ledger_module
from consumer.kafka import ledger_queue
from consumer.kafka.ledger import FIRST_PLACE, SCHEMA, Ledger, NextStep, SendPlace, place_of
from consumer.kafka.view import View
from consumer.model.identity import termination_id
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, Record, State, Termination
from tests.unit.values import ACCOUNT, answered, attempt, decision, ended

CALLS = 14
ACTIONS = ("decide", "urge", "ask", "refuse", "accept", "end", "save", "save a part", "wait", "send", "send", "send")
Action = tuple[str, int, int]


def steps(t: Termination) -> NextStep:
    answer = t.last_answer
    waits = t.state is State.WAITING and t.decided_status is not None
    return NextStep("send" if waits else None, answer.retry_at if answer else 0.0)


@contextmanager
def small() -> Iterator[Ledger]:
    """A ledger that keeps few at hand, reads few at once, and saves in small parts."""
    sizes = patch.multiple(ledger_queue, READ_AT_ONCE=3, AT_HAND=5)
    with sizes, patch.object(ledger_module, "SAVED_AT_ONCE", 2), tempfile.TemporaryDirectory() as folder:
        view = View(Path(folder) / "0.sqlite", SCHEMA, cluster_id="c")
        with closing(view):
            yield Ledger(view.connection, steps)


def told(action: str, call: int, number: int, now: float) -> Record | None:
    name = f"call-{call:02}"
    match action:
        case "decide":
            return decision(name, lane=number % 3, since=float(call * 7 % 5))
        case "urge":
            return decision(name, lane=0, since=0.5, orders=("order-2",))
        case "ask":
            return attempt(call_id=name, request_id=f"request-{number}")
        case "refuse":
            refused = AnswerClass.NOT_SENT
            return answered(refused, call_id=name, request_id=f"request-{number}", retry_at=now + number % 3)
        case "accept":
            return answered(AnswerClass.ACCEPTED, call_id=name, request_id=f"request-{number}")
        case "end":
            return ended(Status.ONGOING, call_id=name)
        case _:
            return None


def wanted(
    ledger: Ledger, now: float, limit: int, skip: set[str], after: SendPlace = FIRST_PLACE, lane: int = 1_000
) -> list[str]:
    """Go through all that there is."""
    all_of_them = (ledger.get(termination_id(ACCOUNT, f"call-{call:02}", 0)) for call in range(CALLS))
    due = [t for t in all_of_them if t and t.state is State.WAITING and t.decided_status and steps(t).at <= now]
    stands = sorted(place_of(t) for t in due if t.termination_id not in skip)
    return [place[2] for place in stands if place > after and place[0] <= lane][:limit]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, CALLS - 1), st.integers(0, 5)), max_size=70))
def test_what_is_to_be_sent_is_given_in_order_whatever_is_saved_and_whatever_happens_meanwhile(
    actions: list[Action],
) -> None:
    with small() as ledger:
        connection, now = ledger._connection, 5_000.0
        for action, call, number in actions:
            if (record := told(action, call, number, now)) is not None:
                ledger.fold(record)
            elif action == "save":
                while ledger.save(connection):
                    pass
            elif action == "save a part":
                ledger.save(connection)
            elif action == "wait":
                now += number / 2
            else:
                skip = {termination_id(ACCOUNT, f"call-{n:02}", 0) for n in range(call, call + number)}
                found = [t.termination_id for t in ledger.to_send(ACCOUNT, now, 4, skip)]
                assert found == wanted(ledger, now, 4, skip)
                place = (1, float(number), "")
                behind = [t.termination_id for t in ledger.to_send(ACCOUNT, now, 4, skip, after=place, up_to_lane=1)]
                assert behind == wanted(ledger, now, 4, skip, place, 1)
