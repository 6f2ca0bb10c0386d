"""Rules over totals, and rules that take several matches: from the events of many partitions to a call that is stopped."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from consumer.guard import silence
from consumer.kafka.view import remove_view
from consumer.model import Call, CallEvent, Over, Status, Stop, Totals, rule
from consumer.model.orders import OrderState, StopOrder
from consumer.model.over import Over as OverTotals
from consumer.model.rules import configured
from consumer.model.scopes import Scope, ScopeKind
from consumer.model.stops import Aim
from consumer.model.throttles import Matches, Throttle
from handlers.rules.cel_totals import cel_totals_rule
from handlers.rules.no_events import no_events
from tests.kafka.helpers import installed, until
from tests.kafka.joining_stage import ACCOUNT, Joining, joining

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("nothing_forgotten")]


@rule(on="finished", name="fails-often")
def fails(event: CallEvent, call: Call) -> Stop | None:
    if event.status is Status.FAILED and call.agent_id:
        return Stop.agent(call.agent_id, reason="it fails often")
    return None


@rule(over=Over("campaign", window="30m"), name="breaks")
def breaks(totals: Totals) -> Stop | None:
    if totals.name == "broken":
        raise LookupError("of its own")
    return None


FAILING = cel_totals_rule(
    "failing",
    "totals.share('failed', 'finished') > 0.5 && totals.sums.analysis.score < 3",
    over=OverTotals("campaign", "30m", 4),
    aim=Aim(ScopeKind.CAMPAIGN, None),
    reason="most fail",
    params={},
    measures={},
)
SPENT = cel_totals_rule(
    "spent",
    "totals.cost >= 100",
    over=OverTotals("account", "1d", 1),
    aim=Aim(ScopeKind.AGENT, None),
    reason="all is spent",
    params={},
    measures={},
)
CALLED_OFTEN = cel_totals_rule(
    "called-often",
    "totals.failed >= 2",
    over=OverTotals("number", "1d", 1),
    aim=Aim(ScopeKind.NUMBER, None),
    reason="called too often",
    params={},
    measures={},
)
OFTEN = configured(fails, name="fails-often", throttle=Throttle(matches=Matches(3, 600.0)))
RULES = (FAILING, SPENT, CALLED_OFTEN, OFTEN, breaks)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def join(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Joining]:
    async with (
        installed(kafka_servers, "over.", call_events=3, scope_totals=2) as log,
        joining(log, tmp_path_factory.mktemp("over"), asked=RULES) as running,
    ):
        yield running


async def ordered(join: Joining, name: str, scope: Scope) -> StopOrder:
    await until(lambda: any(order.scope == scope for order in join.orders_of(name)))
    (order,) = [order for order in join.orders_of(name) if order.scope == scope]
    return order


async def test_a_failing_campaign_is_stopped_with_what_was_seen_as_its_explanation(join: Joining) -> None:
    await join.event("waits", campaign_id="bad", attempt=0)
    for n in range(4):
        await join.event(f"bad-{n}", Status.FAILED if n else Status.COMPLETED, campaign_id="bad", attempt=0)
        await join.event(f"good-{n}", Status.COMPLETED, campaign_id="good", attempt=0)
    await join.event("bad-1", None, campaign_id="bad", analysis={"score": 2.5})
    order = await ordered(join, "failing", Scope.campaign("bad"))
    assert order.explanation is not None
    assert order.explanation["expression"] == FAILING.expression
    assert order.explanation["values"]["totals.failed"] == 3.0
    (decided,) = await join.decided("waits")
    assert decided.orders == (order.order_id,)
    await join.settled()
    assert [one.scope for one in join.orders_of("failing")] == [Scope.campaign("bad")]


async def test_a_number_that_fails_twice_is_stopped_wherever_it_waits(join: Joining) -> None:
    for n in range(2):
        await join.event(f"number-{n}", Status.FAILED, number="+15550009999", attempt=0)
    order = await ordered(join, "called-often", Scope.numbers(["+15550009999"]))
    await join.event("number-again", number="+15550009999", attempt=0)
    (decided,) = await join.decided("number-again")
    assert order.order_id in decided.orders


async def test_an_account_that_has_spent_all_has_each_of_its_agents_stopped(join: Joining) -> None:
    await join.event("agent-waits", agent_id="a-1", attempt=0)
    await join.event("agent-over", Status.COMPLETED, agent_id="a-2", attempt=0, cost=101.0)
    for agent in ("a-1", "a-2"):
        await ordered(join, "spent", Scope.agent(agent))
    assert len(await join.decided("agent-waits")) >= 1


async def test_several_matches_in_a_time_make_one_order(join: Joining) -> None:
    for n in range(3):
        assert join.orders_of("fails-often") == []
        await join.event(f"often-{n}", Status.FAILED, agent_id="often", attempt=0)
        await join.settled()
    order = await ordered(join, "fails-often", Scope.agent("often"))
    assert order.explanation is not None
    assert order.explanation["matches"] == {"found": 3, "of": 3, "within_seconds": 600.0}
    assert len(set(order.evidence)) == 3


async def test_a_rule_that_raises_over_totals_is_recorded_and_holds_up_no_other(join: Joining) -> None:
    await join.event("broken-1", campaign_id="broken", attempt=0)
    await join.event("broken-1", Status.FAILED, campaign_id="broken", attempt=0)
    await until(lambda: any(one.get("rule") == "breaks" for one in join.rejected()))
    failure = next(one for one in join.rejected() if one.get("rule") == "breaks")
    assert (failure["reason"], failure["account"]) == ("LookupError: of its own", ACCOUNT)
    assert failure["over"]["name"] == "broken"


async def test_a_guard_that_lost_its_view_orders_nothing_anew_and_goes_on(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with installed(kafka_servers, topic_prefix) as log:
        async with joining(log, tmp_path, asked=RULES) as join:
            for n in range(4):
                await join.event(f"bad-{n}", Status.FAILED, campaign_id="bad", attempt=0)
            for n in range(2):
                await join.event(f"often-{n}", Status.FAILED, agent_id="often", attempt=0)
            order = await ordered(join, "failing", Scope.campaign("bad"))
            await join.settled()
        remove_view(tmp_path / "guard" / "0.sqlite")
        async with joining(log, tmp_path, asked=RULES) as join:
            await join.event("often-2", Status.FAILED, agent_id="often", attempt=0)
            await ordered(join, "fails-often", Scope.agent("often"))
            assert [one.order_id for one in join.orders_of("failing")] in ([], [order.order_id])


async def test_a_silent_campaign_and_a_slow_rule_raise_alerts_that_every_process_knows(
    kafka_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "MINUTE_SECONDS", 0.0)
    monkeypatch.setattr(silence, "LOOK_EVERY_SECONDS", 0.1)
    quiet = configured(no_events, name="quiet", params={"after": "1s"})
    slow = configured(fails, name="slow", budget_seconds=1e-9)
    async with installed(kafka_servers, topic_prefix) as log, joining(log, tmp_path, asked=(quiet, slow)) as join:
        await join.event("waits", campaign_id="silent", attempt=0)
        for n in range(3):
            await join.event(f"slow-{n}", Status.FAILED, attempt=0)
        names = {f"silent/{ACCOUNT}/silent/quiet", "slow-rule/slow/correlate"}
        await until(lambda: names <= set(join.feed.controls.alerts))
        assert "1 of its calls wait" in join.feed.controls.alerts[f"silent/{ACCOUNT}/silent/quiet"].text
        assert join.orders_of("quiet") == []
        await join.event("waits", Status.COMPLETED, campaign_id="silent", attempt=0)
        await until(lambda: f"silent/{ACCOUNT}/silent/quiet" not in join.feed.controls.alerts)
        assert "slow-rule/slow/correlate" in join.feed.controls.alerts


async def test_what_a_rule_that_raised_would_stop_waits_for_a_person(
    kafka_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    @rule(on="analysis")
    def broken(event: CallEvent, call: Call) -> Stop | None:
        raise LookupError("of its own")

    holding = configured(broken, name="safe", on_error="hold", aim=Aim(ScopeKind.CAMPAIGN, None))
    async with installed(kafka_servers, topic_prefix) as log, joining(log, tmp_path, asked=(holding,)) as join:
        await join.event("waits", campaign_id="held", attempt=0)
        await join.event("waits", None, campaign_id="held")
        order = await ordered(join, "safe", Scope.campaign("held"))
        await until(lambda: order_state(join, order.order_id) is OrderState.AWAITING_APPROVAL)
        await join.settled()
        assert join.decisions("waits") == []
        await until(lambda: bool(join.rejected()))
        assert [one["reason"] for one in join.rejected()] == ["LookupError: of its own"]


def order_state(join: Joining, order_id: str) -> OrderState | None:
    record = join.feed.book.get(order_id)
    return record.state(time.time()) if record else None
