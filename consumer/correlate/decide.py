"""Where calls and orders meet. Whichever comes second triggers, so a call that registers after the stop is no race.

Pure: a call, the orders, a time in; records out.
"""

from collections.abc import Iterable

from consumer.model.calls import Call
from consumer.model.events import CallEvent, Position
from consumer.model.identity import termination_id
from consumer.model.order_book import OrderBook
from consumer.model.orders import OrderRecord, effective_mode
from consumer.model.protected import Protected
from consumer.model.status import Status
from consumer.model.terminations import MODES, Decision, Ended


def orders_for(call: Call, book: OrderBook, protected: Protected, now: float) -> list[OrderRecord]:
    """The orders that want this call stopped at ``now`` (seconds); none where it cannot be stopped any more."""
    if not call.terminable or not len(book):
        return []
    spared = protected.covers(call)
    return [
        record
        for record in book.aimed_at(call)
        if record.applies(episode_since=call.since, now=now) and (record.order.by.is_operator or not spared)
    ]


def decision(
    call: Call, orders: Iterable[OrderRecord], position: Position | None, now: float, *, bulk: bool = False
) -> Decision:
    """Say that these orders want this call's present episode stopped."""
    wanted = [record.order for record in orders]
    evidence = [position] if position else []
    for order in wanted:
        evidence.extend(order.evidence)
    return Decision(
        termination_id=termination_id(call.account, call.call_id, call.episode),
        account=call.account,
        call_id=call.call_id,
        episode=call.episode,
        orders=tuple(order.order_id for order in wanted),
        mode=max((effective_mode(order, call.call_id, call.campaign_id) for order in wanted), key=MODES.index),
        lane=min(order.lane for order in wanted),
        decided_at=now,
        status=call.status or Status.REGISTERED,
        attempt=call.attempt,
        campaign_id=call.campaign_id,
        agent_id=call.agent_id,
        number=call.number,
        evidence=tuple(dict.fromkeys(evidence))[:8],
        bulk=bulk,
    )


def ended(before: Call, after: Call, event: CallEvent) -> Ended | None:
    """Say how the episode of ``before`` ended, if ``event`` ended it."""
    if not before.terminable or (after.terminable and after.episode == before.episode) or after.status is None:
        return None
    return Ended(
        termination_id=termination_id(before.account, before.call_id, before.episode),
        account=before.account,
        call_id=before.call_id,
        episode=before.episode,
        status=after.status,
        at=event.at or event.logged_at,
        evidence=event.position,
        source=event.source,
    )
