from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from consumer.kafka import order_book
from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_fold import Forgotten
from consumer.kafka.order_index import WAITING_NAMES
from consumer.kafka.order_lists import LOOK_AT_ONCE, OrderLists
from consumer.kafka.order_recent import MOST_NAMES, RecentOrders
from consumer.model.orders import Fact, FactKind, OrderRecord, OrderState, Reach, StopOrder
from consumer.model.scopes import Scope
from tests.unit.values import ACCOUNT, OPERATOR, RULE, order, waiting_call

NOW = 2_000.0
TTL = 900.0


def number(n: int) -> str:
    return f"+9170{n:08}"


def opt_out(n: int, **given: object) -> StopOrder:
    return order(f"opt-out-{n}", scope=Scope.numbers([number(n)]), by=RULE, **given)


def fact(order_id: str, kind: FactKind, at: float = NOW) -> Fact:
    return Fact(order_id, kind, OPERATOR, "so", at)


def ids(records: Iterable[OrderRecord]) -> list[str]:
    return [record.order.order_id for record in records]


def aimed_at_number(book: StoredOrderBook, n: int) -> list[str]:
    return ids(book.aimed_at(waiting_call(number=number(n))))


def tidied(book: StoredOrderBook) -> None:
    for _ in book.tidy():
        pass


@pytest.mark.parametrize("tidy", [False, True], ids=["names in memory", "names in the table"])
def test_a_book_is_found_again_with_what_it_is_aimed_at(tmp_path: Path, tidy: bool) -> None:
    path = tmp_path / "0.sqlite"
    book = StoredOrderBook(path, cluster_id="c")
    book.fold([(n, opt_out(n)) for n in range(50)], {("t", 0): 50}, {("t", 0): 7})
    book.put_fact(fact("opt-out-3", FactKind.ADMITTED), 50)
    book.put_fact(fact("early", FactKind.RELEASED), 51)
    if tidy:
        tidied(book)
    book.put_order(opt_out(50), 52)
    book.close()

    again = StoredOrderBook(path, cluster_id="c")
    assert (len(again), again.view.offsets, again.view.stamps) == (51, {("t", 0): 50}, {("t", 0): 7})
    assert [aimed_at_number(again, n) for n in (3, 50, 51)] == [["opt-out-3"], ["opt-out-50"], []]
    known = again.get("opt-out-3")
    assert known is not None
    assert known.in_force(NOW + 1)
    assert again.put_order(order("early"), 53).state(NOW) is OrderState.RELEASED
    again.forget("opt-out-3")
    assert (again.get("opt-out-3"), aimed_at_number(again, 3)) == (None, [])
    again.close()


def test_a_file_that_is_damaged_within_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "0.sqlite"
    book = StoredOrderBook(path)
    book.fold([(n, opt_out(n)) for n in range(200)], {("t", 0): 200})
    tidied(book)
    book.close()
    content = path.read_bytes()
    path.write_bytes(content[: 16 * 4096] + b"\xff" * (len(content) - 16 * 4096))
    again = StoredOrderBook(path)
    assert (len(again), again.view.offsets) == (0, {})
    again.close()


def test_a_book_folded_with_another_decision_ttl_begins_anew(tmp_path: Path) -> None:
    for ttl, found in ((900.0, 0), (60.0, 0), (60.0, 1)):
        book = StoredOrderBook(tmp_path / "0.sqlite", decision_ttl={ACCOUNT: ttl, "another": TTL})
        assert len(book) == found
        record = book.put_order(order(hold=0.0, at=NOW), 1)
        assert record.until == NOW + ttl
        book.close()


def test_an_order_that_names_thousands_is_found_by_each_and_forgotten_by_all() -> None:
    book = StoredOrderBook()
    book.put_order(order("list", scope=Scope.numbers([number(n) for n in range(10_000)])), 1)
    book.put_order(opt_out(77), 2)
    assert not book.is_untidy
    assert [aimed_at_number(book, n) for n in (0, 77, 9_999, 10_000)] == [
        ["list"],
        ["list", "opt-out-77"],
        ["list"],
        [],
    ]
    book.forget("list")
    assert [aimed_at_number(book, n) for n in (0, 77, 9_999)] == [[], ["opt-out-77"], []]


def test_names_wait_in_memory_until_they_are_many() -> None:
    book = StoredOrderBook()
    book.fold([(n, opt_out(n)) for n in range(WAITING_NAMES // 2)])
    assert book.is_untidy
    steps = sum(1 for _ in book.tidy())
    assert steps > 10
    assert not book.is_untidy
    assert [aimed_at_number(book, n) for n in (0, WAITING_NAMES // 2 - 1)] == [
        ["opt-out-0"],
        [f"opt-out-{WAITING_NAMES // 2 - 1}"],
    ]
    assert book.get("opt-out-17") is not None


def test_what_was_looked_at_before_is_not_remembered_beyond_its_change() -> None:
    book = StoredOrderBook()
    assert aimed_at_number(book, 1) == []
    book.put_order(opt_out(1), 1)
    assert [record.since for record in book.aimed_at(waiting_call(number=number(1)))] == [None]
    book.put_fact(fact("opt-out-1", FactKind.ADMITTED), 2)
    assert [record.since for record in book.aimed_at(waiting_call(number=number(1)))] == [NOW]
    book.put_order(order("second", scope=Scope.numbers([number(1)])), 3)
    assert aimed_at_number(book, 1) == ["opt-out-1", "second"]
    book.forget("opt-out-1")
    assert aimed_at_number(book, 1) == ["second"]
    book.put_order(opt_out(2), 1)  # in the row that has become free
    assert aimed_at_number(book, 1) == ["second"]


def test_an_order_ordered_and_forgotten_and_ordered_again_in_one_part_is_there_once() -> None:
    book = StoredOrderBook()
    book.fold([(1, opt_out(1)), (2, Forgotten("opt-out-1")), (3, opt_out(1)), (4, fact("opt-out-1", FactKind.HELD))])
    book.fold([(5, Forgotten("opt-out-1")), (6, opt_out(1, at=NOW))])
    assert ids(book) == aimed_at_number(book, 1) == ["opt-out-1"]
    record = book.get("opt-out-1")
    assert record is not None
    assert (record.order.at, record.facts) == (NOW, ())


def test_of_an_order_written_twice_the_earlier_time_stands() -> None:
    book = StoredOrderBook()
    for offset, at in enumerate((1_005.0, 1_000.0, 1_009.0)):
        book.put_order(order(at=at), offset)
    assert [(record.order.at, record.since) for record in book] == [(1_000.0, 1_000.0)]


def test_changes_are_given_in_pages_and_one_that_comes_meanwhile_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "PAGE", 2)
    book = StoredOrderBook()
    book.fold([(n, opt_out(n)) for n in range(5)])
    changes = book.changed_since(1)
    assert next(changes).order.order_id == "opt-out-1"
    book.put_fact(fact("opt-out-1", FactKind.ADMITTED), 9)
    assert ids(changes) == ["opt-out-2", "opt-out-3", "opt-out-4", "opt-out-1"]
    assert ids(book.changed_since(9)) == ["opt-out-1"]


def test_orders_that_reach_everything_are_given_while_they_are_in_force() -> None:
    book = StoredOrderBook()
    everything = {"reach": Reach.EVERYTHING, "at": NOW}
    book.put_order(order("standing", **everything), 1)
    book.put_order(order("short", hold=60.0, **everything), 2)
    book.put_order(order("once", hold=0.0, **everything), 3)
    book.put_order(order("proposed", by=RULE, **everything), 4)
    book.put_order(order("released", **everything), 5)
    book.put_fact(fact("released", FactKind.RELEASED), 6)
    book.put_order(order("known only"), 7)
    assert ids(book.reaching_everything(NOW + 59)) == ["standing", "short", "once"]
    assert ids(book.reaching_everything(NOW + 60)) == ["standing", "once"]
    assert ids(book.reaching_everything(NOW + TTL)) == ["standing"]


def test_one_order_in_force_is_given_for_each_listing_and_none_where_all_are_over() -> None:
    book = StoredOrderBook()
    scopes = {
        "campaign-a": Scope.campaign("a"),
        "number in a": Scope.numbers_in_campaign("a", [number(1)]),
        "number in b": Scope.numbers_in_campaign("b", [number(1)]),
        "agent": Scope.agent("a"),
        "calls": Scope.calls(["call-1"]),
        "one": Scope.numbers([number(1)]),
        "two": Scope.numbers([number(2)]),
        "over": Scope.campaign("c"),
    }
    for offset, (name, scope) in enumerate(scopes.items()):
        book.put_order(
            order(name, scope=scope, at=NOW, hold=60.0 if name in {"campaign-a", "two", "over"} else 600.0), offset
        )
    book.put_order(order("elsewhere", account="another", scope=Scope.campaign("d"), at=NOW), 90)
    book.put_fact(fact("agent", FactKind.RELEASED), 91)
    assert sorted(ids(book.one_of_each_listing(ACCOUNT, NOW + 61))) == ["number in a", "number in b", "one"]
    assert ids(book.one_of_each_listing("another", NOW)) == ["elsewhere"]
    assert ids(book.one_of_each_listing(ACCOUNT, NOW + 601)) == []


def test_orders_that_name_calls_are_given_in_pages_while_they_are_in_force() -> None:
    book = StoredOrderBook()
    for n in range(5):
        book.put_order(order(f"calls-{n}", scope=Scope.calls([f"call-{n}"]), at=NOW, hold=100.0 * n), n)
    first = book.naming_calls(ACCOUNT, NOW + 150, limit=2)
    rest = book.naming_calls(ACCOUNT, NOW + 150, after=first[-1][0], limit=2)
    assert [ids(record for _, record in page) for page in (first, rest)] == [
        ["calls-2", "calls-3"],
        ["calls-4", "calls-0"],  # once: for as long as its decisions may be acted on
    ]


def test_what_nobody_has_judged_is_given_in_pages_oldest_first() -> None:
    book = StoredOrderBook()
    book.fold([(n, opt_out(n)) for n in range(5)])
    book.put_fact(fact("opt-out-1", FactKind.ADMITTED), 8)
    book.put_fact(fact("opt-out-2", FactKind.HELD), 9)
    book.put_order(order("operator's"), 10)
    first = book.proposed(limit=2)
    rest = book.proposed(after=first[-1][0], limit=2)
    assert [ids(record for _, record in page) for page in (first, rest)] == [["opt-out-0", "opt-out-3"], ["opt-out-4"]]


@pytest.mark.parametrize(
    ("state", "account", "wanted"),
    [
        (None, None, 2 * LOOK_AT_ONCE + 60),
        (None, "another", 50),
        (OrderState.IN_FORCE, None, 40),
        (OrderState.EXPIRED, None, 10),
        (OrderState.RELEASED, "another", 10),
        (OrderState.PROPOSED, None, 2 * LOOK_AT_ONCE),
    ],
)
def test_a_list_is_gone_through_page_by_page_newest_first(
    state: OrderState | None, account: str | None, wanted: int
) -> None:
    book = StoredOrderBook()
    others = [
        order(f"other-{n}", account="another" if n < 50 else ACCOUNT, at=NOW, hold=60.0 if n < 10 else None)
        for n in range(60)
    ]
    released = [fact(f"other-{n}", FactKind.RELEASED) for n in range(20, 30)]
    opt_outs = [opt_out(n) for n in range(2 * LOOK_AT_ONCE)]
    changes: list[StopOrder | Fact] = [*others[:5], *opt_outs, *others[5:], *released]
    book.fold(list(enumerate(changes)))
    lists, place = OrderLists(book), None
    found: list[tuple[int, OrderRecord]] = []
    while True:
        page, place = lists.page(before=place, account=account, state=state, now=NOW + 61, limit=700)
        found += page
        if place is None:
            break
    assert len(found) == wanted
    assert [n for n, _ in found] == sorted({n for n, _ in found}, reverse=True)
    assert all(state in {None, record.state(NOW + 61)} for _, record in found)
    assert all(account in {None, record.order.account} for _, record in found)


def steps_of(book: StoredOrderBook, look: Callable[[], object]) -> int:
    """Count what SQLite does for a look, in its own instructions."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    book.view.connection.set_progress_handler(step, 1)
    look()
    book.view.connection.set_progress_handler(None, 0)
    return steps


def test_no_look_becomes_longer_with_the_opt_outs() -> None:
    taken = []
    for opt_outs in (100, 5_000):
        book = StoredOrderBook()
        lists = OrderLists(book)
        book.put_order(order("wide", at=NOW, reach=Reach.EVERYTHING), 0)
        book.put_order(order("calls", scope=Scope.calls(["call-1"]), at=NOW), 1)
        book.fold([(n + 2, opt_out(n)) for n in range(opt_outs)])
        admitted = [fact(f"opt-out-{n}", FactKind.ADMITTED) for n in range(opt_outs)]
        book.fold([(n + 2 + opt_outs, one) for n, one in enumerate(admitted)])
        book.fold([(3 * opt_outs, fact("wide", FactKind.HELD))])
        book.put_order(order("proposed", by=RULE), 3 * opt_outs + 1)
        looks: list[Callable[[], object]] = [
            partial(lambda known: list(known.reaching_everything(NOW)), book),
            partial(book.one_of_each_listing, ACCOUNT, NOW),
            partial(book.naming_calls, ACCOUNT, NOW),
            book.proposed,
            partial(lambda known, offset: list(known.changed_since(offset)), book, 3 * opt_outs),
            partial(book.aimed_at, waiting_call(number=number(7))),
            partial(book.get, "opt-out-9"),
            partial(lists.standing, NOW, 60),
            partial(lists.ended, NOW, 60),
            partial(lists.latest_single, 6),
            partial(lists.page, before=None, account=None, state=OrderState.PROPOSED, now=NOW, limit=9),
        ]
        taken.append([steps_of(book, look) for look in looks])
    assert [more - less for less, more in zip(*taken, strict=True) if more > 1.5 * less + 50] == []


def test_recent_orders_are_bounded_by_what_they_weigh() -> None:
    recent = RecentOrders()
    scope = Scope.numbers([number(n) for n in range(10_000)])
    long = [OrderRecord(order(f"list-{n}", scope=scope)) for n in range(40)]
    for n, record in enumerate(long):
        recent.keep(n, record)
        assert recent.get(0) is long[0]  # asked for again and again, it stays
    kept = sum(recent.get(n) is not None for n in range(40))
    assert MOST_NAMES // 10_000 - 2 <= kept <= MOST_NAMES // 10_000
    assert (recent.place("list-0"), recent.place("list-1")) == (0, None)
    recent.drop(0)
    assert (recent.get(0), recent.place("list-0")) == (None, None)
