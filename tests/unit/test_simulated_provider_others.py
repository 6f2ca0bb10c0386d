from dataclasses import replace
from typing import Any

import pytest

from consumer.simulate import Dial, Hmac, Outcomes
from consumer.simulate.calls import OPEN, Call, Status
from tests.unit.simulated_provider_stage import QUICK, STANDING, Stage, having, playing, until

LIVE = replace(
    STANDING,
    dial=Dial(per_second=10_000, lines=3, ring_seconds=0.001, talk_seconds=10_000),
    outcomes=Outcomes(not_answered=0, failed=0),
)
"""Three calls connect and talk on; the others wait for a line."""
RINGING = replace(LIVE, dial=replace(LIVE.dial, ring_seconds=600))


async def live(stage: Stage) -> list[Call]:
    calls = await stage.campaign(10)
    await until(lambda: sum(call.live for call in calls) == 3)
    return calls


def group(stage: Stage) -> str:
    return f"/v1/accounts/{stage.simulator.scenario.account_group_id}"


async def test_sonarly_stops_a_campaign_once_and_then_says_conflict() -> None:
    async with playing(LIVE, "sonarly") as stage:
        calls = await live(stage)
        campaign = calls[0].campaign
        assert len(campaign.id) == 24
        _, listed = await stage.ask("GET", group(stage) + "/campaigns")
        assert [(row["id"], row["status"]) for row in listed["data"]["items"]] == [(campaign.id, "active")]
        status, answer = await stage.ask("POST", group(stage) + f"/campaigns/{campaign.id}/stop")
        assert (status, answer["success"], answer["data"]["instancesStopped"]) == (200, True, 7)
        assert answer["data"]["campaign"]["status"] == "stopped"
        assert len(answer["traceId"]) == 24
        assert not stage.verdict.violations
        status, answer = await stage.ask("POST", group(stage) + f"/campaigns/{campaign.id}/stop")
        assert (status, answer["error"]["code"], answer["data"]) == (409, "CONFLICT", None)
        assert stage.verdict.violations == {"needless_campaign_stops": 1}
        assert len(having(calls, Status.ONGOING)) == 3
        assert not stage.receiver.taken


async def test_sonarly_after_an_unknown_outcome_a_second_stop_is_no_violation() -> None:
    async with playing(LIVE, "sonarly") as stage:
        campaign = (await live(stage))[0].campaign
        stage.fault("server-error", status=502, applied=True, count=1)
        path = group(stage) + f"/campaigns/{campaign.id}/stop"
        assert [(await stage.ask("POST", path))[0] for _ in range(2)] == [502, 409]
        assert not stage.verdict.violations


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/accounts/other/campaigns/x/stop", None, 404),
        ("{group}/campaigns/x/stop", None, 404),
        ("{group}/campaigns/x/stop", {"Authorization": "Bearer other"}, 401),
    ],
)
async def test_sonarly_wraps_every_refusal(path: str, headers: dict[str, str] | None, status: int) -> None:
    async with playing(STANDING, "sonarly") as stage:
        stage.headers = headers or stage.headers
        found, answer = await stage.ask("POST", path.format(group=group(stage)))
        assert found == status
        assert (answer["success"], answer["data"]) == (False, None)
        assert {"code", "message", "details"} == set(answer["error"])


async def test_sonarly_pages_its_campaigns_and_shows_until_when_it_throttles() -> None:
    async with playing(STANDING, "sonarly") as stage:
        for _ in range(3):
            await stage.campaign(1)
        _, first = await stage.ask("GET", group(stage) + "/campaigns", limit="2")
        assert (len(first["data"]["items"]), first["data"]["hasMore"]) == (2, True)
        assert first["data"]["items"][0]["rateLimitedUntil"] is None
        stage.fault("throttled")
        _, rest = await stage.ask("GET", group(stage) + "/campaigns", limit="2", cursor=first["data"]["nextCursor"])
        assert (len(rest["data"]["items"]), rest["data"]["nextCursor"]) == (1, None)
        assert rest["data"]["items"][0]["rateLimitedUntil"] > rest["data"]["items"][0]["createdAt"]


async def test_bland_stopping_a_campaign_cuts_live_calls_and_is_judged() -> None:
    async with playing(LIVE, "bland") as stage:
        calls = await live(stage)
        campaign = calls[0].campaign
        status, answer = await stage.ask("POST", f"/v1/campaigns/{campaign.id}/stop")
        assert (status, answer["status"], answer["num_calls"], answer["campaign_id"]) == (
            200,
            "success",
            10,
            campaign.id,
        )
        assert stage.verdict.calls_cut_by_status == {"registered": 7, "live": 3}
        assert stage.verdict.live_calls_cut == 3
        await stage.control("POST", "/orders", {"campaign_id": campaign.id, "allow_live": True})
        assert stage.verdict.live_calls_cut == 0
        _, rows = await stage.ask("GET", f"/v1/campaigns/{campaign.id}")
        assert rows["count"] == 10
        assert rows["campaigns"][0]["campaign_state"] == "stopped"


async def test_bland_stops_one_call_and_tells_how_far_it_was() -> None:
    async with playing(LIVE, "bland") as stage:
        calls = await live(stage)
        waiting, talking = calls[-1], next(call for call in calls if call.live)

        async def details(call: Call) -> dict[str, Any]:
            status, body = await stage.ask("GET", f"/v1/calls/{call.id}")
            assert status == 200
            return dict(body)

        before = await details(waiting)
        assert (before["queue_status"], before["completed"], before["started_at"]) == ("queued", False, None)
        assert (await details(talking))["queue_status"] == "started"
        assert await stage.ask("POST", f"/v1/calls/{waiting.id}/stop") == (
            200,
            {"status": "success", "message": "Call ended successfully."},
        )
        after = await details(waiting)
        assert (after["queue_status"], after["completed"], after["started_at"]) == ("complete", True, None)
        status, again = await stage.ask("POST", f"/v1/calls/{waiting.id}/stop")
        assert (status, again["status"]) == (200, "error")
        assert stage.verdict.violations == {"needless_ids": 1}
        await stage.ask("POST", f"/v1/calls/{talking.id}/stop")
        assert stage.verdict.live_calls_cut == 1
        assert (await stage.ask("GET", "/v1/calls/nobody"))[0] == 404


async def test_bland_a_call_that_only_rings_is_not_live() -> None:
    async with playing(RINGING, "bland") as stage:
        calls = await stage.campaign(5)
        await until(lambda: len(having(calls, Status.ONGOING)) == 3)
        ringing = having(calls, Status.ONGOING)[0]
        assert (await stage.ask("GET", f"/v1/calls/{ringing.id}"))[1]["queue_status"] == "allocated"
        await stage.ask("POST", f"/v1/calls/{ringing.id}/stop")
        assert stage.verdict.calls_cut_by_status == {"ringing": 1}
        assert stage.verdict.live_calls_cut == 0


async def test_bland_lists_calls_by_campaign_number_and_state() -> None:
    async with playing(STANDING, "bland") as stage:
        calls = await stage.campaign(6, repeated_people=0)
        await stage.campaign(3)
        campaign_id = calls[0].campaign.id
        _, listed = await stage.ask("GET", "/v1/calls", campaign_id=campaign_id, limit="4")
        assert (listed["count"], listed["total_count"]) == (4, 6)
        assert listed["calls"][0]["call_id"] == calls[-1].id
        _, one = await stage.ask("GET", "/v1/calls", campaign_id=campaign_id, to_number=calls[2].number)
        assert [row["call_id"] for row in one["calls"]] == [calls[2].id]
        assert (await stage.ask("GET", "/v1/calls", completed="true"))[1]["total_count"] == 0


async def test_bland_sends_one_signed_webhook_a_call_and_the_phases_of_the_batch() -> None:
    async with playing(QUICK, "bland", Hmac("s")) as stage:
        calls = await stage.campaign(40)
        total = len(calls) + 3
        await until(lambda: len(stage.receiver.taken) == total)
        told = stage.receiver.bodies
        phases = [body for body in told if "call_id" not in body]
        assert {phase["status"] for phase in phases} == {"dispatching", "in_progress", "completed"}
        final = next(phase for phase in phases if phase["status"] == "completed")
        assert final["calls_total"] == 40 == final["calls_successful"] + final["calls_failed"]
        assert {body["call_id"] for body in told if "call_id" in body} == {call.id for call in calls}
        assert all(body["completed"] for body in told if "call_id" in body)
        assert any((body.get("analysis") or {}).get("opt_out") for body in told)


async def test_vapi_deletes_scheduled_calls_only() -> None:
    async with playing(LIVE, "vapi") as stage:
        calls = await live(stage)
        waiting, talking = calls[-1], next(call for call in calls if call.live)
        assert (await stage.ask("GET", f"/call/{waiting.id}"))[1]["status"] == "scheduled"
        status, deleted = await stage.ask("DELETE", f"/call/{waiting.id}")
        assert (status, deleted["status"], deleted["endedReason"]) == (200, "ended", "scheduled-call-deleted")
        assert (await stage.ask("GET", f"/call/{waiting.id}"))[0] == 404
        assert (await stage.ask("DELETE", f"/call/{talking.id}"))[0] == 400
        assert talking.live
        _, listed = await stage.ask("GET", "/call", assistantId=talking.campaign.agent_id)
        assert {row["id"] for row in listed} == {call.id for call in calls} - {waiting.id}
        assert not stage.verdict.violations


async def test_vapi_cancels_a_campaign_and_lets_calls_in_progress_finish() -> None:
    async with playing(LIVE, "vapi") as stage:
        calls = await live(stage)
        path = f"/v2/campaign/{calls[0].campaign.id}"
        assert (await stage.ask("PATCH", path, {"status": "paused"}))[0] == 400
        status, answer = await stage.ask("PATCH", path, {"status": "cancelled"})
        assert (status, answer["status"], answer["callsCounterScheduled"]) == (200, "cancelled", 0)
        assert sum(call.live for call in calls) == 3
        assert stage.verdict.calls_cut == 7
        assert (await stage.ask("GET", path))[1]["callsCounterInProgress"] == 3


async def test_vapi_tells_every_status_in_its_envelope() -> None:
    async with playing(replace(QUICK, outcomes=Outcomes(not_answered=0, failed=0)), "vapi") as stage:
        (call,) = await stage.campaign(1)
        await until(lambda: len(stage.receiver.taken) == 5)
        messages = [body["message"] for body in stage.receiver.bodies]
        updates = sorted(m["status"] for m in messages if m["type"] == "status-update")
        assert updates == ["ended", "in-progress", "ringing", "scheduled"]
        assert {m["call"]["id"] for m in messages} == {call.id}
        report = next(m for m in messages if m["type"] == "end-of-call-report")
        assert report["endedReason"] == "customer-ended-call"
        assert report["analysis"]["structuredData"]["opt_out"] is call.opted_out


@pytest.mark.parametrize("provider", ["ringg", "revenueable", "bland", "sonarly", "vapi"])
async def test_every_provider_plays_a_campaign_to_its_end(provider: str) -> None:
    async with playing(QUICK, provider) as stage:
        calls = await stage.campaign(30)
        group_of_all = stage.simulator.exchange.table.everything
        await until(lambda: group_of_all.count(OPEN) == 0 and stage.verdict.webhooks_waiting == 0)
        assert calls[0].campaign.state == "completed"
        assert stage.verdict.calls_by_status["completed"] > 10
        assert not stage.verdict.violations
