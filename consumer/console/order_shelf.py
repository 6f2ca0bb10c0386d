"""The stop orders that the page shows, found without looking through a million opt-outs each second."""

from collections import deque
from itertools import takewhile

from consumer.model.order_book import OrderBook
from consumer.model.orders import OrderRecord, OrderState
from consumer.model.scopes import ScopeKind

ENDED = {OrderState.RELEASED, OrderState.EXPIRED, OrderState.REJECTED}
WIDE = {ScopeKind.CAMPAIGN, ScopeKind.AGENT}
SHOWN_STANDING = 60
SHOWN_ENDED = 10
SHOWN_SINGLE = 6


class OrderShelf:
    """Follows the book: what operators ordered and what is aimed at a campaign or an agent, and the latest of the rest."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._begin()

    def _begin(self) -> None:
        self._last: str | None = None
        self._standing: dict[str, None] = {}
        self._ended: deque[str] = deque(maxlen=SHOWN_ENDED)
        self._single: deque[str] = deque(maxlen=SHOWN_SINGLE)

    def main(self, now: float) -> tuple[list[OrderRecord], int]:
        """Give the orders that stand, those that wait for approval first, and the latest that ended.

        The number is how many more stand than are given. ``now`` is in seconds since the epoch.
        """
        self._catch_up()
        standing = []
        for order_id in list(self._standing):
            record = self._book.get(order_id)
            if record is None or record.state(now) in ENDED:
                del self._standing[order_id]
                self._ended.appendleft(order_id)
            else:
                standing.append(record)
        standing.sort(key=lambda record: record.order.at, reverse=True)
        standing.sort(key=lambda record: record.state(now) is not OrderState.AWAITING_APPROVAL)
        return [*standing[:SHOWN_STANDING], *self._known(self._ended)], max(0, len(standing) - SHOWN_STANDING)

    def single(self) -> list[OrderRecord]:
        """Give the latest orders of rules that are aimed at calls or numbers, newest first."""
        self._catch_up()
        return self._known(self._single)

    def _known(self, order_ids: deque[str]) -> list[OrderRecord]:
        return [record for order_id in order_ids if (record := self._book.get(order_id))]

    def _catch_up(self) -> None:
        if self._last is not None and self._book.get(self._last) is None:
            self._begin()  # where we stood is forgotten
        fresh = list(takewhile(lambda record: record.order.order_id != self._last, reversed(self._book)))
        for record in reversed(fresh):
            order = record.order
            if order.by.is_operator or order.scope.kind in WIDE:
                self._standing[order.order_id] = None
            else:
                self._single.appendleft(order.order_id)
        if fresh:
            self._last = fresh[0].order.order_id
