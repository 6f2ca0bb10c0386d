"""The orders that were looked at lately, decoded; the bound is on what they weigh, since an order may name 10,000 numbers."""

from collections import OrderedDict

from consumer.model.orders import OrderRecord

MOST_NAMES = 300_000
"""About 75 bytes each."""
NAMES_OF_A_RECORD = 20
"""What an order weighs beside its names, in names."""


class RecentOrders:
    """Orders by their rows. Whoever changes an order drops it here."""

    def __init__(self) -> None:
        self._records: OrderedDict[int, OrderRecord] = OrderedDict()
        self._places: dict[str, int] = {}
        self._names = 0

    def get(self, n: int) -> OrderRecord | None:
        record = self._records.get(n)
        if record is not None:
            self._records.move_to_end(n)
        return record

    def place(self, order_id: str) -> int | None:
        """Give the row of an order that is kept here."""
        return self._places.get(order_id)

    def keep(self, n: int, record: OrderRecord) -> OrderRecord:
        """Keep an order that has just been read, at the cost of those not asked for the longest."""
        self._records[n] = record
        self._places[record.order.order_id] = n
        self._names += _names(record)
        while self._names > MOST_NAMES and len(self._records) > 1:
            self.drop(next(iter(self._records)))
        return record

    def drop(self, n: int) -> None:
        record = self._records.pop(n, None)
        if record is not None:
            self._places.pop(record.order.order_id, None)
            self._names -= _names(record)


def _names(record: OrderRecord) -> int:
    scope = record.order.scope
    return NAMES_OF_A_RECORD + len(scope.call_ids) + len(scope.mobile_numbers)
