"""What a look at the provider says of a termination: records for the log. Pure.

A 2xx is never taken for a stopped call; a look that shows the call cancelled is. A call that connected or ended another
way was missed, and one that the provider does not know is not found.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.orders import OrderRecord, effective_mode
from consumer.model.provider import Look, ScopeState
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.status import TERMINABLE, Status
from consumer.model.terminations import (
    AnswerClass,
    Decision,
    Looked,
    Record,
    Result,
    State,
    Termination,
    fold_termination,
)
from consumer.terminate.entries import closed


def records_of_look(t: Termination, look: Look, now: float) -> list[Record]:
    """Say what one look means for ``t``; nothing where the provider said nothing of the call."""
    if look.answer.answer is AnswerClass.NOT_FOUND and t.sends and any(earlier.waiting for earlier in t.looks):
        detail = "it waited, was stopped, and the provider does not know it any more"
        return [_looked(t, now, waiting=False, detail=detail), _final(t, State.CONFIRMED, now, detail)]
    if look.answer.answer is AnswerClass.NOT_FOUND:
        return [
            _looked(t, now, waiting=False, detail="the provider does not know the call"),
            _final(t, State.NOT_FOUND, now),
        ]
    if look.event is None:
        return []
    return records_of_event(t, look.event, now)


def records_of_event(t: Termination, event: CallEvent, now: float) -> list[Record]:
    """Say what the provider's own record of the call means for ``t``."""
    status = event.status
    if status is None:
        return []
    if status in TERMINABLE:
        return [_looked(t, now, waiting=True, detail=f"the provider says {status}")]
    outcome = State.CONFIRMED if status is Status.CANCELLED and t.sends else State.MISSED
    detail = f"the provider says {status}"
    return [_looked(t, now, waiting=False, detail=detail), _final(t, outcome, now, detail)]


def records_of_named(record: OrderRecord, call_id: str, look: Look, now: float) -> list[Record]:
    """Say what became of a call that an order names by id and that no event shows waiting: nothing while it waits.

    The outcome comes before the decision it belongs to, so that nobody sees the one without the other and sends it.
    """
    order, status = record.order, look.event.status if look.event else None
    if look.answer.answer is AnswerClass.NOT_FOUND:
        outcome, detail = State.NOT_FOUND, "no event has told of it, and the provider does not know it"
    elif status is not None and status not in TERMINABLE:
        outcome, detail = State.MISSED, f"the provider says {status}"
    else:
        return []
    decided = Decision(
        termination_id=digest(("named", order.account, order.order_id, call_id)),
        account=order.account,
        call_id=call_id,
        episode=0,
        orders=(order.order_id,),
        mode=effective_mode(order, call_id, None),
        lane=order.lane,
        decided_at=record.since or now,
        status=status or Status.REGISTERED,
        evidence=order.evidence[:8],
    )
    return [_final(fold_termination(None, decided), outcome, now, detail), decided]


def records_of_scope_state(t: Termination, state: ScopeState, now: float) -> list[Record]:
    """Say what the state of a whole scope means for ``t``; a state that cannot be told leaves it to time."""
    if state.answer.answer is AnswerClass.NOT_FOUND:
        return [_looked(t, now, waiting=False, detail=state.answer.detail), _final(t, State.NOT_FOUND, now)]
    if state.answer.answer is not AnswerClass.ACCEPTED:
        return []
    if state.stopped:
        return [
            _looked(t, now, waiting=False, detail=state.answer.detail),
            _final(t, State.CONFIRMED, now, state.answer.detail),
        ]
    return [_looked(t, now, waiting=state.stopped is False, detail=state.answer.detail)]


def records_of_scope_history(t: Termination, waiting: Sequence[CallEvent], now: float) -> list[Record]:
    """Say what a listing of a scope's waiting calls means: none left is what was asked for."""
    assert t.scope is not None
    left = [event for event in waiting if covered(t.scope, event)]
    if left:
        return [_looked(t, now, waiting=True, detail=f"{len(left)} calls of it still wait")]
    detail = "the provider lists no waiting call of it"
    return [_looked(t, now, waiting=False, detail=detail), _final(t, State.CONFIRMED, now, detail)]


def compared(t: Termination, records: list[Record], known: int) -> list[Record]:
    """Put how many calls the provider says it stopped beside how many were known to wait, where it says so."""
    reported = next((r.reported for r in reversed(t.results) if r.reported is not None), None)
    if reported is None:
        return records
    told = f"it says that it stopped {reported} calls; {known} were known to wait"
    return [replace(r, detail=f"{r.detail}; {told}") if isinstance(r, Result) else r for r in records]


def covered(scope: Scope, event: CallEvent) -> bool:
    """Whether a listed call belongs to a scope, as far as the listing tells."""
    match scope.kind:
        case ScopeKind.CALL:
            return event.call_id in scope.call_ids
        case ScopeKind.CAMPAIGN:
            return event.campaign_id == scope.campaign_id
        case ScopeKind.AGENT:
            return event.agent_id == scope.agent_id
        case ScopeKind.NUMBER:
            return event.number in scope.mobile_numbers
        case ScopeKind.NUMBER_IN_CAMPAIGN:
            return event.number in scope.mobile_numbers and event.campaign_id == scope.campaign_id


def _looked(t: Termination, now: float, *, waiting: bool, detail: str) -> Looked:
    return Looked(t.termination_id, t.account, t.call_id, t.episode, now, waiting, detail)


def _final(t: Termination, outcome: State, now: float, detail: str = "the provider does not know it") -> Result:
    """Close by what the provider said; a look tells that a call has left the queue, but not when."""
    return replace(closed(t, outcome, now, detail), confirmed_by="history")
