"""One partition of ``call-events``: its calls, and what follows from them."""

import logging
import sqlite3
from collections.abc import Iterator, Sequence

import orjson

from consumer.correlate import metrics
from consumer.correlate.ask_rules import RuleFailure, Rules
from consumer.correlate.calls import SCHEMA, Calls, save_applied_orders
from consumer.correlate.decide import decision, ended, orders_for, scope_decisions
from consumer.kafka.order_feed import OrderFeed, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.calls import Call, fold
from consumer.model.codec import CodecError, decode_event, encode_termination_record
from consumer.model.events import CallEvent, Position
from consumer.model.orders import OrderRecord, Reach
from consumer.model.protected import Protected
from consumer.model.terminations import Decision, Ended

logger = logging.getLogger(__name__)

SCAN_CALLS = 1_000

__all__ = ["SCHEMA", "CorrelateShard"]


class CorrelateShard:
    """Folds call events, asks the rules, and joins calls with orders in both directions."""

    def __init__(
        self, view: View, *, partition: int, topics: Topics, feed: OrderFeed, rules: Rules, protected: Protected
    ) -> None:
        self._partition = partition
        self.view = view
        self.calls = Calls(view.connection)
        self._topics = topics
        self._feed = feed
        self._rules = rules
        self._protected = protected
        self._applied = self.calls.applied_orders()
        self._applied_changed = False
        self._scan: Iterator[list[OutRecord]] | None = None
        self._scan_until = 0

    @property
    def dirty(self) -> bool:
        return self.calls.dirty or self._applied_changed

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        outputs: list[OutRecord] = []
        for record in records:
            position = Position(record.topic, record.partition, record.offset)
            try:
                event = decode_event(record.value, position, record.timestamp / 1_000)
            except CodecError as error:
                metrics.UNREADABLE.inc()
                logger.error("%s is skipped: %s", position, error)
                continue
            outputs += self._fold_event(event, live=live)
        return outputs

    def go_live(self, *, caught_up: bool) -> None:
        """A view that never saw an order applied (a new or rebuilt one) is reconciled as a whole."""

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Apply orders that have changed since the last look, ``SCAN_CALLS`` calls at a time."""
        if not self._feed.ready:
            return [], False
        if self._scan is None:
            if self._applied == self._feed.next_offset:
                return [], False
            self._scan_until = self._feed.next_offset
            self._scan = self._reconcile(now) if self._applied is None else self._apply_changed(self._applied, now)
        outputs = next(self._scan, None)
        if outputs is not None:
            return outputs, True
        self._scan = None
        self._applied = self._scan_until
        self._applied_changed = True
        return [], self._applied != self._feed.next_offset

    def save(self, connection: sqlite3.Connection) -> None:
        self.calls.save(connection)
        if self._applied_changed and self._applied is not None:
            save_applied_orders(connection, self._applied)
            self._applied_changed = False

    def _fold_event(self, event: CallEvent, *, live: bool) -> list[OutRecord]:
        before = self.calls.get(event.account, event.call_id)
        after = fold(before, event)
        if after is before:
            metrics.DUPLICATES.inc()
            return []
        outputs: list[OutRecord] = []
        if live:
            metrics.EVENTS.labels(event.account, event.type).inc()
            outputs += self._ask_rules(event, after)
            if before is not None:
                outputs += self._say_ended(before, after, event)
            wanted = orders_for(after, self._feed.book, self._protected, event.logged_at)
            after, decided = self._decide(after, wanted, event.position, event.logged_at)
            outputs += decided
        self.calls.put(after, before)
        return outputs

    def _ask_rules(self, event: CallEvent, call: Call) -> list[OutRecord]:
        orders, failures = self._rules.ask(event, call, self._feed.book)
        for order in orders:
            metrics.RULE_ORDERS.labels(order.by.name).inc()
        return [order_record(self._topics.stop_orders, order) for order in orders] + [
            self._failure_record(failure) for failure in failures
        ]

    def _say_ended(self, before: Call, after: Call, event: CallEvent) -> list[OutRecord]:
        if not before.decided and not self._feed.book.aimed_at(before):
            return []
        record = ended(before, after, event)
        return [self._termination_record(record)] if record else []

    def _decide(
        self, call: Call, wanted: list[OrderRecord], position: Position | None, now: float
    ) -> tuple[Call, list[OutRecord]]:
        """Write a decision unless one with all of these orders has been written for this episode."""
        if all(record.order.order_id in call.decided for record in wanted):
            return call, []
        metrics.DECISIONS.labels(call.account).inc()
        record = decision(call, wanted, position, now, bulk=position is None)
        return call.with_decided(record.orders), [self._termination_record(record)]

    def _termination_record(self, record: Decision | Ended) -> OutRecord:
        partition = self._topics.partition_of_account(record.account)
        return OutRecord(
            self._topics.terminations.name, partition, record.termination_id.encode(), encode_termination_record(record)
        )

    def _failure_record(self, failure: RuleFailure) -> OutRecord:
        metrics.RULE_FAILURES.labels(failure.rule).inc()
        logger.error("rule %s failed on %s: %s", failure.rule, failure.event.position, failure.error)
        position = failure.event.position or Position("", 0, 0)
        value = {
            "source": "rule",
            "rule": failure.rule,
            "version": failure.version,
            "reason": failure.error,
            "account": failure.event.account,
            "call_id": failure.event.call_id,
            "evidence": position,
        }
        topic = self._topics.rejected
        return OutRecord(topic.name, position.partition % topic.partitions, b"rule", orjson.dumps(value))

    def _apply_changed(self, offset: int, now: float) -> Iterator[list[OutRecord]]:
        """Scan the waiting calls of every order that changed at ``offset`` or later."""
        for record in self._feed.book.changed_since(offset):
            if not record.in_force(now):
                continue
            yield self._whole_scope(record, now)
            yield from self._scan_of(record, now)

    def _scan_of(self, record: OrderRecord, now: float) -> Iterator[list[OutRecord]]:
        """Join the waiting calls under one order's keys, many keys at a time where an order names many."""
        found: list[Call] = []
        for n, key in enumerate(record.order.scope.index_keys(), start=1):
            after = ""
            while calls := self.calls.waiting(record.order.account, key, after=after, limit=SCAN_CALLS):
                after = calls[-1].call_id
                found += calls
                if len(found) >= SCAN_CALLS:
                    yield self._join(found, now)
                    found = []
            if n % SCAN_CALLS == 0:
                yield self._join(found, now)
                found = []
        yield self._join(found, now)

    def _reconcile(self, now: float) -> Iterator[list[OutRecord]]:
        """Look at every waiting call once: after a rebuild, or where no order was ever applied."""
        for record in self._feed.book:
            if record.in_force(now) and record.order.reach is Reach.EVERYTHING:
                yield self._whole_scope(record, now)
        after = ("", "")
        while calls := self.calls.all_waiting(after=after, limit=SCAN_CALLS):
            after = (calls[-1].account, calls[-1].call_id)
            yield self._join(calls, now)

    def _whole_scope(self, record: OrderRecord, now: float) -> list[OutRecord]:
        """Ask for the provider's own stop of a scope; of all partitions, the one that the order's id falls on says so."""
        if self._topics.call_events.partition_of(record.order.order_id.encode()) != self._partition:
            return []
        return [self._termination_record(wanted) for wanted in scope_decisions(record, now)]

    def _join(self, calls: Sequence[Call], now: float) -> list[OutRecord]:
        outputs: list[OutRecord] = []
        for call in calls:
            wanted = orders_for(call, self._feed.book, self._protected, now)
            decided, records = self._decide(call, wanted, None, now)
            if records:
                self.calls.put(decided, call)
                outputs += records
        return outputs
