"""How many terminations are in which state, by account and by order; counted as they change, since there may be millions."""

import sqlite3
from functools import cache

from consumer.kafka.ledger_rows import Entry
from consumer.model.terminations import COUNTS, State

Standing = tuple[State | None, tuple[str, ...], tuple[str, ...]]
"""How a termination stands: its state, its orders, and what it adds to the counts of each."""
Move = tuple[str, Standing, tuple[State, tuple[str, ...], tuple[str, ...]]]
"""A change of one termination of an account: how it stood, and stands now."""
NOT_THERE: Standing = (None, (), ())


class Counts:
    """The counts of one ledger; what changes waits in memory until ``save``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Go on with what the tables hold."""
        self._connection = connection
        self._by_order: dict[tuple[str, str], int] = {}
        self._restated: set[tuple[str, State]] = set()
        self._moves: dict[Move, int] = {}
        self._standing: dict[tuple[str, State], int] = {
            (account, State(state)): value
            for account, state, value in connection.execute("SELECT account, state, value FROM state_counts")
        }

    def count(self, before: Entry | None, after: Entry) -> None:
        """Count a change; None where a termination is new."""
        was = (before.state, before.t.orders, before.counted) if before else NOT_THERE
        move = after.t.account, was, (after.state, after.t.orders, after.counted)
        self._moves[move] = self._moves.get(move, 0) + 1

    def forget(self, gone: Entry) -> None:
        """Count one less in its state; what it added to the counts of its orders stays: it has come to pass."""
        self._restate(gone.t.account, gone.state, -1)

    def _add_up(self) -> None:
        """Add what changed to the counts: most changes are alike."""
        for (account, (was, known, old), (state, orders, new)), times in self._moves.items():
            if was is not state:
                self._restate(account, state, times)
                if was is not None:
                    self._restate(account, was, -times)
            for order_id in orders:
                for name, change in _difference(old if order_id in known else (), new):
                    self._by_order[order_id, name] = self._by_order.get((order_id, name), 0) + change * times
        self._moves.clear()

    def _restate(self, account: str, state: State, change: int) -> None:
        self._standing[account, state] = self._standing.get((account, state), 0) + change
        self._restated.add((account, state))

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed into the open transaction."""
        self._add_up()
        connection.executemany(
            "INSERT INTO order_counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(order_id, name, value) for (order_id, name), value in self._by_order.items() if value],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO state_counts VALUES (?, ?, ?)",
            [(account, state, self._standing[account, state]) for account, state in self._restated],
        )
        self._by_order.clear()
        self._restated.clear()

    def in_state(self, account: str, state: State) -> int:
        """How many terminations of an account are in a state."""
        self._add_up()
        return self._standing.get((account, state), 0)

    def of_order(self, order_id: str) -> dict[str, int]:
        """How many terminations of an order are, or have been, in each state."""
        self._add_up()
        rows = self._connection.execute("SELECT name, value FROM order_counts WHERE order_id = ?", (order_id,))
        saved = dict(rows)
        return {name: saved.get(name, 0) + self._by_order.get((order_id, name), 0) for name in COUNTS}

    def totals(self) -> dict[str, int]:
        """How many terminations are in each state."""
        self._add_up()
        totals: dict[str, int] = {}
        for (_, state), value in self._standing.items():
            totals[state.value] = totals.get(state.value, 0) + value
        return {state: value for state, value in totals.items() if value > 0}


@cache
def _difference(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """What is added to the counts of an order by a termination that counted as ``old`` and counts as ``new``."""
    return *((name, -1) for name in old if name not in new), *((name, 1) for name in new if name not in old)
