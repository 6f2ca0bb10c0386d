"""What the totals of a partition count between two saves, whatever webhooks tell."""

import sqlite3

import pytest

from consumer.correlate.calls import SCHEMA as CALLS_SCHEMA
from consumer.correlate.calls import Calls
from consumer.correlate.metrics import EVENTS
from consumer.correlate.totals import SCHEMA, Told, Totals
from consumer.guard.sums import SCHEMA as SUMS_SCHEMA
from consumer.guard.sums import Sums
from consumer.model.calls import MOST, fold
from consumer.model.events import CallEvent, Position
from consumer.model.status import Status
from consumer.model.totals import Measure, ScopeTotals, decode_totals, encode_totals, figures_gained
from tests.unit.values import ACCOUNT, event, folded

GREATEST = 1e15
"""That ingest takes from a webhook."""
CALLS = 30
MINUTE = 1_760_000_040


@pytest.mark.parametrize("told", [GREATEST, -GREATEST, MOST])
def test_what_no_call_can_cost_is_counted_and_summed_up_like_anything_else(told: float) -> None:
    view = sqlite3.connect(":memory:")
    view.executescript(SCHEMA + SUMS_SCHEMA + CALLS_SCHEMA)
    totals, calls = Totals(view, source=0, measures=[Measure("score", ("analysis", "score"))]), Calls(view)
    totals.live(True)
    for n in range(CALLS):
        one = event(
            f"e{n}",
            Status.COMPLETED,
            call_id=f"call-{n}",
            attempt=0,
            duration_seconds=told,
            cost=told,
            connected=True,
            analysis={"score": 1e12},
            logged_at=float(MINUTE),
            position=Position("call-events", 0, n),
        )
        call = fold(None, one)
        totals.add([(one, None, call, one.logged_at)])
        calls.put(call, None)
    calls.save(view)
    totals.save(view)
    published: list[ScopeTotals] = [decode_totals(encode_totals(one)) for one in totals.to_publish()]
    sums = Sums(view)
    for count in published:
        sums.put(count)
    sums.save(view)
    summed = sums.within(f"{ACCOUNT}/account/", MINUTE, MINUTE)
    each = min(max(told, 0.0), MOST)
    assert summed.figures.get("seconds", 0.0) == pytest.approx(CALLS * each)
    assert summed.figures.get("cost", 0.0) == pytest.approx(CALLS * each)
    assert (summed.figures["finished"], summed.figures["connected"]) == (CALLS, CALLS)
    assert summed.sums["score"] == pytest.approx(CALLS * 1e12)
    assert Calls(view).get(ACCOUNT, "call-7") is not None


def at(offset: int, event_id: str, status: Status, call_id: str) -> CallEvent:
    position = Position("call-events", 0, offset)
    return event(
        event_id, status, call_id=call_id, attempt=0, campaign_id="k", logged_at=float(MINUTE), position=position
    )


def test_that_as_many_calls_came_as_went_is_said_too() -> None:
    view = sqlite3.connect(":memory:")
    view.executescript(SCHEMA)
    totals = Totals(view, source=0)
    totals.live(True)
    goes, comes = at(0, "1", Status.REGISTERED, "goes"), at(1, "2", Status.REGISTERED, "comes")
    end, waits = at(2, "3", Status.FAILED, "goes"), folded(goes)
    said = []
    first: Told = goes, None, waits, float(MINUTE)
    then: list[Told] = [(comes, None, folded(comes), float(MINUTE)), (end, waits, folded(goes, end), float(MINUTE))]
    for told in ([first], then):
        totals.add(told)
        totals.save(view)
        said += [(one.open, one.offset) for one in totals.to_publish() if one.kind == "campaign" and one.minute is None]
        totals.save(view)
    assert said == [(1, 0), (1, 2)]


@pytest.mark.parametrize("attempts", [(None, 0), (0, None), (0, 1)])
def test_what_events_have_cost_adds_up_to_what_the_call_did(attempts: tuple[int | None, int | None]) -> None:
    first, second = (
        event(f"e{cost}", Status.RETRY, attempt=n, cost=cost) for n, cost in zip(attempts, (2.0, 3.0), strict=True)
    )
    before, after = folded(first), folded(first, second)
    gained = [figures_gained(None, before), figures_gained(before, after)]
    assert tuple(map(sum, zip(*gained, strict=True))) == after.amounts
    assert after.cost == (5.0 if attempts == (0, 1) else 3.0)


def test_events_are_counted_once_and_what_is_only_read_again_is_not() -> None:
    view = sqlite3.connect(":memory:")
    view.executescript(SCHEMA)
    totals = Totals(view, source=0)
    told = [event(f"e{n}", Status.REGISTERED, call_id=f"counted-{n}", account="counted") for n in range(5)]
    news: list[Told] = [(one, None, fold(None, one), one.logged_at) for one in told]
    counter = EVENTS.labels("counted", told[0].type)
    totals.live(False)
    totals.add(news[:2])
    totals.live(True)
    totals.add(news[2:4])
    totals.add(news[4:])
    totals.save(view)
    totals.save(view)
    assert counter._value.get() == 3
