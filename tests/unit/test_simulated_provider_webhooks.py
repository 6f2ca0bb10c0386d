import base64
import hashlib
import hmac
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from consumer.simulate import (
    Bearer,
    CampaignPlan,
    HeaderSecret,
    Hmac,
    Outcomes,
    StandardWebhooks,
    WebhookAuth,
    Webhooks,
)
from consumer.simulate.calls import OPEN
from tests.unit.simulated_provider_stage import QUICK, STANDING, Stage, ids, playing, until

FAST_RETRIES = Webhooks(retry_scale=0.001)


def told(stage: Stage) -> Counter[str]:
    return Counter(body.get("event_type", "envelope") for body in stage.receiver.bodies)


async def played_out(stage: Stage) -> None:
    everything = stage.simulator.exchange.table.everything
    await until(lambda: everything.count(OPEN) == 0 and stage.verdict.webhooks_waiting == 0)
    # the last recording and analysis follow the last call
    completed = stage.verdict.calls_by_status["completed"]
    await until(lambda: told(stage)["all_processing_completed"] >= completed and stage.verdict.webhooks_waiting == 0)


async def test_a_campaign_plays_out_and_every_count_adds_up() -> None:
    async with playing(QUICK) as stage:
        calls = await stage.campaign(200)
        await played_out(stage)
        events = told(stage)
        statuses = Counter(b["status"] for b in stage.receiver.bodies if b.get("event_type") == "call_completed")
        verdict = stage.verdict
        attempts = sum(call.attempt + 1 for call in calls)
        assert events["envelope"] == 200
        assert events["call_started"] == events["call_completed"] == attempts
        assert events["recording_completed"] == events["platform_analysis_completed"] == statuses["completed"]
        assert statuses["completed"] == verdict.calls_by_status["completed"] > 100
        assert statuses["failed"] == verdict.calls_by_status["failed"] > 0
        assert statuses["retry"] == attempts - 200 > 0
        assert (
            verdict.webhooks_sent == verdict.webhooks_accepted == verdict.webhook_attempts == len(stage.receiver.taken)
        )
        assert verdict.people_opted_out > 0
        assert len({body for _, body in stage.receiver.taken}) == len(stage.receiver.taken)


async def test_the_story_of_a_call_reads_as_documented() -> None:
    async with playing(replace(QUICK, outcomes=Outcomes(not_answered=0, failed=0, opt_out=1))) as stage:
        (call,) = await stage.campaign(1)
        await played_out(stage)
        story = {body.get("event_type", "envelope"): body for body in stage.receiver.bodies}
        envelope = story["envelope"]
        assert envelope["status"] == "success"
        assert envelope["data"]["status"] == "registered"
        assert envelope["data"]["custom_args_values"]["campaign_id"] == call.campaign.id
        assert "bulk_list_id" not in envelope["data"]
        assert {"status", "to_number", "bulk_list_id"}.isdisjoint(story["call_started"])
        completed = story["call_completed"]
        assert completed["status"] == "completed"
        assert completed["retry_count"] == 0
        assert completed["bulk_list_id"] == call.campaign.id
        assert completed["to_number"] == call.number
        assert completed["call_cost"] > 0
        assert completed["called_on"].endswith("Z")
        assert completed["call_sid"] == story["call_started"]["call_sid"]
        assert story["platform_analysis_completed"]["analysis"]["opt_out"] is True
        assert story["all_processing_completed"]["analysis"]["opt_out"] is True
        assert {body.get("call_id") or body["data"]["call_id"] for body in stage.receiver.bodies} == {call.id}


async def test_the_older_form_leaves_out_what_older_pages_do_not_know() -> None:
    scenario = replace(
        QUICK, webhooks=Webhooks(form="older", envelopes="all"), outcomes=Outcomes(not_answered=0, failed=0)
    )
    async with playing(scenario) as stage:
        await stage.campaign(1)
        await until(lambda: len(stage.receiver.taken) == 6)
        kinds = [body.get("event_type") or body["data"]["status"] for body in stage.receiver.bodies]
        assert sorted(kinds) == [
            "call_completed",
            "completed",
            "ongoing",
            "platform_analysis_completed",
            "recording_completed",
            "registered",
        ]
        completed = next(body for body in stage.receiver.bodies if body.get("event_type") == "call_completed")
        assert {"called_on", "bulk_list_id", "call_sid"}.isdisjoint(completed)


@pytest.mark.parametrize("tell", [True, False])
async def test_a_terminated_call_sends_cancelled_only_where_wanted(tell: bool) -> None:
    async with playing(replace(STANDING, webhooks=Webhooks(tell_cancelled=tell, envelopes="off"))) as stage:
        calls = await stage.campaign(3)
        await stage.ask("PATCH", "/campaign/terminate", {"call_ids": ids(calls[1:])})
        await until(lambda: stage.verdict.calls_cut == 2 and stage.verdict.webhooks_waiting == 0)
        kinds = [body["data"] for body in stage.receiver.bodies if "data" in body]
        assert {(data["call_id"], data["status"]) for data in kinds} == (
            {(call.id, "cancelled") for call in calls[1:]} if tell else set()
        )


@pytest.mark.parametrize("auth", [HeaderSecret("s"), Bearer("s"), Hmac("s"), Hmac("s", encoding="base64")])
async def test_every_webhook_carries_its_proof(auth: WebhookAuth) -> None:
    async with playing(webhook_auth=auth) as stage:
        await stage.campaign(3)
        await until(lambda: len(stage.receiver.taken) >= 3)
        for headers, body in stage.receiver.taken:
            digest = hmac.digest(b"s", body, hashlib.sha256)
            match auth:
                case HeaderSecret():
                    assert headers["X-Webhook-Secret"] == "s"
                case Bearer():
                    assert headers["Authorization"] == "Bearer s"
                case Hmac(encoding="hex"):
                    assert headers["X-Webhook-Signature"] == digest.hex()
                case _:
                    assert headers["X-Webhook-Signature"] == base64.b64encode(digest).decode()


async def test_standard_webhooks_verify_with_their_own_library_and_keep_the_id_on_a_retry() -> None:
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
    async with playing(replace(STANDING, webhooks=FAST_RETRIES), webhook_auth=StandardWebhooks(secret)) as stage:
        stage.receiver.statuses = [500]
        await stage.campaign(2)
        await until(lambda: len(stage.receiver.taken) >= 2)
        for headers, body in stage.receiver.taken:
            lowered = {name.lower(): value for name, value in headers.items()}
            assert Webhook(secret).verify(body, lowered)


async def test_a_refused_webhook_comes_again_byte_for_byte_and_is_given_up_after_four() -> None:
    async with playing(replace(STANDING, webhooks=FAST_RETRIES)) as stage:
        stage.receiver.statuses = [503, 202, 404, 500] * 100
        await stage.campaign(5)
        await until(lambda: stage.verdict.webhooks_given_up == 6)
        assert sorted(Counter(stage.receiver.refused).values()) == [4] * 6
        assert stage.verdict.webhook_attempts == 24
        assert stage.verdict.webhooks_accepted == stage.verdict.webhooks_waiting == 0


async def test_a_webhook_taken_at_the_second_attempt_counts_once() -> None:
    async with playing(replace(STANDING, webhooks=FAST_RETRIES)) as stage:
        stage.receiver.statuses = [503] * 3
        await stage.campaign(9)
        await until(lambda: stage.verdict.webhooks_accepted == 10)
        assert set(stage.receiver.refused) <= {body for _, body in stage.receiver.taken}
        assert (stage.verdict.webhook_attempts, stage.verdict.webhooks_given_up) == (13, 0)


async def test_lost_webhooks_are_never_sent_and_counted() -> None:
    async with playing() as stage:
        stage.fault("lose", share=0.3)
        await stage.campaign(200)
        await until(lambda: stage.verdict.webhooks_waiting == 0)
        lost = stage.verdict.webhooks_lost
        assert 30 < lost < 90
        assert len(stage.receiver.taken) == 201 - lost


async def test_repeated_webhooks_are_the_same_bytes() -> None:
    async with playing() as stage:
        stage.fault("repeat", times=3, count=10)
        await stage.campaign(30)
        await until(lambda: stage.verdict.webhooks_waiting == 0)
        times = Counter(Counter(body for _, body in stage.receiver.taken).values())
        assert times == {3: 10, 1: 21}


async def test_reordered_and_late_webhooks_all_arrive() -> None:
    scenario = replace(STANDING, webhooks=Webhooks(connections=1))
    async with playing(scenario) as stage:
        stage.fault("late", count=1, delay_seconds=0.3)
        stage.fault("reorder", delay_seconds=0.2)
        calls = await stage.campaign(50)
        await until(lambda: stage.verdict.webhooks_waiting == 0)
        queued = [body["data"]["call_id"] for body in stage.receiver.bodies if "data" in body]
        assert queued != ids(calls)
        assert sorted(queued) == sorted(ids(calls))
        assert queued[-1] == calls[0].id


async def test_the_same_seed_plays_the_same_story() -> None:
    stories: list[dict[int, Any]] = []
    for _ in range(2):
        async with playing(QUICK) as stage:
            calls = await stage.campaign(60)
            await played_out(stage)
            stories.append({c.ordinal: (c.id, c.status, c.attempt, c.talk_seconds, c.opted_out) for c in calls})
    assert stories[0] == stories[1]


async def test_people_on_the_list_several_times_come_again_at_its_end() -> None:
    async with playing() as stage:
        calls = await stage.campaign(1000, repeated_people=0.1, calls_per_repeated_person=3)
        places: dict[str, list[int]] = defaultdict(list)
        for call in calls:
            places[call.number].append(call.ordinal)
        repeated = [at for at in places.values() if len(at) > 1]
        assert 40 < len(repeated) < 140
        assert all(at[1] >= len(places) for at in repeated)


async def test_registration_waits_while_too_many_webhooks_do() -> None:
    async with playing(replace(STANDING, webhooks=Webhooks(backlog=50, retry_scale=0.02))) as stage:
        stage.receiver.statuses = [500] * 200
        plan = CampaignPlan(calls=1_000, register_per_second=2_000)
        stage.simulator.exchange.start_campaign(plan, stage.simulator.now())
        calls = stage.simulator.exchange.table.everything.calls
        await until(lambda: stage.verdict.webhook_attempts >= 90)
        assert len(calls) < 200
        await until(lambda: len(calls) == 1_000)
