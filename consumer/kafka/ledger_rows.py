"""The rows of a ledger: terminations in the order in which they were first heard of, and what they are found by."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from consumer.model.termination_codec import decode_termination, encode_termination
from consumer.model.terminations import State, Termination

SCHEMA = """ -- terminations.record: layout 2, msgpack of a termination
CREATE TABLE IF NOT EXISTS terminations (
    n INTEGER PRIMARY KEY, termination_id TEXT NOT NULL, account TEXT NOT NULL, call_id TEXT NOT NULL, state TEXT NOT NULL,
    lane INTEGER NOT NULL, since REAL NOT NULL, decided_at REAL NOT NULL, step TEXT, act_at REAL, record BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_id ON terminations (termination_id);
CREATE INDEX IF NOT EXISTS to_send ON terminations (account, lane, since, termination_id, act_at) WHERE step = 'send';
CREATE INDEX IF NOT EXISTS to_look ON terminations (account, act_at, termination_id) WHERE step = 'look';
CREATE INDEX IF NOT EXISTS to_close ON terminations (act_at, termination_id) WHERE step = 'close';
CREATE INDEX IF NOT EXISTS by_call ON terminations (account, call_id);
CREATE TABLE IF NOT EXISTS order_counts (
    order_id TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (order_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state_counts (
    account TEXT NOT NULL, state TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (account, state)
) WITHOUT ROWID;
"""
LISTED_SCHEMA = (
    SCHEMA
    + """
CREATE INDEX IF NOT EXISTS by_time ON terminations (decided_at, termination_id);
CREATE TABLE IF NOT EXISTS termination_orders (
    order_id TEXT NOT NULL, decided_at REAL NOT NULL, termination_id TEXT NOT NULL,
    PRIMARY KEY (order_id, decided_at, termination_id)
) WITHOUT ROWID;
"""
)
"""Of a ledger that can also list its terminations in pages."""


SendPlace = tuple[int, float, str]
"""Where a termination stands among those to be sent: its lane, since when its call waits, its id."""
FIRST_PLACE: SendPlace = (-1, 0.0, "")
ANY_LANE = 1_000
LOOKED_UP_AT_ONCE = 100


class Entry(NamedTuple):
    """A termination with its row ``n`` and its state; ``stored`` is the place and the time in the row, None before it is."""

    n: int
    t: Termination
    state: State
    stored: tuple[SendPlace, float] | None


class Rows:
    """The table of terminations."""

    def __init__(self, connection: sqlite3.Connection, *, listed: bool) -> None:
        """Read and write the table; ``listed`` where it is of ``LISTED_SCHEMA``."""
        self._connection = connection
        self._listed = listed
        ((last,),) = connection.execute("SELECT ifnull(max(n), 0) FROM terminations").fetchall()
        self._following = int(last) + 1

    def new(self, t: Termination) -> Entry:
        """Give a termination that is not in the table its place in it."""
        n = self._following
        self._following += 1
        return Entry(n, t, t.state, None)

    def find(self, termination_id: str) -> Entry | None:
        row = self._connection.execute(
            "SELECT n, state, record FROM terminations WHERE termination_id = ?", (termination_id,)
        ).fetchone()
        return _entry(*row) if row else None

    def find_all(self, termination_ids: Sequence[str]) -> Iterator[Entry]:
        """Read those of many that are in the table, a hundred with one look."""
        for start in range(0, len(termination_ids), LOOKED_UP_AT_ONCE):
            some = termination_ids[start : start + LOOKED_UP_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT n, state, record FROM terminations WHERE termination_id IN ({marks})"  # noqa: S608 -- as below
            yield from (_entry(*row) for row in self._connection.execute(query, some))

    def at(self, places: Sequence[int]) -> dict[int, Entry]:
        """Read the rows at some places."""
        if not places:
            return {}
        marks = ",".join("?" * len(places))
        query = f"SELECT n, state, record FROM terminations WHERE n IN ({marks})"  # noqa: S608 -- only question marks
        return {row[0]: _entry(*row) for row in self._connection.execute(query, places)}

    def of_call(self, account: str, call_id: str) -> list[Termination]:
        query = "SELECT record FROM terminations WHERE account = ? AND call_id = ?"
        return [decode_termination(row[0]) for row in self._connection.execute(query, (account, call_id))]

    def write(
        self, connection: sqlite3.Connection, changes: Iterable[tuple[Entry, str | None, float]]
    ) -> dict[str, Entry]:
        """Write what changed, each with its next step and the time for it; gives the entries as they are stored now."""
        new, known, moved, links, unlinked = [], [], [], [], []
        stored: dict[str, Entry] = {}
        for entry, step, act_at in changes:
            t = entry.t
            place = place_of(t)
            stands = (entry.state, step, act_at, encode_termination(t))
            if entry.stored is None:
                new.append((entry.n, t.termination_id, t.account, t.call_id, *place[:2], t.decided_at, *stands))
            else:
                known.append((*stands, entry.n))
                if entry.stored != (place, t.decided_at):
                    moved.append((*place[:2], t.decided_at, entry.n))
            if self._listed:
                links += [(order_id, t.decided_at, t.termination_id) for order_id in t.orders]
                if entry.stored and entry.stored[1] != t.decided_at:
                    unlinked += [(order_id, entry.stored[1], t.termination_id) for order_id in t.orders]
            stored[t.termination_id] = entry._replace(stored=(place, t.decided_at))
        connection.executemany(
            "INSERT INTO terminations (n, termination_id, account, call_id, lane, since, decided_at, state, step, act_at,"
            " record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            new,
        )
        connection.executemany("UPDATE terminations SET state = ?, step = ?, act_at = ?, record = ? WHERE n = ?", known)
        connection.executemany("UPDATE terminations SET lane = ?, since = ?, decided_at = ? WHERE n = ?", moved)
        if links:
            connection.executemany(
                "DELETE FROM termination_orders WHERE (order_id, decided_at, termination_id) = (?, ?, ?)", unlinked
            )
            connection.executemany("INSERT OR IGNORE INTO termination_orders VALUES (?, ?, ?)", links)
        return stored


def page_of(
    connection: sqlite3.Connection, filters: Mapping[str, str], *, before: tuple[float, str] | None, limit: int
) -> list[Termination]:
    """List terminations, newest first, by ``order_id``, ``account`` and ``outcome``; ``before`` continues a list."""
    of_order = "order_id" in filters
    source, at = "terminations t", "t"
    where, arguments = ["1 = 1"], []
    if of_order:
        source, at = "termination_orders o JOIN terminations t USING (termination_id)", "o"
        where.append("o.order_id = ?")
        arguments.append(filters["order_id"])
    for name, column in (("account", "t.account"), ("outcome", "t.state")):
        if name in filters:
            where.append(f"{column} = ?")
            arguments.append(filters[name])
    values: list[Any] = list(arguments)
    if before:
        where.append(f"({at}.decided_at, {at}.termination_id) < (?, ?)")
        values += before
    query = f"SELECT t.record FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608 -- our own names
    newest_first = f"ORDER BY {at}.decided_at DESC, {at}.termination_id DESC LIMIT ?"
    return [decode_termination(row[0]) for row in connection.execute(f"{query} {newest_first}", (*values, limit))]


def _entry(n: int, state: str, record: bytes) -> Entry:
    t = decode_termination(record)
    return Entry(n, t, State(state), (place_of(t), t.decided_at))


def place_of(t: Termination) -> SendPlace:
    """Give the place of ``t`` among those to be sent; a stop of a whole scope goes before the calls of its lane."""
    return t.lane, 0.0 if t.scope else t.since, t.termination_id
