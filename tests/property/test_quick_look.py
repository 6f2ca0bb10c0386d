"""The quick look before an expression: with it and without it the answers are the same, errors included."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.events import CallEvent
from consumer.model.status import EventType, Status
from handlers.rules.cel import Expression
from tests.unit.values import event, waiting_call

CALL = waiting_call(number="+15550000001")
PARTS = st.sampled_from(
    [
        'event.type == "analysis"',
        "'finished' == event.type",
        'event.type in ["analysis", "finished"]',
        'event.status == "completed"',
        'event.status in ["failed","retry"]',
        'event.account == "acme-ringg"',
        'event.campaign_id == "c-1"',
        "event.analysis.opt_out",
        "event.analysis.a.b",
        "!event.analysis.opt_out",
        "has(event.analysis.score)",
        "has(event.status.code)",
        "has(event.status)",
        "has(event.raw.deep.er)",
        "event.analysis.score < 3",
        "event.analysis.score >= event.analysis.least",
        "event.analysis.score == 2",
        "event.analysis.score == 2.5",
        "event.analysis.score != null",
        "event.analysis.score == null",
        "event.analysis.opt_out == true",
        "event.analysis.mood == 'bad'",
        "event.analysis.mood != 'bad'",
        "event.analysis.mood.contains('a && b')",
        "event.analysis.mood.startsWith('b')",
        "event.number.startsWith('+1')",
        "event.number != null",
        "event.cost > 0.1",
        "event.attempt > 0",
        "event.args.tier",
        "event.raw.deep.er == 'x'",
        "event.status.code == 'x'",
        "call.terminable",
        "call.number == '+15550000001'",
        "params.on",
        "1 / 0 == 1",
        "event.analysis.score > params.least",
        "event.raw.items.exists(x, x.a && x.b == 'y')",
    ]
)


def joined(parts: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(["&&", "&&", "||"]), min_size=len(parts) - 1, max_size=len(parts) - 1).map(
        lambda signs: parts[0] + "".join(f" {sign} {part}" for sign, part in zip(signs, parts[1:], strict=True))
    )


EXPRESSIONS = st.recursive(
    PARTS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        .flatmap(joined)
        .flatmap(lambda text: st.sampled_from([text, f"({text})", f"( {text} )", f"!({text})", f"{text} // as said"]))
    ),
    max_leaves=6,
).map(lambda text: text.replace(" // as said", "\n") if text.count("//") else text)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 2, 2.5, 9, "bad", "a && b", "", [], {}, {"b": True}]
)
MAPS = st.dictionaries(st.sampled_from(["opt_out", "score", "mood", "a", "least", "tier"]), VALUES, max_size=4)
EVENTS = st.builds(
    lambda kind, status, attempt, campaign, number, cost, analysis, args, raw: event(
        "e",
        status,
        type=kind,
        attempt=attempt,
        campaign_id=campaign,
        number=number,
        cost=cost,
        analysis=analysis,
        args=args,
        raw=raw,
    ),
    st.sampled_from(EventType),
    st.sampled_from([None, *Status]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, "c-1", "c-2"]),
    st.sampled_from([None, "+15550000001", "+445550000001"]),
    st.sampled_from([None, 0.0, 0.5]),
    MAPS,
    MAPS,
    st.sampled_from([{}, {"deep": {"er": "x"}}, {"deep": 1}, {"items": [{"a": True, "b": "y"}]}, {"items": [{}]}]),
)


def answer(ask: Callable[[], object]) -> bool | str:
    try:
        return ask() is True
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must be the same
        return type(error).__name__


@given(EXPRESSIONS, st.lists(EVENTS, min_size=1, max_size=8))
def test_with_the_quick_look_and_without_the_answers_are_the_same(text: str, events: list[CallEvent]) -> None:
    asked, params = Expression(text, rule="mine"), {"on": True, "least": 1}
    for one in events:
        quick = asked.may_hold(one) and answer(partial(asked.true_for, one, CALL, params))
        assert quick == answer(partial(asked.value_for, one, CALL, params)), (text, one)


def test_the_plain_parts_of_an_expression_are_seen() -> None:
    asked = Expression('(event.type == "analysis" && event.analysis.angry) && event.account == "a"', rule="mine")
    assert asked.on == {EventType.ANALYSIS}
    assert asked.wants is not None
    assert asked.wants(event(type=EventType.ANALYSIS, account="a", analysis={"angry": True}))
    assert asked.wants(event(type=EventType.ANALYSIS, account="a", analysis={"angry": "text"}))  # which is an error
    assert not asked.wants(event(type=EventType.ANALYSIS, account="a", analysis={"angry": False}))
    assert not asked.wants(event(type=EventType.ANALYSIS, account="b", analysis={"angry": True}))
    either = Expression('event.type == "analysis" || event.cost > 1.0', rule="mine")
    assert (either.on, either.wants) == (frozenset(EventType), None)
