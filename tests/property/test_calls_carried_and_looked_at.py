"""Calls whose first events the log no longer holds, and calls that are looked at between their webhooks."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.calls import Call, carried_on, fold
from consumer.model.codec import decode_carried, encode_carried
from consumer.model.events import CallEvent
from consumer.model.status import Status
from tests.property.test_fold_of_calls import deliveries, histories, standing
from tests.unit.values import event

LATEST_SECONDS = 100.0
APART_SECONDS = 10.0


def folded_from(known: Call | None, delivered: list[CallEvent], first: int) -> Call | None:
    for n, one in enumerate(delivered, start=first):
        known = fold(known, one.replaced(logged_at=float(n)))
    return known


@given(st.data())
def test_what_is_left_of_a_log_tells_of_a_call_that_was_carried_on_as_all_of_it_did(data: st.DataObject) -> None:
    delivered = data.draw(deliveries(data.draw(histories()).events).filter(bool))
    written_at = data.draw(st.integers(1, len(delivered)))
    left_from = data.draw(st.integers(0, written_at))
    written = folded_from(None, delivered[:written_at], 0)
    assert written is not None
    known = folded_from(None, delivered[left_from:written_at], left_from)
    known = carried_on(known, decode_carried(encode_carried(written)), float(written_at))
    if data.draw(st.booleans()):
        known = carried_on(known, decode_carried(encode_carried(written)), float(written_at))
    rebuilt = folded_from(known, delivered[written_at:], written_at)
    whole = folded_from(written, delivered[written_at:], written_at)
    assert standing(rebuilt) == standing(whole)
    assert rebuilt is not None
    assert whole is not None
    assert (rebuilt.first_at, rebuilt.campaign_id, rebuilt.number) == (whole.first_at, whole.campaign_id, whole.number)
    assert rebuilt.kept_at == written_at


def test_retries_without_a_number_keep_theirs_when_the_first_have_left_the_log() -> None:
    first, second = (event(f"retry {n}", Status.RETRY, duration_seconds=n, cost=n) for n in (2.0, 3.0))
    written = folded_from(None, [first, second], 0)
    assert written is not None
    rebuilt = carried_on(folded_from(None, [second], 1), written, 2.0)
    assert (rebuilt.attempts_finished, rebuilt.seconds, rebuilt.cost) == (2, 5.0, 5.0)
    assert standing(rebuilt) == standing(written)


@given(st.data())
def test_looks_at_a_call_change_nothing_once_all_its_webhooks_with_their_attempts_have_come(
    data: st.DataObject,
) -> None:
    history = data.draw(histories(numbered=True).filter(lambda told: bool(told.events)))
    happened = [(n * APART_SECONDS, one) for n, one in enumerate(history.events)]
    arrived = [(at + data.draw(st.floats(0.0, LATEST_SECONDS)), one) for at, one in happened]
    looks = data.draw(st.lists(st.floats(0.0, len(happened) * APART_SECONDS + LATEST_SECONDS), max_size=4))
    for n, moment in enumerate(looks):
        told = [one.status for at, one in happened if at <= moment and one.status is not None]
        if told:
            seen: dict[str, Any] = {"at": moment, "source": "history"}
            arrived.append((moment, event(f"look {n}", told[-1], **seen)))
    call: Call | None = None
    for logged_at, one in sorted(arrived, key=lambda each: each[0]):
        call = fold(call, one.replaced(logged_at=logged_at))
    assert call is not None
    assert (call.status, call.attempts_finished) == (history.status, history.attempts_finished)
