"""The calls of one partition in its view, found by id and, while they wait, by campaign, agent and number."""

import sqlite3
from typing import Any

import orjson

from consumer.model.calls import SEEN_BYTES, Call, Progress
from consumer.model.scopes import Key
from consumer.model.status import Status

SCHEMA = """ -- calls.state: layout 2
CREATE TABLE IF NOT EXISTS calls (
    account TEXT NOT NULL, call_id TEXT NOT NULL, campaign_id TEXT, agent_id TEXT, number TEXT,
    terminable INTEGER NOT NULL, last_at REAL NOT NULL, state BLOB NOT NULL, seen BLOB NOT NULL,
    PRIMARY KEY (account, call_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_by_campaign ON calls (account, campaign_id, call_id) WHERE terminable = 1;
CREATE INDEX IF NOT EXISTS waiting_by_agent ON calls (account, agent_id, call_id) WHERE terminable = 1;
CREATE INDEX IF NOT EXISTS waiting_by_number ON calls (account, number, call_id) WHERE terminable = 1;
CREATE TABLE IF NOT EXISTS applied (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
COLUMNS = "account, call_id, campaign_id, agent_id, number, state, seen"


class Calls:
    """Calls by (account, call id). Changes wait in memory until ``save``; the cache lives as long as they do."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed: dict[tuple[str, str], Call] = {}
        self._known, self._waiting = self._counted()

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def get(self, account: str, call_id: str) -> Call | None:
        call = self._changed.get((account, call_id))
        if call is not None:
            return call
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM calls WHERE account = ? AND call_id = ?",  # noqa: S608 -- our own column list
            (account, call_id),
        ).fetchone()
        return _from_row(row) if row else None

    def put(self, call: Call, before: Call | None) -> None:
        """Keep a call; ``before`` is what ``get`` or ``waiting`` gave for it."""
        self._changed[call.account, call.call_id] = call
        self._known += before is None
        self._waiting += call.terminable - (before is not None and before.terminable)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        connection.executemany(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " campaign_id = excluded.campaign_id, agent_id = excluded.agent_id, number = excluded.number,"
            " terminable = excluded.terminable, last_at = excluded.last_at, state = excluded.state, seen = excluded.seen",
            [_to_row(call) for call in self._changed.values()],
        )
        connection.executemany(
            "INSERT INTO applied VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [("known", self._known), ("waiting", self._waiting)],
        )
        self._changed.clear()

    def waiting(self, account: str, key: Key, *, after: str, limit: int) -> list[Call]:
        """The next ``limit`` waiting calls under a scope key whose id follows ``after``, in order of id."""
        kind, name = key[0], key[1]
        if kind == "call":
            call = self.get(account, name)
            return [call] if call and call.terminable and name > after else []
        column = {"campaign": "campaign_id", "agent": "agent_id", "number": "number"}[kind]
        where = f"account = ? AND {column} = ? AND terminable = 1 AND call_id > ?"
        values: list[Any] = [account, name, after]
        if len(key) == 3:
            where += " AND campaign_id = ?"
            values.append(key[2])
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM calls WHERE {where} ORDER BY call_id LIMIT ?",  # noqa: S608 -- our own names
            (*values, limit),
        )
        return [_from_row(row) for row in rows]

    def all_waiting(self, *, after: tuple[str, str], limit: int) -> list[Call]:
        """The next ``limit`` waiting calls whose (account, id) follows ``after``."""
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM calls WHERE terminable = 1 AND (account, call_id) > (?, ?)"  # noqa: S608
            " ORDER BY account, call_id LIMIT ?",
            (*after, limit),
        )
        return [_from_row(row) for row in rows]

    def count(self) -> tuple[int, int]:
        """How many calls are known, and how many of them wait."""
        return self._known, self._waiting

    def applied_orders(self) -> int | None:
        """The next offset of ``stop-orders`` to be applied to these calls; None where none ever was."""
        row = self._connection.execute("SELECT value FROM applied WHERE name = 'orders'").fetchone()
        return int(row[0]) if row else None

    def _counted(self) -> tuple[int, int]:
        """The counts as they were saved with the rows: counting a million calls takes a third of a second."""
        saved = dict(self._connection.execute("SELECT name, value FROM applied WHERE name IN ('known', 'waiting')"))
        if saved:
            return saved["known"], saved["waiting"]
        known, waiting = self._connection.execute("SELECT count(*), coalesce(sum(terminable), 0) FROM calls").fetchone()
        return known, waiting


def save_applied_orders(connection: sqlite3.Connection, offset: int) -> None:
    connection.execute(
        "INSERT INTO applied VALUES ('orders', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (offset,)
    )


def _to_row(call: Call) -> tuple[Any, ...]:
    status, order, closed, starts, retries, finished, figures = call.progress
    state = orjson.dumps(
        (
            call.provider,
            (status, order, closed, starts, retries, format(finished, "x"), figures),
            call.connected,
            call.from_number,
            call.first_at,
            call.last_at,
            call.since,
            call.history,
            call.decided,
        )
    )
    return (
        call.account,
        call.call_id,
        call.campaign_id,
        call.agent_id,
        call.number,
        int(call.terminable),
        call.last_at,
        state,
        b"".join(call.seen),
    )


def _from_row(row: tuple[Any, ...]) -> Call:
    account, call_id, campaign_id, agent_id, number, state, seen = row
    provider, progress, connected, from_number, first_at, last_at, since, history, decided = orjson.loads(state)
    return Call(
        account=account,
        call_id=call_id,
        provider=provider,
        progress=_progress(*progress),
        connected=connected,
        campaign_id=campaign_id,
        agent_id=agent_id,
        number=number,
        from_number=from_number,
        first_at=first_at,
        last_at=last_at,
        since=since,
        seen=tuple(seen[i : i + SEEN_BYTES] for i in range(0, len(seen), SEEN_BYTES)),
        history=tuple(history),
        decided=tuple(decided),
    )


def _progress(
    status: str | None,
    order: list[Any],
    closed: list[Any],
    starts: int,
    retries: int,
    finished: str,
    figures: list[list[Any]],
) -> Progress:
    return Progress(
        Status(status) if status else None,
        (order[0], order[1], order[2], order[3]),
        (closed[0], closed[1]),
        starts,
        retries,
        int(finished, 16),
        tuple((attempt, seconds, cost) for attempt, seconds, cost in figures),
    )
