"""Whole orders counted to the last call: ids of every kind, and a large campaign whose webhooks are lost in part."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.commands.story import story
from consumer.simulate.calls import TERMINABLE, Status
from tests.end_to_end.played_stage import LIVE, Account, Player, having, ids, outcomes, playing, scenario, sends

pytestmark = [pytest.mark.kafka]

LARGE = int(os.environ.get("CALLBREAKER_TEST_CAMPAIGN", "4000"))
"""How many calls the large campaign has; 20,000 take five times as long."""
INVALID = [f"no-such-call-{n}" for n in range(3)]
DONE = 5
ACCOUNTS = {
    "told": Account(),
    "untold": Account(scenario=scenario(webhooks={"tell_cancelled": False})),
    "large": Account(
        scenario=scenario(
            webhooks={"connections": 32}, rate_limit={"requests_per_second": 50, "burst": 10, "jitter_seconds": 0.2}
        ),
        settings={
            "rate_limit": {"requests_per_second": 50, "burst": 50},
            "confirm_within": f"{max(3, LARGE // 1_000)}s",
            "reconcile": {"every": f"{max(5, LARGE // 1_000)}s"},
        },
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def players(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Player]]:
    folder: Path = tmp_path_factory.mktemp("played-figures")
    async with playing(kafka_servers, f"{folder.name}.", folder, ACCOUNTS) as players:
        yield players


async def hung_up(player: Player, campaign: Any, calls: int) -> list[Any]:
    """Let the persons on the line hang up, so that ``calls`` calls are done and others connected instead."""
    exchange = player.simulator.exchange
    for _ in range(calls):
        call = having(campaign, Status.ONGOING)[0]
        exchange._dialler._finish(call, call.sid, Status.COMPLETED, player.simulator.now())
    return having(campaign, Status.COMPLETED)


@pytest.mark.parametrize("account", ["told", "untold"])
async def test_of_250_ids_each_has_the_right_outcome_after_three_requests(
    players: dict[str, Player], account: str
) -> None:
    """``told``: webhooks have told of all but the invalid ones. ``untold``: of the ends and connections they have not."""
    player = players[account]
    campaign = await player.campaign(DONE + LIVE + 260)
    if account == "untold":
        player.fault("lose")
    done = await hung_up(player, campaign, DONE)
    live = having(campaign, Status.ONGOING)[:2]
    waiting = having(campaign, *TERMINABLE)[:240]
    order = await player.order({"call_ids": ids([*waiting[:200], *done, *live, *waiting[200:]]) + INVALID})
    assert await player.settled(order, 250) == {"confirmed": 240, "missed": 7, "not_found": 3}
    became = {t["call_id"]: t["outcome"] for t in await player.terminations(order)}
    assert became == dict.fromkeys(ids(waiting), "confirmed") | dict.fromkeys(
        ids([*done, *live]), "missed"
    ) | dict.fromkeys(INVALID, "not_found")
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.terminate_requests == 3
    assert verdict.calls_cut == 240
    assert verdict.ordered_still_terminable == 0


@pytest.mark.timeout(300 + LARGE / 10)
async def test_every_call_of_a_large_campaign_is_stopped_though_webhooks_are_lost(players: dict[str, Player]) -> None:
    player = players["large"]
    player.fault("lose", share=0.02)
    campaign = await player.campaign(LARGE)
    waiting = having(campaign, *TERMINABLE)
    order = await player.order({"campaign_id": campaign.id}, hold="until-released")
    ends = await player.settled(order, len(waiting), 90 + LARGE / 20)
    assert ends == {"confirmed": len(waiting)}
    verdict = player.verdict
    assert verdict.webhooks_lost > 0
    assert verdict.violations == {}
    assert verdict.ordered_still_terminable == 0
    assert verdict.calls_cut == len(waiting)
    assert verdict.most_requests_for_one_call == 1


async def test_a_call_tells_its_order_its_evidence_its_requests_and_who_confirmed(players: dict[str, Player]) -> None:
    player = players["told"]
    campaign = await player.campaign(2, people="told in full")
    call = having(campaign, *TERMINABLE)[0]
    order = await player.order({"campaign_id": campaign.id}, hold="until-released")
    told = await player.eventually(
        f"/calls/{player.account}/{call.id}",
        lambda told: told["terminations"] and told["terminations"][0]["outcome"] == "confirmed",
    )
    (stopped,) = told["terminations"]
    assert [stopped["orders"], sends(stopped)] == [[order], 1]
    assert (
        told["orders"][0] | {"who": "the-operator", "by": "operator", "reason": "the test says so"} == told["orders"][0]
    )
    (request,) = stopped["requests"]
    assert (request["answer"], request["http_status"], request["detail"]) == (
        "accepted",
        200,
        "Calls terminated successfully!",
    )
    assert request["request_id"]
    assert stopped["ended"]["source"] in {"webhook", "history"}
    assert stopped["ended"]["evidence"]["topic"].endswith("call-events")
    lines = [line.what for line in story(told)]
    assert lines[0] == "event"
    assert [what for what in lines if what != "event"] == ["decided", "request", "answer", "ended"]
    assert outcomes([stopped]) == {"confirmed": 1}
