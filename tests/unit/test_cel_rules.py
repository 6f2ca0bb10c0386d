import copy
from typing import Any

import pytest

from consumer.model.events import CallEvent
from consumer.model.orders import Reach
from consumer.model.rules import RuleError
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import EventType, Status
from handlers.rules.cel import Aim, Expression, cel_rule
from tests.unit.values import event, folded, waiting_call

CALL = waiting_call(number="+919875436897", campaign_id="campaign-1")


def true(text: str, of: CallEvent | None = None, **params: Any) -> bool:
    return Expression(text, rule="mine").true_for(of or event(), CALL, params)


def analysed(**analysis: Any) -> CallEvent:
    return event("analysis", type=EventType.ANALYSIS, analysis=analysis)


def refusal(text: str) -> str:
    with pytest.raises(RuleError) as refused:
        Expression(text, rule="mine")
    return str(refused.value)


@pytest.mark.parametrize(
    ("analysis", "expected"),
    [
        ({"opt_out": True}, True),
        ({"opt_out": False}, False),
        ({"opt_out": None}, False),
        ({}, False),
    ],
)
def test_the_example_of_the_manual(analysis: dict[str, Any], expected: bool) -> None:
    assert true('event.type == "analysis" && event.analysis.opt_out', analysed(**analysis)) is expected
    assert not true('event.type == "analysis" && event.analysis.opt_out', event())


@pytest.mark.parametrize(
    "text",
    [
        "event.attempt == null",
        "event.analysis.score == null",
        "event.raw.a.b.c.d == null",
        "event.args.tier != 'gold'",
        "params.limit == null",
        "call.agent_id == null",
        "event.analysis.score == null || event.analysis.score > 5.0",
        "event.raw.a == null || event.raw.a.b == 1",
        "!has(event.analysis.opt_out)",
        "!has(event.raw.deep.er)",
        "has(event.type)",
    ],
)
def test_absent_is_null(text: str) -> None:
    assert true(text)


@pytest.mark.parametrize(
    "text",
    [
        "event.analysis.score > 5",
        "event.analysis.summary.contains('x')",
        "event.number.startsWith('+91')",
        "!event.analysis.opt_out",
        "event.analysis.opt_out",
        "event.raw.items.exists(x, x.name == 'a')",
        "event.raw.items[0] == 1",
        "size(event.analysis.summary) > 3",
        "has(event.raw.a.b)",
        "event.status.code == 1",
        "int(event.analysis.score) > 3",
    ],
)
def test_what_cannot_be_decided_for_want_of_a_value_is_not_true_and_no_error(text: str) -> None:
    assert not true(text)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("event.raw.a.b.c.d == 1", {"a": {"b": {"c": {"d": 1}}}}),
        ("event.raw.a.b.c.d == null", {"a": {"b": {"c": {"d": None}}}}),
        ("event.raw.a.b.c.d == null && event.raw.a.x == 5", {"a": {"b": None, "x": 5}}),
        ("event.raw.a.b.size() == 3", {"a": {"b": "abc"}}),
        ("event.raw.items.exists(x, x.event.kind == 'a')", {"items": [{"event": {"kind": "a"}}]}),
        ("event.raw.items.filter(i, i > 2).size() == 1", {"items": [1, 2, 3]}),
        ("event . raw\n.a == 1", {"a": 1}),
        ("event.raw['a'] == 1", {"a": 1}),
    ],
)
def test_paths_lead_as_deep_as_they_are_written(text: str, body: dict[str, Any]) -> None:
    assert true(text, event(raw=body))


def test_an_event_is_never_changed_by_being_asked_about() -> None:
    body = {"a": {"b": None}, "list": [{}]}
    asked = event(raw=copy.deepcopy(body), args=copy.deepcopy(body), analysis=copy.deepcopy(body))
    params = copy.deepcopy(body)
    for field in ("raw", "args", "analysis"):
        assert not true(f"event.{field}.a.b.c == 1 && event.{field}.a.d == 2 && params.a.b.c == 1", asked, **params)
    assert asked.raw == asked.args == asked.analysis == params == body


@pytest.mark.parametrize(
    "text",
    [
        "event.args.said == 'event.x'",
        'event.args.said == "event.x"',
        "event.args.said == r'event.x'",
        "event.args.said == '''event.x'''",
        'event.args.said == """event.x"""',
        "event.args.said == 'event' + '.x' // not event.y, nor foo",
        r"event.args.said == 'event.x' || event.args.said == 'it\'s event.x'",
        """event.args.said == "event.x" && event.args.said != \"\"\"a "quoted" event.z\"\"\" """,
    ],
)
def test_what_stands_in_a_text_or_a_comment_is_no_path(text: str) -> None:
    assert true(text, event(args={"said": "event.x"}))


def test_every_field_of_the_manual_is_there() -> None:
    for name in (
        *("type", "status", "attempt", "account", "provider", "call_id", "campaign_id", "agent_id", "number"),
        *("from_number", "at", "duration_seconds", "cost", "analysis", "args", "raw"),
    ):
        assert true(f"event.{name} == null || true")
    for name in (
        *("account", "provider", "call_id", "campaign_id", "agent_id", "number", "from_number", "status", "attempt"),
        *("attempts_finished", "connected", "first_at", "last_at", "terminable", "episode"),
    ):
        assert true(f"call.{name} == null || true")


def test_values_are_what_the_event_and_the_folded_call_say() -> None:
    one = event("e", Status.RETRY, attempt=2, type=EventType.FINISHED, cost=0.5, logged_at=7.0)
    assert true("event.type == 'finished' && event.status == 'retry' && event.attempt == 2 && event.cost > 0.4", one)
    assert true("event.at == 7.0", one)  # the broker's time where the provider gives none
    assert true("event.at == 3.0", one.replaced(at=3.0))
    call = folded(event("a", Status.RETRY, attempt=0), event("b", Status.RETRY, attempt=1))
    asked = Expression("call.attempts_finished >= params.most && call.terminable && call.episode == 2", rule="mine")
    assert asked.true_for(one, call, {"most": 2})
    assert not asked.true_for(one, call, {"most": 3})


def test_an_unknown_field_is_named_with_line_column_and_the_nearest() -> None:
    assert (
        refusal("event.attemt > 1")
        == "rule mine: line 1, column 1: event has no field 'attemt'; did you mean 'attempt'?"
    )
    said = refusal("event.attempt > 1\n  && (\n    'x' == 'event.q' || call.zzz == 1)")
    assert said.startswith("rule mine: line 3, column 25: call has no field 'zzz'; there are account, provider,")


def test_an_unknown_name_is_named_where_it_stands() -> None:
    assert refusal("event.attempt > 1 &&\n evnt.type == 'x'").startswith(
        "rule mine: line 2, column 2: 'evnt' is unknown; did you mean"
    )
    assert "line 1, column 20" in refusal("'foo' == 'foo' &&  foo")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("event.type == ", "line 1, column 15"),
        ("event.type == 'a'\n && event.)", "line 2, column 11"),
        ("a ==== b", "line 1"),
    ],
)
def test_what_does_not_parse_is_refused_with_line_and_column(text: str, where: str) -> None:
    assert refusal(text).startswith(f"rule mine: the expression does not parse: {where}")


def test_an_error_that_is_not_for_want_of_a_value_is_raised_to_be_recorded() -> None:
    with pytest.raises(TypeError):
        true("event.args.a > 1", event(args={"a": "text"}))
    with pytest.raises(TypeError):
        true("event.type == 'analysis' && event.analysis.opt_out", analysed(opt_out="a text"))
    with pytest.raises(ZeroDivisionError):
        true("1 / 0 == 1")


@pytest.mark.parametrize("text", ["1", "'true'", "null", "event.attempt", "event.raw"])
def test_only_true_is_true(text: str) -> None:
    assert not true(text, event(attempt=1))


def test_a_rule_of_an_expression_stops_what_it_aims_at() -> None:
    aim = Aim(ScopeKind.NUMBER, 60.0, Reach.KNOWN)
    made = cel_rule("mine", "event.analysis.angry", aim=aim, reason=None, params={})
    stop = made(analysed(angry=True), CALL)
    assert stop is not None
    assert (stop.scope, stop.hold, stop.reach) == (Scope.numbers(["+919875436897"]), 60.0, Reach.KNOWN)
    assert stop.reason == "mine: event.analysis.angry"
    assert made(analysed(angry=False), CALL) is None
    other = cel_rule("mine", "event.analysis.angry", aim=Aim(ScopeKind.CAMPAIGN, 60.0), reason="so", params={})
    assert made.hash != other.hash
    with pytest.raises(RuleError, match="does not say"):
        made(analysed(angry=True), waiting_call())
