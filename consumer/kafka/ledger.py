"""The ledger: terminations folded from ``terminations`` and ``termination-log``, in a view.

The dispatcher keeps one per partition and asks it what to send; the console keeps one of everything and asks it what
became of an order.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

from consumer.kafka.ledger_rows import (
    ANY_LANE,
    FIRST_PLACE,
    LISTED_SCHEMA,
    SCHEMA,
    Entry,
    Rows,
    SendPlace,
    page_of,
    place_of,
)
from consumer.model.terminations import COUNTS, Ended, Record, State, Termination, contribution, fold_termination

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

RECENT = 4_096
"""So many terminations that were changed or looked at lately stay in memory: a request's attempt and outcome follow soon."""


@dataclass(frozen=True, slots=True)
class NextStep:
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
    ) -> None:
        """Go on with what the tables hold; ``listed`` where they are of ``LISTED_SCHEMA``."""
        self._connection = connection
        self._rows = Rows(connection, listed=listed)
        self._next_step = next_step
        self._on_change: Callable[[Termination, State], None] = lambda _, __: None
        self._changed: dict[str, Entry] = {}
        self._steps: dict[str, NextStep] = {}
        self._recent: dict[str, Entry] = {}
        self._unknown: set[str] = set()
        self._has_work = False
        self._counts: dict[tuple[str, str], int] = {}
        self._states: dict[tuple[str, State], int] = {}
        self._standing: dict[tuple[str, State], int] = {
            (account, State(state)): value
            for account, state, value in connection.execute("SELECT account, state, value FROM state_counts")
        }

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
    def has_work(self) -> bool:
        """Whether something may have to be sent that ``to_send`` does not find before the next ``save``."""
        return self._has_work

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
            entry = known._replace(t=after, state=after.state) if known else self._rows.new(after)
            self._changed[after.termination_id] = entry
            self._steps.pop(after.termination_id, None)
            self._has_work = self._has_work or entry.state is State.WAITING
            self._count(known, entry)
            if known is None or known.state is not entry.state:
                self._on_change(after, entry.state)
        return before, after

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        steps = ((entry, self._step_of(entry.t)) for entry in self._changed.values())
        written = self._rows.write(connection, ((entry, following.step, following.at) for entry, following in steps))
        self._keep(written)
        connection.executemany(
            "INSERT INTO order_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(order_id, name, value) for (order_id, name), value in self._counts.items() if value],
        )
        connection.executemany(
            "INSERT INTO state_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(account, state, value) for (account, state), value in self._states.items() if value],
        )
        self._changed.clear()
        self._steps.clear()
        self._counts.clear()
        self._states.clear()
        self._unknown.clear()
        self._has_work = False

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
        rows = self._connection.execute(
            "SELECT n, termination_id FROM terminations INDEXED BY to_send WHERE account = ? AND step = 'send'"
            " AND lane <= ? AND (lane, since, termination_id) > (?, ?, ?) AND act_at <= ?"
            " ORDER BY lane, since, termination_id",
            (account, up_to_lane, *after, now),
        )
        return self._due((row for row in rows if row[1] not in skip), "send", now, limit)

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
        return self.count_of(account, State.WAITING)

    def count_of(self, account: str, state: State) -> int:
        """How many terminations of an account are in a state; counted as they change, since there may be millions."""
        return self._standing.get((account, state), 0)

    def counts(self, order_id: str) -> dict[str, int]:
        """How many terminations of an order are, or have been, in each state."""
        rows = self._connection.execute("SELECT name, value FROM order_counts WHERE order_id = ?", (order_id,))
        return dict.fromkeys(COUNTS, 0) | dict(rows)

    def of_call(self, account: str, call_id: str) -> list[Termination]:
        """Every termination of one call, by episode."""
        return sorted(self._rows.of_call(account, call_id), key=lambda t: t.episode)

    def page(
        self, filters: Mapping[str, str], *, before: tuple[float, str] | None, limit: int
    ) -> Sequence[Termination]:
        """List terminations, newest first, by ``order_id``, ``account`` and ``outcome``; ``before`` continues a list."""
        return page_of(self._connection, filters, before=before, limit=limit)

    def totals(self) -> dict[str, int]:
        """How many terminations are in each state."""
        totals: dict[str, int] = {}
        for (_, state), value in self._standing.items():
            totals[state.value] = totals.get(state.value, 0) + value
        return {state: value for state, value in totals.items() if value > 0}

    def _entry(self, termination_id: str) -> Entry | None:
        known = self._changed.get(termination_id) or self._recent.get(termination_id)
        return known if known or termination_id in self._unknown else self._rows.find(termination_id)

    def _step_of(self, t: Termination) -> NextStep:
        """Give the next step of one that has changed; it is asked for more often than it changes."""
        step = self._steps.get(t.termination_id)
        if step is None:
            step = self._steps[t.termination_id] = self._next_step(t)
        return step

    def _due(self, rows: Iterable[Any], step: str, now: float, limit: int) -> list[Termination]:
        """Read the first ``limit`` rows, but for those of which a change that is not saved yet has made another step."""
        found: list[Termination] = []
        left = iter(rows)
        while len(found) < limit and (some := list(islice(left, limit - len(found)))):
            recent = {one: entry for _, one in some if (entry := self._recent.get(one))}
            read = self._rows.at([n for n, one in some if one not in self._changed and one not in recent])
            for n, termination_id in some:
                changed = self._changed.get(termination_id)
                if changed is None:
                    found.append((recent.get(termination_id) or read[n]).t)
                else:
                    following = self._step_of(changed.t)
                    if following.step == step and following.at <= now:
                        found.append(changed.t)
            self._keep({entry.t.termination_id: entry for entry in read.values()})
        return found

    def _keep(self, entries: Mapping[str, Entry]) -> None:
        """Keep these among the recent; what is kept longest goes."""
        self._recent.update(entries)
        excess = len(self._recent) - RECENT
        for termination_id in list(islice(self._recent, max(0, excess))):
            del self._recent[termination_id]

    def _count(self, before: Entry | None, after: Entry) -> None:
        account, was, now = after.t.account, before.state if before else None, after.state
        if was is not now:
            for state, change in ((now, 1), (was, -1)):
                if state is not None:
                    self._states[account, state] = self._states.get((account, state), 0) + change
                    self._standing[account, state] = self._standing.get((account, state), 0) + change
        known = before.t.orders if before else ()
        old, new = contribution(before.t if before else None, was), contribution(after.t, now)
        if old == new and known == after.t.orders:
            return
        for order_id in after.t.orders:
            had = old if order_id in known else ()
            for name in had:
                self._counts[order_id, name] = self._counts.get((order_id, name), 0) - 1
            for name in new:
                self._counts[order_id, name] = self._counts.get((order_id, name), 0) + 1
