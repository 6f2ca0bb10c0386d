"""How many calls of one partition a proposed order would stop: counted where orders are applied, for whoever judges it."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from consumer.correlate import scans
from consumer.correlate.calls import Calls
from consumer.correlate.totals import Totals
from consumer.kafka.order_feed import OrderFeed
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.model.calls import Call
from consumer.model.counts import JUDGE, CountedUpTo, OrderCount, Said, encode_said
from consumer.model.orders import Mode, OrderRecord, OrderState, effective_mode
from consumer.model.protected import Protected
from consumer.model.scopes import ScopeKind, call_keys

EVERY_SECONDS = 0.05
READING_EVERY_SECONDS = 1.0
MOST_CAMPAIGNS = 200


class Counted(Protocol):
    """What is to be counted with; a part of ``Correlation``."""

    @property
    def topics(self) -> Topics: ...
    @property
    def feed(self) -> OrderFeed: ...
    @property
    def protected(self) -> Protected: ...
    @property
    def counting(self) -> bool: ...


class Counting:
    """Counts for the orders that nobody has judged yet, and says how far it has counted.

    It counts once the partition has read the calls that were there when it was taken over: before, it would tell too little.
    """

    def __init__(self, calls: Calls, totals: Totals, *, source: int, correlation: Counted) -> None:
        self._caught_up = False
        self._calls = calls
        self._totals = totals
        self._source = source
        self._topics = correlation.topics
        self._feed = correlation.feed
        self.take(correlation)
        self._said: tuple[str, int] | None = None
        self._said_at = 0.0

    def take(self, correlation: Counted) -> None:
        """Go on with other limits, and other calls that are protected."""
        self._wanted = correlation.counting
        self._protected = correlation.protected

    def went_live(self, *, caught_up: bool) -> None:
        """Learn that the partition is ours, and whether all is read; what was said before, another may have taken back."""
        self._caught_up = caught_up
        self._said = None

    def of(self, record: OrderRecord, now: float) -> Iterator[list[OutRecord]]:
        """Count the calls that an order would stop, a page at a time; a call by id is nothing to be counted."""
        order = record.order
        if not self._wanted or record.state(now) is not OrderState.PROPOSED or order.scope.kind is ScopeKind.CALL:
            return
        matched = 0
        by_campaign: Counter[str] = Counter()
        keys = set(order.scope.index_keys())
        for page in scans.in_scope(self._calls, record):
            for call in page:
                if self._would_stop(record, call) and not keys.isdisjoint(call_keys(call)):
                    matched += 1
                    if call.campaign_id:
                        by_campaign[call.campaign_id] += 1
            yield []
        if matched:
            most = dict(by_campaign.most_common(MOST_CAMPAIGNS))
            open_in = {name: self._totals.waiting(order.account, name) for name in most}
            yield [self._out(OrderCount(order.order_id, self._source, matched, most, open_in))]

    def of_all_proposed(self, now: float) -> Iterator[list[OutRecord]]:
        """Count for every order that waits, as a partition does that has no orders applied yet."""
        after = -1
        while proposed := self._feed.book.proposed(after=after) if self._wanted else []:
            for after, record in proposed:  # noqa: B007 -- the place to go on from
                yield from self.of(record, now)

    def say(self, applied: int | None, now: float) -> list[OutRecord]:
        """Say how far this partition has counted, where an order waits; ``applied`` is the next offset to be applied."""
        pause = EVERY_SECONDS if self._caught_up else READING_EVERY_SECONDS
        just_said = 0.0 <= now - self._said_at < pause  # clocks are set back now and then
        if not self._wanted or just_said:
            return []
        if applied is None or not self._caught_up:
            return self._say_reading(now)
        log = self._feed.book.view.logs.get(self._topics.stop_orders.name, "")
        if self._said == (log, applied):
            return []
        self._said = (log, applied)
        accounts = self._feed.book.accounts_of_proposed()
        if not accounts:
            return []
        self._said_at = now
        waiting = {account: self._totals.waiting(account) for account in accounts}
        return [self._out(CountedUpTo(self._source, log, applied, waiting))]

    def _say_reading(self, now: float) -> list[OutRecord]:
        """Say that a count will come: an order waits, and this partition is still being read."""
        self._said, self._said_at = None, now
        if not self._feed.ready or not self._feed.book.accounts_of_proposed():
            return []
        return [self._out(CountedUpTo(self._source, "", 0, reading=True))]

    def _would_stop(self, record: OrderRecord, call: Call) -> bool:
        order = record.order
        if not call.terminable or call.account != order.account or self._protected.covers(call):
            return False
        shadow = order.mode is Mode.SHADOW
        return shadow or effective_mode(order, call.call_id, call.campaign_id) is Mode.ENFORCE

    def _out(self, said: Said) -> OutRecord:
        return OutRecord(self._topics.scope_totals.name, JUDGE, said.key, encode_said(said))
