"""A webhook may name any number, and none may keep the events behind it from being counted."""

import sqlite3

import pytest

from consumer.correlate.calls import SCHEMA as CALLS_SCHEMA
from consumer.correlate.calls import Calls
from consumer.correlate.totals import SCHEMA, Totals
from consumer.guard.sums import SCHEMA as SUMS_SCHEMA
from consumer.guard.sums import Sums
from consumer.model.calls import MOST, fold
from consumer.model.events import Position
from consumer.model.status import Status
from consumer.model.totals import Measure, ScopeTotals, decode_totals, encode_totals
from tests.unit.values import ACCOUNT, event

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
        totals.add([(one, None, call)])
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
