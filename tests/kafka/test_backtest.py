"""A backtest over the topics of a service: what its rules did in shadow, they would have done."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from consumer.backtest.course import Made, Setting
from consumer.backtest.plan import Plan
from consumer.backtest.run import Done, over_log
from consumer.model import Status
from consumer.model.codec import encode_order
from consumer.model.orders import Mode, StopOrder
from consumer.model.protected import Protected
from consumer.model.rule_set import RuleSet
from consumer.model.rules import EventRule, configured
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import Aim
from consumer.model.termination_codec import encode_termination_record
from handlers.rules.cel import cel_rule
from handlers.rules.opt_out import opt_out
from tests.kafka.helpers import Installation, installed
from tests.kafka.joining_stage import PROTECTED_NUMBER, Joining, explodes, joining, stops_its_campaign

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]

PROTECTED = Protected(numbers=frozenset({PROTECTED_NUMBER}))


def in_shadow(rule: EventRule) -> EventRule:
    return configured(rule, name=rule.name, mode=Mode.SHADOW)


RETRIED = cel_rule(
    "retried",
    'event.status == "retry" && call.attempts_finished >= 1',
    aim=Aim(ScopeKind.CALL, 0.0),
    reason="tried in vain",
    params={},
)
RULES = [in_shadow(rule) for rule in (opt_out, explodes, stops_its_campaign, RETRIED)]


async def a_moment_of_its_own() -> float:
    """Give a moment that lies milliseconds, in which Kafka counts, from what was written before and will be after."""
    await asyncio.sleep(0.01)
    moment = time.time()
    await asyncio.sleep(0.01)
    return moment


async def live(join: Joining) -> float:
    """Play a day of calls in which every rule has something to say, each thing after the other has had its effect.

    Gives a moment in the middle of it.
    """
    for n in range(6):
        await join.event(f"listed-{n}", campaign_id="c", agent_id="a", number=f"+1555000200{n % 3}")
    await join.event("protected", campaign_id="c", number=PROTECTED_NUMBER)
    await join.settled()
    await join.event("listed-0", Status.ONGOING, attempt=0)
    await join.event("listed-0", Status.RETRY, attempt=0)
    await join.decided("listed-0")
    await join.event("listed-1", Status.ONGOING, attempt=0)
    await join.event("listed-1", Status.COMPLETED, attempt=0, connected=True, duration_seconds=30.0, cost=0.5)
    await join.event("listed-1", None, analysis={"opt_out": True})
    await join.decided("listed-4")
    await join.event("late", campaign_id="d", number="+15550002001")
    await join.decided("late")
    noon = await a_moment_of_its_own()
    await join.order(Scope.agent("a"), mode=Mode.ENFORCE)
    await join.all_decided(*[f"listed-{n}" for n in (0, 2, 3, 5)])
    await join.decided("listed-4", times=2)
    await join.event("asks", campaign_id="c", args={"stop campaign": True, "explode": True})
    await join.decided("listed-2", times=2)
    await join.event("listed-1", None, analysis={"opt_out": "yes"})
    await join.event("after", campaign_id="c", agent_id="b")
    await join.decided("after")
    for n in range(2, 6):
        await join.event(f"listed-{n}", Status.ONGOING, attempt=0)
        await join.event(f"listed-{n}", Status.COMPLETED if n % 2 else Status.FAILED, attempt=0)
    await join.settled()
    return noon


class Written(list[bytes]):
    """What a backtest makes, as Kafka would have it."""

    def witness(self, made: Made) -> None:
        self.append(encode_order(made) if isinstance(made, StopOrder) else encode_termination_record(made))


async def tried(log: Installation, rules: Sequence[EventRule], start: float = float("-inf")) -> tuple[Done, Written]:
    written = Written()
    plan = Plan(RuleSet.of(rules), Setting(PROTECTED, start=start), witness=written.witness)
    done = await over_log(plan, log.connection, log.topics, until=None, on_progress=lambda *_: None)
    return done, written


def records(values: Sequence[bytes], names: set[str]) -> tuple[list[bytes], list[bytes]]:
    """Sort out the orders of these rules, and the decisions that one of them wants."""
    told = [(value, record) for value in values if "kind" in (record := orjson.loads(value))]
    made = sorted(value for value, r in told if r["kind"] == "order" and r["by"]["name"] in names)
    return made, decisions_of(values, made)


def decisions_of(values: Sequence[bytes], orders: Sequence[bytes]) -> list[bytes]:
    """Give the decisions that one of these orders wants, without the time at which they were made."""
    ids = {orjson.loads(order)["order_id"] for order in orders}
    told = [orjson.loads(value) for value in values]
    return sorted(orjson.dumps(r | {"decided_at": 0.0}) for r in told if ids & set(r.get("orders", ())))


async def test_a_backtest_gives_what_the_rules_did_in_shadow_byte_for_byte(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    names = {rule.name for rule in RULES}
    async with installed(kafka_servers, topic_prefix, call_events=3) as log:
        async with joining(log, tmp_path, asked=RULES) as join:
            noon = await live(join)
            tail = join.tail.records
        done, written = await tried(log, RULES)
        _, of_afternoon = await tried(log, RULES, start=noon)
    orders, decisions = records([record.value for record in tail], names)
    assert len(orders) == 3
    assert len(decisions) >= 8
    assert records(written, names) == (orders, decisions)
    later = [record.value for record in tail if record.timestamp >= noon * 1_000]
    assert decisions_of(of_afternoon, orders) == decisions_of(later, orders) != []
    tally = done.tally.rules
    assert {name: one.orders for name, one in tally.items()} == {
        "opt_out": 1,
        "explodes": 0,
        "stops-its-campaign": 1,
        "retried": 1,
    }
    assert tally["explodes"].failures == 1
    assert tally["opt_out"].overlap["operators"] == 1  # listed-4, which the operator's stop of the agent also stops
