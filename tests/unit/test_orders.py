from collections import Counter

import pytest

from consumer.kafka.order_book import StoredOrderBook
from consumer.model.orders import (
    EMERGENCY,
    OPT_OUT,
    RULE,
    Fact,
    FactKind,
    Mode,
    OrderRecord,
    OrderState,
    StopOrder,
    effective_mode,
)
from consumer.model.scopes import Scope
from tests.unit.values import OPERATOR, order
from tests.unit.values import RULE as A_RULE


def fact(kind: FactKind, at: float = 1_050.0, order_id: str = "order-1", reason: str = "so") -> Fact:
    return Fact(order_id, kind, OPERATOR, reason, at)


def record(of: StopOrder, *kinds: FactKind, decision_ttl: float = 900.0) -> OrderRecord:
    book = OrderRecord(of, decision_ttl=decision_ttl)
    for kind in kinds:
        book = book.with_fact(fact(kind))
    return book


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((), OrderState.PROPOSED),
        ((FactKind.ADMITTED,), OrderState.IN_FORCE),
        ((FactKind.HELD,), OrderState.AWAITING_APPROVAL),
        ((FactKind.HELD, FactKind.ADMITTED), OrderState.AWAITING_APPROVAL),
        ((FactKind.HELD, FactKind.APPROVED), OrderState.IN_FORCE),
        ((FactKind.HELD, FactKind.REJECTED), OrderState.REJECTED),
        ((FactKind.ADMITTED, FactKind.RELEASED), OrderState.RELEASED),
        ((FactKind.HELD, FactKind.RELEASED), OrderState.RELEASED),
        (tuple(FactKind), OrderState.RELEASED),
    ],
)
def test_a_rules_order_stands_where_its_facts_put_it(kinds: tuple[FactKind, ...], state: OrderState) -> None:
    assert record(order(by=A_RULE), *kinds).state(1_060.0) is state
    assert record(order(by=A_RULE), *reversed(kinds)).state(1_060.0) is state


def test_an_operators_order_is_in_force_from_the_moment_it_is_written() -> None:
    assert record(order(at=1_000.0)).state(1_000.0) is OrderState.IN_FORCE
    assert record(order(), FactKind.HELD).state(1_060.0) is OrderState.IN_FORCE
    assert record(order(), FactKind.RELEASED).state(1_060.0) is OrderState.RELEASED


@pytest.mark.parametrize(
    ("hold", "last_moment"), [(30.0, 1_030.0), (0.0, 1_900.0), (None, None)], ids=["for 30 s", "once", "until released"]
)
def test_an_order_expires_when_its_hold_is_over(hold: float | None, last_moment: float | None) -> None:
    of = record(order(hold=hold, at=1_000.0), decision_ttl=900.0)
    assert of.until == last_moment
    assert of.in_force(1_029.9)
    if last_moment is None:
        assert of.in_force(1e12)
    else:
        assert not of.in_force(last_moment)


def test_released_beats_expired() -> None:
    assert record(order(hold=1.0), FactKind.RELEASED).state(9_999.0) is OrderState.RELEASED


def test_an_order_that_holds_once_stops_only_what_waited_when_it_came_into_force() -> None:
    once, holding = record(order(hold=0.0, at=1_000.0)), record(order(hold=600.0, at=1_000.0))
    assert once.applies(episode_since=1_000.0, now=1_001.0)
    assert not once.applies(episode_since=1_000.5, now=1_001.0)
    assert holding.applies(episode_since=1_000.5, now=1_001.0)
    assert not holding.applies(episode_since=1_000.5, now=1_600.0)


def test_an_approved_order_holds_from_its_approval_on() -> None:
    held = record(order(by=A_RULE, hold=0.0, at=1.0)).with_fact(fact(FactKind.HELD, 1_000.0))
    assert not held.applies(episode_since=900.0, now=1_001.0)
    approved = held.with_fact(fact(FactKind.APPROVED, 2_000.0))
    assert approved.applies(episode_since=1_999.0, now=2_001.0)
    assert (approved.since, approved.until) == (2_000.0, 2_900.0)


def test_facts_that_come_before_their_order_wait_for_it() -> None:
    book = StoredOrderBook()
    assert book.put_fact(fact(FactKind.RELEASED), 3) is None
    assert (len(book), book.get("order-1")) == (0, None)
    assert book.put_order(order(), 4).state(1_060.0) is OrderState.RELEASED


def test_a_fact_that_is_known_changes_nothing_and_is_no_news() -> None:
    book = StoredOrderBook()
    book.put_order(order(by=A_RULE), 1)
    book.put_fact(fact(FactKind.ADMITTED, 1_050.0), 2)
    book.put_fact(fact(FactKind.ADMITTED, 1_099.0, reason="again"), 3)
    assert [one.since for one in book.changed_since(0)] == [1_050.0]
    assert list(book.changed_since(3)) == []


def test_a_forgotten_order_is_found_no_more() -> None:
    book = StoredOrderBook()
    book.put_order(order("kept"), 1)
    book.put_order(order("gone"), 2)
    book.put_fact(fact(FactKind.RELEASED, order_id="early"), 3)
    for order_id in ("gone", "early", "never seen"):
        book.forget(order_id)
    assert [one.order.order_id for one in book] == ["kept"]
    assert [one.order.order_id for one in book.with_scope_keys("acme-ringg", order().scope.index_keys())] == ["kept"]
    assert book.put_order(order("early"), 4).facts == ()


def test_changes_are_told_from_an_offset_on_oldest_first() -> None:
    book = StoredOrderBook()
    for offset, name in enumerate(("a", "b", "c")):
        book.put_order(order(name), offset)
    book.put_fact(fact(FactKind.RELEASED, order_id="a"), 3)
    assert [one.order.order_id for one in book.changed_since(1)] == ["b", "c", "a"]


def test_an_order_that_is_written_again_stays_as_it_was_first_written() -> None:
    book = StoredOrderBook()
    book.put_order(order(reason="first"), 1)
    book.put_order(order(reason="second", scope=Scope.agent("a")), 2)
    assert [one.order.reason for one in book] == ["first"]
    assert book.with_scope_keys("acme-ringg", Scope.agent("a").index_keys()) == []


def test_a_canary_enforces_a_stable_share_of_the_calls() -> None:
    canary = order(mode=Mode.CANARY, canary_share=0.05)
    ids = [f"call-{n}" for n in range(10_000)]
    chosen = [one for one in ids if effective_mode(canary, one, None) is Mode.ENFORCE]
    assert 400 <= len(chosen) <= 600
    assert chosen == [one for one in ids if effective_mode(canary, one, "any campaign") is Mode.ENFORCE]
    wider = order("another", mode=Mode.CANARY, canary_share=0.10)
    assert all(effective_mode(wider, one, None) is Mode.ENFORCE for one in chosen)


def test_a_canary_of_named_campaigns_enforces_these_alone() -> None:
    canary = order(mode=Mode.CANARY, canary_share=1.0, canary_campaigns=("c",))
    assert effective_mode(canary, "call", "c") is Mode.ENFORCE
    assert effective_mode(canary, "call", "d") is effective_mode(canary, "call", None) is Mode.SHADOW


def test_a_canary_of_the_whole_or_of_nothing() -> None:
    modes = Counter(effective_mode(order(mode=Mode.CANARY, canary_share=1.0), str(n), None) for n in range(200))
    assert modes == {Mode.ENFORCE: 200}
    modes = Counter(effective_mode(order(mode=Mode.CANARY, canary_share=0.0), str(n), None) for n in range(200))
    assert modes == {Mode.SHADOW: 200}


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ENFORCE])
def test_other_modes_mean_what_they_say(mode: Mode) -> None:
    assert effective_mode(order(mode=mode), "call", None) is mode


def test_lanes_leave_in_the_order_of_their_urgency() -> None:
    assert EMERGENCY < OPT_OUT < RULE
