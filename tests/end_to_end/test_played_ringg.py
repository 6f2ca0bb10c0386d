"""Ringg and Revenueable, played: calls by id, whole scopes, and a campaign that is started again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.simulate.calls import TERMINABLE, Status
from tests.end_to_end.played_stage import LIVE, Account, Player, having, ids, outcomes, playing, scenario, sends
from tests.kafka.helpers import until

pytestmark = [pytest.mark.kafka]

UNTOLD = scenario(webhooks={"envelopes": "off", "tell_cancelled": False})
"""No webhook tells of a queued or of a cancelled call: only the call history does."""
SCOPES = ("agent", "campaign", "numbers", "campaign-numbers")
ACCOUNTS = {
    "by-ids": Account(),
    "revenueable-ids": Account("revenueable"),
    "revenueable-whole": Account("revenueable", UNTOLD),
    "told-whole": Account(),
    **{f"whole-{name}": Account(scenario=UNTOLD, settings={"reconcile": {"every": "off"}}) for name in SCOPES},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def players(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Player]]:
    folder: Path = tmp_path_factory.mktemp("played-ringg")
    async with playing(kafka_servers, f"{folder.name}.", folder, ACCOUNTS) as players:
        yield players


@pytest.mark.parametrize("account", ["by-ids", "revenueable-ids"])
async def test_calls_are_stopped_by_id_and_no_other_call_is(players: dict[str, Player], account: str) -> None:
    player = players[account]
    campaign = await player.campaign(140)
    waiting = having(campaign, *TERMINABLE)
    order = await player.order({"call_ids": ids(waiting[:120])})
    assert await player.settled(order, 120) == {"confirmed": 120}
    assert ids(having(campaign, Status.CANCELLED)) == ids(waiting[:120])
    assert len(having(campaign, Status.ONGOING)) == LIVE
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.terminate_requests == 2
    assert verdict.ordered_still_terminable == 0


def whole(kind: str, campaign: Any, calls: list[Any]) -> dict[str, Any]:
    numbers = [call.number for call in calls]
    return {
        "agent": {"agent_id": campaign.agent_id},
        "campaign": {"campaign_id": campaign.id},
        "numbers": {"mobile_numbers": numbers},
        "campaign-numbers": {"campaign_id": campaign.id, "mobile_numbers": numbers},
    }[kind]


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_whole_scope_is_stopped_in_one_request_and_releasing_it_lets_later_calls_live(
    players: dict[str, Player], kind: str
) -> None:
    player = players[f"whole-{kind}"]
    campaign = await player.campaign(30, told=False)
    other = await player.campaign(10, told=False, agent_id="another-agent")
    waiting = having(campaign, *TERMINABLE)
    scope = whole(kind, campaign, waiting)
    order = await player.order(scope, reach="everything", hold="until-released")
    assert await player.settled(order, 1) == {"confirmed": 1}
    assert having(campaign, Status.CANCELLED) == waiting
    assert len(having(other, Status.REGISTERED)) == 10
    (stop,) = await player.terminations(order)
    assert stop["call_id"] == ""
    assert [request["answer"] for request in stop["requests"]] == ["accepted"]
    assert "no waiting call" in stop["detail"]
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.terminate_requests == 1
    assert verdict.terminate_ids == 0
    assert verdict.calls_cut == len(waiting)

    await player.release(order)
    again = await player.campaign(
        5, told=False, campaign_id=campaign.id, agent_id=campaign.agent_id, people="payment again"
    )
    assert [call.status for call in again.group.calls[-5:]] == [Status.REGISTERED] * 5
    assert player.verdict.terminate_requests == 1
    assert player.verdict.violations == {}


async def test_calls_that_wait_in_a_scope_are_not_asked_for_again_by_id(players: dict[str, Player]) -> None:
    player = players["told-whole"]
    campaign = await player.campaign(130)
    waiting = having(campaign, *TERMINABLE)
    order = await player.order({"campaign_id": campaign.id}, reach="everything", hold="until-released")
    assert await player.settled(order, 1 + len(waiting)) == {"confirmed": 1 + len(waiting)}
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.terminate_requests == 1
    later = await player.campaign(5, campaign_id=campaign.id, people="later")
    await until(lambda: having(later, *TERMINABLE) == [])
    assert await player.settled(order, 6 + len(waiting)) == {"confirmed": 6 + len(waiting)}
    assert len(having(campaign, Status.ONGOING)) == LIVE
    assert player.verdict.violations == {}


async def test_a_campaign_of_revenueable_is_stopped_as_a_whole_and_lives_again_after_the_release(
    players: dict[str, Player],
) -> None:
    player = players["revenueable-whole"]
    campaign = await player.campaign(30, told=False)
    waiting = having(campaign, *TERMINABLE)
    order = await player.order({"campaign_id": campaign.id}, reach="everything", hold="until-released")
    await until(lambda: having(campaign, Status.CANCELLED) == waiting)
    stops = await player.eventually(
        f"/terminations?order_id={order}&outcome=confirmed", lambda told: any(not t["call_id"] for t in told["items"])
    )
    assert max(sends(t) for t in stops["items"]) == 1
    # what starts while the order is in force is found in the history and stopped by id
    restarted = await player.campaign(4, told=False, campaign_id=campaign.id, people="held")
    late = restarted.group.calls[-4:]
    await until(lambda: all(call.status is Status.CANCELLED for call in late))

    await player.release(order)
    restarted = await player.campaign(5, told=False, campaign_id=campaign.id, people="released")
    living = restarted.group.calls[-5:]
    seen = await player.campaign(
        1, told=False
    )  # a later sweep of the history, or a webhook, would have shown these by now
    await player.order({"call_ids": ids(having(seen, *TERMINABLE))})
    await until(lambda: not having(seen, *TERMINABLE))
    assert [call.status for call in living] == [Status.REGISTERED] * 5
    assert player.verdict.violations == {}
    assert outcomes(await player.terminations(order)).keys() <= {"confirmed", "missed"}
