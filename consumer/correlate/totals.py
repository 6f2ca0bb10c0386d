"""The totals of one partition: counted with its calls, in one transaction, and published before offsets are committed."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from consumer.correlate import metrics
from consumer.model.calls import MILLION, Call
from consumer.model.events import CallEvent
from consumer.model.standing import Standing
from consumer.model.status import Status
from consumer.model.totals import (
    CONNECTED,
    MILLISECONDS,
    MINUTE_SECONDS,
    NAMES,
    Measure,
    ScopeTotals,
    as_figures,
    figures_gained,
    gained,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS totals (
    account TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, minute INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    published INTEGER NOT NULL, amounts TEXT NOT NULL, sums TEXT NOT NULL,
    PRIMARY KEY (account, kind, name, minute)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unpublished_totals ON totals (minute) WHERE published = 0;
"""
OPEN = 0
"""In the column ``minute``: the row counts the calls that wait now, in its first amount."""
_write, _read = msgspec.json.encode, msgspec.json.decode  # which know whole numbers of any size
AT_ONCE = 500
AT_HAND = 2_000
KEPT_SECONDS = 3_600
NOT_HEARD_OF = Call("", "", "")

ScopeName = tuple[str, str, str]
"""Account, kind, name."""
Crowd = tuple[str, str | None, str | None, str | None, int]
"""Events that count in the same rows: account, campaign, agent, number, and how many minutes after the epoch it was."""
Told = tuple[CallEvent, Call | None, Call, float]
"""An event, its call before and after it, and when it was logged, in seconds."""
Name = str | None
Did = tuple[str, Name, Name, Name, int, bool, Standing, Standing, Status | None, bool, bool, str, Name, Name, Name]
"""What an event did: its crowd, whether the call is new, where it stood and stands, the status told, whether it was and is
connected, the event's type, and what campaign, agent and number were known. One flat tuple, which is made at every event."""
CROWD: Final = 5
TYPE: Final = 11
"""So many parts of it are the crowd, and where the type is."""
RowName = tuple[ScopeName, int]
"""A scope and a minute."""


@dataclass(slots=True)
class _Row:
    amounts: list[int]
    sums: dict[str, int] = field(default_factory=dict)
    last_offset: int = 0
    said: bool = True
    changed: bool = False


class Totals:
    """Counts per scope and minute. Changes wait in memory until ``save``."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        source: int,
        measures: Sequence[Measure] = (),
        numbers: bool = False,
        names: bool = False,
    ) -> None:
        """Continue the counts in the file.

        Args:
            connection: the view's.
            source: the partition whose calls are counted.
            measures: the numbers of events that rules add up.
            numbers: whether to count per number too; only where a rule wants it, since there are as many as calls.
            names: whether the totals of an account name its campaigns and agents, for rules that stop all of them.

        """
        self._connection = connection
        self._source = source
        self._measures = tuple(measures)
        self._numbers = numbers
        self._names = names
        self._did: Counter[Did] = Counter()
        self._figures: dict[Crowd, tuple[int, int]] = {}
        self._measured: dict[Crowd, Counter[str]] = {}
        self._offset = 0
        self._rows: dict[RowName, _Row] = {}
        self._changed = False
        self._said: list[tuple[RowName, int]] = []
        self._live = False
        self._unsaid = True
        self._latest_minute = 0
        self._swept_at = 0

    @property
    def dirty(self) -> bool:
        return self._changed or bool(self._did or self._said)

    def wants(self, measures: Sequence[Measure], *, numbers: bool, names: bool) -> None:
        """Count other things from here on: what rules that are new want."""
        self._measures, self._numbers, self._names = tuple(measures), numbers, names

    def live(self, live: bool) -> None:
        """Say whether what is counted from here on has been said before: what a silent replay counts was published."""
        if live != self._live:
            self._settle()
            self._live = live

    def add(self, told: Sequence[Told]) -> None:
        """Count what events that were no duplicates did to their calls.

        Most do one of a few things in one of a few crowds, so both are only noted here, and entered into the rows with the
        next ``save``.
        """
        numbers = self._numbers
        did: list[Did] = []
        begins, ends, minute = 0.0, 0.0, 0
        for event, before, after, logged_at in told:
            if logged_at >= ends or logged_at < begins:
                minute = int(logged_at) // MINUTE_SECONDS
                begins, ends = float(minute * MINUTE_SECONDS), float((minute + 1) * MINUTE_SECONDS)
            known = before or NOT_HEARD_OF
            was, now = known.progress, after.progress
            number, number_known = (after.number, known.number) if numbers else (None, None)
            did.append(
                (
                    after.account,
                    after.campaign_id,
                    after.agent_id,
                    number,
                    minute,
                    before is None,
                    was.standing,
                    now.standing,
                    event.status,
                    known.connected,
                    after.connected,
                    event.type,
                    known.campaign_id,
                    known.agent_id,
                    number_known,
                )
            )
            if now.figures is not was.figures:
                self._add_figures(did[-1][:CROWD], *figures_gained(before, after))
            if self._measures:
                self._add_measured(did[-1][:CROWD], event)
        self._did.update(did)
        if told:
            self._offset = max(self._offset, told[-1][0].offset or 0)

    def _add_figures(self, crowd: Crowd, milliseconds: int, millionths: int) -> None:
        known_milliseconds, known_millionths = self._figures.get(crowd, (0, 0))
        self._figures[crowd] = known_milliseconds + milliseconds, known_millionths + millionths

    def _add_measured(self, crowd: Crowd, event: CallEvent) -> None:
        for measure in self._measures:
            value = measure.of(event)
            if value is not None:
                self._measured.setdefault(crowd, Counter())[measure.name] += value

    def _settle(self) -> None:
        """Enter what has been counted into the rows of its scopes."""
        if self._live:
            metrics.count_events(((did[0], did[TYPE]), times) for did, times in self._did.items())
        tallies, begun_to_wait = self._tallied()
        for crowd, tally in tallies.items():
            minute = crowd[-1] * MINUTE_SECONDS
            self._latest_minute = max(self._latest_minute, minute)
            sums = self._measured.get(crowd)
            for scope in _scopes(*crowd[:-1]):
                row = self._row(scope, minute, self._offset)
                row.amounts = [told + more for told, more in zip(row.amounts, tally, strict=True)]
                for name, value in sums.items() if sums else ():
                    row.sums[name] = row.sums.get(name, 0) + value
                if self._names and scope[1] == "account":
                    for _, kind, name in _scopes(crowd[0], crowd[1], crowd[2], None)[1:]:
                        row.sums[f"{kind}/{name}"] = row.sums.get(f"{kind}/{name}", 0) + MILLION
                if crowd in begun_to_wait:  # also by none in all: an owner before us may have published in between
                    self._row(scope, OPEN, self._offset).amounts[0] += begun_to_wait[crowd]
        self._did.clear()
        self._figures.clear()
        self._measured.clear()

    def _tallied(self) -> tuple[dict[Crowd, list[int]], Counter[Crowd]]:
        """Give what each crowd gained, and by how many more of it wait, where any began to or ceased to."""
        tallies: dict[Crowd, list[int]] = {}
        begun_to_wait: Counter[Crowd] = Counter()
        for did, times in self._did.items():
            is_new, was, now, status, was_connected, connected, _, *names_known = did[CROWD:]
            crowd = did[:CROWD]
            tally = tallies.get(crowd)
            if tally is None:
                tally = tallies[crowd] = [*[0] * MILLISECONDS, *self._figures.get(crowd, (0, 0))]
            tally[CONNECTED] += times * (connected and not was_connected)
            for index, more in gained(None if is_new else was, now, status):
                tally[index] += more * times
            if not is_new and tuple(names_known) != crowd[1:4]:
                known = _scopes(crowd[0], *names_known) if was.terminable else ()
                self._add_waiting(known, _scopes(*crowd[:-1]) if now.terminable else (), times)
            elif now.terminable is not was.terminable:
                begun_to_wait[crowd] += times if now.terminable else -times
        return tallies, begun_to_wait

    def add_carried(self, before: Call | None, after: Call, offset: int) -> None:
        """Count a call that was written anew, which is nothing that happened, among those that wait."""
        self._offset = max(self._offset, offset)
        known = _scopes_of(before, numbers=self._numbers) if before is not None and before.terminable else ()
        self._add_waiting(known, _scopes_of(after, numbers=self._numbers) if after.terminable else ())

    def _add_waiting(self, known: Iterable[ScopeName], now: Iterable[ScopeName], times: int = 1) -> None:
        """Count calls among those that wait, scope by scope: in one that was told late they begin to wait only now."""
        scopes = set(now)
        for scope in scopes ^ set(known):
            self._row(scope, OPEN, self._offset).amounts[0] += times if scope in scopes else -times

    def waiting(self, account: str, campaign_id: str | None = None) -> int:
        """How many calls of an account, or of one of its campaigns, wait."""
        scope = (account, "campaign", campaign_id) if campaign_id else (account, "account", "")
        if campaign_id:
            self._settle()  # calls may have been told to be in it late
        row = self._rows.get((scope, OPEN)) or self._rows.setdefault((scope, OPEN), self._saved(*scope, OPEN))
        begun = 0
        for did, times in self._did.items():
            name, _, _, _, _, _, was, now, *_ = did
            if name == account:
                begun += times * (now.terminable - was.terminable)
        return max(0, row.amounts[0] + begun)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        self._settle()
        connection.executemany(
            "UPDATE totals SET published = 1 WHERE account = ? AND kind = ? AND name = ? AND minute = ? AND last_offset = ?",
            [(*scope, minute, offset) for (scope, minute), offset in self._said],
        )
        self._said.clear()
        connection.executemany(
            "INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [self._columns(name, row) for name, row in self._rows.items() if row.changed],
        )
        self._unsaid = self._unsaid or self._changed
        self._changed = False
        if self._latest_minute > self._swept_at:
            self._swept_at = self._latest_minute
            connection.execute(
                "DELETE FROM totals WHERE published = 1 AND minute BETWEEN 1 AND ?",
                (self._latest_minute - KEPT_SECONDS,),
            )
            self._rows.clear()
        elif len(self._rows) > AT_HAND:
            self._rows.clear()

    def to_publish(self) -> list[ScopeTotals]:
        """A part of what has changed since it was last published; ``save`` then notes it as said."""
        if not self._unsaid:
            return []
        rows = self._connection.execute(
            "SELECT account, kind, name, minute, last_offset, amounts, sums FROM totals WHERE published = 0 LIMIT ?",
            (AT_ONCE,),
        ).fetchall()
        self._unsaid = len(rows) == AT_ONCE
        self._said = [(((account, kind, name), minute), offset) for account, kind, name, minute, offset, _, _ in rows]
        return [self._totals(*row) for row in rows]

    def _row(self, scope: ScopeName, minute: int, offset: int) -> _Row:
        """Give the row to count in, at hand for as long as the minute lasts."""
        name = (scope, minute)
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = self._saved(*scope, minute)
        row.last_offset = max(row.last_offset, offset)  # crowds are entered one after the other
        row.said = not self._live
        row.changed = self._changed = True
        return row

    @staticmethod
    def _columns(name: RowName, row: _Row) -> tuple[str | int, ...]:
        row.changed = False
        return (
            *name[0],
            name[1],
            row.last_offset,
            row.said,
            _write(row.amounts).decode(),
            _write(row.sums).decode(),
        )

    def _totals(
        self, account: str, kind: str, name: str, minute: int, offset: int, amounts: str, sums: str
    ) -> ScopeTotals:
        told = _read(amounts)
        if minute == OPEN:
            return ScopeTotals(account, kind, name, self._source, offset, open=told[0])
        added = {measure: value / MILLION for measure, value in _read(sums).items()}
        return ScopeTotals(account, kind, name, self._source, offset, minute, None, as_figures(told), added)

    def _saved(self, account: str, kind: str, name: str, minute: int) -> _Row:
        found = self._connection.execute(
            "SELECT amounts, sums FROM totals WHERE account = ? AND kind = ? AND name = ? AND minute = ?",
            (account, kind, name, minute),
        ).fetchone()
        if found is None:
            return _Row([0] * len(NAMES))
        return _Row(_read(found[0]), _read(found[1]))


def _scopes(account: str, campaign_id: str | None, agent_id: str | None, number: str | None) -> list[ScopeName]:
    """The scopes a call counts in, each of which it may be told late: then it counts there from then on."""
    named = (("campaign", campaign_id), ("agent", agent_id), ("number", number))
    return [(account, "account", ""), *((account, kind, name) for kind, name in named if name)]


def _scopes_of(call: Call, *, numbers: bool) -> list[ScopeName]:
    return _scopes(call.account, call.campaign_id, call.agent_id, call.number if numbers else None)
