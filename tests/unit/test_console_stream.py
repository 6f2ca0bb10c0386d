import asyncio

from consumer.console.order_shelf import SHOWN_ENDED, SHOWN_SINGLE, SHOWN_STANDING, OrderShelf
from consumer.console.stream import RATE_SECONDS, STILL_HERE, Mailbox, PerSecond
from consumer.kafka.order_book import StoredOrderBook
from consumer.model.orders import Author, Fact, FactKind, OrderRecord, StopOrder
from consumer.model.scopes import Scope

NOW = 1_000_000.0
OPERATOR, RULE = Author("operator", "ops"), Author("rule", "opt-out", "1", "abc")


def put(
    book: StoredOrderBook, order_id: str, scope: Scope, by: Author, at: float = NOW, hold: float | None = None
) -> None:
    book.put_order(StopOrder(order_id, "acme", scope, "why", by, hold=hold, at=at), len(book))


def told(book: StoredOrderBook, order_id: str, kind: FactKind, at: float = NOW) -> None:
    book.put_fact(Fact(order_id, kind, OPERATOR, "because", at), 0)


def ids(records: list[OrderRecord]) -> list[str]:
    return [record.order.order_id for record in records]


def test_operators_and_wide_orders_stand_apart_from_single_ones_of_rules() -> None:
    book = StoredOrderBook()
    shelf = OrderShelf(book)
    put(book, "wide", Scope.campaign("c"), RULE)
    put(book, "mine", Scope.numbers(["+918882876897"]), OPERATOR, at=NOW + 1)
    for n in range(20):
        put(book, f"opt-out-{n}", Scope.numbers([f"+9188828768{n:02}"]), RULE)
    assert ids(shelf.main(NOW)[0]) == ["mine", "wide"]
    assert ids(shelf.single()) == [f"opt-out-{n}" for n in range(19, 19 - SHOWN_SINGLE, -1)]


def test_what_awaits_approval_comes_first_and_what_ended_last() -> None:
    book = StoredOrderBook()
    shelf = OrderShelf(book)
    for n in range(4):
        put(book, f"o{n}", Scope.campaign(f"c{n}"), RULE if n == 1 else OPERATOR, at=NOW + n)
    told(book, "o1", FactKind.HELD)
    assert ids(shelf.main(NOW)[0]) == ["o1", "o3", "o2", "o0"]
    told(book, "o2", FactKind.RELEASED)
    assert ids(shelf.main(NOW)[0]) == ["o1", "o3", "o0", "o2"]


def test_an_order_that_expires_by_itself_goes_to_those_that_ended() -> None:
    book = StoredOrderBook()
    shelf = OrderShelf(book)
    put(book, "short", Scope.campaign("c"), OPERATOR, hold=60.0)
    put(book, "long", Scope.campaign("d"), OPERATOR, at=NOW - 1)
    assert ids(shelf.main(NOW)[0]) == ["short", "long"]
    assert ids(shelf.main(NOW + 61)[0]) == ["long", "short"]


def test_more_orders_than_are_shown_are_counted() -> None:
    book = StoredOrderBook()
    shelf = OrderShelf(book)
    for n in range(SHOWN_STANDING + 5):
        put(book, f"s{n}", Scope.campaign(f"c{n}"), OPERATOR, at=NOW + n)
    for n in range(SHOWN_ENDED + 5):
        put(book, f"e{n}", Scope.agent(f"a{n}"), OPERATOR, at=NOW + n)
        told(book, f"e{n}", FactKind.RELEASED)
    shown, more = shelf.main(NOW)
    assert (len(shown), more) == (SHOWN_STANDING + SHOWN_ENDED, 5)


def test_a_forgotten_order_leaves_the_shelf_also_where_it_was_the_last() -> None:
    book = StoredOrderBook()
    shelf = OrderShelf(book)
    for name in ("a", "b"):
        put(book, name, Scope.campaign(name), OPERATOR)
    assert set(ids(shelf.main(NOW)[0])) == {"a", "b"}
    book.forget("b")
    put(book, "c", Scope.campaign("c"), OPERATOR)
    assert set(ids(shelf.main(NOW)[0])) == {"a", "c"}


def test_a_counter_is_read_as_so_many_a_second() -> None:
    rate = PerSecond()
    for total in (100.0, 105.0, 105.0, 108.0):
        rate.read(total)
    assert list(rate.counts) == [0] * (RATE_SECONDS - 3) + [5, 0, 3]


async def test_a_page_that_reads_slowly_gets_the_newest_snapshot_and_no_comment_in_its_place() -> None:
    mailbox = Mailbox()
    for frame in (b"one", b"two", STILL_HERE):
        mailbox.put(frame)
    assert await mailbox.get() == b"two"
    mailbox.put(STILL_HERE)
    assert await mailbox.get() is STILL_HERE


async def test_a_closed_mailbox_ends_whoever_waits_for_it() -> None:
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.close()
    assert await waiting is None
