"""The rules that one partition of ``scope-totals`` asks: about totals that have changed, and about matches that have come.

What has changed is asked about once the orders have been read and what was folded is saved; after a start, what has changed
lately is asked about once more, since nobody may have come to it.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from consumer.guard.ask_matches import MatchRules, StoredMatches
from consumer.guard.ask_totals import Asked, Moment, TotalsFailure, TotalsRules
from consumer.guard.silence import SilenceWatch
from consumer.guard.sums import Sums
from consumer.kafka.order_feed import OrderFeed, control_record, order_record
from consumer.kafka.producer import OutRecord
from consumer.kafka.rule_metrics import RULE_FAILURES, RULE_GIVEN_UP, RULE_ORDERS
from consumer.kafka.topics import Topics
from consumer.model.matches import Match, decode_match, encode_match
from consumer.model.over import ScopeName
from consumer.model.rule_set import RuleSet
from consumer.model.rules import SilenceRule
from consumer.model.scopes import ScopeError
from consumer.model.stops import RuleError
from consumer.model.totals import ScopeTotals

logger = logging.getLogger(__name__)

SCOPES_AT_ONCE = 200
LOOKED_BACK_SECONDS = 600


@dataclass(frozen=True, slots=True)
class RulesOfGuard:
    """The rules that guard asks, of one process: over totals, on several matches, on silence."""

    topics: Topics
    over_totals: TotalsRules = field(default_factory=lambda: TotalsRules(()))
    on_matches: MatchRules = field(default_factory=lambda: MatchRules(()))
    on_silence: tuple[SilenceRule, ...] = ()

    @classmethod
    def of(cls, rules: RuleSet, topics: Topics, *, node: str = "") -> "RulesOfGuard":
        return cls(topics, TotalsRules(rules, node=node), MatchRules(rules), rules.on_silence)


class Asking:
    """What one partition has to ask its rules about."""

    def __init__(self, connection: sqlite3.Connection, sums: Sums, feed: OrderFeed, rules: RulesOfGuard) -> None:
        self._sums = sums
        self._feed = feed
        self._rules = rules
        self._matches = StoredMatches(connection, kept_seconds=rules.on_matches.longest_seconds)
        self._scopes: dict[ScopeName, int] = {}
        self._matched: list[Match] = []
        self._silence = SilenceWatch(rules.on_silence)
        self._now = 0.0

    def take(self, rules: RulesOfGuard) -> None:
        """Go on with other rules."""
        self._rules = rules
        self._matches.keep(rules.on_matches.longest_seconds)
        self._silence.take(rules.on_silence)
        self._learn_of_campaigns()

    @property
    def dirty(self) -> bool:
        return self._matches.dirty

    def note_totals(self, totals: ScopeTotals, at: float, *, live: bool) -> None:
        """Learn that a scope's totals have changed; ``at`` is the broker's time (seconds) of the record."""
        self._now = max(self._now, at)
        scope = (totals.account, totals.kind, totals.name)
        if totals.minute is not None and totals.kind == "campaign" and self._rules.on_silence:
            self._silence.heard(scope, totals.minute)
        if live and totals.minute is not None and totals.kind in self._rules.over_totals.kinds:
            self._scopes[scope] = max(self._scopes.get(scope, 0), totals.minute)

    def note_match(self, value: bytes, *, live: bool) -> None:
        """Take a match up; raises ``msgspec.DecodeError`` where the record is none."""
        match = decode_match(value)
        self._matches.put(match)
        if live:
            self._matched.append(match)

    def look_again(self) -> None:
        """Ask once more about what has changed lately."""
        latest = self._sums.latest_minute()
        for told, minute in (
            self._sums.scopes_since(latest - LOOKED_BACK_SECONDS) if self._rules.over_totals.rules else ()
        ):
            account, kind, name = told.split("/", 2)
            if kind in self._rules.over_totals.kinds:
                self._scopes[account, kind, name] = minute
        self._matched += self._matches.newest_since(LOOKED_BACK_SECONDS)
        self._now = max(self._now, float(latest))
        self._learn_of_campaigns()

    def work(self, now: float) -> tuple[list[OutRecord], bool]:
        """Ask about some of what has changed; says whether more is left. Nothing is asked before the orders are read."""
        if not self._feed.ready:
            return [], False
        outputs = list(self._ask_about_matches())
        for scope in list(self._scopes)[:SCOPES_AT_ONCE]:
            moment = Moment(scope, self._scopes.pop(scope), self._now)
            outputs += self._said(self._rules.over_totals.ask(moment, self._sums, self._feed.book))
        return [*outputs, *self._alerts(now)], bool(self._scopes)

    def save(self, connection: sqlite3.Connection) -> None:
        self._matches.save(connection)

    def _ask_about_matches(self) -> Iterator[OutRecord]:
        matched, self._matched = self._matched, []
        for match in matched:
            try:
                order = self._rules.on_matches.ask(match, self._matches, self._feed.book)
            except (RuleError, ScopeError, ValueError) as error:
                logger.error("a match of rule %s is skipped: %s", match.rule, error)
                continue
            if order is not None:
                RULE_ORDERS.labels(order.by.name).inc()
                yield order_record(self._feed.topic, order)

    def _said(self, asked: Asked) -> Iterator[OutRecord]:
        for order in asked.orders:
            RULE_ORDERS.labels(order.by.name).inc()
            yield order_record(self._feed.topic, order)
        for match in asked.matches:
            yield match_record(self._rules.topics, match)
        for failure in asked.failures:
            RULE_FAILURES.labels(failure.rule).inc()
            logger.error("rule %s failed on the totals of %s: %s", failure.rule, failure.scope[1], failure.error)
            yield _failure_record(self._rules.topics, failure)

    def _alerts(self, now: float) -> Sequence[OutRecord]:
        known = self._feed.controls.alerts
        slow = self._rules.over_totals.alerts(known, self._now)
        for alert in slow:
            if alert.active:
                RULE_GIVEN_UP.labels(alert.name.split("/")[1]).inc()
                logger.error("%s", alert.text)
        silent = self._silence.look(now, self._sums, known)
        for alert in silent:
            logger.warning("%s%s", "" if alert.active else "no longer: ", alert.text)
        return [control_record(self._feed.topic, alert) for alert in (*slow, *silent)]

    def _learn_of_campaigns(self) -> None:
        if self._rules.on_silence:
            for told, minute in self._sums.campaigns_heard_of():
                account, kind, name = told.split("/", 2)
                self._silence.heard((account, kind, name), minute)


def match_record(topics: Topics, match: Match) -> OutRecord:
    """Make the record of a match."""
    topic = topics.scope_totals
    return OutRecord(topic.name, topic.partition_of(match.scope_key), match.key, encode_match(match))


def _failure_record(topics: Topics, failure: TotalsFailure) -> OutRecord:
    account, kind, name = failure.scope
    value = {
        "source": "rule",
        "rule": failure.rule,
        "version": failure.version,
        "reason": failure.error,
        "account": account,
        "over": {"kind": kind, "name": name, "minute": failure.minute},
    }
    topic = topics.rejected
    return OutRecord(topic.name, topic.partition_of("/".join(failure.scope).encode()), b"rule", orjson.dumps(value))
