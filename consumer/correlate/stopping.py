"""How many calls of one partition orders of rules stop: said now and then, for what registers later counts too."""

import sqlite3
from collections.abc import Iterable

from consumer.kafka.producer import OutRecord
from consumer.kafka.topics import Topics
from consumer.model.calls import Call
from consumer.model.counts import JUDGE, OrderStopped, encode_said
from consumer.model.orders import FactKind, Mode, OrderRecord, effective_mode

SCHEMA = """
CREATE TABLE IF NOT EXISTS stopped (order_id TEXT PRIMARY KEY, calls INTEGER NOT NULL) WITHOUT ROWID;
"""
AT_ONCE = 500


class Stopping:
    """Counts decisions by order. Changes wait in memory until ``save``; what was counted is said before a commit."""

    def __init__(self, connection: sqlite3.Connection, *, source: int, topics: Topics) -> None:
        self._connection = connection
        self._source = source
        self._topic = topics.scope_totals.name
        self._calls: dict[str, int] = {}
        self._said: list[str] = []
        self._unsaid = True
        self._now = self._said_at = 0

    @property
    def dirty(self) -> bool:
        return bool(self._calls or self._said)

    def tick(self, now: float) -> None:
        """Learn the time (seconds), which tells one word from its repetition."""
        self._now = round(now * 1_000)

    def note(self, call: Call, wanted: Iterable[OrderRecord]) -> None:
        """Count a call for the orders that want it stopped now and did not before, unless a person has let them through."""
        for record in wanted:
            order = record.order
            if order.by.is_operator or order.order_id in call.decided or record.fact(FactKind.APPROVED):
                continue
            if effective_mode(order, call.call_id, call.campaign_id) is Mode.ENFORCE:
                self._calls[order.order_id] = self._calls.get(order.order_id, 0) + 1

    def unsaid(self) -> list[OutRecord]:
        """Give a part of what was counted since it was last said; ``save`` then notes it as said."""
        if not self._unsaid:
            return []
        rows = self._connection.execute("SELECT order_id, calls FROM stopped LIMIT ?", (AT_ONCE,)).fetchall()
        self._unsaid = len(rows) == AT_ONCE
        self._said = [order_id for order_id, _ in rows]
        self._said_at = max(self._said_at + 1, self._now)
        said = [OrderStopped(order_id, self._source, self._said_at, calls) for order_id, calls in rows]
        return [OutRecord(self._topic, JUDGE, one.key, encode_said(one)) for one in said]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        connection.executemany("DELETE FROM stopped WHERE order_id = ?", [(order_id,) for order_id in self._said])
        connection.executemany(
            "INSERT INTO stopped VALUES (?, ?) ON CONFLICT (order_id) DO UPDATE SET calls = calls + excluded.calls",
            self._calls.items(),
        )
        self._unsaid = self._unsaid or bool(self._calls)
        self._said.clear()
        self._calls.clear()
