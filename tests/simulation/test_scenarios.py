"""Single moments that seeds have found, as plans of their own: each holds, and breaks its law without what holds it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest

from consumer.correlate.shard import CorrelateShard
from consumer.terminate.choosing import Choice, Chooser
from consumer.terminate.rate import RateLimit
from tests.simulation.plan import (
    CRASH,
    FREEZE,
    ORDERS_LOST,
    Attempt,
    CallPlan,
    OrderPlan,
    Plan,
    Strike,
)
from tests.simulation.seeds import play

pytestmark = pytest.mark.simulation

SEEDS = 20


@dataclass(frozen=True)
class Scenario:
    """A plan, and what breaks ``law`` in it within some seeds."""

    law: str
    plan: Plan
    without: AbstractContextManager[Any]


def _begun_an_hour_ago(limit: RateLimit, requests_per_second: float, burst: int, *, now: float) -> None:
    _begun(limit, requests_per_second, burst, now=now - 3_600.0)


def _known_before_it_is_written(self: Chooser, *args: Any, **options: Any) -> Choice:
    choice = _choose(self, *args, **options)
    for result in choice.settled:
        self._ledger.fold(result)
    return choice


_begun = RateLimit.__init__
_choose = Chooser.choose

SCENARIOS = {
    "whoever takes an account over does not know what has just left for it": Scenario(
        "rate-is-kept",
        Plan(
            calls=tuple(CallPlan(f"call-{n}", at=1.0 + 0.3 * n) for n in range(12)),
            orders=(OrderPlan(at=0.5),),
            strikes=(Strike(2, "after a request", CRASH, 0.1), Strike(4, "after a request", CRASH, 0.1)),
            requests_per_second=1.0,
        ),
        patch.object(RateLimit, "__init__", _begun_an_hour_ago),
    ),
    "a process that slept after its look asks for no stop": Scenario(
        "no-live-call-is-cut",
        Plan(
            accounts=("careful",),
            calls=(CallPlan(account="careful", attempts=(Attempt(6.0, 8.0, "completed"),)),),
            orders=(OrderPlan(account="careful"),),
            strikes=(Strike(1, "after a look", FREEZE, 7.0),),
        ),
        patch("consumer.terminate.stopping.LOOK_HOLDS_SECONDS", float("inf")),
    ),
    "a call that came while the orders were read anew is stopped": Scenario(
        "every-wanted-stop-is-decided",
        Plan(
            calls=(CallPlan("call-0", at=1.0), CallPlan("call-1", at=4.5)),
            orders=(OrderPlan("order-0", at=2.0), OrderPlan("order-1", at=2.5, target="autumn")),
            strikes=(Strike(1, "after a request", CRASH, 1.0, ORDERS_LOST),),
            orders_late_seconds=8.0,
        ),
        patch.object(CorrelateShard, "_apply_again_what_is_not_known", lambda _: None),
    ),
    "no view tells of an outcome that is not written yet": Scenario(
        "settles",
        Plan(
            calls=tuple(CallPlan(f"call-{n}", at=1.0 + 0.1 * n) for n in range(8)),
            orders=(OrderPlan(at=2.0, released_at=4.0),),
            strikes=(Strike(6, "after the view's commit of terminate", CRASH, 0.5),),
            slow_writes=0.5,
            requests_per_second=1.0,
        ),
        patch.object(Chooser, "choose", _known_before_it_is_written),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_law_holds(name: str) -> None:
    broken = [str(found) for seed in range(SEEDS) if (found := play(seed, SCENARIOS[name].plan)[0])]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_broken_without_what_holds_it(name: str) -> None:
    scenario = SCENARIOS[name]
    with scenario.without:
        found = [play(seed, scenario.plan)[0] for seed in range(SEEDS)]
    assert scenario.law in {violation.law for broken in found if broken for violation in broken.violations}
