"""What goes into the next request: in which order, under which orders, and how much is looked at for it."""

from collections.abc import Sequence
from typing import Any

import pytest

from consumer.kafka.control_rows import ControlChange
from consumer.kafka.order_book import StoredOrderBook
from consumer.model.controls import Lever
from consumer.model.orders import EMERGENCY, Fact, FactKind
from consumer.model.scopes import Scope
from consumer.model.terminations import Decision, Result, State
from consumer.terminate import choosing
from consumer.terminate.choosing import Choice
from consumer.terminate.shard import TerminateShard
from tests.unit.values import ACCOUNT, OPERATOR, RULE, account, decision, order

NOW = 1_050.0
ACME = account()


def put(shard: TerminateShard, decisions: Sequence[Decision]) -> None:
    for one in decisions:
        shard.ledger.fold(one)
    with shard.view.transaction({}) as connection:
        shard.save(connection)


def chosen(shard: TerminateShard, limit: int = 100, now: float = NOW) -> list[str]:
    return [t.call_id for t in shard.chooser.choose(ACME, now, limit, set()).batch]


def by_rule(book: StoredOrderBook, order_id: str = "by-rule", **given: Any) -> str:
    """Give an order of a rule that was let through."""
    book.put_order(order(order_id, by=RULE, **given), 1)
    book.put_fact(Fact(order_id, FactKind.ADMITTED, RULE, "within the limits", at=1_001.0), 2)
    return order_id


def outcomes(choice: Choice) -> list[State | None]:
    return [result.outcome for result in choice.settled if isinstance(result, Result)]


def pull_lever(book: StoredOrderBook, engaged: bool = True) -> None:
    lever = Lever(engaged, "too many errors", OPERATOR)
    book.fold([], controls=[ControlChange(lever.key, lever)])


def test_who_waits_longest_is_chosen_first_whenever_it_was_decided(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.put_order(order(), 0)
    put(shard, [decision(f"call-{n}", since=900.0 - n, decided_at=1_000.0 + n) for n in range(5)])
    assert chosen(shard, 3) == ["call-4", "call-3", "call-2"]


def test_the_stop_of_a_whole_scope_goes_before_the_calls_of_its_lane(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.put_order(order(), 0)
    put(shard, [decision("waits-long", since=1.0), decision("", scope=Scope.campaign("c"), since=1_000.0)])
    (t,) = shard.chooser.choose(ACME, NOW, 100, set()).batch
    assert t.scope == Scope.campaign("c")


def test_while_the_lever_is_pulled_only_what_operators_want_is_sent(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.put_order(order("by-operator"), 0)
    by_rule(book)
    both = decision("both", orders=("by-operator", "by-rule"), lane=EMERGENCY)
    rules = [decision(f"rule-{n}", orders=("by-rule",)) for n in range(5)]
    put(shard, [*rules, decision("own", orders=("by-operator",), lane=EMERGENCY), both])
    pull_lever(book)
    assert sorted(chosen(shard)) == ["both", "own"]
    assert shard.chooser.still_wanted((rules[0].termination_id,), NOW) == ()
    pull_lever(book, engaged=False)
    assert set(chosen(shard)) == {"both", "own", *(f"rule-{n}" for n in range(5))}


def test_what_waited_for_the_lever_is_judged_again(shard: TerminateShard, book: StoredOrderBook) -> None:
    by_rule(book, hold=60.0)
    put(shard, [decision("call", orders=("by-rule",))])
    pull_lever(book)
    assert chosen(shard) == []
    pull_lever(book, engaged=False)
    choice = shard.chooser.choose(ACME, 2_000.0, 100, set())
    assert (choice.batch, outcomes(choice)) == ((), [State.EXPIRED])


def test_what_waited_longer_than_its_order_holds_expires_and_what_still_is_wanted_goes(
    shard: TerminateShard, book: StoredOrderBook
) -> None:
    book.put_order(order("once", hold=0.0), 0)
    book.put_order(order("until-released", hold=None), 1)
    put(shard, [decision("once", orders=("once",)), decision("still", orders=("until-released",))])
    after_an_outage = 1_000.0 + ACME.decision_ttl + 1.0
    choice = shard.chooser.choose(ACME, after_an_outage, 100, set())
    assert [t.call_id for t in choice.batch] == ["still"]
    assert outcomes(choice) == [State.EXPIRED]


def test_a_released_order_is_settled_some_hundreds_at_a_time(
    shard: TerminateShard, book: StoredOrderBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "SETTLE_AT_ONCE", 20)
    book.put_order(order(), 0)
    book.put_order(order("another"), 1)
    put(shard, [decision(f"released-{n:03}") for n in range(100)])
    put(shard, [decision("wanted", orders=("another",), since=2_000.0)])
    book.put_fact(Fact("order-1", FactKind.RELEASED, OPERATOR, "why", at=1_010.0), 2)
    settled, steps = 0, 0
    while not (choice := shard.chooser.choose(ACME, NOW, 10, set())).batch:
        settled, steps = settled + len(choice.settled), steps + 1
        assert 0 < len(choice.settled) <= 2 * 20
        shard.learn(choice.settled, shard.records(choice.settled))
    settled += len(choice.settled)
    assert [t.call_id for t in choice.batch] == ["wanted"]
    assert (settled, steps) >= (100, 2)


def test_what_cannot_be_judged_yet_is_passed_over_a_part_at_a_time(
    shard: TerminateShard, book: StoredOrderBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "PASS_OVER_AT_ONCE", 10)
    book.put_order(order(), 0)
    put(shard, [decision(f"unknown-{n:03}", orders=("not-read-yet",), since=float(n + 1)) for n in range(50)])
    put(shard, [decision("wanted", since=2_000.0)])
    looks = 1
    while not (found := shard.chooser.to_send(ACCOUNT, NOW, 5, set())):
        looks += 1
        assert shard.chooser.is_looking_further(ACCOUNT)
    assert [t.call_id for t in found] == ["wanted"]
    assert 1 < looks <= 6
    assert shard.ledger.backlog(ACCOUNT) == 51
