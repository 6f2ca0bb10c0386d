"""The ledger: terminations folded from ``terminations`` and ``termination-log``, in a view.

The dispatcher keeps one per partition and asks it what to send; the console keeps one of everything and asks it what
became of an order.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

from consumer.model.codec import decode_termination, encode_termination
from consumer.model.terminations import COUNTS, Ended, Record, State, Termination, contribution, fold_termination

SCHEMA = """
CREATE TABLE IF NOT EXISTS terminations (
    termination_id TEXT PRIMARY KEY, account TEXT NOT NULL, call_id TEXT NOT NULL, state TEXT NOT NULL,
    lane INTEGER NOT NULL, decided_at REAL NOT NULL, step TEXT, act_at REAL, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS to_send ON terminations (account, lane, decided_at, termination_id) WHERE step = 'send';
CREATE INDEX IF NOT EXISTS to_look ON terminations (account, act_at) WHERE step = 'look';
CREATE INDEX IF NOT EXISTS to_close ON terminations (act_at) WHERE step = 'close';
CREATE INDEX IF NOT EXISTS by_time ON terminations (decided_at, termination_id);
CREATE INDEX IF NOT EXISTS by_call ON terminations (account, call_id);
CREATE TABLE IF NOT EXISTS termination_orders (
    order_id TEXT NOT NULL, termination_id TEXT NOT NULL, PRIMARY KEY (order_id, termination_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS order_counts (
    order_id TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (order_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state_counts (
    account TEXT NOT NULL, state TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (account, state)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What is to be done with a termination, and when: ``send``, ``look`` how its call stands, or ``close``."""

    step: str | None
    at: float = 0.0


NOTHING = NextStep(None)


class Ledger:
    """Terminations by id. Changes wait in memory until ``save``."""

    def __init__(
        self, connection: sqlite3.Connection, next_step: Callable[[Termination], NextStep] = lambda _: NOTHING
    ) -> None:
        self._connection = connection
        self._next_step = next_step
        self._changed: dict[str, Termination] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._states: dict[tuple[str, State], int] = {}

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def get(self, termination_id: str) -> Termination | None:
        known = self._changed.get(termination_id)
        if known is not None:
            return known
        row = self._connection.execute(
            "SELECT record FROM terminations WHERE termination_id = ?", (termination_id,)
        ).fetchone()
        return decode_termination(row[0]) if row else None

    def fold(self, record: Record) -> tuple[Termination | None, Termination | None]:
        """Fold one record; gives the termination before and after. The end of a call nobody wanted stopped is no news."""
        before = self.get(record.termination_id)
        if before is None and isinstance(record, Ended):
            return None, None
        after = fold_termination(before, record)
        if after != before:
            self._changed[after.termination_id] = after
            self._count(before, after)
        return before, after

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        rows, links = [], []
        for t in self._changed.values():
            following = self._next_step(t)
            rows.append(
                (
                    t.termination_id,
                    t.account,
                    t.call_id,
                    t.state,
                    t.lane,
                    t.decided_at,
                    following.step,
                    following.at,
                    encode_termination(t),
                )
            )
            links += [(order_id, t.termination_id) for order_id in t.orders]
        connection.executemany("INSERT OR REPLACE INTO terminations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT OR IGNORE INTO termination_orders VALUES (?, ?)", links)
        connection.executemany(
            "INSERT INTO order_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(order_id, name, value) for (order_id, name), value in self._counts.items() if value],
        )
        connection.executemany(
            "INSERT INTO state_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(account, state, value) for (account, state), value in self._states.items() if value],
        )
        self._changed.clear()
        self._counts.clear()
        self._states.clear()

    def to_send(self, account: str, now: float, limit: int, skip: AbstractSet[str]) -> list[Termination]:
        """The next terminations of an account to be sent: by lane, then the longest waiting, but for ``skip``.

        What was folded since the last ``save`` counts: a call whose end is known is not sent.
        """
        rows = self._connection.execute(
            "SELECT termination_id, record FROM terminations WHERE account = ? AND step = 'send' AND act_at <= ?"
            " ORDER BY lane, decided_at, termination_id",
            (account, now),
        )
        due = (self._due(row, "send", now) for row in rows if row[0] not in skip)
        return list(islice((t for t in due if t), limit))

    def to_close(self, now: float, limit: int) -> list[Termination]:
        """Terminations whose time is up."""
        rows = self._connection.execute(
            "SELECT termination_id, record FROM terminations WHERE step = 'close' AND act_at <= ? ORDER BY act_at",
            (now,),
        )
        due = (self._due(row, "close", now) for row in rows)
        return list(islice((t for t in due if t), limit))

    def to_look(self, account: str, now: float, limit: int) -> list[Termination]:
        """Terminations of an account whose call is to be looked at, the longest due first."""
        rows = self._connection.execute(
            "SELECT termination_id, record FROM terminations WHERE account = ? AND step = 'look' AND act_at <= ?"
            " ORDER BY act_at",
            (account, now),
        )
        due = (self._due(row, "look", now) for row in rows)
        return list(islice((t for t in due if t), limit))

    def backlog(self, account: str) -> int:
        """How many terminations of an account wait for a request; counted as they change, since there may be millions."""
        row = self._connection.execute(
            "SELECT value FROM state_counts WHERE account = ? AND state = ?", (account, State.WAITING)
        ).fetchone()
        return int(row[0]) if row else 0

    def counts(self, order_id: str) -> dict[str, int]:
        """How many terminations of an order are, or have been, in each state."""
        rows = self._connection.execute("SELECT name, value FROM order_counts WHERE order_id = ?", (order_id,))
        return dict.fromkeys(COUNTS, 0) | dict(rows)

    def of_call(self, account: str, call_id: str) -> list[Termination]:
        """Every termination of one call, by episode."""
        rows = self._connection.execute(
            "SELECT record FROM terminations WHERE account = ? AND call_id = ?", (account, call_id)
        )
        return sorted((decode_termination(row[0]) for row in rows), key=lambda t: t.episode)

    def page(
        self, filters: Mapping[str, str], *, before: tuple[float, str] | None, limit: int
    ) -> Sequence[Termination]:
        """List terminations, newest first, by ``order_id``, ``account`` and ``outcome``; ``before`` continues a list."""
        where, values = ["1 = 1"], []
        source = "terminations t"
        if "order_id" in filters:
            source = "termination_orders o JOIN terminations t USING (termination_id)"
            where.append("o.order_id = ?")
            values.append(filters["order_id"])
        for name, column in (("account", "t.account"), ("outcome", "t.state")):
            if name in filters:
                where.append(f"{column} = ?")
                values.append(filters[name])
        arguments: list[Any] = list(values)
        if before:
            where.append("(t.decided_at, t.termination_id) < (?, ?)")
            arguments += before
        query = f"SELECT t.record FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608 -- our own names
        rows = self._connection.execute(
            f"{query} ORDER BY t.decided_at DESC, t.termination_id DESC LIMIT ?", (*arguments, limit)
        )
        return [decode_termination(row[0]) for row in rows]

    def totals(self) -> dict[str, int]:
        """How many terminations are in each state."""
        return dict(
            self._connection.execute("SELECT state, sum(value) FROM state_counts GROUP BY state HAVING sum(value) > 0")
        )

    def _due(self, row: tuple[str, bytes], step: str, now: float) -> Termination | None:
        """Give the termination of a row, unless a change that is not saved yet has made another step of it."""
        changed = self._changed.get(row[0])
        if changed is None:
            return decode_termination(row[1])
        following = self._next_step(changed)
        return changed if following.step == step and following.at <= now else None

    def _count(self, before: Termination | None, after: Termination) -> None:
        self._states[after.account, after.state] = self._states.get((after.account, after.state), 0) + 1
        if before is not None:
            self._states[before.account, before.state] = self._states.get((before.account, before.state), 0) - 1
        old, new = contribution(before), contribution(after)
        for order_id in after.orders:
            had = before is not None and order_id in before.orders
            for name in COUNTS:
                change = new.get(name, 0) - (old.get(name, 0) if had else 0)
                if change:
                    self._counts[order_id, name] = self._counts.get((order_id, name), 0) + change
