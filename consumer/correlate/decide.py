"""Where calls and orders meet. Whichever comes second triggers, so a call that registers after the stop is no race.

Pure: a call, the orders, a time in; records out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from consumer.model.calls import Call
from consumer.model.events import CallEvent, Position
from consumer.model.identity import scope_termination_id, termination_id
from consumer.model.order_book import OrderBook
from consumer.model.orders import OrderRecord, Reach, StopOrder, effective_mode
from consumer.model.protected import Protected
from consumer.model.scopes import NUMBERS_AT_ONCE, ScopeKind
from consumer.model.status import Status
from consumer.model.terminations import MODES, Decision, Ended

MOST_EVIDENCE = 8


def orders_for(call: Call, book: OrderBook, protected: Protected, now: float) -> list[OrderRecord]:
    """The orders that want this call stopped at ``now`` (seconds); none where it cannot be stopped any more."""
    aimed = book.aimed_at(call) if call.terminable else ()
    if not aimed:
        return []
    spared = protected.covers(call)
    return [
        record
        for record in aimed
        if record.applies(episode_since=_since(call, record), now=now) and (record.order.by.is_operator or not spared)
    ]


def _since(call: Call, record: OrderRecord) -> float:
    """When the episode began, as far as this order goes: a call that it names waited before anybody told us of it."""
    first_heard = call.first_at == call.since
    if record.order.scope.kind is ScopeKind.CALL and first_heard and record.since is not None:
        return min(call.since, record.since)
    return call.since


def decision(
    call: Call, orders: Iterable[OrderRecord], position: Position | None, now: float, *, bulk: bool = False
) -> Decision:
    """Say that these orders want this call's present episode stopped."""
    wanted = [record.order for record in orders]
    account, call_id, episode, campaign_id = call.account, call.call_id, call.episode, call.campaign_id
    return Decision(
        termination_id=termination_id(account, call_id, episode),
        account=account,
        call_id=call_id,
        episode=episode,
        orders=tuple([order.order_id for order in wanted]),
        mode=max([effective_mode(order, call_id, campaign_id) for order in wanted], key=MODES.index),
        lane=min([order.lane for order in wanted]),
        decided_at=now,
        status=call.status or Status.REGISTERED,
        attempt=call.attempt,
        campaign_id=campaign_id,
        agent_id=call.agent_id,
        number=call.number,
        evidence=_evidence(position, wanted),
        bulk=bulk,
        since=call.since,
    )


def _evidence(position: Position | None, wanted: Sequence[StopOrder]) -> tuple[Position, ...]:
    """What has led to a decision: the event that did, and what its orders name."""
    of_orders = [position for order in wanted for position in order.evidence]
    return tuple(dict.fromkeys([position, *of_orders] if position else of_orders))[:MOST_EVIDENCE]


def scope_decisions(record: OrderRecord, now: float) -> list[Decision]:
    """Say that an order which reaches everything wants the provider's own stop of its scope, a request's worth each."""
    order = record.order
    if order.reach is not Reach.EVERYTHING or order.scope.kind is ScopeKind.CALL:
        return []
    numbers = order.scope.mobile_numbers
    cuts = [numbers[n : n + NUMBERS_AT_ONCE] for n in range(0, len(numbers), NUMBERS_AT_ONCE)] or [()]
    return [
        Decision(
            termination_id=scope_termination_id(order.account, order.order_id, n),
            account=order.account,
            call_id="",
            episode=0,
            orders=(order.order_id,),
            mode=effective_mode(order, order.order_id, order.scope.campaign_id),
            lane=order.lane,
            decided_at=record.since or now,
            status=Status.REGISTERED,
            campaign_id=order.scope.campaign_id,
            agent_id=order.scope.agent_id,
            evidence=order.evidence[:MOST_EVIDENCE],
            scope=replace(order.scope, mobile_numbers=cut),
        )
        for n, cut in enumerate(cuts)
    ]


def ended(before: Call, after: Call, event: CallEvent) -> Ended | None:
    """Say how the episode of ``before`` ended, if ``event`` ended it.

    A call that rang and is cancelled had come back to the queue, and nobody told us that in time: its end is told once more.
    """
    came_back = before.status is Status.ONGOING and after.status is Status.CANCELLED
    goes_on = after.status is None or (after.terminable and after.episode == before.episode)
    if goes_on or not (before.terminable or came_back):
        return None
    assert after.status is not None
    return Ended(
        termination_id=termination_id(before.account, before.call_id, before.episode),
        account=before.account,
        call_id=before.call_id,
        episode=before.episode,
        status=after.status,
        at=event.logged_at if event.at is None else event.at,
        evidence=event.position,
        source=event.source,
    )
