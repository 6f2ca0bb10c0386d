"""How many calls were let through for whom: the counts with which orders were admitted, in the order book's file.

They come from the facts themselves, so every process that has read as far adds up the same.
"""

import sqlite3
from collections.abc import Iterable

from consumer.model.limits import Subject
from consumer.model.orders import FactKind, Mode, OrderRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS admissions (
    order_id TEXT NOT NULL, campaign TEXT NOT NULL, at REAL NOT NULL, rule TEXT NOT NULL, account TEXT NOT NULL,
    shadow INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (order_id, campaign)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS admissions_by_rule ON admissions (rule, campaign, at);
CREATE INDEX IF NOT EXISTS admissions_by_account ON admissions (account, campaign, at);
CREATE INDEX IF NOT EXISTS admissions_by_time ON admissions (at);
"""
KEPT_SECONDS = 32 * 86_400.0
Row = tuple[str, str, float, str, str, bool, int]


def note(connection: sqlite3.Connection, records: Iterable[OrderRecord]) -> None:
    """Note what orders were admitted with, in the open transaction, and drop what no limit reaches back to."""
    rows = [row for record in records for row in _rows(record)]
    if rows:
        connection.executemany("INSERT OR REPLACE INTO admissions VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        latest = max(row[2] for row in rows)
        connection.execute("DELETE FROM admissions WHERE at < ?", (latest - KEPT_SECONDS,))


def used(connection: sqlite3.Connection, subject: Subject, since: float, *, shadow: bool) -> int:
    """Add up the calls let through for a subject since a time (seconds); with ``shadow``, those recorded only too."""
    told = [("rule = ?", subject.rule), ("account = ?", subject.account)]
    words = [word for word, value in told if value is not None]
    values = [value for _, value in told if value is not None]
    where = " AND ".join([*words, "campaign = ?", "at > ?", *([] if shadow else ["shadow = 0"])])
    query = f"SELECT coalesce(sum(calls), 0) FROM admissions WHERE {where}"  # noqa: S608 -- our own words
    return int(connection.execute(query, (*values, subject.campaign or "", since)).fetchone()[0])


def _rows(record: OrderRecord) -> list[Row]:
    """A row for all calls of an order (campaign '') and one for each campaign; none where nobody has counted."""
    fact, order = record.fact(FactKind.ADMITTED), record.order
    counted = (fact.details or {}).get("count") if fact else None
    if fact is None or not isinstance(counted, int):
        return []
    by_campaign = (fact.details or {}).get("by_campaign") or {}
    told = {"": counted, **{name: calls for name, calls in by_campaign.items() if name}}
    shadow = order.mode is Mode.SHADOW
    return [
        (order.order_id, name, fact.at, order.by.name, order.account, shadow, calls) for name, calls in told.items()
    ]
