import asyncio
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from consumer.simulate import Fault, FaultKind, RateLimit, parse_fault
from consumer.simulate.calls import Call, Status
from tests.patience import PATIENCE_SECONDS
from tests.unit.simulated_provider_stage import STANDING, Stage, ids, playing, until


async def terminate(stage: Stage, calls: list[Call]) -> tuple[int, Any]:
    return await stage.ask("PATCH", "/campaign/terminate", {"call_ids": ids(calls)})


def cut(stage: Stage) -> int:
    return stage.verdict.calls_cut


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("kind", "settings", "status"),
    [
        ("unauthorized", {}, 401),
        ("forbidden", {}, 403),
        ("throttled", {}, 429),
        ("server-error", {"status": 500}, 500),
        ("server-error", {"status": 502}, 502),
        ("server-error", {"status": 503}, 503),
    ],
)
async def test_a_refusal_comes_with_or_without_its_effect(
    kind: str, settings: dict[str, Any], status: int, applied: bool
) -> None:
    async with playing() as stage:
        calls = (await stage.campaign(6))[1:]
        stage.fault(kind, count=1, applied=applied, **settings)
        assert (await terminate(stage, calls))[0] == status
        assert cut(stage) == (5 if applied else 0)
        assert (await terminate(stage, calls))[0] == (400 if applied else 200)
        verdict = stage.verdict
        assert verdict.terminate_answers == {str(status): 1, "400" if applied else "200": 1}
        assert verdict.faults_struck == {kind: 1}
        # asking again was the right thing to do
        assert verdict.repeated_after_unknown == (5 if applied else 0)
        assert not verdict.violations


async def test_once_more_after_a_true_answer_is_needless_even_after_a_fault() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(3))[1:]
        stage.fault("server-error", count=1, applied=True)
        for _ in range(3):
            await terminate(stage, calls)
        assert stage.verdict.repeated_after_unknown == 2
        assert stage.verdict.needless_ids == 2


async def test_a_request_that_meets_a_fault_is_judged_all_the_same() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(103))[1:]
        await terminate(stage, calls[:1])
        stage.fault("server-error")
        await terminate(stage, calls[1:])
        await stage.ask("PATCH", "/campaign/terminate", {"campaign_id": "a", "agent_id": "b"})
        await terminate(stage, calls[:2])
        verdict = stage.verdict
        assert (verdict.requests_over_100, verdict.requests_with_wrong_selectors) == (1, 1)
        assert (verdict.needless_ids, verdict.most_requests_for_one_call) == (1, 2)
        assert verdict.calls_cut == 1
        stage.simulator.exchange.faults.clear()
        await terminate(stage, calls[:1])
        assert stage.verdict.needless_ids == 2


@pytest.mark.parametrize("applied", [True, False])
async def test_a_request_that_is_never_answered_ends_when_the_client_gives_up(applied: bool) -> None:
    async with playing() as stage:
        calls = (await stage.campaign(4))[1:]
        stage.fault("timeout", count=1, applied=applied)
        request = asyncio.create_task(terminate(stage, calls))
        await until(lambda: stage.verdict.terminate_answers == {"none": 1})
        assert not request.done()
        request.cancel()
        await asyncio.wait([request])
        assert cut(stage) == (3 if applied else 0)
        assert (await terminate(stage, calls))[0] == (400 if applied else 200)


async def test_the_simulator_stops_although_a_request_waits_for_ever() -> None:
    async with playing() as stage:
        calls = await stage.campaign(2)
        stage.fault("timeout")
        request = asyncio.create_task(terminate(stage, calls))
        await until(lambda: stage.verdict.terminate_answers == {"none": 1})
        started = time.monotonic()
        await stage.simulator.stop()
        assert time.monotonic() - started < PATIENCE_SECONDS
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_a_reset_connection_is_an_unknown_outcome() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(2))[1:]
        stage.fault("reset", count=1, applied=True)
        with pytest.raises(aiohttp.ClientError):
            await terminate(stage, calls)
        assert cut(stage) == 1


async def test_throttling_names_its_end_in_both_forms_or_not_at_all() -> None:
    async with playing() as stage:
        url = stage.simulator.base_url + "/campaign/terminate"
        found = []
        for form in ("none", "seconds", "date"):
            stage.fault("throttled", count=1, retry_after=form, delay_seconds=600)
            async with stage.http.patch(url, headers=stage.headers, json={}) as answer:
                assert answer.status == 429
                found.append(answer.headers.get("Retry-After"))
        assert found[:2] == [None, "600"]
        ahead = parsedate_to_datetime(found[2] or "").timestamp() - time.time()
        assert 600 - PATIENCE_SECONDS < ahead < 602


async def test_a_lie_says_200_and_does_nothing() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(3))[1:]
        stage.fault("lie", count=1)
        assert (await terminate(stage, calls))[0] == 200
        assert {call.status for call in calls} == {Status.REGISTERED}
        assert (await terminate(stage, calls))[0] == 200
        assert cut(stage) == 2
        assert not stage.verdict.violations


async def test_ignored_ids_are_left_out_and_the_others_stop() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(4))[1:]
        stage.fault("ignore-ids", call_ids={calls[0].id}, count=1)
        assert (await terminate(stage, calls))[0] == 200
        assert [call.status for call in calls] == [Status.REGISTERED, Status.CANCELLED, Status.CANCELLED]
        assert (await terminate(stage, calls[:1]))[0] == 200


async def test_one_poison_id_spoils_its_whole_batch_every_time() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(5))[1:]
        stage.fault("poison", call_ids={calls[1].id})
        assert await terminate(stage, calls) == (400, {"message": "Invalid call id"})
        assert await terminate(stage, calls[1:2]) == (400, {"message": "Invalid call id"})
        assert cut(stage) == 0
        assert (await terminate(stage, [calls[0], *calls[2:]]))[0] == 200
        assert cut(stage) == 3


async def test_a_share_of_ids_means_the_same_ids_every_time() -> None:
    async with playing() as stage:
        calls = (await stage.campaign(101))[1:]
        stage.fault("ignore-ids", share=0.2)
        await terminate(stage, calls)
        left = [call for call in calls if call.terminable]
        assert 5 < len(left) < 40
        assert (await terminate(stage, left))[0] == 400
        assert [call for call in calls if call.terminable] == left


@pytest.mark.parametrize("applied", [True, False])
async def test_a_slow_answer_takes_its_time(applied: bool) -> None:
    async with playing() as stage:
        calls = (await stage.campaign(2))[1:]
        stage.fault("slow", delay_seconds=1.0, count=1, applied=applied)
        started = time.monotonic()
        request = asyncio.create_task(terminate(stage, calls))
        await until(lambda: stage.verdict.terminate_requests == 1)
        assert cut(stage) == int(applied)
        assert (await request)[0] == 200
        assert time.monotonic() - started >= 1.0


async def test_faults_are_for_stops_unless_they_say_otherwise_and_pass_with_time() -> None:
    async with playing() as stage:
        calls = await stage.campaign(2)
        stage.fault("server-error")
        assert (await stage.ask("GET", "/calling/history"))[0] == 200
        assert (await terminate(stage, calls))[0] == 500
        stage.simulator.exchange.faults.clear()
        stage.fault("server-error", on="read", seconds=1)
        assert (await stage.ask("GET", "/calling/history"))[0] == 500
        await until(lambda: not stage.simulator.exchange.faults.in_force(stage.simulator.now()))
        assert (await stage.ask("GET", "/calling/history"))[0] == 200


async def test_requests_over_the_rate_are_counted_and_can_be_refused() -> None:
    limit = RateLimit(requests_per_second=5, burst=3, jitter_seconds=0)
    async with playing(replace(STANDING, rate_limit=limit)) as stage:
        for _ in range(12):
            assert (await stage.ask("GET", "/workspace"))[0] == 200
        assert stage.verdict.requests_over_rate == 4
        assert stage.verdict.peak_requests_per_second == 12
    async with playing(replace(STANDING, rate_limit=replace(limit, enforced=True))) as stage:
        statuses = [(await stage.ask("GET", "/workspace"))[0] for _ in range(9)]
        assert statuses == [200] * 8 + [429]


def test_a_fault_reads_from_one_line() -> None:
    assert parse_fault("timeout,share=0.1,applied=true") == Fault(kind=FaultKind.TIMEOUT, share=0.1, applied=True)
    assert parse_fault("server-error,status=503,count=2").status == 503
    assert parse_fault("poison,call_ids=a+b").call_ids == {"a", "b"}


@pytest.mark.parametrize("text", ["nonsense", "timeout,share=2", "timeout,share", "timeout,colour=red", "lie,status=x"])
def test_a_fault_that_makes_no_sense_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_fault(text)
