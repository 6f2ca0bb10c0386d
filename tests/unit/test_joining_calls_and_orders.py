from collections.abc import Callable

import pytest

from consumer.correlate.ask_rules import Rules
from consumer.correlate.decide import decision, ended, orders_for
from consumer.kafka.order_book import StoredOrderBook
from consumer.model.calls import Call, fold
from consumer.model.events import CallEvent, Position
from consumer.model.identity import termination_id
from consumer.model.orders import Author, Fact, FactKind, Mode, StopOrder
from consumer.model.protected import Protected
from consumer.model.rules import EventRule, Stop
from consumer.model.scopes import Scope
from consumer.model.status import EventType, Status
from tests.unit.values import ACCOUNT, OPERATOR, RULE, event, folded, order, waiting_call

NOW = 1_500.0
NOTHING = Protected()
HERE = Position("call-events", 0, 5)
CALL = waiting_call(campaign_id="campaign-1", agent_id="agent-1", number="+911111111", logged_at=1_400.0)


def book_of(*orders: StopOrder) -> StoredOrderBook:
    book = StoredOrderBook()
    for offset, one in enumerate(orders):
        book.put_order(one, offset)
    return book


def admitted(book: StoredOrderBook, order_id: str, at: float = 1_000.0) -> StoredOrderBook:
    book.put_fact(Fact(order_id, FactKind.ADMITTED, Author("guard", "guard"), "fits", at), 99)
    return book


def wanting(call: Call, book: StoredOrderBook, protected: Protected = NOTHING, now: float = NOW) -> list[str]:
    return [record.order.order_id for record in orders_for(call, book, protected, now)]


def test_an_order_in_force_wants_a_waiting_call_whichever_came_first() -> None:
    assert wanting(CALL, book_of(order(at=1_000.0))) == ["order-1"]
    assert wanting(CALL, book_of(order(at=1_450.0))) == ["order-1"]
    assert wanting(CALL, book_of(order(at=1_000.0, hold=0.0))) == []  # it held once, before this call registered
    assert wanting(CALL, book_of(order(at=1_450.0, hold=0.0))) == ["order-1"]


def test_a_call_that_cannot_be_stopped_is_wanted_by_nobody() -> None:
    ringing = fold(CALL, event("b", Status.ONGOING))
    assert wanting(ringing, book_of(order())) == []
    assert wanting(fold(ringing, event("c", Status.RETRY, attempt=0)), book_of(order())) == ["order-1"]


def test_a_call_whose_campaign_is_told_later_is_wanted_from_then_on() -> None:
    book = book_of(order())
    seen = folded(event("history-a", Status.REGISTERED, at=5.0, logged_at=1_400.0, source="history"))
    assert wanting(seen, book) == []
    again = event("history-b", Status.REGISTERED, at=6.0, logged_at=1_401.0, source="history", campaign_id="campaign-1")
    assert wanting(fold(seen, again), book) == ["order-1"]


def test_orders_of_another_account_scope_or_time_want_nothing() -> None:
    book = book_of(
        order("elsewhere", account="another"),
        order("other campaign", scope=Scope.campaign("campaign-2")),
        order("expired", hold=10.0),
        order("proposed", by=RULE),
    )
    assert wanting(CALL, book) == []
    assert wanting(CALL, admitted(book, "proposed")) == ["proposed"]


@pytest.mark.parametrize(
    "protected",
    [
        Protected(campaigns=frozenset({"campaign-1"})),
        Protected(agents=frozenset({"agent-1"})),
        Protected(numbers=frozenset({"+911111111"})),
    ],
)
def test_what_is_protected_only_an_operator_stops(protected: Protected) -> None:
    book = admitted(book_of(order("rules", by=RULE), order("operators")), "rules")
    assert wanting(CALL, book) == ["rules", "operators"]
    assert wanting(CALL, book, protected) == ["operators"]


def test_a_call_that_says_nothing_is_not_protected_by_an_empty_list() -> None:
    assert not NOTHING.covers(waiting_call())


def test_a_decision_is_as_urgent_and_as_serious_as_its_strongest_order() -> None:
    book = admitted(book_of(order("a", lane=0, mode=Mode.SHADOW), order("b", lane=2, by=RULE, evidence=(HERE,))), "b")
    made = decision(CALL, orders_for(CALL, book, NOTHING, NOW), HERE, NOW)
    assert (made.orders, made.lane, made.mode) == (("a", "b"), 0, Mode.ENFORCE)
    assert made.termination_id == termination_id(ACCOUNT, "call-1", 0)
    assert (made.evidence, made.number, made.status) == ((HERE,), "+911111111", Status.REGISTERED)


@pytest.mark.parametrize(
    ("then", "status"),
    [
        (event("b", Status.ONGOING, at=9.0), Status.ONGOING),
        (event("b", Status.CANCELLED, at=9.0), Status.CANCELLED),
        (event("b", Status.FAILED, attempt=0, at=9.0), Status.FAILED),
        (event("b", Status.RETRY, attempt=0, at=9.0), Status.RETRY),
    ],
)
def test_what_moves_a_call_on_ends_its_episode(then: CallEvent, status: Status) -> None:
    record = ended(CALL, fold(CALL, then), then)
    assert record is not None
    assert (record.termination_id, record.status, record.at) == (termination_id(ACCOUNT, "call-1", 0), status, 9.0)


def test_a_call_that_is_cancelled_while_it_is_thought_to_ring_has_its_end_told_once_more() -> None:
    ringing = fold(CALL, event("b", Status.ONGOING, at=9.0))
    then = event("c", Status.CANCELLED, at=11.0)
    record = ended(ringing, fold(ringing, then), then)
    assert record is not None
    assert (record.episode, record.status, record.at) == (0, Status.CANCELLED, 11.0)


def test_the_brokers_time_stands_in_where_the_provider_gives_none_but_zero_is_a_time() -> None:
    for at, expected in ((None, 7.0), (0.0, 0.0)):
        then = event("b", Status.ONGOING, at=at, logged_at=7.0)
        record = ended(CALL, fold(CALL, then), then)
        assert record is not None
        assert record.at == expected


@pytest.mark.parametrize(
    "then", [event("b"), event("b", Status.REGISTERED), event("registered call-1", Status.REGISTERED)]
)
def test_what_says_nothing_new_ends_nothing(then: CallEvent) -> None:
    assert ended(CALL, fold(CALL, then), then) is None


def test_a_call_that_is_over_has_no_episode_to_end() -> None:
    over = folded(event("a", Status.COMPLETED, attempt=0))
    then = event("b", Status.ONGOING, attempt=1)
    assert ended(over, fold(over, then), then) is None


def rules_of(evaluate: Callable[[CallEvent, Call], Stop | None], *on: EventType) -> Rules:
    return Rules([EventRule("mine", "3", "abc", evaluate, frozenset(on or EventType))])


def stop_the_campaign(_: CallEvent, call: Call) -> Stop | None:
    return Stop.campaign(call.campaign_id, reason="because")


def test_a_wish_of_a_rule_becomes_the_same_order_however_often_the_event_is_folded() -> None:
    rules, asked = rules_of(stop_the_campaign), event("e7", position=HERE)
    (one,), failures = rules.ask(asked, CALL, StoredOrderBook())
    (two,), _ = rules.ask(asked, CALL, StoredOrderBook())
    (three,), _ = rules_of(stop_the_campaign).ask(asked.replaced(event_id="e8"), CALL, StoredOrderBook())
    assert failures == []
    assert one == two
    assert three.order_id != one.order_id
    assert (one.scope, one.by, one.evidence) == (
        Scope.campaign("campaign-1"),
        Author("rule", "mine", "3", "abc"),
        (HERE,),
    )


def test_a_rule_does_not_repeat_an_order_that_stands() -> None:
    rules = rules_of(stop_the_campaign)
    (standing,), _ = rules.ask(event("e1", logged_at=NOW), CALL, StoredOrderBook())
    book = book_of(standing)
    assert rules.ask(event("e2", logged_at=NOW), CALL, book) == ([], [])
    book.put_fact(Fact(standing.order_id, FactKind.RELEASED, OPERATOR, "enough", NOW), 9)
    assert len(rules.ask(event("e3", logged_at=NOW), CALL, book)[0]) == 1


def test_two_events_in_one_batch_give_one_order_and_one_long_after_gives_another() -> None:
    rules = rules_of(stop_the_campaign)
    assert len(rules.ask(event("e1", logged_at=NOW), CALL, StoredOrderBook())[0]) == 1
    assert rules.ask(event("e2", logged_at=NOW + 0.1), CALL, StoredOrderBook())[0] == []
    assert len(rules.ask(event("e3", logged_at=NOW + 60), CALL, StoredOrderBook())[0]) == 1


def test_an_operator_who_is_called_like_a_rule_is_no_rule() -> None:
    book = book_of(order(by=Author("operator", "mine"), scope=Scope.campaign("campaign-1")))
    assert len(rules_of(stop_the_campaign).ask(event("e1", logged_at=NOW), CALL, book)[0]) == 1


def test_a_rule_is_asked_only_about_what_it_wants_to_see() -> None:
    rules = rules_of(stop_the_campaign, EventType.ANALYSIS)
    assert rules.ask(event(type=EventType.STARTED), CALL, StoredOrderBook()) == ([], [])
    assert len(rules.ask(event(type=EventType.ANALYSIS), CALL, StoredOrderBook())[0]) == 1


def test_a_rule_that_raises_stops_nothing_and_holds_up_no_other() -> None:
    def broken(_: CallEvent, __: Call) -> Stop | None:
        raise LookupError("x" * 1_000)

    def confused(_: CallEvent, __: Call) -> Stop | None:
        return True  # type: ignore[return-value]

    named = [EventRule(name, "1", "h", f) for name, f in (("a", broken), ("b", confused), ("c", stop_the_campaign))]
    orders, failures = Rules(named).ask(event(), CALL, StoredOrderBook())
    assert [one.by.name for one in orders] == ["c"]
    assert [one.rule for one in failures] == ["a", "b"]
    assert failures[0].error.startswith("LookupError: xxx")
    assert len(failures[0].error) == 500
    assert "gave bool" in failures[1].error
