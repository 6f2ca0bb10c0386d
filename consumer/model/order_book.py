"""All stop orders by id and by what they are aimed at: a fold of the ``stop-orders`` topic.

Facts (admitted, released …) may be read before the order they belong to; the book keeps them until it comes. Folding
the same records in any order, any number of times, gives the same book.
"""

from collections.abc import Iterator

from consumer.model.calls import Call
from consumer.model.orders import Fact, OrderRecord, StopOrder
from consumer.model.scopes import Key, call_keys


class OrderBook:
    """Orders with their facts, and an index from (account, scope key) to order ids."""

    def __init__(self) -> None:
        self._records: dict[str, OrderRecord] = {}
        self._early: dict[str, list[Fact]] = {}
        self._index: dict[tuple[str, Key], dict[str, None]] = {}
        self._changed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[OrderRecord]:
        return iter(self._records.values())

    def __reversed__(self) -> Iterator[OrderRecord]:
        """Begin with the order that was folded last."""
        return reversed(self._records.values())

    def get(self, order_id: str) -> OrderRecord | None:
        return self._records.get(order_id)

    def put_order(self, order: StopOrder, offset: int, decision_ttl: float = 900.0) -> OrderRecord:
        """Fold an order; one that is known already stays as it was first written."""
        record = self._records.get(order.order_id)
        if record is None:
            record = OrderRecord(order, decision_ttl=decision_ttl)
            for fact in self._early.pop(order.order_id, ()):
                record = record.with_fact(fact)
            self._records[order.order_id] = record
            for key in order.scope.index_keys():
                self._index.setdefault((order.account, key), {})[order.order_id] = None
            self._changed[order.order_id] = offset
        return record

    def put_fact(self, fact: Fact, offset: int) -> OrderRecord | None:
        """Fold a fact; gives the order it belongs to, None when that order has not been read yet."""
        record = self._records.get(fact.order_id)
        if record is None:
            self._early.setdefault(fact.order_id, []).append(fact)
            return None
        changed = record.with_fact(fact)
        if changed is not record:
            self._records[fact.order_id] = changed
            self._changed[fact.order_id] = max(offset, self._changed[fact.order_id])
        return changed

    def forget(self, order_id: str) -> None:
        """Drop an order whose tombstone was read."""
        self._early.pop(order_id, None)
        record = self._records.pop(order_id, None)
        if record is None:
            return
        self._changed.pop(order_id, None)
        for key in record.order.scope.index_keys():
            ids = self._index.get((record.order.account, key), {})
            ids.pop(order_id, None)
            if not ids:
                self._index.pop((record.order.account, key), None)

    def changed_since(self, offset: int) -> list[OrderRecord]:
        """The orders that changed at ``offset`` or later, oldest change first."""
        changed = sorted((at, order_id) for order_id, at in self._changed.items() if at >= offset)
        return [self._records[order_id] for _, order_id in changed]

    def aimed_at(self, call: Call) -> list[OrderRecord]:
        """Every order, in force or not, whose scope covers the call."""
        found: dict[str, None] = {}
        for key in call_keys(call):
            found.update(self._index.get((call.account, key), ()))
        return [self._records[order_id] for order_id in found]

    def with_scope_keys(self, account: str, keys: tuple[Key, ...]) -> list[OrderRecord]:
        """Every order aimed at one of these keys."""
        found: dict[str, None] = {}
        for key in keys:
            found.update(self._index.get((account, key), ()))
        return [self._records[order_id] for order_id in found]
