import re
import sys
from types import ModuleType
from typing import Any

import pytest

from consumer.model import Call, CallEvent, EventType, Over, Stop, Totals, rule
from consumer.model.orders import OPT_OUT, RULE, Mode
from consumer.model.rules import EventRule, RuleError, configured
from consumer.model.scopes import Scope, ScopeError, ScopeKind
from handlers.rules.catalog import find
from handlers.rules.opt_out import opt_out
from tests.unit.values import event, waiting_call

NUMBER = "+919875436897"
DAY = 86_400.0
CALL = waiting_call(number=NUMBER, campaign_id="campaign-1", agent_id="agent-1")


def analysed(**analysis: Any) -> CallEvent:
    return event("analysis", type=EventType.ANALYSIS, analysis=analysis)


@pytest.mark.parametrize("finding", ["opt_out", "opted_out", "do_not_call", "dnc", "unsubscribe", "never_call_again"])
@pytest.mark.parametrize("value", [True, 1, "true", "TRUE", " yes "])
def test_who_asked_not_to_be_called_is_not_called_for_thirty_days(finding: str, value: Any) -> None:
    stop = opt_out(analysed(**{finding: value}), CALL)
    assert stop is not None
    assert (stop.scope, stop.hold) == (Scope.numbers([NUMBER]), 30 * DAY)
    assert finding in stop.reason
    assert NUMBER not in stop.reason


@pytest.mark.parametrize("value", [False, None, 0, 2, "false", "no", "", [], {}, {"value": True}, [True]])
def test_anything_else_is_no_wish_to_be_left_alone(value: Any) -> None:
    assert opt_out(analysed(opt_out=value), CALL) is None
    assert opt_out(analysed(), CALL) is None


def test_an_opt_out_of_a_call_without_a_number_stops_nothing() -> None:
    assert opt_out(analysed(opt_out=True), waiting_call()) is None


def test_opt_outs_have_a_lane_of_their_own_under_either_spelling() -> None:
    assert opt_out.on == {EventType.ANALYSIS}
    assert opt_out.lane == configured(opt_out, name="opt-out", mode=Mode.ENFORCE).lane == OPT_OUT
    assert configured(opt_out, name="angry", mode=Mode.SHADOW).lane == RULE


@pytest.mark.parametrize(
    ("kind", "scope", "hold"),
    [
        (ScopeKind.CALL, Scope.calls(["call-1"]), 0.0),
        (ScopeKind.NUMBER, Scope.numbers([NUMBER]), 30 * DAY),
        (ScopeKind.CAMPAIGN, Scope.campaign("campaign-1"), None),
        (ScopeKind.AGENT, Scope.agent("agent-1"), None),
        (ScopeKind.NUMBER_IN_CAMPAIGN, Scope.numbers_in_campaign("campaign-1", [NUMBER]), 30 * DAY),
    ],
)
def test_what_a_rule_stops_is_what_the_call_says(kind: ScopeKind, scope: Scope, hold: float | None) -> None:
    stop = Stop.of_kind(kind, CALL, reason="because")
    assert (stop.scope, stop.hold) == (scope, hold)
    assert Stop.of_kind(kind, CALL, reason="because", hold="90s").hold == 90.0
    assert Stop.of_kind(kind, CALL, reason="because", hold="until-released").hold is None
    assert Stop.of_kind(kind, CALL, reason="because", hold=0).hold == 0.0


@pytest.mark.parametrize("kind", sorted(set(ScopeKind) - {ScopeKind.CALL}))
def test_what_the_call_does_not_say_cannot_be_stopped(kind: ScopeKind) -> None:
    with pytest.raises(RuleError, match="does not say"):
        Stop.of_kind(kind, waiting_call(), reason="because")


@pytest.mark.parametrize(
    "wrong", [{"reason": None}, {"reason": " "}, {"scope": NUMBER}, {"hold": "30d"}, {"hold": -1.0}, {"reach": "known"}]
)
def test_a_stop_that_is_not_whole_cannot_be_made(wrong: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"scope": Scope.numbers([NUMBER]), "reason": "because", "hold": 0.0}
    with pytest.raises(RuleError, match=f"the stop('s| has no) .*{next(iter(wrong))}"):
        Stop(**whole | wrong)


def test_a_number_that_is_no_number_cannot_be_stopped() -> None:
    with pytest.raises(ScopeError, match=r"E\.164"):
        Stop.number("0123", reason="because")


def test_a_rule_keeps_its_name_version_and_the_hash_of_its_source() -> None:
    @rule(on=["analysis", "finished"], name="angry", version="7")
    def one(event: CallEvent, call: Call) -> Stop | None:
        return None

    @rule
    def two(event: CallEvent, call: Call) -> Stop | None:
        return Stop.call(call.call_id, reason="because")

    assert (one.name, one.version, one.on) == ("angry", "7", frozenset({EventType.ANALYSIS, EventType.FINISHED}))
    assert (two.name, two.version, two.on) == ("two", "1", frozenset(EventType))
    assert one.hash != two.hash
    assert two(analysed(), CALL) == Stop.call("call-1", reason="because")


def test_an_event_type_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(RuleError, match="queued, started, finished"):

        @rule(on="ended")
        def one(event: CallEvent, call: Call) -> Stop | None:
            return None


@pytest.mark.parametrize(
    ("over", "says"),
    [
        (("campaigns", "10m"), "there are no totals over 'campaigns'; there are campaign, agent, account, number"),
        (("campaign", "10"), "over.window: a duration needs a unit"),
        (("campaign", "0s"), "more than nothing and at most 31d"),
        (("campaign", "32d"), "more than nothing and at most 31d"),
        (("campaign", 60.0, -1), "at_least of 0 or more"),
    ],
)
def test_totals_that_there_are_not_are_refused(over: tuple[Any, ...], says: str) -> None:
    with pytest.raises(RuleError, match=re.escape(says)):
        Over(*over)


def one_over_cost(told: CallEvent) -> float | None:
    return 1 / (told.cost or 0.0)


def test_a_rule_sees_events_or_totals_and_adds_up_what_an_event_has() -> None:
    def one(totals: Totals) -> Stop | None:
        return None

    with pytest.raises(RuleError, match="either events"):
        rule(on="analysis", over=Over("campaign", "1h"))(one)  # type: ignore[call-overload]
    with pytest.raises(RuleError, match="measure 'm': an event has no 'analisys'"):
        rule(over=Over("campaign", "1h"), measures={"m": "analisys.score"})(one)
    made = rule(over=Over("campaign", "1h"), measures={"m": one_over_cost})(one)
    assert made.measures["m"].of(event(cost=0.0)) is None  # a measure that raises adds nothing
    assert made.measures["m"].of(event(cost=2.0)) == 500_000


def test_totals_stop_their_own_scope_or_every_campaign_of_an_account() -> None:
    number = Totals("acme", "number", NUMBER, 0.0)
    (stop,) = number.stops(reason="because", values={"a": 1})
    assert (stop.scope, stop.hold, stop.values) == (Scope.numbers([NUMBER]), 30 * DAY, {"a": 1})
    account = Totals("acme", "account", "", 0.0, heard_of={"campaign": ("a", "b")})
    assert [one.hold for one in account.stops(reason="because", hold="1h")] == [3_600.0, 3_600.0]
    assert [one.hold for one in account.stops(reason="because", hold="until-released")] == [None, None]
    with pytest.raises(RuleError, match="totals have no 'fialed'; there are queued"):
        account.share("fialed", "finished")


def test_rules_are_found_by_entry_point_or_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ModuleType("my_rules")
    mine.found, mine.plain = opt_out, len  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_rules", mine)
    assert find("my_rules:found") is opt_out
    assert isinstance(find("opt_out"), EventRule)
    assert find("opt-out") is find("opt_out")
    for handler, reason in [
        ("my_rules:absent", "has no 'absent'"),
        ("my_rules:plain", "decorate it with @rule"),
        ("no_such_module:rule", "cannot be imported"),
        ("no_such_rule", "there are .*opt_out"),
    ]:
        with pytest.raises(RuleError, match=reason):
            find(handler)
