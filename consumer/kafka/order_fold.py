"""Folding a part of ``stop-orders`` into the tables of the order book: read what is known, fold in memory, write at once.

An order and the fact that lets it through come close together; folded in one part, they cost one write.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from consumer.kafka.order_index import NameIndex
from consumer.kafka.order_rows import ORDER_ID, UPSERT, decode, decode_fact, encode, row
from consumer.model.order_book import begun, written_again
from consumer.model.orders import Fact, FactKind, OrderRecord, StopOrder


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An order whose tombstone was read."""

    order_id: str


Change = StopOrder | Fact | Forgotten


@dataclass(slots=True)
class Entry:
    """What is known of one id: its order with where its row is, or facts that came before it.

    ``was`` is the order as the tables have it, ``was_at`` its row, -1 where there is none.
    """

    order_id: str
    was_at: int = -1
    was: OrderRecord | None = None
    n: int = -1
    record: OrderRecord | None = None
    changed: int = 0
    early: dict[FactKind, Fact] = field(default_factory=dict)
    had_early: bool = False

    @property
    def row_is_gone(self) -> bool:
        """Whether the row that the tables have is no more this order's."""
        return self.was is not None and (self.record is None or self.n != self.was_at)

    def fold(self, offset: int, change: Change, decision_ttl: float) -> None:
        before = self.record
        match change:
            case Forgotten():
                self.record = None
                self.early.clear()
            case StopOrder() if before is None:
                self.record, self.n, self.changed = begun(change, self.early.values(), decision_ttl), offset, offset
                self.early.clear()
            case StopOrder() if before is not None:
                self.record = written_again(before, change)
            case Fact() if before is not None:
                self.record = before.with_fact(change)
            case Fact() if (known := self.early.get(change.kind)) is None or change.at < known.at:
                self.early[change.kind] = change
        if before is not None and self.record is not None and self.record is not before:
            self.changed = max(self.changed, offset)


class Fold:
    """One part of the topic: each change with the offset of its record. ``write`` may be called once, in a transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        index: NameIndex,
        changes: Sequence[tuple[int, Change]],
        decision_ttl: Callable[[str], float],
    ) -> None:
        self._connection = connection
        self._entries = {change.order_id: Entry(change.order_id) for _, change in changes}
        self._read_orders(index)
        self._read_early_facts()
        for offset, change in changes:
            ttl = decision_ttl(change.account) if isinstance(change, StopOrder) else 0.0
            self._entries[change.order_id].fold(offset, change, ttl)

    def write(self) -> Sequence[Entry]:
        """Write what is different now; gives the entries whose order is."""
        entries = self._entries.values()
        different = [entry for entry in entries if entry.record is not entry.was]
        execute = self._connection.executemany
        execute("DELETE FROM early_facts WHERE order_id = ?", [(e.order_id,) for e in entries if e.had_early])
        execute(
            "INSERT INTO early_facts VALUES (?, ?, ?)",
            [(e.order_id, kind, encode(fact)) for e in entries for kind, fact in e.early.items()],
        )
        execute("DELETE FROM orders WHERE n = ?", [(e.was_at,) for e in different if e.row_is_gone])
        execute(UPSERT, [row(e.n, e.record, e.changed) for e in different if e.record])
        return different

    def _read_orders(self, index: NameIndex) -> None:
        places = index.find_first(ORDER_ID, self._entries)
        query = "SELECT order_id, n, changed, record FROM orders WHERE n IN (SELECT value FROM json_each(?))"
        for order_id, n, changed, blob in self._connection.execute(query, (_json(list(places.values())),)):
            record = decode(blob)
            self._entries[order_id] = Entry(order_id, n, record, n, record, changed)

    def _read_early_facts(self) -> None:
        query = "SELECT order_id, fact FROM early_facts WHERE order_id IN (SELECT value FROM json_each(?))"
        for order_id, blob in self._connection.execute(query, (_json(list(self._entries)),)):
            fact = decode_fact(blob)
            self._entries[order_id].early[fact.kind] = fact
            self._entries[order_id].had_early = True


def _json(values: Sequence[str | int]) -> str:
    return orjson.dumps(values).decode()
