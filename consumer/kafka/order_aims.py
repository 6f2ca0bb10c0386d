"""What orders are aimed at: from the names that calls carry to the orders."""

import sqlite3
from collections.abc import Iterable, Sequence

from consumer.kafka.order_index import NameIndex
from consumer.kafka.order_names import AimedNames, Hit, named
from consumer.model.orders import StopOrder
from consumer.model.scopes import Key

FILL_AT_ONCE = 10_000
MOST_LOOKED_UP = 20_000


class Aims:
    """Asks the index of names only for what the names held in memory do not rule out."""

    def __init__(self, connection: sqlite3.Connection, index: NameIndex, first_kind: int) -> None:
        """Learn the names in the index: a million take a third of a second. Their kinds are numbered from ``first_kind``."""
        self._connection = connection
        self._index = index
        self._first_kind = first_kind
        self.names = AimedNames()
        self._looked_up: dict[tuple[str, Hit], Sequence[int]] = {}
        self._kinds: dict[tuple[str, int], int] = {}
        for number, account, kind in connection.execute("SELECT id, account, kind FROM kinds").fetchall():
            self._kinds[account, kind] = number
            (count,) = connection.execute("SELECT count(*) FROM names WHERE kind = ?", (number,)).fetchone()
            self.names.expect(account, kind, count)
            rows = connection.execute("SELECT name FROM names WHERE kind = ?", (number,))
            while some := rows.fetchmany(FILL_AT_ONCE):
                self.names.add(account, kind, [name for (name,) in some])

    def places(self, account: str, hits: Sequence[Hit]) -> Iterable[int]:
        """Give the rows of the orders aimed at one of these names, which ``names.hits`` gives of a call."""
        if len(hits) == 1:
            return self._places_of(account, hits[0])
        return dict.fromkeys(n for hit in hits for n in self._places_of(account, hit))

    def of_keys(self, account: str, keys: Sequence[Key]) -> Iterable[int]:
        """Give the rows of the orders aimed at one of these keys."""
        return self.places(account, [hit for key in keys if self.names.may_hold(account, hit := named(key))])

    def add(self, order: StopOrder, n: int) -> None:
        """Lead from what an order is aimed at to its row; within a transaction."""
        for kind, names in _names_of(order).items():
            self._index.add(self._number(order.account, kind), names, n)
            self.names.add(order.account, kind, names)
            self._forget(order.account, kind, names)

    def remove(self, order: StopOrder, n: int) -> None:
        """Lead to an order's row no more; within a transaction."""
        for kind, names in _names_of(order).items():
            self._index.remove(self._number(order.account, kind), names, n)
            self._forget(order.account, kind, names)

    def _places_of(self, account: str, hit: Hit) -> Sequence[int]:
        places = self._looked_up.get((account, hit))
        if places is None:
            kind, name = hit
            places = self._index.find(self._kinds[account, kind], name)
            if len(self._looked_up) >= MOST_LOOKED_UP:
                self._looked_up.clear()
            self._looked_up[account, hit] = places
        return places

    def _forget(self, account: str, kind: int, names: Sequence[str]) -> None:
        for name in names:
            self._looked_up.pop((account, (kind, name)), None)

    def _number(self, account: str, kind: int) -> int:
        number = self._kinds.get((account, kind))
        if number is None:
            number = self._kinds[account, kind] = self._first_kind + len(self._kinds)
            self._connection.execute("INSERT INTO kinds VALUES (?, ?, ?)", (number, account, kind))
        return number


def _names_of(order: StopOrder) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for key in order.scope.index_keys():
        kind, name = named(key)
        found.setdefault(kind, []).append(name)
    return found
