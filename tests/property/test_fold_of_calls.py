"""A call's true history, delivered in any order, with duplicates, delays and losses."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.calls import SEEN_EVENTS, Call, fold
from consumer.model.events import CallEvent
from consumer.model.status import EventType, Status
from tests.unit.values import event, folded

AN_HOUR = 3_600.0
FINAL = (Status.COMPLETED, Status.FAILED, Status.ERROR, Status.CANCELLED)
WEBHOOK, CALLBACK = "webhook", "callback"


@dataclass(frozen=True)
class History:
    """Every event of a call in true order, and how the call really stands after them."""

    events: tuple[CallEvent, ...]
    status: Status
    attempts_finished: int
    seconds: float
    cost: float

    @property
    def last_attempt(self) -> int | None:
        """None where the call waits or was cancelled while it waited: providers differ in the number they give it."""
        return None if self.status in {Status.RETRY, Status.CANCELLED} else max(self.attempts_finished, 1) - 1


class _Teller:
    """Tells of one call as a provider does: with or without numbers, over one channel or two, with a skewed clock."""

    def __init__(self, draw: st.DrawFn, *, numbered: bool) -> None:
        self._draw = draw
        self._numbered = {kind: numbered or draw(st.booleans()) for kind in EventType}
        self._channels = draw(st.sampled_from([(WEBHOOK,), (CALLBACK,), (WEBHOOK, CALLBACK)]))
        self.events: list[CallEvent] = []

    def tell(self, kind: EventType, status: Status | None, attempt: int, **given: Any) -> None:
        for channel in self._channels:
            # Only one channel may leave the number out: the other tells of the same starts and retries once more.
            numbered = self._numbered[kind] or (channel == CALLBACK and len(self._channels) > 1)
            at = 1_000.0 * attempt + len(self.events) + self._draw(st.floats(-AN_HOUR, AN_HOUR)) + AN_HOUR
            told = {name: value for name, value in given.items() if name != "cost" or channel == WEBHOOK}
            if channel == WEBHOOK and len(self._channels) > 1 and self._draw(st.booleans()):
                told.pop("duration_seconds", None)
            self.events.append(
                event(
                    f"{channel} {len(self.events)}",
                    status,
                    type=kind,
                    attempt=attempt if numbered else None,
                    at=self._draw(st.sampled_from([at, None])),
                    **told,
                )
            )


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    final: st.SearchStrategy[Status | None] = st.sampled_from([None, *FINAL]),  # noqa: B008
    numbered: bool = False,
) -> History:
    teller = _Teller(draw, numbered=numbered)
    if draw(st.booleans()):
        teller.tell(EventType.QUEUED, Status.REGISTERED, 0)
    retried, end = draw(st.integers(0, 2)), draw(final)  # few enough that every event fits into the call's memory
    figures = [(draw(st.integers(1, 600_000)) / 1_000, draw(st.integers(1, 9_000)) / 1_000) for _ in range(retried + 1)]
    for attempt, (seconds, cost) in enumerate(figures):
        last = attempt == retried
        if last and end in {None, Status.CANCELLED}:
            break
        teller.tell(EventType.STARTED, Status.ONGOING, attempt)
        status = end if last and end else Status.RETRY
        teller.tell(
            EventType.FINISHED,
            status,
            attempt,
            duration_seconds=seconds,
            cost=cost,
            connected=status is Status.COMPLETED,
        )
        if draw(st.booleans()):
            teller.tell(EventType.RECORDING, None, attempt)
            teller.tell(EventType.ANALYSIS, None, attempt)
    if end is Status.CANCELLED:
        teller.tell(EventType.OTHER, end, retried)
    begun = retried + 1 if end in FINAL and end is not Status.CANCELLED else retried
    told_cost = any(one.cost for one in teller.events)
    return History(
        tuple(teller.events),
        end or (Status.RETRY if retried else Status.REGISTERED),
        begun,
        sum(seconds for seconds, _ in figures[:begun]),
        sum(cost for _, cost in figures[:begun]) if told_cost else 0.0,
    )


def deliveries(events: tuple[CallEvent, ...]) -> st.SearchStrategy[list[CallEvent]]:
    """Every event at least once, some twice, in any order."""
    again = st.lists(st.sampled_from(events), max_size=6) if events else st.just([])
    return again.flatmap(lambda repeated: st.permutations([*events, *repeated]))


def standing(call: Call | None) -> tuple[Any, ...] | None:
    if call is None:
        return None
    return (
        *(call.status, call.terminable, call.attempt, call.episode, call.attempts_finished),
        *(call.connected, call.seconds, call.cost),
    )


@given(st.data())
def test_every_delivery_of_the_same_events_gives_the_same_call(data: st.DataObject) -> None:
    history = data.draw(histories())
    events = tuple(one for one in history.events if data.draw(st.integers(0, 5)))  # some are lost for ever
    assert len(events) <= SEEN_EVENTS
    in_order: Call | None = None
    for one in events:
        in_order = fold(in_order, one)
    shuffled: Call | None = None
    for logged_at, one in enumerate(data.draw(deliveries(events))):
        shuffled = fold(shuffled, one.replaced(logged_at=float(logged_at)))
    assert standing(shuffled) == standing(in_order)


@given(st.data())
def test_a_history_that_arrives_whole_is_told_as_it_happened(data: st.DataObject) -> None:
    history = data.draw(histories().filter(lambda told: len(told.events) > 0))
    call = folded(*data.draw(deliveries(history.events)))
    assert call.status is history.status
    assert call.attempts_finished == history.attempts_finished
    assert call.connected == (history.status is Status.COMPLETED)
    assert abs(call.seconds - history.seconds) < 1e-6
    assert abs(call.cost - history.cost) < 1e-6
    if history.last_attempt is not None:
        assert (call.attempt, call.episode) == (history.last_attempt, history.last_attempt)
    if history.status is Status.RETRY:
        assert call.episode == history.attempts_finished


@given(st.data())
def test_nothing_that_comes_late_moves_a_call_that_is_over(data: st.DataObject) -> None:
    history = data.draw(histories(final=st.sampled_from(FINAL)))
    call = folded(*data.draw(deliveries(history.events)))
    late = [
        event(f"late {n}", status, attempt=data.draw(st.sampled_from([None, *range(call.attempt + 1)])))
        for n, status in enumerate(data.draw(st.lists(st.sampled_from([None, Status.REGISTERED, Status.ONGOING]))))
    ]
    for one in history.events:
        assert fold(call, one) is call
    for one in late:
        after = fold(call, one)
        assert after.status is call.status
        assert (after.episode, after.attempts_finished) == (call.episode, call.attempts_finished)
        assert (after.connected, after.seconds, after.cost) == (call.connected, call.seconds, call.cost)
        call = after
