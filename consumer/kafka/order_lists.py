"""Lists of stop orders for people: pages of all of them, and what the page shows; each a look into an index."""

from math import inf
from typing import Any

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_rows import decode
from consumer.model.orders import OrderRecord, OrderState

LOOK_AT_ONCE = 1_000
CLOCKS_APART_SECONDS = 3_600.0
"""The broker's clock may be ahead of ours: what it calls released is over, whatever our time says."""
BY_FACTS = {OrderState.PROPOSED, OrderState.AWAITING_APPROVAL, OrderState.RELEASED, OrderState.REJECTED}
STANDING = "(stands IN ('in_force', 'awaiting_approval', 'proposed') AND ends > ?)"


class OrderLists:
    """Lists taken from one book. ``now`` is in seconds since the epoch."""

    def __init__(self, book: StoredOrderBook) -> None:
        self._book = book

    def page(
        self, *, before: float | None, account: str | None, state: OrderState | None, now: float, limit: int
    ) -> tuple[list[tuple[int, OrderRecord]], int | None]:
        """Look through a thousand orders, newest first, for those of an account and in a state.

        Args:
            before: the place to look on from; None for the newest.
            account: whose orders; None for all.
            state: how they stand at ``now``; None for all.
            now: what decides whether one has expired.
            limit: no more than so many, 1 at least.

        Returns:
            the orders, each with its place, and the place to look on from; None where there are no more.

        """
        before = inf if before is None else before
        columns = "SELECT n, stands, ends FROM orders"
        newest = "ORDER BY n DESC LIMIT ?"
        if account is not None:
            looked_at = self._rows(
                f"{columns} INDEXED BY by_account WHERE account = ? AND n < ? {newest}", account, before, LOOK_AT_ONCE
            )
        elif state in BY_FACTS:
            among = f"{columns} INDEXED BY by_stand WHERE stands <> 'in_force' AND stands = ? AND n < ?"
            looked_at = self._rows(f"{among} {newest}", state, before, LOOK_AT_ONCE)
        else:
            looked_at = self._rows(f"{columns} WHERE n < ? {newest}", before, LOOK_AT_ONCE)
        wanted = [n for n, stands, ends in looked_at if state is None or state == _state(stands, ends, now)][:limit]
        found = [(n, self._at(n)) for n in wanted]
        if len(wanted) == limit:
            return found, wanted[-1]
        return found, looked_at[-1][0] if len(looked_at) == LOOK_AT_ONCE else None

    def standing(self, now: float, limit: int) -> tuple[list[OrderRecord], int]:
        """The operators' orders and the wide ones that stand, what waits for approval first, then the newest.

        The number is how many of them there are in all.
        """
        among = f"orders INDEXED BY by_end_main WHERE main = 1 AND ends > ? AND {STANDING}"
        (count,) = self._rows(f"SELECT count(*) FROM {among}", now, now)[0]  # noqa: S608 -- our own words
        chosen = self._rows(
            f"SELECT n FROM {among} ORDER BY stands <> 'awaiting_approval', n DESC LIMIT ?",  # noqa: S608
            now,
            now,
            limit,
        )
        return [self._at(n) for (n,) in chosen], count

    def ended(self, now: float, limit: int) -> list[OrderRecord]:
        """The operators' orders and the wide ones that ended last."""
        rows = self._rows(
            "SELECT n FROM orders INDEXED BY by_end_main"  # noqa: S608 -- our own words
            f" WHERE main = 1 AND ends <= ? AND NOT {STANDING} ORDER BY ends DESC, n DESC LIMIT ?",
            now + CLOCKS_APART_SECONDS,
            now,
            limit,
        )
        return [self._at(n) for (n,) in rows]

    def latest_single(self, limit: int) -> list[OrderRecord]:
        """The latest orders of rules that are aimed at calls or numbers, among the last thousand of all, newest first."""
        latest = "SELECT n, main FROM orders ORDER BY n DESC LIMIT ?"
        rows = self._rows(f"SELECT n FROM ({latest}) WHERE main = 0 LIMIT ?", LOOK_AT_ONCE, limit)  # noqa: S608
        return [self._at(n) for (n,) in rows]

    def _at(self, n: int) -> OrderRecord:
        return decode(self._rows("SELECT record FROM orders WHERE n = ?", n)[0][0])

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._book.view.connection.execute(query, values).fetchall()


def _state(stands: str, ends: float, now: float) -> str:
    """Say how an order stands at ``now`` from what its row says."""
    return OrderState.EXPIRED if stands == OrderState.IN_FORCE and ends <= now else stands
