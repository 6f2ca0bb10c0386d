"""Limits in a backtest: what would have waited for approval."""

from typing import Any

from consumer.backtest.judge import Judge, waits
from consumer.backtest.lives import Lives
from consumer.model.limits import Limit, Limits
from consumer.model.orders import FactKind, Mode, StopOrder
from consumer.model.protected import Protected
from consumer.model.scopes import Scope
from tests.unit.values import RULE, order, waiting_call

LIMITS = Limits(per_rule=Limit(3, 1.0, 3_600.0, 0))
NOW = 10_000.0


def judge(limits: Limits = LIMITS, calls: int = 2, **protected: Any) -> Judge:
    lives = Lives(3_600.0)
    for n in range(calls):
        lives.put(waiting_call(f"call-{n}", campaign_id=f"c-{n % 2}", number=f"+1555000000{n}"), None)
    return Judge(limits, Protected(**protected), lives)


def wanted(order_id: str = "one", **fields: Any) -> StopOrder:
    return order(order_id, **({"by": RULE, "scope": Scope.campaign("c-0"), "mode": Mode.ENFORCE} | fields))


def test_an_order_within_the_limits_comes_into_force_and_one_above_waits() -> None:
    within = judge(calls=6).answer(wanted(), NOW)
    assert (within.kind, waits(within), within.at) == (FactKind.ADMITTED, False, NOW)
    above = judge(calls=8).answer(wanted(), NOW)
    assert (above.kind, waits(above)) == (FactKind.HELD, True)
    assert "per_rule.calls" in above.reason


def test_what_the_rule_was_let_stop_lately_counts() -> None:
    one = judge(calls=4)
    assert not waits(one.answer(wanted("a"), NOW))
    assert waits(one.answer(wanted("b"), NOW + 60.0))
    assert not waits(one.answer(wanted("c"), NOW + 4_000.0))


def test_in_shadow_an_order_is_let_through_and_says_that_it_would_wait() -> None:
    fact = judge(calls=8).answer(wanted(mode=Mode.SHADOW), NOW)
    assert (fact.kind, waits(fact)) == (FactKind.ADMITTED, True)


def test_protected_calls_and_those_outside_the_canary_do_not_count() -> None:
    assert not waits(judge(calls=8, campaigns=frozenset({"c-0"})).answer(wanted(), NOW))
    assert not waits(judge(calls=8).answer(wanted(mode=Mode.CANARY, canary_share=0.000001), NOW))


def test_a_rule_that_failed_and_holds_waits_without_any_limits() -> None:
    assert waits(judge(Limits()).answer(wanted(explanation={"error": "its own"}), NOW))
    assert not waits(judge(Limits()).answer(wanted(), NOW))
