"""The calls of one partition in its view, found by id and, while they wait, by cohort (campaign and agent) and number.

Rows lie in the order in which calls were first heard of, so that calls of one time, which change at one time, share pages.
The columns hold CRC-32 of what is looked for: an index gives candidates, and whoever asks compares the call itself.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from sys import intern
from typing import Final, NamedTuple, Protocol, cast
from zlib import crc32

import msgspec
from msgspec.structs import force_setattr

from consumer.correlate import cohorts, due
from consumer.correlate.cohorts import Cohorts, hash_of
from consumer.correlate.due import FORGET, Due
from consumer.correlate.heard_of import HeardOf
from consumer.correlate.room import AT_HAND
from consumer.correlate.rows import Rows, State, ends, is_over, stays
from consumer.model.calls import Call, orders_together
from consumer.model.identity import call_name
from consumer.model.scopes import Key, Scope

SCHEMA = f""" -- calls.state: layout 7, msgpack of Call
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, cohort INTEGER, number INTEGER, due INTEGER NOT NULL, state BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_hash ON calls (hash);
CREATE INDEX IF NOT EXISTS waiting_by_cohort ON calls (cohort) WHERE cohort IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_number ON calls (number) WHERE number IS NOT NULL;
CREATE TABLE IF NOT EXISTS applied (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
{cohorts.SCHEMA}{due.SCHEMA}"""
COLUMNS = "id, state"
LOOKED_UP_AT_ONCE, FEW = 100, 10
HOUR_SECONDS = 3_600
BLOCKS_AT_ONCE = 16
SOME_MORE = 16
"""By this part more may be at hand before room is made, since making room costs as much for one as for many."""

SAVED_AT_ONCE = 250
A_FEW_UNSAVED = 50
COMMON = ("account", "provider", "campaign_id", "agent_id", "from_number")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Call).decode


class Keeping(NamedTuple):
    """How long calls are kept, in seconds of the broker's clock: after their last event, and before they are carried on."""

    forget_seconds: float = 72 * 3_600.0
    carry_seconds: float = 84 * 3_600.0


DEFAULT_KEEPING: Final = Keeping()


_Columns = tuple[int | None, int | None, int]
"""Cohort, number and due of a row."""


class Identified(Protocol):
    """What tells of one call."""

    @property
    def account(self) -> str: ...
    @property
    def call_id(self) -> str: ...


class Kept(msgspec.Struct, gc=False):
    """A call at hand: its name, its row, 0 before it has one, the call as it stands there, and as it stands now."""

    name: str
    row_id: int = 0
    saved: Call | None = None
    call: Call | None = None


class Calls:
    """Calls by account and id. Changes wait in memory until ``save``; those that changed last stay at hand after it."""

    def __init__(
        self, connection: sqlite3.Connection, keeping: Keeping = DEFAULT_KEEPING, *, at_hand: int = AT_HAND
    ) -> None:
        """Continue with the calls in the file; about ``at_hand`` of them stay in memory too, or all that wait to be saved."""
        self._connection = connection
        self._keeping = keeping
        self._at_hand = at_hand
        self.saved_at_once = SAVED_AT_ONCE
        self._known: dict[str, Kept] = {}
        self._changed: deque[Kept] = deque()
        self._forgotten: list[int] = []
        self._count, self._waiting = self._counted()
        self._next_id = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM calls").fetchone()[0]
        self._cohorts = Cohorts(connection)
        self._due = Due(connection)
        self.heard_of = HeardOf(connection, "hash", self._count)
        self.numbers = HeardOf(connection, "number", self._count)

    @property
    def dirty(self) -> bool:
        return bool(self._changed or self._forgotten)

    @property
    def unsaved(self) -> int:
        """How many calls wait for ``save``."""
        return len(self._changed)

    def get(self, account: str, call_id: str) -> Call | None:
        self._make_room()
        name = call_name(account, call_id)
        self._load({name} - self._known.keys())
        kept = self._known.get(name)
        return kept.call if kept else None

    def at_hand(self, told: Sequence[Identified]) -> list[Kept]:
        """Bring the calls that something tells of to hand, many with one look into the file.

        Where there is none yet, the first ``change`` has to follow before anything else does.
        """
        self._make_room()
        known = self._known
        names = [f"{one.account}/{one.call_id}" for one in told]  # ``call_name``, at every event
        found = list(map(known.get, names))
        if all(found):
            return cast("list[Kept]", found)
        missing = {name for name, kept in zip(names, found, strict=True) if kept is None}
        self._load(missing)
        for name in missing:
            known.setdefault(name, Kept(name))
        return [kept or known[name] for name, kept in zip(names, found, strict=True)]

    def _load(self, names: Iterable[str]) -> None:
        hashes = [hashed for name in names if self.heard_of.may_hold(hashed := crc32(name.encode()))]
        for start in range(0, len(hashes), LOOKED_UP_AT_ONCE):
            some = hashes[start : start + LOOKED_UP_AT_ONCE]
            look_up = LOOK_UP_FEW if len(some) <= FEW else LOOK_UP  # each other statement would be kept by each view
            some += some[:1] * ((FEW if len(some) <= FEW else LOOKED_UP_AT_ONCE) - len(some))
            found = self._connection.execute(look_up, some)
            for row in found:
                self._read(row)

    def put(self, call: Call, before: Call | None) -> None:
        """Keep a call; ``before`` is what was given for it."""
        name = call.name
        if before is not None and name not in self._known:
            self._load([name])  # others have been looked at since
        self.change(self._known.get(name) or self._known.setdefault(name, Kept(name)), call)

    def change(self, kept: Kept, call: Call) -> None:
        """Keep a call in the place of what ``at_hand`` gave for it."""
        before = kept.call
        if call is not before:
            if before is kept.saved:
                self._changed.append(kept)
                self._known.pop(kept.name, None)
                self._known[kept.name] = kept  # at the end, where it stays longest
            kept.call = call

    def forget(self, call: Call) -> None:
        """Drop a call that was found by ``due``."""
        self._forgotten.append(self._known.pop(call.name).row_id)
        self._count -= 1
        self._waiting -= call.terminable

    def save(self, connection: sqlite3.Connection) -> bool:
        """Write what changed, or a part of it, into the open transaction; says whether more is left."""
        rows = Rows([], [], [], [], [])
        for _ in range(min(len(self._changed), self.saved_at_once)):
            kept = self._changed.popleft()
            call, before = kept.call, kept.saved
            assert call is not None  # it has changed
            waited = before.progress.standing.terminable if before else False
            self._waiting += call.progress.standing.terminable - waited
            state = State(_encode(call))
            if before is None:
                self._save_new(kept, call, state, rows)
            elif stays(before, call):
                rows.stays.append((state, kept.row_id))
            elif ends(before, call):
                forget_at = self._forget_hour(call)
                rows.ended.append((forget_at, state, kept.row_id))
                self._due.note(kept.row_id, forget_at)
            else:
                columns = self._columns(call)
                rows.moved.append((*columns, state, kept.row_id))
                self._due.note(kept.row_id, columns[-1])
            kept.saved = call
        rows.write(connection)
        self.heard_of.update(rows.hashes(), self._count)
        self.numbers.update(rows.numbers(), self._count)
        self._cohorts.save(connection)
        self._due.save(connection)
        if self._changed:
            return True
        if self._forgotten:
            connection.executemany("DELETE FROM calls WHERE id = ?", [(row_id,) for row_id in self._forgotten])
            self._cohorts.sweep(connection)
        connection.executemany(
            "INSERT INTO applied VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [("known", self._count), ("waiting", self._waiting)],
        )
        self._forgotten.clear()
        return False

    def _save_new(self, kept: Kept, call: Call, state: State, rows: Rows) -> None:
        row_id = kept.row_id = self._next_id
        self._next_id += 1
        self._count += 1
        hashed = crc32(kept.name.encode())
        cohort, number, due_at = self._columns(call)
        if cohort is number is None:
            rows.over.append((row_id, hashed, due_at, state))
        else:
            rows.new.append((row_id, hashed, cohort, number, due_at, state))
        self._due.note(row_id, due_at)

    def read_on(self) -> None:
        """Go on reading what was there at the start and is not to be looked for in vain."""
        self.heard_of.read_on()
        self.numbers.read_on()

    def wants_saving(self, account: str, scope: Scope) -> bool:
        """Whether ``waiting`` may find more in a scope after ``save``: where there is much to be looked at, it may."""
        if len(self._changed) > A_FEW_UNSAVED or scope.names_many:
            return True
        changed = [kept.call for kept in self._changed if kept.call and kept.call.account == account]
        return any(map(scope.covers, changed))

    def waiting(self, account: str, key: Key, *, limit: int) -> Iterator[list[Call]]:
        """Give the calls that wait and may be under a scope key, as they are saved, out of ``limit`` rows at a time.

        A call of another scope with the same hash may be among them.
        """
        kind, name = key[0], key[1]
        if kind == "call":
            call = self.get(account, name)
            yield [call] if call and call.terminable else []
        elif kind == "number":
            hashed = hash_of("number", account, name)
            if self.numbers.may_hold(hashed):
                yield from self._pages("number", hashed, limit)
        else:
            for cohort in self._cohorts.found_by(kind, account, name):
                yield from self._pages("cohort", cohort, limit)

    def all_waiting(self, *, after: int, limit: int) -> tuple[list[Call], int]:
        """Look at about the next ``limit`` rows; gives the calls among them that wait, and the place to go on ``after``."""
        last = after + limit
        calls, _ = self._page("id > ? AND id <= ? AND due < ?", (after, last, FORGET), limit)
        (following,) = self._connection.execute("SELECT min(id) FROM calls WHERE id > ?", (last,)).fetchone()
        return calls, following - 1 if following else 0

    def to_carry(self, now: float, *, limit: int) -> tuple[list[Call], bool]:
        """Calls that wait or are ongoing and are to be written anew by now (seconds), and whether there may be more."""
        return self._due_until(0, int(now // HOUR_SECONDS), limit)

    def to_forget(self, log_time: float, *, limit: int) -> tuple[list[Call], bool]:
        """Calls that no event of this time (seconds) or later meets any more, and whether there may be more."""
        return self._due_until(FORGET, FORGET + int(log_time // HOUR_SECONDS), limit)

    def count(self) -> tuple[int, int]:
        """How many calls are known, and how many of them wait."""
        known, waiting = self._count, self._waiting
        for kept in self._changed:
            known += kept.saved is None
            waiting += _waits(kept.call) - _waits(kept.saved)
        return known, waiting

    def applied_orders(self) -> int | None:
        """The next offset of ``stop-orders`` to be applied to these calls; None where none ever was."""
        row = self._connection.execute("SELECT value FROM applied WHERE name = 'orders'").fetchone()
        return int(row[0]) if row else None

    def _make_room(self) -> None:
        """Let go of the calls that have not changed for longest, unless they wait to be saved."""
        too_many = len(self._known) - self._at_hand
        if too_many > self._at_hand // SOME_MORE:  # a dictionary is gone through from where its first entry once was
            for name, kept in list(islice(self._known.items(), too_many)):
                if kept.call is kept.saved:
                    del self._known[name]

    def _due_until(self, first: int, last: int, limit: int) -> tuple[list[Call], bool]:
        self._make_room()
        found: list[Call] = []
        for n, block in enumerate(self._due.blocks(last), start=1):
            rows = self._connection.execute(
                f"SELECT {COLUMNS} FROM calls WHERE id BETWEEN ? AND ? AND due BETWEEN ? AND ? LIMIT ?",  # noqa: S608 -- our own words
                (*block, first, last, limit - len(found)),
            ).fetchall()
            found += [kept.saved for row in rows if (kept := self._read(row)).saved and kept.saved is kept.call]
            if not rows:
                (following,) = self._connection.execute(
                    "SELECT min(due) FROM calls WHERE id BETWEEN ? AND ? AND due BETWEEN ? AND ?",
                    (*block, first, first + FORGET - 1),
                ).fetchone()
                self._due.looked(block[0], last, following)
            if len(found) >= limit or n >= BLOCKS_AT_ONCE:
                return found, True
        return found, False

    def _pages(self, column: str, value: int, limit: int) -> Iterator[list[Call]]:
        after = 0
        while True:
            page, after = self._page(f"{column} = ? AND id > ?", (value, after), limit)
            yield page
            if not after:
                return

    def _page(self, where: str, values: tuple[int, ...], limit: int) -> tuple[list[Call], int]:
        self._make_room()
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM calls WHERE {where} ORDER BY id LIMIT ?",  # noqa: S608 -- our own words
            (*values, limit),
        ).fetchall()
        calls = [call for row in rows if (call := self._read(row).call) and call.terminable]
        return calls, rows[-1][0] if len(rows) == limit else 0

    def _read(self, row: tuple[int, bytes]) -> Kept:
        """Bring the call of a row to hand, unless a newer state of it is there already."""
        call = _decode(row[1])
        name = call.name
        kept = self._known.get(name)
        if kept is None:
            _share_texts(call)
            kept = self._known[name] = Kept(name, row[0], call, call)
        return kept

    def _columns(self, call: Call) -> _Columns:
        """What a call's row is found by: once it has ended only by its id, whether or not its number is left in place.

        A call that is being dialled mostly waits again or ends within minutes; until it does its row is left in place.
        """
        if is_over(call):
            return None, None, self._forget_hour(call)
        account = call.account
        number = hash_of("number", account, call.number) if call.number else None
        carry_at = int((call.kept_at + self._keeping.carry_seconds) // HOUR_SECONDS)
        return self._cohorts.of(account, call.campaign_id, call.agent_id), number, carry_at

    def _forget_hour(self, call: Call) -> int:
        return FORGET + int((call.last_at + self._keeping.forget_seconds) // HOUR_SECONDS) + 1

    def _counted(self) -> tuple[int, int]:
        """The counts as they were saved with the rows: counting a million calls takes a third of a second."""
        saved = dict(self._connection.execute("SELECT name, value FROM applied WHERE name IN ('known', 'waiting')"))
        return saved.get("known", 0), saved.get("waiting", 0)


def _waits(call: Call | None) -> bool:
    return call is not None and call.progress.standing.terminable


def _share_texts(call: Call) -> None:
    """Let calls have in common what is the same in many: a fourth of what a call takes in memory."""
    for field in COMMON:
        text = getattr(call, field)
        if text:
            force_setattr(call, field, intern(text))
    if call.decided:
        force_setattr(call, "decided", orders_together((), call.decided))


def save_applied_orders(connection: sqlite3.Connection, offset: int) -> None:
    connection.execute(
        "INSERT INTO applied VALUES ('orders', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (offset,)
    )


def _look_up(count: int) -> str:
    return f"SELECT {COLUMNS} FROM calls WHERE hash IN ({','.join('?' * count)})"  # noqa: S608 -- our own words


LOOK_UP, LOOK_UP_FEW = _look_up(LOOKED_UP_AT_ONCE), _look_up(FEW)
