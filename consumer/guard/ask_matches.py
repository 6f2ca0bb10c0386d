"""Rules that act only on several matches: the matches of all partitions, by rule and scope, and the orders they give."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from consumer.model.controls import as_strong, in_mode_of_now
from consumer.model.matches import Match, decode_match, encode_match, enough
from consumer.model.order_book import OrderBook
from consumer.model.orders import StopOrder
from consumer.model.proposals import CAMPAIGN, proposal
from consumer.model.rules import Rule
from consumer.model.throttles import begins_anew, may_order, once_per_slot, orders_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS matches (
    rule TEXT NOT NULL, scope TEXT NOT NULL, event TEXT NOT NULL, at REAL NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (rule, scope, event)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS matches_by_time ON matches (rule, scope, at);
CREATE INDEX IF NOT EXISTS matches_by_age ON matches (at);
"""
MOST_AT_ONCE = 10_000
ON_ITS_WAY = 1_000
ON_ITS_WAY_SECONDS = 10.0


class MatchesWithin(Protocol):
    """Where matches are found."""

    def within(self, match: Match, after: float) -> Sequence[Match]:
        """Give what there is of the same rule and scope, later than ``after`` and up to ``match``, oldest first."""
        ...


class StoredMatches:
    """Matches in a view. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection, *, kept_seconds: float) -> None:
        self._connection = connection
        self._kept_seconds = kept_seconds
        self._changed: list[Match] = []
        self._latest = 0.0

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def keep(self, seconds: float) -> None:
        """Keep matches for so long from here on."""
        self._kept_seconds = seconds

    def put(self, match: Match) -> None:
        self._changed.append(match)
        self._latest = max(self._latest, match.at)

    def within(self, match: Match, after: float) -> Sequence[Match]:
        rows = self._connection.execute(
            "SELECT record FROM matches WHERE rule = ? AND scope = ? AND at > ? AND at <= ? ORDER BY at DESC LIMIT ?",
            (match.rule, _scope(match), after, match.at, MOST_AT_ONCE),
        )
        return [decode_match(record) for (record,) in rows][::-1]

    def newest_since(self, seconds: float) -> list[Match]:
        """Give the newest saved match of each rule and scope, of those within so long before the newest of all."""
        rows = self._connection.execute(
            "SELECT record, max(at) FROM matches WHERE at >= (SELECT max(at) FROM matches) - ? GROUP BY rule, scope",
            (seconds,),
        )
        return [decode_match(record) for record, _ in rows]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction, and drop what no rule reaches back to."""
        if not self._changed:
            return
        connection.executemany(
            "INSERT OR IGNORE INTO matches VALUES (?, ?, ?, ?, ?)",
            [(match.rule, _scope(match), match.event_id, match.at, encode_match(match)) for match in self._changed],
        )
        self._changed.clear()
        connection.execute("DELETE FROM matches WHERE at < ?", (self._latest - self._kept_seconds,))


class MatchRules:
    """The rules that act on several matches, by name."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules if rule.throttle.matches is not None}
        self._on_its_way: dict[tuple[str, str], tuple[str, float]] = {}

    @property
    def longest_seconds(self) -> float:
        """How far back any rule counts."""
        return max(
            (rule.throttle.matches.within for rule in self._rules.values() if rule.throttle.matches), default=0.0
        )

    def ask(self, match: Match, matches: MatchesWithin, book: OrderBook) -> StopOrder | None:
        """Give the order for which a match was the last that it took; None where it takes more, or may not be now."""
        rule = self._rules.get(match.rule)
        if rule is None or rule.throttle.matches is None or not match.matched:
            return None
        throttle = rule.throttle.matches
        cause = [once_per_slot(rule.throttle, match.at) or match.event_id]
        wanted = in_mode_of_now(proposal(rule, match.stop(), match.account, cause=cause), book.controls)
        before = [one for one in orders_of(wanted, book) if as_strong(one.order, wanted)]
        if not may_order(rule.throttle, before, match.at) or self._was_just_said(match, book):
            return None
        told = matches.within(match, max(match.at - throttle.within, begins_anew(before, match.at)))
        found = enough(throttle, told)
        if found is None:
            return None
        about: dict[str, Any] = {
            "matches": {
                "found": len(found),
                "of": min(len(told), throttle.of or len(told)),
                "within_seconds": throttle.within,
            }
        }
        if match.campaign_id:
            about[CAMPAIGN] = match.campaign_id
        evidence = [one.position for one in reversed(found)]
        order = proposal(rule, match.stop(), match.account, cause=cause, evidence=evidence, about=about)
        if len(self._on_its_way) >= ON_ITS_WAY:
            self._on_its_way.clear()
        self._on_its_way[match.rule, _scope(match)] = (order.order_id, match.at)
        return in_mode_of_now(order, book.controls)

    def _was_just_said(self, match: Match, book: OrderBook) -> bool:
        """Whether the order was proposed a moment ago and the book has not read it yet."""
        said = self._on_its_way.get((match.rule, _scope(match)))
        return said is not None and match.at - said[1] < ON_ITS_WAY_SECONDS and book.get(said[0]) is None


def _scope(match: Match) -> str:
    return f"{match.account}/{match.scope_name}"
