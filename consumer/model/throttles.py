"""Throttles: how often a rule may order what it wants. Pure; times are those of events and orders.

once_per    at most one order for a scope in so long, however the last one ended
matches     only once the rule has matched so many times for a scope within so long
cool_down   so long after an order of the rule has ended, none for that scope
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.model.durations import format_duration
from consumer.model.order_book import OrderBook
from consumer.model.orders import FactKind, OrderRecord, OrderState, StopOrder

STANDING = {OrderState.PROPOSED, OrderState.AWAITING_APPROVAL, OrderState.IN_FORCE}


@dataclass(frozen=True, slots=True)
class Matches:
    """Act on ``count`` matches within ``within`` seconds; with ``of``, of the last so many events the rule was asked."""

    count: int
    within: float
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """Durations in seconds; 0.0 and None: not throttled so."""

    once_per: float = 0.0
    matches: Matches | None = None
    cool_down: float = 0.0


NO_THROTTLE = Throttle()


def in_words(throttle: Throttle) -> str:
    """Say it for people."""
    said = []
    if (wanted := throttle.matches) is not None:
        of = f" of the last {wanted.of} events" if wanted.of else ""
        said.append(f"an order takes {wanted.count} matches{of} within {format_duration(wanted.within)}")
    if throttle.once_per:
        said.append(f"at most one order for a scope in {format_duration(throttle.once_per)}")
    if throttle.cool_down:
        said.append(f"none for {format_duration(throttle.cool_down)} after one has ended")
    return "; ".join(said)


def orders_of(like: StopOrder, book: OrderBook) -> Iterator[OrderRecord]:
    """Every order that a rule has made so far for exactly the scope of this one, which it makes."""
    for record in book.with_scope_keys(like.account, like.scope.index_keys()[:1]):
        order = record.order
        if order.by.name == like.by.name and not order.by.is_operator and order.scope == like.scope:
            yield record


def may_order(throttle: Throttle, records: list[OrderRecord], now: float) -> bool:
    """Whether a rule may order anew at ``now`` (seconds), given its orders for the same scope so far."""
    return not any(
        record.state(now) in STANDING
        or now - record.order.at < throttle.once_per
        or (throttle.cool_down > 0 and now - (ended_at(record, now) or now) < throttle.cool_down)
        for record in records
    )


def ended_at(record: OrderRecord, now: float) -> float | None:
    """When an order ended, in the broker's time; None while it has not."""
    for kind in (FactKind.RELEASED, FactKind.REJECTED):
        fact = record.fact(kind)
        if fact is not None:
            return fact.at
    until = record.until
    return until if until is not None and until <= now else None


def begins_anew(records: list[OrderRecord], now: float) -> float:
    """From when on a rule counts: the end of its last order for the scope, since what led to that one is dealt with."""
    return max((ended for record in records if (ended := ended_at(record, now)) is not None), default=0.0)


def once_per_slot(throttle: Throttle, now: float) -> str | None:
    """What stands in an order's id in place of its event, so that two partitions that order at once order the same.

    Orders of one rule for one scope are at least ``once_per`` apart, so no two of them share a slot of that length.
    """
    return f"once-per/{int(now // throttle.once_per)}" if throttle.once_per else None
