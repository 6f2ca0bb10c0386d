"""Forgetting: terminations that are over leave the ledger once the log has forgotten them too, which bounds its file.

What is kept is what ``termination-log`` keeps, by the clock of the log: a ledger that is built again knows no more. Rows
lie in the order in which they were first heard of, so those to be forgotten are at the front, or among those that are not
over yet.
"""

import sqlite3
from collections.abc import Container, Sequence

from consumer.kafka.ledger_rows import Entry, Rows
from consumer.model.terminations import State, Termination

LOOKED_AT_ONCE = 100
CHOSEN_AT_MOST = 2_000
"""So many wait to be deleted with the next save; the others are chosen after it."""
DELETED_AT_ONCE = 50
LOOK_EVERY_SECONDS = 600.0
"""Of the log's time, between a look that found nothing old and the next."""


class Forgetting:
    """Chooses a few at a time, and deletes them with the next save unless they have changed since."""

    def __init__(self, rows: Rows, keep_seconds: float | None) -> None:
        """Forget what was not heard of for ``keep_seconds``; None: nothing."""
        self._rows = rows
        self._keep_seconds = keep_seconds
        self._chosen: list[Entry] = []
        self._passed = 0
        self._look_at = 0.0

    @property
    def pending(self) -> bool:
        """Whether any wait to be deleted."""
        return bool(self._chosen)

    def look(self, log_time: float) -> bool:
        """Look at the next rows; says whether to look further at once. ``log_time`` is the broker's, in seconds."""
        if self._keep_seconds is None or log_time < self._look_at or len(self._chosen) >= CHOSEN_AT_MOST:
            return False
        before = log_time - self._keep_seconds
        rows = self._rows.behind(self._passed, LOOKED_AT_ONCE)
        old = [(n, state, decided_at) for n, state, decided_at in rows if decided_at < before]
        if not old:
            self._passed, self._look_at = 0, log_time + LOOK_EVERY_SECONDS
            return False
        self._passed = rows[-1][0]
        # What has no decision any more was read back from the log alone: nothing will be done with it.
        over = [n for n, state, decided_at in old if State(state).over or not decided_at]
        self._chosen += [entry for entry in self._rows.at(over).values() if last_heard_of(entry.t) < before]
        return True

    def delete(self, connection: sqlite3.Connection, changed: Container[str]) -> Sequence[Entry]:
        """Delete some of those chosen in the open transaction, but for the ``changed``; gives what is gone."""
        some, self._chosen = self._chosen[:DELETED_AT_ONCE], self._chosen[DELETED_AT_ONCE:]
        gone = [entry for entry in some if entry.t.termination_id not in changed]
        self._rows.delete(connection, gone)
        return gone


def last_heard_of(t: Termination) -> float:
    """Give when the last was written about a termination, but for the end of its call, whose time is the provider's."""
    told = [*(a.at for a in t.attempts), *(r.at for r in t.results), *(look.at for look in t.looks)]
    return max(t.decided_at, t.final.at if t.final else 0.0, *told)
