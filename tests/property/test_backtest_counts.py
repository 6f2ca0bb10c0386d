"""What a backtest counts in memory is what correlators publish and guard adds up."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from consumer.backtest.counts import Counts
from consumer.backtest.lives import Lives
from consumer.correlate.calls import Calls
from consumer.correlate.shard import SCHEMA
from consumer.correlate.totals import Totals
from consumer.guard.sums import SCHEMA as SUMS_SCHEMA
from consumer.guard.sums import Sums
from consumer.model.calls import fold
from consumer.model.events import CallEvent, Position
from consumer.model.over import KINDS
from consumer.model.status import EventType, Status
from consumer.model.totals import Measure, minute_of
from tests.unit.values import ACCOUNT, event

SCORE = Measure("score", ("analysis", "score"))
SCOPES = [
    (ACCOUNT, "account", ""),
    *((ACCOUNT, "campaign", f"c-{n}") for n in range(2)),
    (ACCOUNT, "agent", "a-0"),
    *((ACCOUNT, "number", f"+1555000000{n}") for n in range(2)),
]


@st.composite
def logs(draw: st.DrawFn) -> list[CallEvent]:
    """Events of a few calls over some minutes, with repetitions, scopes told late and attempts left out."""
    events = []
    logged_at = 60_000.0
    for n in range(draw(st.integers(1, 25))):
        call = draw(st.integers(0, 3))
        logged_at += draw(st.sampled_from([0.0, 1.0, 45.0, 400.0]))
        events.append(
            event(
                f"e{draw(st.integers(0, n))}",
                draw(st.sampled_from([None, *Status])),
                call_id=f"call-{call}",
                type=draw(st.sampled_from(EventType)),
                attempt=draw(st.sampled_from([None, 0, 1])),
                campaign_id=draw(st.sampled_from([None, f"c-{call % 2}"])),
                agent_id=draw(st.sampled_from([None, "a-0"])),
                number=draw(st.sampled_from([None, f"+1555000000{call % 2}"])),
                duration_seconds=draw(st.sampled_from([None, 0.1, 33.333])),
                cost=draw(st.sampled_from([None, 0.07])),
                connected=draw(st.booleans()),
                analysis=draw(st.sampled_from([{}, {"score": 2.5}])),
                logged_at=logged_at,
                position=Position("call-events", 0, n),
            )
        )
    return events


def summed_up_live(events: list[CallEvent]) -> Sums:
    view = sqlite3.connect(":memory:")
    view.executescript(SCHEMA + SUMS_SCHEMA)
    calls = Calls(view)
    totals = Totals(view, source=0, measures=[SCORE], numbers=True, names=True)
    totals.live(True)
    for one in events:
        before = calls.get(one.account, one.call_id)
        after = fold(before, one)
        if after is not before:
            totals.add([(one, before, after, one.logged_at)])
            calls.put(after, before)
    totals.save(view)
    sums = Sums(view)
    for told in totals.to_publish():
        sums.put(told)
    sums.save(view)
    return sums


@given(logs(), st.sampled_from([60, 300, 600, 3_600]))
def test_windows_and_waiting_calls_add_up_alike(events: list[CallEvent], window: int) -> None:
    lives = Lives(72 * 3_600.0)
    counts = Counts(KINDS, [SCORE], lives.open)
    for one in events:
        before = lives.met(one.name, one.logged_at)
        after = fold(before, one)
        if after is not before:
            counts.add(one, before, after)
            lives.put(after, before)
    live = summed_up_live(events)
    last = minute_of(events[-1].logged_at)
    for scope in SCOPES:
        asked = ("/".join(scope), last - window + 60, last)
        found, wanted = counts.within(*asked), live.within(*asked)
        assert (found.figures, found.open) == (wanted.figures, wanted.open), scope
        assert found.sums.keys() == wanted.sums.keys()
        assert found.sums.get("score") == wanted.sums.get("score")
