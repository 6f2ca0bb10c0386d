"""What decisions ask of all stop orders, and how two records about one order become one value. Pure.

Facts (admitted, released …) may be read before the order they belong to, and every record may be read again: folding the
same records in any order, any number of times, gives the same orders.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from consumer.model.calls import Call
from consumer.model.controls import Controls
from consumer.model.orders import Fact, OrderRecord, StopOrder
from consumer.model.scopes import Key


class OrderBook(Protocol):
    """All stop orders by id and by what they are aimed at, in force or not."""

    def __len__(self) -> int: ...

    @property
    def controls(self) -> Controls:
        """The modes that rules were set to at run time, and what else is set while the service runs."""
        ...

    def get(self, order_id: str) -> OrderRecord | None: ...

    def aimed_at(self, call: Call) -> Sequence[OrderRecord]:
        """Every order whose scope covers the call."""
        ...

    def with_scope_keys(self, account: str, keys: Sequence[Key]) -> Sequence[OrderRecord]:
        """Every order of the account aimed at one of these keys."""
        ...


def begun(order: StopOrder, facts: Iterable[Fact], decision_ttl: float) -> OrderRecord:
    """Put an order and the facts that came before it together."""
    record = OrderRecord(order, decision_ttl=decision_ttl)
    for fact in facts:
        record = record.with_fact(fact)
    return record


def written_again(record: OrderRecord, order: StopOrder) -> OrderRecord:
    """Fold a repetition of an order: the earlier time stands. Ids are made from all the rest, so nothing else differs."""
    if order.at >= record.order.at:
        return record
    return replace(record, order=replace(record.order, at=order.at))
