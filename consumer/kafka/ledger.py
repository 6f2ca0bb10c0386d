"""The ledger: terminations folded from ``terminations`` and ``termination-log``, in a view.

The dispatcher keeps one per partition and asks it what to send; the console keeps one of everything and asks it what
became of an order.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, NamedTuple

from consumer.kafka.ledger_counts import Counts
from consumer.kafka.ledger_forgetting import Forgetting
from consumer.kafka.ledger_pages import LISTED_SCHEMA, page_of
from consumer.kafka.ledger_queue import SendQueue
from consumer.kafka.ledger_rows import (
    ANY_LANE,
    FIRST_PLACE,
    SCHEMA,
    Entry,
    Rows,
    SendPlace,
    changed_entry,
    place_of,
)
from consumer.model.terminations import Decision, Ended, Record, State, Termination, fold_termination

__all__ = [
    "ANY_LANE",
    "FIRST_PLACE",
    "LISTED_SCHEMA",
    "NOTHING",
    "SCHEMA",
    "Ledger",
    "NextStep",
    "SendPlace",
    "place_of",
]

SEND = "send"
SAVED_AT_ONCE = 200
"""So many are written in one go; others get their turn before the next."""
RECENT = 4_096
"""So many terminations that were changed or looked at lately stay in memory: a request's attempt and outcome follow soon."""


class NextStep(NamedTuple):
    """What is to be done with a termination, and when: ``send``, ``look`` how its call stands, or ``close``."""

    step: str | None
    at: float = 0.0


NOTHING = NextStep(None)


class Ledger:
    """Terminations by id. Changes wait in memory until ``save``."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        next_step: Callable[[Termination], NextStep] = lambda _: NOTHING,
        *,
        listed: bool = False,
        keep_seconds: float | None = None,
    ) -> None:
        """Go on with what the tables hold; ``listed`` where they are of ``LISTED_SCHEMA``.

        What is over may be forgotten after ``keep_seconds``, never where that is None.
        """
        self._connection = connection
        self._rows = Rows(connection, listed=listed)
        self._next_step = next_step
        self._on_change: Callable[[Termination, State], None] = lambda _, __: None
        self._changed: dict[str, Entry] = {}
        self._changed_of_call: dict[tuple[str, str], list[str]] | None = None
        self._queue = SendQueue(self._rows, self._changed, lambda entry, now: self._is_due(entry, SEND, now))
        self._steps: dict[str, NextStep] = {}
        self._recent: dict[str, Entry] = {}
        self._unknown: set[str] = set()
        self._counts = Counts(connection)
        self._forgetting = Forgetting(self._rows, keep_seconds)

    def on_change(self, listener: Callable[[Termination, State], None]) -> None:
        """Be told (synchronously, briefly) of each termination that comes into another state."""
        self._on_change = listener

    @property
    def dirty(self) -> bool:
        return bool(self._changed)

    def get(self, termination_id: str) -> Termination | None:
        entry = self._entry(termination_id)
        return entry.t if entry else None

    @property
    def unsaved(self) -> int:
        """How many terminations have changed since the last ``save``."""
        return len(self._changed)

    def load(self, termination_ids: Iterable[str]) -> None:
        """Bring to hand what is about to be folded; what is not known is remembered until the next ``save``."""
        missing = [
            one
            for one in dict.fromkeys(termination_ids)
            if one not in self._changed and one not in self._recent and one not in self._unknown
        ]
        found = {entry.t.termination_id: entry for entry in self._rows.find_all(missing)}
        self._unknown.update(one for one in missing if one not in found)
        self._recent.update(found)

    def fold(self, record: Record) -> tuple[Termination | None, Termination | None]:
        """Fold one record; gives the termination before and after. The end of a call nobody wanted stopped is no news."""
        known = self._entry(record.termination_id)
        before = known.t if known else None
        if before is None and isinstance(record, Ended):
            return None, None
        after = fold_termination(before, record)
        if after is not before and after != before:
            moved = isinstance(record, Decision)
            entry = changed_entry(known, after, moved=moved) if known else self._rows.new(after)
            self._changed[after.termination_id] = entry
            self._changed_of_call = None
            self._steps.pop(after.termination_id, None)
            self._queue.changed(known, entry)
            self._counts.count(known, entry)
            if known is None or known.state is not entry.state:
                self._on_change(after, entry.state)
        return before, after

    def forget(self, log_time: float) -> bool:
        """Choose a few of those that are over and long past at the broker's time; says whether to go on at once.

        The next ``save`` deletes them. What an order has come to stays counted.
        """
        return self._forgetting.look(log_time)

    @property
    def forgetting(self) -> bool:
        """Whether any have been chosen that the next ``save`` will delete."""
        return self._forgetting.pending

    def save(self, connection: sqlite3.Connection) -> bool:
        """Write a part of what changed into the open transaction; says whether more is left."""
        if self._forgetting.pending:
            for entry in self._forgetting.delete(connection, self._changed):
                self._recent.pop(entry.t.termination_id, None)
                self._counts.forget(entry)
            return True
        part = list(islice(self._changed.values(), SAVED_AT_ONCE))
        steps = [(entry, self._step_of(entry.t)) for entry in part]
        written = self._rows.write(connection, ((entry, following.step, following.at) for entry, following in steps))
        asked_for: dict[str, Entry] = {}
        for entry, (step, at) in zip(written, (following for _, following in steps), strict=True):
            one = entry.t.termination_id
            del self._changed[one], self._steps[one]
            self._queue.saved(entry, at if step == SEND else None)
            if entry.t.attempts:
                asked_for[one] = entry
            else:  # it is read again when it is chosen; who waits must not displace who is asked for
                self._recent.pop(one, None)
        self._unknown.clear()
        self._keep(asked_for)
        if not self._changed:
            self._counts.save(connection)
        return bool(self._changed)

    def to_send(
        self,
        account: str,
        now: float,
        limit: int,
        skip: AbstractSet[str],
        *,
        after: SendPlace = FIRST_PLACE,
        up_to_lane: int = ANY_LANE,
    ) -> list[Termination]:
        """The next terminations of an account to be sent: by lane, then whose call waits longest, but for ``skip``.

        Stops of whole scopes come first in their lane. What was folded since the last ``save`` counts: a call whose end
        is known is not sent.
        """
        queue = self._queue.of(account, now, skip=skip, after=after, up_to_lane=up_to_lane)
        found = [(n, place[2]) for place, n in islice(queue, limit)]
        read = self._read(row for row in found if row[1] not in self._changed)
        return [(self._changed.get(one) or read[one]).t for _, one in found]

    def to_close(self, now: float, limit: int) -> list[Termination]:
        """Terminations whose time is up."""
        rows = self._connection.execute(
            "SELECT n, termination_id FROM terminations WHERE step = 'close' AND act_at <= ? ORDER BY act_at", (now,)
        )
        return self._due(rows, "close", now, limit)

    def to_look(self, account: str, now: float, limit: int) -> list[Termination]:
        """Terminations of an account whose call is to be looked at, the longest due first."""
        rows = self._connection.execute(
            "SELECT n, termination_id FROM terminations WHERE account = ? AND step = 'look' AND act_at <= ?"
            " ORDER BY act_at",
            (account, now),
        )
        return self._due(rows, "look", now, limit)

    def backlog(self, account: str) -> int:
        """How many terminations of an account wait for a request."""
        return self._counts.in_state(account, State.WAITING)

    def count_of(self, account: str, state: State) -> int:
        """How many terminations of an account are in a state."""
        return self._counts.in_state(account, state)

    def counts(self, order_id: str) -> dict[str, int]:
        """How many terminations of an order are, or have been, in each state."""
        return self._counts.of_order(order_id)

    def of_call(self, account: str, call_id: str) -> list[Termination]:
        """Every termination of one call, by episode."""
        found = {t.termination_id: t for t in self._rows.of_call(account, call_id)}
        for termination_id in self._unsaved_of_calls().get((account, call_id), ()):
            if entry := self._changed.get(termination_id):
                found[termination_id] = entry.t
        return sorted(found.values(), key=lambda t: t.episode)

    def page(
        self, filters: Mapping[str, str], *, before: tuple[float, str] | None, limit: int
    ) -> Sequence[Termination]:
        """List terminations, newest first, by ``order_id``, ``account`` and ``outcome``; ``before`` continues a list."""
        return page_of(self._connection, filters, before=before, limit=limit)

    def totals(self) -> dict[str, int]:
        """How many terminations are in each state."""
        return self._counts.totals()

    def _unsaved_of_calls(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """Which of those that have changed are of which call; many calls are asked about between two changes, or none."""
        if self._changed_of_call is None:
            self._changed_of_call = {}
            for termination_id, entry in self._changed.items():
                self._changed_of_call.setdefault((entry.t.account, entry.t.call_id), []).append(termination_id)
        return self._changed_of_call

    def _entry(self, termination_id: str) -> Entry | None:
        known = self._changed.get(termination_id) or self._recent.get(termination_id)
        return known if known or termination_id in self._unknown else self._rows.find(termination_id)

    def _step_of(self, t: Termination) -> NextStep:
        """Give the next step of one that has changed; it is asked for more often than it changes."""
        step = self._steps.get(t.termination_id)
        if step is None:
            step = self._steps[t.termination_id] = self._next_step(t)
        return step

    def _is_due(self, entry: Entry, step: str, now: float) -> bool:
        """Whether this is the next step of one that has changed, and its time has come."""
        if step == SEND and entry.state is not State.WAITING:
            return False  # whatever else is sent again was asked for long ago
        following = self._step_of(entry.t)
        return following.step == step and following.at <= now

    def _due(self, rows: Iterable[Any], step: str, now: float, limit: int) -> list[Termination]:
        """Read the first ``limit`` rows, but for those of which a change that is not saved yet has made another step."""
        found: list[Termination] = []
        left = iter(rows)
        while len(found) < limit and (some := list(islice(left, limit - len(found)))):
            read = self._read([row for row in some if row[1] not in self._changed])
            for _, termination_id in some:
                changed = self._changed.get(termination_id)
                if changed is None:
                    found.append(read[termination_id].t)
                elif self._is_due(changed, step, now):
                    found.append(changed.t)
        return found

    def _read(self, rows: Iterable[tuple[int, str]]) -> dict[str, Entry]:
        """Bring to hand what stands in some rows, each given with its id."""
        found, missing = {}, []
        for n, termination_id in rows:
            if entry := self._recent.get(termination_id):
                found[termination_id] = entry
            else:
                missing.append(n)
        read = {entry.t.termination_id: entry for entry in self._rows.at(missing).values()}
        self._keep(read)
        return found | read

    def _keep(self, entries: Mapping[str, Entry]) -> None:
        """Keep these among the recent; what is kept longest goes."""
        self._recent.update(entries)
        excess = len(self._recent) - RECENT
        for termination_id in list(islice(self._recent, max(0, excess))):
            del self._recent[termination_id]
