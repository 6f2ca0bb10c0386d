"""Sonarly, Bland and Vapi, played: what they can do beyond stopping by id, and what must be looked at first."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumer.simulate.calls import TERMINABLE, CampaignState, Status
from tests.end_to_end.played_stage import LIVE, Account, Player, having, ids, playing, sends

pytestmark = [pytest.mark.kafka]

SONARLY: dict[str, tuple[dict[str, Any] | None, list[str], str, int]] = {
    "accepted": (None, ["accepted"], "confirmed", 1),
    "unauthorized": ({"kind": "unauthorized", "count": 1}, ["credentials", "accepted"], "confirmed", 2),
    "forbidden": ({"kind": "forbidden", "count": 1}, ["permission", "accepted"], "confirmed", 2),
    "throttled": ({"kind": "throttled", "count": 1}, ["throttled", "accepted"], "confirmed", 2),
    "failed": ({"kind": "server-error", "count": 1}, ["unknown", "accepted"], "confirmed", 2),
    "failed-applied": ({"kind": "server-error", "count": 1, "applied": True}, ["unknown"], "confirmed", 1),
    "bad-gateway-applied": (
        {"kind": "server-error", "count": 1, "status": 502, "applied": True},
        ["unknown"],
        "confirmed",
        1,
    ),
    "timeout-applied": ({"kind": "timeout", "count": 1, "applied": True}, ["unknown"], "confirmed", 1),
    "lie": ({"kind": "lie", "count": 1}, ["accepted", "accepted"], "confirmed", 2),
}
"""What strikes the first request; the answers that are recorded, the outcome, and how many requests there were."""

ACCOUNTS = {
    **{f"sonarly-{name}": Account("sonarly") for name in (*SONARLY, "conflict", "not-found")},
    "bland-campaign": Account("bland"),
    "bland-unknown": Account("bland"),
    "bland-calls": Account("bland"),
    "vapi-calls": Account("vapi"),
    "vapi-campaign": Account("vapi"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def players(kafka_servers: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Player]]:
    folder: Path = tmp_path_factory.mktemp("played-others")
    async with playing(kafka_servers, f"{folder.name}.", folder, ACCOUNTS) as players:
        yield players


@pytest.mark.parametrize("name", SONARLY)
async def test_a_campaign_of_sonarly_is_stopped_once_whatever_is_answered(
    players: dict[str, Player], name: str
) -> None:
    player = players[f"sonarly-{name}"]
    fault, answers, outcome, requests = SONARLY[name]
    campaign = await player.campaign(30, told=False)
    waiting = having(campaign, *TERMINABLE)
    if fault:
        player.fault(**fault)
    order = await player.order({"campaign_id": campaign.id}, reach="everything")
    assert await player.settled(order, 1) == {outcome: 1}
    (stop,) = await player.terminations(order)
    assert [request["answer"] for request in stop["requests"]] == answers
    assert all(request["trace_id"] for request in stop["requests"] if request["http_status"])
    if answers == ["accepted"]:
        assert stop["requests"][0]["reported"] == len(waiting)
        assert stop["requests"][0]["more"] == {"id": campaign.id, "status": "stopped"}
    if "unknown" in answers or "credentials" in answers:
        assert stop["looks"], "the state is read before every retry"
    verdict = player.verdict
    assert verdict.terminate_requests == requests
    assert verdict.violations == {}
    assert having(campaign, Status.CANCELLED) == waiting


async def test_a_campaign_of_sonarly_that_is_stopped_already_is_confirmed_by_its_state(
    players: dict[str, Player],
) -> None:
    player = players["sonarly-conflict"]
    campaign = await player.campaign(10, told=False)
    player.tell({"campaign_id": campaign.id})
    player.simulator.exchange.stop_campaign(campaign, player.simulator.now())
    order = await player.order({"campaign_id": campaign.id}, reach="everything")
    assert await player.settled(order, 1) == {"confirmed": 1}
    (stop,) = await player.terminations(order)
    assert [(request["answer"], request["http_status"]) for request in stop["requests"]] == [("conflict", 409)]
    assert player.verdict.violations == {}


async def test_a_campaign_that_sonarly_does_not_know_is_not_found(players: dict[str, Player]) -> None:
    player = players["sonarly-not-found"]
    order = await player.order({"campaign_id": "65f0c0ffee0000000000dead"}, reach="everything")
    assert await player.settled(order, 1) == {"not_found": 1}
    (stop,) = await player.terminations(order)
    assert [(request["answer"], request["http_status"]) for request in stop["requests"]] == [("not_found", 404)]
    assert "no such campaign" in stop["detail"]
    assert player.verdict.terminate_requests == 1


async def test_a_campaign_of_bland_is_stopped_only_by_an_order_that_allows_cutting_live_calls(
    players: dict[str, Player],
) -> None:
    player = players["bland-campaign"]
    campaign = await player.campaign(30, told=False)
    scope = {"campaign_id": campaign.id}
    refused = await player.give(scope, reach="everything")
    assert (refused.status, refused.body["field"]) == (409, "allow_live")
    assert player.verdict.terminate_requests == 0
    watched = await player.order(scope, mode="shadow")
    assert await player.settled(watched, 30 - LIVE) == {"shadow": 30 - LIVE}

    order = await player.order(scope, reach="everything", allow_live=True)
    await player.settled(order, 1 + 30 - LIVE)
    (stop,) = [t for t in await player.terminations(order) if not t["call_id"]]
    assert stop["outcome"] == "confirmed"
    (request,) = stop["requests"]
    assert (request["answer"], request["reported"], request["more"]) == ("accepted", 30, {"campaign_id": campaign.id})
    assert f"it says that it stopped 30 calls; {30 - LIVE} were known to wait" in stop["detail"]
    assert campaign.state is CampaignState.STOPPED
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.calls_cut_by_status == {"registered": 30 - LIVE, "live": LIVE}


async def test_an_error_that_bland_writes_into_a_success_is_understood(players: dict[str, Player]) -> None:
    player = players["bland-unknown"]
    order = await player.order({"campaign_id": "no-such-campaign"}, reach="everything", allow_live=True)
    assert await player.settled(order, 1) == {"not_found": 1}
    (stop,) = await player.terminations(order)
    assert [(request["answer"], request["http_status"]) for request in stop["requests"]] == [("not_found", 200)]


@pytest.mark.parametrize("account", ["bland-calls", "vapi-calls"])
async def test_a_call_is_stopped_by_id_only_after_a_look_has_shown_that_it_waits(
    players: dict[str, Player], account: str
) -> None:
    player = players[account]
    campaign = await player.campaign(20, told=False)
    wanted = having(campaign, *TERMINABLE)[:8]
    live = having(campaign, Status.ONGOING)
    order = await player.order({"call_ids": [*ids(wanted), *ids(live), "no-such-call"]})
    assert await player.settled(order, 8 + LIVE + 1) == {"confirmed": 8, "missed": LIVE, "not_found": 1}
    assert having(campaign, Status.CANCELLED) == wanted
    assert having(campaign, Status.ONGOING) == live
    stopped = [t for t in await player.terminations(order) if t["outcome"] == "confirmed"]
    assert all(t["looks"] and t["looks"][0]["at"] <= t["requests"][0]["at"] for t in stopped)
    assert {sends(t) for t in stopped} == {1}
    verdict = player.verdict
    assert verdict.violations == {}
    assert verdict.terminate_requests == 8
    assert verdict.ids_unknown == verdict.ids_not_terminable == 0


async def test_a_campaign_of_vapi_is_cancelled_and_live_calls_go_on(players: dict[str, Player]) -> None:
    player = players["vapi-campaign"]
    campaign = await player.campaign(20, told=False)
    waiting = having(campaign, *TERMINABLE)
    order = await player.order({"campaign_id": campaign.id}, reach="everything")
    (stop,) = (
        await player.eventually(
            f"/terminations?order_id={order}&outcome=confirmed",
            lambda told: any(not t["call_id"] for t in told["items"]),
        )
    )["items"][-1:]
    assert stop["requests"][0]["answer"] == "accepted"
    assert having(campaign, Status.CANCELLED) == waiting
    assert len(having(campaign, Status.ONGOING)) == LIVE
    verdict = player.verdict
    assert verdict.calls_cut == len(waiting)
    assert verdict.live_calls_cut == verdict.terminated_unordered == 0
