"""All stop orders of a process, in one SQLite file: a fold of ``stop-orders`` that a restart goes on with.

A million orders are too much to hold in every process and to read at every start. What is held in memory is what they are
aimed at, in some bytes a name (``order_names.py``), and the orders that were looked at lately (``order_recent.py``).
"""

import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from consumer.kafka import order_admissions, order_tallies
from consumer.kafka.control_rows import SCHEMA as CONTROLS
from consumer.kafka.control_rows import ControlChange, StoredControls
from consumer.kafka.order_aims import Aims
from consumer.kafka.order_fold import Change, Entry, Fold, Forgotten
from consumer.kafka.order_index import NameIndex
from consumer.kafka.order_recent import RecentOrders
from consumer.kafka.order_rows import CALLS, ORDER_ID, decode, schema
from consumer.kafka.view import NO_STAMPS, Offsets, View, log_thrown_away, open_file
from consumer.model.calls import Call
from consumer.model.controls import Controls
from consumer.model.limits import Subject
from consumer.model.orders import Fact, FactKind, OrderRecord, StopOrder
from consumer.model.scopes import Key

IN_MEMORY = Path(":memory:")
DEFAULT_DECISION_TTL_SECONDS = 900.0
PAGE = 200
BESIDE = (CONTROLS, order_tallies.SCHEMA, order_admissions.SCHEMA)
"""The tables that lie in the file beside the orders."""

Place = tuple[float, int]
"""Where a list goes on: what it is ordered by, and the row."""
FROM_THE_FIRST: Place = (-inf, -1)
NONE: Sequence[OrderRecord] = ()


class StoredOrderBook:
    """Orders with their facts, by id and by what they are aimed at: the ``OrderBook`` that decisions ask."""

    view: View
    _last_changes: dict[Place, Sequence[Place]]
    _proposed_in: Sequence[str] | None

    def __init__(
        self,
        path: Path = IN_MEMORY,
        *,
        cluster_id: str = "",
        decision_ttl: Mapping[str, float] | None = None,
        connect: Callable[..., sqlite3.Connection] = open_file,
    ) -> None:
        """Go on with what a file holds.

        Args:
            path: the file, which no other process may have open (``order_file.py``).
            cluster_id: the Kafka cluster the orders are read from.
            decision_ttl: by account, for how long what an order that holds once has decided may be acted on, in seconds.
            connect: opens the file, with the arguments of ``sqlite3.connect``.

        """
        told = decision_ttl or {}
        self._decision_ttl = {name: ttl for name, ttl in told.items() if ttl != DEFAULT_DECISION_TTL_SECONDS}
        self._open = partial(
            View,
            path,
            "".join((schema(self._decision_ttl), *BESIDE)),
            cluster_id=cluster_id,
            connect=connect,
        )
        self._begin()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[OrderRecord]:
        """Begin with the oldest."""
        n = -1
        while rows := self._rows("SELECT n, record FROM orders WHERE n > ? ORDER BY n LIMIT ?", n, PAGE):
            yield from (decode(blob) for _, blob in rows)
            n = rows[-1][0]

    def get(self, order_id: str) -> OrderRecord | None:
        place = self._recent.place(order_id)
        if place is None:
            place = next(iter(self._index.find(ORDER_ID, order_id)), None)
        return None if place is None else self._at(place)

    def aimed_at(self, call: Call) -> Sequence[OrderRecord]:
        """Every order, in force or not, whose scope covers the call."""
        hits = self._aims.names.hits(call)
        return [self._at(n) for n in self._aims.places(call.account, hits)] if hits else NONE

    def with_scope_keys(self, account: str, keys: Sequence[Key]) -> Sequence[OrderRecord]:
        """Every order of the account aimed at one of these keys."""
        return [self._at(n) for n in self._aims.of_keys(account, keys)]

    def changed_since(self, offset: int) -> Iterator[OrderRecord]:
        """The orders that changed at ``offset`` or later, oldest change first; one that changes meanwhile comes again."""
        place: Place = (offset, -1)
        while True:
            places = self._changed_behind(place)
            yield from (record for _, n in places if (record := self._find(n)))
            if len(places) < PAGE:
                return
            place = places[-1]

    def reaching_everything(self, now: float) -> Iterator[OrderRecord]:
        """The orders in force that also want the provider's own stop of their scope, oldest first."""
        query = (
            "SELECT record FROM orders INDEXED BY by_end_everything"
            " WHERE everything = 1 AND stands = 'in_force' AND ends > ? ORDER BY n"
        )
        return (decode(blob) for (blob,) in self._rows(query, now))

    def one_of_each_listing(self, account: str, now: float) -> list[OrderRecord]:
        """One order in force for each listing of the account's call history in which calls under orders are found."""
        query = (
            "SELECT listing, ends, record FROM orders WHERE stands = 'in_force' AND account = ? AND listing > ?"
            " ORDER BY listing, ends DESC LIMIT 1"
        )
        found, listing = [], ""
        while rows := self._rows(query, account, listing):
            listing, ends, blob = rows[0]
            if ends > now and listing != CALLS:
                found.append(decode(blob))
        return found

    def naming_calls(
        self, account: str, now: float, *, after: Place = FROM_THE_FIRST, limit: int = PAGE
    ) -> list[tuple[Place, OrderRecord]]:
        """The next orders in force of an account that name calls by id, with the place of each; the first to end first."""
        query = (
            "SELECT ends, n, record FROM orders WHERE stands = 'in_force' AND account = ? AND listing = ?"
            " AND ends > ? AND (ends, n) > (?, ?) ORDER BY ends, n LIMIT ?"
        )
        rows = self._rows(query, account, CALLS, now, *after, limit)
        return [((ends, n), decode(blob)) for ends, n, blob in rows]

    def proposed(self, *, after: int = -1, limit: int = PAGE) -> list[tuple[int, OrderRecord]]:
        """The next orders that nobody has judged yet, with the place of each, oldest first."""
        query = (
            "SELECT n, record FROM orders INDEXED BY by_stand"
            " WHERE stands <> 'in_force' AND stands = 'proposed' AND n > ? ORDER BY n LIMIT ?"
        )
        return [(n, decode(blob)) for n, blob in self._rows(query, after, limit)]

    def awaiting_approval(self, limit: int = PAGE) -> list[OrderRecord]:
        """The orders that wait for a person's word, the latest first."""
        query = (
            "SELECT record FROM orders INDEXED BY by_stand"
            " WHERE stands <> 'in_force' AND stands = 'awaiting_approval' ORDER BY n DESC LIMIT ?"
        )
        return [decode(blob) for (blob,) in self._rows(query, limit)]

    def count_awaiting_approval(self) -> int:
        """How many orders wait for a person's word."""
        query = "SELECT count(*) FROM orders INDEXED BY by_stand WHERE stands <> 'in_force' AND stands = 'awaiting_approval'"
        return int(self._rows(query)[0][0])

    def accounts_of_proposed(self) -> Sequence[str]:
        """The accounts that have an order which nobody has judged yet."""
        if self._proposed_in is None:
            query = (
                "SELECT DISTINCT account FROM orders INDEXED BY by_stand"
                " WHERE stands <> 'in_force' AND stands = 'proposed' ORDER BY account"
            )
            self._proposed_in = [account for (account,) in self._rows(query)]
        return self._proposed_in

    def calls_let_through(self, subject: Subject, since: float, *, shadow: bool = False) -> int:
        """How many calls orders of rules were admitted with since a time (seconds); with ``shadow``, those in shadow too."""
        return order_admissions.used(self.view.connection, subject, since, shadow=shadow)

    @property
    def controls(self) -> Controls:
        """The controls as they stand now; ask again each time."""
        return self._controls.now

    def tallies(self) -> Mapping[str, order_tallies.Tally]:
        """How many orders each rule has made, and when the last came."""
        return order_tallies.tallies(self.view.connection)

    def fold(
        self,
        changes: Sequence[tuple[int, Change]],
        offsets: Offsets | None = None,
        stamps: Offsets = NO_STAMPS,
        controls: Sequence[ControlChange] = (),
    ) -> None:
        """Fold records, each with its offset, together with the offsets to go on from: all of it or nothing."""
        with self.view.transaction(offsets or {}, stamps) as connection:
            different = Fold(connection, self._index, changes, self._decision_ttl_of).write()
            for entry in different:
                self._follow(entry)
            order_tallies.count(connection, [e.record.order for e in different if e.record and e.was is None])
            order_admissions.note(connection, [e.record for e in different if e.record and _is_admitted_now(e)])
            stand = self._controls.write(controls) if controls else self._controls.now
        self._forget_answers()
        self._controls.now = stand
        self._count += sum((entry.record is not None) - (entry.was is not None) for entry in different)

    @property
    def is_untidy(self) -> bool:
        """Whether ``tidy`` has something to do: after each fold it should."""
        return self._index.is_due

    def tidy(self) -> Iterator[None]:
        """Write names that wait in memory for there to be many of them; others may run at each step, but not ``fold``."""
        return self._index.write_waiting(partial(self.view.transaction, {}))

    def put_order(self, order: StopOrder, offset: int) -> OrderRecord:
        """Fold one order; one that is known already stays as it was first written."""
        self.fold([(offset, order)])
        record = self.get(order.order_id)
        assert record is not None
        return record

    def put_fact(self, fact: Fact, offset: int) -> OrderRecord | None:
        """Fold one fact; gives the order it belongs to, None when that order has not been read yet."""
        self.fold([(offset, fact)])
        return self.get(fact.order_id)

    def forget(self, order_id: str) -> None:
        """Fold a tombstone."""
        self.fold([(0, Forgotten(order_id))])

    def begin_anew(self) -> None:
        """Throw the file away, to read everything again: it does not follow from the log."""
        self.view.discard()
        self._begin()

    def close(self) -> None:
        self.view.close()

    def _begin(self) -> None:
        self.view = self._open()
        if self.view.path == IN_MEMORY:
            weakref.finalize(self, self.view.close)
        try:
            self._learn()
        except sqlite3.DatabaseError as error:
            if self.view.sound():
                raise
            log_thrown_away(self.view.path, str(error))
            self.begin_anew()

    def _forget_answers(self) -> None:
        """Forget what every partition asks after each change, one after the other."""
        self._last_changes = {}
        self._proposed_in = None

    def _learn(self) -> None:
        self._forget_answers()
        self._recent = RecentOrders()
        self._controls = StoredControls(self.view.connection)
        self._index = NameIndex(self.view.connection)
        self._aims = Aims(self.view.connection, self._index, ORDER_ID + 1)
        self._count: int = self._rows("SELECT count(*) FROM orders")[0][0]
        for n, blob in self._rows("SELECT n, record FROM orders WHERE n > ? ORDER BY n", self._index.until):
            self._lead_to(decode(blob).order, n)

    def _follow(self, entry: Entry) -> None:
        """Lead from an order's names to its row, and forget how the order was."""
        self._recent.drop(entry.was_at)
        if entry.was is not None and entry.row_is_gone:
            self._index.remove(ORDER_ID, [entry.order_id], entry.was_at)
            self._aims.remove(entry.was.order, entry.was_at)
        if entry.record is not None and entry.n != entry.was_at:
            self._lead_to(entry.record.order, entry.n)

    def _lead_to(self, order: StopOrder, n: int) -> None:
        self._index.add(ORDER_ID, [order.order_id], n)
        self._aims.add(order, n)

    def _changed_behind(self, place: Place) -> Sequence[Place]:
        """Give the change and row of the next orders by their change, ``PAGE`` of them unless there are no more."""
        known = self._last_changes.get(place)
        if known is not None:
            return known
        query = "SELECT changed, n FROM orders WHERE (changed, n) > (?, ?) ORDER BY changed, n LIMIT ?"
        found = self._rows(query, *place, PAGE)
        if len(found) < PAGE:
            self._last_changes[place] = found
        return found

    def _decision_ttl_of(self, account: str) -> float:
        return self._decision_ttl.get(account, DEFAULT_DECISION_TTL_SECONDS)

    def _at(self, n: int) -> OrderRecord:
        record = self._find(n)
        assert record is not None
        return record

    def _find(self, n: int) -> OrderRecord | None:
        record = self._recent.get(n)
        if record is None and (rows := self._rows("SELECT record FROM orders WHERE n = ?", n)):
            record = self._recent.keep(n, decode(rows[0][0]))
        return record

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self.view.connection.execute(query, values).fetchall()


def _is_admitted_now(entry: Entry) -> bool:
    was, now = entry.was, entry.record
    return now is not None and now.fact(FactKind.ADMITTED) != (was.fact(FactKind.ADMITTED) if was else None)
