"""What is decided without CEL is what CEL decides: numbers, texts and nulls beside literals, of the event and of the call."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.calls import Call
from consumer.model.status import EventType, Status
from handlers.rules.cel import Expression
from tests.unit.values import event, folded

SIGNS = st.sampled_from(["<", "<=", ">", ">=", "=="])
NUMBERS = st.sampled_from(["0", "2", "3", "-1", "2.0", "2.5", "600.0", "9007199254740993"])
FIELDS = st.sampled_from(
    [
        *("event.analysis.score", "event.cost", "event.duration_seconds", "event.attempt", "event.raw.a.b"),
        *("call.attempts_finished", "call.attempt", "call.episode", "call.first_at"),
    ]
)
COMPARED = st.builds("{} {} {}".format, FIELDS, SIGNS, NUMBERS)
OTHERS = st.sampled_from(
    [
        "event.analysis.score == 'bad'",
        'event.raw.a.b == "bad"',
        "call.number == '+15550000001'",
        "call.number != null",
        "call.campaign_id == 'c-1'",
        "call.connected",
        "call.terminable",
        "call.status == 'completed'",
        "event.analysis.score",
        "1 / 0 == 1",
    ]
)
EXPRESSIONS = st.lists(st.one_of(COMPARED, OTHERS), min_size=1, max_size=3).map(" && ".join)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 2, 3, 2.0, 2.5, -1, 601, 9007199254740992, 9007199254740993, 1e300, "bad", "", [], {}]
)
FIGURES = st.sampled_from([None, 0.0, 0.5, 2, 600.0])


def a_call(numbered: bool, status: Status, attempt: int | None) -> Call:
    number = "+15550000001" if numbered else None
    return folded(
        event("a", status, attempt=attempt, number=number, connected=status is Status.COMPLETED, logged_at=2.0)
    )


CALLS = st.builds(a_call, st.booleans(), st.sampled_from(Status), st.sampled_from([None, 0, 3]))


@given(EXPRESSIONS, CALLS, VALUES, VALUES, FIGURES, FIGURES)
def test_what_is_decided_without_cel_is_what_cel_decides(
    text: str, call: Call, score: Any, deep: Any, cost: float | None, seconds: float | None
) -> None:
    asked = Expression(text, rule="mine")
    of = event(
        type=EventType.ANALYSIS,
        analysis={"score": score},
        raw={"a": {"b": deep}},
        cost=cost,
        duration_seconds=seconds,
        attempt=2,
    )
    try:
        by_cel: bool | str = asked.value_for(of, call, {}) is True
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must be the same
        by_cel = type(error).__name__
    wanted = asked.wants is None or asked.wants(of)
    try:
        found: bool | str = wanted and asked.true_for(of, call, {})
    except Exception as error:  # noqa: BLE001 -- as above
        found = type(error).__name__
    assert found == by_cel, (text, score, deep)
