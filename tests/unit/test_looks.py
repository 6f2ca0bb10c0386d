from typing import Any

import pytest

from consumer.model.orders import OrderRecord
from consumer.model.provider import Answer, Look, ScopeState
from consumer.model.scopes import Scope
from consumer.model.status import Status
from consumer.model.termination_codec import decode_termination_record, encode_termination_record
from consumer.model.terminations import (
    AnswerClass,
    Decision,
    Looked,
    Record,
    Result,
    State,
    Termination,
    contribution,
    fold_termination,
)
from consumer.terminate import looks
from tests.unit.values import answered, attempt, decision, event, order

NOW = 1_200.0
ACCEPTED = Answer(AnswerClass.ACCEPTED)
NOT_FOUND = Answer(AnswerClass.NOT_FOUND, "no such call")
NUMBER = "+918882876897"


def told(*records: Record, known: Termination | None = None) -> Termination:
    for record in records:
        known = fold_termination(known, record)
    assert known is not None
    return known


def waiting() -> Termination:
    return told(decision())


def sent(**answer: Any) -> Termination:
    return told(decision(), attempt(), answered(AnswerClass.ACCEPTED, **answer))


def seen(status: Status | None, **given: Any) -> Look:
    return Look(ACCEPTED, event("look", status, source="history", **given))


def after(t: Termination, look: Look) -> Termination:
    return told(*looks.records_of_look(t, look, NOW), known=t)


@pytest.mark.parametrize("status", [Status.REGISTERED, Status.RETRY])
def test_a_call_that_still_waits_is_not_over_whatever_was_answered(status: Status) -> None:
    t = after(sent(), seen(status))
    assert t.state is State.ACCEPTED
    assert t.looked_since is not None
    assert t.looked_since.waiting


def test_a_cancelled_call_is_confirmed_only_where_a_request_was_made() -> None:
    assert after(sent(), seen(Status.CANCELLED)).state is State.CONFIRMED
    assert after(waiting(), seen(Status.CANCELLED)).state is State.MISSED


@pytest.mark.parametrize("status", [Status.ONGOING, Status.COMPLETED, Status.FAILED, Status.ERROR])
def test_a_call_that_went_on_is_missed(status: Status) -> None:
    t = after(sent(), seen(status))
    assert t.state is State.MISSED
    assert t.final is not None
    assert (t.final.confirmed_by, t.final.late_seconds) == ("history", None)


def test_a_call_that_the_provider_does_not_know_is_not_found_unless_it_was_seen_to_wait() -> None:
    assert after(sent(), Look(NOT_FOUND)).state is State.NOT_FOUND
    t = waiting()
    t = told(Looked(t.termination_id, t.account, t.call_id, t.episode, 1_005.0, waiting=True), known=t)
    assert after(t, Look(NOT_FOUND)).state is State.NOT_FOUND
    stopped = told(attempt(), answered(AnswerClass.ACCEPTED), known=t)
    assert after(stopped, Look(NOT_FOUND)).state is State.CONFIRMED


@pytest.mark.parametrize(
    "look", [Look(Answer(AnswerClass.UNKNOWN, "HTTP 500")), Look(ACCEPTED), Look(ACCEPTED, event("look", None))]
)
def test_a_look_that_says_nothing_of_the_call_changes_nothing(look: Look) -> None:
    assert looks.records_of_look(sent(), look, NOW) == []


def whole(scope: Scope, **answer: Any) -> Termination:
    stop = decision(call_id="", scope=scope, campaign_id=scope.campaign_id)
    return told(stop, attempt(call_id=""), answered(AnswerClass.ACCEPTED, call_id="", **answer))


CAMPAIGN = whole(Scope.campaign("campaign-1"), reported=27)


@pytest.mark.parametrize(
    ("state", "expected", "waits"),
    [
        (ScopeState(ACCEPTED, stopped=True), State.CONFIRMED, False),
        (ScopeState(ACCEPTED, stopped=False), State.ACCEPTED, True),
        (ScopeState(ACCEPTED, stopped=None), State.ACCEPTED, False),
        (ScopeState(NOT_FOUND), State.NOT_FOUND, False),
    ],
)
def test_a_scope_is_confirmed_by_its_state_and_by_nothing_else(state: ScopeState, expected: State, waits: bool) -> None:
    t = told(*looks.records_of_scope_state(CAMPAIGN, state, NOW), known=CAMPAIGN)
    assert t.state is expected
    assert [look.waiting for look in t.looks] == [waits]


def test_a_state_that_could_not_be_read_changes_nothing() -> None:
    refused = ScopeState(Answer(AnswerClass.UNKNOWN, "HTTP 502"))
    assert looks.records_of_scope_state(CAMPAIGN, refused, NOW) == []


def test_what_the_provider_says_it_stopped_stands_beside_what_was_known_to_wait() -> None:
    records = looks.records_of_scope_state(CAMPAIGN, ScopeState(Answer(AnswerClass.ACCEPTED, "stopped"), True), NOW)
    looked, final = looks.compared(CAMPAIGN, records, 25)
    assert looked == records[0]
    assert isinstance(final, Result)
    assert final.detail == "stopped; it says that it stopped 27 calls; 25 were known to wait"
    silent = whole(Scope.campaign("campaign-1"))
    assert looks.compared(silent, records, 25) == records


SCOPES = [
    (Scope.campaign("campaign-1"), {"campaign_id": "campaign-1"}, {"campaign_id": "campaign-2"}),
    (Scope.agent("agent-1"), {"agent_id": "agent-1"}, {"agent_id": "agent-2"}),
    (Scope.numbers([NUMBER]), {"number": NUMBER}, {"number": "+918882876898"}),
    (
        Scope.numbers_in_campaign("campaign-1", [NUMBER]),
        {"number": NUMBER, "campaign_id": "campaign-1"},
        {"number": NUMBER, "campaign_id": "campaign-2"},
    ),
    (Scope.calls(["call-1"]), {"call_id": "call-1"}, {"call_id": "call-2"}),
]


@pytest.mark.parametrize(("scope", "inside", "outside"), SCOPES)
def test_a_scope_is_confirmed_when_no_call_of_it_is_listed_as_waiting(
    scope: Scope, inside: dict[str, str], outside: dict[str, str]
) -> None:
    t = whole(scope)
    one, other = event("inside", Status.REGISTERED, **inside), event("outside", Status.RETRY, **outside)
    left = told(*looks.records_of_scope_history(t, [one, other], NOW), known=t)
    assert left.state is State.ACCEPTED
    assert left.looks[-1].waiting
    assert told(*looks.records_of_scope_history(t, [other], NOW), known=t).state is State.CONFIRMED
    assert told(*looks.records_of_scope_history(t, [], NOW), known=t).state is State.CONFIRMED


NAMED = OrderRecord(order(scope=Scope.calls(["call-1"])))


@pytest.mark.parametrize(
    ("look", "outcome"),
    [
        (Look(NOT_FOUND), State.NOT_FOUND),
        (seen(Status.ONGOING), State.MISSED),
        (seen(Status.COMPLETED), State.MISSED),
        (seen(Status.CANCELLED), State.MISSED),
    ],
)
def test_a_named_call_that_nothing_was_decided_about_gets_its_outcome_from_the_look(look: Look, outcome: State) -> None:
    records = looks.records_of_named(NAMED, "call-1", look, NOW)
    assert [type(record) for record in records] == [Result, Decision]
    t = told(*records)
    assert (t.state, t.orders, t.call_id) == (outcome, ("order-1",), "call-1")
    assert contribution(t) == ("matched", outcome.value)
    assert told(*reversed(records)) == t


@pytest.mark.parametrize("look", [seen(Status.REGISTERED), seen(None), Look(Answer(AnswerClass.UNKNOWN))])
def test_a_named_call_that_waits_or_that_nothing_is_known_of_has_no_outcome_yet(look: Look) -> None:
    assert looks.records_of_named(NAMED, "call-1", look, NOW) == []


def test_a_stop_of_a_whole_scope_names_no_call_and_is_read_back_as_it_was_written() -> None:
    stop = decision(call_id="", scope=Scope.campaign("campaign-1"), campaign_id="campaign-1")
    for record in (stop, attempt(call_id=""), answered(AnswerClass.ACCEPTED, call_id="")):
        assert decode_termination_record(encode_termination_record(record)) == record
