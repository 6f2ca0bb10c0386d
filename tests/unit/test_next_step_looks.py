"""What is done next where the provider can be asked first: looks, whole scopes, and calls that a scope's stop covers."""

from typing import Any

import pytest
from msgspec.structs import replace

from consumer.kafka.order_book import StoredOrderBook
from consumer.model.events import Position
from consumer.model.identity import scope_termination_id
from consumer.model.orders import Reach
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.terminations import AnswerClass, Looked, Record, State, Termination, fold_termination
from consumer.terminate.covered import must_wait, shared_request
from consumer.terminate.next_step import MAX_SENDS, can_look, closing_outcome, must_look_first, next_step
from handlers.providers.table import PROVIDERS
from tests.unit.values import ACCOUNT, account, answered, attempt, decision, ended, order

CONFIRM_WITHIN = 120.0
SETTINGS = account(confirm_within="120s")
WHOLE = Scope.campaign("campaign-1")


def told(*records: Record, known: Termination | None = None) -> Termination:
    for record in records:
        known = fold_termination(known, record)
    assert known is not None
    return known


def looked(t: Termination, at: float, *, waiting: bool) -> Termination:
    return told(Looked(t.termination_id, t.account, t.call_id, t.episode, at, waiting), known=t)


def stop_of_scope(*answers: AnswerClass | None, **given: Any) -> Termination:
    """A stop of a whole campaign, with the answers to its requests; None where none came."""
    t = told(decision(call_id="", scope=WHOLE, **given))
    for n, answer in enumerate(answers, start=1):
        t = told(attempt(n, 1_000.0 + 10 * n, call_id=""), known=t)
        t = told(answered(answer, n, 1_001.0 + 10 * n, call_id=""), known=t) if answer else t
    return t


@pytest.mark.parametrize(
    ("provider", "call", "scope"),
    [("ringg", True, True), ("bland", True, True), ("vapi", True, True), ("sonarly", False, True)],
)
def test_calls_are_looked_up_and_scopes_by_their_state_or_the_history(provider: str, call: bool, scope: bool) -> None:
    capabilities = PROVIDERS[provider].capabilities
    assert can_look(told(decision()), capabilities) is call
    assert can_look(stop_of_scope(), capabilities) is scope


@pytest.mark.parametrize(
    ("provider", "call", "first_stop", "repetition"),
    [
        ("ringg", False, False, False),
        ("revenueable", False, False, False),
        ("bland", True, False, False),
        ("vapi", True, False, False),
        ("sonarly", False, False, True),
    ],
)
def test_the_state_is_read_before_what_could_cut_a_live_call_or_is_not_idempotent(
    provider: str, call: bool, first_stop: bool, repetition: bool
) -> None:
    capabilities = PROVIDERS[provider].capabilities
    assert must_look_first(told(decision()), capabilities) is call
    assert must_look_first(stop_of_scope(), capabilities) is first_stop
    assert must_look_first(stop_of_scope(AnswerClass.UNKNOWN), capabilities) is repetition


@pytest.mark.parametrize("provider", ["ringg", "bland", "vapi"])
@pytest.mark.parametrize("answer", [AnswerClass.ACCEPTED, AnswerClass.UNKNOWN, AnswerClass.CONFLICT])
def test_a_scope_is_looked_at_and_sent_again_while_it_stands_three_times_at_most(
    provider: str, answer: AnswerClass
) -> None:
    capabilities = PROVIDERS[provider].capabilities
    t, now = stop_of_scope(), 1_000.0
    for n in range(1, MAX_SENDS + 1):
        assert next_step(t, SETTINGS, capabilities).step == "send"
        now += 200
        t = told(attempt(n, now, call_id=""), answered(answer, n, now + 1, call_id=""), known=t)
        assert next_step(t, SETTINGS, capabilities).step == "look"
        now += 200
        t = looked(t, now, waiting=True)
    assert next_step(t, SETTINGS, capabilities).step == "close"
    assert closing_outcome(t)[0] is State.UNCONFIRMED


def test_a_scope_whose_state_cannot_be_told_is_not_stopped_again() -> None:
    t = looked(stop_of_scope(AnswerClass.UNKNOWN), 1_100.0, waiting=False)
    following = next_step(t, SETTINGS, PROVIDERS["sonarly"].capabilities)
    assert (following.step, following.at) == ("close", 1_100.0 + CONFIRM_WITHIN)


def test_a_look_before_the_latest_request_says_nothing_of_it() -> None:
    capabilities = PROVIDERS["bland"].capabilities
    t = looked(told(decision()), 1_005.0, waiting=True)
    t = told(attempt(1, 1_010.0), answered(AnswerClass.ACCEPTED, 1, 1_011.0), known=t)
    assert next_step(t, SETTINGS, capabilities).step == "look"


def everything(since: float = 1_000.0) -> StoredOrderBook:
    book = StoredOrderBook()
    book.put_order(order(scope=WHOLE, reach=Reach.EVERYTHING, at=since), 0)
    return book


def covering(*answers: AnswerClass | None) -> Any:
    """Find the stop of the campaign under the id that the correlator gave it."""
    stop = replace(stop_of_scope(*answers), termination_id=scope_termination_id(ACCOUNT, "order-1", 0))
    return {stop.termination_id: stop}.get


def test_a_call_of_a_scope_waits_for_the_answer_to_its_stop() -> None:
    t = told(decision())
    assert must_wait(t, everything(), covering())
    assert must_wait(t, everything(), covering(None))
    assert must_wait(t, everything(), covering(AnswerClass.THROTTLED))
    assert not must_wait(t, everything(), covering(AnswerClass.ACCEPTED))
    assert not must_wait(t, everything(), lambda _: None)


@pytest.mark.parametrize("answer", [AnswerClass.ACCEPTED, AnswerClass.UNKNOWN])
def test_a_call_that_waited_in_a_scope_shares_the_request_that_stopped_it(answer: AnswerClass) -> None:
    t = told(decision())
    t = told(*shared_request(t, everything(), covering(answer)), known=t)
    assert (t.sends, t.attempts[0].request_id, t.attempts[0].at) == (1, "request-1", 1_010.0)
    assert t.state is (State.ACCEPTED if answer is AnswerClass.ACCEPTED else State.UNKNOWN)
    assert told(ended(Status.CANCELLED), known=t).state is State.CONFIRMED
    assert next_step(t, SETTINGS, PROVIDERS["ringg"].capabilities).step == "look"


def test_a_call_that_is_cancelled_before_the_answer_comes_is_confirmed() -> None:
    t = told(decision(), ended(Status.CANCELLED))
    assert told(*shared_request(t, everything(), covering(None)), known=t).state is State.CONFIRMED


@pytest.mark.parametrize("answer", [AnswerClass.THROTTLED, AnswerClass.CREDENTIALS, AnswerClass.NOT_FOUND])
def test_a_stop_of_a_scope_that_was_refused_is_nobodys_request(answer: AnswerClass) -> None:
    assert shared_request(told(decision()), everything(), covering(answer)) == []


def test_a_call_that_came_after_the_order_is_stopped_by_its_id() -> None:
    event = Position("call-events", 0, 7)
    came_later = told(decision(evidence=(event,), decided_at=1_500.0))
    was_there = told(decision(evidence=(event,), decided_at=900.0))
    assert shared_request(came_later, everything(), covering(AnswerClass.ACCEPTED)) == []
    assert not must_wait(came_later, everything(), covering(None))
    assert shared_request(was_there, everything(), covering(AnswerClass.ACCEPTED)) != []


def test_a_call_shares_the_request_that_named_its_number() -> None:
    numbers = [f"+91888287{n:04d}" for n in range(150)]
    book = StoredOrderBook()
    book.put_order(order(scope=Scope.numbers(numbers), reach=Reach.EVERYTHING), 0)
    second = replace(stop_of_scope(AnswerClass.ACCEPTED), termination_id=scope_termination_id(ACCOUNT, "order-1", 1))
    find = {second.termination_id: second}.get
    assert shared_request(told(decision(number=numbers[120])), book, find) != []
    assert shared_request(told(decision(number=numbers[20])), book, find) == []
