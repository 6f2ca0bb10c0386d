"""Asking the rules about an event, and turning their wishes into stop orders.

An order's id comes from the rule, the scope and the event, so an event that is folded twice gives the same order. A rule
whose order for the same scope already stands is not asked to repeat itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumer.model.calls import Call
from consumer.model.events import CallEvent
from consumer.model.identity import digest
from consumer.model.order_book import OrderBook
from consumer.model.orders import Author, OrderState, StopOrder
from consumer.model.rules import EventRule, Stop
from consumer.model.scopes import Scope
from consumer.model.status import EventType

ON_ITS_WAY = 1_000
ON_ITS_WAY_SECONDS = 10.0
STANDING = {OrderState.PROPOSED, OrderState.AWAITING_APPROVAL, OrderState.IN_FORCE}


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A rule that raised, on which event: recorded and counted, stops nothing."""

    rule: str
    version: str
    error: str
    event: CallEvent


class Rules:
    """The rules in force, by the event types they want to see."""

    def __init__(self, rules: Iterable[EventRule]) -> None:
        self.rules = tuple(rules)
        self._by_type: dict[EventType, Sequence[EventRule]] = {
            kind: tuple(rule for rule in self.rules if kind in rule.on) for kind in EventType
        }
        self._on_its_way: dict[tuple[str, str, Scope], tuple[StopOrder, CallEvent]] = {}

    def ask(self, event: CallEvent, call: Call, book: OrderBook) -> tuple[list[StopOrder], list[RuleFailure]]:
        """Ask every rule that wants this type of event; gives the orders that do not stand yet, and the failures."""
        orders: list[StopOrder] = []
        failures: list[RuleFailure] = []
        for rule in self._by_type[event.type]:
            try:
                stop = rule.evaluate(event, call)
                if stop is not None and not isinstance(stop, Stop):
                    raise TypeError(f"the rule gave {type(stop).__name__}, not Stop or None")
            # People's code: whatever it raises stops nothing and is recorded; sys.exit() would end us at every start.
            except (Exception, SystemExit) as error:  # noqa: BLE001
                failures.append(RuleFailure(rule.name, rule.version, f"{type(error).__name__}: {error}"[:500], event))
                continue
            if stop and not _stands(rule, stop, event, book):
                order = _order(rule, stop, event)
                if not self._was_just_written(order, event, book):
                    orders.append(order)
        return orders, failures

    def _was_just_written(self, order: StopOrder, event: CallEvent, book: OrderBook) -> bool:
        """Whether another event has made this order a moment ago and the book has not read it yet.

        The analysis of a call and the event that sums it up often come in one batch. The same event gives the same order
        again: it is being folded once more.
        """
        key = (order.by.name, order.account, order.scope)
        earlier = self._on_its_way.get(key)
        if earlier is not None:
            first, by_event = earlier
            moments = abs(event.logged_at - by_event.logged_at)
            if by_event.event_id != event.event_id and moments < ON_ITS_WAY_SECONDS and not book.get(first.order_id):
                return True
        if len(self._on_its_way) >= ON_ITS_WAY:
            self._on_its_way.clear()
        self._on_its_way[key] = (order, event)
        return False


def _stands(rule: EventRule, stop: Stop, event: CallEvent, book: OrderBook) -> bool:
    keys = stop.scope.index_keys()
    return any(
        record.order.by.name == rule.name
        and not record.order.by.is_operator
        and record.order.scope == stop.scope
        and record.state(event.logged_at) in STANDING
        for record in book.with_scope_keys(event.account, keys[:1])
    )


def _order(rule: EventRule, stop: Stop, event: CallEvent) -> StopOrder:
    scope = (stop.scope.kind, *(part for key in stop.scope.index_keys() for part in key))
    return StopOrder(
        order_id=f"rule-{digest((rule.name, event.account, *scope, event.event_id), 10)}",
        account=event.account,
        scope=stop.scope,
        reason=stop.reason,
        by=Author("rule", rule.name, rule.version, rule.hash),
        reach=stop.reach,
        hold=stop.hold,
        mode=rule.mode,
        lane=rule.lane,
        canary_share=rule.canary_share,
        canary_campaigns=rule.canary_campaigns,
        evidence=(event.position,) if event.position else (),
    )
