"""The stop orders that the page shows: what operators ordered, what is aimed wide, and the latest of the rest."""

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_lists import OrderLists
from consumer.model.orders import OrderRecord, OrderState

SHOWN_STANDING = 60
SHOWN_ENDED = 10
SHOWN_SINGLE = 6


class OrderShelf:
    """Chooses from the book what there is room for."""

    def __init__(self, book: StoredOrderBook) -> None:
        self._lists = OrderLists(book)

    def main(self, now: float) -> tuple[list[OrderRecord], int]:
        """Give the orders that stand, those that wait for approval first, and the latest that ended.

        The number is how many more stand than are given. ``now`` is in seconds since the epoch.
        """
        standing, count = self._lists.standing(now, SHOWN_STANDING)
        standing.sort(key=lambda record: record.order.at, reverse=True)
        standing.sort(key=lambda record: record.state(now) is not OrderState.AWAITING_APPROVAL)
        return [*standing, *self._lists.ended(now, SHOWN_ENDED)], count - len(standing)

    def single(self) -> list[OrderRecord]:
        """Give the latest orders of rules that are aimed at calls or numbers, newest first."""
        return self._lists.latest_single(SHOWN_SINGLE)
