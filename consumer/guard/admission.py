"""Whether what rules propose comes into force: by how many calls it would stop, and what the limits say to that.

Level-triggered: each order that the book has as proposed is looked at until it has an answer. The same records give the
same answer, also after a restart.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.guard import metrics
from consumer.guard.counts import Counts
from consumer.guard.late import Late
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_feed import fact_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topic
from consumer.model.limits import NO_LIMITS, Count, Limits, Look, Subject, count_of_named, look
from consumer.model.orders import Author, Fact, FactKind, Mode, OrderRecord, StopOrder
from consumer.model.scopes import ScopeKind

logger = logging.getLogger(__name__)

GUARD = Author("guard", "guard")
AT_ONCE = 500
LOOKED_AT = 2_000
COUNT_WITHIN_SECONDS = 10.0
TIDY_EVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Judging:
    """By what orders are judged: the limits, and of how many partitions of ``call-events`` a count is made."""

    limits: Limits = NO_LIMITS
    sources: int = 0
    count_within_seconds: float = COUNT_WITHIN_SECONDS


class KnownOrders(Protocol):
    """Where orders are found: an ``OrderFeed``."""

    @property
    def ready(self) -> bool: ...
    @property
    def topic(self) -> Topic: ...
    @property
    def book(self) -> StoredOrderBook: ...


class Admission:
    """Judges the orders of rules. One process does, the owner of partition 0 of ``scope-totals``."""

    def __init__(self, feed: KnownOrders, counts: Counts, late: Late, judging: Judging) -> None:
        self._feed = feed
        self._counts = counts
        self._late = late
        self.judging = judging
        self._read_in = feed.book.view
        self._since: dict[str, float] = {}
        self._answered: dict[str, tuple[StopOrder, Count, float]] = {}
        self._tidied_at = 0.0

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Judge what is proposed; says whether more is left. Nothing is, while the orders are still being read."""
        if not self._feed.ready:
            return [], False
        if self._read_in is not self._feed.book.view:  # the orders have been read anew, from another log perhaps
            self._read_in = self._feed.book.view
            self._since.clear()
            self._answered.clear()
        self._let_go_of_what_was_read()
        facts = [fact for order_id in sorted(self._late.changed) if (fact := self._judge_again(order_id, now))]
        waiting: set[str] = set()
        after = -1
        while len(facts) < AT_ONCE and len(waiting) < LOOKED_AT:
            proposed = self._feed.book.proposed(after=after, limit=AT_ONCE)
            for place, record in proposed:
                after = place
                waiting.add(record.order.order_id)
                if record.order.order_id not in self._answered and (fact := self._judge(place, record, now)):
                    facts.append(fact)
            if len(proposed) < AT_ONCE:
                break
        self._forget(waiting, now, complete=len(waiting) < LOOKED_AT and len(facts) < AT_ONCE)
        return [fact_record(self._feed.topic, fact) for fact in facts], len(facts) >= AT_ONCE

    def _judge(self, place: int, record: OrderRecord, now: float) -> Fact | None:
        """Answer one order, or None while its count is not complete and may become so."""
        order = record.order
        since = self._since[order.order_id] = min(now, self._since.get(order.order_id, now))  # clocks are set back
        count, missing = self._count(place, order)
        in_time = now - since < self.judging.count_within_seconds
        if missing and (in_time or self._counts.are_reading(missing, now)):
            return None
        looks = look(
            order, count, self.judging.limits, lambda subject, within: self._used(order, subject, now - within)
        )
        reasons = [
            *_failed(order),
            *_incomplete(count, missing),
            *(f"{one.of}: {one.over}" for one in looks if one.over),
        ]
        fact = _answer(order, count if self.judging.limits.any else None, looks, reasons)
        let_through = count if fact.kind is FactKind.ADMITTED else Count(0)
        self._answered[order.order_id] = (order, let_through, now)
        return fact

    def _judge_again(self, order_id: str, now: float) -> Fact | None:
        """Look at what an order has stopped since it was let through; above a limit, it waits from now on."""
        record = self._feed.book.get(order_id)
        if record is None or (record.since is None and not record.facts):
            return None  # not read yet, or not judged: later
        self._late.changed.discard(order_id)
        order, news = record.order, self._late.news(record)
        if not news.matched or not self.judging.limits.any:
            return None
        open_calls = self._counts.of(order_id, order.account, sources=self.judging.sources).open_calls
        # What it has stopped may not be open any more.
        count = news._replace(open_calls=None if open_calls is None else open_calls + news.matched)
        looks = look(
            order, count, self.judging.limits, lambda subject, within: self._used(order, subject, now - within)
        )
        self._late.note(order, news.matched, now)
        over = [f"{one.of}: {one.over}" for one in looks if one.over]
        if not over or not record.in_force(now):
            return None
        metrics.JUDGED.labels(order.by.name, "held").inc()
        why = (
            f"it goes on stopping calls that register, {news.matched:,} since it was last looked at: {'; '.join(over)}"
        )
        logger.warning("order %s of rule %s waits for approval: %s", order_id, order.by.name, why)
        details = {"limits": [one.as_dict() for one in looks], "count": news.matched, "later": True}
        return Fact(order_id, FactKind.HELD, GUARD, why, details=details)

    def _count(self, place: int, order: StopOrder) -> tuple[Count, list[int]]:
        """What an order would stop, and the partitions that have not said so yet."""
        sources = self.judging.sources
        if not self.judging.limits.any:
            return Count(0), []
        count = self._counts.of(order.order_id, order.account, sources=sources)
        if order.scope.kind is ScopeKind.CALL:
            return count_of_named(order, count.open_calls), []
        log = self._feed.book.view.logs.get(self._feed.topic.name, "")
        return count, self._counts.missing(place, log, sources)

    def _used(self, order: StopOrder, subject: Subject, since: float) -> int:
        """The calls let through for a subject, those included whose admission has not been read back yet."""
        shadow = order.mode is Mode.SHADOW
        known = self._feed.book.calls_let_through(subject, since, shadow=shadow)
        return (
            known
            + self._late.used(subject, since)
            + sum(
                _share_of(subject, other, count)
                for other, count, at in self._answered.values()
                if at > since and (shadow or other.mode is not Mode.SHADOW)
            )
        )

    def _let_go_of_what_was_read(self) -> None:
        """Answers that the book has are counted there."""
        for order_id in [order_id for order_id in self._answered if self._is_judged(order_id)]:
            del self._answered[order_id]

    def _forget(self, waiting: set[str], now: float, *, complete: bool) -> None:
        """Let go of orders that the book no longer has as proposed."""
        if complete:
            self._since = {order_id: since for order_id, since in self._since.items() if order_id in waiting}
        if now - self._tidied_at >= TIDY_EVERY_SECONDS:
            self._tidied_at = now
            self._counts.tidy(self._is_judged, now)

    def _is_judged(self, order_id: str) -> bool | None:
        record = self._feed.book.get(order_id)
        if record is None:
            return None
        return record.since is not None or bool(record.facts)


def _failed(order: StopOrder) -> Iterable[str]:
    """A rule that raised and is to hold then; what it wanted to stop is for a person to say."""
    error = (order.explanation or {}).get("error")
    if error:
        yield f"the rule failed: {error}"


def _incomplete(count: Count, missing: Sequence[int]) -> Iterable[str]:
    if missing:
        which = ", ".join(map(str, missing[:20])) + (" and others" if len(missing) > 20 else "")
        yield f"partitions {which} of the calls have not counted in time; {count.matched:,} calls so far"


def _answer(order: StopOrder, count: Count | None, looks: Sequence[Look], reasons: Sequence[str]) -> Fact:
    """Say yes or wait, with what was consulted; ``count`` is None where there are no limits and nobody counted."""
    details: dict[str, Any] = {"limits": [one.as_dict() for one in looks]}
    if count is not None:
        details |= {"count": count.matched, "open": count.open_calls, "by_campaign": dict(count.by_campaign)}
    metrics.JUDGED.labels(order.by.name, "held" if reasons else "admitted").inc()
    if not reasons:
        return Fact(order.order_id, FactKind.ADMITTED, GUARD, "within the limits", details=details)
    why = "; ".join(reasons)
    if order.mode is Mode.SHADOW:
        details["would_wait"] = True
        return Fact(order.order_id, FactKind.ADMITTED, GUARD, f"in shadow; else it would wait: {why}", details=details)
    logger.warning("order %s of rule %s waits for approval: %s", order.order_id, order.by.name, why)
    would = "" if count is None else f"it would stop {count.matched:,} calls: "
    return Fact(order.order_id, FactKind.HELD, GUARD, f"{would}{why}", details=details)


def _share_of(subject: Subject, order: StopOrder, count: Count) -> int:
    """What an order that was just admitted adds to a subject."""
    if subject.rule not in (None, order.by.name) or subject.account not in (None, order.account):
        return 0
    return count.matched if subject.campaign is None else count.by_campaign.get(subject.campaign, 0)
