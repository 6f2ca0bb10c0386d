"""What orders of rules stop after they were let through: calls that registered while an order held.

An order is let through by what waits at that moment. What it stops beyond that counts for the limits like what a new order
would stop: above one, the order waits for approval from then on.
"""

import sqlite3

from consumer.model.counts import OrderStopped
from consumer.model.limits import Count, Subject
from consumer.model.orders import FactKind, OrderRecord, StopOrder
from consumer.model.totals import minute_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS stops (
    order_id TEXT NOT NULL, source INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (order_id, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stopped (
    order_id TEXT PRIMARY KEY, calls INTEGER NOT NULL, noted INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS late (
    order_id TEXT NOT NULL, minute INTEGER NOT NULL, rule TEXT NOT NULL, account TEXT NOT NULL, campaign TEXT NOT NULL,
    calls INTEGER NOT NULL, PRIMARY KEY (order_id, minute)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS late_by_rule ON late (rule, minute);
CREATE INDEX IF NOT EXISTS late_by_account ON late (account, minute);
CREATE INDEX IF NOT EXISTS late_by_minute ON late (minute);
"""
KEPT_SECONDS = 32 * 86_400


class Late:
    """Stops by order, and those beyond what was counted by minute. Changes wait in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._heard: dict[tuple[str, int], int] = {}
        self._stopped: dict[str, tuple[int, int]] = {}
        self._late: dict[tuple[str, int], tuple[StopOrder, int]] = {}
        self.changed: set[str] = set()
        """The orders of which there is news; whoever has looked at one takes it out."""

    @property
    def dirty(self) -> bool:
        return bool(self._heard or self._stopped or self._late)

    def put(self, said: OrderStopped) -> None:
        """Take up how many more calls an order has stopped in one partition; a repetition changes nothing."""
        name = (said.order_id, said.source)
        query = "SELECT at FROM stops WHERE order_id = ? AND source = ?"
        row = (self._heard[name],) if name in self._heard else self._connection.execute(query, name).fetchone()
        if row is not None and said.at == row[0]:
            return
        self._heard[name] = said.at
        calls, noted = self._of(said.order_id)
        self._stopped[said.order_id] = (calls + said.calls, noted)
        self.changed.add(said.order_id)

    def news(self, record: OrderRecord) -> Count:
        """What an order has stopped beyond what it was let through with, and beyond what was noted before."""
        order = record.order
        admitted = record.fact(FactKind.ADMITTED)
        counted = (admitted.details or {}).get("count") if admitted else None
        if not isinstance(counted, int) or record.fact(FactKind.HELD) or record.fact(FactKind.APPROVED):
            return Count(0)
        calls, noted = self._of(order.order_id)
        late = max(0, calls - counted - noted)
        campaign = order.scope.campaign_id
        return Count(late, by_campaign={campaign: late} if campaign and late else {})

    def note(self, order: StopOrder, calls: int, now: float) -> None:
        """Note what an order has stopped beyond its count, as of now (seconds)."""
        name = (order.order_id, minute_of(now))
        self._late[name] = (order, calls + (self._late[name][1] if name in self._late else 0))
        stopped, noted = self._of(order.order_id)
        self._stopped[order.order_id] = (stopped, noted + calls)

    def used(self, subject: Subject, since: float) -> int:
        """Add up such stops of a subject since a time (seconds), to the minute."""
        told = [("rule = ?", subject.rule), ("account = ?", subject.account), ("campaign = ?", subject.campaign)]
        words = [word for word, value in told if value is not None]
        values = [value for _, value in told if value is not None]
        where = " AND ".join([*words, "minute >= ?"])
        query = f"SELECT coalesce(sum(calls), 0) FROM late WHERE {where}"  # noqa: S608 -- our own words
        saved = int(self._connection.execute(query, (*values, minute_of(since))).fetchone()[0])
        return saved + sum(
            calls
            for (_, minute), (order, calls) in self._late.items()
            if minute >= minute_of(since) and _is_of(order, subject)
        )

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction, and drop what no limit reaches back to."""
        heard = [(*name, at) for name, at in self._heard.items()]
        connection.executemany("INSERT OR REPLACE INTO stops VALUES (?, ?, ?)", heard)
        stopped = [(order_id, *told) for order_id, told in self._stopped.items()]
        connection.executemany("INSERT OR REPLACE INTO stopped VALUES (?, ?, ?)", stopped)
        connection.executemany(
            "INSERT INTO late VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (order_id, minute) DO UPDATE SET calls = calls + excluded.calls",
            [
                (order_id, minute, order.by.name, order.account, order.scope.campaign_id or "", calls)
                for (order_id, minute), (order, calls) in self._late.items()
            ],
        )
        if self._late:
            latest = max(minute for _, minute in self._late)
            connection.execute("DELETE FROM late WHERE minute < ?", (latest - KEPT_SECONDS,))
        self._heard.clear()
        self._stopped.clear()
        self._late.clear()

    def _of(self, order_id: str) -> tuple[int, int]:
        """How many calls an order has stopped, and how many of them are noted."""
        known = self._stopped.get(order_id)
        if known is None:
            query = "SELECT calls, noted FROM stopped WHERE order_id = ?"
            known = self._connection.execute(query, (order_id,)).fetchone() or (0, 0)
        return known


def _is_of(order: StopOrder, subject: Subject) -> bool:
    return (
        subject.rule in (None, order.by.name)
        and subject.account in (None, order.account)
        and subject.campaign in (None, order.scope.campaign_id or "")
    )
