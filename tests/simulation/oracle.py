"""What the log means to somebody who reads all of it in order and never dies."""

from dataclasses import dataclass, field

from consumer.kafka.topics import Topics
from consumer.model.calls import Call, fold
from consumer.model.codec import decode_event, decode_order_record
from consumer.model.controls import is_control
from consumer.model.counts import is_said
from consumer.model.events import CallEvent, Position
from consumer.model.orders import Fact, OrderRecord
from consumer.model.scopes import call_keys
from consumer.model.termination_codec import decode_termination_records
from consumer.model.terminations import Attempt, Decision, Ended, Record, Termination, fold_termination
from consumer.model.totals import NAMES, ScopeTotals, count, decode_totals, minute_of
from tests.simulation.log import Entry

DECISION_TTL_SECONDS = 900.0


class Book:
    """All orders of a log that is read in order, where a fact never comes before its order."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderRecord] = {}

    def fold(self, entry: Entry) -> None:
        if is_control(entry.key):
            return
        change = decode_order_record(entry.value, entry.timestamp / 1_000)
        known = self.orders.get(change.order_id)
        if isinstance(change, Fact):
            assert known is not None
            self.orders[change.order_id] = known.with_fact(change)
        elif known is None:
            self.orders[change.order_id] = OrderRecord(change, decision_ttl=DECISION_TTL_SECONDS)

    def aimed_at(self, call: Call) -> list[OrderRecord]:
        keys = set(call_keys(call))
        return [
            record
            for record in self.orders.values()
            if record.order.account == call.account and not keys.isdisjoint(record.order.scope.index_keys())
        ]


@dataclass
class Recount:
    """The totals of one partition of ``call-events``, counted event by event, and what its owner has published of them."""

    minutes: dict[tuple[str, str, str, int], list[int]] = field(default_factory=dict)
    waiting: dict[tuple[str, str, str], int] = field(default_factory=dict)
    published: dict[tuple[str, str, str, int | None], ScopeTotals] = field(default_factory=dict)

    def count(self, event: CallEvent, before: Call | None, after: Call) -> None:
        for kind, name in (("account", ""), ("campaign", after.campaign_id)):
            if name is None:
                continue
            scope = event.account, kind, name
            row = self.minutes.setdefault((*scope, minute_of(event.logged_at)), [0] * len(NAMES))
            count(row, before, after, event)
            self.waiting[scope] = (
                self.waiting.get(scope, 0) + after.terminable - (before is not None and before.terminable)
            )

    def hear(self, told: ScopeTotals) -> None:
        """Take in a published record; of two about the same, the one that counted further stands."""
        key = told.account, told.kind, told.name, told.minute
        known = self.published.get(key)
        if known is None or known.offset <= told.offset:
            self.published[key] = told


@dataclass
class Oracle:
    """Folds every record as it is written.

    ``attempts`` are all attempts, with the broker's time. ``early_ends`` are the terminations whose call had ended before
    anything else was known of them: whether a ledger remembers that depends on the order in which it reads its topics.
    """

    topics: Topics
    calls: dict[tuple[str, str], Call] = field(default_factory=dict)
    book: Book = field(default_factory=Book)
    terminations: dict[str, Termination] = field(default_factory=dict)
    decisions: dict[tuple[str, str, int], set[str]] = field(default_factory=dict)
    attempts: list[tuple[float, Attempt]] = field(default_factory=list)
    orders: list[tuple[int, Entry]] = field(default_factory=list)
    recounts: dict[int, Recount] = field(default_factory=dict)
    early_ends: set[str] = field(default_factory=set)

    def fold(self, entry: Entry) -> None:
        topics, logged_at = self.topics, entry.timestamp / 1_000
        if entry.topic == topics.call_events.name:
            position = Position(entry.topic, entry.partition, entry.offset)
            event = decode_event(entry.value, position, logged_at)
            key = event.account, event.call_id
            before = self.calls.get(key)
            self.calls[key] = after = fold(before, event)
            if after is not before:
                self._recount(entry.partition).count(event, before, after)
        elif entry.topic == topics.stop_orders.name:
            self.orders.append((entry.offset, entry))
            self.book.fold(entry)
        elif entry.topic == topics.scope_totals.name and not is_said(entry.key):
            told = decode_totals(entry.value or b"")
            self._recount(told.source).hear(told)
        elif entry.topic in {topics.terminations.name, topics.termination_log.name}:
            self._fold_termination(entry, logged_at)

    def book_until(self, offset: int) -> Book:
        """The orders as somebody knows them who has read ``stop-orders`` up to ``offset``."""
        book = Book()
        for at, entry in self.orders:
            if at < offset:
                book.fold(entry)
        return book

    def _recount(self, partition: int) -> Recount:
        return self.recounts.setdefault(partition, Recount())

    def _fold_termination(self, entry: Entry, logged_at: float) -> None:
        for record in decode_termination_records(entry.value):
            self._fold_one(record, logged_at)

    def _fold_one(self, record: Record, logged_at: float) -> None:
        known = self.terminations.get(record.termination_id)
        if isinstance(record, Decision) and record.scope is None:
            same = self.decisions.setdefault((record.account, record.call_id, record.episode), set())
            same.add(record.termination_id)
        if isinstance(record, Attempt):
            self.attempts.append((logged_at, record))
        if known is None and isinstance(record, Ended):
            self.early_ends.add(record.termination_id)
            return
        self.terminations[record.termination_id] = fold_termination(known, record)
