"""Why a call was not stopped: its life told again, the orders aimed at it, the rules asked once more."""

from typing import Any

import pytest

from consumer.console.call_life import Wait, life_of
from consumer.console.reask import reask
from consumer.console.why_not import About, Why, why
from consumer.model import Call, CallEvent, Stop, rule
from consumer.model.controls import Controls, Lever, RuleMode
from consumer.model.events import Position
from consumer.model.orders import Author, Fact, FactKind, Mode, OrderRecord
from consumer.model.over import Over
from consumer.model.protected import Protected
from consumer.model.rules import configured
from consumer.model.scopes import ScopeKind
from consumer.model.status import EventType, Status
from consumer.model.stops import Aim
from consumer.model.terminations import AnswerClass, Ended, Termination
from consumer.model.throttles import Matches, Throttle
from handlers.rules.cel import cel_rule
from handlers.rules.cel_totals import cel_totals_rule
from tests.unit.values import ACCOUNT, OPERATOR, RULE, answered, attempt, event, folded, order, waiting_call

NOW = 2_000.0
CALL = waiting_call(campaign_id="campaign-1", number="+918882876897", logged_at=1_000.0)
STANDING = [Wait(0, 1_000.0)]
NOTHING = Protected()


def given(*facts: tuple[FactKind, float], **fields: Any) -> OrderRecord:
    record = OrderRecord(order(**{"at": 1_100.0, "hold": None} | fields))
    for kind, at in facts:
        record = record.with_fact(Fact("order-1", kind, Author("operator", "eva"), "her reason", at))
    return record


def asked(record: OrderRecord, waits: list[Wait] | None = None, *decided: Termination, **more: Any) -> Why:
    about = About(CALL, STANDING if waits is None else waits, decided)
    return why(record, about, more.get("protected", NOTHING), more.get("controls", Controls()), NOW)


def decided(**fields: Any) -> Termination:
    known: dict[str, Any] = {
        "termination_id": "t",
        "account": ACCOUNT,
        "call_id": "call-1",
        "episode": 0,
        "orders": ("order-1",),
    }
    return Termination(**(known | {"decided_at": 1_200.0, "mode": Mode.ENFORCE} | fields))


def test_an_order_that_nobody_has_let_through_says_who_it_waits_for() -> None:
    assert asked(given(by=RULE)).code == "proposed"
    held = asked(given((FactKind.HELD, 1_101.0), by=RULE))
    assert (held.code, held.text) == ("awaiting_approval", "the order waits for approval: her reason")
    rejected = asked(given((FactKind.HELD, 1_101.0), (FactKind.REJECTED, 1_102.0), by=RULE))
    assert rejected.code == "rejected"
    assert "eva" in rejected.text


def test_what_is_protected_is_spared_by_rules_only() -> None:
    protected = Protected(campaigns=frozenset({"campaign-1"}))
    admitted = given((FactKind.ADMITTED, 1_101.0), by=RULE)
    assert asked(admitted, protected=protected).code == "protected"
    assert asked(given(by=OPERATOR), protected=protected).code == "on_its_way"


def test_an_order_and_a_call_that_never_met_say_which_was_over_first() -> None:
    gone = asked(given(), [Wait(0, 1_000.0, 1_050.0, Status.ONGOING)])
    assert gone.code == "not_terminable"
    assert "ongoing since 1970-01-01T00:17:30" in gone.text
    released = given((FactKind.RELEASED, 1_150.0))
    assert asked(released, [Wait(0, 1_500.0)]).code == "released"
    assert asked(given(hold=100.0), [Wait(0, 1_500.0)]).code == "expired"
    assert asked(given(), []).code == "not_terminable"


def test_an_order_that_holds_once_is_for_what_waited_then() -> None:
    assert asked(given(hold=0.0), [Wait(1, 1_500.0)]).code == "once"
    assert asked(given(hold=0.0), [Wait(0, 1_000.0)]).code == "on_its_way"


@pytest.mark.parametrize(
    ("termination", "record", "code"),
    [
        (decided(mode=Mode.SHADOW), given(mode=Mode.SHADOW), "shadow"),
        (decided(mode=Mode.SHADOW), given(mode=Mode.CANARY, canary_share=0.000001), "canary"),
        (decided(), given(), "waiting"),
    ],
)
def test_a_decision_that_stopped_nothing_says_why(termination: Termination, record: OrderRecord, code: str) -> None:
    found = asked(record, None, termination)
    assert (found.stopped, found.code) == (False, code)


def test_an_order_in_shadow_stopped_nothing_although_the_call_was_stopped() -> None:
    stopped = decided(attempts=(attempt(),), results=(answered(AnswerClass.ACCEPTED),))
    assert asked(given(), None, stopped).stopped
    recorded = asked(given(mode=Mode.SHADOW), None, stopped)
    assert (recorded.stopped, recorded.code) == (False, "shadow")
    assert "another order had the call stopped" in recorded.text


def test_the_safety_lever_holds_back_what_only_rules_want() -> None:
    controls = Controls(lever=Lever(True, "too many errors", OPERATOR))
    record = given((FactKind.ADMITTED, 1_101.0), by=RULE)
    found = asked(record, None, decided(), controls=controls)
    assert (found.code, "too many errors" in found.text) == ("lever", True)
    assert asked(given(), None, decided(), controls=controls).code == "waiting"


def test_a_call_that_left_before_the_request_was_missed() -> None:
    ended = Ended("t", ACCOUNT, "call-1", 0, Status.ONGOING, 1_300.0)
    assert asked(given(), None, decided(ended=ended)).code in {"missed", "withdrawn"}


def test_a_life_told_again_knows_each_wait_and_counts_duplicates_once() -> None:
    events = [
        event("a", Status.REGISTERED, logged_at=1.0),
        event("a", Status.REGISTERED, logged_at=2.0),
        event("b", Status.ONGOING, attempt=0, logged_at=3.0),
        event("c", Status.RETRY, attempt=0, logged_at=4.0),
        event("d", Status.COMPLETED, attempt=1, logged_at=9.0),
    ]
    life = life_of(events)
    assert [one.event_id for one, _ in life.steps] == ["a", "b", "c", "d"]
    assert life.waits == [Wait(0, 1.0, 3.0, Status.ONGOING), Wait(1, 4.0, 9.0, Status.COMPLETED)]
    assert life.last == folded(*events)


@rule(on="analysis")
def stumbles(event: CallEvent, call: Call) -> Stop | None:
    raise ZeroDivisionError("of its own")


def test_rules_asked_once_more_say_what_they_saw() -> None:
    aim = Aim(ScopeKind.CALL, 0.0)
    angry = cel_rule("angry", "event.analysis.anger > 3", aim=aim, reason="angry", params={})
    finished = cel_rule("late", "event.type == 'finished'", aim=aim, reason="late", params={})
    failing = cel_totals_rule(
        "failing",
        "totals.failed > 3",
        over=Over("campaign", "10m"),
        measures={},
        aim=Aim(ScopeKind.CAMPAIGN, None),
        reason=None,
        params={},
    )
    told = [
        event("a", type=EventType.ANALYSIS, analysis={"anger": 2}, position=Position("call-events", 0, 7)),
        event("b", type=EventType.ANALYSIS, analysis={"anger": 5}),
    ]
    controls = Controls(modes={"angry": RuleMode("angry", Mode.SHADOW, "careful", OPERATOR)})
    one, two, three, four = reask([angry, finished, stumbles, failing], life_of(told).steps, controls)
    assert (one["rule"], one["mode"], one["asked"], one["matched"]) == ("angry", "shadow", 2, 1)
    assert [(a["matched"], a["values"]) for a in one["answers"]] == [
        (False, {"event.analysis.anger": 2}),
        (True, {"event.analysis.anger": 5}),
    ]
    assert one["answers"][0]["evidence"] == {"topic": "call-events", "partition": 0, "offset": 7}
    assert (two["asked"], two["note"]) == (0, "it looks at finished events, and there was none")
    assert three["answers"][0]["error"] == "ZeroDivisionError: of its own"
    assert "whole campaign within 10m" in four["note"]


def test_a_match_that_a_throttle_may_have_kept_from_an_order_says_so() -> None:
    angry = cel_rule("angry", "event.analysis.anger > 3", aim=Aim(ScopeKind.CALL, 0.0), reason="angry", params={})
    throttle = Throttle(once_per=3_600.0, matches=Matches(2, 600.0, of=9), cool_down=60.0)
    throttled = configured(angry, name="angry", throttle=throttle)
    calm, told = (event("a", type=EventType.ANALYSIS, analysis={"anger": anger}) for anger in (1, 5))
    (one,) = reask([throttled], life_of([calm]).steps, Controls())
    assert one["note"] is None
    (one,) = reask([throttled], life_of([told]).steps, Controls())
    assert one["note"] == (
        "a match need not have become an order, for its throttle says: an order takes 2 matches of the last 9 events"
        " within 10m; at most one order for a scope in 1h; none for 1m after one has ended"
    )
