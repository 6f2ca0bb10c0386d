from hypothesis import given
from hypothesis import strategies as st

from consumer.model.order_book import OrderBook
from consumer.model.orders import Fact, FactKind, OrderRecord, StopOrder
from consumer.model.scopes import Scope
from tests.unit.values import OPERATOR, RULE, order

IDS = ("a", "b")
AUTHORS = {"a": RULE, "b": OPERATOR}
FACTS = st.builds(
    Fact,
    order_id=st.sampled_from(IDS),
    kind=st.sampled_from(FactKind),
    by=st.just(OPERATOR),
    reason=st.just("so"),
    at=st.integers(1_000, 1_005).map(float),
)
ORDERS = [order(one, scope=Scope.campaign(one), hold=2.0, by=AUTHORS[one]) for one in IDS]


def book_of(records: list[StopOrder | Fact]) -> OrderBook:
    book = OrderBook()
    for offset, one in enumerate(records):
        if isinstance(one, StopOrder):
            book.put_order(one, offset)
        else:
            book.put_fact(one, offset)
    return book


def shown(book: OrderBook) -> dict[str, OrderRecord]:
    return {record.order.order_id: record for record in book}


@given(st.data())
def test_any_order_of_the_same_records_with_repetitions_gives_the_same_book(data: st.DataObject) -> None:
    records: list[StopOrder | Fact] = [*ORDERS, *data.draw(st.lists(FACTS, max_size=8))]
    again = data.draw(st.lists(st.sampled_from(records), max_size=5))
    shuffled = data.draw(st.permutations([*records, *again]))
    one, other = book_of(records), book_of(shuffled)
    assert shown(one) == shown(other)
    for now in range(999, 1_010):
        for name in IDS:
            ours, theirs = one.get(name), other.get(name)
            assert ours is not None
            assert theirs is not None
            assert ours.state(now) is theirs.state(now)


@given(st.lists(FACTS, max_size=8), st.integers(990, 1_020))
def test_only_what_somebody_let_through_is_ever_in_force(facts: list[Fact], now: int) -> None:
    record = book_of([ORDERS[0], *facts]).get("a")
    assert record is not None
    kinds = {fact.kind for fact in facts if fact.order_id == "a"}
    if record.in_force(now):
        assert not kinds & {FactKind.RELEASED, FactKind.REJECTED}
        assert FactKind.APPROVED in kinds or (FactKind.ADMITTED in kinds and FactKind.HELD not in kinds)
