from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.order_book import StoredOrderBook
from consumer.model.calls import Call
from consumer.model.scopes import Scope, ScopeKind, call_keys
from tests.unit.values import ACCOUNT, order

IDS = st.sampled_from(["a", "b", "c"])  # the same words for every kind of id, so that kinds could be mixed up
NUMBERS = st.sampled_from(["+911111111", "+912222222"])
SCOPES = st.one_of(
    st.lists(IDS, min_size=1, max_size=3).map(Scope.calls),
    IDS.map(Scope.campaign),
    IDS.map(Scope.agent),
    st.lists(NUMBERS, min_size=1).map(Scope.numbers),
    st.builds(Scope.numbers_in_campaign, IDS, st.lists(NUMBERS, min_size=1, max_size=2)),
)
CALLS = st.builds(
    Call,
    account=st.sampled_from([ACCOUNT, "another"]),
    call_id=IDS,
    provider=st.just("ringg"),
    campaign_id=st.none() | IDS,
    agent_id=st.none() | IDS,
    number=st.none() | NUMBERS,
)


def names(scope: Scope, call: Call) -> bool:
    """Whether the scope, read word for word, names the call."""
    match scope.kind:
        case ScopeKind.CALL:
            return call.call_id in scope.call_ids
        case ScopeKind.CAMPAIGN:
            return call.campaign_id == scope.campaign_id
        case ScopeKind.AGENT:
            return call.agent_id == scope.agent_id
        case ScopeKind.NUMBER:
            return call.number in scope.mobile_numbers
        case ScopeKind.NUMBER_IN_CAMPAIGN:
            return call.campaign_id == scope.campaign_id and call.number in scope.mobile_numbers


@given(SCOPES, CALLS)
def test_a_call_is_covered_by_exactly_the_scopes_that_name_it(scope: Scope, call: Call) -> None:
    assert bool(set(scope.index_keys()) & set(call_keys(call))) == scope.covers(call) == names(scope, call)


@given(st.lists(SCOPES, max_size=6), CALLS)
def test_the_book_finds_exactly_the_orders_of_the_account_that_name_a_call(scopes: list[Scope], call: Call) -> None:
    book = StoredOrderBook()
    for n, scope in enumerate(scopes):
        book.put_order(order(f"order-{n}", scope=scope), n)
    found = {record.order.order_id for record in book.aimed_at(call)}
    wanted = {f"order-{n}" for n, scope in enumerate(scopes) if names(scope, call)}
    assert found == (wanted if call.account == ACCOUNT else set())


@given(SCOPES)
def test_a_scope_is_read_back_as_it_was_written(scope: Scope) -> None:
    assert Scope.parse(scope.as_dict()) == scope
