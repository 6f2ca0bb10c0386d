"""One partition of ``scope-totals``: the sums of its scopes. The owner of partition 0 also admits what rules propose.

There is one owner of partition 0, so one place decides whether a rule's order comes into force.
"""

import logging
import sqlite3
from collections.abc import Sequence

import msgspec

from consumer.guard.sums import SCHEMA, Sums
from consumer.kafka.order_feed import OrderFeed, fact_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.view import View
from consumer.model.orders import Author, Fact, FactKind
from consumer.model.totals import decode_totals

logger = logging.getLogger(__name__)

GUARD = Author("guard", "guard")
ADMITTED_AT_ONCE = 500

__all__ = ["SCHEMA", "GuardShard"]


class GuardShard:
    """Adds totals up, and admits proposed orders."""

    def __init__(self, view: View, *, feed: OrderFeed, admits: bool) -> None:
        self.view = view
        self.sums = Sums(view.connection)
        self._feed = feed
        self._admits = admits
        self._admitted_in = feed.book.view
        self._admitted = -1

    @property
    def dirty(self) -> bool:
        return self.sums.dirty

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:  # noqa: ARG002 -- the worker's protocol
        for record in records:
            if record.value is None:
                continue
            try:
                self.sums.put(decode_totals(record.value))
            except msgspec.DecodeError as error:
                logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
        return []

    def go_live(self, *, caught_up: bool) -> None:
        """Nothing changes: admission waits for the order feed, not for the totals."""

    def work(self, now: float) -> tuple[list[OutRecord], bool]:  # noqa: ARG002 -- the worker's protocol
        """Admit what rules have proposed: once each, and again after a start if nobody has read of it by then."""
        if not self._admits or not self._feed.ready:
            return [], False
        if self._admitted_in is not self._feed.book.view:  # the orders have been read anew, from another log perhaps
            self._admitted_in, self._admitted = self._feed.book.view, -1
        proposed = self._feed.book.proposed(after=self._admitted, limit=ADMITTED_AT_ONCE)
        outputs = []
        for place, record in proposed:
            fact = Fact(record.order.order_id, FactKind.ADMITTED, GUARD, "within the limits")
            outputs.append(fact_record(self._feed.topic, fact))
            self._admitted = place
        return outputs, len(proposed) == ADMITTED_AT_ONCE

    def before_commit(self) -> list[OutRecord]:
        return []

    def save(self, connection: sqlite3.Connection) -> None:
        self.sums.save(connection)
