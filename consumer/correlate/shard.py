"""One partition of ``call-events``: its calls, and what follows from them."""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from consumer.correlate import calls, metrics, scans, stopping, totals
from consumer.correlate.ask_rules import NOTHING, Rules
from consumer.correlate.calls import Calls, Keeping, Kept, save_applied_orders
from consumer.correlate.counting import Counting
from consumer.correlate.decide import decision, ended, orders_for, scope_decisions
from consumer.correlate.keep import Keeper
from consumer.correlate.records import Records
from consumer.correlate.room import room_of
from consumer.correlate.rules_said import alerts_of, records_of
from consumer.correlate.stopping import Stopping
from consumer.correlate.totals import Told, Totals
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.reader import LogRecord
from consumer.kafka.topics import Topics
from consumer.kafka.view import View
from consumer.model.calls import Call, carried_on, fold_logged
from consumer.model.codec import CodecError, decode_carried, is_carried
from consumer.model.events import CallEvent, Position
from consumer.model.orders import OrderRecord
from consumer.model.outline import Outline, decode_outline
from consumer.model.protected import Protected
from consumer.model.scopes import A_FEW
from consumer.model.status import Status
from consumer.model.totals import Measure

logger = logging.getLogger(__name__)

SCHEMA = calls.SCHEMA + totals.SCHEMA + stopping.SCHEMA
WEBHOOK_SOURCE = "webhook"

__all__ = ["SCHEMA", "CorrelateShard", "Correlation"]


class Correlation(NamedTuple):
    """What every partition is correlated with: the orders, the rules, what they may not touch, how long calls are kept.

    With ``counting``, proposed orders are counted for, since there are limits.
    """

    topics: Topics
    feed: OrderFeed
    rules: Rules
    protected: Protected
    keeping: Keeping = Keeping()
    measures: Sequence[Measure] = ()
    totals_of_numbers: bool = False
    counting: bool = False
    totals_name_scopes: bool = False


class CorrelateShard:
    """Folds call events, asks the rules, and joins calls with orders in both directions."""

    def __init__(self, view: View, *, partition: int, correlation: Correlation) -> None:
        self._partition = partition
        self.view = view
        room = room_of(correlation.topics.call_events.partitions)
        self.calls = Calls(view.connection, correlation.keeping, at_hand=room.at_hand)
        self._most_unsaved = room.unsaved_calls
        self.totals = Totals(
            view.connection,
            source=partition,
            measures=correlation.measures,
            numbers=correlation.totals_of_numbers,
            names=correlation.totals_name_scopes,
        )
        self._topics, self._feed, self._rules, self._protected = correlation[:4]
        self._records = Records(correlation.topics, partition)
        self._keeper = Keeper(self.calls, correlation.keeping)
        self._applied = self.calls.applied_orders()
        self._applied_changed = False
        self._counting = Counting(self.calls, self.totals, source=partition, correlation=correlation)
        self._stopping = Stopping(view.connection, source=partition, topics=correlation.topics)
        self._wants_counts = correlation.counting
        self._scan: Iterator[list[OutRecord]] | None = None
        self._scan_until = 0
        self.last_webhook_at: dict[str, float] = {}

    def take(self, correlation: Correlation) -> None:
        """Go on with other rules, limits and protected calls."""
        self._rules, self._protected = correlation.rules, correlation.protected
        self._counting.take(correlation)
        self._wants_counts = correlation.counting
        self.totals.wants(
            correlation.measures, numbers=correlation.totals_of_numbers, names=correlation.totals_name_scopes
        )

    @property
    def dirty(self) -> bool:
        return self.calls.dirty or self.totals.dirty or self._stopping.dirty or self._applied_changed

    def fold(self, records: Sequence[LogRecord], *, live: bool) -> list[OutRecord]:
        self.totals.live(live)
        records, told = _read(records)
        outputs: list[OutRecord] = []
        news: list[Told] = []
        for record, one, kept in zip(records, told, self.calls.at_hand(told), strict=True):
            if isinstance(one, Call):
                outputs += self._fold_carried(one, kept, record, live=live)
                continue
            logged_at, before = record.timestamp / 1_000, kept.call
            if one.source == WEBHOOK_SOURCE:
                self.last_webhook_at[one.account] = logged_at
            if before is not None and not self._keeper.remembers(before, logged_at):
                before = None
            after = fold_logged(before, one, logged_at, record.offset)
            if after is before:
                metrics.DUPLICATES.inc()
                continue
            news.append((one, before, after, logged_at))
            if live:
                after = self._follow(one, before, after, outputs)
            self.calls.change(kept, after)
        self.totals.add(news)
        if records:
            self._keeper.reached(records[-1].timestamp / 1_000)  # the broker's times only grow in a partition
        if live:
            self._apply_again_what_is_not_known()
        return outputs

    def go_live(self, *, caught_up: bool) -> None:
        """A view that never saw an order applied (a new or rebuilt one) is reconciled as a whole by ``work``."""
        self._counting.went_live(caught_up=caught_up)

    @property
    def urgent(self) -> bool:
        """Whether the calls that wait to be saved take all the memory that they may."""
        return self.calls.unsaved >= self._most_unsaved

    def looks_into_rows(self, now: float) -> bool:
        """Whether ``work`` would look for calls that it finds once they are saved."""
        if self._scan is not None or self._keeper.is_due(now):
            return True
        if not self._feed.ready or self._applied == self._feed.next_offset:
            return False
        if self._applied is None or self._applied > self._feed.next_offset:
            return True
        orders = (record.order for record in self._feed.book.changed_since(self._applied))
        return any(n >= A_FEW or self.calls.wants_saving(one.account, one.scope) for n, one in enumerate(orders))

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Keep calls beyond the topic's retention, and apply the orders that have changed."""
        self._stopping.tick(now)
        self.calls.read_on()
        outputs = [self._records.carried(call) for call in self._keeper.work(now)]
        joined, more = self._apply_orders(now)
        counted = [] if self._scan else self._counting.say(self._applied, now)
        return [*outputs, *joined, *counted, *alerts_of(self._rules, self._feed, now)], more

    def before_commit(self) -> list[OutRecord]:
        """Give totals that have changed since they were last published, and what orders of rules have stopped."""
        return [*(self._records.totals(total) for total in self.totals.to_publish()), *self._stopping.unsaid()]

    def save(self, connection: sqlite3.Connection) -> bool:
        if self.calls.save(connection):
            return True
        self.totals.save(connection)
        self._stopping.save(connection)
        if self._applied_changed and self._applied is not None:
            save_applied_orders(connection, self._applied)
            self._applied_changed = False
        return False

    def _follow(self, event: Outline, before: Call | None, after: Call, outputs: list[OutRecord]) -> Call:
        """Add what follows from an event; gives the call as it is then."""
        if self._rules.looking_at[event.type][event.status]:
            outputs += self._ask_rules(event, after)
        now = after.progress.standing
        if before is not None and (
            before.progress.standing.terminable or (before.decided and now.status is Status.CANCELLED)
        ):
            outputs += self._say_ended(before, after, event)
        if now.terminable and self._feed.book.aimed_at(after):  # at nearly every call there is none
            after, decided = self._join(after, event.position, event.logged_at)
            outputs += decided
        return after

    def _fold_carried(self, written: Call, kept: Kept, record: LogRecord, *, live: bool) -> list[OutRecord]:
        """Fold a call that was written as a whole."""
        before, logged_at = kept.call, record.timestamp / 1_000
        after = carried_on(before, written, logged_at)
        self.totals.add_carried(before, after, record.offset)
        after, outputs = self._join(after, _position(record), logged_at) if live else (after, [])
        self.calls.change(kept, after)
        return outputs

    def _ask_rules(self, event: CallEvent, call: Call) -> list[OutRecord]:
        asked = self._rules.judge(event, call, self._feed.book)
        return [] if asked is NOTHING else list(records_of(asked, self._records))

    def _say_ended(self, before: Call, after: Call, event: CallEvent) -> list[OutRecord]:
        """Say that an episode is over, where somebody wanted it stopped."""
        if not before.decided and not self._feed.book.aimed_at(before):
            return []
        record = ended(before, after, event)
        return [self._records.termination(record)] if record else []

    def _join(
        self, call: Call, position: Position | None, now: float, *, bulk: bool = False
    ) -> tuple[Call, list[OutRecord]]:
        """Write a decision where orders want the call stopped, unless one with all of them was written for this episode."""
        wanted = orders_for(call, self._feed.book, self._protected, now)
        if not wanted or all(record.order.order_id in call.decided for record in wanted):
            return call, []
        metrics.decisions(call.account).inc()
        if self._wants_counts:
            self._stopping.note(call, wanted)
        record = decision(call, wanted, position, now, bulk=bulk)
        return call.with_decided(record.orders), [self._records.termination(record)]

    def _apply_again_what_is_not_known(self) -> None:
        """Where the book has lost orders that were applied here, calls are folded meanwhile that have not met them."""
        if self._applied is not None and self._feed.next_offset < self._applied:
            self._applied = self._feed.next_offset
            self._applied_changed = True

    def _apply_orders(self, now: float) -> tuple[list[OutRecord], bool]:
        """Go a step further in applying the orders that have changed since the last look; says whether more is left."""
        if not self._feed.ready:
            return [], False
        if self._scan is None:
            if self._applied == self._feed.next_offset:
                return [], False
            if self._applied is not None and self._applied > self._feed.next_offset:
                self._applied = None  # stop-orders was made again: what is in it now has met none of these calls
            self._scan_until = self._feed.next_offset
            self._scan = self._reconcile(now) if self._applied is None else self._apply_changed(self._applied, now)
        outputs: list[OutRecord] = []
        for _ in range(scans.STEPS_AT_ONCE):
            found = next(self._scan, None)
            if found is None:
                break
            outputs += found
            if len(outputs) >= scans.OUTPUTS_AT_ONCE:
                return outputs, True
        else:
            return outputs, True
        self._scan = None
        self._applied = self._scan_until
        self._applied_changed = True
        return outputs, self._applied != self._feed.next_offset

    def _apply_changed(self, offset: int, now: float) -> Iterator[list[OutRecord]]:
        """Look at the waiting calls of every order that changed at ``offset`` or later."""
        for n, record in enumerate(self._feed.book.changed_since(offset), start=1):
            if n % scans.KEYS_AT_ONCE == 0:
                yield []  # many that are over, one after the other, are no reason to hold up the rest
            if record.in_force(now):
                yield self._whole_scope(record, now)
                for page in scans.in_scope(self.calls, record):
                    yield self._join_all(page, now, bulk=record.order.scope.is_broad)
            else:
                yield from self._counting.of(record, now)

    def _reconcile(self, now: float) -> Iterator[list[OutRecord]]:
        """Look at every waiting call once: after a rebuild, or where no order was ever applied."""
        for record in self._feed.book.reaching_everything(now):
            yield self._whole_scope(record, now)
        for page in scans.all_waiting(self.calls):
            yield self._join_all(page, now, bulk=True)
        yield from self._counting.of_all_proposed(now)

    def _whole_scope(self, record: OrderRecord, now: float) -> list[OutRecord]:
        """Ask for the provider's own stop of a scope; of all partitions, the one that the order's id falls on says so."""
        if self._topics.call_events.partition_of(record.order.order_id.encode()) != self._partition:
            return []
        return [self._records.termination(wanted) for wanted in scope_decisions(record, now)]

    def _join_all(self, page: Sequence[Call], now: float, *, bulk: bool) -> list[OutRecord]:
        outputs: list[OutRecord] = []
        for call in page:
            decided, records = self._join(call, None, now, bulk=bulk)
            if records:
                self.calls.put(decided, call)
                outputs += records
        return outputs


def _read(records: Sequence[LogRecord]) -> tuple[Sequence[LogRecord], Sequence[Outline | Call]]:
    """Read what records say; those that are not ours are left out loudly."""
    try:
        return records, [decode_outline(record) for record in records]
    except CodecError:
        read = [(record, told) for record in records if (told := _read_any(record))]
        return [record for record, _ in read], [told for _, told in read]


def _read_any(record: LogRecord) -> Outline | Call | None:
    """Read an event, or a call that was written as a whole."""
    try:
        return decode_outline(record)
    except CodecError as no_event:
        try:
            return decode_carried(record.value)
        except CodecError as no_call:
            metrics.UNREADABLE.inc()
            why = no_call if is_carried(record.value) else no_event
            logger.error("%s is skipped: %s", _position(record), why)
            return None


def _position(record: LogRecord) -> Position:
    return Position(record.topic, record.partition, record.offset)
