"""The rows of a ledger: terminations in the order in which they were first heard of, and what they are found by."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from consumer.model.identity import call_key
from consumer.model.termination_codec import decode_termination, encode_termination
from consumer.model.terminations import State, Termination, contribution

SCHEMA = """ -- terminations.record: layout 3, msgpack of a termination, its fields in order
CREATE TABLE IF NOT EXISTS terminations (
    n INTEGER PRIMARY KEY, id_key INTEGER NOT NULL, call_key INTEGER NOT NULL, termination_id TEXT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL, lane INTEGER NOT NULL, since REAL NOT NULL, decided_at REAL NOT NULL, step TEXT, act_at REAL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_key ON terminations (id_key);
CREATE INDEX IF NOT EXISTS by_call ON terminations (call_key);
CREATE INDEX IF NOT EXISTS to_send ON terminations (account, lane, since, termination_id, act_at) WHERE step = 'send';
CREATE INDEX IF NOT EXISTS to_look ON terminations (account, act_at) WHERE step = 'look';
CREATE INDEX IF NOT EXISTS to_close ON terminations (act_at) WHERE step = 'close';
CREATE TABLE IF NOT EXISTS order_counts (
    order_id TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (order_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state_counts (
    account TEXT NOT NULL, state TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (account, state)
) WITHOUT ROWID;
"""
SendPlace = tuple[int, float, str]
"""Where a termination stands among those to be sent: its lane, since when its call waits, its id."""
FIRST_PLACE: SendPlace = (-1, 0.0, "")
ANY_LANE = 1_000
LOOKED_UP_AT_ONCE = 100
KEY_DIGITS = 15


class Entry(NamedTuple):
    """A termination with its row ``n``, its state, its place, and what it adds to the counts of its orders.

    ``stored`` is the place and the time in its row, None while it has none.
    """

    n: int
    t: Termination
    state: State
    place: SendPlace
    counted: tuple[str, ...]
    stored: tuple[SendPlace, float] | None


def changed_entry(known: Entry, t: Termination, *, moved: bool) -> Entry:
    """Give the entry of what ``known`` has become; ``moved`` where it may stand in another place now."""
    state = t.state
    place = place_of(t) if moved else known.place
    return Entry(known.n, t, state, place, contribution(t, state), known.stored)


class Rows:
    """The table of terminations. What is found by a key is looked at again, since two may share one."""

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
        state = t.state
        return Entry(n, t, state, place_of(t), contribution(t, state), None)

    def find(self, termination_id: str) -> Entry | None:
        """Read one that may be in the table."""
        return next(iter(self.find_all([termination_id])), None)

    def find_all(self, termination_ids: Sequence[str]) -> Iterator[Entry]:
        """Read those of many that are in the table, a hundred with one look."""
        for start in range(0, len(termination_ids), LOOKED_UP_AT_ONCE):
            some = set(termination_ids[start : start + LOOKED_UP_AT_ONCE])
            marks = ",".join("?" * len(some))
            query = f"SELECT n, termination_id, record FROM terminations WHERE id_key IN ({marks})"  # noqa: S608 -- as below
            for n, found, record in self._connection.execute(query, [key_of(one) for one in some]):
                if found in some:
                    yield entry_in(n, record)

    def at(self, places: Sequence[int]) -> dict[int, Entry]:
        """Read the rows at some places."""
        if not places:
            return {}
        marks = ",".join("?" * len(places))
        query = f"SELECT n, record FROM terminations WHERE n IN ({marks})"  # noqa: S608 -- only question marks
        return {n: entry_in(n, record) for n, record in self._connection.execute(query, places)}

    def behind(self, n: int, limit: int) -> list[tuple[int, str, float]]:
        """Give the rows behind row ``n``, the first heard of first: each with its state and when it was decided."""
        query = "SELECT n, state, decided_at FROM terminations WHERE n > ? ORDER BY n LIMIT ?"
        return self._connection.execute(query, (n, limit)).fetchall()

    def of_call(self, account: str, call_id: str) -> list[Termination]:
        """Read what was decided about one call."""
        query = "SELECT record FROM terminations WHERE call_key = ?"
        rows = self._connection.execute(query, (call_key_of(account, call_id),))
        found = [decode_termination(record) for (record,) in rows]
        return [t for t in found if (t.account, t.call_id) == (account, call_id)]

    def waiting(self, account: str, *, after: SendPlace) -> Iterator[tuple[SendPlace, int, float]]:
        """Give, in order and as they are asked for, the places and rows of those that are to be sent, and from when on."""
        found = self._connection.execute(
            "SELECT lane, since, termination_id, n, act_at FROM terminations INDEXED BY to_send WHERE account = ?"
            " AND step = 'send' AND (lane, since, termination_id) > (?, ?, ?)"
            " ORDER BY lane, since, termination_id",
            (account, *after),
        )
        return (((lane, since, one), n, act_at) for lane, since, one, n, act_at in found)

    def write(self, connection: sqlite3.Connection, changes: Iterable[tuple[Entry, str | None, float]]) -> list[Entry]:
        """Write what changed, each with its next step and the time for it; gives the entries as they are stored now."""
        new, known, moved, links, unlinked = [], [], [], [], []
        stored: list[Entry] = []
        for entry, step, act_at in changes:
            n, t, state, place, counted, before = entry
            stands = place, t.decided_at
            record = bytearray(encode_termination(t))  # for bytes, sqlite3 looks for an adapter each time
            if before is None:
                of = (
                    n,
                    key_of(place[2]),
                    call_key_of(t.account, t.call_id),
                    t.termination_id,
                    t.account,
                    *place[:2],
                    t.decided_at,
                )
                new.append((*of, state, step, act_at, record))
            else:
                known.append((state, step, act_at, record, n))
                if before != stands:
                    moved.append((*place[:2], t.decided_at, n))
            if self._listed:
                links += [(order_id, t.decided_at, t.termination_id) for order_id in t.orders]
                if before and before[1] != t.decided_at:
                    unlinked += [(order_id, before[1], t.termination_id) for order_id in t.orders]
            stored.append(Entry(n, t, state, place, counted, stands))
        connection.executemany(
            "INSERT INTO terminations (n, id_key, call_key, termination_id, account, lane, since, decided_at, state, step,"
            " act_at, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

    def delete(self, connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
        """Delete rows, and what they are listed by."""
        gone = list(entries)
        connection.executemany("DELETE FROM terminations WHERE n = ?", [(entry.n,) for entry in gone])
        if self._listed:
            links = [(order_id, t.decided_at, t.termination_id) for _, t, *_ in gone for order_id in t.orders]
            connection.executemany(
                "DELETE FROM termination_orders WHERE (order_id, decided_at, termination_id) = (?, ?, ?)", links
            )


def entry_in(n: int, record: bytes) -> Entry:
    """Read what row ``n`` holds."""
    t = decode_termination(record)
    state, place = t.state, place_of(t)
    return Entry(n, t, state, place, contribution(t, state), (place, t.decided_at))


def place_of(t: Termination) -> SendPlace:
    """Give the place of ``t`` among those to be sent; a stop of a whole scope goes before the calls of its lane."""
    return t.lane, 0.0 if t.scope else t.since, t.termination_id


def key_of(termination_id: str) -> int:
    """Give the number that a termination is found by; ids are hashes, so their beginning will do."""
    try:
        return int(termination_id[:KEY_DIGITS], 16)
    except ValueError:  # of another's making
        return crc32(termination_id.encode())


def call_key_of(account: str, call_id: str) -> int:
    """Give the number that the terminations of a call are found by."""
    return crc32(call_key(account, call_id))
