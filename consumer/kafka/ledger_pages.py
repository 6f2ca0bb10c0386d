"""Lists of a ledger's terminations in pages, newest first; each query goes along an index, however much there is."""

import sqlite3
from collections.abc import Iterable, Mapping
from heapq import merge
from itertools import islice

from consumer.kafka.ledger_rows import SCHEMA, key_of
from consumer.model.termination_codec import decode_termination
from consumer.model.terminations import Termination

LISTED_SCHEMA = f"""{SCHEMA}
CREATE INDEX IF NOT EXISTS by_account ON terminations (account, decided_at, termination_id);
CREATE INDEX IF NOT EXISTS by_outcome ON terminations (account, state, decided_at, termination_id);
CREATE TABLE IF NOT EXISTS termination_orders (
    order_id TEXT NOT NULL, decided_at REAL NOT NULL, termination_id TEXT NOT NULL,
    PRIMARY KEY (order_id, decided_at, termination_id)
) WITHOUT ROWID;
"""

"""Of a ledger that can also list its terminations in pages."""

Rows = Iterable[tuple[float, str, bytes]]
"""When each was decided, its id, and its record."""
NEWEST_FIRST = "ORDER BY decided_at DESC, termination_id DESC"
BEHIND = "(decided_at, termination_id) < (?, ?)"
THE_END = (1e18, "")


def page_of(
    connection: sqlite3.Connection, filters: Mapping[str, str], *, before: tuple[float, str] | None, limit: int
) -> list[Termination]:
    """List terminations, newest first, by ``order_id``, ``account`` and ``outcome``; ``before`` continues a list."""
    pages = _Pages(connection, before or THE_END, limit)
    order_id, account, outcome = (filters.get(name) for name in ("order_id", "account", "outcome"))
    if order_id is None:
        return pages.read(pages.of_accounts(account, outcome))
    of_order = pages.account_of(order_id)
    if of_order is None or account not in {None, of_order}:
        return []
    if outcome is None or pages.size_of(order_id) <= pages.size_in(of_order, outcome):
        return pages.read(pages.of_order(order_id), outcome=outcome)
    return pages.read(pages.of_account(of_order, outcome), order_id=order_id)


class _Pages:
    """The queries of one page."""

    def __init__(self, connection: sqlite3.Connection, before: tuple[float, str], limit: int) -> None:
        self._connection = connection
        self._before = before
        self._limit = limit

    def read(self, rows: Rows, *, outcome: str | None = None, order_id: str | None = None) -> list[Termination]:
        """Read the first of some rows, but for those of another outcome or order."""
        read = (decode_termination(record) for _, _, record in rows)
        fitting = (
            t for t in read if (outcome is None or t.state == outcome) and (order_id is None or order_id in t.orders)
        )
        return list(islice(fitting, self._limit))

    def of_accounts(self, account: str | None, outcome: str | None) -> Rows:
        """Give the rows of one account, or of all of them: there are few."""
        if account is not None:
            return self.of_account(account, outcome)
        accounts = self._connection.execute("SELECT DISTINCT account FROM state_counts").fetchall()
        return merge(*(self.of_account(one, outcome) for (one,) in accounts), key=lambda row: row[:2], reverse=True)

    def of_account(self, account: str, outcome: str | None) -> Rows:
        """Give the rows of an account, as they are asked for."""
        select = "SELECT decided_at, termination_id, record FROM terminations INDEXED BY"
        if outcome is None:
            query = f"{select} by_account WHERE account = ? AND {BEHIND} {NEWEST_FIRST}"
            return self._connection.execute(query, (account, *self._before))
        query = f"{select} by_outcome WHERE account = ? AND state = ? AND {BEHIND} {NEWEST_FIRST}"
        return self._connection.execute(query, (account, outcome, *self._before))

    def of_order(self, order_id: str) -> Rows:
        """Give the rows of an order, as they are asked for."""
        select = "SELECT decided_at, termination_id FROM termination_orders WHERE order_id = ?"
        query = f"{select} AND {BEHIND} {NEWEST_FIRST}"
        for decided_at, termination_id in self._connection.execute(query, (order_id, *self._before)):
            yield decided_at, termination_id, self._record_of(termination_id)

    def account_of(self, order_id: str) -> str | None:
        """Give whose calls an order has stopped; None where it has stopped none."""
        query = "SELECT termination_id FROM termination_orders WHERE order_id = ? LIMIT 1"
        found = self._connection.execute(query, (order_id,)).fetchone()
        return decode_termination(self._record_of(found[0])).account if found else None

    def size_of(self, order_id: str) -> int:
        """Count the terminations of an order."""
        query = "SELECT total(value) FROM order_counts WHERE order_id = ? AND name = 'matched'"
        return int(self._connection.execute(query, (order_id,)).fetchone()[0])

    def size_in(self, account: str, outcome: str) -> int:
        """Count the terminations of an account that are in a state."""
        query = "SELECT total(value) FROM state_counts WHERE account = ? AND state = ?"
        return int(self._connection.execute(query, (account, outcome)).fetchone()[0])

    def _record_of(self, termination_id: str) -> bytes:
        query = "SELECT record FROM terminations WHERE id_key = ? AND termination_id = ?"
        (record,) = self._connection.execute(query, (key_of(termination_id), termination_id)).fetchone()
        return bytes(record)
