"""How many orders each rule has made, and when the last came: counted as they are folded, for the book may be long."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from consumer.model.orders import StopOrder

SCHEMA = """
CREATE TABLE IF NOT EXISTS tallies (
    rule TEXT PRIMARY KEY, orders INTEGER NOT NULL, last_at REAL NOT NULL
) WITHOUT ROWID;
"""
ADD = (
    "INSERT INTO tallies VALUES (?, 1, ?) ON CONFLICT (rule) DO UPDATE"
    " SET orders = orders + 1, last_at = max(last_at, excluded.last_at)"
)


class Tally(NamedTuple):
    """What a rule has made: how many orders, and the broker's time of the last (seconds)."""

    orders: int
    last_at: float


def count(connection: sqlite3.Connection, orders: Iterable[StopOrder]) -> None:
    """Count orders that are new, in the open transaction."""
    connection.executemany(ADD, [(order.by.name, order.at) for order in orders if order.by.kind == "rule"])


def tallies(connection: sqlite3.Connection) -> dict[str, Tally]:
    """Give the tallies by rule."""
    rows = connection.execute("SELECT rule, orders, last_at FROM tallies").fetchall()
    return {rule: Tally(orders, last_at) for rule, orders, last_at in rows}
