"""One partition of ``scope-totals``. The owner of partition 0 also admits what rules propose.

There is one owner of partition 0, so one place decides whether a rule's order comes into force.
"""

import sqlite3
from collections.abc import Sequence

from consumer.kafka.order_feed import OrderFeed, fact_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View
from consumer.model.orders import Author, Fact, FactKind, OrderState

SCHEMA = ""
GUARD = Author("guard", "guard")


class GuardShard:
    """Admits proposed orders."""

    dirty = False

    def __init__(self, view: View, *, feed: OrderFeed, admits: bool) -> None:
        self.view = view
        self._feed = feed
        self._admits = admits
        self._looked_at = 0
        self._said: set[str] = set()

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:  # noqa: ARG002 -- the worker's protocol
        return []

    def go_live(self, *, caught_up: bool) -> None:
        """Nothing changes: admission waits for the order feed, not for the totals."""

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Admit the orders that rules have proposed since the last look."""
        if not self._admits or not self._feed.ready or self._looked_at == self._feed.next_offset:
            return [], False
        outputs = []
        for record in self._feed.book.changed_since(self._looked_at):
            order_id = record.order.order_id
            if record.state(now) is OrderState.PROPOSED and order_id not in self._said:
                self._said.add(order_id)
                fact = Fact(order_id, FactKind.ADMITTED, GUARD, "within the limits")
                outputs.append(fact_record(self._feed.topic, fact))
            elif record.fact(FactKind.ADMITTED):
                self._said.discard(order_id)
        self._looked_at = self._feed.next_offset
        return outputs, False

    def save(self, connection: sqlite3.Connection) -> None:
        """Nothing is kept but the offset, which the view writes."""
